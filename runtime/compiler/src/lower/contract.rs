//! `contract` with fused multiply-adds: slabs of both sides in shared memory, a tile of outputs in each thread's registers.
//!
//! Each side's factors are evaluated as ordinary expressions, element by element, where their slab is loaded: whatever
//! the language can say of a factor fuses. Rows and columns beyond the edge are clamped to the last one when loading
//! and left out when storing; terms beyond the end of the sum are zeros.

use super::expression::{Binding, InSequence, Lanes, Lowering};
use super::index::Linear;
use super::value::{Value, binary, class_of, fma_of, width_in_shared};
use super::{Error, launch, volume_formula};
use crate::check::Checked;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, SizeId};
use crate::kernel::Launch;
use crate::ptx::{Address, Cache, Class, Guard, Opcode, Operand, Reg, Space, Turns};
use crate::schedule::{Contract, ContractShape, contract_load_width, contract_operands};
use crate::size::Specialisation;
use crate::target::Target;

pub(super) fn lower<'a>(
    checked: &'a Checked,
    specialisation: &'a Specialisation,
    name: &str,
    target: Target,
    point: &Contract,
) -> Result<(Lowering<'a>, Launch), Error> {
    let shape = contract_operands(checked).ok_or(Error::Unbound)?;
    let mut lowering = Lowering::new(checked, specialisation, name, point.threads());
    lowering
        .b
        .set_minimum_blocks(shape.resident_blocks(point, checked, specialisation, target));
    let shared = point.shared_bytes(shape.element_bytes());
    let mut tile = Tile::new(&mut lowering, point, &shape);
    tile.sum(&mut lowering)?;
    tile.store(&mut lowering)?;
    let sizes = |axes: &[AxisId]| -> Vec<SizeId> { axes.iter().map(|&axis| checked.extent(axis)).collect() };
    let blocks = volume_formula(specialisation, &sizes(&shape.batch))
        .times(volume_formula(specialisation, &sizes(&shape.left.axes)).div_ceil(u64::from(point.block_rows)))
        .times(volume_formula(specialisation, &sizes(&shape.right.axes)).div_ceil(u64::from(point.block_columns)));
    Ok((lowering, launch(blocks, point.threads(), shared)))
}

/// A block's work.
struct Tile<'a> {
    point: &'a Contract,
    shape: &'a ContractShape,
    left: Slab,
    right: Slab,
    /// Terms of the sum, and the whole slabs they make.
    depth_extents: Vec<Linear>,
    depth: Linear,
    /// Row-major: `thread_rows × thread_columns` mutable registers.
    accumulators: Vec<Reg>,
    /// The thread's row and column among the block's threads.
    thread_row: Reg,
    thread_column: Reg,
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
    vector: u32,
    /// Bytes from the start of a stage.
    offset: u32,
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

impl<'a> Tile<'a> {
    fn new(lowering: &mut Lowering<'_>, point: &'a Contract, shape: &'a ContractShape) -> Tile<'a> {
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
        let counts = [
            batch_total,
            tiles(&row_total, point.block_rows),
            tiles(&column_total, point.block_columns),
        ];
        let block = lowering.block();
        let place = lowering.math.coordinates(&mut lowering.b, &block, &counts);
        let batch_place = lowering.math.coordinates(&mut lowering.b, &place[0], &batch);
        for (&axis, value) in shape.batch.iter().zip(batch_place) {
            bind(lowering, shape, axis, value);
        }
        let slab = |side: &crate::schedule::Side, extents: Vec<Linear>, total, at: &Linear, tile: u32, offset| Slab {
            factors: side.factors.clone(),
            axes: side.axes.clone(),
            extents,
            total,
            base: at.times(i64::from(tile)),
            tile,
            along_depth: side.along_depth,
            vector: contract_load_width(
                lowering.checked,
                lowering.specialisation,
                side,
                &shape.depth,
                tile,
                point,
            ),
            offset,
        };
        let bytes = width_in_shared(shape.ty).bytes();
        let left = slab(&shape.left, rows, row_total, &place[1], point.block_rows, 0);
        let left_bytes = point.block_depth * Contract::pitch(point.block_rows) * bytes;
        let right = slab(
            &shape.right,
            columns,
            column_total,
            &place[2],
            point.block_columns,
            left_bytes,
        );
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let across = i64::from(point.block_columns / point.thread_columns);
        let shift = i64::from(across.trailing_zeros());
        let thread_column = lowering.b.op(Opcode::AndB32, &[tid.into(), (across - 1).into()]);
        let thread_row = lowering.b.op(Opcode::ShrU32, &[tid.into(), shift.into()]);
        Tile {
            point,
            shape,
            left,
            right,
            depth_extents,
            depth,
            accumulators: Vec::new(),
            thread_row,
            thread_column,
        }
    }

    fn stage_bytes(&self) -> i64 {
        i64::from(self.point.stage_elements() * width_in_shared(self.shape.ty).bytes())
    }

    // ------------------------------------------------------------------ the sum

    fn sum(&mut self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let class = class_of(self.shape.ty);
        let zero = Value::zero(&mut lowering.b, self.shape.ty).operand;
        let count = self.point.thread_rows * self.point.thread_columns;
        self.accumulators = (0..count).map(|_| lowering.b.mutable(class, zero)).collect();
        let slab = i64::from(self.point.block_depth);
        let depth = self.depth.as_constant();
        let whole = depth.is_some_and(|depth| depth % slab == 0 && depth > 0);

        let first = Linear::constant(0);
        let base = lowering.b.shared_base();
        let factors = [&self.left.factors[..], &self.right.factors[..]].concat();
        let outside = lowering.enter(&self.shape.depth, &factors);
        let inside = if whole { Inside::All } else { Inside::Each };
        self.load(lowering, &first, base, inside)?;
        lowering.b.barrier();

        // While one slab is summed, the next is on its way to registers. After the last there is none: its loads are
        // off, and the zeros in their place are never read. One loop for all slabs, and never
        // unrolled, keeps the sum out of the code that stores: the assembler would mix both, and spill.
        let end = lowering.math.operand(&mut lowering.b, &self.depth);
        let entered = depth.is_some_and(|depth| depth > 0);
        let counter = lowering
            .b
            .begin_loop(Class::B32, Turns::new(0, end, slab).entered(entered).rolled());
        lowering.note_multiple(counter, self.point.block_depth.min(16));
        let here = Linear::register(counter);
        let next = here.plus_constant(slab);
        let more = depth.is_none_or(|depth| depth > slab);
        let inside = if whole {
            Inside::Where(lowering.below(&next, &self.depth))
        } else {
            Inside::Each
        };
        if more {
            self.touch(lowering, &next, inside)?;
        }
        let stage = self.stage(lowering, base, &here);
        self.accumulate(lowering, stage);
        if more {
            if self.point.stages == 1 {
                lowering.b.barrier();
            }
            let stage = self.stage(lowering, base, &next);
            self.load(lowering, &next, stage, inside)?;
            lowering.b.barrier();
        }
        lowering.b.end();
        lowering.leave(outside);
        Ok(())
    }

    /// The address of the stage that holds the slab beginning with that term: they alternate.
    fn stage(&self, lowering: &mut Lowering<'_>, base: Reg, term: &Linear) -> Reg {
        if self.point.stages == 1 {
            return base;
        }
        let slab = i64::from(self.point.block_depth);
        let term = lowering.math.operand(&mut lowering.b, term);
        let odd = match term {
            Operand::Int(term) => Operand::Int(term & slab),
            term => lowering.b.op(Opcode::AndB32, &[term, slab.into()]).into(),
        };
        lowering
            .b
            .op(Opcode::MadS32, &[odd, (self.stage_bytes() / slab).into(), base.into()])
    }

    /// Issues the loads of a slab; what is done with the values comes later.
    fn touch(&self, lowering: &mut Lowering<'_>, term: &Linear, inside: Inside) -> Result<(), Error> {
        for side in [&self.left, &self.right] {
            self.each_element(lowering, side, term, inside, |lowering, side, _, _, _| {
                side.factors
                    .iter()
                    .try_for_each(|&factor| lowering.touch(factor, &mut InSequence))
            })?;
        }
        Ok(())
    }

    /// Puts a slab into shared memory.
    fn load(&self, lowering: &mut Lowering<'_>, term: &Linear, stage: Reg, inside: Inside) -> Result<(), Error> {
        let ty = self.shape.ty;
        let width = width_in_shared(ty);
        for side in [&self.left, &self.right] {
            let pitch = i64::from(Contract::pitch(side.tile));
            let mut values: Vec<Operand> = Vec::new();
            self.each_element(lowering, side, term, inside, |lowering, side, piece, lane, guard| {
                let mut product: Option<Value> = None;
                for &factor in &side.factors {
                    let value = lowering.value_as(factor, ty, &mut InSequence)?;
                    product = Some(match product {
                        None => value,
                        Some(product) => binary(&mut lowering.b, BinaryOp::Mul, product, value),
                    });
                }
                let mut value = product.ok_or(Error::Unbound)?;
                // A guarded read alone is already 0 beyond the end.
                let read_alone = matches!(side.factors.as_slice(), [factor]
                    if matches!(lowering.op().expr(*factor), Expr::Read { or: None, source: crate::ir::Source::Input(_), .. }));
                if let (Some(guard), false) = (guard, read_alone) {
                    let zero = Value::zero(&mut lowering.b, ty);
                    value = super::value::select(&mut lowering.b, guard, value, zero);
                }
                values.push(value.reg(&mut lowering.b).into());
                if lane + 1 < side.vector {
                    return Ok(());
                }
                // [term][row], so that a thread's rows are neighbours.
                let at = piece.term.times(pitch).plus(&piece.row);
                let base = shared_at(lowering, stage, &at, width.bytes());
                let offset = |elements: i64| Address {
                    base: base.base,
                    offset: base.offset + side.offset as i32 + elements as i32 * width.bytes() as i32,
                };
                if side.along_depth {
                    for (lane, &value) in values.iter().enumerate() {
                        let address = offset(lane as i64 * pitch);
                        lowering.b.store(Space::Shared, width, address, &[value], Cache::Normal, None);
                    }
                } else {
                    let most = (16 / width.bytes()) as usize;
                    for (chunk, values) in values.chunks(most).enumerate() {
                        let address = offset((chunk * most) as i64);
                        lowering.b.store(Space::Shared, width, address, values, Cache::Normal, None);
                    }
                }
                values.clear();
                Ok(())
            })?;
        }
        Ok(())
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
        let (slab, tile) = (i64::from(self.point.block_depth), i64::from(side.tile));
        // Threads run along memory: the fast direction counts vectors.
        let fast = if side.along_depth { slab } else { tile } / vector;
        let threads = i64::from(self.point.threads());
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

    /// Adds a slab's products to the accumulators.
    fn accumulate(&self, lowering: &mut Lowering<'_>, stage: Reg) {
        let ty = self.shape.ty;
        let width = width_in_shared(ty);
        let bytes = width.bytes();
        let (rows, columns) = (self.point.thread_rows, self.point.thread_columns);
        let left = lowering.b.op(
            Opcode::MadS32,
            &[
                self.thread_row.into(),
                i64::from(group(rows, bytes) * bytes).into(),
                stage.into(),
            ],
        );
        let right = lowering.b.op(
            Opcode::MadS32,
            &[
                self.thread_column.into(),
                i64::from(group(columns, bytes) * bytes).into(),
                stage.into(),
            ],
        );
        for term in 0..self.point.block_depth {
            let mut fragment = |base: Reg, side: &Slab, count: u32| -> Vec<Reg> {
                let neighbours = group(count, bytes);
                let groups = count / neighbours;
                (0..groups)
                    .flat_map(|number| {
                        // Groups lie a part of the tile apart, so that a warp's threads read neighbours.
                        let element = term * Contract::pitch(side.tile) + number * (side.tile / groups);
                        let address = Address {
                            base,
                            offset: (side.offset + element * bytes) as i32,
                        };
                        lowering.b.load_here(Space::Shared, width, neighbours as usize, address)
                    })
                    .collect()
            };
            let left = fragment(left, &self.left, rows);
            let right = fragment(right, &self.right, columns);
            for (row, &x) in left.iter().enumerate() {
                for (column, &y) in right.iter().enumerate() {
                    let accumulator = self.accumulators[row * columns as usize + column];
                    let sources = [x.into(), y.into(), accumulator.into()];
                    lowering.b.assign(fma_of(ty), accumulator, &sources);
                }
            }
        }
    }

    // ------------------------------------------------------------------ the outputs

    fn store(&self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let (rows, columns) = (self.point.thread_rows, self.point.thread_columns);
        let bytes = width_in_shared(self.shape.ty).bytes();
        let neighbours = group(columns, bytes);
        // Neighbouring columns are stored together where none of them can be beyond an edge of a row.
        let fastest = self.right.axes.last().map(|&axis| lowering.checked.extent(axis));
        let divisible = fastest.map_or(1, |size| lowering.size_multiple(size));
        let vector = if lowering.specialisation.aligned {
            neighbours.min(divisible)
        } else {
            1
        };
        for row in 0..rows {
            let place = self.place(&self.left, self.thread_row, row, rows, bytes);
            self.bind_clamped(lowering, &self.left, &place, 1);
            let row_inside = self.inside(lowering, &self.left, &place);
            for first in (0..columns).step_by(vector as usize) {
                let place = self.place(&self.right, self.thread_column, first, columns, bytes);
                let lanes = self.bind_clamped(lowering, &self.right, &place, i64::from(vector));
                let column_inside = self.inside(lowering, &self.right, &place);
                let guard = lowering.both(row_inside, column_inside);
                lowering.lanes = lanes;
                let mut values = Vec::with_capacity(vector as usize);
                let fastest = self.right.axes.last().copied().ok_or(Error::Unbound)?;
                let offset = self.offset(lowering)?;
                for lane in 0..vector {
                    if lane > 0 {
                        let value = lowering.binding(fastest)?.value.plus_constant(1);
                        bind(lowering, self.shape, fastest, value);
                    }
                    let accumulator = self.accumulators[(row * columns + first + lane) as usize];
                    let sum = Value::new(self.shape.ty, lowering.b.read(accumulator));
                    lowering.define(self.shape.sum, sum)?;
                    values.push(lowering.output_value(0, &mut InSequence)?);
                }
                lowering.lanes = None;
                let guard = guard.map(|predicate| Guard { predicate, holds: true });
                lowering.store_output(0, &offset, &values, Cache::Normal, guard);
            }
        }
        Ok(())
    }

    /// The row (or column) of the tensor that a thread's `number`-th one is.
    fn place(&self, side: &Slab, thread: Reg, number: u32, count: u32, bytes: u32) -> Linear {
        let neighbours = group(count, bytes);
        let groups = count / neighbours;
        let local = (number / neighbours) * (side.tile / groups) + number % neighbours;
        side.base
            .plus(&Linear::register(thread).times(i64::from(neighbours)))
            .plus_constant(i64::from(local))
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

/// The coordinates of the first element of a chunk of `vector` neighbours, and the lanes if there are several.
pub(super) fn coordinates_of_chunk(
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
        let register = match *fastest.terms() {
            [(register, 1)] => register,
            _ => {
                let register = lowering.math.register(&mut lowering.b, fastest);
                *fastest = Linear::register(register);
                register
            }
        };
        *fastest = fastest.times(vector);
        lanes = Some(Lanes {
            register,
            width: vector as u32,
        });
    }
    (coordinates, lanes)
}

/// Neighbouring elements that a thread reads from shared memory at once: 16 bytes, if its tile has so many.
fn group(count: u32, bytes: u32) -> u32 {
    count.min(16 / bytes)
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

/// An address in shared memory: `base + at · bytes`.
fn shared_at(lowering: &mut Lowering<'_>, base: Reg, at: &Linear, bytes: u32) -> Address {
    let constant = at.constant_part() * i64::from(bytes);
    let scaled = at.plus_constant(-at.constant_part()).times(i64::from(bytes));
    let offset = lowering.math.operand(&mut lowering.b, &scaled);
    let base = match offset {
        Operand::Int(0) => base,
        offset => lowering.b.op(Opcode::AddS32, &[offset, base.into()]),
    };
    Address {
        base,
        offset: constant as i32,
    }
}
