//! Facts of operators that several families use.

use crate::check::Checked;
use crate::ir::{BinaryOp, Expr, ExprId, Source};

/// Elements of the largest output.
pub(crate) fn output_elements(checked: &Checked, sizes: &[u64]) -> u64 {
    let volume = |dims: &[crate::ir::SizeId]| {
        dims.iter()
            .map(|size| sizes.get(size.index()).copied().unwrap_or(1))
            .fold(1, u64::saturating_mul)
    };
    checked
        .op()
        .outputs
        .iter()
        .map(|output| volume(&output.dims))
        .max()
        .unwrap_or(0)
}

/// Functions that an operator calls, where its source does.
pub(crate) fn calls(checked: &Checked) -> u32 {
    let is_call = |expr: &&Expr| matches!(expr, Expr::Call(..));
    checked.op().exprs.iter().filter(is_call).count() as u32
}

/// For each expression whether there is a reduction in it, or in an intermediate tensor that it reads.
pub(crate) fn reducing(checked: &Checked) -> Vec<bool> {
    let op = checked.op();
    let mut found = vec![false; op.exprs.len()];
    // Operands stand before what uses them; intermediate tensors refer to earlier ones, and may stand anywhere.
    for _ in 0..=op.lets.len() {
        for position in 0..op.exprs.len() {
            let mut reduces = match op.exprs[position] {
                Expr::Reduce { .. } => true,
                Expr::Read {
                    source: Source::Let(inner),
                    ..
                } => found[op.lets[inner.index()].body.index()],
                _ => false,
            };
            op.operands(ExprId(position as u32), |operand| reduces |= found[operand.index()]);
            found[position] = reduces;
        }
    }
    found
}

/// For each expression whether a condition decides if its value is wanted. What no condition stands before may be
/// computed for any values of its axes.
pub(crate) fn conditional(checked: &Checked) -> Vec<bool> {
    let op = checked.op();
    let mut found = vec![false; op.exprs.len()];
    // Operands stand before what uses them; intermediate tensors may stand anywhere.
    for _ in 0..=op.lets.len() {
        for position in (0..op.exprs.len()).rev() {
            let own = found[position];
            let mut mark = |expr: ExprId, conditional: bool| found[expr.index()] |= conditional;
            let id = ExprId(position as u32);
            match op.expr(id) {
                Expr::Select {
                    condition,
                    accept,
                    reject,
                } => {
                    mark(*condition, own);
                    mark(*accept, true);
                    mark(*reject, true);
                }
                Expr::Binary(BinaryOp::And | BinaryOp::Or, first, second) => {
                    mark(*first, own);
                    mark(*second, true);
                }
                _ => op.operands(id, |operand| mark(operand, own)),
            }
            if let Expr::Read {
                source: Source::Let(inner),
                index,
                ..
            } = op.expr(id)
            {
                let proven = (0..index.len()).all(|dimension| checked.proven(id, dimension));
                mark(op.lets[inner.index()].body, own || !proven);
            }
        }
    }
    found
}
