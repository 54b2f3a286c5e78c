//! Several reductions of a row in one walk, also such that depend on others of them: see [`crate::schedule::Online`].
//!
//! Each thread begins the dependent sums with provisional values of its own, and settles its part once the others are known to
//! all; across threads they are plain sums. A part that is not finite then is summed again as it is written, so that infinities
//! and NaN come out as anywhere else.

use super::group::{Group, Pace, Partial};
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
    let mut partial: Vec<Partial> = plain
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
        for (member, partial) in plain.iter().zip(&mut partial) {
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
        let total = partial.total(group, lowering)?;
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

/// A thread's part of a sum; as it is written, if it is not finite.
fn finite_or_again(
    group: &mut Group,
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
    lowering.b.begin_if(Guard {
        predicate: finite,
        holds: false,
    });
    let zero = Value::zero(&mut lowering.b, member.ty);
    lowering.b.assign(move_of(class), sum.best, &[zero.operand]);
    group.bind_place(lowering, &member.place)?;
    let vector = group.schedule.vector;
    let done = group.walk(
        lowering,
        &member.axes,
        &Bounds::default(),
        Pace::Slow,
        |group, lowering, steps| {
            for step in steps {
                for lane in 0..vector {
                    group.bind_lane(lowering, &member.axes, step, lane);
                    let value = lowering.value_as(member.body, member.ty, group)?;
                    sum.combine(lowering, value, &step.chunk);
                }
            }
            Ok(())
        },
    );
    lowering.b.end();
    done.map(|()| sum)
}
