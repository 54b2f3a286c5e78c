//! The family `contract`: sums of products, or of other pointwise work on two sides, in tiles.

use crate::families::family::{Family, MOST_BLOCKS, MOST_STARTS, first_of_each};
use crate::families::mma::Mma;
use crate::lower::tile::arrival::padded_elements;
use crate::lower::tile::block::Block;
use crate::lower::tile::products::{Products, Side, products};
use crate::problem::Problem;
use crate::size::Specialisation;
use crate::target::Machine;
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
    /// The most blocks there are, which then go on to the next tile; 0: a block for each tile.
    pub blocks: u32,
    /// Split-K: blocks that share the terms of one tile. The last block to finish adds up the partial sums of all, in order.
    pub split_k: u32,
}

impl Contract {
    /// The block's tile.
    pub(super) fn block(&self) -> Block {
        Block {
            rows: self.block_rows,
            columns: self.block_columns,
            depth: self.block_depth,
            threads: self.threads(),
            group: 1,
            split_k: self.split_k,
        }
    }

    /// Threads a block.
    pub const fn threads(&self) -> u32 {
        (self.block_rows / self.thread_rows) * (self.block_columns / self.thread_columns)
    }

    /// Bytes of shared memory a block.
    pub(crate) fn shared_bytes(&self, shape: &Products) -> u32 {
        let elements = padded_elements(shape, self.block_rows, self.block_columns, self.block_depth);
        self.stages * elements * shape.element_bytes()
    }
}

const TILES: [u32; 5] = [16, 32, 64, 128, 256];
const DEPTHS: [u32; 3] = [8, 16, 32];
const THREAD_ROWS: [u32; 3] = [2, 4, 8];
const THREAD_COLUMNS: [u32; 2] = [4, 8];
const STAGES: [u32; 2] = [1, 2];
/// The most instructions of the arithmetic on a slab: 64 KiB of machine code, half of an instruction cache.
const MOST_UNROLLED: u32 = 4096;

pub(super) fn points(problem: &Problem<'_>) -> impl Iterator<Item = Contract> {
    let shape = products(problem);
    all_points(problem.machine).filter(move |point| {
        let tile = [point.block_rows, point.block_columns];
        narrow(&shape, problem)
            .is_some_and(|shape| shape.allows(problem, point) && shape.gains_from(problem, tile, point.split_k))
    })
}

pub(super) fn legal(problem: &Problem<'_>, point: &Contract) -> bool {
    let known = TILES.contains(&point.block_rows)
        && TILES.contains(&point.block_columns)
        && DEPTHS.contains(&point.block_depth)
        && THREAD_ROWS.contains(&point.thread_rows)
        && THREAD_COLUMNS.contains(&point.thread_columns)
        && STAGES.contains(&point.stages)
        && point.blocks <= MOST_BLOCKS
        && Products::SPLIT_K.contains(&point.split_k);
    known && narrow(&products(problem), problem).is_some_and(|shape| shape.allows(problem, point))
}

/// The shape of a problem whose indices have 32 bits: the only ones that tiles are written for. Sums of sums are not folded.
fn narrow<'s>(shape: &'s Option<Products>, problem: &Problem<'_>) -> Option<&'s Products> {
    let is_narrow = !problem.specialisation.wide;
    shape.as_ref().filter(|shape| is_narrow && shape.fold.is_none())
}

fn all_points(machine: Machine) -> impl Iterator<Item = Contract> {
    let blocks = TILES
        .into_iter()
        .flat_map(|rows| TILES.map(|columns| (rows, columns)))
        .flat_map(|(rows, columns)| DEPTHS.map(|depth| (rows, columns, depth)));
    let threads = THREAD_ROWS
        .into_iter()
        .flat_map(|rows| THREAD_COLUMNS.map(|columns| (rows, columns)));
    let grids = Products::block_counts(machine).map(|blocks| (blocks, 1));
    let grids = grids.chain(Products::SPLIT_K[1..].iter().map(|&split_k| (0, split_k)));
    let pipelines = STAGES
        .into_iter()
        .flat_map(move |stages| grids.clone().map(move |grid| (stages, grid)));
    blocks
        .flat_map(move |block| threads.clone().map(move |thread| (block, thread)))
        .flat_map(move |(block, thread)| pipelines.clone().map(move |pipeline| (block, thread, pipeline)))
        .map(|(block, thread, (stages, (blocks, split_k)))| Contract {
            block_rows: block.0,
            block_columns: block.1,
            block_depth: block.2,
            thread_rows: thread.0,
            thread_columns: thread.1,
            stages,
            blocks,
            split_k,
        })
}

impl Products {
    /// Blocks that the assembler is told to fit on a multiprocessor.
    pub(crate) fn minimum_blocks(&self, problem: &Problem<'_>, point: &Contract) -> u32 {
        let registers = self.registers(point, problem.specialisation);
        let shared = point.shared_bytes(self);
        problem.machine.minimum_blocks(point.threads(), registers, shared)
    }

    /// Registers a thread needs: accumulators, fragments, the next slab's elements and their addresses.
    fn registers(&self, point: &Contract, specialisation: &Specialisation) -> u32 {
        let words = self.element_bytes() / 4;
        let accumulators = self.sums.len() as u32 * point.thread_rows * point.thread_columns;
        let fragments = self.elements(point.thread_rows, point.thread_columns);
        let in_flight: u32 = self
            .tiles(point.block_rows, point.block_columns)
            .map(|(side, tile)| {
                let elements = (tile * point.block_depth / point.threads()).max(1) * side.reads;
                let vector = load_width(self, specialisation, side, tile, point).min(16 / words / 4);
                elements * words + 2 * (elements / vector.max(1)).max(1)
            })
            .sum();
        40 + (accumulators + fragments) * words + in_flight + Products::held_between_tiles(point.blocks)
    }

    /// Instructions of the arithmetic on a slab, which is unrolled.
    fn unrolled(&self, point: &Contract) -> u32 {
        point.block_depth * point.thread_rows * point.thread_columns * self.instructions()
    }

    fn allows(&self, problem: &Problem<'_>, point: &Contract) -> bool {
        let threads = point.threads();
        let (rows, columns) = (point.block_rows, point.block_columns);
        let persists = || {
            let loads = self.tiles(rows, columns).map(|(side, tile)| {
                let vector = load_width(self, problem.specialisation, side, tile, point);
                tile * point.block_depth / vector / threads
            });
            loads.sum::<u32>() <= Products::MOST_LOADS
                && self.persists(problem.specialisation, rows, columns, point.blocks)
        };
        (64..=512).contains(&threads)
            && (self.are_products() || self.unrolled(point) <= MOST_UNROLLED)
            && (point.blocks == 0 || (point.stages == 2 && persists()))
            && (point.split_k == 1 || (point.blocks == 0 && point.stages == 2))
            && self.divides(problem.specialisation, [point.block_depth, 1], point.split_k)
            && (point.block_rows * point.block_depth).is_multiple_of(threads)
            && (point.block_columns * point.block_depth).is_multiple_of(threads)
            && problem.machine.resident_blocks(
                threads,
                self.registers(point, problem.specialisation),
                point.shared_bytes(self),
            ) > 0
    }
}

/// The tile with the least estimated time, of those whose terms no other block shares.
pub(super) fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Contract> {
    let timed = timed(problem, sizes);
    let whole = timed.into_iter().filter(|(_, point)| point.split_k == 1);
    whole.min().map(|(_, point)| point)
}

/// The same for each tile of a thread, and the best tile for each split-K, unless tensor cores can do the product.
pub(super) fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Contract> {
    // Tensor cores are faster wherever they apply.
    if !Mma::starts(problem, sizes).is_empty() {
        return Vec::new();
    }
    let mut timed = timed(problem, sizes);
    timed.sort_unstable();
    let points = timed.into_iter().map(|(_, point)| point);
    let mut starts = first_of_each(points, |point| match point.split_k {
        1 => (1, point.thread_rows, point.thread_columns),
        split_k => (split_k, 0, 0),
    });
    starts.truncate(MOST_STARTS);
    starts
}

/// An estimated time; of equals the one with the smaller tiles comes first, since they fill the last wave better, and then the one with
/// fewer threads.
type Time = (u64, std::cmp::Reverse<u64>, u32);

/// Tiles with their estimated times: whole waves of blocks, each as long as its arithmetic and its
/// shared-memory traffic take. Products with fewer than 8 rows or columns are no work for tiles.
fn timed(problem: &Problem<'_>, sizes: &[u64]) -> Vec<(Time, Contract)> {
    let shape = products(problem);
    let Some(shape) = narrow(&shape, problem) else {
        return Vec::new();
    };
    let [rows, columns, batch, depth] = shape.extents(sizes);
    if rows < 8 || columns < 8 {
        return Vec::new();
    }
    let instructions = u64::from(shape.instructions());
    let sums = shape.sums.len() as u64;
    let multiprocessors = u64::from(problem.machine.multiprocessors);
    let tiles = |point: &Contract| {
        rows.div_ceil(u64::from(point.block_rows))
            .saturating_mul(columns.div_ceil(u64::from(point.block_columns)))
            .saturating_mul(batch)
    };
    let time = |point: &Contract| {
        let parts = u64::from(point.split_k);
        let waves = tiles(point).saturating_mul(parts).div_ceil(multiprocessors);
        let outputs = u64::from(point.thread_rows * point.thread_columns);
        let elements = u64::from(shape.elements(point.thread_rows, point.thread_columns));
        let threads = u64::from(point.threads());
        // Each thread's share of the arrival of a term: a load, a store and their addresses.
        let brought = u64::from(shape.elements(point.block_rows, point.block_columns)) * 8 / threads;
        // Per term and thread: the arithmetic of each sum of each output, and the elements from shared memory; fewer than 128
        // threads leave issue slots empty.
        let term = instructions * outputs * 4 + elements * 2 + brought;
        // Partial sums are stored once, and loaded by the last block.
        let joined = if parts > 1 { sums * outputs * 4 * (1 + parts) } else { 0 };
        let work = depth.div_ceil(parts).saturating_mul(term).saturating_add(joined);
        (
            waves.saturating_mul(work).saturating_mul(threads.max(128)),
            std::cmp::Reverse(tiles(point)),
            point.threads(),
        )
    };
    let is_usual = |point: &Contract| {
        point.block_depth == 16
            && point.blocks == 0
            && point.stages == 2
            && (point.split_k == 1 || Products::are_few(tiles(point), point.split_k, multiprocessors))
    };
    all_points(problem.machine)
        .filter(|point| is_usual(point) && shape.allows(problem, point))
        .map(|point| (time(&point), point))
        .collect()
}

/// The width of a side's vector loads: the widest that alignment allows and that lets all threads load alike.
pub(crate) fn load_width(
    shape: &Products,
    specialisation: &Specialisation,
    side: &Side,
    tile: u32,
    point: &Contract,
) -> u32 {
    let mut width = shape.vector(specialisation, side, 4);
    while width > 1 && !(tile * point.block_depth / width).is_multiple_of(point.threads()) {
        width /= 2;
    }
    width
}
