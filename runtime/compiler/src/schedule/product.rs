//! Sums of products: what an operator must be for its outputs to be computed in tiles.

use crate::check::Checked;
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, LetId, Literal, ReduceOp, Source, UnaryOp};
use crate::size::Specialisation;

/// An operator as a sum of products: `out[batch, rows, columns] = f(Σ left · right)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ContractShape {
    /// The reduction.
    pub sum: ExprId,
    /// The type it is summed in.
    pub ty: Type,
    /// Where the sum stands in an intermediate tensor: output axes, and that tensor's axes that stand for them.
    pub aliases: Vec<(AxisId, AxisId)>,
    /// Output axes that both sides have.
    pub batch: Vec<AxisId>,
    /// Factors with the rows.
    pub left: Side,
    /// Factors with the columns, which the output's fastest axis is one of.
    pub right: Side,
    /// Axes of the sum.
    pub depth: Vec<AxisId>,
}

/// One side of the product.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Side {
    /// Its factors.
    pub factors: Vec<ExprId>,
    /// The output axes that only it has, in the output's order.
    pub axes: Vec<AxisId>,
    /// Whether its memory is contiguous along the sum's fastest axis, rather than along its own.
    pub along_depth: bool,
    /// Whether neighbours along that axis are neighbours in memory.
    pub contiguous: bool,
    /// Reads that one element of the slab is made of: at least 1.
    pub reads: u32,
}

impl ContractShape {
    /// Bytes of an element as it is computed with.
    pub(crate) fn element_bytes(&self) -> u32 {
        match self.ty {
            Type::F64 | Type::I64 => 8,
            _ => 4,
        }
    }
}

impl Side {
    /// How many neighbours can be loaded at once, at most `most`: what alignment allows.
    pub(crate) fn vector(
        &self,
        checked: &Checked,
        specialisation: &Specialisation,
        depth: &[AxisId],
        most: u32,
    ) -> u32 {
        let walked = if self.along_depth { depth } else { &self.axes };
        match walked.last() {
            Some(&fastest) if self.contiguous && specialisation.aligned => specialisation.extents
                [checked.extent(fastest).index()]
            .multiple_of()
            .min(most),
            _ => 1,
        }
    }
}

/// Finds the sum of products in an operator. None if it is not one.
pub(crate) fn operands(checked: &Checked) -> Option<ContractShape> {
    let op = checked.op();
    let [output] = op.outputs.as_slice() else { return None };
    let mut sums = op
        .exprs
        .iter()
        .enumerate()
        .filter(|(_, e)| matches!(e, Expr::Reduce { .. }));
    let (position, sum) = sums.next()?;
    if sums.next().is_some() {
        return None;
    }
    let id = ExprId(position as u32);
    let Expr::Reduce {
        op: ReduceOp::Sum,
        axes: depth,
        body,
    } = sum
    else {
        return None;
    };
    let ty = checked.ty(id);
    // Axes of the closure the sum stands in, as axes of the output.
    let inside = enclosing(checked, id)?;
    let own = match inside {
        None => output.axes.clone(),
        Some(inner) => as_output_axes(checked, inner)?,
    };
    let closure = match inside {
        None => &output.axes,
        Some(inner) => &op.lets[inner.index()].axes,
    };
    let aliases = match inside {
        None => Vec::new(),
        Some(_) => own.iter().copied().zip(closure.iter().copied()).collect(),
    };
    let to_output = |axis: AxisId| closure.iter().position(|&a| a == axis).map(|at| own[at]);

    let mut factors = Vec::new();
    flatten(checked, *body, ty, &mut factors);
    if factors.len() < 2 {
        return None;
    }
    // Axes of each factor among the output's.
    let of = |factor: ExprId| -> Vec<AxisId> { checked.axes(factor).iter().filter_map(to_output).collect() };
    let mut left = vec![factors[0]];
    let (mut left_axes, mut right_axes) = (of(factors[0]), Vec::new());
    let mut right: Vec<ExprId> = Vec::new();
    for &factor in &factors[1..] {
        let axes = of(factor);
        if axes.iter().all(|axis| left_axes.contains(axis)) && !right.is_empty() {
            left.push(factor);
        } else if right.is_empty() || axes.iter().all(|axis| right_axes.contains(axis)) {
            right.push(factor);
            right_axes.extend(
                axes.into_iter()
                    .filter(|axis| !right_axes.contains(axis))
                    .collect::<Vec<_>>(),
            );
        } else {
            return None;
        }
    }
    let batch: Vec<AxisId> = output
        .axes
        .iter()
        .copied()
        .filter(|axis| left_axes.contains(axis) && right_axes.contains(axis))
        .collect();
    let only = |axes: &[AxisId]| -> Vec<AxisId> {
        output
            .axes
            .iter()
            .copied()
            .filter(|axis| axes.contains(axis) && !batch.contains(axis))
            .collect()
    };
    let (rows, columns) = (only(&left_axes), only(&right_axes));
    if batch.len() + rows.len() + columns.len() != output.axes.len() || rows.is_empty() || columns.is_empty() {
        return None;
    }
    left_axes.clear();
    let side = |factors: Vec<ExprId>, axes: Vec<AxisId>| {
        let (along_depth, contiguous) = layout(checked, &factors, depth, &axes, &to_output);
        Side {
            reads: reads(checked, &factors).max(1),
            factors,
            axes,
            along_depth,
            contiguous,
        }
    };
    let (left, right) = (side(left, rows), side(right, columns));
    let last = output.axes.last()?;
    let (left, right) = if left.axes.contains(last) {
        (right, left)
    } else if right.axes.contains(last) {
        (left, right)
    } else {
        return None;
    };
    Some(ContractShape {
        sum: id,
        ty,
        aliases,
        batch,
        left,
        right,
        depth: depth.clone(),
    })
}

/// The intermediate tensor an expression stands in; `Some(None)` for the output. None if it is shared.
fn enclosing(checked: &Checked, expr: ExprId) -> Option<Option<LetId>> {
    let op = checked.op();
    let contains = |root: ExprId| {
        let mut wanted = vec![false; op.exprs.len()];
        wanted[root.index()] = true;
        for position in (0..op.exprs.len()).rev() {
            if wanted[position] {
                op.operands(ExprId(position as u32), |operand| wanted[operand.index()] = true);
            }
        }
        wanted[expr.index()]
    };
    let mut found = Vec::new();
    if contains(op.outputs[0].body) {
        found.push(None);
    }
    for (number, entry) in op.lets.iter().enumerate() {
        if contains(entry.body) {
            found.push(Some(LetId(number as u32)));
        }
    }
    match found.as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

/// The output axes that stand for an intermediate tensor's own wherever it is read: it must be read with bare output axes, and always the same.
fn as_output_axes(checked: &Checked, inner: LetId) -> Option<Vec<AxisId>> {
    let op = checked.op();
    let output = &op.outputs[0];
    let mut found: Option<Vec<AxisId>> = None;
    for (position, expr) in op.exprs.iter().enumerate() {
        let Expr::Read {
            source: Source::Let(source),
            index,
            or: None,
        } = expr
        else {
            continue;
        };
        if *source != inner {
            continue;
        }
        let id = ExprId(position as u32);
        let axes: Vec<AxisId> = index
            .iter()
            .enumerate()
            .map(|(dimension, &at)| match op.expr(at) {
                Expr::Axis(axis) if output.axes.contains(axis) && checked.proven(id, dimension) => Some(*axis),
                _ => None,
            })
            .collect::<Option<_>>()?;
        if found.as_ref().is_some_and(|other| *other != axes) {
            return None;
        }
        found = Some(axes);
    }
    found
}

/// The factors of a product computed in one type.
fn flatten(checked: &Checked, expr: ExprId, ty: Type, factors: &mut Vec<ExprId>) {
    match checked.op().expr(expr) {
        Expr::Binary(BinaryOp::Mul, a, b) if checked.ty(expr) == ty && factors.len() < 8 => {
            flatten(checked, *a, ty, factors);
            flatten(checked, *b, ty, factors);
        }
        _ => factors.push(expr),
    }
}

/// Along which axes the first tensor read is contiguous: `(along the sum's, neighbours are neighbours)`.
fn layout(
    checked: &Checked,
    factors: &[ExprId],
    depth: &[AxisId],
    own: &[AxisId],
    to_output: &impl Fn(AxisId) -> Option<AxisId>,
) -> (bool, bool) {
    let op = checked.op();
    for &factor in factors {
        let mut next = vec![factor];
        while let Some(expr) = next.pop() {
            if let Expr::Read {
                source: Source::Input(_),
                index,
                ..
            } = op.expr(expr)
                && let Some(&last) = index.last()
            {
                let axes = checked.axes(last);
                let of_own = axes.iter().filter_map(to_output).any(|axis| own.contains(&axis));
                let along_depth = !of_own && depth.iter().any(|&axis| axes.contains(axis));
                let fastest = if along_depth { depth.last().copied() } else { None };
                let contiguous = axes
                    .iter()
                    .filter(|&axis| {
                        if along_depth {
                            Some(axis) == fastest
                        } else {
                            to_output(axis) == own.last().copied()
                        }
                    })
                    .any(|axis| coefficient(checked, last, axis) == Some(1));
                return (along_depth, contiguous);
            }
            op.operands(expr, |operand| next.push(operand));
        }
    }
    (false, false)
}

/// The coefficient of an axis in an index, where it is a plain number.
fn coefficient(checked: &Checked, index: ExprId, axis: AxisId) -> Option<i64> {
    if !checked.axes(index).contains(axis) {
        return Some(0);
    }
    let of = |expr| coefficient(checked, expr, axis);
    let literal = |expr: ExprId| match checked.op().expr(expr) {
        Expr::Literal(Literal::Int(value)) => Some(*value),
        _ => None,
    };
    match checked.op().expr(index) {
        Expr::Axis(_) => Some(1),
        Expr::Unary(UnaryOp::Neg, a) => of(*a)?.checked_neg(),
        Expr::Binary(BinaryOp::Add, a, b) => of(*a)?.checked_add(of(*b)?),
        Expr::Binary(BinaryOp::Sub, a, b) => of(*a)?.checked_sub(of(*b)?),
        Expr::Binary(BinaryOp::Mul, a, b) => match (literal(*a), literal(*b)) {
            (Some(factor), _) => of(*b)?.checked_mul(factor),
            (_, Some(factor)) => of(*a)?.checked_mul(factor),
            _ => None,
        },
        _ => None,
    }
}
/// Reads among expressions and what they are made of.
fn reads(checked: &Checked, exprs: &[ExprId]) -> u32 {
    let op = checked.op();
    let mut wanted = vec![false; op.exprs.len()];
    exprs.iter().for_each(|expr| wanted[expr.index()] = true);
    let mut reads = 0;
    // Operands stand before what uses them.
    for position in (0..op.exprs.len()).rev() {
        if wanted[position] {
            reads += u32::from(matches!(op.exprs[position], Expr::Read { .. }));
            op.operands(ExprId(position as u32), |operand| wanted[operand.index()] = true);
        }
    }
    reads
}
