//! Walks of threads over the elements of a row.

use super::step::Step;
use super::waves::Joint;
use crate::element::Type;
use crate::families::formula::{NodeId, Place, Symbol};
use crate::ir::{AxisId, ExprId};
use crate::lower::Error;
use crate::lower::expression::{Bounds, Lanes, Lowering, Reduce};
use crate::lower::index::Linear;
use crate::lower::value::Value;
use crate::ptx::{Guard, Reg, Turns};

/// The pace of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As the schedule says.
    Schedule,
    /// One step a turn, keeping nothing: for what hardly ever happens.
    Slow,
}

/// The chunks of a walk that a thread takes.
pub(crate) struct Route {
    /// The first one.
    pub first: Linear,
    /// From each to the next.
    pub stride: i64,
    /// Those of a turn. Loads of one turn do not wait for each other.
    pub unroll: i64,
    /// `true` if what is compiled in is walked over in one turn, without a loop.
    pub in_registers: bool,
    /// The thread's neighbouring outputs, if its lanes lie along these and not along the walk.
    pub across: Option<Lanes>,
}

/// A walk in a loop.
pub(crate) struct WalkLoop<'a> {
    pub axes: &'a [AxisId],
    pub pace: Pace,
    /// The chunk of a turn's first step.
    pub counter: Reg,
    /// From one turn to the next.
    pub stride: i64,
    /// The most chunks, where compiled in.
    pub most: Option<i64>,
}

/// Threads that walk over the elements of a row.
pub(crate) trait Walker: Reduce + Sized {
    /// `true` if a product is added in one rounding where nothing guards it.
    const FUSES: bool;

    /// Neighbouring elements of a step.
    fn vector(&self) -> u32;

    /// The chunks of the thread.
    fn route(&self) -> Route;

    /// `true` if what a step loads is stored for other walks: then only what the step uses is loaded.
    fn keeps(&self) -> bool {
        false
    }

    /// A loop over chunks has begun.
    fn begin_loop(&mut self, _lowering: &Lowering<'_>, _walk: &WalkLoop<'_>) {}

    /// The innermost of these loops ends.
    fn end_loop(&mut self) {}

    /// A guard for code that runs if a predicate does not hold. Threads that must go on together all run it if one does.
    fn unless(&self, _lowering: &mut Lowering<'_>, predicate: Reg) -> Guard {
        Guard {
            predicate,
            holds: false,
        }
    }

    /// Walks over all combinations of `axes`: `each` gets the steps of a turn. What is kept in registers is one turn; else a turn has
    /// `unroll` steps, and `bounds` leave out elements that do not count.
    fn walk(
        &mut self,
        lowering: &mut Lowering<'_>,
        axes: &[AxisId],
        bounds: &Bounds,
        pace: Pace,
        each: impl FnOnce(&mut Self, &mut Lowering<'_>, &[Step]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Route {
            first,
            stride,
            unroll,
            in_registers,
            across,
        } = self.route();
        let vector = self.vector();
        let mut extents: Vec<Linear> = axes.iter().map(|&axis| lowering.extent(axis)).collect();
        let mut largest = axes.iter().map(|&axis| {
            let extent = lowering.specialisation.extents[lowering.checked.extent(axis).index()];
            i64::try_from(extent.most()?).ok()
        });
        // As chunks.
        let most = largest.try_fold(1i64, |volume, most| volume.checked_mul(most?));
        let most = most.map(|volume| volume / i64::from(vector));
        if let Some(last) = extents.last_mut() {
            *last = lowering
                .math
                .divide(&mut lowering.b, last, &Linear::constant(vector.into()))
                .0;
        }
        let mut chunks = Linear::constant(1);
        for extent in &extents {
            chunks = lowering.math.product(&mut lowering.b, &chunks, extent);
        }
        let outer = std::mem::replace(&mut lowering.lanes, across.filter(|lanes| lanes.width > 1));
        let constant = chunks.as_constant();
        let done = match (in_registers, most) {
            // Nothing to walk over: a read emitted here could be hoisted to where it is executed.
            (_, Some(0)) => Ok(()),
            (true, Some(count)) => {
                let turns = (count + stride - 1) / stride;
                let steps: Vec<Step> = (0..turns)
                    .map(|turn| {
                        let chunk = first.plus_constant(turn * stride);
                        let partial = constant.is_none() || (turn + 1) * stride > count;
                        let guard = partial.then(|| lowering.below(&chunk, &chunks));
                        Step::of(lowering, &extents, turn as u32, chunk, guard, across, vector)
                    })
                    .collect();
                each(self, lowering, &steps)
            }
            _ => {
                let unroll = match pace {
                    Pace::Schedule => unroll,
                    Pace::Slow => 1,
                };
                let (skipped, chunks) = lowering.bounded_chunks(bounds, &extents, &chunks, vector);
                let start = lowering.math.operand(&mut lowering.b, &first.plus(&skipped));
                let end = lowering.math.operand(&mut lowering.b, &chunks);
                // The schedule sets the unroll factor. Left alone, ptxas unrolls further and spills.
                let turns = Turns::new(start, end, stride * unroll).rolled();
                let counter = lowering.b.begin_loop(lowering.math.class(), turns);
                let walk = WalkLoop {
                    axes,
                    pace,
                    counter,
                    stride: stride * unroll,
                    most,
                };
                self.begin_loop(lowering, &walk);
                let whole = skipped == Linear::constant(0)
                    && chunks
                        .as_constant()
                        .is_some_and(|chunks| chunks % (stride * unroll) == 0);
                let steps: Vec<Step> = (0..unroll)
                    .map(|number| {
                        let chunk = Linear::register(counter).plus_constant(number * stride);
                        let guard = (number > 0 && !whole).then(|| lowering.below(&chunk, &chunks));
                        Step::of(lowering, &extents, number as u32, chunk, guard, across, vector)
                    })
                    .collect();
                let done = each(self, lowering, &steps);
                self.end_loop();
                lowering.b.end();
                done
            }
        };
        lowering.lanes = outer;
        done
    }

    /// Binds the axes of a place that number rows.
    ///
    /// # Errors
    /// The place has a row's axis that the family does not bind.
    fn bind_place(&self, lowering: &mut Lowering<'_>, place: &Place) -> Result<(), Error>;

    /// Makes a step the one at hand.
    fn go_to(&mut self, lowering: &mut Lowering<'_>, step: &Step);

    /// Makes a step the one at hand, and binds the axes of its walk to one of its lanes.
    fn bind_lane(&mut self, lowering: &mut Lowering<'_>, axes: &[AxisId], step: &Step, lane: u32) {
        self.go_to(lowering, step);
        for (dimension, &axis) in axes.iter().enumerate() {
            step.bind(lowering, axis, dimension, lane);
        }
    }

    /// Issues the loads of a value at all steps of a turn, before anything waits for one of them.
    fn touch(
        &mut self,
        lowering: &mut Lowering<'_>,
        axes: &[AxisId],
        value: ExprId,
        steps: &[Step],
    ) -> Result<(), Error> {
        if steps.len() == 1 || self.keeps() {
            return Ok(());
        }
        for step in steps {
            for lane in 0..self.vector() {
                self.bind_lane(lowering, axes, step, lane);
                lowering.touch(value, self)?;
            }
        }
        Ok(())
    }

    /// Makes a reduction have a value, wherever the operator has it.
    fn define(&self, lowering: &mut Lowering<'_>, joint: &Joint<'_>, node: NodeId, value: Value) -> Result<(), Error> {
        for place in joint.formulas.places(node) {
            self.bind_place(lowering, place)?;
            lowering.define(place.expr, value)?;
        }
        Ok(())
    }

    /// The value of what is the same for a row.
    fn uniform(
        &mut self,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        node: NodeId,
        ty: Type,
    ) -> Result<Value, Error> {
        let place = joint.formulas.places(node).first().ok_or(Error::Unbound)?;
        self.bind_place(lowering, place)?;
        lowering.value_as(place.expr, ty, self)
    }

    /// The value of a part of a member's body at one lane of a step.
    fn element(
        &mut self,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        node: NodeId,
        ty: Type,
        step: &Step,
        lane: u32,
    ) -> Result<Value, Error> {
        let place = joint.formulas.places(node).first().ok_or(Error::Unbound)?;
        self.bind_place(lowering, place)?;
        self.go_to(lowering, step);
        for &(axis, symbol) in &place.axes {
            if let Symbol::Lane(dimension) = symbol {
                step.bind(lowering, axis, dimension, lane);
            }
        }
        lowering.value_as(place.expr, ty, self)
    }
}
