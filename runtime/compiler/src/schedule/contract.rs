//! The family `contract`: a sum of products, in tiles.

use super::product::{ContractShape, Side, operands};
use crate::check::Checked;
use crate::ir::AxisId;
use crate::size::Specialisation;
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
    /// Blocks that the assembler is told to fit on a multiprocessor.
    pub(crate) fn minimum_blocks(
        &self,
        point: &Contract,
        checked: &Checked,
        specialisation: &Specialisation,
        target: Target,
    ) -> u32 {
        let registers = self.registers(point, checked, specialisation);
        let shared = point.shared_bytes(self.element_bytes());
        target.minimum_blocks(point.threads(), registers, shared)
    }

    /// Registers a thread needs: accumulators, fragments, the next slab's elements and their addresses.
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
            && target.resident_blocks(
                threads,
                self.registers(point, checked, specialisation),
                point.shared_bytes(self.element_bytes()),
            ) > 0
    }
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
    let mut width = side.vector(checked, specialisation, depth, 4);
    while width > 1 && !(tile * point.block_depth / width).is_multiple_of(point.threads()) {
        width /= 2;
    }
    width
}
