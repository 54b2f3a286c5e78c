//! Compulsory traffic: every element moves between device memory and the chip at least once, in any schedule.

use super::count::Count;
use super::memory::SECTOR;
use crate::affine::Affine;
use crate::check::Checked;
use crate::distinct;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, InputId, SizeId, Source};

/// Returns the bytes of all inputs that a call reads, in whole sectors. Exact if every tensor is certainly read as a whole or not at all.
pub(super) fn reads(checked: &Checked, sizes: &[u64]) -> Count {
    let op = checked.op();
    let mut reads = Reads {
        checked,
        sizes,
        seen: [vec![false; op.exprs.len()], vec![false; op.exprs.len()]],
        inputs: vec![Use::None; op.inputs.len()],
        parts: vec![0.0; op.inputs.len()],
    };
    for output in &op.outputs {
        if volume(&output.dims, sizes) > 0 {
            reads.visit(output.body, true);
        }
    }
    let uses = reads.inputs.iter().zip(&reads.parts);
    let tensors = op.inputs.iter().zip(uses).filter_map(|(input, (used, &part))| {
        let dims = input.dims.as_ref()?;
        let all = in_sectors(volume(dims, sizes), input.element.size());
        Some(match used {
            Use::None => Count::default(),
            Use::Part => Count {
                likely: part.min(all as f64),
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
    bytes.div_ceil(SECTOR as u64).saturating_mul(SECTOR as u64)
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
    /// The most bytes of each input that its reads touch together.
    parts: Vec<f64>,
}

impl Reads<'_> {
    /// Visits an expression. `surely` is `true` if it is evaluated for all values of its axes.
    fn visit(&mut self, expr: ExprId, surely: bool) {
        let first = self.seen.iter().all(|seen| !seen[expr.index()]);
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
                        if first {
                            self.parts[input.index()] += self.part(expr, *input, index);
                        }
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

    /// The most bytes of an input that a read touches: whole sectors, so also the elements that a step along the last dimension leaves out.
    fn part(&self, read: ExprId, input: InputId, index: &[ExprId]) -> f64 {
        let input = &self.checked.op().inputs[input.index()];
        let dims = input.dims.as_deref().unwrap_or_default();
        let element = u64::from(input.element.size());
        let sector = SECTOR as u64;
        let bytes = match (index.last(), dims.last()) {
            (Some(_), _) if self.checked.gathered(read, index.len() - 1) => sector,
            (Some(&last), Some(&row)) => (self.step(last).min(value(row, self.sizes)).max(1))
                .saturating_mul(element)
                .clamp(element, sector.max(element)),
            _ => element,
        };
        distinct::elements(self.checked, self.sizes, index, dims) * bytes as f64
    }

    /// The least step of an index from one value to the next; `u64::MAX` of one that is the same for all axes, 1 of one that is not affine.
    fn step(&self, index: ExprId) -> u64 {
        let Some(affine) = Affine::of(self.checked, self.sizes, index) else {
            return 1;
        };
        let moving = affine.terms.iter().filter(|&&(axis, _)| self.extent(axis) > 1);
        let steps = moving.map(|&(_, coefficient)| coefficient.unsigned_abs());
        steps.min().unwrap_or(u64::MAX)
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
            let Affine {
                terms,
                constant: divisor,
            } = Affine::of(self.checked, self.sizes, *b)?;
            let (low, high) = self.range(*a)?;
            let natural = terms.is_empty() && divisor > 0 && low >= 0;
            return natural.then(|| (low / divisor, high / divisor));
        }
        let Affine { mut terms, constant } = Affine::of(self.checked, self.sizes, index)?;
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang;

    #[test]
    fn a_step_along_rows_moves_whole_sectors() {
        // The index that a result `(M, N)` reads `x` at, and the bytes that are read at `M = N = 64`, of rows of 256 elements of 2 bytes.
        for (index, bytes) in [
            ("m, n", 64 * 64 * 2),
            ("m, 2 * n", 64 * 64 * 4),
            ("2 * m, 2 * n", 64 * 64 * 4),
            ("m, 255 - 3 * n", 64 * 64 * 6),
            ("m, n / 2", 64 * 32 * 2),
            ("m + n, 7", 127 * 32),
        ] {
            let source = format!(
                "fn part(x: Tensor<f16, (R, C)>, y: Tensor<f16, (M, N)>) -> Tensor<f16, (M, N)> {{ |m, n| x[[{index}]] + y[[m, n]] }}"
            );
            let operator = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
            let checked = &operator.variants[0].checked;
            let sizes = checked.derive(vec![128, 256, 64, 64]).unwrap();
            assert_eq!(reads(checked, &sizes).likely, f64::from(bytes + 64 * 64 * 2), "{index}");
        }
    }
}
