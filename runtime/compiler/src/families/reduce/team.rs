//! The threads of a block: the units they have, their walks, and reductions among them.

use super::space::Reduce;
use crate::element::Type;
use crate::families::formula::{Place, Symbol};
use crate::families::row::Keep;
use crate::ir::{AxisId, Expr, ExprId, ReduceOp, SizeId};
use crate::lower::Error;
use crate::lower::expression::{Accumulator, Binding, Bounds, Lanes, Lowering, Reduce as Reducing, or_identity};
use crate::lower::index::Linear;
use crate::lower::online::step::Step;
use crate::lower::online::sums::Walker;
use crate::lower::shuffle::butterfly;
use crate::lower::tile::split_k::Part;
use crate::lower::value::{Value, class_of};
use crate::ptx::builder::move_of;
use crate::ptx::{Address, Cache, Class, Compare, Guard, Opcode, Reg, Space, Turns, Width};

/// The threads of a block.
pub(super) struct Team {
    pub schedule: Reduce,
    /// The output axes that number units, by their positions.
    pub units: Vec<usize>,
    /// The thread's number along what is reduced.
    pub thread: Linear,
    /// Where the thread's units exist; none if they always do.
    pub valid: Option<Reg>,
    /// The block's part of each reduction.
    pub part: Part,
    /// `true` while walks are over the block's part alone.
    pub partial: bool,
    /// Bytes of shared memory in use.
    pub shared_bytes: u32,
    /// The coordinates of the thread's first unit.
    coordinates: Vec<Linear>,
    /// The neighbouring units of a thread.
    across: Option<Lanes>,
    /// Registers that are the same for all threads along what is reduced.
    uniform: Vec<Reg>,
    /// The unit at hand, of the thread's.
    unit: u32,
}

/// An axis that a reduction does not run over: its value for the unit at hand, and how far it moves from one unit to the next.
struct Free {
    axis: AxisId,
    binding: Binding,
    by: i64,
}

/// The pace of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As the schedule says.
    Schedule,
    /// One step a turn: for what hardly ever happens.
    Slow,
}

impl Team {
    pub fn new(lowering: &mut Lowering<'_>, schedule: Reduce, units: Vec<usize>) -> Team {
        let dims: Vec<SizeId> = units.iter().map(|&at| lowering.op().outputs[0].dims[at]).collect();
        let block = lowering.block();
        let part = Part::new(lowering, block, schedule.split_k, schedule.threads * schedule.lanes);
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let lanes = i64::from(schedule.lanes);
        let thread = match schedule.lanes {
            1 => tid,
            lanes => lowering
                .b
                .op(Opcode::ShrU32, &[tid.into(), i64::from(lanes.trailing_zeros()).into()]),
        };
        let thread = Linear::register(lowering.index_register(thread));
        let mut extents: Vec<Linear> = dims.iter().map(|&size| lowering.size(size)).collect();
        let (mut valid, mut across) = (None, None);
        let mut coordinates;
        match extents.last_mut().filter(|_| lanes > 1) {
            None => coordinates = lowering.math.coordinates(&mut lowering.b, &part.tile, &extents),
            Some(last) => {
                let width = i64::from(schedule.vector);
                let chunks = lowering.math.divide(&mut lowering.b, last, &Linear::constant(width)).0;
                *last = lowering.divided_up(&chunks, schedule.lanes);
                coordinates = lowering.math.coordinates(&mut lowering.b, &part.tile, &extents);
                let lane = lowering.b.op(Opcode::AndB32, &[tid.into(), (lanes - 1).into()]);
                let lane = Linear::register(lowering.index_register(lane));
                if let Some(tile) = coordinates.last_mut() {
                    let mut chunk = tile.times(lanes).plus(&lane);
                    if chunks.as_constant().is_none_or(|chunks| chunks % lanes != 0) {
                        valid = Some(lowering.below(&chunk, &chunks));
                        // All threads take part in shuffles and barriers: those without units do the last ones again, and store nothing.
                        chunk = lowering.clamped(&chunk, &chunks);
                    }
                    let register = lowering.math.register(&mut lowering.b, &chunk);
                    across = Some(Lanes {
                        register,
                        width: schedule.vector,
                    });
                    *tile = Linear::register(register).times(width);
                }
            }
        }
        let registers = coordinates.iter().flat_map(|coordinate| coordinate.terms());
        let uniform = registers.map(|&(reg, _)| reg).collect();
        Team {
            schedule,
            units,
            thread,
            valid,
            part,
            partial: false,
            shared_bytes: 0,
            coordinates,
            across,
            uniform,
            unit: 0,
        }
    }

    /// Units of a thread.
    pub fn count(&self) -> u32 {
        self.across.map_or(1, |lanes| lanes.width)
    }

    /// Neighbours of a step along a walk.
    pub fn along(&self) -> u32 {
        if self.across.is_some() { 1 } else { self.schedule.vector }
    }

    /// Makes one of the thread's units the one at hand.
    pub fn turn_to(&mut self, unit: u32) {
        self.unit = unit;
    }

    /// The coordinates of the unit at hand.
    pub fn coordinates(&self) -> Vec<Linear> {
        let mut coordinates = self.coordinates.clone();
        if let (Some(last), Some(_)) = (coordinates.last_mut(), self.across) {
            *last = last.plus_constant(self.unit.into());
        }
        coordinates
    }

    // ------------------------------------------------------------------ walks

    /// Walks over all combinations of `axes`: `each` gets the steps of a turn. What is kept in registers is one turn; else a turn has
    /// `unroll` steps, whose loads do not wait for each other, and `bounds` leave out elements that do not count.
    pub fn walk(
        &mut self,
        lowering: &mut Lowering<'_>,
        axes: &[AxisId],
        bounds: &Bounds,
        pace: Pace,
        each: impl FnOnce(&mut Team, &mut Lowering<'_>, &[Step]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (along, parts) = (i64::from(self.along()), i64::from(self.schedule.split_k));
        let parts = if self.partial { parts } else { 1 };
        let stride = parts * i64::from(self.schedule.threads);
        let mut extents: Vec<Linear> = axes.iter().map(|&axis| lowering.extent(axis)).collect();
        if let Some(last) = extents.last_mut() {
            *last = lowering.math.divide(&mut lowering.b, last, &Linear::constant(along)).0;
        }
        let mut chunks = Linear::constant(1);
        for extent in &extents {
            chunks = lowering.math.product(&mut lowering.b, &chunks, extent);
        }
        // Parts alternate, so that blocks read what lies side by side at the same time.
        let first = match self.partial {
            true => self.thread.plus(&self.part.number.times(self.schedule.threads.into())),
            false => self.thread.clone(),
        };
        let outer = std::mem::replace(&mut lowering.lanes, self.across.filter(|lanes| lanes.width > 1));
        let done = match (self.schedule.keep, chunks.as_constant()) {
            // Nothing to walk over: a read emitted here could be hoisted to where it is executed.
            (_, Some(0)) => Ok(()),
            (Keep::Registers, Some(count)) => {
                let turns = (count + stride - 1) / stride;
                let steps: Vec<Step> = (0..turns)
                    .map(|turn| {
                        let chunk = first.plus_constant(turn * stride);
                        let partial = (turn + 1) * stride > count;
                        let guard = partial.then(|| lowering.below(&chunk, &chunks));
                        self.step(lowering, &extents, turn as u32, chunk, guard)
                    })
                    .collect();
                each(self, lowering, &steps)
            }
            _ => {
                let unroll = match pace {
                    Pace::Schedule => i64::from(self.schedule.unroll),
                    Pace::Slow => 1,
                };
                let (skipped, chunks) = lowering.bounded_chunks(bounds, &extents, &chunks, self.along());
                let start = lowering.math.operand(&mut lowering.b, &first.plus(&skipped));
                let end = lowering.math.operand(&mut lowering.b, &chunks);
                // The schedule sets the unroll factor. Left alone, ptxas unrolls further and spills.
                let turns = Turns::new(start, end, stride * unroll).rolled();
                let counter = lowering.b.begin_loop(lowering.math.class(), turns);
                let whole = skipped == Linear::constant(0)
                    && chunks
                        .as_constant()
                        .is_some_and(|chunks| chunks % (stride * unroll) == 0);
                let steps: Vec<Step> = (0..unroll)
                    .map(|number| {
                        let chunk = Linear::register(counter).plus_constant(number * stride);
                        let guard = (number > 0 && !whole).then(|| lowering.below(&chunk, &chunks));
                        self.step(lowering, &extents, number as u32, chunk, guard)
                    })
                    .collect();
                let done = each(self, lowering, &steps);
                lowering.b.end();
                done
            }
        };
        lowering.lanes = outer;
        done
    }

    fn step(
        &self,
        lowering: &mut Lowering<'_>,
        extents: &[Linear],
        number: u32,
        chunk: Linear,
        guard: Option<Reg>,
    ) -> Step {
        let mut coordinates = lowering.math.coordinates(&mut lowering.b, &chunk, extents);
        let mut lanes = self.across;
        if let (None, Some(last)) = (self.across, coordinates.last_mut()) {
            // Steps of one turn differ by a constant, which goes into the addresses.
            let (register, constant) = match last.terms() {
                &[(register, 1)] => (register, last.constant_part()),
                _ => (lowering.math.register(&mut lowering.b, last), 0),
            };
            let width = self.schedule.vector;
            lanes = Some(Lanes { register, width });
            *last = Linear::register(register).plus_constant(constant).times(width.into());
        }
        Step {
            number,
            chunk,
            coordinates,
            lanes: lanes.filter(|lanes| lanes.width > 1),
            guard,
        }
    }

    // ------------------------------------------------------------------ reductions

    /// `true` if the free axes of an expression are those of units.
    fn of_units(&self, lowering: &Lowering<'_>, expr: ExprId) -> Result<bool, Error> {
        let mut axes = lowering.checked.axes(expr).iter();
        axes.try_fold(true, |so_far, axis| {
            let binding = lowering.binding(axis)?;
            Ok(so_far && binding.guard.is_none() && self.is_uniform(&binding.value))
        })
    }

    fn is_uniform(&self, value: &Linear) -> bool {
        value.terms().iter().all(|(reg, _)| self.uniform.contains(reg))
    }

    /// The free axes of a reduction. None if its value is not the same for all threads along what is reduced.
    fn shared(&self, lowering: &Lowering<'_>, expr: ExprId) -> Result<Option<Vec<Free>>, Error> {
        let mut free = Vec::new();
        for axis in lowering.checked.axes(expr).iter() {
            let binding = lowering.binding(axis)?;
            if !self.is_uniform(&binding.value) || binding.guard.is_some() {
                return Ok(None);
            }
            let of = |lanes: Lanes| binding.value.terms().iter().find(|(reg, _)| *reg == lanes.register);
            let coefficient = self.across.and_then(of).map_or(0, |&(_, coefficient)| coefficient);
            let width = i64::from(self.count());
            if coefficient % width != 0 {
                return Ok(None);
            }
            free.push(Free {
                axis,
                binding,
                by: coefficient / width,
            });
        }
        let unconditional = lowering.checked.unconditional(expr);
        let moves = free.iter().any(|free| free.by != 0) && self.count() > 1;
        let condition = lowering.condition();
        let together = condition.is_none_or(|condition| self.uniform.contains(&condition));
        // Unconditional expressions do not depend on the condition at hand.
        Ok((unconditional || (together && !moves)).then_some(free))
    }

    /// [`Lowering::enter`]; whether axes have elements is the same for all.
    pub fn enter(&mut self, lowering: &mut Lowering<'_>, axes: &[AxisId], bodies: &[ExprId]) -> Option<Reg> {
        let condition = lowering.condition();
        let uniform = condition.is_none_or(|condition| self.uniform.contains(&condition));
        let outside = lowering.enter(axes, bodies);
        if uniform {
            self.uniform.extend(lowering.condition());
        }
        outside
    }

    /// A reduction by all threads, of all units of which it has a value. Returns that of the unit at hand.
    fn together(&mut self, lowering: &mut Lowering<'_>, expr: ExprId, free: &[Free]) -> Result<Value, Error> {
        let Expr::Reduce { op, axes, body } = lowering.op().expr(expr) else {
            return Err(Error::Unbound);
        };
        let own = self.unit;
        let moves = free.iter().any(|free| free.by != 0);
        let units: Vec<u32> = if moves { (0..self.count()).collect() } else { vec![own] };
        let bind = |team: &mut Team, lowering: &mut Lowering<'_>, unit: u32| {
            team.turn_to(unit);
            for Free { axis, binding, by } in free {
                let value = binding.value.plus_constant(by * (i64::from(unit) - i64::from(own)));
                lowering.bind(*axis, Binding::of(value));
            }
        };
        let ty = lowering.reduced_ty(expr);
        let partials: Vec<Partial> = units.iter().map(|_| Partial::new(self, lowering, *op, ty)).collect();
        let outside = self.enter(lowering, axes, &[*body]);
        let mut bounds = Vec::with_capacity(units.len());
        for &unit in &units {
            bind(self, lowering, unit);
            bounds.push(self.bounds(lowering, *op, axes, *body)?);
        }
        let bounds = lowering.widest(bounds);
        self.walk(lowering, axes, &bounds, Pace::Schedule, |team, lowering, steps| {
            for step in steps {
                for (&unit, partial) in units.iter().zip(&partials) {
                    bind(team, lowering, unit);
                    partial.add(team, lowering, axes, *body, step)?;
                }
            }
            Ok(())
        })?;
        lowering.leave(outside);
        let mut totals: Vec<Accumulator> = partials
            .into_iter()
            .map(|partial| partial.merged(lowering))
            .collect::<Result<_, _>>()?;
        self.across_threads(lowering, &mut totals);
        let mut value = None;
        for (&unit, total) in units.iter().zip(&totals) {
            bind(self, lowering, unit);
            let of_unit = total.value(lowering);
            if unit == own {
                value = Some(of_unit);
            } else {
                lowering.define(expr, of_unit)?;
            }
        }
        bind(self, lowering, own);
        value.ok_or(Error::Unbound)
    }

    /// The bounds of the slowest of the axes that a reduction of the unit at hand runs over.
    pub fn bounds(
        &mut self,
        lowering: &mut Lowering<'_>,
        reduction: ReduceOp,
        axes: &[AxisId],
        body: ExprId,
    ) -> Result<Bounds, Error> {
        let Some(&slowest) = axes.first().filter(|_| self.schedule.keep == Keep::Reload) else {
            return Ok(Bounds::default());
        };
        let mut bounds = lowering.bounds(reduction, slowest, axes, body, self)?;
        // Neighbouring lanes stay side by side: they begin together, wherever each of them ends.
        if let Some(lanes) = self.across {
            let mut unbound = axes.to_vec();
            for axis in lowering.checked.axes(body).iter().filter(|axis| !axes.contains(axis)) {
                let binding = lowering.binding(axis)?;
                unbound.extend(
                    binding
                        .value
                        .terms()
                        .iter()
                        .any(|&(reg, _)| reg == lanes.register)
                        .then_some(axis),
                );
            }
            bounds.start = lowering.bounds(reduction, slowest, &unbound, body, self)?.start;
        }
        Ok(bounds)
    }

    /// Combines the accumulators of one reduction, one a unit: within warps by shuffles, across warps through shared memory.
    pub fn across_threads(&mut self, lowering: &mut Lowering<'_>, all: &mut [Accumulator]) {
        let Reduce { threads, lanes, .. } = self.schedule;
        let in_warp = (32 / lanes).min(threads);
        for one in all.iter_mut() {
            butterfly(lowering, one, in_warp, lanes);
        }
        let warps = threads * lanes / 32;
        if warps <= 1 {
            return;
        }
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let warp = lowering.b.op(Opcode::ShrU32, &[tid.into(), 5.into()]);
        let in_its_warp = lowering.b.op(Opcode::AndB32, &[tid.into(), 31.into()]);
        let lane = lowering
            .b
            .op(Opcode::AndB32, &[tid.into(), i64::from(lanes - 1).into()]);
        let guard = (lanes < 32).then(|| Guard {
            predicate: lowering
                .b
                .compare(Compare::Lt, Class::B32, in_its_warp.into(), i64::from(lanes).into()),
            holds: true,
        });
        let base = lowering.b.shared_base();
        let own = lowering
            .b
            .op(Opcode::MadS32, &[warp.into(), i64::from(lanes).into(), lane.into()]);
        // A slot a warp, lane, unit and reduction, so that no slot is written twice.
        let mut regions = Vec::with_capacity(all.len());
        for one in all.iter() {
            let words = accumulated(lowering, one);
            let slot_bytes = 4 * words.len().next_power_of_two() as i64;
            let region = self.shared_bytes.next_multiple_of(slot_bytes as u32);
            self.shared_bytes = region + slot_bytes as u32 * warps * lanes;
            let to = lowering.shared_address(base, own, slot_bytes);
            for (number, word) in words.into_iter().enumerate() {
                let address = word_of(to, region, number);
                lowering
                    .b
                    .store(Space::Shared, Width::B32, address, &[word.into()], Cache::Normal, guard);
            }
            regions.push((region, slot_bytes));
        }
        lowering.b.barrier();
        // The threads of a warp that have the same lane share its slots; all warps combine them in the same order.
        let sharing = in_warp.min(warps);
        let of_lane = lowering.b.op(
            Opcode::ShrU32,
            &[in_its_warp.into(), i64::from(lanes.trailing_zeros()).into()],
        );
        let first = lowering
            .b
            .op(Opcode::AndB32, &[of_lane.into(), i64::from(sharing - 1).into()]);
        let first = lowering
            .b
            .op(Opcode::MadS32, &[first.into(), i64::from(lanes).into(), lane.into()]);
        for (one, (region, slot_bytes)) in all.iter_mut().zip(regions) {
            let from = lowering.shared_address(base, first, slot_bytes);
            for turn in 0..warps / sharing {
                let region = region + turn * sharing * lanes * slot_bytes as u32;
                let count = slot_words(lowering, one);
                let words: Vec<Reg> = (0..count)
                    .map(|number| {
                        lowering
                            .b
                            .load_here(Space::Shared, Width::B32, 1, word_of(from, region, number))[0]
                    })
                    .collect();
                match turn {
                    0 => replace(lowering, one, &words),
                    _ => merge(lowering, one, &words),
                }
            }
            butterfly(lowering, one, sharing, lanes);
        }
    }
}

fn word_of(base: Reg, region: u32, number: usize) -> Address {
    let offset = region as i32 + 4 * number as i32;
    Address { base, offset }
}

/// The words of what an accumulator has come to: its value, then its position.
pub(super) fn accumulated(lowering: &mut Lowering<'_>, one: &Accumulator) -> Vec<Reg> {
    let value = Value::new(one.ty, lowering.b.read(one.best));
    let mut words = lowering.words(value).to_vec();
    if let Some(position) = one.position {
        let position = lowering.b.read(position);
        let own = if lowering.math.wide { Type::I64 } else { Type::I32 };
        words.extend(lowering.words(Value::new(own, position)));
    }
    words
}

/// The number of words of [`accumulated`].
pub(super) fn slot_words(lowering: &Lowering<'_>, one: &Accumulator) -> usize {
    let words = |class: Class| if matches!(class, Class::B64 | Class::F64) { 2 } else { 1 };
    words(class_of(one.ty)) + one.position.map_or(0, |_| words(lowering.math.class()))
}

/// Value and position of [`accumulated`].
fn taken_apart(lowering: &mut Lowering<'_>, one: &Accumulator, words: &[Reg]) -> (Reg, Option<Reg>) {
    let class = class_of(one.ty);
    let width = if matches!(class, Class::B64 | Class::F64) { 2 } else { 1 };
    let value = lowering.value_of_words(class, &words[..width]);
    let position = one.position.map(|_| {
        let class = lowering.math.class();
        lowering.value_of_words(class, &words[width..])
    });
    (value, position)
}

fn replace(lowering: &mut Lowering<'_>, one: &Accumulator, words: &[Reg]) {
    let (value, position) = taken_apart(lowering, one, words);
    lowering.b.assign(move_of(class_of(one.ty)), one.best, &[value.into()]);
    if let (Some(own), Some(position)) = (one.position, position) {
        let class = lowering.math.class();
        lowering.b.assign(move_of(class), own, &[position.into()]);
    }
}

/// Takes in what another thread or block has come to.
pub(super) fn merge(lowering: &mut Lowering<'_>, one: &mut Accumulator, words: &[Reg]) {
    let (value, position) = taken_apart(lowering, one, words);
    one.merge(lowering, Value::new(one.ty, value), position);
}

/// A thread's part of a reduction of a unit: an accumulator a neighbour, so that additions do not wait for each other.
pub(super) struct Partial(pub Vec<Accumulator>);

impl Partial {
    pub fn new(team: &Team, lowering: &mut Lowering<'_>, reduction: ReduceOp, ty: Type) -> Partial {
        let neighbours = 0..team.along();
        Partial(neighbours.map(|_| Accumulator::new(lowering, reduction, ty)).collect())
    }

    /// Takes in a step's elements.
    pub fn add(
        &self,
        team: &mut Team,
        lowering: &mut Lowering<'_>,
        axes: &[AxisId],
        body: ExprId,
        step: &Step,
    ) -> Result<(), Error> {
        let along = self.0.len() as i64;
        for (neighbour, &accumulator) in self.0.iter().enumerate() {
            let mut accumulator = accumulator;
            team.bind_lane(lowering, axes, step, neighbour as u32);
            if step.guard.is_none() && accumulator.position.is_none() {
                accumulator.add(lowering, &Linear::constant(0), body, team)?;
                continue;
            }
            let value = lowering.value_as(body, accumulator.ty, team)?;
            let value = or_identity(&mut lowering.b, accumulator.op, value, step.guard);
            let position = step.chunk.times(along).plus_constant(neighbour as i64);
            accumulator.combine(lowering, value, &position);
        }
        Ok(())
    }

    /// What the thread has come to.
    pub fn merged(self, lowering: &mut Lowering<'_>) -> Result<Accumulator, Error> {
        let mut neighbours = self.0.into_iter();
        let mut all = neighbours.next().ok_or(Error::Unbound)?;
        for other in neighbours {
            let value = Value::new(all.ty, lowering.b.read(other.best));
            let position = other.position.map(|reg| lowering.b.read(reg));
            all.merge(lowering, value, position);
        }
        Ok(all)
    }
}

impl Walker for Team {
    fn vector(&self) -> u32 {
        self.along()
    }

    fn bind_place(&self, lowering: &mut Lowering<'_>, place: &Place) -> Result<(), Error> {
        let coordinates = self.coordinates();
        for &(axis, symbol) in &place.axes {
            if let Symbol::Output(position) = symbol {
                let number = self.units.iter().position(|&unit| unit == position);
                let coordinate = number.and_then(|number| coordinates.get(number));
                lowering.bind(axis, Binding::of(coordinate.ok_or(Error::Unbound)?.clone()));
            }
        }
        Ok(())
    }

    fn go_to(&mut self, lowering: &mut Lowering<'_>, step: &Step) {
        lowering.lanes = step.lanes;
    }
}

impl Reducing for Team {
    fn divides_many(&self, lowering: &Lowering<'_>, dividend: ExprId, divisor: ExprId) -> Result<bool, Error> {
        Ok(self.of_units(lowering, divisor)? && !self.of_units(lowering, dividend)?)
    }

    fn reduce(&mut self, lowering: &mut Lowering<'_>, expr: ExprId) -> Result<Option<Value>, Error> {
        let Some(free) = self.shared(lowering, expr)? else {
            return Ok(None);
        };
        // All threads come here together: before any walk that is under way.
        let suspended = lowering.b.suspend(0);
        let lanes = lowering.lanes.take();
        let value = self.together(lowering, expr, &free);
        lowering.lanes = lanes;
        lowering.b.resume(suspended);
        value.map(Some)
    }
}
