//! The program of an untuned operator: what to store, and a schedule for each stage, by the estimate.

use super::{Split, StageOp, sets};
use crate::estimate::{self, Datasheet};
use crate::ir::{Op, SizeId};
use crate::lower;
use crate::problem::Problem;
use crate::schedule::{self, Program, Schedule};

/// Seconds between two launches of a program on one stream: an assumption. Nothing here is measured.
pub const GAP_S: f64 = 1e-6;

/// Returns the estimated seconds of launches in sequence, from those of each on its own: one launch, all bodies, and the gaps between them.
pub fn latency(each: impl IntoIterator<Item = f64>, sheet: &Datasheet) -> f64 {
    let bodies = each.into_iter().map(|seconds| (seconds - sheet.launch_s).max(0.0));
    let (total, launches) = bodies.fold((0.0, 0u32), |(total, launches), body| (total + body, launches + 1));
    sheet.launch_s + total + GAP_S * f64::from(launches.saturating_sub(1))
}

/// Returns the program for untuned sizes: the fastest by the estimate of those that store at most so many bytes. Each stage has the schedule
/// that the estimate ranks first among [`schedule::starts`].
pub fn default(problem: &Problem<'_>, sizes: &[u64], most_bytes: u64) -> Program {
    ranked(problem, sizes, most_bytes)
        .into_iter()
        .next()
        .map_or_else(|| estimate::default(problem, sizes).into(), |(program, _)| program)
}

/// Returns the best program of each set of stored values by the estimate, with its seconds, fastest first. The program that stores nothing is
/// among them. A set that needs more than so many bytes is not, nor one whose gaps alone take longer than that program.
pub fn ranked(problem: &Problem<'_>, sizes: &[u64], most_bytes: u64) -> Vec<(Program, f64)> {
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
        if bytes(problem, &split, sizes) > most_bytes {
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

/// The bytes of all stored values at these sizes.
fn bytes(problem: &Problem<'_>, split: &Split, sizes: &[u64]) -> u64 {
    let extent = |size: SizeId| sizes.get(size.index()).copied().unwrap_or(0);
    let each = split.stored.iter().map(|value| {
        let extents = value.axes.iter().map(|&axis| extent(problem.checked.extent(axis)));
        extents.fold(u64::from(value.element.size()), u64::saturating_mul)
    });
    each.fold(0, u64::saturating_add)
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
