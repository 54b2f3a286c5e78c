//! Compulsory traffic: every element moves between device memory and the chip at least once, in any schedule.

use super::count::Count;
use crate::check::Checked;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Literal, SizeId, Source, UnaryOp};

/// Bytes of a sector.
const SECTOR: u64 = 32;

/// Returns the bytes of all inputs that a call reads, in whole sectors. Exact if every tensor is certainly read as a whole or not at all.
pub(super) fn reads(checked: &Checked, sizes: &[u64]) -> Count {
    let op = checked.op();
    let mut reads = Reads {
        checked,
        sizes,
        seen: [vec![false; op.exprs.len()], vec![false; op.exprs.len()]],
        inputs: vec![Use::None; op.inputs.len()],
    };
    for output in &op.outputs {
        if volume(&output.dims, sizes) > 0 {
            reads.visit(output.body, true);
        }
    }
    let tensors = op.inputs.iter().zip(&reads.inputs).filter_map(|(input, used)| {
        let dims = input.dims.as_ref()?;
        let all = in_sectors(volume(dims, sizes), input.element.size());
        Some(match used {
            Use::None => Count::default(),
            Use::Part => Count {
                likely: all as f64,
                ..Count::between(0, all)
            },
            Use::Whole => Count::exactly(all),
        })
    });
    tensors.fold(Count::default(), Count::plus)
}

/// Returns the bytes of all outputs, in whole sectors.
pub(super) fn writes(checked: &Checked, sizes: &[u64]) -> Count {
    let outputs = checked.op().outputs.iter();
    let bytes = outputs.map(|output| in_sectors(volume(&output.dims, sizes), output.element.size()));
    Count::exactly(bytes.fold(0, u64::saturating_add))
}

fn in_sectors(elements: u64, element_bytes: u32) -> u64 {
    let bytes = elements.saturating_mul(element_bytes.into());
    bytes.div_ceil(SECTOR).saturating_mul(SECTOR)
}

fn volume(dims: &[SizeId], sizes: &[u64]) -> u64 {
    dims.iter().map(|size| value(*size, sizes)).fold(1, u64::saturating_mul)
}

fn value(size: SizeId, sizes: &[u64]) -> u64 {
    sizes.get(size.index()).copied().unwrap_or(0)
}

/// The part of a tensor that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    None,
    /// Any part, possibly nothing or everything.
    Part,
    Whole,
}

struct Reads<'a> {
    checked: &'a Checked,
    sizes: &'a [u64],
    /// Visited expressions: those that may be evaluated, and those that certainly are.
    seen: [Vec<bool>; 2],
    inputs: Vec<Use>,
}

impl Reads<'_> {
    /// Visits an expression. `surely` is `true` if it is evaluated for all values of its axes.
    fn visit(&mut self, expr: ExprId, surely: bool) {
        if std::mem::replace(&mut self.seen[usize::from(surely)][expr.index()], true) {
            return;
        }
        let op = self.checked.op();
        match op.expr(expr) {
            Expr::Read { source, index, or } => {
                index.iter().for_each(|&index| self.visit(index, surely));
                or.iter().for_each(|&or| self.visit(or, false));
                let (dims, body): (Vec<SizeId>, _) = match *source {
                    Source::Input(input) => (op.inputs[input.index()].dims.clone().unwrap_or_default(), None),
                    Source::Let(inner) => {
                        let inner = &op.lets[inner.index()];
                        let dims = inner.axes.iter().map(|&axis| self.checked.extent(axis)).collect();
                        (dims, Some(inner.body))
                    }
                };
                let whole = surely && self.covers(index, &dims);
                match (body, source) {
                    (Some(body), _) => self.visit(body, whole),
                    (None, Source::Input(input)) => {
                        let used = if whole { Use::Whole } else { Use::Part };
                        let known = &mut self.inputs[input.index()];
                        *known = used.max(*known);
                    }
                    (None, Source::Let(_)) => {}
                }
            }
            Expr::Binary(BinaryOp::And | BinaryOp::Or, a, b) => {
                self.visit(*a, surely);
                self.visit(*b, false);
            }
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                self.visit(*condition, surely);
                self.visit(*accept, false);
                self.visit(*reject, false);
            }
            Expr::Reduce { axes, body, .. } => {
                let empty = axes.iter().any(|&axis| self.extent(axis) == 0);
                if !empty {
                    self.visit(*body, surely);
                }
            }
            _ => op.operands(expr, |operand| self.visit(operand, surely)),
        }
    }

    fn extent(&self, axis: AxisId) -> u64 {
        value(self.checked.extent(axis), self.sizes)
    }

    /// `true` if the indices take all combinations of values below the dimensions as their axes run.
    fn covers(&self, index: &[ExprId], dims: &[SizeId]) -> bool {
        let independent = |number: usize| {
            let mut axes = self.checked.axes(index[number]).iter();
            axes.all(|axis| {
                index[..number]
                    .iter()
                    .all(|&other| !self.checked.axes(other).contains(axis))
            })
        };
        (0..index.len()).all(|number| {
            let size = value(dims[number], self.sizes) as i64;
            let range = self.range(index[number]);
            independent(number) && range.is_some_and(|(low, high)| low <= 0 && high >= size - 1)
        })
    }

    /// The least and the greatest value of an index that takes all values between them.
    fn range(&self, index: ExprId) -> Option<(i64, i64)> {
        if let Expr::Binary(BinaryOp::Div, a, b) = self.checked.op().expr(index) {
            let (terms, divisor) = self.linear(*b)?;
            let (low, high) = self.range(*a)?;
            let natural = terms.is_empty() && divisor > 0 && low >= 0;
            return natural.then(|| (low / divisor, high / divisor));
        }
        let (mut terms, constant) = self.linear(index)?;
        terms.sort_by_key(|&(_, coefficient)| coefficient.unsigned_abs());
        let (mut low, mut high) = (constant, constant);
        for (axis, coefficient) in terms {
            let steps = i64::try_from(self.extent(axis))
                .ok()?
                .checked_sub(1)
                .filter(|&steps| steps >= 0)?;
            if steps > 0 && coefficient.unsigned_abs() > high.abs_diff(low) + 1 {
                return None;
            }
            let reach = coefficient.checked_mul(steps)?;
            low = low.checked_add(reach.min(0))?;
            high = high.checked_add(reach.max(0))?;
        }
        Some((low, high))
    }

    /// An index as a sum of axes with coefficients, and a constant.
    fn linear(&self, index: ExprId) -> Option<(Vec<(AxisId, i64)>, i64)> {
        let scaled = |(mut terms, constant): (Vec<(AxisId, i64)>, i64), factor: i64| {
            for (_, coefficient) in &mut terms {
                *coefficient = coefficient.checked_mul(factor)?;
            }
            Some((terms, constant.checked_mul(factor)?))
        };
        let sum = |a: (Vec<(AxisId, i64)>, i64), b: (Vec<(AxisId, i64)>, i64)| {
            let (mut terms, constant) = a;
            for (axis, coefficient) in b.0 {
                match terms.iter_mut().find(|(own, _)| *own == axis) {
                    Some((_, own)) => *own = own.checked_add(coefficient)?,
                    None => terms.push((axis, coefficient)),
                }
            }
            terms.retain(|&(_, coefficient)| coefficient != 0);
            Some((terms, constant.checked_add(b.1)?))
        };
        match self.checked.op().expr(index) {
            Expr::Literal(Literal::Int(value)) => Some((Vec::new(), *value)),
            Expr::Size(size) => Some((Vec::new(), i64::try_from(value(*size, self.sizes)).ok()?)),
            Expr::Axis(axis) => Some((vec![(*axis, 1)], 0)),
            Expr::Unary(UnaryOp::Neg, a) => scaled(self.linear(*a)?, -1),
            Expr::Binary(BinaryOp::Add, a, b) => sum(self.linear(*a)?, self.linear(*b)?),
            Expr::Binary(BinaryOp::Sub, a, b) => sum(self.linear(*a)?, scaled(self.linear(*b)?, -1)?),
            Expr::Binary(BinaryOp::Mul, a, b) => {
                let (a, b) = (self.linear(*a)?, self.linear(*b)?);
                match (a.0.is_empty(), b.0.is_empty()) {
                    (true, _) => scaled(b, a.1),
                    (_, true) => scaled(a, b.1),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}
