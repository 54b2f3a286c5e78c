//! The group of threads of a row: its walks, and reductions among its threads.

use super::kept::{Kept, Walk};
use super::space::{Keep, Row};
use crate::families::formula::{Place, Symbol};
use crate::ir::{AxisId, Expr, ExprId, ReduceOp};
use crate::lower::Error;
use crate::lower::expression::{Access, Accumulator, Binding, Bounds, Lowering, Reduce};
use crate::lower::index::Linear;
use crate::lower::online::partial::Partial;
use crate::lower::online::step::Step;
use crate::lower::online::walk::{Pace, Route, WalkLoop, Walker};
use crate::lower::shuffle::butterfly;
use crate::lower::value::Value;
use crate::ptx::{Address, Cache, Class, Few, Guard, Opcode, Operand, Reg, Space, Width};

/// The group of threads that does one row.
pub(super) struct Group {
    pub(super) schedule: Row,
    /// Leading output axes that number the rows.
    pub(super) row_count: usize,
    /// The thread's number in its group.
    pub(super) thread: Linear,
    /// The row's number among the block's rows, 32 bits.
    pub(super) row_in_block: Option<Reg>,
    /// Where the row exists; none if all do.
    pub(super) valid: Option<Reg>,
    pub(super) coordinates: Vec<Linear>,
    /// The depth of the region that does a row.
    pub(super) depth: usize,
    /// Registers that are the same for the whole group.
    pub(super) uniform: Vec<Reg>,
    /// The reductions so far that warps combined through shared memory.
    pub(super) exchanges: u32,
    pub(super) kept: Kept,
}

impl Group {
    /// The group of a thread in a block that does its `place`-th rows.
    pub(super) fn new(lowering: &mut Lowering<'_>, schedule: Row, row_count: usize, place: &Linear) -> Group {
        let op = lowering.op();
        let dims = &op.outputs[0].dims[..row_count];
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
        let mut row = place.times(i64::from(schedule.rows));
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
            .chain(lowering.size_registers())
            .collect();
        Group {
            schedule,
            row_count,
            thread,
            row_in_block,
            valid,
            coordinates,
            depth: lowering.b.current_depth(),
            uniform,
            exchanges: 0,
            kept: Kept::new(schedule, row_in_block),
        }
    }

    // ------------------------------------------------------------------ reductions

    /// Computes what is the same for a whole row before a walk that needs it, so that what it reads is kept by then.
    pub(super) fn ahead(&mut self, lowering: &mut Lowering<'_>, expr: ExprId) -> Result<(), Error> {
        if self.schedule.keep != Keep::Shared || !lowering.checked.unconditional(expr) {
            return Ok(());
        }
        // Operands stand before what uses them, so each is looked at once.
        let mut wanted = vec![false; expr.index() + 1];
        wanted[expr.index()] = true;
        let mut uniform = Vec::new();
        for position in (0..=expr.index()).rev() {
            if !wanted[position] {
                continue;
            }
            let expr = ExprId(position as u32);
            let axes = lowering.checked.axes(expr);
            let bound = axes.iter().all(|axis| lowering.binding(axis).is_ok());
            if bound && self.same_for_all(lowering, expr)? {
                uniform.push(expr);
            } else {
                lowering.op().operands(expr, |operand| wanted[operand.index()] = true);
            }
        }
        uniform
            .into_iter()
            .rev()
            .try_for_each(|expr| lowering.value(expr, self).map(|_| ()))
    }

    /// `true` if the free axes of an expression have one value for the whole group.
    pub(super) fn same_for_all(&self, lowering: &Lowering<'_>, expr: ExprId) -> Result<bool, Error> {
        for axis in lowering.checked.axes(expr).iter() {
            let binding = lowering.binding(axis)?;
            let uniform = binding.value.terms().iter().all(|(reg, _)| self.uniform.contains(reg));
            if !uniform || binding.guard.is_some() {
                return Ok(false);
            }
        }
        // Unconditional expressions do not depend on the condition at hand.
        Ok(lowering.checked.unconditional(expr) || self.condition_is_uniform(lowering))
    }

    pub(super) fn condition_is_uniform(&self, lowering: &Lowering<'_>) -> bool {
        lowering
            .condition()
            .is_none_or(|condition| self.uniform.contains(&condition))
    }

    /// [`Lowering::enter`]; whether axes have elements is the same for all.
    pub(super) fn enter(&mut self, lowering: &mut Lowering<'_>, axes: &[AxisId], bodies: &[ExprId]) -> Option<Reg> {
        let uniform = self.condition_is_uniform(lowering);
        let outside = lowering.enter(axes, bodies);
        if uniform {
            self.uniform.extend(lowering.condition());
        }
        outside
    }

    pub(super) fn cooperative(
        &mut self,
        lowering: &mut Lowering<'_>,
        expr: ExprId,
        reduction: ReduceOp,
        axes: &[AxisId],
        body: ExprId,
    ) -> Result<Value, Error> {
        let ty = lowering.reduced_ty(expr);
        let partial = Partial::new(self, lowering, reduction, ty);
        let outside = self.enter(lowering, axes, &[body]);
        self.ahead(lowering, body)?;
        let bounds = self.bounds(lowering, reduction, axes, body)?;
        self.walk(lowering, axes, &bounds, Pace::Schedule, |group, lowering, steps| {
            group.touch(lowering, axes, body, steps)?;
            let mut steps = steps.iter();
            steps.try_for_each(|step| partial.add(group, lowering, axes, body, step))
        })?;
        lowering.leave(outside);
        self.total(lowering, partial)
    }

    /// A reduction over all threads of the group, of which each has a part.
    pub(super) fn total(&mut self, lowering: &mut Lowering<'_>, partial: Partial) -> Result<Value, Error> {
        let mut all = partial.merged(lowering)?;
        self.across_threads(lowering, &mut all);
        Ok(all.value(lowering))
    }

    /// The bounds of the slowest of the axes that a reduction runs over.
    pub(super) fn bounds(
        &mut self,
        lowering: &mut Lowering<'_>,
        reduction: ReduceOp,
        axes: &[AxisId],
        body: ExprId,
    ) -> Result<Bounds, Error> {
        match axes {
            // Another walk needs all that this one keeps of the row.
            &[slowest, ..] if self.schedule.keep == Keep::Reload => {
                lowering.bounds(reduction, slowest, axes, body, self)
            }
            _ => Ok(Bounds::default()),
        }
    }

    /// Combines the group's accumulators: within warps by shuffles, across warps through shared memory.
    pub(super) fn across_threads(&mut self, lowering: &mut Lowering<'_>, all: &mut Accumulator) {
        let threads = self.schedule.threads;
        butterfly(lowering, all, threads.min(32), 1);
        let warps = threads / 32;
        if warps <= 1 {
            return;
        }
        let words = all.words(lowering);
        self.exchanges += 1;
        // A slot a warp and reduction, so that no slot is written twice for a row.
        let slot_bytes = 4 * words.len().next_power_of_two() as i64;
        let region = self.kept.shared_bytes;
        self.kept.shared_bytes += slot_bytes as u32 * warps * self.schedule.rows;
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
        all.set_words(lowering, &read);
        butterfly(lowering, all, warps, 1);
    }
}

impl Walker for Group {
    const FUSES: bool = false;

    fn vector(&self) -> u32 {
        self.schedule.vector
    }

    fn route(&self) -> Route {
        Route {
            first: self.thread.clone(),
            stride: self.schedule.threads.into(),
            unroll: self.schedule.unroll.into(),
            in_registers: self.schedule.keep == Keep::Registers,
            across: None,
        }
    }

    fn keeps(&self) -> bool {
        self.schedule.keep == Keep::Shared
    }

    fn begin_loop(&mut self, lowering: &Lowering<'_>, walk: &WalkLoop<'_>) {
        let kept = walk
            .most
            .filter(|_| walk.axes.len() == 1 && walk.pace == Pace::Schedule);
        self.kept.walks_begun += 1;
        self.kept.walks.push(Walk {
            id: self.kept.walks_begun,
            counter: walk.counter,
            slots: kept.map_or(0, |chunks| (chunks as u32).next_multiple_of(walk.stride as u32)),
            depth: lowering.b.current_depth(),
            step: 0,
            guard: None,
        });
    }

    fn end_loop(&mut self) {
        self.kept.walks.pop();
    }

    /// Binds the axes of a place that number rows.
    fn bind_place(&self, lowering: &mut Lowering<'_>, place: &Place) -> Result<(), Error> {
        for &(axis, symbol) in &place.axes {
            if let Symbol::Output(position) = symbol {
                let coordinate = self.coordinates.get(position).ok_or(Error::Unbound)?;
                lowering.bind(axis, Binding::of(coordinate.clone()));
            }
        }
        Ok(())
    }

    /// Says which step what follows belongs to.
    fn go_to(&mut self, lowering: &mut Lowering<'_>, step: &Step) {
        lowering.lanes = step.lanes;
        if let Some(walk) = self.kept.walks.last_mut() {
            (walk.step, walk.guard) = (step.number, step.guard);
        }
    }
}

impl Reduce for Group {
    fn divides_many(&self, lowering: &Lowering<'_>, dividend: ExprId, divisor: ExprId) -> Result<bool, Error> {
        Ok(self.same_for_all(lowering, divisor)? && !self.same_for_all(lowering, dividend)?)
    }

    fn elements(&mut self, lowering: &mut Lowering<'_>, access: &Access) -> Few<Reg> {
        self.kept.kept_or_loaded(lowering, access)
    }

    fn reduce(&mut self, lowering: &mut Lowering<'_>, expr: ExprId) -> Result<Option<Value>, Error> {
        let Expr::Reduce { op, axes, body } = lowering.op().expr(expr) else {
            return Ok(None);
        };
        if !self.same_for_all(lowering, expr)? {
            return Ok(None);
        }
        // The whole group comes here together.
        let condition = lowering.condition().filter(|_| self.condition_is_uniform(lowering));
        let value = lowering.before_loops(self.depth, condition, |lowering| {
            self.cooperative(lowering, expr, *op, axes, *body)
        });
        value.map(Some)
    }
}
