//! The family `row`: reductions whose results many outputs share, done by a group of threads.

mod joint;

pub(crate) use joint::{Difference, Joint, Online, Product, Wave};

use crate::check::Checked;
use crate::element::Type;
use crate::ir::{AxisId, Expr, ExprId, InputId, LetId, SizeId, Source};
use crate::size::Specialisation;
use crate::target::Machine;
use bincode::{Decode, Encode};

/// `threads` threads a row, `rows` rows a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Row {
    /// Threads a row: a power of two up to 1024.
    pub threads: u32,
    /// Rows a block: a power of two.
    pub rows: u32,
    /// Neighbouring elements a thread takes at once.
    pub vector: u32,
    /// What becomes of a row's elements between its reductions.
    pub keep: Keep,
    /// Loads of `vector` elements a thread has in flight at once, at least; 1 where rows are kept in registers, where all are.
    pub unroll: u32,
    /// In how many walks reductions over the same elements are done.
    pub pass: Pass,
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

/// In how many walks reductions over the same elements are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Pass {
    /// One walk for as many as can share it, those among them that depend on others ("online" softmax, one-pass variance).
    One,
    /// A walk each.
    Several,
}

const THREADS: [u32; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
const ROWS: [u32; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const VECTORS: [u32; 4] = [1, 2, 4, 8];
const UNROLLS: [u32; 4] = [1, 2, 4, 8];

pub(super) fn points(
    checked: &Checked,
    specialisation: &Specialisation,
    machine: Machine,
) -> impl Iterator<Item = Row> {
    let shape = Shape::of(checked, specialisation, machine);
    THREADS
        .into_iter()
        .flat_map(|threads| ROWS.map(|rows| (threads, rows)))
        .flat_map(|(threads, rows)| VECTORS.map(|vector| (threads, rows, vector)))
        .flat_map(|point| [Keep::Registers, Keep::Shared, Keep::Reload].map(|keep| (point, keep)))
        .flat_map(|point| UNROLLS.map(|unroll| (point, unroll)))
        .flat_map(|point| [Pass::One, Pass::Several].map(|pass| (point, pass)))
        .map(|((((threads, rows, vector), keep), unroll), pass)| Row {
            threads,
            rows,
            vector,
            keep,
            unroll,
            pass,
        })
        .filter(move |row| shape.as_ref().is_some_and(|shape| shape.allows(row)))
}

pub(super) fn legal(checked: &Checked, specialisation: &Specialisation, machine: Machine, row: &Row) -> bool {
    let listed = THREADS.contains(&row.threads)
        && ROWS.contains(&row.rows)
        && VECTORS.contains(&row.vector)
        && UNROLLS.contains(&row.unroll);
    listed && Shape::of(checked, specialisation, machine).is_some_and(|shape| shape.allows(row))
}

/// Enough threads for a row that each has about 64 bytes of it in flight; in registers where they fit.
pub(super) fn default(
    checked: &Checked,
    specialisation: &Specialisation,
    sizes: &[u64],
    machine: Machine,
) -> Option<Row> {
    starts(checked, specialisation, sizes, machine).into_iter().next()
}

/// The same, and with more and with fewer threads.
pub(super) fn starts(checked: &Checked, specialisation: &Specialisation, sizes: &[u64], machine: Machine) -> Vec<Row> {
    let (Some(shape), Some(axes)) = (Shape::of(checked, specialisation, machine), row_axes(checked)) else {
        return Vec::new();
    };
    let length = shape.longest(sizes);
    let output = &checked.op().outputs[0];
    let rows: u64 = output.dims[..axes]
        .iter()
        .map(|size| sizes[size.index()])
        .fold(1, u64::saturating_mul);
    let lanes_per_output = output.dims[axes..].iter().all(|size| sizes[size.index()] == 1);
    // A group of threads for one short sum each would idle: one thread a sum then.
    if lanes_per_output && (length < 32 || (length < 256 && rows >= 64 * 128 * u64::from(machine.multiprocessors))) {
        return Vec::new();
    }
    let multiprocessors = u64::from(machine.multiprocessors);
    let vector = shape.widest_vector.min(16 / shape.element_bytes.min(16));
    let chunks = length.div_ceil(u64::from(vector));
    // Two chunks a thread up to a warp, whose threads read whole sectors together; four from there on.
    let sector = u64::from(32 / (vector * shape.element_bytes.min(16))).max(1);
    let half = chunks.div_ceil(2).max(sector).min(chunks.max(1));
    let mut threads = half.next_power_of_two().min(32) as u32;
    while threads < 1024 && u64::from(threads) * 4 < chunks {
        threads *= 2;
    }
    let of = |threads: u32| {
        // Blocks of 128 threads, smaller if some multiprocessor had none.
        let mut rows_per_block = (128 / threads).max(1);
        while rows_per_block > 1 && rows_per_block * threads > 32 && rows < multiprocessors * u64::from(rows_per_block)
        {
            rows_per_block /= 2;
        }
        // No wider than leaves each thread something.
        let mut narrow = vector;
        while narrow > 1 && u64::from(narrow / 2 * threads) >= length {
            narrow /= 2;
        }
        let row = move |keep, unroll, pass| Row {
            threads,
            rows: rows_per_block,
            vector: narrow,
            keep,
            unroll,
            pass,
        };
        // No further than a row goes.
        let turns = length.div_ceil(u64::from(narrow * threads));
        let loops = move |keep, pass| {
            let unrolls = [4, 2, 1]
                .into_iter()
                .filter(move |&unroll| u64::from(unroll / 2) < turns);
            unrolls.map(move |unroll| row(keep, unroll, pass))
        };
        let kept = [row(Keep::Registers, 1, Pass::Several)].into_iter();
        kept.chain(loops(Keep::Shared, Pass::Several))
            .chain(loops(Keep::Reload, Pass::One))
            .chain(loops(Keep::Reload, Pass::Several))
            .find(|row| shape.allows(row))
    };
    [threads, threads / 4, threads * 2, threads * 4, threads * 8]
        .into_iter()
        .filter(|threads| THREADS.contains(threads))
        .filter_map(of)
        .collect()
}

/// What legality depends on.
struct Shape {
    /// The volumes that groups of threads walk over, where compiled in.
    volumes: Vec<Option<u64>>,
    walked: Vec<Vec<SizeId>>,
    widest_vector: u32,
    /// Bytes of the widest element that is read.
    element_bytes: u32,
    /// 32-bit registers that a value of the widest type takes.
    words: u32,
    /// Different reads of tensors in one walk.
    reads: u32,
    /// Inputs that are read several times.
    read_again: u32,
    /// Bytes of the narrowest element that is read several times; none if there is no such input.
    kept_bytes: Option<u32>,
    /// Bytes of shared memory that a block may keep rows in.
    budget: u32,
    /// Accumulators a lane, of the walk that needs most: if walks are shared, and if not.
    accumulators: [u32; 2],
    /// Whether some walk can serve several reductions.
    joint: bool,
}

impl Shape {
    fn of(checked: &Checked, specialisation: &Specialisation, machine: Machine) -> Option<Shape> {
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
        let tensors = op.inputs.iter().filter(|input| input.dims.is_some());
        let joint = Joint::of(checked, axes);
        let reads = match &joint {
            Some(joint) => joint.formulas.reads_in_a_walk(),
            None => op.exprs.iter().filter(|expr| matches!(expr, Expr::Read { .. })).count(),
        };
        let again = read_again(checked);
        let wide = (0..op.exprs.len()).map(|number| ExprId(number as u32)).any(|expr| {
            let combines_indices = matches!(op.expr(expr), Expr::Reduce { .. }) && checked.is_index(expr);
            matches!(checked.ty(expr), Type::F64 | Type::I64) || (specialisation.wide && combines_indices)
        });
        Some(Shape {
            volumes,
            walked,
            widest_vector,
            element_bytes: tensors.map(|input| input.element.size()).max().unwrap_or(4),
            words: if wide { 2 } else { 1 },
            reads: reads.max(1) as u32,
            read_again: again.iter().filter(|&&again| again).count().max(1) as u32,
            kept_bytes: (op.inputs.iter().zip(&again))
                .filter(|&(_, again)| *again)
                .map(|(input, _)| input.element.size())
                .min(),
            budget: kept_budget(machine),
            accumulators: [true, false]
                .map(|shared| joint.as_ref().map_or(2, |joint| joint.accumulators(shared)) as u32),
            joint: joint.is_some_and(|joint| joint.shared().next().is_some()),
        })
    }

    fn allows(&self, row: &Row) -> bool {
        let block = row.threads * row.rows;
        // Blocks of many short rows are no larger than they need to be.
        let fits = (32..=1024).contains(&block) && (row.rows <= 16 || block <= 256);
        let loops = row.keep != Keep::Registers;
        fits && row.vector <= self.widest_vector
            && (row.pass == Pass::Several || (loops && self.joint && self.needed(row) <= most_registers(row)))
            && (row.unroll == 1 || (loops && self.unrolls(row)))
            && self.keeps(row)
    }

    /// Whether there are so many loads in a row, and registers for them.
    fn unrolls(&self, row: &Row) -> bool {
        let turn = u64::from(row.threads * row.vector) * u64::from(row.unroll / 2);
        let longest = self.volumes.iter().flatten().max();
        let filled = self.volumes.iter().any(Option::is_none) || longest.is_some_and(|&longest| longest > turn);
        filled && self.needed(row) <= most_registers(row)
    }

    /// The registers that elements at hand need: all of a row, or those of a turn.
    fn elements(&self, row: &Row) -> u32 {
        let per_turn = u64::from(row.threads * row.vector);
        let turns = |volume: u64| volume.div_ceil(per_turn).min(REGISTER_ELEMENTS) as u32;
        match row.keep {
            Keep::Registers => {
                let turns = self
                    .volumes
                    .iter()
                    .flatten()
                    .map(|&volume| turns(volume))
                    .max()
                    .unwrap_or(1);
                turns * row.vector * self.words * self.read_again
            }
            Keep::Shared | Keep::Reload => row.unroll * row.vector * self.words * self.reads,
        }
    }

    /// Registers that a thread needs, by and large.
    fn needed(&self, row: &Row) -> u32 {
        let accumulators = self.accumulators[usize::from(row.pass == Pass::Several)];
        self.elements(row) + row.vector * accumulators * self.words + 32 * self.words
    }

    fn keeps(&self, row: &Row) -> bool {
        match row.keep {
            Keep::Reload => true,
            Keep::Shared => self.kept_bytes.is_some_and(|bytes| {
                self.volumes.iter().all(|volume| {
                    let turn = u64::from(row.threads * row.vector * row.unroll);
                    let elements = volume.and_then(|volume| volume.checked_next_multiple_of(turn));
                    let row_bytes = elements.and_then(|volume| volume.checked_mul(u64::from(bytes * row.rows)));
                    row_bytes.is_some_and(|bytes| bytes <= u64::from(self.budget))
                })
            }),
            Keep::Registers => {
                let chunks = |volume: u64| volume.div_ceil(u64::from(row.threads * row.vector));
                let elements = |volume: u64| chunks(volume).saturating_mul(u64::from(row.vector));
                let few = |volume: &Option<u64>| volume.is_some_and(|volume| elements(volume) <= REGISTER_ELEMENTS);
                self.volumes.iter().all(few) && self.needed(row) <= most_registers(row)
            }
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

/// The most elements a thread keeps in registers: straight code for each.
const REGISTER_ELEMENTS: u64 = 64;

/// The most registers that a thread of such a block can have.
fn most_registers(row: &Row) -> u32 {
    (65536 / (row.threads * row.rows)).min(255)
}

/// Blocks that a multiprocessor holds at once, with so much shared memory and the registers that a thread needs, by and large.
pub(crate) fn minimum_blocks(
    checked: &Checked,
    specialisation: &Specialisation,
    machine: Machine,
    row: &Row,
    shared: u32,
) -> u32 {
    let shape = Shape::of(checked, specialisation, machine);
    let needed = shape.map_or(255, |shape| shape.needed(row).max(48) + 8 * super::calls(checked));
    let registers = needed.min(most_registers(row));
    machine.minimum_blocks(row.threads * row.rows, registers, shared)
}

/// Which inputs are read several times, by the operator or by way of intermediate tensors that are: they are worth keeping.
pub(crate) fn read_again(checked: &Checked) -> Vec<bool> {
    let op = checked.op();
    let reads_of = |of: Source| -> Vec<usize> {
        let is_read = |&number: &usize| matches!(op.exprs[number], Expr::Read { source, .. } if source == of);
        (0..op.exprs.len()).filter(is_read).collect()
    };
    // What intermediate tensors consist of: operands stand before what they are part of.
    let parts = |root: ExprId| -> Vec<bool> {
        let mut parts = vec![false; root.index() + 1];
        parts[root.index()] = true;
        for number in (0..parts.len()).rev() {
            if parts[number] {
                op.operands(ExprId(number as u32), |operand| parts[operand.index()] = true);
            }
        }
        parts
    };
    let mut lets = vec![false; op.lets.len()];
    let again = |of: Source, lets: &[bool]| -> bool {
        let reads = reads_of(of);
        let inside = |number: usize| {
            let mut read_again = op.lets.iter().zip(lets).filter(|&(_, &again)| again);
            read_again.any(|(entry, _)| parts(entry.body).get(number).copied().unwrap_or(false))
        };
        reads.len() > 1 || reads.first().is_some_and(|&number| inside(number))
    };
    // Intermediate tensors are read by later ones.
    for number in (0..op.lets.len()).rev() {
        lets[number] = again(Source::Let(LetId(number as u32)), &lets);
    }
    (0..op.inputs.len())
        .map(|number| again(Source::Input(InputId(number as u32)), &lets))
        .collect()
}

/// Bytes of shared memory that a block may keep rows in; the rest is for what reductions exchange.
pub(crate) fn kept_budget(machine: Machine) -> u32 {
    machine.limits.shared_per_block.saturating_sub(16 * 1024)
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
