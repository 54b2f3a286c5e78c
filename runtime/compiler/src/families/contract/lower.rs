//! `contract` as a composition of `lower::tile`: padded slabs, arithmetic in registers, two stages.

use super::space::{Contract, load_width};
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::lower::tile::arrival::Padded;
use crate::lower::tile::product::Fma;
use crate::lower::tile::products::products;
use crate::lower::tile::tiling::Tiling;
use crate::lower::tile::{epilogue, pipeline};
use crate::problem::Problem;

pub(super) fn lower<'a>(problem: &Problem<'a>, name: &str, point: &Contract) -> Result<(Lowering<'a>, Grid), Error> {
    let shape = products(problem);
    let shape = shape.as_ref().as_ref().ok_or(Error::Unbound)?;
    let mut lowering = Lowering::new(problem, name, point.threads());
    lowering.b.set_minimum_blocks(shape.minimum_blocks(problem, point));
    let block = point.block();
    let blocks = block.each_tile(&mut lowering, shape, point.blocks, |lowering, part| {
        let specialisation = lowering.specialisation;
        let vector = |side: &_, tile| load_width(shape, specialisation, side, tile, point);
        let tiling = Tiling::new(lowering, shape, block, &part, 1, vector)?;
        let product = Fma::new(lowering, &tiling, [point.thread_rows, point.thread_columns]);
        let slabs = Padded::new(&tiling);
        pipeline::double_buffered(lowering, &tiling, &slabs, point.stages, |lowering, stage, first| {
            product.accumulate(lowering, &slabs, stage, first)
        })?;
        part.join(lowering, shape.ty, &product.accumulators.concat(), |lowering| {
            epilogue::from_registers(lowering, &tiling, &product)
        })
    })?;
    Ok((lowering, Grid::of(blocks, point.threads(), point.shared_bytes(shape))))
}
