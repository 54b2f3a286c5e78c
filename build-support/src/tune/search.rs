//! The search. It compiles, checks and times candidates, then measures the energy of promising ones within the latency bound.

use super::backend::{Backend, BackendError, Instance, Measured};
use super::data::{Data, inputs};
use super::describe::vector;
use super::evolve::{evolve, most_like};
use super::expected::Expected;
use super::journal::{Entry, Event, History, Journal, Subject};
use super::lowered::Candidates;
use super::model::device::Described;
use super::model::memory::Memory;
use super::sample::{promising, sample};
use super::settings::Settings;
use super::step::Step;
use super::strategy::{self, Rule, Strategy};
use crate::bench::Job;
use energy_kernel_compiler::estimate;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{
    Estimate, Objective, PackedKernel, Point, Reason, Record, Rejected, Statistics, pareto_front,
};
use energy_kernel_compiler::schedule::{self, Program, SPACE_VERSION, Schedule};
use energy_kernel_compiler::target::Machine;
use energy_kernel_compiler::tuning;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The largest latency, relative to the fastest, of a candidate whose energy is measured for the energy-delay product.
const EDP_BOUND: f64 = 1.5;

/// The number of schedules whose latency is estimated, for each that is tried. An estimate takes a millisecond, or tens of them in an
/// unoptimised build script.
const ESTIMATED: usize = 2;

/// The number of times that the tuner may have ended during a candidate before that is rejected.
const MOST_STARTS: usize = 2;

/// A candidate with correct results and a latency.
pub(super) struct Timed<C> {
    program: Program,
    /// Seconds, as first timed. A resumed search orders candidates by the same figure.
    latency: f64,
    /// After an energy measurement, the latency is that of its window.
    pub(super) point: Point,
    /// The candidate on the device. `None` if the figures are from the journal.
    candidate: Option<C>,
    /// `true` if it failed after it was timed.
    pub(super) failed: bool,
    pub(super) kernel: Kernel,
}

/// Programs that a search tries before all others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct First<'p> {
    /// The programs, of several stages.
    pub(super) programs: &'p [Program],
    /// `true` if programs of one stage are tried only if none of these can be measured.
    pub(super) alone: bool,
}

/// Measures `first`, and programs of one stage, for one bucket of one operator.
///
/// # Errors
/// The reason that no candidate could be measured.
pub(super) fn search_after<B: Backend>(
    backend: &mut B,
    job: &Job<'_>,
    settings: &Settings,
    first: First<'_>,
    memory: &mut Memory,
    progress: &mut dyn FnMut(Step<'_>),
) -> Result<Record, String> {
    let begun = Instant::now();
    let inputs = inputs_for(backend, job, settings)?;
    let mut search = Search::begin(backend, job, settings, &inputs, first)?;
    // Timing takes at most half of the time; the rest is for energy.
    let left = job.deadline.saturating_duration_since(Instant::now());
    let until = if search.backend.energy_is_free() {
        job.deadline
    } else {
        job.deadline - left / 2
    };
    let mut timed = search.time(until, progress);
    let complete = search.measure(&mut timed, settings, memory, progress);
    let right = timed.into_iter().filter(|timed| !timed.failed);
    let front = pareto_front(right.map(|timed| timed.point).collect());
    if front.is_empty() {
        return Err(search.nothing());
    }
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs())
    };
    Ok(Record {
        sizes: job.sizes.to_vec(),
        specialisation: job.found.specialisation.clone(),
        front,
        rejected: search.rejected,
        statistics: Statistics {
            seconds: begun.elapsed().as_secs_f64(),
            ..search.statistics
        },
        measured_at: search.backend.measured_at().unwrap_or_else(now),
        energy_measured: complete,
        space_version: SPACE_VERSION,
    })
}

/// The schedules that run without a search, for the specialisations of the tuned and the untuned kernel. The search tries them first, so
/// that it does no worse. If the space lacks a schedule, the most similar one stands for it. Returns at least one.
fn without_tuning(job: &Job<'_>, machine: Machine, space: &[Schedule]) -> Vec<Schedule> {
    let (checked, sizes) = (&job.found.checked, job.sizes);
    let untuned = tuning::untuned(checked, sizes);
    let near = estimate::near(checked, &untuned, sizes);
    let default = estimate::default(&Problem::new(checked, &job.found.specialisation, machine), sizes);
    let (_, untuned) = estimate::untuned(checked, &untuned, machine, &near);
    let choices = [default, untuned];
    let mut chosen: Vec<Schedule> = choices
        .into_iter()
        .filter_map(|choice| most_like(space, choice))
        .collect();
    chosen.dedup();
    if chosen.is_empty() {
        chosen.push(space.first().copied().unwrap_or(default));
    }
    chosen
}

/// The inputs that candidates are measured on. Empty for a replay.
///
/// # Errors
/// The backend refuses the operator at these sizes, or its tensors are too large.
pub(super) fn inputs_for<B: Backend>(backend: &B, job: &Job<'_>, settings: &Settings) -> Result<Vec<Data>, String> {
    backend
        .accepts(&job.found.checked, job.sizes)
        .map_err(|error| error.to_string())?;
    match backend.is_recorded() {
        true => Ok(Vec::new()),
        false => inputs(&job.found.checked, job.sizes, settings.seed),
    }
}

/// A search at work: the candidates of an instance on a device.
pub(super) struct Search<'a, B> {
    pub(super) backend: &'a mut B,
    job: &'a Job<'a>,
    instance: Instance<'a>,
    pub(super) candidates: Vec<Program>,
    /// The number of candidates that are tried even if an earlier one was measured.
    wanted: usize,
    /// Their kernels and features.
    pub(super) known: Candidates<'a>,
    /// `None` for a replay, whose results were checked when they were recorded.
    expected: Option<Expected>,
    journal: Journal,
    statistics: Statistics,
    pub(super) rejected: Vec<Rejected>,
    last_error: Option<String>,
}

impl<'a, B: Backend> Search<'a, B> {
    /// Chooses the candidates and prepares the device.
    ///
    /// # Errors
    /// The device is broken, or the operator cannot run on these inputs.
    pub(super) fn begin(
        backend: &'a mut B,
        job: &'a Job<'a>,
        settings: &Settings,
        inputs: &'a [Data],
        first: First<'_>,
    ) -> Result<Search<'a, B>, String> {
        let (found, sizes) = (job.found, job.sizes);
        let expected = match backend.is_recorded() {
            true => None,
            false => Some(
                Expected::compute(&found.checked, sizes, inputs, settings.seed, job.limit)
                    .map_err(|error| error.to_string())?,
            ),
        };
        let instance = Instance {
            checked: &found.checked,
            specialisation: &found.specialisation,
            sizes,
            inputs,
            seed: settings.seed,
            warm_inputs: &found.warm_inputs,
        };
        backend.begin(instance, job.limit).map_err(|error| error.to_string())?;
        let machine = backend.machine();
        let mut space = schedule::space(&Problem::new(&found.checked, &found.specialisation, machine));
        space.retain(|schedule| backend.has(schedule));
        let most = match first.alone {
            true => 1,
            false => backend.most_candidates(),
        };
        let estimated = most.saturating_mul(ESTIMATED);
        let untuned = without_tuning(job, machine, &space);
        let pool = sample(&space, &untuned, estimated, settings.seed);
        let mut known = Candidates::new(job, machine);
        // A replay tries everything that was recorded.
        let ranked: Vec<Schedule> = match backend.is_recorded() {
            true => Vec::new(),
            false => {
                // In a larger space, half of them are a sample, and the others descend from its best.
                let sampled = match space.len() > estimated {
                    true => most.min(pool.len()),
                    false => pool.len(),
                };
                let ranked = evolve(&space, &pool[..sampled], estimated, settings.seed, |schedule| {
                    known.estimate(schedule)
                });
                ranked.into_iter().map(|(schedule, _)| schedule).collect()
            }
        };
        let lone = promising(&pool, &ranked, most);
        known.keep(&lone);
        let candidates: Vec<Program> = (first.programs.iter().cloned())
            .chain(lone.iter().map(Program::from))
            .collect();
        Ok(Search {
            wanted: if first.alone {
                first.programs.len()
            } else {
                candidates.len()
            },
            candidates,
            known,
            backend,
            job,
            instance,
            expected,
            journal: Journal::open(job.journal),
            statistics: Statistics {
                space: space.len() as u64,
                seed: settings.seed,
                ..Statistics::default()
            },
            rejected: Vec::new(),
            last_error: None,
        })
    }

    /// The error if nothing was measured.
    pub(super) fn nothing(&self) -> String {
        let why = self.last_error.as_deref();
        let why = why.unwrap_or("the time ended before anything was measured");
        match self.rejected.is_empty() {
            true => format!("no candidate could be measured: {why}"),
            false => format!(
                "no candidate could be measured ({}): {why}",
                Rejected::summary(&self.rejected)
            ),
        }
    }

    /// Compiles, checks and times candidates until `until`, but one at least. Returns them by rising latency.
    fn time(&mut self, until: Instant, progress: &mut dyn FnMut(Step<'_>)) -> Vec<Timed<B::Candidate>> {
        let candidates = std::mem::take(&mut self.candidates);
        let mut timed: Vec<Timed<B::Candidate>> = Vec::new();
        for (number, program) in candidates.iter().enumerate() {
            let is_late = number > 0 && Instant::now() >= until;
            if is_late || (number >= self.wanted && !timed.is_empty()) {
                break;
            }
            progress(Step::Candidate {
                number,
                of: candidates.len(),
                program,
            });
            // The first result may take the time of later jobs.
            let deadline = if timed.is_empty() {
                self.job.limit
            } else {
                self.job.deadline
            };
            let Some(kernel) = self.compile(program, progress) else {
                continue;
            };
            match self.time_one(program, kernel, deadline, progress) {
                Ok(Some(one)) => timed.push(one),
                Ok(None) => {}
                Err(broken) => {
                    self.last_error = Some(broken);
                    break;
                }
            }
        }
        timed.sort_by(|a, b| a.latency.total_cmp(&b.latency));
        timed
    }

    /// The kernel of a program. A program without one is rejected: the space should not contain it.
    pub(super) fn compile(&mut self, program: &Program, progress: &mut dyn FnMut(Step<'_>)) -> Option<Kernel> {
        match self.known.kernel(program) {
            Ok(kernel) => {
                self.statistics.compiled += 1;
                Some(kernel)
            }
            Err(error) => {
                self.reject(program, Reason::NotLowered, &error.to_string(), progress);
                None
            }
        }
    }

    /// Times a candidate, or takes its figures from the journal. `None` if it is rejected.
    ///
    /// # Errors
    /// The device is broken.
    pub(super) fn time_one(
        &mut self,
        program: &Program,
        kernel: Kernel,
        deadline: Instant,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> Result<Option<Timed<B::Candidate>>, String> {
        let subject = self.subject(program, PackedKernel::hash(&kernel));
        match self.journal.find(&subject) {
            History::Nothing => {}
            History::Started(times) if times < MOST_STARTS => {}
            History::Started(times) => {
                let detail = format!("the tuner was ended {times} times while it ran");
                self.reject(program, Reason::Crashed, &detail, progress);
                return Ok(None);
            }
            History::Rejected(reason, detail) => {
                self.reject(program, reason, &detail, progress);
                return Ok(None);
            }
            History::Measured { first, last } => {
                self.statistics.timed += 1;
                return Ok(Some(Timed {
                    program: program.clone(),
                    latency: first,
                    point: *last,
                    candidate: None,
                    failed: false,
                    kernel,
                }));
            }
        }
        self.note(&subject, Event::Started, progress);
        match self.try_one(&kernel, deadline) {
            Ok((
                candidate,
                Measured {
                    estimate, conditions, ..
                },
            )) => {
                self.statistics.timed += 1;
                let point = Point {
                    program: program.clone(),
                    kernel_hash: subject.kernel_hash,
                    latency: estimate,
                    energy: None,
                    conditions,
                };
                self.note(&subject, Event::Measured(Box::new(point.clone())), progress);
                Ok(Some(Timed {
                    program: program.clone(),
                    latency: estimate.mean,
                    point,
                    candidate: Some(candidate),
                    failed: false,
                    kernel,
                }))
            }
            Err(BackendError::Rejected { reason, detail }) => {
                self.note_rejected(&subject, reason, &detail, progress);
                self.reject(program, reason, &detail, progress);
                Ok(None)
            }
            Err(error) => {
                // The device failed, not the candidate. This entry ends the start, so that it does not count.
                self.note_rejected(&subject, Reason::NotLaunched, &error.to_string(), progress);
                Err(error.to_string())
            }
        }
    }

    /// Runs a candidate, compares its results, and times it.
    fn try_one(&mut self, kernel: &Kernel, deadline: Instant) -> Result<(B::Candidate, Measured), BackendError> {
        let indices = self.expected.as_ref().map_or(&[][..], Expected::indices);
        let (candidate, results) = self.backend.load(self.instance, kernel, indices, deadline)?;
        if let Some(expected) = &self.expected {
            let compared = expected.compare(&results);
            compared.map_err(|difference| BackendError::rejected(Reason::Wrong, difference))?;
        }
        let measured = self.backend.latency(self.instance, &candidate, self.job.deadline)?;
        Ok((candidate, measured))
    }

    /// Measures the energy of candidates that are fast enough: all if that is free, else those that the strategy asks for. Returns `true` if
    /// no budget ended it.
    fn measure(
        &mut self,
        timed: &mut [Timed<B::Candidate>],
        settings: &Settings,
        memory: &mut Memory,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> bool {
        let Some(fastest) = timed.first().map(|one| one.latency) else {
            return false;
        };
        let is_free = self.backend.energy_is_free();
        let (bound, delay) = match settings.objective {
            _ if is_free => (f64::INFINITY, 0.0),
            Objective::Energy { slack } => (1.0 + slack, 0.0),
            Objective::Edp => (EDP_BOUND, 1.0),
            Objective::Latency => (1.0, 0.0),
            // A new objective may choose any candidate.
            _ => (f64::INFINITY, 0.0),
        };
        let eligible = timed.partition_point(|one| one.latency <= bound * fastest);
        let eligible = &mut timed[..eligible];
        let described: Vec<Described> = (eligible.iter())
            .map(|one| self.known.describe(&one.program, one.latency))
            .collect();
        // If all are measured, no prior is needed.
        let expected = match is_free {
            true => vec![0.0; described.len()],
            false => memory.expect(&described),
        };
        let candidates: Vec<strategy::Candidate> = (described.iter().zip(expected))
            .map(|(one, expected)| strategy::Candidate {
                features: vector(one),
                latency: one.latency,
                expected,
            })
            .collect();
        let rule = Rule::default();
        let mut strategy = Strategy::new(
            &candidates,
            Rule {
                delay,
                first: if is_free { eligible.len() } else { rule.first },
                patience: settings.patience,
                ..rule
            },
        );
        let mut measured = Vec::new();
        let complete = self.follow(&mut strategy, eligible, settings, &mut measured, progress);
        memory.note(
            measured
                .iter()
                .map(|&(number, energy)| (described[number].clone(), energy)),
        );
        complete
    }

    /// Measures what the strategy asks for. Returns `true` if the strategy was satisfied or the limit of measurements was reached, `false`
    /// if the time ended. Adds the joules of each measured candidate, by its number.
    fn follow(
        &mut self,
        strategy: &mut Strategy,
        eligible: &mut [Timed<B::Candidate>],
        settings: &Settings,
        measured: &mut Vec<(usize, f64)>,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> bool {
        let of = settings.most_measurements().min(eligible.len());
        loop {
            let round = strategy.next_round();
            if round.is_empty() {
                return true;
            }
            for number in round {
                if measured.len() >= settings.most_measurements() {
                    return true;
                }
                let one = &mut eligible[number];
                // Energies in the journal are not measured again, so a resumed search takes the same course.
                if one.point.energy.is_none() {
                    // Free energies are taken even after the deadline.
                    if Instant::now() >= self.job.deadline && !self.backend.energy_is_free() {
                        return false;
                    }
                    progress(Step::Energy {
                        number: measured.len(),
                        of,
                        program: &one.program,
                    });
                    if let Err(why) = self.measure_one(one, progress) {
                        self.last_error = Some(why);
                        return false;
                    }
                }
                if one.failed {
                    strategy.exclude(number);
                    continue;
                }
                let Some(Estimate { mean, interval }) = one.point.energy else {
                    return false;
                };
                self.statistics.energy_measured += 1;
                if let Some(expected) = strategy.expects(number) {
                    let (before, error) = (self.statistics.predicted as f64, (expected / mean - 1.0).abs());
                    self.statistics.prediction_error =
                        (self.statistics.prediction_error * before + error) / (before + 1.0);
                    self.statistics.predicted += 1;
                }
                measured.push((number, mean));
                // Half the width of the 95 % interval is 1.96 standard deviations.
                strategy.observe(number, mean, interval / (1.96 * mean));
            }
        }
    }

    /// Measures one energy if the backend can and there is time. Marks a candidate that fails.
    ///
    /// # Errors
    /// The device is broken.
    pub(super) fn measure_one(
        &mut self,
        one: &mut Timed<B::Candidate>,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> Result<(), String> {
        let subject = self.subject(&one.program, one.point.kernel_hash);
        let measured = match self.energy_of(one) {
            Ok(Some(measured)) => measured,
            Ok(None) => return Ok(()),
            Err(BackendError::Rejected { reason, detail }) => {
                one.failed = true;
                self.note_rejected(&subject, reason, &detail, progress);
                self.reject(&one.program, reason, &detail, progress);
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        };
        one.point.energy = Some(measured.estimate);
        one.point.latency = measured.latency.unwrap_or(one.point.latency);
        // Keep the conditions of the energy, which are stricter, and the larger number of launches.
        let launches = one.point.conditions.launches;
        one.point.conditions = measured.conditions;
        one.point.conditions.launches = launches.max(one.point.conditions.launches);
        self.note(&subject, Event::Measured(Box::new(one.point.clone())), progress);
        Ok(())
    }

    fn energy_of(&mut self, one: &mut Timed<B::Candidate>) -> Result<Option<Measured>, BackendError> {
        let candidate = match &mut one.candidate {
            Some(candidate) => candidate,
            // An earlier run has timed it and compared its results.
            none => {
                let (candidate, _) = self.backend.load(self.instance, &one.kernel, &[], self.job.limit)?;
                none.insert(candidate)
            }
        };
        (self.backend).energy(self.instance, candidate, one.latency, self.job.deadline)
    }

    fn subject(&self, program: &Program, kernel_hash: [u8; 32]) -> Subject {
        Subject {
            fingerprint: self.job.found.fingerprint,
            device: self.backend.device().key(),
            sizes: self.job.sizes.to_vec(),
            program: program.clone(),
            kernel_hash,
        }
    }

    /// Lists a rejected candidate and reports it.
    fn reject(&mut self, program: &Program, reason: Reason, detail: &str, progress: &mut dyn FnMut(Step<'_>)) {
        self.last_error = Some(format!("`{program}` rejected ({reason}): {detail}"));
        let rejected = Rejected::new(program, reason, detail);
        progress(Step::Rejected { rejected: &rejected });
        self.rejected.push(rejected);
    }

    fn note_rejected(&mut self, subject: &Subject, reason: Reason, detail: &str, progress: &mut dyn FnMut(Step<'_>)) {
        let detail = detail.to_owned();
        self.note(subject, Event::Rejected { reason, detail }, progress);
    }

    /// Appends an event to the journal. If that fails, the search continues, but an interrupted one will repeat the measurement.
    fn note(&mut self, subject: &Subject, event: Event, progress: &mut dyn FnMut(Step<'_>)) {
        let measured = matches!(event, Event::Measured(_));
        let subject = subject.clone();
        match self.journal.note(Entry { subject, event }) {
            Ok(true) if measured => progress(Step::Kept),
            Ok(_) => {}
            Err(error) => progress(Step::NotKept {
                why: &error.to_string(),
            }),
        }
    }
}
