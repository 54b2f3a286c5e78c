//! The search: candidates are compiled, checked, timed, and of those within the latency bound the promising ones have their energy measured.

use super::data::inputs;
use super::describe::features;
use super::expected::Expected;
use super::journal::{Entry, Journal};
use super::meter::{Measured, Meter, MeterError, Problem};
use super::sample::sample;
use super::strategy::{self, Rule, Strategy};
use super::{Settings, Step};
use crate::session::Job;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::record::{Estimate, Objective, PackedKernel, Point, Record, Statistics, pareto_front};
use energy_kernel_compiler::schedule::{self, Schedule};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How much slower than the fastest a candidate may be to have its energy measured, where the objective does not say.
const EDP_BOUND: f64 = 1.5;

/// A candidate that competes.
struct Timed<C> {
    schedule: Schedule,
    point: Point,
    /// Still on the device; not where it was found in the journal.
    candidate: Option<C>,
    kernel: Kernel,
}

/// Tunes one bucket of one operator.
///
/// # Errors
/// No candidate could be measured, and why.
pub fn search<M: Meter>(
    meter: &mut M,
    job: &Job<'_>,
    settings: &Settings,
    progress: &mut dyn FnMut(Step<'_>),
) -> Result<Record, String> {
    let begun = Instant::now();
    let (found, sizes) = (job.found, job.sizes);
    meter
        .accepts(&found.checked, sizes)
        .map_err(|error| error.to_string())?;
    let machine = meter.machine();
    let mut space = schedule::space(&found.checked, &found.specialisation, machine.target);
    space.retain(|schedule| meter.has(schedule));
    let default = schedule::default(&found.checked, &found.specialisation, sizes, machine);
    let default = match space.first() {
        Some(&first) if !meter.has(&default) => first,
        _ => default,
    };
    let candidates = sample(&space, default, meter.most_candidates(), settings.seed);
    let inputs = inputs(&found.checked, sizes, settings.seed)?;
    let expected = Expected::compute(&found.checked, sizes, &inputs, settings.seed, job.limit)
        .map_err(|error| error.to_string())?;
    let problem = Problem {
        checked: &found.checked,
        specialisation: &found.specialisation,
        sizes,
        inputs: &inputs,
        seed: settings.seed,
    };
    meter.begin(problem).map_err(|error| error.to_string())?;

    let mut search = Search {
        meter,
        job,
        problem,
        expected,
        journal: Journal::open(job.journal),
        statistics: Statistics {
            space: space.len() as u64,
            seed: settings.seed,
            ..Statistics::default()
        },
        last_problem: None,
    };
    // Timing takes half of the time at most; what it leaves over goes to energy.
    let left = job.deadline.saturating_duration_since(Instant::now());
    let until = if search.meter.energy_is_free() {
        job.deadline
    } else {
        job.deadline - left / 2
    };
    let mut timed = search.time(&candidates, until, progress);
    let complete = search.measure(&mut timed, settings.objective, progress);
    let front = pareto_front(timed.into_iter().map(|timed| timed.point).collect());
    if front.is_empty() {
        let why = search
            .last_problem
            .unwrap_or_else(|| "the time ended before anything was measured".to_owned());
        return Err(format!("no candidate could be measured: {why}"));
    }
    Ok(Record {
        sizes: sizes.to_vec(),
        specialisation: found.specialisation.clone(),
        front,
        statistics: Statistics {
            seconds: begun.elapsed().as_secs_f64(),
            ..search.statistics
        },
        measured_at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs()),
        energy_measured: complete,
    })
}

struct Search<'a, M> {
    meter: &'a mut M,
    job: &'a Job<'a>,
    problem: Problem<'a>,
    expected: Expected,
    journal: Journal,
    statistics: Statistics,
    last_problem: Option<String>,
}

impl<M: Meter> Search<'_, M> {
    /// Compiles, checks and times candidates until then, the first whatever the time. Sorted by latency.
    fn time(
        &mut self,
        candidates: &[Schedule],
        until: Instant,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> Vec<Timed<M::Candidate>> {
        let mut timed: Vec<Timed<M::Candidate>> = Vec::new();
        for (number, schedule) in candidates.iter().enumerate() {
            if number > 0 && Instant::now() >= until {
                break;
            }
            progress(Step::Candidate {
                number,
                of: candidates.len(),
                schedule,
            });
            // One result is worth the time of those that come after; another is not.
            let deadline = if timed.is_empty() {
                self.job.limit
            } else {
                self.job.deadline
            };
            match self.time_one(*schedule, deadline) {
                Ok(Some(one)) => timed.push(one),
                Ok(None) => {}
                Err(broken) => {
                    self.last_problem = Some(broken);
                    break;
                }
            }
        }
        timed.sort_by(|a, b| a.point.latency.mean.total_cmp(&b.point.latency.mean));
        timed
    }

    /// None if it does not compete; an error if nothing can be measured any more.
    fn time_one(&mut self, schedule: Schedule, deadline: Instant) -> Result<Option<Timed<M::Candidate>>, String> {
        let found = self.job.found;
        let target = self.meter.machine().target;
        let kernel = match lower(&found.checked, &found.specialisation, target, &schedule) {
            Ok(kernel) => kernel,
            Err(error) => return Ok(self.refuse(error.to_string())),
        };
        self.statistics.compiled += 1;
        let mut entry = Entry {
            fingerprint: found.fingerprint,
            device: self.meter.device().key(),
            sizes: self.job.sizes.to_vec(),
            schedule,
            kernel_hash: PackedKernel::hash(&kernel),
            point: None,
            wrong: false,
        };
        if let Some(noted) = self.journal.find(&entry) {
            self.statistics.wrong += u64::from(noted.wrong);
            self.statistics.timed += u64::from(noted.point.is_some());
            let point = noted.point.clone();
            return Ok(point.map(|point| Timed {
                schedule,
                point,
                candidate: None,
                kernel,
            }));
        }
        let (candidate, outputs) = match self.meter.load(self.problem, &kernel, deadline) {
            Ok(loaded) => loaded,
            Err(MeterError::Late(why)) => return Ok(self.refuse(why)),
            Err(MeterError::Broken(why)) => return Err(why),
            Err(MeterError::Refused(why)) => {
                self.note(entry);
                return Ok(self.refuse(why));
            }
        };
        if let Err(difference) = self.expected.compare(&outputs) {
            self.statistics.wrong += 1;
            entry.wrong = true;
            self.note(entry);
            return Ok(self.refuse(format!("`{schedule}` gives wrong results: {difference}")));
        }
        let Measured { estimate, conditions } = self
            .meter
            .latency(self.problem, &candidate, self.job.deadline)
            .map_err(|error| error.to_string())?;
        self.statistics.timed += 1;
        let point = Point {
            schedule,
            kernel_hash: entry.kernel_hash,
            latency: estimate,
            energy: None,
            conditions,
        };
        entry.point = Some(point.clone());
        self.note(entry);
        Ok(Some(Timed {
            schedule,
            point,
            candidate: Some(candidate),
            kernel,
        }))
    }

    /// Measures the energy of those that are fast enough: all where that is free, else those that the strategy asks for. Whether
    /// it came to its end.
    fn measure(
        &mut self,
        timed: &mut [Timed<M::Candidate>],
        objective: Objective,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> bool {
        let Some(fastest) = timed.first().map(|one| one.point.latency.mean) else {
            return false;
        };
        let is_free = self.meter.energy_is_free();
        let (bound, delay) = match objective {
            _ if is_free => (f64::INFINITY, 0.0),
            Objective::Energy { slack } => (1.0 + slack, 0.0),
            Objective::Edp => (EDP_BOUND, 1.0),
            Objective::Latency => (1.0, 0.0),
        };
        let eligible = timed.partition_point(|one| one.point.latency.mean <= bound * fastest);
        let eligible = &mut timed[..eligible];
        let candidates: Vec<strategy::Candidate> = (eligible.iter())
            .map(|one| strategy::Candidate {
                features: features(&one.kernel, self.job.sizes),
                latency: one.point.latency.mean,
                expected: 0.0,
            })
            .collect();
        let rule = Rule {
            delay,
            first: if is_free { eligible.len() } else { Rule::default().first },
            ..Rule::default()
        };
        let mut strategy = Strategy::new(&candidates, rule);
        loop {
            let round = strategy.next_round();
            if round.is_empty() {
                return true;
            }
            for number in round {
                let one = &mut eligible[number];
                // What the journal knows is not measured again: a resumed search goes the way that it had gone.
                if one.point.energy.is_none() {
                    // What costs nothing is taken even when the time has ended.
                    if Instant::now() >= self.job.deadline && !is_free {
                        return false;
                    }
                    progress(Step::Energy {
                        number: self.statistics.energy_measured as usize,
                        of: candidates.len(),
                        schedule: &one.schedule,
                    });
                    if let Err(why) = self.measure_one(one) {
                        self.last_problem = Some(why);
                        return false;
                    }
                }
                let Some(Estimate { mean, interval }) = one.point.energy else {
                    return false;
                };
                self.statistics.energy_measured += 1;
                // Half the 95 % interval is 1.96 standard deviations.
                strategy.observe(number, mean, interval / (1.96 * mean));
            }
        }
    }

    /// Measures one energy, where the meter can and time suffices.
    fn measure_one(&mut self, one: &mut Timed<M::Candidate>) -> Result<(), String> {
        let problem = self.problem;
        if one.candidate.is_none() {
            let (candidate, _) = self
                .meter
                .load(problem, &one.kernel, self.job.limit)
                .map_err(|error| error.to_string())?;
            one.candidate = Some(candidate);
        }
        let Some(candidate) = &one.candidate else {
            return Ok(());
        };
        let measured = self
            .meter
            .energy(problem, candidate, one.point.latency.mean, self.job.deadline)
            .map_err(|error| error.to_string())?;
        let Some(Measured { estimate, conditions }) = measured else {
            return Ok(());
        };
        one.point.energy = Some(estimate);
        // The energy's conditions are the stricter ones; the latency's launches are kept.
        let launches = one.point.conditions.launches;
        one.point.conditions = conditions;
        one.point.conditions.launches = launches.max(one.point.conditions.launches);
        self.note(Entry {
            fingerprint: self.job.found.fingerprint,
            device: self.meter.device().key(),
            sizes: self.job.sizes.to_vec(),
            schedule: one.schedule,
            kernel_hash: one.point.kernel_hash,
            point: Some(one.point.clone()),
            wrong: false,
        });
        Ok(())
    }

    fn refuse<T>(&mut self, why: String) -> Option<T> {
        self.last_problem = Some(why);
        None
    }

    /// A journal that cannot be written costs a resumption, and no more.
    fn note(&mut self, entry: Entry) {
        let _ = self.journal.note(entry);
    }
}
