//! Estimated seconds.

use crate::check::Checked;
use crate::datasheet::Datasheet;
use crate::estimate;
use crate::features;
use crate::problem::Problem;
use crate::schedule::Schedule;
use crate::size::Specialisation;
use crate::target::Machine;
use crate::tuning;

/// The estimated seconds of a schedule.
pub(super) fn seconds(problem: &Problem<'_>, schedule: &Schedule, sizes: &[u64]) -> Option<f64> {
    let features = features::of(problem, schedule, sizes).ok()?;
    Some(estimate::latency(&features, &Datasheet::like(problem.machine)))
}

/// The estimated seconds of the untuned kernel.
pub(super) fn untuned_seconds(checked: &Checked, sizes: &[u64], machine: Machine) -> Option<f64> {
    let (specialisation, schedule) = estimate::untuned(checked, &untuned(checked, sizes), machine, sizes);
    seconds(&Problem::new(checked, &specialisation, machine), &schedule, sizes)
}

/// What an untuned kernel knows of a call with these sizes.
fn untuned(checked: &Checked, sizes: &[u64]) -> Specialisation {
    Specialisation {
        wide: tuning::is_wide(checked, sizes),
        ..tuning::untuned(checked, sizes)
    }
}
