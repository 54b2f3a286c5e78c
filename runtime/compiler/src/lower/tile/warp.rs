//! The warps of a block on tensor cores.

use super::block::Block;
use crate::element::Type;
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::lower::value::class_of;
use crate::ptx::{Opcode, Operand, Reg};

/// The part of a block's tile that a warp computes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WarpTile {
    pub rows: u32,
    pub columns: u32,
    /// Slice-K: warps that share the terms of one such part.
    pub slices: u32,
}

impl WarpTile {
    /// Warps of a block.
    pub const fn warps(self, block_rows: u32, block_columns: u32) -> u32 {
        (block_rows / self.rows) * (block_columns / self.columns) * self.slices
    }

    /// Mutable registers for the tile: for each 16 × 8 of it, row-major, four that hold `first`.
    pub fn registers(self, lowering: &mut Lowering<'_>, ty: Type, first: Operand) -> Vec<[Reg; 4]> {
        let mut fresh = || std::array::from_fn(|_| lowering.b.mutable(class_of(ty), first));
        (0..self.rows / 16 * (self.columns / 8)).map(|_| fresh()).collect()
    }
}

/// The place of a thread's warp in its block.
pub(crate) struct Warp {
    pub lane: Reg,
    /// The warp's number in the block.
    pub number: Reg,
    /// The number of its slice of the terms.
    pub slice: Linear,
    /// The first row of its tile, within the block's.
    pub row: Linear,
    /// The first column of its tile, within the block's.
    pub column: Linear,
}

impl Warp {
    pub fn new(lowering: &mut Lowering<'_>, block: Block, tile: WarpTile, tid: Reg) -> Warp {
        let b = &mut lowering.b;
        let lane = b.op(Opcode::AndB32, &[tid.into(), 31.into()]);
        let number = b.op(Opcode::ShrU32, &[tid.into(), 5.into()]);
        let across = i64::from(block.columns / tile.columns);
        let tiles = i64::from(block.rows / tile.rows) * across;
        let math = lowering.math;
        let (slice, place) = match tile.slices {
            1 => (Linear::constant(0), Linear::register(number)),
            _ => math.divide(b, &Linear::register(number), &Linear::constant(tiles)),
        };
        let (row, column) = match tiles / across {
            1 => (Linear::constant(0), place),
            _ => math.divide(b, &place, &Linear::constant(across)),
        };
        Warp {
            lane,
            number,
            slice,
            row: row.times(tile.rows.into()),
            column: column.times(tile.columns.into()),
        }
    }
}
