//! The threads of a block: the units they have, their walks, and reductions among them.

use super::space::Reduce;
use crate::families::formula::{Place, Symbol};
use crate::families::row::Keep;
use crate::ir::{AxisId, Expr, ExprId, ReduceOp, SizeId};
use crate::lower::Error;
use crate::lower::expression::{Accumulator, Binding, Bounds, Lanes, Lowering, Reduce as Reducing};
use crate::lower::index::Linear;
use crate::lower::online::partial::Partial;
use crate::lower::online::step::Step;
use crate::lower::online::walk::{Pace, Route, Walker};
use crate::lower::shuffle::butterfly;
use crate::lower::tile::split_k::Part;
use crate::lower::value::Value;
use crate::ptx::{Address, Cache, Class, Compare, Guard, Opcode, Reg, Space, Width};

/// The threads of a block.
pub(super) struct Team {
    pub schedule: Reduce,
    /// The output axes that number units, by their positions.
    pub units: Vec<usize>,
    /// The thread's number along what is reduced.
    pub thread: Linear,
    /// Holds for a thread whose units exist; none if all do.
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
        let uniform = registers
            .map(|&(reg, _)| reg)
            .chain(lowering.size_registers())
            .collect();
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
            for &unit in &units {
                bind(team, lowering, unit);
                team.touch(lowering, axes, *body, steps)?;
            }
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
            let words = one.words(lowering);
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
                let count = one.word_count(lowering);
                let words: Vec<Reg> = (0..count)
                    .map(|number| {
                        lowering
                            .b
                            .load_here(Space::Shared, Width::B32, 1, word_of(from, region, number))[0]
                    })
                    .collect();
                match turn {
                    0 => one.set_words(lowering, &words),
                    _ => one.merge_words(lowering, &words),
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

impl Walker for Team {
    const FUSES: bool = true;

    fn vector(&self) -> u32 {
        self.along()
    }

    fn route(&self) -> Route {
        let threads = i64::from(self.schedule.threads);
        // Parts alternate, so that blocks read what lies side by side at the same time.
        let (first, parts) = match self.partial {
            true => (
                self.thread.plus(&self.part.number.times(threads)),
                i64::from(self.schedule.split_k),
            ),
            false => (self.thread.clone(), 1),
        };
        Route {
            first,
            stride: parts * threads,
            unroll: self.schedule.unroll.into(),
            in_registers: self.schedule.keep == Keep::Registers,
            across: self.across,
        }
    }

    fn unless(&self, lowering: &mut Lowering<'_>, predicate: Reg) -> Guard {
        if self.schedule.split_k == 1 {
            return Guard {
                predicate,
                holds: false,
            };
        }
        // Blocks have left the sums of other elements than the thread would walk over: all threads sum again, or none.
        let not = lowering.b.op(Opcode::NotPred, &[predicate.into()]);
        let any = lowering.b.converge(Opcode::BarrierOr, &[0.into(), not.into()]);
        Guard {
            predicate: any.unwrap_or(not),
            holds: true,
        }
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
        // All threads come here together.
        let condition = lowering
            .condition()
            .filter(|condition| self.uniform.contains(condition));
        let value = lowering.before_loops(0, condition, |lowering| self.together(lowering, expr, &free));
        value.map(Some)
    }
}
