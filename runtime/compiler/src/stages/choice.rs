//! The programs of an untuned operator: what to store, and a schedule for each stage, by the estimate.

use super::{StageOp, sets, values};
use crate::check::Checked;
use crate::datasheet::Datasheet;
use crate::estimate;
use crate::ir::{AxisId, Op};
use crate::kernel::SCRATCH_ALIGNMENT;
use crate::lower;
use crate::problem::Problem;
use crate::schedule::{self, Program, Schedule};
use crate::size::Specialisation;

/// Returns the estimated seconds of launches in sequence, from those of each on its own: one launch, all bodies, and the gaps between them.
pub fn latency(each: impl IntoIterator<Item = f64>, sheet: &Datasheet) -> f64 {
    let bodies = each.into_iter().map(|seconds| (seconds - sheet.launch_s).max(0.0));
    let (total, launches) = bodies.fold((0.0, 0u32), |(total, launches), body| (total + body, launches + 1));
    sheet.launch_s + total + sheet.gap_s * f64::from(launches.saturating_sub(1))
}

/// Returns the programs to run untuned, best first by the estimate: a call runs the first one whose [stored values](stored_bytes) fit. Each stores
/// less than those before it, and the last one stores nothing. Each stage has the schedule that the estimate ranks first among
/// [`schedule::starts`].
pub fn untuned(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Program> {
    if sets(problem.checked).is_empty() {
        return vec![estimate::default(problem, sizes).into()];
    }
    let mut programs: Vec<Program> = Vec::new();
    let mut least = u64::MAX;
    for (program, _) in ranked(problem, sizes) {
        let bytes = stored_bytes(problem.checked, &program.stored, sizes);
        if bytes < least {
            least = bytes;
            programs.push(program);
        }
    }
    if least > 0 {
        programs.push(estimate::default(problem, sizes).into());
    }
    programs
}

/// Returns a program for untuned calls with what it knows of them: if it stores nothing, upper bounds of sizes may make a faster schedule
/// legal ([`estimate::untuned`]).
pub fn specialised(problem: &Problem<'_>, program: Program, sizes: &[u64]) -> (Specialisation, Program) {
    match program.lone() {
        Some(_) => {
            let (checked, specialisation) = (problem.checked, problem.specialisation);
            let (specialisation, schedule) = estimate::untuned(checked, specialisation, problem.machine, sizes);
            (specialisation, schedule.into())
        }
        None => (problem.specialisation.clone(), program),
    }
}

/// Returns the bytes of workspace for these stored values at these sizes.
pub fn stored_bytes(checked: &Checked, stored: &[u32], sizes: &[u64]) -> u64 {
    if stored.is_empty() {
        return 0;
    }
    let values = values(checked).into_iter();
    let values = values.filter(|value| stored.contains(&value.number()));
    let extent = |axis: AxisId| sizes.get(checked.extent(axis).index()).copied().unwrap_or(0);
    let each = values.map(|value| {
        let extents = value.axes.iter().map(|&axis| extent(axis));
        let bytes = extents.fold(u64::from(value.element.size()), u64::saturating_mul);
        bytes.checked_next_multiple_of(SCRATCH_ALIGNMENT).unwrap_or(u64::MAX)
    });
    each.fold(0, u64::saturating_add)
}

/// Returns the best program of each set of stored values by the estimate, with its seconds, fastest first. The program that stores nothing is
/// among them. A set whose gaps and compulsory traffic alone take longer than that program is not.
pub fn ranked(problem: &Problem<'_>, sizes: &[u64]) -> Vec<(Program, f64)> {
    let sheet = Datasheet::like(problem.machine);
    let sets = sets(problem.checked);
    if sets.is_empty() {
        return best(problem, sizes)
            .map(|(schedule, seconds)| (schedule.into(), seconds))
            .into_iter()
            .collect();
    }
    let lone = best(problem, sizes);
    let limit = lone.map_or(f64::INFINITY, |(_, seconds)| seconds);
    let mut programs: Vec<(Program, f64)> = lone
        .map(|(schedule, seconds)| (schedule.into(), seconds))
        .into_iter()
        .collect();
    let mut known: Vec<(Op, Option<(Schedule, f64)>)> = Vec::new();
    for stored in sets {
        if latency(vec![sheet.launch_s; stored.len() + 1], &sheet) >= limit {
            continue;
        }
        let Some(split) = lower::split(problem, &stored) else {
            continue;
        };
        let least = (split.stages.iter()).map(|stage| estimate::least(&stage.checked, &stage.sizes_at(sizes), &sheet));
        if latency(least, &sheet) >= limit {
            continue;
        }
        let stages = split.stages.iter().map(|stage| {
            if let Some((_, found)) = known.iter().find(|(op, _)| op == stage.op()) {
                return *found;
            }
            let found = best_of_stage(problem, stage, sizes);
            known.push((stage.op().clone(), found));
            found
        });
        if let Some(stages) = stages.collect::<Option<Vec<_>>>() {
            let seconds = latency(stages.iter().map(|(_, seconds)| *seconds), &sheet);
            let stages = stages.into_iter().map(|(schedule, _)| schedule).collect();
            programs.push((Program { stored, stages }, seconds));
        }
    }
    programs.sort_by(|a, b| a.1.total_cmp(&b.1));
    programs
}

fn best_of_stage(problem: &Problem<'_>, stage: &StageOp, sizes: &[u64]) -> Option<(Schedule, f64)> {
    let specialisation = stage.specialisation(problem.specialisation);
    best(
        &Problem::new(&stage.checked, &specialisation, problem.machine),
        &stage.sizes_at(sizes),
    )
}

fn best(problem: &Problem<'_>, sizes: &[u64]) -> Option<(Schedule, f64)> {
    let starts = schedule::starts(problem, sizes);
    estimate::ranked(problem, sizes, &starts).into_iter().next()
}
