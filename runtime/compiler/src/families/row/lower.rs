//! `row`: a group of threads walks over what a reduction runs over, and over a row's outputs, in the same way.
//!
//! Reductions are met while the outputs' expressions are emitted, and done by the group before them. A group that keeps
//! its elements in registers is straight code: an element that two walks read is one load, since the builder
//! numbers values. One that keeps them in shared memory walks in loops ([`kept`]).

use super::group::Group;
use super::one_pass;
use super::shape::{kept_budget, read_again, row_axes};
use super::space::{Pass, Row, minimum_blocks};
use crate::ir::{AxisId, ExprId};
use crate::lower::Error;
use crate::lower::expression::{Binding, Bounds, Lowering};
use crate::lower::grid::{Grid, volume_formula};
use crate::lower::index::Linear;
use crate::lower::online::walk::{Pace, Walker};
use crate::problem::Problem;
use crate::ptx::{Cache, Guard};

pub(super) fn lower<'a>(problem: &Problem<'a>, name: &str, schedule: &Row) -> Result<(Lowering<'a>, Grid), Error> {
    let mut lowering = Lowering::new(problem, name, schedule.threads * schedule.rows);
    let row_count = row_axes(problem.checked).ok_or(Error::Unbound)?;
    let dims = &problem.checked.op().outputs[0].dims[..row_count];
    let work = volume_formula(problem.specialisation, dims).div_ceil(u64::from(schedule.rows));
    let count = match schedule.blocks {
        0 => Linear::default(),
        _ => {
            let rows = lowering.volume(dims);
            lowering.divided_up(&rows, schedule.rows)
        }
    };
    let mut shared = 0;
    let blocks = lowering.each_block(schedule.blocks, &count, work, |lowering, place| {
        let mut group = Group::new(lowering, *schedule, row_count, &place);
        group.kept.budget = kept_budget(problem.machine);
        group.kept.again = read_again(problem.checked);
        outputs(&mut group, lowering)?;
        // A warp may be a whole reduction ahead of others. A second one waits for all before the slots of the first are written again.
        if schedule.blocks > 0 && group.exchanges == 1 {
            lowering.b.barrier();
        }
        shared = group.kept.shared_bytes;
        Ok(())
    })?;
    // Left alone, the assembler spills a little to fit more blocks.
    let resident = minimum_blocks(problem, schedule, shared);
    lowering.b.set_minimum_blocks(resident);
    Ok((lowering, Grid::of(blocks, schedule.threads * schedule.rows, shared)))
}

fn outputs(group: &mut Group, lowering: &mut Lowering<'_>) -> Result<(), Error> {
    let op = lowering.op();
    for output in &op.outputs {
        for (&axis, value) in output.axes.iter().zip(&group.coordinates) {
            lowering.bind(axis, Binding::of(value.clone()));
        }
    }
    if group.schedule.pass == Pass::One {
        one_pass::reduce(group, lowering)?;
    }
    // Outputs of one shape are computed in one walk.
    let mut done = vec![false; op.outputs.len()];
    for (position, output) in op.outputs.iter().enumerate() {
        if done[position] {
            continue;
        }
        if output.dims.len() == group.row_count {
            single(group, lowering, position)?;
            continue;
        }
        let alike: Vec<usize> = (position..op.outputs.len())
            .filter(|&other| op.outputs[other].dims == output.dims)
            .collect();
        alike.iter().for_each(|&other| done[other] = true);
        lanes(group, lowering, &alike)?;
    }
    Ok(())
}

/// An output of one element a row: the group's first thread stores it.
fn single(group: &mut Group, lowering: &mut Lowering<'_>, position: usize) -> Result<(), Error> {
    let value = lowering.output_value(position, group)?;
    let first = lowering.below(&group.thread.clone(), &Linear::constant(1));
    let predicate = lowering.both(Some(first), group.valid);
    let offset = offset(group, lowering, position, &[]);
    let guard = predicate.map(|predicate| Guard { predicate, holds: true });
    lowering.store_output(position, &offset, &[value], Cache::Normal, guard);
    Ok(())
}

/// Outputs of many elements a row, of one shape.
fn lanes(group: &mut Group, lowering: &mut Lowering<'_>, positions: &[usize]) -> Result<(), Error> {
    let op = lowering.op();
    let axes = |position: usize| &op.outputs[position].axes[group.row_count..];
    let axes: Vec<&[AxisId]> = positions.iter().map(|&position| axes(position)).collect();
    let bodies: Vec<ExprId> = positions.iter().map(|&position| op.outputs[position].body).collect();
    let outside = group.enter(lowering, axes[0], &bodies);
    bodies.iter().try_for_each(|&body| group.ahead(lowering, body))?;
    group.walk(
        lowering,
        axes[0],
        &Bounds::default(),
        Pace::Schedule,
        |group, lowering, steps| {
            for (&body, axes) in bodies.iter().zip(&axes) {
                group.touch(lowering, axes, body, steps)?;
            }
            for step in steps {
                for (&position, axes) in positions.iter().zip(&axes) {
                    let mut values = Vec::with_capacity(group.schedule.vector as usize);
                    for lane in 0..group.schedule.vector {
                        group.bind_lane(lowering, axes, step, lane);
                        values.push(lowering.output_value(position, group)?);
                    }
                    let offset = offset(group, lowering, position, &step.coordinates);
                    let guard = lowering.both(step.guard, group.valid);
                    let guard = guard.map(|predicate| Guard { predicate, holds: true });
                    lowering.store_output(position, &offset, &values, Cache::Normal, guard);
                }
            }
            Ok(())
        },
    )?;
    lowering.leave(outside);
    Ok(())
}

/// The offset of an output's element: the row's coordinates, then those given.
fn offset(group: &Group, lowering: &mut Lowering<'_>, position: usize, coordinates: &[Linear]) -> Linear {
    let output = &lowering.op().outputs[position];
    let indices: Vec<Linear> = group.coordinates.iter().chain(coordinates).cloned().collect();
    lowering.offset(&indices, &output.dims)
}
