//! `mma` as a composition of `lower::tile`: swizzled slabs, `mma.sync`, a ring of stages.

use super::shape::{MmaShape, shape};
use super::space::{Mma, minimum_blocks};
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::lower::tile::arrival::{Swizzled, patch};
use crate::lower::tile::product::MmaSync;
use crate::lower::tile::products::Side;
use crate::lower::tile::tiling::Tiling;
use crate::lower::tile::warp::Warp;
use crate::lower::tile::{epilogue, pipeline};
use crate::problem::Problem;
use crate::ptx::{Opcode, Reg};

pub(super) fn lower<'a>(problem: &Problem<'a>, name: &str, point: &Mma) -> Result<(Lowering<'a>, Grid), Error> {
    let shape = shape(problem);
    let MmaShape {
        products: shape,
        multiplicands,
    } = shape.as_ref().as_ref().ok_or(Error::Unbound)?;
    let multiplicands = *multiplicands;
    let mut lowering = Lowering::new(problem, name, point.threads());
    lowering.b.set_minimum_blocks(minimum_blocks(problem, point));
    let (block, warp_tile) = (point.block(), point.warp_tile());
    let blocks = block.each_tile(&mut lowering, shape, point.blocks, |lowering, part| {
        let specialisation = lowering.specialisation;
        let vector = |side: &Side, tile| {
            let multiplicand = multiplicands[usize::from(!side.of_rows)];
            patch(shape, specialisation, side, tile, block, multiplicand)[0]
        };
        let step = multiplicands[0].at_once();
        let mut tiling = Tiling::new(lowering, shape, block, &part, step, vector)?;
        let lines = Swizzled::layout(&mut tiling, specialisation, multiplicands);
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let warp = Warp::new(lowering, block, warp_tile, tid);
        let base = lowering.b.shared_base();
        let slabs = Swizzled::new(lowering, &tiling, multiplicands, lines)?;
        let product = MmaSync::new(lowering, &tiling, warp_tile, warp, multiplicands);
        pipeline::ring(
            lowering,
            &tiling,
            &slabs,
            base,
            point.stages,
            |lowering, stage, first| product.accumulate(lowering, &slabs, stage, first),
        )?;
        let sums: Vec<Reg> = product.results().iter().flatten().flatten().copied().collect();
        part.join(lowering, shape.result_ty(), &sums, |lowering| {
            let strips = point.strips(shape, multiplicands[0].bytes());
            epilogue::through_shared_memory(lowering, &tiling, &product, base, &strips)
        })
    })?;
    let shared = point.shared_bytes(shape, multiplicands[0].bytes());
    Ok((lowering, Grid::of(blocks, point.threads(), shared)))
}
