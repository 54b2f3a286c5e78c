//! Several reductions of a unit in one walk, also such that depend on others of them: see [`crate::lower::online`].
//!
//! Each thread begins the dependent sums with provisional values of its own, and settles its part once the others are known to
//! all; across threads they are plain sums. A part that is not finite then is summed again as it is written, so that infinities
//! and NaN come out as anywhere else.

use super::shape::joint;
use super::team::Team;
use crate::lower::Error;
use crate::lower::expression::{Accumulator, Lowering};
use crate::lower::online::partial::Partial;
use crate::lower::online::sums::{Member, Sum, finite_or_again};
use crate::lower::online::walk::{Pace, Walker};
use crate::lower::online::waves::{Joint, Wave};

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

/// A thread's parts of the reductions of a wave after its walk, for each of its units.
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
            for (number, member) in walked.plain.iter().enumerate() {
                for unit in 0..team.count() {
                    team.turn_to(unit);
                    team.bind_place(lowering, &member.place)?;
                    team.touch(lowering, &member.axes, member.body, steps)?;
                }
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
