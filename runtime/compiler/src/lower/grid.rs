//! Grids of launches.

use crate::ir::SizeId;
use crate::size::{SizeExpr, SizeOp, Specialisation};

/// A one-dimensional grid of blocks, as the families launch it.
pub(crate) struct Grid {
    pub blocks: SizeExpr,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub dynamic_shared: u32,
}

impl Grid {
    pub fn of(blocks: SizeExpr, threads: u32, dynamic_shared: u32) -> Grid {
        Grid {
            blocks,
            threads,
            dynamic_shared,
        }
    }
}

/// The product of sizes, with what is compiled in already multiplied.
pub(crate) fn volume_formula(specialisation: &Specialisation, sizes: &[SizeId]) -> SizeExpr {
    sizes
        .iter()
        .map(|size| match specialisation.extents[size.index()].fixed() {
            Some(value) => SizeExpr::Const(value as i64),
            None => SizeExpr::Size(*size),
        })
        .fold(SizeExpr::Const(1), SizeExpr::times)
}

/// The larger of two formulas.
pub(crate) fn larger(a: SizeExpr, b: SizeExpr) -> SizeExpr {
    if a == b {
        return a;
    }
    SizeExpr::Binary(SizeOp::Max, Box::new(a), Box::new(b))
}
