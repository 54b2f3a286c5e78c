//! The search of an operator that may run in several stages.
//!
//! ```text
//!   sets worth tuning ── split ──▶ stages ── search of each ──▶ fronts ── sums ──▶ a few programs ──▶ search of the whole
//!                                               │     ▲
//!                                               └─────┴─ results that operators of a package share
//! ```
//! A stage is tuned as an operator of its own. The sums of its stages' latencies and energies only choose the programs that are measured: every
//! point of the record was measured as a whole, beside programs of one stage.

use super::backend::Backend;
use super::model::memory::Memory;
use super::search::{First, search_after};
use super::settings::Settings;
use super::step::Step;
use crate::bench::Job;
use crate::cache::STAGE_OF;
use crate::source::scan::Found;
use energy_kernel_compiler::fingerprint;
use energy_kernel_compiler::kernel::MOST_WORKSPACE;
use energy_kernel_compiler::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{Objective, Point, Record, Rejected, Statistics};
use energy_kernel_compiler::schedule::{Program, Schedule};
use energy_kernel_compiler::stages::{self, StageOp};
use energy_kernel_compiler::target::Machine;
use std::time::Instant;

/// The most sets of stored values whose stages are tuned.
const MOST_SETS: usize = 4;

/// The most programs of several stages that are measured.
const MOST_PROGRAMS: usize = 8;

/// A set of stored values is tuned if its best program is at most so many times as slow as the best of all, by the estimate.
const SET_WITHIN: f64 = 1.5;

/// Programs of one stage are tuned if the best is at most so many times as slow as the best of all, by the estimate.
const LONE_WITHIN: f64 = 3.0;

/// The most points of a combined front.
const MOST_POINTS: usize = 32;

/// Tunes one bucket of one operator. `memory` gives it a prior of the device and takes what it measures.
///
/// # Errors
/// The reason that no candidate could be measured.
pub fn search<B: Backend>(
    backend: &mut B,
    job: &Job<'_>,
    settings: &Settings,
    memory: &mut Memory,
    progress: &mut dyn FnMut(Step<'_>),
) -> Result<Record, String> {
    let begun = Instant::now();
    let mut tuning = StageTuning::default();
    let mut first = First::default();
    let programs;
    // A trace holds programs of one stage.
    let worth = match backend.is_recorded() {
        true => Worth::default(),
        false => Worth::by_estimate(job, backend.machine()),
    };
    if !worth.programs.is_empty() {
        let accepted = backend.accepts(&job.found.checked, job.sizes);
        accepted.map_err(|error| error.to_string())?;
        let fronts = tuning.fronts(&worth, backend, job, settings, memory, progress);
        progress(Step::Whole);
        programs = sharing(
            chosen(&worth.programs[0], &fronts, settings.objective),
            job,
            backend.machine(),
        );
        first = First {
            programs: &programs,
            alone: !worth.lone,
        };
    }
    let mut record = search_after(backend, job, settings, first, memory, progress)?;
    tuning
        .statistics
        .iter()
        .for_each(|own| add(&mut record.statistics, own));
    record.statistics.seconds = begun.elapsed().as_secs_f64();
    record.rejected.extend(tuning.rejected);
    Ok(record)
}

/// The programs that are worth tuning, by the estimate.
#[derive(Default)]
struct Worth {
    /// The best program of each set of stored values, fastest first.
    programs: Vec<Program>,
    /// `true` if programs of one stage are worth tuning, too.
    lone: bool,
}

impl Worth {
    fn by_estimate(job: &Job<'_>, machine: Machine) -> Worth {
        let checked = &job.found.checked;
        if stages::sets(checked).is_empty() {
            return Worth::default();
        }
        let problem = Problem::new(checked, &job.found.specialisation, machine);
        let mut ranked = stages::ranked(&problem, job.sizes);
        ranked.retain(|(program, _)| stages::stored_bytes(checked, &program.stored, job.sizes) <= MOST_WORKSPACE);
        let best = ranked.first().map_or(0.0, |(_, seconds)| *seconds);
        let mut worth = Worth::default();
        for (program, seconds) in ranked {
            match program.lone() {
                Some(_) => worth.lone = seconds <= LONE_WITHIN * best,
                None if seconds <= SET_WITHIN * best && worth.programs.len() < MOST_SETS => {
                    worth.programs.push(program)
                }
                None => {}
            }
        }
        worth
    }
}

/// The tuning of an operator's stages, each once.
#[derive(Default)]
struct StageTuning {
    known: Vec<(Found, Option<Vec<Point>>)>,
    statistics: Vec<Statistics>,
    rejected: Vec<Rejected>,
}

impl StageTuning {
    /// Tunes all stages within half of the job's time. Returns the stored values and the combined front of each set whose stages all have
    /// results.
    fn fronts<B: Backend>(
        &mut self,
        worth: &Worth,
        backend: &mut B,
        job: &Job<'_>,
        settings: &Settings,
        memory: &mut Memory,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> Vec<(Vec<u32>, Vec<Combined>)> {
        let problem = Problem::new(&job.found.checked, &job.found.specialisation, backend.machine());
        let sets: Vec<(&Program, Vec<Found>)> = (worth.programs.iter())
            .filter_map(|program| {
                let split = lower::split(&problem, &program.stored)?;
                let found = split
                    .stages
                    .iter()
                    .map(|stage| found(stage, job))
                    .collect::<Option<_>>()?;
                Some((program, found))
            })
            .collect();
        for stage in sets.iter().flat_map(|(_, stages)| stages) {
            if !self.known.iter().any(|(known, _)| is_same(known, stage)) {
                self.known.push((stage.clone(), None));
            }
        }
        let of = self.known.len();
        let until = job.deadline - job.deadline.saturating_duration_since(Instant::now()) / 2;
        for number in 0..of {
            let time = until.saturating_duration_since(Instant::now()) / (of - number) as u32;
            let (stage, front) = &mut self.known[number];
            progress(Step::Stage { number, of });
            let own = Job {
                found: stage,
                sizes: &stage.buckets[0],
                deadline: Instant::now() + time,
                limit: job.deadline,
                ..*job
            };
            let device = backend.device().clone();
            let record = job.stages.and_then(|shared| shared.find(stage, own.sizes, &device));
            let record = match record {
                Some(record) => record,
                None => match search_after(backend, &own, settings, First::default(), memory, progress) {
                    Ok(record) => {
                        if let Some(shared) = job.stages {
                            shared.keep(stage, &device, &record);
                        }
                        self.statistics.push(record.statistics);
                        self.rejected.extend(record.rejected.iter().cloned());
                        record
                    }
                    // The sets with this stage are not tuned.
                    Err(_) => continue,
                },
            };
            *front = Some(record.front);
        }
        let front = |stage: &Found| {
            let known = self.known.iter().find(|(known, _)| is_same(known, stage));
            known.and_then(|(_, front)| front.as_deref())
        };
        let combined = sets.into_iter().filter_map(|(program, stages)| {
            let fronts = stages.iter().map(front).collect::<Option<Vec<_>>>()?;
            Some((program.stored.clone(), combined(&fronts)))
        });
        combined.collect()
    }
}

/// A stage as an operator to tune. `None` if it is too large for a fingerprint.
fn found(stage: &StageOp, job: &Job<'_>) -> Option<Found> {
    Some(Found {
        name: format!("{STAGE_OF}{}", job.found.name),
        checked: stage.checked.clone(),
        fingerprint: fingerprint::of_stage(stage).ok()?,
        buckets: vec![stage.sizes_at(job.sizes)],
        specialisation: stage.specialisation(&job.found.specialisation),
        assumed: Vec::new(),
        warm_inputs: stage.stored_inputs(),
        ..job.found.clone()
    })
}

/// `true` if two stages share a result.
fn is_same(a: &Found, b: &Found) -> bool {
    (a.fingerprint, &a.buckets, &a.specialisation) == (b.fingerprint, &b.buckets, &b.specialisation)
}

/// A schedule for each of several stages, with the sums of their figures.
#[derive(Debug, Clone, PartialEq)]
struct Combined {
    latency: f64,
    /// Infinite if an energy is unknown.
    energy: f64,
    stages: Vec<Schedule>,
}

/// Combines the fronts of stages to a front of their sums, fastest first.
fn combined(fronts: &[&[Point]]) -> Vec<Combined> {
    let nothing = Combined {
        latency: 0.0,
        energy: 0.0,
        stages: Vec::new(),
    };
    fronts.iter().fold(vec![nothing], |sums, front| {
        let points = front.iter().filter_map(|point| Some((point, *point.program.lone()?)));
        let points: Vec<(&Point, Schedule)> = points.collect();
        let with = |sum: &Combined, (point, schedule): &(&Point, Schedule)| Combined {
            latency: sum.latency + point.latency.mean,
            energy: sum.energy + point.energy.map_or(f64::INFINITY, |energy| energy.mean),
            stages: sum.stages.iter().chain([schedule]).copied().collect(),
        };
        let all = sums.iter().flat_map(|sum| points.iter().map(|point| with(sum, point)));
        thinned(best(all.collect()))
    })
}

/// The sums that no other one dominates, fastest first.
fn best(mut all: Vec<Combined>) -> Vec<Combined> {
    all.sort_by(|a, b| (a.latency.total_cmp(&b.latency)).then(a.energy.total_cmp(&b.energy)));
    let mut least = None;
    all.retain(|one| {
        let is_better = least.is_none_or(|least| one.energy < least);
        if is_better {
            least = Some(one.energy);
        }
        is_better
    });
    all
}

/// At most [`MOST_POINTS`] points of a front, both ends among them.
fn thinned(front: Vec<Combined>) -> Vec<Combined> {
    let last = front.len().saturating_sub(1);
    let kept = |position: usize| {
        let slot = |position: usize| position * (MOST_POINTS - 1) / last.max(1);
        position == 0 || position == last || slot(position) != slot(position - 1)
    };
    match front.len() > MOST_POINTS {
        true => (front.into_iter().enumerate())
            .filter(|(position, _)| kept(*position))
            .map(|(_, one)| one)
            .collect(),
        false => front,
    }
}

/// The programs to measure: `untuned`, the fastest of each set and the one that the objective chooses, then others of all fronts by rising
/// latency.
fn chosen(untuned: &Program, fronts: &[(Vec<u32>, Vec<Combined>)], objective: Objective) -> Vec<Program> {
    let program = |stored: &[u32], one: &Combined| Program {
        stored: stored.to_vec(),
        stages: one.stages.clone(),
    };
    let ends = fronts.iter().flat_map(|(stored, front)| {
        let fastest = front.first();
        let score = |one: &&Combined| match objective {
            Objective::Edp => one.energy * one.latency,
            Objective::Latency => one.latency,
            Objective::Energy { slack }
                if one.latency > (1.0 + slack) * fastest.map_or(f64::INFINITY, |fastest| fastest.latency) =>
            {
                f64::INFINITY
            }
            _ => one.energy,
        };
        let least = front.iter().min_by(|a, b| score(a).total_cmp(&score(b)));
        (fastest.into_iter().chain(least)).map(move |one| program(stored, one))
    });
    let mut rest: Vec<(&[u32], &Combined)> = (fronts.iter())
        .flat_map(|(stored, front)| front.iter().map(move |one| (stored.as_slice(), one)))
        .collect();
    rest.sort_by(|a, b| a.1.latency.total_cmp(&b.1.latency));
    let rest = rest.into_iter().map(|(stored, one)| program(stored, one));
    let mut chosen: Vec<Program> = Vec::new();
    for program in [untuned.clone()].into_iter().chain(ends).chain(rest) {
        if chosen.len() < MOST_PROGRAMS && !chosen.contains(&program) {
            chosen.push(program);
        }
    }
    chosen
}

/// The programs with such numbers of threads that stages share launches where that is faster by the estimate, each once.
fn sharing(programs: Vec<Program>, job: &Job<'_>, machine: Machine) -> Vec<Program> {
    let problem = Problem::new(&job.found.checked, &job.found.specialisation, machine);
    let shared = programs
        .into_iter()
        .map(|program| stages::sharing(&problem, program, job.sizes));
    let mut each: Vec<Program> = Vec::new();
    for program in shared {
        if !each.contains(&program) {
            each.push(program);
        }
    }
    each
}

/// Adds the counts of a stage's search to those of the whole.
fn add(whole: &mut Statistics, stage: &Statistics) {
    let predictions = [&*whole, stage].map(|own| own.predicted as f64);
    let errors = predictions[0] * whole.prediction_error + predictions[1] * stage.prediction_error;
    whole.prediction_error = errors / (predictions[0] + predictions[1]).max(1.0);
    whole.predicted += stage.predicted;
    whole.space = whole.space.saturating_add(stage.space);
    whole.compiled += stage.compiled;
    whole.timed += stage.timed;
    whole.energy_measured += stage.energy_measured;
}

#[cfg(test)]
mod tests {
    use super::super::testing::conditions;
    use super::*;
    use energy_kernel_compiler::record::Estimate;
    use energy_kernel_compiler::schedule::Plain;

    /// A front of points of `plain`: threads, latency, energy.
    fn front(points: &[(u32, f64, f64)]) -> Vec<Point> {
        let exactly = |mean| Estimate { mean, interval: 0.0 };
        let points = points.iter().map(|&(threads, latency, energy)| Point {
            program: Schedule::Plain(Plain { threads }).into(),
            kernel_hash: [0; 32],
            latency: exactly(latency),
            energy: energy.is_finite().then(|| exactly(energy)),
            conditions: conditions(),
        });
        points.collect()
    }

    fn figures(all: &[Combined]) -> Vec<(f64, f64)> {
        all.iter().map(|one| (one.latency, one.energy)).collect()
    }

    #[test]
    fn sums_that_another_one_dominates_are_dropped() {
        let (first, second) = (
            front(&[(32, 1.0, 8.0), (64, 4.0, 1.0)]),
            front(&[(128, 2.0, 8.0), (256, 3.0, 3.0)]),
        );
        let all = combined(&[&first, &second]);
        // (6, 9) is slower than (4, 11) and (7, 4), and needs more than the latter and less than the former.
        assert_eq!(figures(&all), [(3.0, 16.0), (4.0, 11.0), (6.0, 9.0), (7.0, 4.0)]);
        assert_eq!(
            all[1].stages.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["plain threads=32", "plain threads=256"]
        );
        let slow = front(&[(32, 1.0, 1.0)]);
        assert_eq!(figures(&combined(&[&slow, &slow, &slow])), [(3.0, 3.0)]);
    }

    #[test]
    fn unknown_energies_leave_the_fastest() {
        let (unknown, known) = (
            front(&[(32, 1.0, f64::INFINITY)]),
            front(&[(32, 1.0, 2.0), (64, 2.0, 1.0)]),
        );
        assert_eq!(figures(&combined(&[&unknown, &known])), [(2.0, f64::INFINITY)]);
    }

    #[test]
    fn a_long_front_keeps_its_ends() {
        let points: Vec<(u32, f64, f64)> = (0..200u32)
            .map(|n| (n + 1, f64::from(n + 1), 1000.0 - f64::from(n)))
            .collect();
        let all = combined(&[&front(&points)]);
        assert!((MOST_POINTS / 2..=MOST_POINTS).contains(&all.len()), "{}", all.len());
        assert_eq!((all[0].latency, all[all.len() - 1].latency), (1.0, 200.0));
    }

    #[test]
    fn few_programs_are_measured_and_each_set_is_among_them() {
        let points: Vec<(u32, f64, f64)> = (0..20u32)
            .map(|n| (n + 1, f64::from(n + 10), 100.0 - f64::from(n)))
            .collect();
        let front = front(&points);
        let fronts: Vec<(Vec<u32>, Vec<Combined>)> =
            (1..=3).map(|set| (vec![set], combined(&[&front, &front]))).collect();
        let untuned: Program = "store=9; plain threads=1; plain threads=2".parse().unwrap();
        let chosen = chosen(&untuned, &fronts, Objective::Energy { slack: 0.1 });
        assert_eq!((chosen.len(), &chosen[0]), (MOST_PROGRAMS, &untuned));
        for set in 1..=3 {
            let own: Vec<&Program> = chosen.iter().filter(|program| program.stored == [set]).collect();
            assert!(own.len() >= 2, "{chosen:?}");
            assert_eq!(own[0].stages, fronts[0].1[0].stages, "the fastest");
        }
    }
}
