//! Several reductions of a row in one walk, also such that depend on others of them: see [`crate::schedule::Online`].
//!
//! Each thread begins the dependent sums with provisional values of its own, and settles its part once the others are known to
//! all; across threads they are plain sums. A part that is not finite then is summed again as it is written, so that infinities
//! and NaN come out as anywhere else.

use super::group::Group;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::online::partial::Partial;
use crate::lower::online::sums::{Member, Sum, finite_or_again};
use crate::lower::online::walk::{Pace, Walker};
use crate::lower::online::waves::{Joint, Wave};

/// Does the reductions that share walks.
pub(super) fn reduce(group: &mut Group, lowering: &mut Lowering<'_>) -> Result<(), Error> {
    let Some(joint) = Joint::of(lowering.checked, group.row_count) else {
        return Ok(());
    };
    joint
        .shared()
        .try_for_each(|wave| walk_once(group, lowering, &joint, wave))
}

fn walk_once(group: &mut Group, lowering: &mut Lowering<'_>, joint: &Joint<'_>, wave: &Wave) -> Result<(), Error> {
    let plain: Vec<Member> = wave
        .plain
        .iter()
        .map(|&number| Member::of(lowering, joint, number))
        .collect::<Result<_, _>>()?;
    let partial: Vec<Partial> = plain
        .iter()
        .map(|member| Partial::new(group, lowering, member.op, member.ty))
        .collect();
    let mut sums = Vec::with_capacity(wave.online.len());
    for (number, online) in &wave.online {
        let member = Member::of(lowering, joint, *number)?;
        sums.push(Sum::new(lowering, wave, member, online)?);
    }
    for member in &plain {
        group.bind_place(lowering, &member.place)?;
        group.ahead(lowering, member.body)?;
    }
    let mut bounds = Vec::with_capacity(plain.len() + sums.len());
    for member in plain.iter().chain(sums.iter().map(Sum::member)) {
        group.bind_place(lowering, &member.place)?;
        bounds.push(group.bounds(lowering, member.op, &member.axes, member.body)?);
    }
    let bounds = lowering.widest(bounds);
    let axes = &plain.first().ok_or(Error::Unbound)?.axes;
    group.walk(lowering, axes, &bounds, Pace::Schedule, |group, lowering, steps| {
        for (member, partial) in plain.iter().zip(&partial) {
            group.bind_place(lowering, &member.place)?;
            group.touch(lowering, &member.axes, member.body, steps)?;
            for step in steps {
                group.bind_place(lowering, &member.place)?;
                partial.add(group, lowering, &member.axes, member.body, step)?;
            }
        }
        sums.iter().try_for_each(|sum| match sum {
            Sum::Scaled { of, .. } => sum.scale(group, lowering, joint, &plain[*of], &partial[*of].0, steps),
            Sum::Centred { .. } => steps
                .iter()
                .try_for_each(|step| sum.centre(group, lowering, joint, step)),
        })
    })?;
    for (member, partial) in plain.iter().zip(partial) {
        let total = group.total(lowering, partial)?;
        group.define(lowering, joint, member.node, total)?;
    }
    for sum in &sums {
        let (member, part) = sum.settled(group, lowering, joint, &plain)?;
        let mut total = finite_or_again(group, lowering, member, part)?;
        group.across_threads(lowering, &mut total);
        let total = total.value(lowering);
        group.define(lowering, joint, member.node, total)?;
    }
    Ok(())
}
