//! Several reductions of a unit in one walk, also such that depend on others of them: see [`crate::lower::online`].
//!
//! Each thread begins the dependent sums with provisional values of its own, and settles its part once the others are known to
//! all; across threads they are plain sums. A part that is not finite then is summed again as it is written, so that infinities
//! and NaN come out as anywhere else.

use super::shape::joint;
use super::team::{Pace, Partial, Team};
use crate::element::Type;
use crate::ir::ReduceOp;
use crate::lower::Error;
use crate::lower::expression::{Accumulator, Bounds, Lowering};
use crate::lower::online::sums::{Member, Sum, Walker};
use crate::lower::online::waves::{Joint, Wave};
use crate::lower::value::{Value, class_of};
use crate::ptx::builder::move_of;
use crate::ptx::{Compare, Guard, Opcode};

/// Does the reductions that share walks.
pub(super) fn reduce(team: &mut Team, lowering: &mut Lowering<'_>) -> Result<(), Error> {
    let Some(joint) = joint(lowering.checked, &team.units) else {
        return Ok(());
    };
    joint.shared().try_for_each(|wave| {
        let walked = Walked::over(team, lowering, &joint, wave)?;
        walked.settle(team, lowering, &joint)
    })
}

/// What a thread has of the reductions of a wave after its walk, for each of its units.
pub(super) struct Walked<'a> {
    pub plain: Vec<Member>,
    /// For each unit, what it has of each plain reduction.
    pub totals: Vec<Vec<Accumulator>>,
    /// For each unit, what it has of each sum that depends on them.
    pub sums: Vec<Vec<Sum<'a>>>,
}

impl<'a> Walked<'a> {
    /// Begins the reductions of a wave, with nothing of them.
    pub fn begun(
        team: &mut Team,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        wave: &'a Wave,
    ) -> Result<(Walked<'a>, Vec<Vec<Partial>>), Error> {
        let members = wave.plain.iter().map(|&number| Member::of(lowering, joint, number));
        let plain: Vec<Member> = members.collect::<Result<_, _>>()?;
        let (mut partials, mut sums) = (Vec::new(), Vec::new());
        for _ in 0..team.count() {
            let of_unit = plain
                .iter()
                .map(|member| Partial::new(team, lowering, member.op, member.ty));
            partials.push(of_unit.collect());
            let mut of_unit = Vec::with_capacity(wave.online.len());
            for (number, online) in &wave.online {
                let member = Member::of(lowering, joint, *number)?;
                of_unit.push(Sum::new(lowering, wave, member, online)?);
            }
            sums.push(of_unit);
        }
        let totals = Vec::new();
        Ok((Walked { plain, totals, sums }, partials))
    }

    /// Walks over the elements of a wave.
    pub fn over(
        team: &mut Team,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        wave: &'a Wave,
    ) -> Result<Walked<'a>, Error> {
        let (mut walked, partials) = Walked::begun(team, lowering, joint, wave)?;
        let mut bounds = Vec::new();
        for unit in 0..team.count() {
            team.turn_to(unit);
            for member in walked.plain.iter().chain(walked.sums[0].iter().map(Sum::member)) {
                team.bind_place(lowering, &member.place)?;
                bounds.push(team.bounds(lowering, member.op, &member.axes, member.body)?);
            }
        }
        team.turn_to(0);
        let bounds = lowering.widest(bounds);
        let axes = &walked.plain.first().ok_or(Error::Unbound)?.axes;
        team.walk(lowering, axes, &bounds, Pace::Schedule, |team, lowering, steps| {
            // The loads of all steps come first, each for all units.
            for (number, member) in walked.plain.iter().enumerate() {
                for step in steps {
                    for (unit, partials) in partials.iter().enumerate() {
                        team.turn_to(unit as u32);
                        team.bind_place(lowering, &member.place)?;
                        partials[number].add(team, lowering, &member.axes, member.body, step)?;
                    }
                }
            }
            for (unit, (partials, sums)) in partials.iter().zip(&walked.sums).enumerate() {
                team.turn_to(unit as u32);
                for sum in sums {
                    match sum {
                        Sum::Scaled { of, .. } => {
                            let largest = &walked.plain[*of];
                            sum.scale(team, lowering, joint, largest, &partials[*of].0, steps)?;
                        }
                        Sum::Centred { .. } => {
                            steps
                                .iter()
                                .try_for_each(|step| sum.centre(team, lowering, joint, step))?;
                        }
                    }
                }
            }
            team.turn_to(0);
            Ok(())
        })?;
        for of_unit in partials {
            let merged = of_unit.into_iter().map(|partial| partial.merged(lowering));
            walked.totals.push(merged.collect::<Result<_, _>>()?);
        }
        Ok(walked)
    }

    /// Gives all reductions their values, which are then the same for all threads of a unit.
    pub fn settle(&self, team: &mut Team, lowering: &mut Lowering<'_>, joint: &Joint<'_>) -> Result<(), Error> {
        self.across_threads(team, lowering);
        for (unit, totals) in self.totals.iter().enumerate() {
            team.turn_to(unit as u32);
            for (member, total) in self.plain.iter().zip(totals) {
                let total = total.value(lowering);
                team.define(lowering, joint, member.node, total)?;
            }
        }
        let online = self.sums.first().map_or(0, Vec::len);
        for number in 0..online {
            let mut parts = Vec::with_capacity(self.sums.len());
            for (unit, sums) in self.sums.iter().enumerate() {
                team.turn_to(unit as u32);
                let (member, part) = sums[number].settled(team, lowering, joint, &self.plain)?;
                parts.push(finite_or_again(team, lowering, member, part)?);
            }
            team.across_threads(lowering, &mut parts);
            for (unit, (sums, total)) in self.sums.iter().zip(parts).enumerate() {
                team.turn_to(unit as u32);
                let total = total.value(lowering);
                team.define(lowering, joint, sums[number].member().node, total)?;
            }
        }
        team.turn_to(0);
        Ok(())
    }

    /// Makes what each thread has of the plain reductions what all threads of the block have.
    pub fn across_threads(&self, team: &mut Team, lowering: &mut Lowering<'_>) {
        for number in 0..self.plain.len() {
            // Accumulators are registers: these are those of the totals.
            let mut of_units: Vec<Accumulator> = self.totals.iter().map(|totals| totals[number]).collect();
            team.across_threads(lowering, &mut of_units);
        }
    }
}

/// A thread's part of a sum; as it is written, if it is not finite.
fn finite_or_again(
    team: &mut Team,
    lowering: &mut Lowering<'_>,
    member: &Member,
    part: Value,
) -> Result<Accumulator, Error> {
    let class = class_of(member.ty);
    let mut sum = Accumulator::new(lowering, ReduceOp::Sum, member.ty);
    lowering.b.assign(move_of(class), sum.best, &[part.operand]);
    let (magnitude, infinity) = match member.ty {
        Type::F64 => (Opcode::AbsF64, Value::f64(f64::INFINITY)),
        _ => (Opcode::AbsF32, Value::f32(f32::INFINITY)),
    };
    let magnitude = lowering.b.op(magnitude, &[part.operand]);
    let finite = lowering
        .b
        .compare(Compare::Lt, class, magnitude.into(), infinity.operand);
    // Blocks have left the sums of other elements than the thread would walk over: all threads sum again, or none.
    let again = match team.schedule.split_k {
        1 => Guard {
            predicate: finite,
            holds: false,
        },
        _ => {
            let not = lowering.b.op(Opcode::NotPred, &[finite.into()]);
            let any = lowering.b.converge(Opcode::BarrierOr, &[0.into(), not.into()]);
            Guard {
                predicate: any.unwrap_or(not),
                holds: true,
            }
        }
    };
    lowering.b.begin_if(again);
    let zero = Value::zero(&mut lowering.b, member.ty);
    lowering.b.assign(move_of(class), sum.best, &[zero.operand]);
    team.bind_place(lowering, &member.place)?;
    let along = team.along();
    let done = team.walk(
        lowering,
        &member.axes,
        &Bounds::default(),
        Pace::Slow,
        |team, lowering, steps| {
            for step in steps {
                for neighbour in 0..along {
                    team.bind_lane(lowering, &member.axes, step, neighbour);
                    let value = lowering.value_as(member.body, member.ty, team)?;
                    sum.combine(lowering, value, &step.chunk);
                }
            }
            Ok(())
        },
    );
    lowering.b.end();
    done.map(|()| sum)
}
