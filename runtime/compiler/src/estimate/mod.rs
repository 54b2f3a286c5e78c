//! An estimate of a kernel's latency and energy. Nothing here is measured.
//!
//! [`Work`] is what a launch does: from the features of a kernel, or from counts of an emulated run. `cost` makes seconds and joules of it.
//! The estimate ranks schedules before anything is measured.

mod cost;
mod tile_grid;
mod work;

use cost::DRAM_REACHED;
pub use cost::Unit;
pub use tile_grid::TileGrid;
pub use work::Work;

use crate::check::Checked;
use crate::datasheet::Datasheet;
use crate::families;
use crate::features::{self, Features};
use crate::problem::Problem;
use crate::schedule::{self, Schedule};
use crate::size::{Extent, Specialisation};
use crate::target::Machine;

/// Returns the estimated seconds of a launch.
pub fn latency(features: &Features, sheet: &Datasheet) -> f64 {
    Work::of(features).seconds(sheet)
}

/// Returns the seconds that any launch of an operator takes by the estimate, without lowering one: those of the launch and of its compulsory
/// traffic of device memory.
pub fn least(checked: &Checked, sizes: &[u64], sheet: &Datasheet) -> f64 {
    let bytes = features::compulsory_bytes(checked, sizes).likely;
    sheet.launch_s + bytes / (DRAM_REACHED * sheet.dram_bandwidth)
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
        starts => fastest(problem, sizes, starts).map_or(starts[0], |(schedule, _)| schedule),
    }
}

/// Returns the schedule for untuned sizes without workspace: the fastest of [`schedule::starts`] without split-K by the estimate.
pub fn unshared(problem: &Problem<'_>, sizes: &[u64]) -> Schedule {
    let mut starts = schedule::starts(problem, sizes);
    starts.retain(|start| start.split_k() == 1);
    fastest(problem, sizes, &starts).map_or_else(|| families::plain(problem, sizes), |(schedule, _)| schedule)
}

/// Returns the schedule of the untuned kernel for these sizes, which are [`near`] those of a call, and what the kernel knows of calls. That is
/// the given specialisation, or a narrower one with upper bounds of sizes, if that makes a faster schedule legal.
pub fn untuned(
    checked: &Checked,
    specialisation: &Specialisation,
    machine: Machine,
    sizes: &[u64],
) -> (Specialisation, Schedule) {
    let problem = Problem::new(checked, specialisation, machine);
    let schedule = default(&problem, sizes);
    let mut bounded = specialisation.clone();
    for size in families::bounded(&problem, &schedule) {
        let extent = &mut bounded.extents[size.index()];
        // Derived sizes may exceed those of rounded sizes.
        if let Extent::Any { multiple_of } = *extent
            && checked.op().sizes[size.index()].definition.is_none()
        {
            let most = sizes[size.index()];
            *extent = Extent::AtMost { multiple_of, most };
        }
    }
    if bounded == *specialisation {
        return (bounded, schedule);
    }
    let other = Problem::new(checked, &bounded, machine);
    let rival = fastest(&other, sizes, &schedule::starts(&other, sizes));
    let seconds = fastest(&problem, sizes, &[schedule]).map_or(f64::INFINITY, |(_, seconds)| seconds);
    match rival {
        Some((rival, faster)) if faster < seconds => (bounded, rival),
        _ => (specialisation.clone(), schedule),
    }
}

fn fastest(problem: &Problem<'_>, sizes: &[u64], schedules: &[Schedule]) -> Option<(Schedule, f64)> {
    ranked(problem, sizes, schedules).into_iter().next()
}
