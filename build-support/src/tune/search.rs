//! The search: candidates are compiled, checked, timed, and of those within the latency bound the promising ones have their energy measured.

use super::data::{Data, inputs};
use super::describe::vector;
use super::evolve::{evolve, most_like};
use super::expected::Expected;
use super::journal::{Entry, Event, Journal, Known, Subject};
use super::lowered::Candidates;
use super::meter::{Measured, Meter, MeterError, Problem};
use super::model::device::Described;
use super::model::memory::Memory;
use super::sample::{promising, sample};
use super::strategy::{self, Rule, Strategy};
use super::{Settings, Step};
use crate::session::Job;
use energy_kernel_compiler::estimate;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::problem;
use energy_kernel_compiler::record::{
    Estimate, Objective, PackedKernel, Point, Reason, Record, Rejected, Statistics, pareto_front,
};
use energy_kernel_compiler::schedule::{self, SPACE_VERSION, Schedule};
use energy_kernel_compiler::target::Machine;
use energy_kernel_compiler::tuning;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How much slower than the fastest a candidate may be to have its energy measured, where the objective does not say.
const EDP_BOUND: f64 = 1.5;

/// How many times as many schedules have their latency estimated as are tried. An estimate takes a millisecond, where the compiler is not
/// optimised tens of them.
const ESTIMATED: usize = 2;

/// A candidate is not tried again where the tuner has ended so many times while it ran.
const MOST_STARTS: usize = 2;

/// A candidate that competes.
pub(super) struct Timed<C> {
    schedule: Schedule,
    /// Seconds, as it was timed: candidates are ordered by it, also where the search resumes.
    latency: f64,
    /// Its latency is that of the window in which its energy was measured, where there is one.
    pub(super) point: Point,
    /// Still on the device; not where it was found in the journal.
    candidate: Option<C>,
    /// `true` if it failed after it was timed.
    pub(super) failed: bool,
    pub(super) kernel: Kernel,
}

/// Tunes one bucket of one operator. What is learnt of the device is remembered, and what was remembered is expected.
///
/// # Errors
/// No candidate could be measured, and why.
pub fn search<M: Meter>(
    meter: &mut M,
    job: &Job<'_>,
    settings: &Settings,
    memory: &mut Memory,
    progress: &mut dyn FnMut(Step<'_>),
) -> Result<Record, String> {
    let begun = Instant::now();
    let inputs = inputs_for(meter, job, settings)?;
    let mut search = Search::begin(meter, job, settings, &inputs)?;
    // Timing takes half of the time at most; what it leaves over goes to energy.
    let left = job.deadline.saturating_duration_since(Instant::now());
    let until = if search.meter.energy_is_free() {
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
        measured_at: search.meter.measured_at().unwrap_or_else(now),
        energy_measured: complete,
        space_version: SPACE_VERSION,
    })
}

/// What is chosen without a search, which therefore must not do worse: for what the tuned kernel knows of the sizes, and for what the untuned
/// one does. Where the space has not that schedule, the one most like it. One at least.
fn without_tuning(job: &Job<'_>, machine: Machine, space: &[Schedule]) -> Vec<Schedule> {
    let (checked, sizes) = (&job.found.checked, job.sizes);
    let untuned = tuning::untuned(checked, sizes);
    let near = estimate::near(checked, &untuned, sizes);
    let default = estimate::default(
        &problem::Problem::new(checked, &job.found.specialisation, machine),
        sizes,
    );
    let choices = [
        default,
        estimate::default(&problem::Problem::new(checked, &untuned, machine), &near),
    ];
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

/// What candidates are measured on, where they are run at all.
///
/// # Errors
/// The meter does not accept the operator at these sizes, or they are too large.
pub(super) fn inputs_for<M: Meter>(meter: &M, job: &Job<'_>, settings: &Settings) -> Result<Vec<Data>, String> {
    meter
        .accepts(&job.found.checked, job.sizes)
        .map_err(|error| error.to_string())?;
    match meter.is_recorded() {
        true => Ok(Vec::new()),
        false => inputs(&job.found.checked, job.sizes, settings.seed),
    }
}

/// Candidates of a problem on a device, and what is known of them.
pub(super) struct Search<'a, M> {
    pub(super) meter: &'a mut M,
    job: &'a Job<'a>,
    problem: Problem<'a>,
    pub(super) candidates: Vec<Schedule>,
    /// What is known of them without measuring.
    pub(super) known: Candidates<'a>,
    /// None where results were checked when they were recorded.
    expected: Option<Expected>,
    journal: Journal,
    statistics: Statistics,
    pub(super) rejected: Vec<Rejected>,
    last_problem: Option<String>,
}

impl<'a, M: Meter> Search<'a, M> {
    /// Chooses the candidates, and prepares the device.
    ///
    /// # Errors
    /// The device is broken, or the operator cannot run on these inputs.
    pub(super) fn begin(
        meter: &'a mut M,
        job: &'a Job<'a>,
        settings: &Settings,
        inputs: &'a [Data],
    ) -> Result<Search<'a, M>, String> {
        let (found, sizes) = (job.found, job.sizes);
        let expected = match meter.is_recorded() {
            true => None,
            false => Some(
                Expected::compute(&found.checked, sizes, inputs, settings.seed, job.limit)
                    .map_err(|error| error.to_string())?,
            ),
        };
        let problem = Problem {
            checked: &found.checked,
            specialisation: &found.specialisation,
            sizes,
            inputs,
            seed: settings.seed,
        };
        meter.begin(problem, job.limit).map_err(|error| error.to_string())?;
        let machine = meter.machine();
        let mut space = schedule::space(&problem::Problem::new(&found.checked, &found.specialisation, machine));
        space.retain(|schedule| meter.has(schedule));
        let most = meter.most_candidates();
        let estimated = most.saturating_mul(ESTIMATED);
        let first = without_tuning(job, machine, &space);
        let pool = sample(&space, &first, estimated, settings.seed);
        let mut known = Candidates::new(job, machine);
        // What was recorded is all there is, and nobody waits for it.
        let ranked: Vec<Schedule> = match meter.is_recorded() {
            true => Vec::new(),
            false => {
                // Of a larger space the others descend from what the estimate finds best in a sample.
                let first = match space.len() > estimated {
                    true => most.min(pool.len()),
                    false => pool.len(),
                };
                let ranked = evolve(&space, &pool[..first], estimated, settings.seed, |schedule| {
                    known.estimate(schedule)
                });
                ranked.into_iter().map(|(schedule, _)| schedule).collect()
            }
        };
        let candidates = promising(&pool, &ranked, most);
        known.keep(&candidates);
        Ok(Search {
            candidates,
            known,
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
            rejected: Vec::new(),
            last_problem: None,
        })
    }

    /// Why nothing was measured.
    pub(super) fn nothing(&self) -> String {
        let why = self.last_problem.as_deref();
        let why = why.unwrap_or("the time ended before anything was measured");
        match self.rejected.is_empty() {
            true => format!("no candidate could be measured: {why}"),
            false => format!(
                "no candidate could be measured ({}): {why}",
                Rejected::summary(&self.rejected)
            ),
        }
    }

    /// Compiles, checks and times candidates until then, the first whatever the time. Sorted by latency.
    fn time(&mut self, until: Instant, progress: &mut dyn FnMut(Step<'_>)) -> Vec<Timed<M::Candidate>> {
        let candidates = std::mem::take(&mut self.candidates);
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
            let Some(kernel) = self.compile(*schedule, progress) else {
                continue;
            };
            match self.time_one(*schedule, kernel, deadline, progress) {
                Ok(Some(one)) => timed.push(one),
                Ok(None) => {}
                Err(broken) => {
                    self.last_problem = Some(broken);
                    break;
                }
            }
        }
        timed.sort_by(|a, b| a.latency.total_cmp(&b.latency));
        timed
    }

    /// The kernel of a schedule; none where there is none, which would be a mistake of the space.
    pub(super) fn compile(&mut self, schedule: Schedule, progress: &mut dyn FnMut(Step<'_>)) -> Option<Kernel> {
        match self.known.kernel(&schedule) {
            Ok(kernel) => {
                self.statistics.compiled += 1;
                Some(kernel)
            }
            Err(error) => {
                self.reject(schedule, Reason::NotLowered, &error.to_string(), progress);
                None
            }
        }
    }

    /// None if it does not compete; an error if nothing can be measured any more.
    pub(super) fn time_one(
        &mut self,
        schedule: Schedule,
        kernel: Kernel,
        deadline: Instant,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> Result<Option<Timed<M::Candidate>>, String> {
        let subject = self.subject(schedule, PackedKernel::hash(&kernel));
        match self.journal.find(&subject) {
            Known::Nothing => {}
            Known::Started(times) if times < MOST_STARTS => {}
            Known::Started(times) => {
                let detail = format!("the tuner was ended {times} times while it ran");
                self.reject(schedule, Reason::Crashed, &detail, progress);
                return Ok(None);
            }
            Known::Rejected(reason, detail) => {
                self.reject(schedule, reason, &detail, progress);
                return Ok(None);
            }
            Known::Measured { first, last } => {
                self.statistics.timed += 1;
                return Ok(Some(Timed {
                    schedule,
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
                    program: schedule.into(),
                    kernel_hash: subject.kernel_hash,
                    latency: estimate,
                    energy: None,
                    conditions,
                };
                self.note(&subject, Event::Measured(Box::new(point.clone())), progress);
                Ok(Some(Timed {
                    schedule,
                    latency: estimate.mean,
                    point,
                    candidate: Some(candidate),
                    failed: false,
                    kernel,
                }))
            }
            Err(MeterError::Rejected { reason, detail }) => {
                self.note_rejected(&subject, reason, &detail, progress);
                self.reject(schedule, reason, &detail, progress);
                Ok(None)
            }
            Err(error) => {
                // The device failed, not the candidate: the start has an end.
                self.note_rejected(&subject, Reason::NotLaunched, &error.to_string(), progress);
                Err(error.to_string())
            }
        }
    }

    /// Runs a candidate, compares its results, and times it.
    fn try_one(&mut self, kernel: &Kernel, deadline: Instant) -> Result<(M::Candidate, Measured), MeterError> {
        let places = self.expected.as_ref().map_or(&[][..], Expected::places);
        let (candidate, results) = self.meter.load(self.problem, kernel, places, deadline)?;
        if let Some(expected) = &self.expected {
            let compared = expected.compare(&results);
            compared.map_err(|difference| MeterError::rejected(Reason::Wrong, difference))?;
        }
        let measured = self.meter.latency(self.problem, &candidate, self.job.deadline)?;
        Ok((candidate, measured))
    }

    /// Measures the energy of those that are fast enough: all where that is free, else those that the strategy asks for. Whether
    /// it came to its end.
    fn measure(
        &mut self,
        timed: &mut [Timed<M::Candidate>],
        settings: &Settings,
        memory: &mut Memory,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> bool {
        let Some(fastest) = timed.first().map(|one| one.latency) else {
            return false;
        };
        let is_free = self.meter.energy_is_free();
        let (bound, delay) = match settings.objective {
            _ if is_free => (f64::INFINITY, 0.0),
            Objective::Energy { slack } => (1.0 + slack, 0.0),
            Objective::Edp => (EDP_BOUND, 1.0),
            Objective::Latency => (1.0, 0.0),
        };
        let eligible = timed.partition_point(|one| one.latency <= bound * fastest);
        let eligible = &mut timed[..eligible];
        let described: Vec<Described> = (eligible.iter())
            .map(|one| self.known.describe(&one.schedule, one.latency))
            .collect();
        // Where all are measured nothing needs to be expected.
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

    /// Measures what the strategy asks for, until it is satisfied or a budget ends. Whether it ended as it was meant to. What was
    /// measured, in joules, comes with its number.
    fn follow(
        &mut self,
        strategy: &mut Strategy,
        eligible: &mut [Timed<M::Candidate>],
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
                // What the journal knows is not measured again: a resumed search goes the way that it had gone.
                if one.point.energy.is_none() {
                    // What costs nothing is taken even when the time has ended.
                    if Instant::now() >= self.job.deadline && !self.meter.energy_is_free() {
                        return false;
                    }
                    progress(Step::Energy {
                        number: measured.len(),
                        of,
                        schedule: &one.schedule,
                    });
                    if let Err(why) = self.measure_one(one, progress) {
                        self.last_problem = Some(why);
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
                // Half the 95 % interval is 1.96 standard deviations.
                strategy.observe(number, mean, interval / (1.96 * mean));
            }
        }
    }

    /// Measures one energy, where the meter can and time suffices. A candidate that turns out not to compete is marked.
    ///
    /// # Errors
    /// The device is broken.
    pub(super) fn measure_one(
        &mut self,
        one: &mut Timed<M::Candidate>,
        progress: &mut dyn FnMut(Step<'_>),
    ) -> Result<(), String> {
        let subject = self.subject(one.schedule, one.point.kernel_hash);
        let measured = match self.energy_of(one) {
            Ok(Some(measured)) => measured,
            Ok(None) => return Ok(()),
            Err(MeterError::Rejected { reason, detail }) => {
                one.failed = true;
                self.note_rejected(&subject, reason, &detail, progress);
                self.reject(one.schedule, reason, &detail, progress);
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        };
        one.point.energy = Some(measured.estimate);
        one.point.latency = measured.latency.unwrap_or(one.point.latency);
        // The energy's conditions are the stricter ones; the latency's launches are kept.
        let launches = one.point.conditions.launches;
        one.point.conditions = measured.conditions;
        one.point.conditions.launches = launches.max(one.point.conditions.launches);
        self.note(&subject, Event::Measured(Box::new(one.point.clone())), progress);
        Ok(())
    }

    fn energy_of(&mut self, one: &mut Timed<M::Candidate>) -> Result<Option<Measured>, MeterError> {
        let candidate = match &mut one.candidate {
            Some(candidate) => candidate,
            // It was timed before this run, and its results were compared then.
            none => {
                let (candidate, _) = self.meter.load(self.problem, &one.kernel, &[], self.job.limit)?;
                none.insert(candidate)
            }
        };
        (self.meter).energy(self.problem, candidate, one.latency, self.job.deadline)
    }

    fn subject(&self, schedule: Schedule, kernel_hash: [u8; 32]) -> Subject {
        Subject {
            fingerprint: self.job.found.fingerprint,
            device: self.meter.device().key(),
            sizes: self.job.sizes.to_vec(),
            program: schedule.into(),
            kernel_hash,
        }
    }

    /// Lists a candidate that does not compete, and tells.
    fn reject(&mut self, schedule: Schedule, reason: Reason, detail: &str, progress: &mut dyn FnMut(Step<'_>)) {
        self.last_problem = Some(format!("`{schedule}` rejected ({reason}): {detail}"));
        let rejected = Rejected::new(schedule, reason, detail);
        progress(Step::Rejected { rejected: &rejected });
        self.rejected.push(rejected);
    }

    fn note_rejected(&mut self, subject: &Subject, reason: Reason, detail: &str, progress: &mut dyn FnMut(Step<'_>)) {
        let detail = detail.to_owned();
        self.note(subject, Event::Rejected { reason, detail }, progress);
    }

    /// Appends an event to the journal. If that fails, the search goes on, and an interrupted one would repeat the measurement.
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
