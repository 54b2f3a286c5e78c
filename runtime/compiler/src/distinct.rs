//! Upper bounds on the number of different values of index expressions.

use crate::check::Checked;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Literal, SizeId, Source, UnaryOp};

/// The nesting of index expressions that is looked at.
const MOST_LEVELS: u32 = 12;

/// Returns an upper bound on the number of different elements of a tensor of these dimensions that the indices select while their axes run.
pub(crate) fn elements(checked: &Checked, sizes: &[u64], index: &[ExprId], dims: &[SizeId]) -> f64 {
    Distinct { checked, sizes }.elements(index, dims, MOST_LEVELS)
}

struct Distinct<'a> {
    checked: &'a Checked,
    sizes: &'a [u64],
}

impl Distinct<'_> {
    fn elements(&self, index: &[ExprId], dims: &[SizeId], levels: u32) -> f64 {
        let each = index.iter().zip(dims);
        let each = each.map(|(&at, &dim)| self.values(at, levels).min(self.size(dim)));
        each.product::<f64>().min(self.volume(index))
    }

    fn size(&self, size: SizeId) -> f64 {
        self.sizes.get(size.index()).copied().unwrap_or(0) as f64
    }

    fn extent(&self, axis: AxisId) -> f64 {
        self.size(self.checked.extent(axis))
    }

    /// The number of combinations of the axes that expressions depend on.
    fn volume(&self, exprs: &[ExprId]) -> f64 {
        let mut axes: Vec<AxisId> = exprs.iter().flat_map(|&expr| self.checked.axes(expr).iter()).collect();
        axes.sort_unstable();
        axes.dedup();
        axes.into_iter().map(|axis| self.extent(axis)).product()
    }

    /// The most different values of an integer expression.
    fn values(&self, expr: ExprId, levels: u32) -> f64 {
        let Some(levels) = levels.checked_sub(1) else {
            return self.volume(&[expr]);
        };
        let op = self.checked.op();
        let of_operands = match op.expr(expr) {
            Expr::Literal(_) | Expr::Size(_) | Expr::Scalar(_) => 1.0,
            Expr::Axis(axis) => self.extent(*axis),
            Expr::Read {
                source: Source::Input(input),
                index,
                or: None,
            } => {
                let dims = op.inputs[input.index()].dims.as_deref().unwrap_or_default();
                self.elements(index, dims, levels)
            }
            Expr::Unary(_, a) | Expr::Cast(a, _) => self.values(*a, levels),
            Expr::Binary(_, a, b) => self.values(*a, levels) * self.values(*b, levels),
            _ => f64::INFINITY,
        };
        let within = self
            .interval(expr, levels)
            .map(|(low, high)| high.abs_diff(low) as f64 + 1.0);
        of_operands
            .min(within.unwrap_or(f64::INFINITY))
            .min(self.volume(&[expr]))
    }

    /// The least and the greatest value, if they follow from the extents of axes.
    fn interval(&self, expr: ExprId, levels: u32) -> Option<(i64, i64)> {
        let levels = levels.checked_sub(1)?;
        let op = self.checked.op();
        match *op.expr(expr) {
            Expr::Literal(Literal::Int(value)) => Some((value, value)),
            Expr::Size(size) => {
                let value = i64::try_from(*self.sizes.get(size.index())?).ok()?;
                Some((value, value))
            }
            Expr::Axis(axis) => {
                let extent = i64::try_from(*self.sizes.get(self.checked.extent(axis).index())?).ok()?;
                Some((0, extent.checked_sub(1)?.max(0)))
            }
            Expr::Unary(UnaryOp::Neg, a) => {
                let (low, high) = self.interval(a, levels)?;
                Some((high.checked_neg()?, low.checked_neg()?))
            }
            Expr::Binary(operation, a, b) => {
                let (a, b) = (self.interval(a, levels)?, self.interval(b, levels)?);
                let corners = |f: fn(i64, i64) -> Option<i64>| -> Option<(i64, i64)> {
                    let all = [f(a.0, b.0)?, f(a.0, b.1)?, f(a.1, b.0)?, f(a.1, b.1)?];
                    Some((*all.iter().min()?, *all.iter().max()?))
                };
                match operation {
                    BinaryOp::Add => corners(i64::checked_add),
                    BinaryOp::Sub => corners(i64::checked_sub),
                    BinaryOp::Mul => corners(i64::checked_mul),
                    BinaryOp::Div if b.0 > 0 => corners(i64::checked_div),
                    BinaryOp::Rem if b.0 > 0 && a.0 >= 0 => Some((0, a.1.min(b.1 - 1))),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}
