//! The shape of an operator for `skinny`: its sums, rows, columns, weights and other operands.

use crate::check::Checked;
use crate::element::{Element, Type};
use crate::families::analysis::{conditional, reducing};
use crate::ir::{AxisId, Expr, ExprId, InputId, ReduceOp, SizeId, Source};
use crate::lower::tile::products::coefficient;
use crate::problem::Problem;
use crate::size::Specialisation;
use std::sync::Arc;

/// The most rows of the family.
pub(super) const MOST_ROWS: u64 = 16;

/// An operator as sums over the same terms: `out[batch, rows, columns] = f(Σ …, Σ …)`.
///
/// Dimensions of the outputs, which all have the same, are named by their positions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SkinnyShape {
    /// The reductions.
    pub sums: Vec<Sum>,
    /// The axes of outputs and intermediate tensors that stand for each position.
    pub axes: Vec<Vec<AxisId>>,
    /// Positions that every operand depends on.
    pub batch: Vec<usize>,
    /// Positions that the weights do not depend on.
    pub rows: Vec<usize>,
    /// Positions that only the weights depend on.
    pub columns: Vec<usize>,
    /// Extents of the sums' axes, slowest first.
    pub extents: Vec<SizeId>,
    /// Reads of weights.
    pub weights: Vec<Operand>,
    /// Reads of what goes with them.
    pub others: Vec<Operand>,
    /// `true` if the weights are contiguous along the sums' fastest axis, rather than along the fastest of the columns.
    pub along_depth: bool,
    /// The most neighbouring weights that 16 bytes hold, where they are contiguous and aligned.
    pub widest_vector: u32,
    /// A power of two that divides the fastest of the sums' extents, where tensors are aligned.
    pub depth_multiple: u32,
    /// The number of rows, columns and terms, where compiled in.
    pub row_count: Option<u64>,
    pub column_count: Option<u64>,
    pub depth: Option<u64>,
}

/// One of the reductions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sum {
    pub expr: ExprId,
    pub op: ReduceOp,
    pub body: ExprId,
    pub ty: Type,
    /// Its own axes.
    pub depth: Vec<AxisId>,
    /// `true` if it differs by row, and by column.
    pub by_row: bool,
    pub by_column: bool,
}

/// A read of an input inside a sum, of another element for each term.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    pub read: ExprId,
    pub input: InputId,
    pub element: Element,
    /// `true` if it stands in the sum itself, rather than in an intermediate tensor that the sum reads.
    pub direct: bool,
    pub by_row: bool,
    /// `true` if neighbouring terms are of different elements, rather than of one (a scale of several terms).
    by_term: bool,
    /// `true` if it may lie outside of its tensor: each element is then loaded for itself.
    pub padded: bool,
    /// Output positions it depends on, ascending.
    positions: Vec<usize>,
    /// The position, or the fastest of the sum's axes, along which it is contiguous.
    contiguous: Option<Root>,
}

/// The root that a bare axis stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Position(usize),
    /// An axis of the sum, counted from the fastest.
    Depth(usize),
}

/// The dependences of an axis's value.
#[derive(Debug, Clone, Default)]
struct Dependence {
    positions: Vec<usize>,
    depth: bool,
    /// Where the axis is nothing but that.
    root: Option<Root>,
}

impl Sum {
    /// Bytes of a partial result.
    pub fn bytes(&self) -> u32 {
        match self.ty {
            Type::F64 | Type::I64 => 8,
            _ => 4,
        }
    }
}

impl Operand {
    /// `true` if it is contiguous along the fastest of the sums' axes.
    pub fn along_depth(&self) -> bool {
        self.contiguous == Some(Root::Depth(0))
    }

    /// The number of elements that so many neighbours have.
    pub fn elements(&self, neighbours: u32) -> u32 {
        if self.contiguous.is_some() || self.by_term {
            neighbours
        } else {
            1
        }
    }
}

/// Finds the sums in an operator, and which of its dimensions are rows and columns. None if it is no such operator.
pub(super) fn shape(problem: &Problem<'_>) -> Arc<Option<SkinnyShape>> {
    problem.shape(find)
}

fn find(problem: &Problem<'_>) -> Option<SkinnyShape> {
    let op = problem.checked.op();
    let dims = &op.outputs[0].dims;
    if op.outputs.iter().any(|output| output.dims != *dims) {
        return None;
    }
    let mut search = Search {
        checked: problem.checked,
        reducing: reducing(problem.checked),
        conditional: conditional(problem.checked),
        dependences: vec![Dependence::default(); op.axes.len()],
        axes: vec![Vec::new(); dims.len()],
        sums: Vec::new(),
        reads: Vec::new(),
    };
    for output in &op.outputs {
        for (position, &axis) in output.axes.iter().enumerate() {
            search.stands_for(axis, position)?;
        }
        search.around(output.body, 0)?;
    }
    let Search {
        axes, mut sums, reads, ..
    } = search;
    let extents: Vec<SizeId> = sums
        .first()?
        .depth
        .iter()
        .map(|&axis| problem.checked.extent(axis))
        .collect();
    if sums.iter().any(|sum| {
        !sum.depth
            .iter()
            .map(|&axis| problem.checked.extent(axis))
            .eq(extents.iter().copied())
    }) {
        return None;
    }
    let count =
        |positions: &[usize]| fixed_volume(problem.specialisation, positions.iter().map(|&position| dims[position]));
    let [batch, rows, columns] = sides(&reads, dims.len(), count)?;
    let on = |positions: &[usize], side: &[usize]| positions.iter().any(|position| side.contains(position));
    for sum in &mut sums {
        let positions: Vec<usize> = (0..dims.len())
            .filter(|&position| {
                axes[position]
                    .iter()
                    .any(|&axis| problem.checked.axes(sum.expr).contains(axis))
            })
            .collect();
        (sum.by_row, sum.by_column) = (on(&positions, &rows), on(&positions, &columns));
    }
    let (weights, mut others): (Vec<_>, Vec<_>) = reads.into_iter().partition(|read| on(&read.positions, &columns));
    others
        .iter_mut()
        .for_each(|read| read.by_row = on(&read.positions, &rows));
    // The weights proper, rather than their scales, decide how they are walked over.
    let proper = weights.iter().map(|read| read.positions.len()).max()?;
    let proper = weights.iter().filter(|read| read.positions.len() == proper);
    let layout = proper.clone().find_map(|read| read.contiguous);
    let along_depth = match layout {
        Some(Root::Depth(_)) => true,
        Some(Root::Position(position)) => columns.last() != Some(&position),
        None => true,
    };
    let narrowest = proper.map(|read| read.element.size()).min()?;
    let multiple = |size: Option<SizeId>| {
        let multiple = size.map_or(1, |size| problem.specialisation.extents[size.index()].multiple_of());
        if problem.specialisation.aligned { multiple } else { 1 }
    };
    let depth_multiple = multiple(extents.last().copied());
    let divisible = match layout {
        Some(Root::Depth(0)) => depth_multiple,
        Some(Root::Position(position)) if !along_depth => multiple(dims.get(position).copied()),
        _ => 1,
    };
    Some(SkinnyShape {
        row_count: count(&rows),
        column_count: count(&columns),
        depth: fixed_volume(problem.specialisation, extents.iter().copied()),
        widest_vector: divisible.min(16 / narrowest),
        sums,
        axes,
        batch,
        rows,
        columns,
        extents,
        weights,
        others,
        along_depth,
        depth_multiple,
    })
}

fn fixed_volume(specialisation: &Specialisation, mut sizes: impl Iterator<Item = SizeId>) -> Option<u64> {
    sizes.try_fold(1u64, |volume, size| {
        volume.checked_mul(specialisation.extents[size.index()].fixed()?)
    })
}

/// Batch, rows and columns: what both of two kinds of operands depend on, and what one of them does. Rows are the fewer,
/// as far as that is compiled in; the fastest dimension of the outputs is one of columns.
fn sides(reads: &[Operand], rank: usize, count: impl Fn(&[usize]) -> Option<u64>) -> Option<[Vec<usize>; 3]> {
    let within = |a: &[usize], b: &[usize]| a.iter().all(|position| b.contains(position));
    // An operand that depends on less than another one is a scale or a mask of it, or is shared by all columns.
    let mut kinds: Vec<&[usize]> = Vec::new();
    for read in reads {
        let positions = read.positions.as_slice();
        if !kinds.iter().any(|kind| within(positions, kind)) {
            kinds.retain(|kind| !within(kind, positions));
            kinds.push(positions);
        }
    }
    let shared = |kind: &[usize]| reads.iter().any(|read| !within(kind, &read.positions));
    let only = |own: &[usize], other: &[usize]| -> Vec<usize> {
        own.iter()
            .copied()
            .filter(|position| !other.contains(position))
            .collect()
    };
    let (batch, mut rows, mut columns): (Vec<usize>, _, _) = match *kinds.as_slice() {
        [kind] if shared(kind) => {
            let of_all = |position: &usize| reads.iter().all(|read| read.positions.contains(position));
            let batch: Vec<usize> = kind.iter().copied().filter(of_all).collect();
            let columns = only(kind, &batch);
            (batch, Vec::new(), columns)
        }
        [a, b] => {
            let batch = a.iter().copied().filter(|position| b.contains(position)).collect();
            (batch, only(a, b), only(b, a))
        }
        _ => return None,
    };
    if batch.len() + rows.len() + columns.len() != rank {
        return None;
    }
    const FEW: u64 = MOST_ROWS;
    let swapped = match (count(&rows), count(&columns)) {
        (Some(rows), Some(columns)) if rows != columns => columns < rows,
        (Some(rows), None) if rows > FEW => true,
        (None, Some(columns)) if columns > FEW => false,
        _ => rows.contains(&(rank.checked_sub(1)?)),
    };
    if swapped && !rows.is_empty() {
        std::mem::swap(&mut rows, &mut columns);
    }
    (!columns.is_empty()).then_some([batch, rows, columns])
}

/// Expressions nested deeper are left to other families.
const MOST_NESTED: u32 = 64;

/// Finds reductions and what they read.
struct Search<'a> {
    checked: &'a Checked,
    reducing: Vec<bool>,
    conditional: Vec<bool>,
    /// The dependences of each axis.
    dependences: Vec<Dependence>,
    axes: Vec<Vec<AxisId>>,
    sums: Vec<Sum>,
    reads: Vec<Operand>,
}

impl Search<'_> {
    /// An axis is nothing but that position of the outputs. None if it already is another.
    fn stands_for(&mut self, axis: AxisId, position: usize) -> Option<()> {
        let dependence = &mut self.dependences[axis.index()];
        let root = Some(Root::Position(position));
        if dependence.root.is_some() && dependence.root != root {
            return None;
        }
        *dependence = Dependence {
            positions: vec![position],
            depth: false,
            root,
        };
        if !self.axes[position].contains(&axis) {
            self.axes[position].push(axis);
        }
        Some(())
    }

    /// An expression around the sums.
    fn around(&mut self, expr: ExprId, nested: u32) -> Option<()> {
        let checked = self.checked;
        let op = checked.op();
        if nested > MOST_NESTED || !self.reducing[expr.index()] {
            return (nested <= MOST_NESTED).then_some(());
        }
        match op.expr(expr) {
            Expr::Reduce {
                op: reduction,
                axes,
                body,
            } => self.sum(expr, *reduction, axes, *body),
            Expr::Read {
                source: Source::Let(inner),
                index,
                or: None,
            } => {
                let entry = &op.lets[inner.index()];
                for (dimension, (&at, &axis)) in index.iter().zip(&entry.axes).enumerate() {
                    let &Expr::Axis(outer) = op.expr(at) else { return None };
                    match self.dependences[outer.index()].root {
                        Some(Root::Position(position)) if checked.spans(expr, dimension) => {
                            self.stands_for(axis, position)?;
                        }
                        _ => return None,
                    }
                }
                self.around(entry.body, nested + 1)
            }
            Expr::Read { .. } => None,
            _ => {
                let mut operands = Vec::new();
                op.operands(expr, |operand| operands.push(operand));
                operands
                    .into_iter()
                    .try_for_each(|operand| self.around(operand, nested + 1))
            }
        }
    }

    fn sum(&mut self, expr: ExprId, op: ReduceOp, axes: &[AxisId], body: ExprId) -> Option<()> {
        let checked = self.checked;
        if self.sums.iter().any(|sum| sum.expr == expr) {
            return Some(());
        }
        // It is computed for all outputs, also where nobody wants it.
        if self.conditional[expr.index()] && !checked.unconditional(expr) {
            return None;
        }
        let bare = |axis: AxisId| matches!(self.dependences[axis.index()].root, Some(Root::Position(_)));
        // A sum of index values is none of tensors.
        let positions = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin) || checked.is_index(expr);
        if !checked.axes(expr).iter().all(bare) || positions {
            return None;
        }
        for (from_fastest, &axis) in axes.iter().rev().enumerate() {
            self.dependences[axis.index()] = Dependence {
                positions: Vec::new(),
                depth: true,
                root: Some(Root::Depth(from_fastest)),
            };
        }
        self.sums.push(Sum {
            expr,
            op,
            body,
            ty: checked.ty(body),
            depth: axes.to_vec(),
            by_row: false,
            by_column: false,
        });
        self.inside(body, true, 0)
    }

    /// An expression inside a sum. `direct`: not inside an intermediate tensor.
    fn inside(&mut self, expr: ExprId, direct: bool, nested: u32) -> Option<()> {
        let op = self.checked.op();
        let mut operands = Vec::new();
        op.operands(expr, |operand| operands.push(operand));
        match op.expr(expr) {
            Expr::Reduce { .. } => return None,
            _ if nested > MOST_NESTED => return None,
            Expr::Read {
                source: Source::Input(input),
                index,
                or,
            } => {
                let dependence = self.dependence(expr);
                let by_term = index.iter().any(|&at| self.steps_by_term(at));
                if dependence.depth && !self.reads.iter().any(|known| known.read == expr) {
                    self.reads.push(Operand {
                        read: expr,
                        input: *input,
                        element: op.inputs[input.index()].element,
                        direct,
                        by_row: false,
                        by_term,
                        padded: or.is_some(),
                        positions: dependence.positions,
                        contiguous: index.last().and_then(|&last| self.contiguous(last)),
                    });
                }
            }
            Expr::Read {
                source: Source::Let(inner),
                index,
                ..
            } => {
                let entry = &op.lets[inner.index()];
                for (&at, &axis) in index.iter().zip(&entry.axes) {
                    self.dependences[axis.index()] = self.dependence(at);
                }
                self.inside(entry.body, false, nested + 1)?;
            }
            _ => {}
        }
        operands
            .into_iter()
            .try_for_each(|operand| self.inside(operand, direct, nested + 1))
    }

    fn dependence(&self, expr: ExprId) -> Dependence {
        let mut all = Dependence::default();
        for axis in self.checked.axes(expr).iter() {
            let of_axis = &self.dependences[axis.index()];
            all.positions.extend(&of_axis.positions);
            all.depth |= of_axis.depth;
        }
        all.positions.sort_unstable();
        all.positions.dedup();
        if let Expr::Axis(axis) = self.checked.op().expr(expr) {
            all.root = self.dependences[axis.index()].root;
        }
        all
    }

    /// `true` if an index differs for neighbouring terms, as far as that can be seen.
    fn steps_by_term(&self, index: ExprId) -> bool {
        let fastest = |axis: &AxisId| self.dependences[axis.index()].root == Some(Root::Depth(0));
        let mut axes = self.checked.axes(index).iter().filter(fastest);
        axes.any(|axis| coefficient(self.checked, index, axis).is_some())
    }

    /// Along what an index of a tensor's fastest dimension goes in steps of one.
    fn contiguous(&self, index: ExprId) -> Option<Root> {
        let unit = |axis: &AxisId| coefficient(self.checked, index, *axis) == Some(1);
        let roots = self.checked.axes(index).iter().filter(unit);
        roots.filter_map(|axis| self.dependences[axis.index()].root).last()
    }
}
