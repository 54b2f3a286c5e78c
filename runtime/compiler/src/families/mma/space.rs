//! The family `mma`: sums of products on tensor cores (`mma.sync`).
//!
//! Tensor cores multiply numbers of few bits exactly and sum them in 32. So they may stand in for the arithmetic of the
//! language wherever both factors are of few bits *by what they are*: read from tensors of such elements, rounded by
//! `tf32(…)` or `as f16`, or made from those by what keeps the bits few. Nothing is ever rounded that the source does not round.

use super::shape::{MmaShape, shape};
use crate::families::family::{MOST_BLOCKS, first_of_each};
use crate::lower::tile::arrival::{patch, read_as_is};
use crate::lower::tile::block::Block;
use crate::lower::tile::epilogue::{Strip, strips};
use crate::lower::tile::fold::Groups;
use crate::lower::tile::lines::are_paired;
use crate::lower::tile::multiplicand::Multiplicand;
use crate::lower::tile::products::{Products, Side};
use crate::lower::tile::warp::WarpTile;
use crate::problem::Problem;
use bincode::{Decode, Encode};

/// A block computes `block_rows × block_columns` outputs, `block_depth` terms at a time; a warp
/// `warp_rows × warp_columns` of them, and one of `slice_k` slices of the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Mma {
    /// Rows of the block's tile.
    pub block_rows: u32,
    /// Columns of the block's tile.
    pub block_columns: u32,
    /// Terms of the sums in a slab: 64 or 128 bytes of them.
    pub block_depth: u32,
    /// Rows of a warp's tile.
    pub warp_rows: u32,
    /// Columns of a warp's tile.
    pub warp_columns: u32,
    /// Slice-K: warps that share the terms of one tile. Their sums are added in shared memory, in a fixed order.
    pub slice_k: u32,
    /// Slabs in shared memory: all but one of them on their way.
    pub stages: u32,
    /// Rows of tiles that are computed column by column.
    pub group: u32,
    /// The most blocks there are, which then go on to the next tile; 0: a block for each tile.
    pub blocks: u32,
    /// Split-K: blocks that share the terms of one tile. The last block to finish adds up the partial sums of all, in order.
    pub split_k: u32,
}

const TILES: [u32; 4] = [32, 64, 128, 256];
const WARP_TILES: [u32; 3] = [16, 32, 64];
const SLICE_K: [u32; 3] = [1, 2, 4];
const STAGES: [u32; 4] = [2, 3, 4, 5];
const GROUPS: [u32; 2] = [1, 8];
/// Bytes of a row of a slab whose terms are neighbours.
const SLAB_BYTES: [u32; 2] = [64, 128];

impl Mma {
    /// Threads a block.
    pub const fn threads(&self) -> u32 {
        32 * self.warp_tile().warps(self.block_rows, self.block_columns)
    }

    /// Bytes of a stage: all sides' slabs.
    pub(crate) fn stage_bytes(&self, shape: &Products, multiplicand_bytes: u32) -> u32 {
        shape.elements(self.block_rows, self.block_columns) * self.block_depth * multiplicand_bytes
    }

    /// The block and what it shares with others.
    pub(super) fn block(&self) -> Block {
        Block {
            rows: self.block_rows,
            columns: self.block_columns,
            depth: self.block_depth,
            threads: self.threads(),
            group: self.group,
            split_k: self.split_k,
        }
    }

    /// The part of the block's tile that a warp computes.
    pub(super) const fn warp_tile(&self) -> WarpTile {
        WarpTile {
            rows: self.warp_rows,
            columns: self.warp_columns,
            slices: self.slice_k,
        }
    }

    /// The strips in which warps exchange their sums.
    pub(super) fn strips(&self, shape: &Products, multiplicand_bytes: u32) -> Vec<Strip> {
        strips(shape, self.warp_tile(), self.threads() / 32, multiplicand_bytes)
    }

    /// Bytes of shared memory a block: the stages, and after them, in the same place, 16 rows of each warp's sums.
    pub(crate) fn shared_bytes(&self, shape: &Products, multiplicand_bytes: u32) -> u32 {
        let strips = self.strips(shape, multiplicand_bytes);
        let strips = strips
            .last()
            .map_or(0, |last| last.start + self.threads() / 32 * last.bytes());
        (self.stages * self.stage_bytes(shape, multiplicand_bytes)).max(strips)
    }
}

pub(super) fn points(problem: &Problem<'_>) -> Vec<Mma> {
    let shape = shape(problem);
    Space::of(problem, &shape).map_or_else(Vec::new, |space| space.points().collect())
}

pub(super) fn legal(problem: &Problem<'_>, point: &Mma) -> bool {
    let known = TILES.contains(&point.block_rows)
        && TILES.contains(&point.block_columns)
        && WARP_TILES.contains(&point.warp_rows)
        && WARP_TILES.contains(&point.warp_columns)
        && SLICE_K.contains(&point.slice_k)
        && STAGES.contains(&point.stages)
        && GROUPS.contains(&point.group)
        && point.blocks <= MOST_BLOCKS
        && Products::SPLIT_K.contains(&point.split_k);
    known
        && Space::of(problem, &shape(problem)).is_some_and(|space| {
            let bytes = space.bytes().checked_mul(point.block_depth);
            bytes.is_some_and(|bytes| SLAB_BYTES.contains(&bytes)) && space.allows(point)
        })
}

/// Blocks that the assembler is told to fit on a multiprocessor.
pub(crate) fn minimum_blocks(problem: &Problem<'_>, point: &Mma) -> u32 {
    Space::of(problem, &shape(problem)).map_or(1, |space| {
        let shared = point.shared_bytes(&space.shape.products, space.bytes());
        problem
            .machine
            .minimum_blocks(point.threads(), space.registers(point), shared)
    })
}

/// The points of a problem with this shape.
struct Space<'s, 'p> {
    problem: &'s Problem<'p>,
    shape: &'s MmaShape,
}

impl<'s, 'p> Space<'s, 'p> {
    fn of(problem: &'s Problem<'p>, shape: &'s Option<MmaShape>) -> Option<Space<'s, 'p>> {
        let shape = shape.as_ref()?;
        Some(Space { problem, shape })
    }

    fn bytes(&self) -> u32 {
        self.shape.bytes()
    }

    fn at_once(&self) -> u32 {
        self.shape.multiplicands[0].at_once()
    }

    /// `true` if `cp.async` may copy all sides.
    fn copies(&self) -> bool {
        let mut sides = self.shape.products.sides.iter();
        sides.all(|side| {
            let multiplicand = self.shape.multiplicands[usize::from(!side.of_rows)];
            side.factors.len() == 1 && self.lies_as_multiplied(side, multiplicand)
        })
    }

    fn points(&self) -> impl Iterator<Item = Mma> {
        self.combinations()
            .filter(|point| self.allows(point) && self.gains(point))
    }

    /// All combinations of parameters.
    fn combinations(&self) -> impl Iterator<Item = Mma> {
        let depths = SLAB_BYTES.map(|bytes| bytes / self.bytes());
        let blocks = TILES
            .into_iter()
            .flat_map(|rows| TILES.map(|columns| (rows, columns)))
            .flat_map(move |(rows, columns)| depths.map(|depth| (rows, columns, depth)));
        let warps = WARP_TILES
            .into_iter()
            .flat_map(|rows| WARP_TILES.map(|columns| (rows, columns)))
            .flat_map(|(rows, columns)| SLICE_K.map(|slice_k| (rows, columns, slice_k)));
        let counts = Products::block_counts(self.problem.machine);
        let grids = GROUPS
            .into_iter()
            .flat_map(move |group| counts.clone().map(move |blocks| (group, blocks, 1)))
            .chain(Products::SPLIT_K[1..].iter().map(|&split_k| (1, 0, split_k)));
        let pipelines = STAGES
            .into_iter()
            .flat_map(move |stages| grids.clone().map(move |grid| (stages, grid)));
        blocks
            .flat_map(move |block| warps.clone().map(move |warp| (block, warp)))
            .flat_map(move |(block, warp)| pipelines.clone().map(move |pipeline| (block, warp, pipeline)))
            .map(|(block, warp, (stages, (group, blocks, split_k)))| Mma {
                block_rows: block.0,
                block_columns: block.1,
                block_depth: block.2,
                warp_rows: warp.0,
                warp_columns: warp.1,
                slice_k: warp.2,
                stages,
                group,
                blocks,
                split_k,
            })
    }

    fn allows(&self, point: &Mma) -> bool {
        let warps = point.threads() / 32;
        let steps = point.block_depth / self.at_once();
        point.block_rows.is_multiple_of(point.warp_rows)
            && point.block_columns.is_multiple_of(point.warp_columns)
            && (2..=8).contains(&warps)
            && (point.blocks == 0 || (point.slice_k == 1 && point.group == 8 && self.persists(point)))
            && (point.split_k == 1
                || (point.slice_k == 1 && point.group == 1 && point.blocks == 0 && self.divides(point)))
            && steps.is_multiple_of(point.slice_k)
            && (point.slice_k == 1 || self.shape.products.fold.is_none())
            && (point.block_rows * point.block_depth).is_multiple_of(point.threads())
            && (point.block_columns * point.block_depth).is_multiple_of(point.threads())
            && self.resident_blocks(point) > 0
    }

    /// `true` if few blocks may go from tile to tile: there are more tiles, and few loads of a slab.
    fn persists(&self, point: &Mma) -> bool {
        let (rows, columns) = (point.block_rows, point.block_columns);
        let loads = self.shape.products.tiles(rows, columns).map(|(side, tile)| {
            let multiplicand = self.shape.multiplicands[usize::from(!side.of_rows)];
            let [vector, _] = patch(
                &self.shape.products,
                self.problem.specialisation,
                side,
                tile,
                point.block(),
                multiplicand,
            );
            tile * point.block_depth / vector / point.threads()
        });
        loads.sum::<u32>() <= Products::MOST_LOADS
            && self
                .shape
                .products
                .persists(self.problem.specialisation, rows, columns, point.blocks)
    }

    fn divides(&self, point: &Mma) -> bool {
        self.shape.products.divides(
            self.problem.specialisation,
            [point.block_depth, self.at_once()],
            point.split_k,
        )
    }

    /// `true` if its split-K may pay on this machine, and parts have a slab for each stage that is on its way.
    fn gains(&self, point: &Mma) -> bool {
        let (shape, tile) = (&self.shape.products, [point.block_rows, point.block_columns]);
        shape.gains_from(self.problem, tile, point.split_k)
            && shape.fills(
                self.problem.specialisation,
                [point.block_depth, self.at_once()],
                point.split_k,
                point.stages - 1,
            )
    }

    fn resident_blocks(&self, point: &Mma) -> u32 {
        let shared = point.shared_bytes(&self.shape.products, self.bytes());
        self.problem
            .machine
            .resident_blocks(point.threads(), self.registers(point), shared)
    }

    /// Registers a thread needs: accumulators, fragments of both sides, what is on its way to shared memory, and addresses.
    fn registers(&self, point: &Mma) -> u32 {
        let accumulators = self.shape.products.sums_held() * point.warp_rows * point.warp_columns / 32;
        // An outer term needs the places of a lane's rows and columns, and what is read there.
        let folded = match self.shape.products.fold {
            Some(_) => 2 * (point.warp_rows / 8 + point.warp_columns / 4),
            None => 0,
        };
        let fragments = self.shape.products.elements(point.warp_rows, point.warp_columns) / 4;
        // Operands staged through registers: their addresses and bounds predicates, one more where K has several coordinates.
        let address = if self.shape.products.terms.len() > 1 { 4 } else { 3 };
        // Predicates of the slabs that are loaded before the loop, if guards or groups bound them.
        let specialisation = self.problem.specialisation;
        let groups = (self.shape.products).groups(specialisation, point.block_depth, self.at_once());
        let bounded = !self.shape.products.bounds.is_empty() || groups == Some(Groups::OfSlabs);
        let address = address + if bounded { point.stages - 2 } else { 0 };
        let loads: u32 = self
            .shape
            .products
            .tiles(point.block_rows, point.block_columns)
            .map(|(side, rows)| {
                let multiplicand = self.shape.multiplicands[usize::from(!side.of_rows)];
                let [vector, _] = patch(
                    &self.shape.products,
                    self.problem.specialisation,
                    side,
                    rows,
                    point.block(),
                    multiplicand,
                );
                let elements = rows * point.block_depth / point.threads();
                let pieces = elements / vector;
                if self.may_copy(side, multiplicand, vector) {
                    3 * pieces
                } else {
                    let words = if vector > 1 { elements.div_ceil(2) } else { elements };
                    words * side.reads + address * pieces
                }
            })
            .sum();
        let paired = self
            .shape
            .products
            .sides
            .iter()
            .filter(|side| are_paired(side, self.bytes()))
            .count() as u32;
        // Byte pairs that are being taken apart, where persistent blocks hold more registers.
        let apart = if point.blocks > 0 { 12 * paired } else { 0 };
        40 + accumulators + folded + fragments + loads + apart + Products::held_between_tiles(point.blocks)
    }

    /// `true` if a side may be copied as it lies in memory: a guess, made certain while lowering.
    fn may_copy(&self, side: &Side, multiplicand: Multiplicand, vector: u32) -> bool {
        self.lies_as_multiplied(side, multiplicand) && vector * multiplicand.bytes() >= 4
    }

    /// `true` if a side's first factor is multiplied as it lies in memory.
    fn lies_as_multiplied(&self, side: &Side, multiplicand: Multiplicand) -> bool {
        side.factors.first().is_some_and(|&factor| {
            read_as_is(
                self.problem.checked,
                self.problem.specialisation,
                &self.shape.products,
                factor,
                multiplicand,
            )
        })
    }
}

/// Products with fewer rows or columns are no work for tiles by the formula. The estimate decides for itself.
const LEAST_ROWS: u64 = 8;
/// Starts without split-K.
const WHOLE: usize = 6;
/// Starts with split-K.
const SHARED: usize = 4;

/// The tile with the least estimated time, of those whose terms no other block shares.
pub(super) fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Mma> {
    let timed = timed(problem, sizes, LEAST_ROWS);
    let whole = timed
        .into_iter()
        .filter(|(_, _, point)| point.split_k == 1 && point.stages > 2);
    whole.min().map(|(_, _, point)| point)
}

/// The same for few and for many outputs of a tile, with and without slice-K and with two stages, and the best tile for each split-K.
pub(super) fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Mma> {
    let mut timed = timed(problem, sizes, 1);
    timed.sort_unstable();
    let points = timed.into_iter().map(|(_, _, point)| point);
    let (whole, shared): (Vec<Mma>, Vec<Mma>) = points.partition(|point| point.split_k == 1);
    let whole = first_of_each(whole, |point| {
        let outputs = point.block_rows * point.block_columns;
        (outputs.ilog2().clamp(11, 14), point.slice_k > 1, point.stages > 2)
    });
    let shared = first_of_each(shared, |point| point.split_k);
    whole
        .into_iter()
        .take(WHOLE)
        .chain(shared.into_iter().take(SHARED))
        .collect()
}

/// Tiles with their estimated times, and threads: whole waves of blocks, each as long as its tensor cores, its reads of shared
/// memory, or its reads of L2 take. None if there are fewer rows or columns than `least`.
fn timed(problem: &Problem<'_>, sizes: &[u64], least: u64) -> Vec<(u64, u32, Mma)> {
    let shape = shape(problem);
    let Some(space) = Space::of(problem, &shape) else {
        return Vec::new();
    };
    let shape = &space.shape.products;
    let [rows, columns, batch, depth] = shape.extents(sizes);
    let sums = shape.sums.len() as u64;
    if rows < least || columns < least {
        return Vec::new();
    }
    let bytes = u64::from(space.bytes());
    let multiprocessors = u64::from(problem.machine.multiprocessors);
    let tiles = |point: &Mma| {
        rows.div_ceil(u64::from(point.block_rows))
            .saturating_mul(columns.div_ceil(u64::from(point.block_columns)))
            .saturating_mul(batch)
    };
    // An outer term takes four instructions, of which a multiprocessor issues 128 a clock. A group takes part of a slab, or several.
    let of_group = shape.fold.as_ref().map(|fold| {
        let inner = shape.terms[fold.outer..].iter().map(|size| sizes[size.index()]);
        inner.fold(1, u64::saturating_mul).max(1)
    });
    let folded = |point: &Mma| {
        let outputs = u64::from(point.block_rows * point.block_columns);
        of_group.map_or(0, |terms| outputs * u64::from(point.block_depth) / (4 * terms))
    };
    let time = |point: &Mma| {
        let parts = u64::from(point.split_k);
        let blocks = tiles(point).saturating_mul(parts);
        let resident = u64::from(space.resident_blocks(point)).min(blocks.div_ceil(multiprocessors));
        let waves = blocks.div_ceil(multiprocessors * resident.max(1));
        let (x, y) = (u64::from(point.block_rows), u64::from(point.block_columns));
        let slabs = depth.div_ceil(u64::from(point.block_depth)).div_ceil(parts);
        let (wx, wy) = (u64::from(point.warp_rows), u64::from(point.warp_columns));
        // Clocks of a slab on a multiprocessor, times 8: multiply-adds at 512 a clock for 2-byte elements, what warps
        // read from shared memory at 128 bytes a clock, what is copied from L2 at 32 bytes a clock.
        let terms = u64::from(point.block_depth);
        let read = u64::from(shape.elements(point.warp_rows, point.warp_columns));
        let tensor = sums * x * y * terms * bytes / 128;
        let shared = (x * y / (wx * wy)) * read * terms * bytes / 16;
        let copied = u64::from(shape.elements(point.block_rows, point.block_columns)) * terms * bytes / 4;
        let warps = u64::from(point.threads() / 32) * resident.max(1);
        // One warp a scheduler keeps its tensor core half busy.
        let busy = if warps >= 8 { 4 } else { 32 / warps.max(1) };
        let slab = (tensor * busy / 4 + 512).max(shared).max(copied) + folded(point);
        // Partial sums, 4 bytes each, are stored once, and loaded by the last block.
        let joined = if parts > 1 { sums * x * y * (1 + parts) } else { 0 };
        waves
            .saturating_mul(resident.max(1))
            .saturating_mul(slabs.saturating_mul(slab).saturating_add(8192 + joined))
    };
    // Elements that come through registers are there before the next slab's are asked for: more stages hold nothing of them.
    let copies = space.copies();
    let is_usual = |point: &Mma| {
        let usual = if point.block_depth * space.bytes() == 64 { 4 } else { 3 };
        (point.stages == usual || (point.stages == 2 && point.slice_k == 1 && (point.split_k == 1 || !copies)))
            && point.blocks == 0
            && match point.split_k {
                1 => point.group == 8,
                parts => point.group == 1 && Products::are_few(tiles(point), parts, multiprocessors),
            }
    };
    space
        .combinations()
        .filter(|point| is_usual(point) && space.allows(point))
        .map(|point| (time(&point), point.threads(), point))
        .collect()
}
