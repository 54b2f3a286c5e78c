//! Estimated seconds.

use crate::check::Checked;
use crate::datasheet::Datasheet;
use crate::estimate;
use crate::lower;
use crate::problem::Problem;
use crate::schedule::{Program, Schedule};
use crate::size::Specialisation;
use crate::stages;
use crate::target::Machine;
use crate::tuning;

/// The estimated seconds of a program.
pub(super) fn seconds(problem: &Problem<'_>, program: &Program, sizes: &[u64]) -> Option<f64> {
    if let Some(schedule) = program.lone() {
        return of_schedule(problem, schedule, sizes);
    }
    let split = lower::split(problem, &program.stored)?;
    let each = split.stages.iter().zip(&program.stages).map(|(stage, schedule)| {
        let specialisation = stage.specialisation(problem.specialisation);
        let problem = Problem::new(&stage.checked, &specialisation, problem.machine);
        of_schedule(&problem, schedule, &stage.sizes_at(sizes))
    });
    let each = each.collect::<Option<Vec<f64>>>()?;
    Some(stages::latency(each, &Datasheet::like(problem.machine)))
}

fn of_schedule(problem: &Problem<'_>, schedule: &Schedule, sizes: &[u64]) -> Option<f64> {
    let ranked = estimate::ranked(problem, sizes, &[*schedule]);
    ranked.first().map(|(_, seconds)| *seconds)
}

/// The estimated seconds of the untuned program.
pub(super) fn untuned_seconds(checked: &Checked, sizes: &[u64], machine: Machine) -> Option<f64> {
    let untuned = Specialisation {
        wide: tuning::is_wide(checked, sizes),
        ..tuning::untuned(checked, sizes)
    };
    let problem = Problem::new(checked, &untuned, machine);
    let program = stages::untuned(&problem, sizes).into_iter().next()?;
    let (specialisation, program) = stages::specialised(&problem, program, sizes);
    seconds(&Problem::new(checked, &specialisation, machine), &program, sizes)
}
