//! `contract`: sums of products, in tiles. Slabs of both sides go through shared memory, a few terms of the sums at a time.
//!
//! [`simt`] sums with fused multiply-adds, a tile of outputs in each thread's registers; [`mma`] with tensor cores, a tile in
//! each warp's. Here is what both share: which tile a block computes, and to what element of a tensor a place in a slab belongs.
//!
//! Rows and columns beyond the edge are clamped to the last one when loading and left out when storing; terms beyond the
//! end of the sum are zeros.

pub(super) mod mma;
pub(super) mod simt;

use super::expression::{Binding, InSequence, Lanes, Lowering};
use super::index::Linear;
use super::value::{Value, binary, select};
use super::{Error, volume_formula};
use crate::check::Checked;
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, ExprId, SizeId};
use crate::ptx::{Cache, Guard, Opcode, Reg};
use crate::schedule::{ContractShape, Side};
use crate::size::{SizeExpr, Specialisation};

/// What a block is.
#[derive(Debug, Clone, Copy)]
struct Block {
    rows: u32,
    columns: u32,
    /// Terms of the sums in a slab.
    depth: u32,
    threads: u32,
    /// Rows of tiles that are computed column by column, so that blocks at work together share what they read.
    group: u32,
}

/// A block's tile of outputs.
struct Tiling<'a> {
    shape: &'a ContractShape,
    block: Block,
    left: Slab,
    right: Slab,
    /// Terms of the sum.
    depth: Linear,
    depth_extents: Vec<Linear>,
}

/// One side's part of the block: how it is loaded and where it lies.
struct Slab {
    factors: Vec<ExprId>,
    axes: Vec<AxisId>,
    extents: Vec<Linear>,
    total: Linear,
    /// The first row (or column) of the block.
    base: Linear,
    tile: u32,
    along_depth: bool,
    /// Neighbours that a thread loads at once.
    vector: u32,
}

/// Which terms of a slab are terms of the sum.
#[derive(Debug, Clone, Copy)]
enum Inside {
    /// All of them.
    All,
    /// All or none.
    Where(Reg),
    /// What each load finds out for itself.
    Each,
}

/// One load of a thread: `vector` neighbours.
struct Piece {
    /// Where its first element is, within the slab.
    row: Linear,
    term: Linear,
}

impl Block {
    /// The blocks of a launch.
    fn grid(self, checked: &Checked, specialisation: &Specialisation, shape: &ContractShape) -> SizeExpr {
        let volume = |axes: &[AxisId]| {
            let sizes: Vec<SizeId> = axes.iter().map(|&axis| checked.extent(axis)).collect();
            volume_formula(specialisation, &sizes)
        };
        volume(&shape.batch)
            .times(volume(&shape.left.axes).div_ceil(u64::from(self.rows)))
            .times(volume(&shape.right.axes).div_ceil(u64::from(self.columns)))
    }
}

impl<'a> Tiling<'a> {
    /// The tile of this block. `vectors`: neighbours loaded at once of the left side, and of the right.
    fn new(lowering: &mut Lowering<'_>, shape: &'a ContractShape, block: Block, vectors: [u32; 2]) -> Tiling<'a> {
        let extents_of = |axes: &[AxisId]| -> Vec<Linear> { axes.iter().map(|&axis| lowering.extent(axis)).collect() };
        let (rows, columns, batch) = (
            extents_of(&shape.left.axes),
            extents_of(&shape.right.axes),
            extents_of(&shape.batch),
        );
        let depth_extents = extents_of(&shape.depth);
        let mut product = |extents: &[Linear]| {
            extents.iter().fold(Linear::constant(1), |volume, extent| {
                lowering.math.product(&mut lowering.b, &volume, extent)
            })
        };
        let (row_total, column_total, batch_total) = (product(&rows), product(&columns), product(&batch));
        let depth = product(&depth_extents);
        let mut tiles = |total: &Linear, tile: u32| {
            let rounded = total.plus_constant(i64::from(tile) - 1);
            lowering
                .math
                .divide(&mut lowering.b, &rounded, &Linear::constant(i64::from(tile)))
                .0
        };
        let (row_tiles, column_tiles) = (tiles(&row_total, block.rows), tiles(&column_total, block.columns));
        let number = lowering.block();
        let [batch_place, row, column] = tile_place(
            lowering,
            &number,
            [&batch_total, &row_tiles, &column_tiles],
            block.group,
        );
        let batch_place = lowering.math.coordinates(&mut lowering.b, &batch_place, &batch);
        for (&axis, value) in shape.batch.iter().zip(batch_place) {
            bind(lowering, shape, axis, value);
        }
        let slab = |side: &Side, extents, total, at: &Linear, tile: u32, vector| Slab {
            factors: side.factors.clone(),
            axes: side.axes.clone(),
            extents,
            total,
            base: at.times(i64::from(tile)),
            tile,
            along_depth: side.along_depth,
            vector,
        };
        Tiling {
            shape,
            block,
            left: slab(&shape.left, rows, row_total, &row, block.rows, vectors[0]),
            right: slab(&shape.right, columns, column_total, &column, block.columns, vectors[1]),
            depth,
            depth_extents,
        }
    }

    /// Binds the axes to each element that this thread loads of a slab, in order.
    fn each_element(
        &self,
        lowering: &mut Lowering<'_>,
        side: &Slab,
        first_term: &Linear,
        inside: Inside,
        mut each: impl FnMut(&mut Lowering<'_>, &Slab, &Piece, u32, Option<Reg>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let vector = i64::from(side.vector);
        let (slab, tile) = (i64::from(self.block.depth), i64::from(side.tile));
        // Threads run along memory: the fast direction counts vectors.
        let fast = if side.along_depth { slab } else { tile } / vector;
        let threads = i64::from(self.block.threads);
        let turns = slab * tile / vector / threads;
        let tid = lowering.b.op(Opcode::TidX, &[]);
        for turn in 0..turns {
            let (along, across) = if threads >= fast {
                let shift = i64::from(fast.trailing_zeros());
                let along = lowering.b.op(Opcode::AndB32, &[tid.into(), (fast - 1).into()]);
                let across = lowering.b.op(Opcode::ShrU32, &[tid.into(), shift.into()]);
                (
                    Linear::register(along),
                    Linear::register(across).plus_constant(turn * (threads / fast)),
                )
            } else {
                let parts = fast / threads;
                (
                    Linear::register(tid).plus_constant(turn % parts * threads),
                    Linear::constant(turn / parts),
                )
            };
            let (term, row) = if side.along_depth {
                (along.times(vector), across)
            } else {
                (across, along.times(vector))
            };
            let piece = Piece { row, term };
            let along_rows = if side.along_depth { 1 } else { vector };
            let row_lanes = self.bind_clamped(lowering, side, &side.base.plus(&piece.row), along_rows);
            let term_lanes = self.bind_terms(lowering, side, &piece, first_term);
            let term = first_term.plus(&piece.term);
            let guard = match inside {
                Inside::All => None,
                Inside::Where(predicate) => Some(predicate),
                Inside::Each => Some(lowering.below(&term, &self.depth)),
            };
            lowering.lanes = row_lanes.or(term_lanes);
            for lane in 0..side.vector {
                self.bind_lane(lowering, side, i64::from(lane), guard)?;
                each(lowering, side, &piece, lane, guard)?;
                self.bind_lane(lowering, side, -i64::from(lane), guard)?;
            }
            lowering.lanes = None;
        }
        Ok(())
    }

    /// Binds a side's own axes to a row of the tensor, clamped to the last; the lanes if `vector` rows are taken at once.
    fn bind_clamped(&self, lowering: &mut Lowering<'_>, side: &Slab, row: &Linear, vector: i64) -> Option<Lanes> {
        let chunk = row.divided(vector);
        let (last, _) = lowering
            .math
            .divide(&mut lowering.b, &side.total, &Linear::constant(vector));
        let tiles_fit = side
            .total
            .as_constant()
            .is_some_and(|total| total % i64::from(side.tile) == 0);
        let chunk = if tiles_fit {
            chunk
        } else {
            let chunk = lowering.math.operand(&mut lowering.b, &chunk);
            let last = lowering.math.operand(&mut lowering.b, &last.plus_constant(-1));
            Linear::register(lowering.b.op(Opcode::MinS32, &[chunk, last]))
        };
        let (coordinates, lanes) = coordinates_of_chunk(lowering, &chunk, &side.extents, vector);
        for (&axis, value) in side.axes.iter().zip(coordinates) {
            bind(lowering, self.shape, axis, value);
        }
        lanes
    }

    /// Binds the sum's axes to a term; the lanes if they run along it.
    fn bind_terms(
        &self,
        lowering: &mut Lowering<'_>,
        side: &Slab,
        piece: &Piece,
        first_term: &Linear,
    ) -> Option<Lanes> {
        let vector = if side.along_depth { i64::from(side.vector) } else { 1 };
        let term = first_term.plus(&piece.term);
        let axes = &self.shape.depth;
        if let [axis] = axes.as_slice() {
            lowering.bind(*axis, Binding::of(term));
            // The piece's own register counts vectors; the slab begins at a multiple of them.
            let register = piece.term.terms().first().map(|&(reg, _)| reg)?;
            return (vector > 1).then_some(Lanes {
                register,
                width: vector as u32,
            });
        }
        let slab = lowering.math.operand(&mut lowering.b, first_term);
        let chunk = if vector > 1 {
            let shift = i64::from(vector.trailing_zeros());
            let slab = lowering.b.op(Opcode::ShrU32, &[slab, shift.into()]);
            piece.term.divided(vector).plus(&Linear::register(slab))
        } else {
            term
        };
        let (coordinates, lanes) = coordinates_of_chunk(lowering, &chunk, &self.depth_extents, vector);
        for (&axis, value) in axes.iter().zip(coordinates) {
            lowering.bind(axis, Binding::of(value));
        }
        lanes
    }

    /// Moves the fastest axis by a number of elements, and sets the condition of the sum's axes.
    fn bind_lane(&self, lowering: &mut Lowering<'_>, side: &Slab, by: i64, guard: Option<Reg>) -> Result<(), Error> {
        for &axis in &self.shape.depth {
            let binding = lowering.binding(axis)?;
            lowering.bind(axis, Binding { guard, ..binding });
        }
        let walked = if side.along_depth {
            &self.shape.depth
        } else {
            &side.axes
        };
        let Some(&fastest) = walked.last() else { return Ok(()) };
        let binding = lowering.binding(fastest)?;
        let value = binding.value.plus_constant(by);
        if side.along_depth {
            lowering.bind(fastest, Binding { value, ..binding });
        } else {
            bind(lowering, self.shape, fastest, value);
        }
        Ok(())
    }

    /// Issues the loads of a side's factors in a slab; what is done with the values comes later.
    fn touch(&self, lowering: &mut Lowering<'_>, side: &Slab, term: &Linear, inside: Inside) -> Result<(), Error> {
        self.each_element(lowering, side, term, inside, |lowering, side, _, _, _| {
            side.factors
                .iter()
                .try_for_each(|&factor| lowering.touch(factor, &mut InSequence))
        })
    }

    /// Computes and stores `count` neighbouring outputs of a row; `sum` gives the sum that each is made of.
    fn outputs(
        &self,
        lowering: &mut Lowering<'_>,
        row: &Linear,
        column: &Linear,
        count: u32,
        mut sum: impl FnMut(&mut Lowering<'_>, u32) -> Value,
    ) -> Result<(), Error> {
        let fastest = self.right.axes.last().copied().ok_or(Error::Unbound)?;
        self.bind_clamped(lowering, &self.left, row, 1);
        let row_inside = self.inside(lowering, &self.left, row);
        let lanes = self.bind_clamped(lowering, &self.right, column, i64::from(count));
        let column_inside = self.inside(lowering, &self.right, column);
        let guard = lowering.both(row_inside, column_inside);
        lowering.lanes = lanes;
        let offset = self.offset(lowering)?;
        let mut values = Vec::with_capacity(count as usize);
        for lane in 0..count {
            if lane > 0 {
                let value = lowering.binding(fastest)?.value.plus_constant(1);
                bind(lowering, self.shape, fastest, value);
            }
            let sum = sum(lowering, lane);
            lowering.define(self.shape.sum, sum)?;
            values.push(lowering.output_value(0, &mut InSequence)?);
        }
        lowering.lanes = None;
        let guard = guard.map(|predicate| Guard { predicate, holds: true });
        lowering.store_output(0, &offset, &values, Cache::Normal, guard);
        Ok(())
    }

    /// How many neighbouring outputs of a row can be stored together, none of them beyond its end: at most `most`.
    fn output_vector(&self, lowering: &Lowering<'_>, most: u32) -> u32 {
        match self.right.axes.last() {
            Some(&fastest) if lowering.specialisation.aligned => {
                lowering.size_multiple(lowering.checked.extent(fastest)).min(most)
            }
            _ => 1,
        }
    }

    fn inside(&self, lowering: &mut Lowering<'_>, side: &Slab, place: &Linear) -> Option<Reg> {
        let fits = side
            .total
            .as_constant()
            .is_some_and(|total| total % i64::from(side.tile) == 0);
        (!fits).then(|| lowering.below(place, &side.total))
    }

    fn offset(&self, lowering: &mut Lowering<'_>) -> Result<Linear, Error> {
        let output = &lowering.op().outputs[0];
        let indices = output
            .axes
            .iter()
            .map(|&axis| Ok(lowering.binding(axis)?.value))
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(lowering.offset(&indices, &output.dims))
    }
}

impl Slab {
    /// The product of the factors where their axes are bound as they are, in the type of the sum.
    fn product(&self, lowering: &mut Lowering<'_>, ty: Type) -> Result<Value, Error> {
        let mut product: Option<Value> = None;
        for &factor in &self.factors {
            let value = lowering.value_as(factor, ty, &mut InSequence)?;
            product = Some(match product {
                None => value,
                Some(product) => binary(&mut lowering.b, BinaryOp::Mul, product, value),
            });
        }
        product.ok_or(Error::Unbound)
    }
}

/// The value where it is a term of the sum, else 0.
fn or_zero(lowering: &mut Lowering<'_>, value: Value, guard: Option<Reg>) -> Value {
    let Some(guard) = guard else { return value };
    let zero = Value::zero(&mut lowering.b, value.ty);
    select(&mut lowering.b, guard, value, zero)
}

/// Batch, row and column of the tile with that number. Within a batch, bands of `group` rows of tiles come one after the
/// other, each column by column.
fn tile_place(lowering: &mut Lowering<'_>, number: &Linear, counts: [&Linear; 3], group: u32) -> [Linear; 3] {
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

/// The coordinates of the first element of a chunk of `vector` neighbours, and the lanes if there are several.
fn coordinates_of_chunk(
    lowering: &mut Lowering<'_>,
    chunk: &Linear,
    extents: &[Linear],
    vector: i64,
) -> (Vec<Linear>, Option<Lanes>) {
    let mut extents = extents.to_vec();
    if let Some(fastest) = extents.last_mut() {
        let vector = Linear::constant(vector);
        *fastest = lowering.math.divide(&mut lowering.b, fastest, &vector).0;
    }
    let mut coordinates = lowering.math.coordinates(&mut lowering.b, chunk, &extents);
    let mut lanes = None;
    if vector > 1
        && let Some(fastest) = coordinates.last_mut()
    {
        let register = lowering.math.register(&mut lowering.b, fastest);
        *fastest = Linear::register(register).times(vector);
        lanes = Some(Lanes {
            register,
            width: vector as u32,
        });
    }
    (coordinates, lanes)
}

/// Binds an output axis, and the axis that stands for it in the intermediate tensor the sum is part of.
fn bind(lowering: &mut Lowering<'_>, shape: &ContractShape, axis: AxisId, value: Linear) {
    for &(outer, inner) in &shape.aliases {
        if outer == axis {
            lowering.bind(inner, Binding::of(value.clone()));
        }
    }
    lowering.bind(axis, Binding::of(value));
}
