//! `reduce`: the threads of a block along the outputs have units of their own; those along what is reduced share them.
//!
//! Reductions are met while the outputs' expressions are emitted, and done by all threads before them ([`team`](super::team)); those that
//! share a walk come first ([`walk`](super::walk)). Where blocks share them, only the last block goes on to the outputs
//! ([`split`](super::split)).

use super::shape::units;
use super::space::{Reduce, minimum_blocks};
use super::team::{Pace, Team};
use super::{split, walk};
use crate::families::row::Keep;
use crate::ir::{AxisId, SizeId};
use crate::lower::Error;
use crate::lower::expression::{Binding, Bounds, Lowering};
use crate::lower::grid::{Grid, volume_formula};
use crate::lower::index::Linear;
use crate::lower::online::sums::Walker;
use crate::problem::Problem;
use crate::ptx::{Cache, Guard, Operand};
use crate::size::SizeExpr;

pub(super) fn lower<'a>(problem: &Problem<'a>, name: &str, schedule: &Reduce) -> Result<(Lowering<'a>, Grid), Error> {
    let threads = schedule.threads * schedule.lanes;
    let mut lowering = Lowering::new(problem, name, threads);
    let units = units(problem.checked).ok_or(Error::Unbound)?;
    let dims: Vec<SizeId> = units.iter().map(|&at| lowering.op().outputs[0].dims[at]).collect();
    let mut team = Team::new(&mut lowering, *schedule, units);
    if schedule.split_k > 1 {
        split::reduce(&mut team, &mut lowering, outputs)?;
    } else {
        if schedule.keep == Keep::Reload {
            walk::reduce(&mut team, &mut lowering)?;
        }
        outputs(&mut team, &mut lowering)?;
    }
    let shared = team.shared_bytes;
    // Left alone, the assembler spills a little to fit more blocks.
    lowering.b.set_minimum_blocks(minimum_blocks(problem, schedule, shared));
    let volume = |dims: &[SizeId]| volume_formula(problem.specialisation, dims);
    let tiles = match dims.split_last() {
        Some((&last, outer)) if schedule.lanes > 1 => {
            let columns = u64::from(schedule.lanes * schedule.vector);
            volume(outer).times(volume(&[last]).div_ceil(columns))
        }
        _ => volume(&dims),
    };
    let blocks = tiles.times(SizeExpr::Const(schedule.split_k.into()));
    Ok((lowering, Grid::of(blocks, threads, shared)))
}

fn outputs(team: &mut Team, lowering: &mut Lowering<'_>) -> Result<(), Error> {
    let op = lowering.op();
    let mut done = vec![false; op.outputs.len()];
    for (position, output) in op.outputs.iter().enumerate() {
        if done[position] {
            continue;
        }
        // Outputs of one shape are computed in one walk.
        let alike: Vec<usize> = (position..op.outputs.len())
            .filter(|&other| op.outputs[other].dims == output.dims)
            .collect();
        alike.iter().for_each(|&other| done[other] = true);
        if output.dims.len() == team.units.len() {
            of_units(team, lowering, &alike)?;
        } else {
            of_elements(team, lowering, &alike)?;
        }
    }
    Ok(())
}

/// Outputs of one element a unit: the first of the threads that share the units stores them.
fn of_units(team: &mut Team, lowering: &mut Lowering<'_>, positions: &[usize]) -> Result<(), Error> {
    let first = lowering.below(&team.thread.clone(), &Linear::constant(1));
    let guard = lowering.both(Some(first), team.valid).map(held);
    for &position in positions {
        let values = values(team, lowering, position, &mut |_, _| Ok(()))?;
        store(team, lowering, position, &[], &values, guard);
    }
    Ok(())
}

/// Outputs of many elements a unit, of one shape.
fn of_elements(team: &mut Team, lowering: &mut Lowering<'_>, positions: &[usize]) -> Result<(), Error> {
    let op = lowering.op();
    let walked = |position: usize| -> Vec<AxisId> {
        let axes = op.outputs[position].axes.iter().enumerate();
        let others = axes.filter(|(at, _)| !team.units.contains(at));
        others.map(|(_, &axis)| axis).collect()
    };
    let axes: Vec<Vec<AxisId>> = positions.iter().map(|&position| walked(position)).collect();
    let bodies: Vec<_> = positions.iter().map(|&position| op.outputs[position].body).collect();
    let outside = team.enter(lowering, &axes[0], &bodies);
    team.walk(
        lowering,
        &axes[0],
        &Bounds::default(),
        Pace::Schedule,
        |team, lowering, steps| {
            for step in steps {
                let guard = lowering.both(step.guard, team.valid).map(held);
                for (&position, axes) in positions.iter().zip(&axes) {
                    let mut elements = Vec::new();
                    for neighbour in 0..team.along() {
                        elements.extend(values(team, lowering, position, &mut |team, lowering| {
                            team.bind_lane(lowering, axes, step, neighbour);
                            Ok(())
                        })?);
                    }
                    store(team, lowering, position, &step.coordinates, &elements, guard);
                }
            }
            Ok(())
        },
    )?;
    lowering.leave(outside);
    Ok(())
}

/// The values of an output for each of the thread's units, in the form they are stored in.
fn values(
    team: &mut Team,
    lowering: &mut Lowering<'_>,
    position: usize,
    bind: &mut dyn FnMut(&mut Team, &mut Lowering<'_>) -> Result<(), Error>,
) -> Result<Vec<Operand>, Error> {
    let mut values = Vec::with_capacity(team.count() as usize);
    for unit in 0..team.count() {
        team.turn_to(unit);
        let output = &lowering.op().outputs[position];
        for (&at, value) in team.units.iter().zip(team.coordinates()) {
            lowering.bind(output.axes[at], Binding::of(value));
        }
        bind(team, lowering)?;
        values.push(lowering.output_value(position, team)?);
    }
    team.turn_to(0);
    Ok(values)
}

/// Stores the values of neighbouring units, or of neighbours along the walk that is at these coordinates.
fn store(
    team: &mut Team,
    lowering: &mut Lowering<'_>,
    position: usize,
    walked: &[Linear],
    values: &[Operand],
    guard: Option<Guard>,
) {
    let output = &lowering.op().outputs[position];
    let dims = output.dims.len();
    let by_units = team.count() > 1 || walked.is_empty();
    let last_is_unit = dims == 0 || team.units.contains(&(dims - 1));
    let contiguous = values.len() == 1 || by_units == last_is_unit;
    let at = |number: usize| -> Vec<Linear> {
        let (mut of_units, mut of_walk) = (team.coordinates().into_iter(), walked.iter().cloned());
        let mut indices: Vec<Linear> = (0..dims)
            .map(|dimension| match team.units.contains(&dimension) {
                true => of_units.next().unwrap_or_default(),
                false => of_walk.next().unwrap_or_default(),
            })
            .collect();
        let moved = (0..dims)
            .rev()
            .find(|dimension| team.units.contains(dimension) == by_units);
        if let Some(moved) = moved {
            indices[moved] = indices[moved].plus_constant(number as i64);
        }
        indices
    };
    if contiguous {
        let offset = lowering.offset(&at(0), &output.dims);
        lowering.store_output(position, &offset, values, Cache::Normal, guard);
        return;
    }
    for (number, &value) in values.iter().enumerate() {
        let offset = lowering.offset(&at(number), &output.dims);
        lowering.store_output(position, &offset, &[value], Cache::Normal, guard);
    }
}

fn held(predicate: crate::ptx::Reg) -> Guard {
    Guard { predicate, holds: true }
}
