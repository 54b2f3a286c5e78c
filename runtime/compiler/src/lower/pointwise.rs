//! `pointwise`: chunks of neighbouring outputs, read and written as vectors.

use super::expression::{Binding, InSequence, Lanes, Lowering};
use super::index::Linear;
use super::{Error, launch, volume_formula};
use crate::check::Checked;
use crate::kernel::Launch;
use crate::ptx::{Class, Guard, Opcode, Turns};
use crate::schedule::{Pointwise, pointwise_flat};
use crate::size::Specialisation;

pub(super) fn lower<'a>(
    checked: &'a Checked,
    specialisation: &'a Specialisation,
    name: &str,
    schedule: &Pointwise,
) -> Result<(Lowering<'a>, Launch), Error> {
    let mut lowering = Lowering::new(checked, specialisation, name, schedule.threads);
    lowering.read_cache = schedule.cache;
    let dims = &checked.op().outputs[0].dims;
    let flat = pointwise_flat(checked);
    let vector = i64::from(schedule.vector);
    let threads = i64::from(schedule.threads);
    let volume = lowering.volume(dims);
    let block = lowering.block();
    let thread = lowering.thread();
    for turn in 0..i64::from(schedule.unroll) {
        let chunk = block
            .times(threads * i64::from(schedule.unroll))
            .plus(&thread)
            .plus_constant(turn * threads);
        let chunk = lowering.math.register(&mut lowering.b, &chunk);
        let first = Linear::register(chunk).times(vector);
        if !flat || vector == 1 {
            lowering.begin_if_below(&first, &volume);
            chunk_of(&mut lowering, schedule, chunk, flat)?;
            lowering.b.end();
            continue;
        }
        // The last chunk of a flat operator may be a part: its elements go one by one.
        let last = first.plus_constant(vector - 1);
        let whole = lowering.below(&last, &volume);
        lowering.b.begin_if(Guard {
            predicate: whole,
            holds: true,
        });
        chunk_of(&mut lowering, schedule, chunk, flat)?;
        lowering.b.end();
        let divides = volume.as_constant().is_some_and(|volume| volume % vector == 0);
        let any = lowering.below(&first, &volume);
        let part = lowering.b.op(Opcode::XorPred, &[any.into(), whole.into()]);
        if !divides {
            lowering.b.begin_if(Guard {
                predicate: part,
                holds: true,
            });
            rest_of(&mut lowering, schedule, &first, &volume)?;
            lowering.b.end();
        }
    }
    let blocks =
        volume_formula(specialisation, dims).div_ceil(u64::from(schedule.threads * schedule.unroll * schedule.vector));
    Ok((lowering, launch(blocks, schedule.threads, 0)))
}

/// One whole chunk.
fn chunk_of(
    lowering: &mut Lowering<'_>,
    schedule: &Pointwise,
    chunk: crate::ptx::Reg,
    flat: bool,
) -> Result<(), Error> {
    let vector = i64::from(schedule.vector);
    let op = lowering.op();
    let dims = &op.outputs[0].dims;
    let mut extents: Vec<Linear> = dims.iter().map(|&size| lowering.size(size)).collect();
    let mut coordinates = if flat {
        let mut coordinates = vec![Linear::constant(0); dims.len()];
        if let Some(last) = coordinates.last_mut() {
            *last = Linear::register(chunk);
        }
        coordinates
    } else {
        if let Some(last) = extents.last_mut() {
            *last = lowering.math.divide(&mut lowering.b, last, &Linear::constant(vector)).0;
        }
        lowering
            .math
            .coordinates(&mut lowering.b, &Linear::register(chunk), &extents)
    };
    // The fastest coordinate counts chunks: its register carries the lanes.
    let mut lanes = None;
    if let Some(last) = coordinates.last_mut() {
        let register = lowering.math.register(&mut lowering.b, last);
        lanes = Some(Lanes {
            register,
            width: schedule.vector,
        });
        *last = Linear::register(register).times(vector);
    }
    lowering.lanes = lanes.filter(|lanes| lanes.width > 1);
    lowering.flat = flat;
    let mut results = vec![Vec::new(); op.outputs.len()];
    for lane in 0..vector {
        for (position, output) in op.outputs.iter().enumerate() {
            for (dimension, (&axis, value)) in output.axes.iter().zip(&coordinates).enumerate() {
                let fastest = dimension + 1 == coordinates.len();
                let value = if fastest {
                    value.plus_constant(lane)
                } else {
                    value.clone()
                };
                lowering.bind(axis, Binding::of(value));
            }
            results[position].push(lowering.output_value(position, &mut InSequence)?);
        }
    }
    lowering.lanes = None;
    lowering.flat = false;
    let first = Linear::register(chunk).times(vector);
    for (position, values) in results.iter().enumerate() {
        lowering.store_output(position, &first, values, schedule.cache, None);
    }
    Ok(())
}

/// The elements from `first` to the end, one by one.
fn rest_of(lowering: &mut Lowering<'_>, schedule: &Pointwise, first: &Linear, volume: &Linear) -> Result<(), Error> {
    let class: Class = lowering.math.class();
    let start = lowering.math.operand(&mut lowering.b, first);
    let end = lowering.math.operand(&mut lowering.b, volume);
    let counter = lowering.b.begin_loop(class, Turns::new(start, end, 1).entered(true));
    let at = Linear::register(counter);
    let output = &lowering.op().outputs[0];
    for (dimension, &axis) in output.axes.iter().enumerate() {
        let fastest = dimension + 1 == output.axes.len();
        let value = if fastest { at.clone() } else { Linear::constant(0) };
        lowering.bind(axis, Binding::of(value));
    }
    let value = lowering.output_value(0, &mut InSequence)?;
    lowering.store_output(0, &at, &[value], schedule.cache, None);
    lowering.b.end();
    Ok(())
}
