//! An estimate of a kernel's latency and energy. Nothing here is measured.
//!
//! [`Work`] is what a launch does: from the features of a kernel, or from counts of an emulated run. `cost` makes seconds and joules of it.
//! The estimate ranks schedules before anything is measured.

mod cost;
mod tile_grid;
mod work;

pub use cost::Unit;
pub use tile_grid::TileGrid;
pub use work::Work;

use crate::check::Checked;
use crate::datasheet::Datasheet;
use crate::features::{self, Features};
use crate::problem::Problem;
use crate::schedule::{self, Schedule};
use crate::size::Specialisation;

/// Returns the estimated seconds of a launch.
pub fn latency(features: &Features, sheet: &Datasheet) -> f64 {
    Work::of(features).seconds(sheet)
}

/// Returns the legal schedules with their estimated latencies in seconds, fastest first.
///
/// Each schedule is lowered and its features are counted. The benchmark `compile` measures the cost. `schedules` may be a sample of a space.
pub fn ranked(problem: &Problem<'_>, sizes: &[u64], schedules: &[Schedule]) -> Vec<(Schedule, f64)> {
    let sheet = Datasheet::like(problem.machine);
    let estimate = |schedule: &Schedule| {
        let features = features::of(problem, schedule, sizes).ok()?;
        Some((*schedule, latency(&features, &sheet)))
    };
    let mut all: Vec<(Schedule, f64)> = schedules.iter().filter_map(estimate).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    all
}

/// Returns rounded sizes that represent sizes near them, so that a choice for them serves many calls. Each is at most 1.5 times as large. The
/// specialisation accepts them if it accepts the given sizes.
pub fn near(checked: &Checked, specialisation: &Specialisation, sizes: &[u64]) -> Vec<u64> {
    let rounded = |size: u64| match size.checked_ilog2() {
        // A multiple of 16, the largest alignment of a specialisation.
        Some(bits @ 5..) if size < 1 << 40 => size.next_multiple_of(1 << (bits - 1)),
        _ => size,
    };
    let all = checked.op().sizes.iter().zip(sizes);
    let free = all.take_while(|(size, _)| size.definition.is_none());
    let near = checked.derive(free.map(|(_, &size)| rounded(size)).collect());
    near.ok()
        .filter(|near| specialisation.accepts(near) && checked.verify(near).is_ok())
        .unwrap_or_else(|| sizes.to_vec())
}

/// Returns the schedule for untuned sizes: the fastest of [`schedule::starts`] by the estimate.
pub fn default(problem: &Problem<'_>, sizes: &[u64]) -> Schedule {
    let starts = schedule::starts(problem, sizes);
    match starts.as_slice() {
        [only] => *only,
        starts => {
            let ranked = ranked(problem, sizes, starts);
            ranked.first().map_or(starts[0], |&(schedule, _)| schedule)
        }
    }
}
