//! `pointwise`: chunks of neighbouring outputs, read and written as vectors; transposed inputs by way of tiles ([`tiles`]).

use super::shape::{Shape, flat};
use super::space::{Pointwise, resident_blocks, together};
use super::tiles;
use crate::lower::Error;
use crate::lower::expression::{Binding, InSequence, Lanes, Lowering, Numbered};
use crate::lower::grid::{Grid, volume_formula};
use crate::lower::index::Linear;
use crate::problem::Problem;
use crate::ptx::{Class, Guard, Opcode, Operand, Reg, Turns};

pub(super) fn lower<'a>(
    problem: &Problem<'a>,
    name: &str,
    schedule: &Pointwise,
) -> Result<(Lowering<'a>, Grid), Error> {
    let (mut lowering, launch) = kernel(problem, name, schedule)?;
    // Left alone, the assembler spills a little to fit more blocks.
    let resident = resident_blocks(problem, schedule, launch.dynamic_shared);
    lowering.b.set_minimum_blocks(resident);
    Ok((lowering, launch))
}

fn kernel<'a>(problem: &Problem<'a>, name: &str, schedule: &Pointwise) -> Result<(Lowering<'a>, Grid), Error> {
    let mut lowering = Lowering::new(problem, name, schedule.threads);
    lowering.read_cache = schedule.cache;
    if schedule.tile > 0 {
        let shape = problem.shape(Shape::of);
        let run = shape.as_ref().as_ref().and_then(|shape| shape.run(schedule));
        return tiles::lower(lowering, schedule, run);
    }
    let dims = &problem.checked.op().outputs[0].dims;
    let per_block = schedule.threads * schedule.unroll * schedule.vector;
    let work = volume_formula(problem.specialisation, dims).div_ceil(u64::from(per_block));
    let volume = lowering.volume(dims);
    let turns = lowering.divided_up(&volume, per_block);
    let grid = lowering.each_block(schedule.blocks, &turns, work, |lowering, block| {
        chunks(lowering, schedule, &block, &volume)
    })?;
    Ok((lowering, Grid::of(grid, schedule.threads, 0)))
}

/// A block's chunks.
fn chunks(lowering: &mut Lowering<'_>, schedule: &Pointwise, block: &Linear, volume: &Linear) -> Result<(), Error> {
    let flat = flat(lowering.checked);
    let vector = i64::from(schedule.vector);
    let (threads, unroll) = (i64::from(schedule.threads), i64::from(schedule.unroll));
    let thread = lowering.thread();
    let chunks: Vec<Reg> = (0..unroll)
        .map(|turn| {
            let chunk = block
                .times(threads * unroll)
                .plus(&thread)
                .plus_constant(turn * threads);
            lowering.math.register(&mut lowering.b, &chunk)
        })
        .collect();
    let first = |chunk: Reg| Linear::register(chunk).times(vector);
    let last = |chunk: Reg| first(chunk).plus_constant(vector - 1);
    let mut all = None;
    if let (Some(&chunk), true) = (chunks.last(), together(lowering.checked, schedule)) {
        // If the last one exists, the loads of all come first.
        let of_all = |lowering: &mut Lowering<'_>| -> Result<(), Error> {
            for &chunk in &chunks {
                touch(lowering, schedule, chunk, flat)?;
            }
            for &chunk in &chunks {
                let values = values_of(lowering, schedule, chunk, flat)?;
                lowering.store_outputs(&first(chunk), &values, schedule.cache);
            }
            Ok(())
        };
        if (volume.as_constant()).is_some_and(|volume| volume % (threads * unroll * vector) == 0) {
            return of_all(lowering);
        }
        let predicate = lowering.below(&last(chunk), volume);
        lowering.b.begin_if(Guard { predicate, holds: true });
        of_all(lowering)?;
        lowering.b.end();
        all = Some(Guard {
            predicate,
            holds: false,
        });
    }
    if let Some(not_all) = all {
        lowering.b.begin_if(not_all);
    }
    for &chunk in &chunks {
        if !flat || vector == 1 {
            lowering.begin_if_below(&first(chunk), volume);
            touch(lowering, schedule, chunk, flat)?;
            let values = values_of(lowering, schedule, chunk, flat)?;
            lowering.store_outputs(&first(chunk), &values, schedule.cache);
            lowering.b.end();
            continue;
        }
        // The last chunk of a flat operator may be a part: its elements go one by one.
        let whole = lowering.below(&last(chunk), volume);
        lowering.b.begin_if(Guard {
            predicate: whole,
            holds: true,
        });
        touch(lowering, schedule, chunk, flat)?;
        let values = values_of(lowering, schedule, chunk, flat)?;
        lowering.store_outputs(&first(chunk), &values, schedule.cache);
        lowering.b.end();
        let divides = volume.as_constant().is_some_and(|volume| volume % vector == 0);
        let any = lowering.below(&first(chunk), volume);
        let part = lowering.b.op(Opcode::XorPred, &[any.into(), whole.into()]);
        if !divides {
            lowering.b.begin_if(Guard {
                predicate: part,
                holds: true,
            });
            rest_of(lowering, schedule, &first(chunk), volume)?;
            lowering.b.end();
        }
    }
    if all.is_some() {
        lowering.b.end();
    }
    Ok(())
}

/// Issues the loads of a whole chunk, before anything waits for one of them.
fn touch(lowering: &mut Lowering<'_>, schedule: &Pointwise, chunk: Reg, flat: bool) -> Result<(), Error> {
    each_lane(lowering, schedule, chunk, flat, |lowering, position| {
        lowering.touch(lowering.op().outputs[position].body, &mut InSequence)
    })
}

/// One whole chunk's values, of each output.
fn values_of(
    lowering: &mut Lowering<'_>,
    schedule: &Pointwise,
    chunk: Reg,
    flat: bool,
) -> Result<Vec<Vec<Operand>>, Error> {
    let mut values = vec![Vec::new(); lowering.op().outputs.len()];
    each_lane(lowering, schedule, chunk, flat, |lowering, position| {
        values[position].push(lowering.output_value(position, &mut InSequence)?);
        Ok(())
    })?;
    Ok(values)
}

/// Goes to each lane of a whole chunk, and there to each output, by its position.
fn each_lane(
    lowering: &mut Lowering<'_>,
    schedule: &Pointwise,
    chunk: Reg,
    flat: bool,
    mut each: impl FnMut(&mut Lowering<'_>, usize) -> Result<(), Error>,
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
    lowering.across = lowering.lanes.map(|lanes| Lanes {
        register: chunk,
        ..lanes
    });
    lowering.at = Some(Numbered {
        dims: dims.clone(),
        coordinates: coordinates.clone(),
        number: Linear::register(chunk).times(vector),
    });
    lowering.flat = flat;
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
            each(lowering, position)?;
        }
    }
    lowering.lanes = None;
    lowering.across = None;
    lowering.at = None;
    lowering.flat = false;
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
