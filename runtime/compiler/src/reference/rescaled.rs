//! Casts that a kernel may make before it multiplies by a factor common to all terms of a sum.
//!
//! A sum of weights `exp(x − m)`, where m is a maximum, may be begun before m is known: with the largest x so far in its place, by the ratio to
//! which it is rescaled later. Then a weight that the source rounds is rounded before that factor, not after it.

use crate::element::Element;
use crate::ir::{BinaryOp, Expr, ExprId, Function, Op, ReduceOp, Source};

/// For each expression `true` if it is such a cast, inside a sum.
pub(super) fn rescaled_casts(op: &Op) -> Vec<bool> {
    let summed = summed(op);
    let is_cast = |position: usize| match op.exprs[position] {
        Expr::Cast(a, Element::F16 | Element::BF16) => is_weight(op, a),
        _ => false,
    };
    (0..op.exprs.len()).map(|at| summed[at] && is_cast(at)).collect()
}

/// `true` for `exp(x − max(…))`.
fn is_weight(op: &Op, expr: ExprId) -> bool {
    let Expr::Call(Function::Exp, arguments) = meant(op, expr) else {
        return false;
    };
    match arguments.first().map(|&exponent| meant(op, exponent)) {
        Some(&Expr::Binary(BinaryOp::Sub, _, m)) => {
            matches!(meant(op, m), Expr::Reduce { op: ReduceOp::Max, .. })
        }
        _ => false,
    }
}

/// The expression that is read from intermediate tensors. Each refers to earlier ones, so this ends.
fn meant(op: &Op, expr: ExprId) -> &Expr {
    let mut expr = op.expr(expr);
    while let Expr::Read {
        source: Source::Let(inner),
        ..
    } = expr
    {
        expr = op.expr(op.lets[inner.index()].body);
    }
    expr
}

/// For each expression `true` if it is part of a sum's terms, also by way of intermediate tensors.
fn summed(op: &Op) -> Vec<bool> {
    let mut summed = vec![false; op.exprs.len()];
    let mut next: Vec<ExprId> = Vec::new();
    for expr in &op.exprs {
        if let Expr::Reduce {
            op: ReduceOp::Sum,
            body,
            ..
        } = expr
        {
            next.push(*body);
        }
    }
    while let Some(expr) = next.pop() {
        if std::mem::replace(&mut summed[expr.index()], true) {
            continue;
        }
        if let Expr::Read {
            source: Source::Let(inner),
            ..
        } = op.expr(expr)
        {
            next.push(op.lets[inner.index()].body);
        }
        op.operands(expr, |operand| next.push(operand));
    }
    summed
}
