//! The tiles of a product's outputs, and the blocks that compute them.

use super::products::Products;
use super::split_k::Part;
use crate::check::Checked;
use crate::estimate::TileGrid;
use crate::ir::SizeId;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::volume_formula;
use crate::lower::index::Linear;
use crate::ptx::Opcode;
use crate::size::SizeExpr;

/// A block's tile and what it shares with other blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub rows: u32,
    pub columns: u32,
    /// Terms of the sums in a slab.
    pub depth: u32,
    pub threads: u32,
    /// Rows of tiles that are computed column by column, so that blocks at work together share what they read.
    pub group: u32,
    /// Blocks that share the terms of a tile.
    pub split_k: u32,
}

impl Block {
    /// Computes every tile, so many blocks at a time at most; 0: a block each. Returns the grid.
    pub fn each_tile<'a>(
        self,
        lowering: &mut Lowering<'a>,
        shape: &Products,
        most: u32,
        each: impl FnOnce(&mut Lowering<'a>, Part) -> Result<(), Error>,
    ) -> Result<SizeExpr, Error> {
        let specialisation = lowering.specialisation;
        let volume = |positions: &[usize]| {
            let sizes: Vec<SizeId> = positions.iter().map(|&position| shape.dims[position]).collect();
            volume_formula(specialisation, &sizes)
        };
        let work = volume(&shape.batch)
            .times(volume(&shape.rows).div_ceil(u64::from(self.rows)))
            .times(volume(&shape.columns).div_ceil(u64::from(self.columns)))
            .times(SizeExpr::Const(self.split_k.into()));
        let tiles = match most {
            0 => Linear::default(),
            _ => Counts::new(lowering, shape, self).tiles(lowering),
        };
        lowering.each_block(most, &tiles, work, |lowering, number| {
            if most > 0 {
                lowering.b.stay();
            }
            let part = Part::new(lowering, number, self.split_k, self.threads);
            each(lowering, part)?;
            // No thread reads this tile's slabs any more when the next tile's are loaded.
            if most > 0 {
                lowering.b.barrier();
            }
            Ok(())
        })
    }

    /// Bytes of the factors that the blocks read if so many run at once and each wave of them reads what its tiles share once.
    pub fn wave_bytes(self, checked: &Checked, shape: &Products, sizes: &[u64], at_once: u64) -> f64 {
        let [rows, columns, batches, terms] = shape.extents(sizes);
        let bytes = |of_rows: bool| -> f64 {
            let sides = shape.sides.iter().filter(|side| side.of_rows == of_rows);
            sides.map(|side| side.element_bytes(checked)).sum()
        };
        let grid = TileGrid {
            rows,
            columns,
            batches,
            terms,
            tile: [self.rows.into(), self.columns.into()],
            group: self.group.into(),
            bytes: [bytes(true), bytes(false)],
        };
        grid.wave_bytes(at_once / u64::from(self.split_k))
    }
}

/// The numbers of rows, columns, batches and tiles.
pub(crate) struct Counts {
    pub batch_extents: Vec<Linear>,
    pub row_extents: Vec<Linear>,
    pub column_extents: Vec<Linear>,
    pub batches: Linear,
    pub rows: Linear,
    pub columns: Linear,
    pub row_tiles: Linear,
    pub column_tiles: Linear,
}

impl Counts {
    pub fn new(lowering: &mut Lowering<'_>, shape: &Products, block: Block) -> Counts {
        let extents_of = |positions: &[usize]| -> Vec<Linear> {
            let extent = |&position: &usize| lowering.size(shape.dims[position]);
            positions.iter().map(extent).collect()
        };
        let (row_extents, column_extents, batch_extents) = (
            extents_of(&shape.rows),
            extents_of(&shape.columns),
            extents_of(&shape.batch),
        );
        let (rows, columns, batches) = (
            product(lowering, &row_extents),
            product(lowering, &column_extents),
            product(lowering, &batch_extents),
        );
        let mut tiles = |total: &Linear, tile: u32| {
            let rounded = total.plus_constant(i64::from(tile) - 1);
            lowering
                .math
                .divide(&mut lowering.b, &rounded, &Linear::constant(i64::from(tile)))
                .0
        };
        Counts {
            row_tiles: tiles(&rows, block.rows),
            column_tiles: tiles(&columns, block.columns),
            batch_extents,
            row_extents,
            column_extents,
            batches,
            rows,
            columns,
        }
    }

    pub fn tiles(&self, lowering: &mut Lowering<'_>) -> Linear {
        product(
            lowering,
            &[self.batches.clone(), self.row_tiles.clone(), self.column_tiles.clone()],
        )
    }
}

pub(super) fn product(lowering: &mut Lowering<'_>, extents: &[Linear]) -> Linear {
    extents.iter().fold(Linear::constant(1), |volume, extent| {
        lowering.math.product(&mut lowering.b, &volume, extent)
    })
}

/// Batch, row and column of the tile with that number. Within a batch, bands of `group` rows of tiles come one after the
/// other, each column by column.
pub(super) fn tile_place(
    lowering: &mut Lowering<'_>,
    number: &Linear,
    counts: [&Linear; 3],
    group: u32,
) -> [Linear; 3] {
    let [batches, rows, columns] = counts;
    if group == 1 {
        let counts = [batches.clone(), rows.clone(), columns.clone()];
        let mut place = lowering.math.coordinates(&mut lowering.b, number, &counts).into_iter();
        return std::array::from_fn(|_| place.next().unwrap_or_default());
    }
    let (math, b) = (lowering.math, &mut lowering.b);
    let tiles = math.product(b, rows, columns);
    let (batch, tile) = if batches.as_constant() == Some(1) {
        (Linear::constant(0), number.clone())
    } else {
        math.divide(b, number, &tiles)
    };
    let group = i64::from(group);
    let (band, within) = math.divide(b, &tile, &columns.times(group));
    let first = band.times(group);
    // The last band may have fewer rows.
    let height = match rows.as_constant() {
        Some(rows) if rows % group == 0 => Linear::constant(group),
        _ => {
            let left = math.operand(b, &rows.plus(&first.times(-1)));
            Linear::register(b.op(Opcode::MinS32, &[left, group.into()]))
        }
    };
    let (column, row) = math.divide(b, &within, &height);
    [batch, first.plus(&row), column]
}
