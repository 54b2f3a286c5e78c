//! The family `contract`: a sum of products, in tiles.

use crate::check::Checked;
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, LetId, Literal, ReduceOp, Source, UnaryOp};
use crate::size::{Extent, Specialisation};
use crate::target::{Machine, Target};
use bincode::{Decode, Encode};

/// A block computes `block_rows × block_columns` outputs, `block_depth` terms at a time; a thread
/// `thread_rows × thread_columns` of them in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Contract {
    /// Rows of the block's tile.
    pub block_rows: u32,
    /// Columns of the block's tile.
    pub block_columns: u32,
    /// Terms of the sums in shared memory at a time.
    pub block_depth: u32,
    /// Rows of a thread's tile.
    pub thread_rows: u32,
    /// Columns of a thread's tile.
    pub thread_columns: u32,
    /// Slabs in shared memory: 2 overlap the loads of one with the arithmetic on the other.
    pub stages: u32,
}

impl Contract {
    /// Threads a block.
    pub const fn threads(&self) -> u32 {
        (self.block_rows / self.thread_rows) * (self.block_columns / self.thread_columns)
    }

    /// Bytes of shared memory a block.
    pub(crate) const fn shared_bytes(&self, element_bytes: u32) -> u32 {
        self.stages * self.stage_elements() * element_bytes
    }

    /// Elements between the starts of two rows of a slab in shared memory: padded, still 16-byte aligned.
    pub(crate) const fn pitch(tile: u32) -> u32 {
        tile + 4
    }

    /// Elements of one stage: both operands' slabs.
    pub(crate) const fn stage_elements(&self) -> u32 {
        self.block_depth * (Contract::pitch(self.block_rows) + Contract::pitch(self.block_columns))
    }
}

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

const TILES: [u32; 5] = [16, 32, 64, 128, 256];
const DEPTHS: [u32; 3] = [8, 16, 32];
const THREAD_ROWS: [u32; 3] = [2, 4, 8];
const THREAD_COLUMNS: [u32; 2] = [4, 8];
const STAGES: [u32; 2] = [1, 2];

pub(super) fn points(
    checked: &Checked,
    specialisation: &Specialisation,
    target: Target,
) -> impl Iterator<Item = Contract> {
    let shape = operands(checked).filter(|_| !specialisation.wide);
    all_points().filter(move |point| {
        let allows = |shape: &ContractShape| shape.allows(point, checked, specialisation, target);
        shape.as_ref().is_some_and(allows)
    })
}

pub(super) fn legal(checked: &Checked, specialisation: &Specialisation, target: Target, point: &Contract) -> bool {
    let known = TILES.contains(&point.block_rows)
        && TILES.contains(&point.block_columns)
        && DEPTHS.contains(&point.block_depth)
        && THREAD_ROWS.contains(&point.thread_rows)
        && THREAD_COLUMNS.contains(&point.thread_columns)
        && STAGES.contains(&point.stages);
    known
        && !specialisation.wide
        && operands(checked).is_some_and(|shape| shape.allows(point, checked, specialisation, target))
}

fn all_points() -> impl Iterator<Item = Contract> {
    TILES.into_iter().flat_map(|block_rows| {
        TILES.into_iter().flat_map(move |block_columns| {
            DEPTHS.into_iter().flat_map(move |block_depth| {
                THREAD_ROWS.into_iter().flat_map(move |thread_rows| {
                    THREAD_COLUMNS.into_iter().flat_map(move |thread_columns| {
                        STAGES.into_iter().map(move |stages| Contract {
                            block_rows,
                            block_columns,
                            block_depth,
                            thread_rows,
                            thread_columns,
                            stages,
                        })
                    })
                })
            })
        })
    })
}

impl ContractShape {
    /// Bytes of an element in shared memory and in a register.
    pub(crate) fn element_bytes(&self) -> u32 {
        match self.ty {
            Type::F64 | Type::I64 => 8,
            _ => 4,
        }
    }

    /// Blocks that a multiprocessor holds at once: what the assembler is told, so that it neither spills for more
    /// (it does, left alone) nor takes registers that cost a block.
    pub(crate) fn resident_blocks(
        &self,
        point: &Contract,
        checked: &Checked,
        specialisation: &Specialisation,
        target: Target,
    ) -> u32 {
        let registers = self.registers(point, checked, specialisation);
        let shared = point.shared_bytes(self.element_bytes());
        target.resident_blocks(point.threads(), registers, shared)
    }

    /// Registers a thread needs: accumulators, fragments, the next slab's elements and their addresses. The constant was
    /// found by assembling 3600 kernels, of which none that fits spilled. It is an estimate: of 8784 kernels at other sizes
    /// one tile did (`f64`, 32 × 64 × 8 by threads of 8 × 4, sm_90).
    fn registers(&self, point: &Contract, checked: &Checked, specialisation: &Specialisation) -> u32 {
        let words = self.element_bytes() / 4;
        let tile = point.thread_rows * point.thread_columns + point.thread_rows + point.thread_columns;
        let slabs = [(&self.left, point.block_rows), (&self.right, point.block_columns)];
        let in_flight: u32 = slabs
            .into_iter()
            .map(|(side, rows)| {
                let elements = (rows * point.block_depth / point.threads()).max(1) * side.reads;
                let vector = load_width(checked, specialisation, side, &self.depth, rows, point).min(16 / words / 4);
                elements * words + 2 * (elements / vector.max(1)).max(1)
            })
            .sum();
        40 + tile * words + in_flight
    }

    fn allows(&self, point: &Contract, checked: &Checked, specialisation: &Specialisation, target: Target) -> bool {
        let threads = point.threads();
        (64..=512).contains(&threads)
            && (point.block_rows * point.block_depth).is_multiple_of(threads)
            && (point.block_columns * point.block_depth).is_multiple_of(threads)
            && self.resident_blocks(point, checked, specialisation, target) > 0
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

/// The tile with the least estimated time: whole waves of blocks, each as long as its arithmetic and its shared-memory
/// traffic take. Products with fewer than 8 rows or columns are no work for tiles.
pub(super) fn default(
    checked: &Checked,
    specialisation: &Specialisation,
    sizes: &[u64],
    machine: Machine,
) -> Option<Contract> {
    let shape = operands(checked).filter(|_| !specialisation.wide)?;
    let volume = |axes: &[AxisId]| {
        axes.iter()
            .map(|&axis| sizes[checked.extent(axis).index()])
            .fold(1, u64::saturating_mul)
    };
    let (rows, columns, batch) = (
        volume(&shape.left.axes),
        volume(&shape.right.axes),
        volume(&shape.batch),
    );
    if rows < 8 || columns < 8 {
        return None;
    }
    let candidates = all_points().filter(|point| {
        point.block_depth == 16
            && point.stages == 2
            && point.thread_rows >= 4
            && shape.allows(point, checked, specialisation, machine.target)
    });
    candidates.min_by_key(|point| {
        let tiles = rows
            .div_ceil(u64::from(point.block_rows))
            .saturating_mul(columns.div_ceil(u64::from(point.block_columns)))
            .saturating_mul(batch);
        let waves = tiles.div_ceil(u64::from(machine.multiprocessors));
        let (x, y) = (u64::from(point.thread_rows), u64::from(point.thread_columns));
        // Per term and thread: x·y multiply-adds, (x + y) elements from shared memory; fewer than 128 threads leave
        // issue slots empty.
        let work = x * y * 4 + (x + y) * 2;
        let threads = u64::from(point.threads()).max(128);
        (
            waves.saturating_mul(work).saturating_mul(threads),
            // Of equals the one with the smaller tiles: they fill the last wave better.
            std::cmp::Reverse(tiles),
            point.threads(),
        )
    })
}

/// How wide the vectors are with which a side is loaded: derived from alignment, and such that all threads load alike.
pub(crate) fn load_width(
    checked: &Checked,
    specialisation: &Specialisation,
    side: &Side,
    depth: &[AxisId],
    tile: u32,
    point: &Contract,
) -> u32 {
    let walked = if side.along_depth { depth } else { &side.axes };
    let Some(&fastest) = walked.last() else { return 1 };
    let extent: Extent = specialisation.extents[checked.extent(fastest).index()];
    let mut width = if side.contiguous && specialisation.aligned {
        extent.multiple_of().min(4)
    } else {
        1
    };
    while width > 1 && !(tile * point.block_depth / width).is_multiple_of(point.threads()) {
        width /= 2;
    }
    width
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
    // It is computed for all outputs, also where nobody wants it.
    if super::conditional(checked)[position] && !checked.unconditional(id) {
        return None;
    }
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
pub(super) fn coefficient(checked: &Checked, index: ExprId, axis: AxisId) -> Option<i64> {
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
