//! The launches of a program: neighbouring stages that need nothing of each other may share one.

use super::{Origin, Split};
use crate::schedule::{Keep, Schedule};
use std::ops::Range;

/// Returns the stages of each launch, in order. Neighbours share a launch if none reads what another one stores, and neither takes the
/// other's place on a multiprocessor: as many threads a block, and a like demand for registers and shared memory.
pub fn launches(split: &Split, schedules: &[Schedule]) -> Vec<Range<usize>> {
    let each: Vec<_> = schedules.iter().map(demand).collect();
    grouped(split, &each)
}

/// Returns the stages of each launch if all stages that may share one had as many threads a block.
pub(super) fn most_shared(split: &Split, schedules: &[Schedule]) -> Vec<Range<usize>> {
    let each: Vec<_> = schedules.iter().map(|schedule| Some(demand(schedule)?.0)).collect();
    grouped(split, &each)
}

/// Returns the number of launches if only what stages read of each other keeps them apart.
pub(super) fn least_launches(split: &Split) -> usize {
    grouped(split, &vec![Some(()); split.stages.len()]).len()
}

/// The demand of a stage for registers and shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// A few elements a thread.
    Elements,
    /// Rows in registers.
    Rows,
}

/// The demand of a schedule whose stage may share a launch, and the threads of a block.
fn demand(schedule: &Schedule) -> Option<(Demand, u32)> {
    match schedule {
        Schedule::Plain(point) => Some((Demand::Elements, point.threads)),
        Schedule::Pointwise(point) => Some((Demand::Elements, point.threads)),
        Schedule::Row(point) if point.keep != Keep::Shared => Some((Demand::Rows, point.threads * point.rows)),
        _ => None,
    }
}

/// The threads a block of a schedule whose stage may share a launch.
pub(super) fn threads(schedule: &Schedule) -> Option<u32> {
    demand(schedule).map(|(_, threads)| threads)
}

/// The schedule with so many threads a block, if its stage may share a launch.
pub(super) fn with_threads(schedule: &Schedule, threads: u32) -> Schedule {
    let mut schedule = *schedule;
    match &mut schedule {
        Schedule::Plain(point) => point.threads = threads,
        Schedule::Pointwise(point) => point.threads = threads,
        Schedule::Row(point) if threads.is_multiple_of(point.threads) => point.rows = threads / point.threads,
        _ => {}
    }
    schedule
}

/// Neighbours with equal keys that read nothing of each other.
fn grouped<Key: PartialEq>(split: &Split, keys: &[Option<Key>]) -> Vec<Range<usize>> {
    let mut launches: Vec<Range<usize>> = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let shared = launches.last_mut().filter(|last| {
            let reads = |origin: &Origin| matches!(origin, Origin::Stored(position) if last.contains(position));
            key.is_some() && keys[last.start] == *key && !split.stages[number].inputs.iter().any(reads)
        });
        match shared {
            Some(last) => last.end = number + 1,
            None => launches.push(number..number + 1),
        }
    }
    launches
}
