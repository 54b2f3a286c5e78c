//! The shape of an operator for `pointwise`.

use crate::check::Checked;
use crate::families::formula::{Formulas, Node, NodeId, Symbol};
use crate::ir::{Expr, InputId, SizeId, Source};
use crate::problem::Problem;
use std::ops::Range;

/// The facts that legality depends on.
pub(super) struct Shape {
    pub widest_vector: u32,
    pub transposed: Option<Sides>,
}

/// The facts that tiles of transposed inputs depend on.
pub(super) struct Sides {
    /// The extents of the inputs' fastest axes.
    pub fastest: Vec<SizeId>,
    /// Their product, if it is compiled in, and the outputs' fastest axis is next to them in memory: then the inputs' rows follow each other.
    pub run: Option<u64>,
    /// A power of two that divides the inputs' fastest dimensions.
    pub divisible: u32,
    /// Bytes of the narrowest and the widest element, and of all together.
    pub narrowest: u32,
    pub widest: u32,
    pub together: u32,
}

impl Shape {
    pub fn of(problem: &Problem<'_>) -> Option<Shape> {
        if !accepts(problem.checked) {
            return None;
        }
        let op = problem.checked.op();
        let transposed = Transposed::of(problem.checked).map(|transposed| {
            let inputs = || transposed.reads.iter().map(|&(_, input)| &op.inputs[input.index()]);
            let bytes = || inputs().map(|input| input.element.size());
            let fastest = inputs().filter_map(|input| input.dims.iter().flatten().last());
            let divisible = fastest
                .map(|size| problem.specialisation.extents[size.index()].multiple_of())
                .min();
            let axes = &op.outputs[0].dims[transposed.axes.clone()];
            let length = |size: &SizeId| problem.specialisation.extents[size.index()].fixed();
            Sides {
                fastest: axes.to_vec(),
                run: axes
                    .iter()
                    .try_fold(1u64, |product, size| product.checked_mul(length(size)?))
                    .filter(|_| transposed.rows_follow),
                divisible: if problem.specialisation.aligned {
                    divisible.unwrap_or(1)
                } else {
                    1
                },
                narrowest: bytes().min().unwrap_or(1),
                widest: bytes().max().unwrap_or(8),
                together: bytes().sum(),
            }
        });
        Some(Shape {
            widest_vector: widest_vector(problem),
            transposed,
        })
    }
}

/// Inputs that lie otherwise than outputs: their fastest axis is not the outputs'.
pub(crate) struct Transposed<'a> {
    pub formulas: Formulas<'a>,
    /// The positions among an output's axes of the inputs' fastest: neighbours that all inputs have last, in the same order.
    pub axes: Range<usize>,
    /// Reads of one element for each combination of some of the output's axes, the fastest among them.
    pub reads: Vec<(NodeId, InputId)>,
    /// `true` if all inputs have the outputs' fastest axis right before those.
    pub rows_follow: bool,
}

impl<'a> Transposed<'a> {
    /// None where no input is read so, or where some output's value may not be computed everywhere.
    pub fn of(checked: &'a Checked) -> Option<Transposed<'a>> {
        let op = checked.op();
        let last = op.outputs[0].axes.len().checked_sub(1)?;
        if !op.outputs.iter().all(|output| checked.unconditional(output.body)) {
            return None;
        }
        let formulas = Formulas::new(checked, 0)?;
        let mut reads: Vec<(NodeId, InputId, Range<usize>, Vec<usize>)> = Vec::new();
        for id in formulas.ids() {
            let Node::Read(input, index, None) = formulas.node(id) else {
                continue;
            };
            let position = |&at: &NodeId| match formulas.node(at) {
                Node::Axis(Symbol::Output(position)) => Some(*position),
                _ => None,
            };
            let Some(positions) = index.iter().map(position).collect::<Option<Vec<usize>>>() else {
                continue;
            };
            let spans = |dimension: usize| {
                let places = formulas.places(id);
                !places.is_empty() && places.iter().all(|place| checked.spans(place.expr, dimension))
            };
            match positions.last() {
                Some(&axis) if axis != last && positions.contains(&last) && (0..index.len()).all(spans) => {
                    reads.push((id, *input, neighbours(&positions), positions));
                }
                _ => {}
            }
        }
        let end = reads.first()?.2.end;
        reads.retain(|(_, _, own, _)| own.end == end);
        let start = reads.iter().map(|(_, _, own, _)| own.start).max()?;
        let follows = |positions: &[usize]| {
            let before = positions.len().checked_sub(end - start + 1);
            before.is_some_and(|before| positions[before] == last)
        };
        Some(Transposed {
            axes: start..end,
            rows_follow: end == last && reads.iter().all(|(.., positions)| follows(positions)),
            reads: reads.into_iter().map(|(id, input, ..)| (id, input)).collect(),
            formulas,
        })
    }
}

/// The longest end of these positions that ascends one by one.
fn neighbours(positions: &[usize]) -> Range<usize> {
    let ends = positions.iter().rev().zip(positions.iter().rev().skip(1));
    let more = ends.take_while(|&(&later, &earlier)| earlier + 1 == later).count();
    let end = positions.last().map_or(0, |&last| last + 1);
    end - (more + 1).min(end)..end
}

fn accepts(checked: &Checked) -> bool {
    let op = checked.op();
    let same_shape = op.outputs.iter().all(|output| output.dims == op.outputs[0].dims);
    same_shape && !op.exprs.iter().any(|expr| matches!(expr, Expr::Reduce { .. }))
}

/// The widest vector whose chunks never straddle two rows and fill 16 bytes of the narrowest tensor.
fn widest_vector(problem: &Problem<'_>) -> u32 {
    let op = problem.checked.op();
    let Some(&innermost) = op.outputs[0].dims.last() else {
        return 1;
    };
    if !problem.specialisation.aligned {
        return 1;
    }
    let inputs = op.inputs.iter().filter(|input| input.dims.is_some());
    let narrowest = inputs
        .map(|input| input.element.size())
        .chain(op.outputs.iter().map(|output| output.element.size()))
        .min()
        .unwrap_or(4);
    let divisible = if flat(problem.checked) {
        16
    } else {
        problem.specialisation.extents[innermost.index()].multiple_of()
    };
    (16 / narrowest).min(divisible)
}

/// `true` if every read is of the element that is written, so that the outputs may be seen as one long row.
pub(crate) fn flat(checked: &Checked) -> bool {
    let op = checked.op();
    if !op.lets.is_empty() || op.outputs.len() != 1 || op.outputs[0].dims.is_empty() {
        return false;
    }
    let output = &op.outputs[0];
    // Every axis expression must belong to such a read.
    let mut axes_in_reads = 0;
    for expr in &op.exprs {
        let Expr::Read {
            source: Source::Input(input),
            index,
            or: None,
        } = expr
        else {
            continue;
        };
        let identical = op.inputs[input.index()].dims.as_ref() == Some(&output.dims)
            && index
                .iter()
                .zip(&output.axes)
                .all(|(&at, &axis)| *op.expr(at) == Expr::Axis(axis));
        if !identical {
            return false;
        }
        axes_in_reads += index.len();
    }
    let plain_reads = op.exprs.iter().all(|expr| {
        !matches!(
            expr,
            Expr::Read { or: Some(_), .. }
                | Expr::Read {
                    source: Source::Let(_),
                    ..
                }
        )
    });
    let axes = op.exprs.iter().filter(|expr| matches!(expr, Expr::Axis(_))).count();
    plain_reads && axes == axes_in_reads
}
