//! The family `row`: reductions whose results many outputs share, done by a group of threads.

use super::shape::{Shape, row_axes};
use crate::families::analysis::calls;
use crate::families::family::{MOST_BLOCKS, MOST_STARTS, block_counts};
use crate::ir::SizeId;
use crate::problem::Problem;
use bincode::{Decode, Encode};

/// `threads` threads a row, `rows` rows a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// Threads a row: a power of two up to 1024.
    pub threads: u32,
    /// Rows a block: a power of two.
    pub rows: u32,
    /// Neighbouring elements a thread takes at once.
    pub vector: u32,
    /// The storage of a row's elements between its reductions.
    pub keep: Keep,
    /// Loads of `vector` elements a thread has in flight at once, at least; 1 where rows are kept in registers, where all are.
    pub unroll: u32,
    /// In how many walks reductions over the same elements are done.
    pub pass: Pass,
    /// The most blocks there are, which then go on to the next rows and keep in registers what elements of all rows share; 0: a block for
    /// each `rows` rows. Only where rows are kept in registers and have one axis.
    pub blocks: u32,
}

/// The storage of a row's elements between reductions.
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

pub(super) fn points(problem: &Problem<'_>) -> impl Iterator<Item = Row> {
    let shape = problem.shape(Shape::of);
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
            blocks: 0,
        })
        .filter(move |row| shape.as_ref().as_ref().is_some_and(|shape| shape.allows(row)))
        .flat_map(|row| std::iter::once(row).chain(persistent(problem, row)))
}

pub(super) fn legal(problem: &Problem<'_>, row: &Row) -> bool {
    let listed = THREADS.contains(&row.threads)
        && ROWS.contains(&row.rows)
        && VECTORS.contains(&row.vector)
        && UNROLLS.contains(&row.unroll)
        && row.blocks <= MOST_BLOCKS;
    listed
        && problem
            .shape(Shape::of)
            .as_ref()
            .as_ref()
            .is_some_and(|shape| shape.allows(row))
}

/// The point with as many blocks as fill all multiprocessors, or half of them, where some rows come after others then.
fn persistent(problem: &Problem<'_>, row: Row) -> impl Iterator<Item = Row> {
    let shape = problem.shape(Shape::of);
    let at_once = |shape: &Shape| {
        let registers = shape.needed(&Row { blocks: 1, ..row }).min(most_registers(&row));
        problem.machine.resident_blocks(row.threads * row.rows, registers, 0)
    };
    let all = problem.machine.multiprocessors * shape.as_ref().as_ref().map_or(0, at_once);
    block_counts(all)
        .map(move |blocks| Row { blocks, ..row })
        .filter(move |row| shape.as_ref().as_ref().is_some_and(|shape| shape.persists(row)))
}

/// Enough threads for a row that each has about 64 bytes of it in flight; in registers where they fit.
pub(super) fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Row> {
    starts(problem, sizes).into_iter().next()
}

/// The same, with more and with fewer threads, and with persistent blocks where elements of all rows share something.
pub(super) fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Row> {
    let shape = problem.shape(Shape::of);
    let (Some(shape), Some(axes)) = (shape.as_ref().as_ref(), row_axes(problem.checked)) else {
        return Vec::new();
    };
    let length = shape.longest(sizes);
    let output = &problem.checked.op().outputs[0];
    let rows: u64 = output.dims[..axes]
        .iter()
        .map(|size| sizes[size.index()])
        .fold(1, u64::saturating_mul);
    let lanes_per_output = output.dims[axes..].iter().all(|size| sizes[size.index()] == 1);
    // A group of threads for one short sum each would idle: one thread a sum then.
    if lanes_per_output
        && (length < 32 || (length < 256 && rows >= 64 * 128 * u64::from(problem.machine.multiprocessors)))
    {
        return Vec::new();
    }
    let multiprocessors = u64::from(problem.machine.multiprocessors);
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
            blocks: 0,
        };
        // No further than a row goes.
        let turns = length.div_ceil(u64::from(narrow * threads));
        let loops = move |keep, pass| {
            let unrolls = [4, 2, 1]
                .into_iter()
                .filter(move |&unroll| u64::from(unroll / 2) < turns);
            unrolls.map(move |unroll| row(keep, unroll, pass))
        };
        // Shared memory keeps a row for a second walk.
        let kept = [row(Keep::Registers, 1, Pass::Several)].into_iter();
        kept.chain(loops(Keep::Shared, Pass::Several))
            .chain(loops(Keep::Reload, Pass::One))
            .chain(loops(Keep::Reload, Pass::Several))
            .find(|row| shape.allows(row) && (row.keep != Keep::Shared || shape.walked.len() > 1))
    };
    let mut starts: Vec<Row> = [threads, threads / 4, threads * 2, threads * 4, threads * 8]
        .into_iter()
        .filter(|threads| THREADS.contains(threads))
        .filter_map(of)
        .collect();
    if shape.shared_by_rows > 0 {
        let persistent = starts.iter().flat_map(|&row| persistent(problem, row));
        let goes_on = |row: &Row| rows > u64::from(row.blocks) * u64::from(row.rows);
        let persistent: Vec<Row> = persistent.filter(goes_on).collect();
        starts.extend(persistent);
    }
    starts.truncate(MOST_STARTS);
    starts
}

/// The sizes whose largest values decide whether rows can be kept, if this point reads them again.
pub(super) fn bounded(problem: &Problem<'_>, row: &Row) -> Vec<SizeId> {
    let shape = problem.shape(Shape::of);
    match shape.as_ref().as_ref() {
        Some(shape) if row.keep == Keep::Reload && shape.kept_bytes.is_some() => shape.walked.concat(),
        _ => Vec::new(),
    }
}

impl Shape {
    fn allows(&self, row: &Row) -> bool {
        let block = row.threads * row.rows;
        // Blocks of many short rows are no larger than they need to be.
        let fits = (32..=1024).contains(&block) && (row.rows <= 16 || block <= 256);
        let loops = row.keep != Keep::Registers;
        // Walks over several axes would hold the index arithmetic of every element between rows, too.
        let one_axis = || self.walked.iter().all(|sizes| sizes.len() == 1);
        fits && (row.blocks == 0 || (!loops && one_axis()))
            && row.vector <= self.widest_vector
            && (row.pass == Pass::Several || (loops && self.joint && self.needed(row) <= most_registers(row)))
            && (row.unroll == 1 || (loops && self.unrolls(row)))
            && self.keeps(row)
    }

    /// `true` if there are so many loads in a row, and registers for them.
    fn unrolls(&self, row: &Row) -> bool {
        let turn = u64::from(row.threads * row.vector) * u64::from(row.unroll / 2);
        let longest = self.volumes.iter().flatten().max();
        let filled = self.volumes.iter().any(Option::is_none) || longest.is_some_and(|&longest| longest > turn);
        filled && self.needed(row) <= most_registers(row)
    }

    /// The registers that elements at hand need: all of a row, or those of a turn.
    fn elements(&self, row: &Row) -> u32 {
        match row.keep {
            Keep::Registers => self.turns(row) * row.vector * self.words * self.read_again,
            Keep::Shared | Keep::Reload => row.unroll * row.vector * self.words * self.reads,
        }
    }

    /// The most turns of a walk that is kept in registers.
    fn turns(&self, row: &Row) -> u32 {
        let per_turn = u64::from(row.threads * row.vector);
        let turns = self.largest.iter().flatten().map(|volume| volume.div_ceil(per_turn));
        turns.max().unwrap_or(1).min(REGISTER_ELEMENTS) as u32
    }

    /// The registers of persistent blocks: what elements of all rows share, the row at hand and the number of rows.
    fn held_between_rows(&self, row: &Row) -> u32 {
        let of_a_turn = row.vector * self.shared_by_rows + self.quotients;
        match row.blocks {
            0 => 0,
            _ => (self.turns(row) * of_a_turn + 8) * self.words,
        }
    }

    /// Registers that a thread needs, by and large.
    fn needed(&self, row: &Row) -> u32 {
        let accumulators = self.accumulators[usize::from(row.pass == Pass::Several)];
        let accumulators = row.vector * accumulators * self.words;
        self.elements(row) + self.held_between_rows(row) + accumulators + 32 * self.words
    }

    /// `true` for persistent blocks that some rows come after others in, as far as that is known.
    fn persists(&self, row: &Row) -> bool {
        let at_once = u64::from(row.blocks) * u64::from(row.rows);
        row.blocks > 0 && self.allows(row) && self.rows.is_none_or(|rows| rows > at_once)
    }

    fn keeps(&self, row: &Row) -> bool {
        match row.keep {
            Keep::Reload => true,
            Keep::Shared => self.kept_bytes.is_some_and(|bytes| {
                self.largest.iter().all(|volume| {
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
                self.largest.iter().all(few) && self.needed(row) <= most_registers(row)
            }
        }
    }
}

/// The most elements a thread keeps in registers: straight code for each.
const REGISTER_ELEMENTS: u64 = 64;

/// The most registers that a thread of such a block can have.
fn most_registers(row: &Row) -> u32 {
    (65536 / (row.threads * row.rows)).min(255)
}

/// Blocks that a multiprocessor holds at once, with so much shared memory and the registers that a thread needs, by and large.
pub(crate) fn minimum_blocks(problem: &Problem<'_>, row: &Row, shared: u32) -> u32 {
    let shape = problem.shape(Shape::of);
    let needed = shape
        .as_ref()
        .as_ref()
        .map_or(255, |shape| shape.needed(row).max(48) + 8 * calls(problem.checked));
    let registers = needed.min(most_registers(row));
    problem
        .machine
        .minimum_blocks(row.threads * row.rows, registers, shared)
}
