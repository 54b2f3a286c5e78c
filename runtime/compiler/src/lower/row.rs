//! `row`: a group of threads walks over what a reduction runs over, and over a row's outputs, in the same way.
//!
//! Reductions are met while the outputs' expressions are emitted, and done by the group before them. A group that keeps
//! its elements in registers is straight code: an element that two walks read is one load, since the builder
//! numbers values. One that keeps them in shared memory walks in loops ([`kept`]).

mod kept;

use super::expression::{Access, Accumulator, Binding, Lanes, Lowering, Reduce, or_identity};
use super::index::Linear;
use super::value::{Value, class_of};
use super::{Error, launch, volume_formula};
use crate::check::Checked;
use crate::ir::{AxisId, Expr, ExprId, ReduceOp};
use crate::kernel::Launch;
use crate::ptx::{Address, Cache, Class, Few, Guard, Opcode, Operand, Reg, Space, Turns, Width};
use crate::schedule::{Keep, Row, kept_budget, row_axes};
use crate::size::Specialisation;
use crate::target::Target;
use kept::{Kept, Walk};

pub(super) fn lower<'a>(
    checked: &'a Checked,
    specialisation: &'a Specialisation,
    name: &str,
    target: Target,
    schedule: &Row,
) -> Result<(Lowering<'a>, Launch), Error> {
    let mut lowering = Lowering::new(checked, specialisation, name, schedule.threads * schedule.rows);
    let row_count = row_axes(checked).ok_or(Error::Unbound)?;
    let dims = &checked.op().outputs[0].dims[..row_count];
    let mut group = Group::new(&mut lowering, *schedule, row_count);
    group.kept.budget = kept_budget(target);
    group.outputs(&mut lowering)?;
    let shared = group.shared_bytes;
    let blocks = volume_formula(specialisation, dims).div_ceil(u64::from(schedule.rows));
    Ok((lowering, launch(blocks, schedule.threads * schedule.rows, shared)))
}

/// The group of threads that does one row.
struct Group {
    schedule: Row,
    /// Leading output axes that number the rows.
    row_count: usize,
    /// The thread's number in its group.
    thread: Linear,
    /// The row's number among the block's rows, 32 bits.
    row_in_block: Option<Reg>,
    /// Where the row exists; none if all do.
    valid: Option<Reg>,
    coordinates: Vec<Linear>,
    /// Registers that are the same for the whole group.
    uniform: Vec<Reg>,
    shared_bytes: u32,
    kept: Kept,
    /// The walks under way, outermost first.
    walks: Vec<Walk>,
    walks_begun: u32,
}

/// One step of a walk: where the group's thread stands.
struct Step {
    /// Counts chunks of `vector` elements.
    chunk: Reg,
    /// Holds where the chunk exists.
    guard: Option<Reg>,
}

impl Group {
    fn new(lowering: &mut Lowering<'_>, schedule: Row, row_count: usize) -> Group {
        let op = lowering.op();
        let dims = &op.outputs[0].dims[..row_count];
        let block = lowering.block();
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let (thread, row_in_block) = if schedule.rows == 1 {
            (tid, None)
        } else {
            let shift = i64::from(schedule.threads.trailing_zeros());
            let mask = i64::from(schedule.threads - 1);
            let thread = lowering.b.op(Opcode::AndB32, &[tid.into(), mask.into()]);
            let row = lowering.b.op(Opcode::ShrU32, &[tid.into(), shift.into()]);
            (thread, Some(row))
        };
        let thread = Linear::register(lowering.index_register(thread));
        let mut row = block.times(i64::from(schedule.rows));
        let mut valid = None;
        if let Some(in_block) = row_in_block {
            row = row.plus(&Linear::register(lowering.index_register(in_block)));
            let rows = lowering.volume(dims);
            let exists = lowering.below(&row, &rows);
            // All threads take part in shuffles and barriers: those without a row do the last one again, and store nothing.
            let last = rows.plus_constant(-1);
            let (row_operand, last) = (
                lowering.math.operand(&mut lowering.b, &row),
                lowering.math.operand(&mut lowering.b, &last),
            );
            let minimum = if lowering.math.wide {
                Opcode::MinS64
            } else {
                Opcode::MinS32
            };
            row = Linear::register(lowering.b.op(minimum, &[row_operand, last]));
            valid = Some(exists);
        }
        let extents: Vec<Linear> = dims.iter().map(|&size| lowering.size(size)).collect();
        let coordinates = lowering.math.coordinates(&mut lowering.b, &row, &extents);
        let uniform = coordinates
            .iter()
            .flat_map(|coordinate| coordinate.terms().iter().map(|&(reg, _)| reg))
            .collect();
        Group {
            schedule,
            row_count,
            thread,
            row_in_block,
            valid,
            coordinates,
            uniform,
            shared_bytes: 0,
            kept: Kept::default(),
            walks: Vec::new(),
            walks_begun: 0,
        }
    }

    // ------------------------------------------------------------------ outputs

    fn outputs(&mut self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let op = lowering.op();
        for (position, output) in op.outputs.iter().enumerate() {
            for (&axis, value) in output.axes.iter().zip(&self.coordinates) {
                lowering.bind(axis, Binding::of(value.clone()));
            }
            let lane_axes = &output.axes[self.row_count..];
            if lane_axes.is_empty() {
                self.single(lowering, position)?;
            } else {
                self.lanes(lowering, position, lane_axes)?;
            }
        }
        Ok(())
    }

    /// An output of one element a row: the group's first thread stores it.
    fn single(&mut self, lowering: &mut Lowering<'_>, position: usize) -> Result<(), Error> {
        let value = lowering.output_value(position, self)?;
        let first = lowering.below(&self.thread.clone(), &Linear::constant(1));
        let predicate = lowering.both(Some(first), self.valid);
        let offset = self.offset(lowering, position, &[]);
        let guard = predicate.map(|predicate| Guard { predicate, holds: true });
        lowering.store_output(position, &offset, &[value], Cache::Normal, guard);
        Ok(())
    }

    /// An output of many elements a row.
    fn lanes(&mut self, lowering: &mut Lowering<'_>, position: usize, axes: &[AxisId]) -> Result<(), Error> {
        let body = lowering.op().outputs[position].body;
        let outside = self.enter(lowering, axes, body);
        self.ahead(lowering, body)?;
        self.walk(lowering, axes, |group, lowering, step, coordinates| {
            let vector = group.schedule.vector;
            let mut values = Vec::with_capacity(vector as usize);
            for lane in 0..vector {
                group.bind_lane(lowering, axes, coordinates, lane, step.guard);
                values.push(lowering.output_value(position, group)?);
            }
            let offset = group.offset(lowering, position, coordinates);
            let guard = lowering.both(step.guard, group.valid);
            let guard = guard.map(|predicate| Guard { predicate, holds: true });
            lowering.store_output(position, &offset, &values, Cache::Normal, guard);
            Ok(())
        })?;
        lowering.leave(outside);
        Ok(())
    }

    /// The offset of an output's element: the row's coordinates, then those given.
    fn offset(&self, lowering: &mut Lowering<'_>, position: usize, coordinates: &[Linear]) -> Linear {
        let output = &lowering.op().outputs[position];
        let indices: Vec<Linear> = self.coordinates.iter().chain(coordinates).cloned().collect();
        lowering.offset(&indices, &output.dims)
    }

    // ------------------------------------------------------------------ walks

    /// Walks over all combinations of `axes`, `vector` neighbours at a time: `each` gets the step and the coordinates of its first element.
    fn walk(
        &mut self,
        lowering: &mut Lowering<'_>,
        axes: &[AxisId],
        mut each: impl FnMut(&mut Group, &mut Lowering<'_>, &Step, &[Linear]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let vector = i64::from(self.schedule.vector);
        let threads = i64::from(self.schedule.threads);
        let mut extents: Vec<Linear> = axes.iter().map(|&axis| lowering.extent(axis)).collect();
        if let Some(last) = extents.last_mut() {
            *last = lowering.math.divide(&mut lowering.b, last, &Linear::constant(vector)).0;
        }
        let mut chunks = Linear::constant(1);
        for extent in &extents {
            chunks = lowering.math.product(&mut lowering.b, &chunks, extent);
        }
        let mut at = |group: &mut Group, lowering: &mut Lowering<'_>, chunk: Linear, guard: Option<Reg>| {
            let chunk = lowering.math.register(&mut lowering.b, &chunk);
            let step = Step { chunk, guard };
            let mut coordinates = lowering
                .math
                .coordinates(&mut lowering.b, &Linear::register(chunk), &extents);
            let mut lanes = None;
            if let Some(last) = coordinates.last_mut() {
                let register = lowering.math.register(&mut lowering.b, last);
                lanes = Some(Lanes {
                    register,
                    width: vector as u32,
                });
                *last = Linear::register(register).times(vector);
            }
            let outer = std::mem::replace(&mut lowering.lanes, lanes.filter(|lanes| lanes.width > 1));
            let done = each(group, lowering, &step, &coordinates);
            lowering.lanes = outer;
            done
        };
        match (self.schedule.keep, chunks.as_constant()) {
            // Nothing to walk over: a read emitted here could be hoisted to where it is executed.
            (_, Some(0)) => Ok(()),
            (Keep::Registers, Some(chunks)) => {
                let turns = (chunks + threads - 1) / threads;
                for turn in 0..turns {
                    let chunk = self.thread.plus_constant(turn * threads);
                    let partial = (turn + 1) * threads > chunks;
                    let guard = partial.then(|| lowering.below(&chunk, &Linear::constant(chunks)));
                    at(self, lowering, chunk, guard)?;
                }
                Ok(())
            }
            _ => {
                let start = lowering.math.operand(&mut lowering.b, &self.thread);
                let end = lowering.math.operand(&mut lowering.b, &chunks);
                let class = lowering.math.class();
                let counter = lowering.b.begin_loop(class, Turns::new(start, end, threads));
                self.walks_begun += 1;
                self.walks.push(Walk {
                    id: self.walks_begun,
                    chunk: counter,
                    chunks: chunks.as_constant().filter(|_| axes.len() == 1).unwrap_or(0) as u32,
                    depth: lowering.b.current_depth(),
                });
                let done = at(self, lowering, Linear::register(counter), None);
                self.walks.pop();
                lowering.b.end();
                done
            }
        }
    }

    /// Binds the axes of a walk to one lane of a step.
    fn bind_lane(
        &self,
        lowering: &mut Lowering<'_>,
        axes: &[AxisId],
        coordinates: &[Linear],
        lane: u32,
        guard: Option<Reg>,
    ) {
        for (dimension, (&axis, value)) in axes.iter().zip(coordinates).enumerate() {
            let fastest = dimension + 1 == axes.len();
            let value = if fastest {
                value.plus_constant(i64::from(lane))
            } else {
                value.clone()
            };
            lowering.bind(axis, Binding { value, guard });
        }
    }

    // ------------------------------------------------------------------ reductions

    /// Whether the free axes of an expression have one value for the whole group.
    fn same_for_all(&self, lowering: &Lowering<'_>, expr: ExprId) -> Result<bool, Error> {
        for axis in lowering.checked.axes(expr).iter() {
            let binding = lowering.binding(axis)?;
            let uniform = binding.value.terms().iter().all(|(reg, _)| self.uniform.contains(reg));
            if !uniform || binding.guard.is_some() {
                return Ok(false);
            }
        }
        Ok(self.condition_is_uniform(lowering))
    }

    fn condition_is_uniform(&self, lowering: &Lowering<'_>) -> bool {
        lowering
            .condition()
            .is_none_or(|condition| self.uniform.contains(&condition))
    }

    /// [`Lowering::enter`]; whether axes have elements is the same for all.
    fn enter(&mut self, lowering: &mut Lowering<'_>, axes: &[AxisId], body: ExprId) -> Option<Reg> {
        let uniform = self.condition_is_uniform(lowering);
        let outside = lowering.enter(axes, &[body]);
        if uniform {
            self.uniform.extend(lowering.condition());
        }
        outside
    }

    fn cooperative(
        &mut self,
        lowering: &mut Lowering<'_>,
        reduction: ReduceOp,
        axes: &[AxisId],
        body: ExprId,
    ) -> Result<Value, Error> {
        let ty = lowering.checked.ty(body);
        let vector = self.schedule.vector as usize;
        // One accumulator a lane: independent additions.
        let mut partial: Vec<Accumulator> = (0..vector).map(|_| Accumulator::new(lowering, reduction, ty)).collect();
        let outside = self.enter(lowering, axes, body);
        self.ahead(lowering, body)?;
        self.walk(lowering, axes, |group, lowering, step, coordinates| {
            for (lane, accumulator) in partial.iter_mut().enumerate() {
                group.bind_lane(lowering, axes, coordinates, lane as u32, step.guard);
                let value = lowering.value_as(body, ty, group)?;
                let value = or_identity(&mut lowering.b, reduction, value, step.guard);
                let position = Linear::register(step.chunk)
                    .times(vector as i64)
                    .plus_constant(lane as i64);
                accumulator.combine(lowering, value, &position);
            }
            Ok(())
        })?;
        lowering.leave(outside);
        let mut lanes = partial.into_iter();
        let Some(mut all) = lanes.next() else {
            return Err(Error::Unbound);
        };
        for other in lanes {
            let value = Value::new(ty, lowering.b.read(other.best));
            let position = other.position.map(|reg| lowering.b.read(reg));
            all.merge(lowering, value, position);
        }
        self.across_threads(lowering, &mut all);
        Ok(all.value(lowering))
    }

    /// Combines the group's accumulators: within warps by shuffles, across warps through shared memory.
    fn across_threads(&mut self, lowering: &mut Lowering<'_>, all: &mut Accumulator) {
        let threads = self.schedule.threads;
        butterfly(lowering, all, threads.min(32), 1);
        let warps = threads / 32;
        if warps <= 1 {
            return;
        }
        let value = Value::new(all.ty, lowering.b.read(all.best));
        let mut words = lowering.words(value);
        if let Some(position) = all.position {
            let position = lowering.b.read(position);
            let own = if lowering.math.wide {
                crate::element::Type::I64
            } else {
                crate::element::Type::I32
            };
            words.extend(lowering.words(Value::new(own, position)));
        }
        // A slot a warp and reduction, so that no slot is written twice.
        let slot_bytes = 4 * words.len().next_power_of_two() as i64;
        let region = self.shared_bytes;
        self.shared_bytes += slot_bytes as u32 * warps * self.schedule.rows;
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let warp = lowering.b.op(Opcode::ShrU32, &[tid.into(), 5.into()]);
        let lane = lowering.b.op(Opcode::AndB32, &[tid.into(), 31.into()]);
        let base = lowering.b.shared_base();
        let own = lowering.shared_address(base, warp, slot_bytes);
        let first = lowering
            .b
            .compare(crate::ptx::Compare::Eq, Class::B32, lane.into(), 0.into());
        let guard = Some(Guard {
            predicate: first,
            holds: true,
        });
        for (number, word) in words.iter().enumerate() {
            let address = Address {
                base: own,
                offset: region as i32 + 4 * number as i32,
            };
            lowering.b.store(
                Space::Shared,
                Width::B32,
                address,
                &[Operand::Reg(*word)],
                Cache::Normal,
                guard,
            );
        }
        lowering.b.barrier();
        // Every warp of the group reads all its slots and combines them in the same order.
        let slot = lowering
            .b
            .op(Opcode::AndB32, &[lane.into(), i64::from(warps - 1).into()]);
        let slot = match self.row_in_block {
            Some(row) => lowering
                .b
                .op(Opcode::MadS32, &[row.into(), i64::from(warps).into(), slot.into()]),
            None => slot,
        };
        let theirs = lowering.shared_address(base, slot, slot_bytes);
        let read: Vec<Reg> = (0..words.len())
            .map(|number| {
                let address = Address {
                    base: theirs,
                    offset: region as i32 + 4 * number as i32,
                };
                lowering.b.load_here(Space::Shared, Width::B32, 1, address)[0]
            })
            .collect();
        let class = class_of(all.ty);
        let width = if matches!(class, Class::B64 | Class::F64) { 2 } else { 1 };
        let value = lowering.value_of_words(class, &read[..width]);
        lowering
            .b
            .assign(crate::ptx::builder::move_of(class), all.best, &[value.into()]);
        if let Some(position) = all.position {
            let class = lowering.math.class();
            let value = lowering.value_of_words(class, &read[width..]);
            lowering
                .b
                .assign(crate::ptx::builder::move_of(class), position, &[value.into()]);
        }
        butterfly(lowering, all, warps, 1);
    }
}

impl Reduce for Group {
    fn elements(&mut self, lowering: &mut Lowering<'_>, access: &Access) -> Few<Reg> {
        self.kept_or_loaded(lowering, access)
    }

    fn reduce(&mut self, lowering: &mut Lowering<'_>, expr: ExprId) -> Result<Option<Value>, Error> {
        let Expr::Reduce { op, axes, body } = lowering.op().expr(expr) else {
            return Ok(None);
        };
        if !self.same_for_all(lowering, expr)? {
            return Ok(None);
        }
        // The whole group comes here together: before any walk that is under way.
        let suspended = lowering.b.suspend(0);
        let lanes = lowering.lanes.take();
        let value = self.cooperative(lowering, *op, axes, *body);
        lowering.lanes = lanes;
        lowering.b.resume(suspended);
        value.map(Some)
    }
}

/// Exchanges and combines among `width` lanes that are `stride` apart: with the lane whose number differs in one bit, for
/// each bit. All end with the same.
pub(super) fn butterfly(lowering: &mut Lowering<'_>, all: &mut Accumulator, width: u32, stride: u32) {
    let class = class_of(all.ty);
    let mut distance = width * stride / 2;
    while distance >= stride {
        let value = lowering.b.read(all.best);
        let other = shuffle(lowering, Value::new(all.ty, value), distance);
        let other = lowering.value_of_words(class, &other);
        let position = all.position.map(|position| {
            let position = lowering.b.read(position);
            let own = if lowering.math.wide {
                crate::element::Type::I64
            } else {
                crate::element::Type::I32
            };
            let words = shuffle(lowering, Value::new(own, position), distance);
            let class = lowering.math.class();
            lowering.value_of_words(class, &words)
        });
        all.merge(lowering, Value::new(all.ty, other), position);
        distance /= 2;
    }
}

fn shuffle(lowering: &mut Lowering<'_>, value: Value, distance: u32) -> Vec<Reg> {
    lowering
        .words(value)
        .into_iter()
        .filter_map(|word| {
            lowering
                .b
                .converge(Opcode::ShflBflyB32, &[word.into(), i64::from(distance).into()])
        })
        .collect()
}
