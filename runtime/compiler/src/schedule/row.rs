//! The family `row`: reductions whose results many outputs share, done by a group of threads.

use crate::check::Checked;
use crate::ir::{AxisId, Expr, ExprId, InputId, SizeId, Source};
use crate::size::Specialisation;
use crate::target::{Machine, Target};
use bincode::{Decode, Encode};

/// `threads` threads a row, `rows` rows a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Row {
    /// Threads a row: a power of two up to 1024.
    pub threads: u32,
    /// Rows a block.
    pub rows: u32,
    /// Neighbouring elements a thread takes at once.
    pub vector: u32,
    /// What becomes of a row's elements between its reductions.
    pub keep: Keep,
}

/// What becomes of a row's elements between reductions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Keep {
    /// Each thread keeps its own in registers: read once.
    Registers,
    /// Each thread keeps its own in shared memory: read once, for rows that registers do not hold.
    Shared,
    /// Read again, from the caches if they are large enough.
    Reload,
}

/// The most elements a thread keeps in registers.
const REGISTER_ELEMENTS: u64 = 64;

pub(super) fn points(checked: &Checked, specialisation: &Specialisation, target: Target) -> impl Iterator<Item = Row> {
    let shape = Shape::of(checked, specialisation, target);
    let vectors = shape.as_ref().map_or(0, |shape| shape.widest_vector);
    [4u32, 8, 16, 32, 64, 128, 256, 512, 1024]
        .into_iter()
        .flat_map(|threads| [1u32, 2, 4, 8, 16].map(|rows| (threads, rows)))
        .filter(|(threads, rows)| (32..=1024).contains(&(threads * rows)))
        .flat_map(|(threads, rows)| [1u32, 2, 4, 8].map(|vector| (threads, rows, vector)))
        .filter(move |&(_, _, vector)| vector <= vectors)
        .flat_map(|(threads, rows, vector)| {
            [Keep::Registers, Keep::Shared, Keep::Reload].map(|keep| Row {
                threads,
                rows,
                vector,
                keep,
            })
        })
        .filter(move |row| shape.as_ref().is_some_and(|shape| shape.allows(row)))
}

/// A warp a row for short rows, more for long ones; in registers where they fit.
pub(super) fn default(
    checked: &Checked,
    specialisation: &Specialisation,
    sizes: &[u64],
    machine: Machine,
) -> Option<Row> {
    let shape = Shape::of(checked, specialisation, machine.target)?;
    let axes = row_axes(checked)?;
    let length = shape.longest(sizes);
    let output = &checked.op().outputs[0];
    let rows: u64 = output.dims[..axes]
        .iter()
        .map(|size| sizes[size.index()])
        .fold(1, u64::saturating_mul);
    let lanes_per_output = output.dims[axes..].iter().all(|size| sizes[size.index()] == 1);
    // A group of threads for one short sum each would idle: one thread a sum then.
    if lanes_per_output && (length < 32 || (length < 256 && rows >= 64 * 128 * u64::from(machine.multiprocessors))) {
        return None;
    }
    let vector = shape.widest_vector.min(4);
    let per_thread = u64::from(vector) * 4;
    let mut threads = 32;
    while threads < 1024 && u64::from(threads) * per_thread < length {
        threads *= 2;
    }
    let row = |keep| Row {
        threads,
        rows: if threads >= 128 || rows < 4 * u64::from(machine.multiprocessors) {
            1
        } else {
            128 / threads
        },
        vector,
        keep,
    };
    [row(Keep::Registers), row(Keep::Shared), row(Keep::Reload)]
        .into_iter()
        .find(|row| shape.allows(row))
}

/// What legality depends on.
struct Shape {
    /// The volumes that groups of threads walk over, where compiled in.
    volumes: Vec<Option<u64>>,
    walked: Vec<Vec<SizeId>>,
    widest_vector: u32,
    /// Bytes of the narrowest element that is read several times; none if there is no such input.
    kept_bytes: Option<u32>,
    /// Bytes of shared memory that a block may keep rows in.
    budget: u32,
}

impl Shape {
    fn of(checked: &Checked, specialisation: &Specialisation, target: Target) -> Option<Shape> {
        let axes = row_axes(checked)?;
        let op = checked.op();
        let mut walked: Vec<Vec<SizeId>> = op
            .exprs
            .iter()
            .filter_map(|expr| match expr {
                Expr::Reduce { axes, .. } => Some(axes.iter().map(|&axis| checked.extent(axis)).collect()),
                _ => None,
            })
            .collect();
        walked.extend(op.outputs.iter().map(|output| output.dims[axes..].to_vec()));
        walked.retain(|sizes| !sizes.is_empty());
        let extent = |size: &SizeId| specialisation.extents[size.index()];
        let volumes = walked
            .iter()
            .map(|sizes| {
                sizes
                    .iter()
                    .map(|size| extent(size).fixed())
                    .try_fold(1u64, |v, e| v.checked_mul(e?))
            })
            .collect();
        let divisible = walked
            .iter()
            .filter_map(|sizes| sizes.last())
            .map(|size| extent(size).multiple_of())
            .min()
            .unwrap_or(1);
        let widest_vector = if specialisation.aligned { divisible.min(8) } else { 1 };
        Some(Shape {
            volumes,
            walked,
            widest_vector,
            kept_bytes: (0..op.inputs.len())
                .filter(|&input| read_again(checked, InputId(input as u32)))
                .map(|input| op.inputs[input].element.size())
                .min(),
            budget: kept_budget(target),
        })
    }

    fn allows(&self, row: &Row) -> bool {
        match row.keep {
            Keep::Reload => true,
            Keep::Shared => self.kept_bytes.is_some_and(|bytes| {
                self.volumes.iter().all(|volume| {
                    let row_bytes = volume.and_then(|volume| volume.checked_mul(u64::from(bytes * row.rows)));
                    row_bytes.is_some_and(|bytes| bytes <= u64::from(self.budget))
                })
            }),
            Keep::Registers => self.volumes.iter().all(|volume| {
                volume.is_some_and(|volume| {
                    let per_turn = u64::from(row.threads * row.vector);
                    volume.div_ceil(per_turn) * u64::from(row.vector) <= REGISTER_ELEMENTS
                })
            }),
        }
    }

    fn longest(&self, sizes: &[u64]) -> u64 {
        self.walked
            .iter()
            .map(|walked| {
                walked
                    .iter()
                    .map(|size| sizes[size.index()])
                    .fold(1, u64::saturating_mul)
            })
            .max()
            .unwrap_or(1)
    }
}

/// Whether several reads of an operator are of this input: then it is worth keeping.
pub(crate) fn read_again(checked: &Checked, input: InputId) -> bool {
    let is_read = |expr: &&Expr| matches!(expr, Expr::Read { source: Source::Input(of), .. } if *of == input);
    checked.op().exprs.iter().filter(is_read).count() > 1
}

/// Bytes of shared memory that a block may keep rows in; the rest is for what reductions exchange.
pub(crate) fn kept_budget(target: Target) -> u32 {
    target.shared_per_block() - 16 * 1024
}

/// How many leading output axes number the rows: all that a reduction depends on and those before them. None if the
/// family does not accept the operator: no reduction, or outputs that do not share these axes.
pub(crate) fn row_axes(checked: &Checked) -> Option<usize> {
    let op = checked.op();
    let mut rows = 0;
    let mut reductions = false;
    for output in &op.outputs {
        let own: Vec<Vec<usize>> = vec![Vec::new(); op.axes.len()];
        let mut depends = own;
        for (position, axis) in output.axes.iter().enumerate() {
            depends[axis.index()] = vec![position];
        }
        let mut walk = Walk {
            checked,
            depends,
            rows: &mut rows,
            reductions: &mut reductions,
        };
        walk.expr(output.body, 0)?;
    }
    if !reductions {
        return None;
    }
    let leading = |output: &crate::ir::Output| output.dims.get(..rows).map(<[SizeId]>::to_vec);
    let first = leading(&op.outputs[0])?;
    op.outputs
        .iter()
        .all(|output| leading(output).as_ref() == Some(&first))
        .then_some(rows)
}

/// Finds which output axes reductions depend on, through intermediate tensors.
struct Walk<'a> {
    checked: &'a Checked,
    /// For each axis the positions of output axes that its value depends on.
    depends: Vec<Vec<usize>>,
    rows: &'a mut usize,
    reductions: &'a mut bool,
}

impl Walk<'_> {
    fn expr(&mut self, expr: ExprId, depth: u32) -> Option<()> {
        // Chains of intermediate tensors this deep are left to `plain`.
        if depth > 64 {
            return None;
        }
        let op = self.checked.op();
        match op.expr(expr) {
            Expr::Reduce { axes, body, .. } => {
                *self.reductions = true;
                // Only reductions over nothing but rows are done by the group; inner ones are done in sequence.
                let outer: Vec<usize> = self.positions(expr);
                if let Some(last) = outer.iter().max() {
                    *self.rows = (*self.rows).max(last + 1);
                }
                for &AxisId(axis) in axes {
                    self.depends[axis as usize] = Vec::new();
                }
                self.expr(*body, depth + 1)?;
            }
            Expr::Read {
                source: Source::Let(inner),
                index,
                or,
            } => {
                let entry = &op.lets[inner.index()];
                for (&at, axis) in index.iter().zip(&entry.axes) {
                    self.depends[axis.index()] = self.positions(at);
                    self.expr(at, depth + 1)?;
                }
                if let Some(or) = or {
                    self.expr(*or, depth + 1)?;
                }
                self.expr(entry.body, depth + 1)?;
            }
            _ => {
                let mut operands = Vec::new();
                op.operands(expr, |operand| operands.push(operand));
                for operand in operands {
                    self.expr(operand, depth + 1)?;
                }
            }
        }
        Some(())
    }

    fn positions(&self, expr: ExprId) -> Vec<usize> {
        let mut positions: Vec<usize> = self
            .checked
            .axes(expr)
            .iter()
            .flat_map(|axis| self.depends[axis.index()].iter().copied())
            .collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }
}
