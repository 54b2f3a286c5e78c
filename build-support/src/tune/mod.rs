//! The tuner.
//!
//! ```text
//!   space ── sample ──▶ candidates ── lower ──▶ kernels ── check against the reference ──▶ right ones
//!                                                                                            │
//!          record ◀── Pareto front ◀── energy, of a few within the bound ◀─── latency, of all ┘
//!             │                             ▲
//!             │                  strategy ──┘ which few: it learns power from those measured (model)
//!             └─ every measured point is in the journal already: an interrupted tuning resumes
//! ```
//! What measures is a [`Meter`]: a GPU, the emulated device, or the replay of a [`trace`], which a sweep has recorded. What a run learns
//! of its device is [remembered](Memory), and expected of the operators and buckets that come later. Deterministic, given its
//! seed and its measurements.

#![allow(clippy::result_large_err, reason = "errors of a device are rare, and end the tuning")]

mod append;
mod compare;
mod data;
pub mod describe;
mod emulated;
mod evolve;
mod expected;
mod gpu;
#[cfg(all(test, target_os = "linux"))]
mod gpu_tests;
mod journal;
mod lowered;
mod meter;
pub mod model;
mod queue;
mod random;
mod replay;
#[cfg(test)]
mod replay_tests;
mod sample;
mod search;
#[cfg(test)]
mod search_tests;
pub mod strategy;
mod sweep;
#[cfg(test)]
mod testing;
pub mod trace;
mod watched;
mod worker;

pub use compare::{Comparison, LEAST_PAIRS, compare};
pub use data::Data;
pub use emulated::EmulatedMeter;
pub use energy_kernel::energy::Calibration;
pub use energy_kernel::simulate::Profile;
pub use expected::{Difference, Expected};
pub use gpu::GpuMeter;
pub use meter::{Effort, Measured, Meter, MeterError, Place, Problem};
pub use model::memory::Memory;
pub use replay::ReplayMeter;
pub use search::search;
pub use sweep::{Swept, sweep};
pub use worker::serve_if_asked;

use crate::Build;
use crate::scan::Found;
use crate::session::{Bench, Job, lock_of};
use energy_kernel_compiler::lang;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem;
use energy_kernel_compiler::record::{CacheMode, DeviceClass, Objective, Record, Rejected};
use energy_kernel_compiler::schedule::{self, Schedule};
use energy_kernel_compiler::size::Specialisation;
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};
use trace::{Recorder, Trace};
use watched::Watched;
use worker::{Remote, Start};

/// The most operations of an operator that anybody waits for on the emulated device.
pub const MOST_EMULATED_OPERATIONS: f64 = 1e11;

/// The time within which a calibration's load must have run once.
const CALIBRATION: Duration = Duration::from_secs(60);

/// How a tuner goes about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// What is looked for; it bounds whose energy is measured.
    pub objective: Objective,
    /// The seed of inputs and choices.
    pub seed: u64,
    /// Candidates that the emulated device tries for each bucket.
    pub emulated_candidates: usize,
    /// The most operations of an operator on the emulated device: it does some 10⁸ a second.
    pub emulated_operations: f64,
    /// The most candidates that a GPU tries for each bucket.
    pub candidates: usize,
    /// The most energies that are measured for each bucket; as many as the strategy asks for, where there is none.
    pub measurements: Option<NonZeroUsize>,
    /// Rounds of energy measurements without an improvement that end the search of a bucket.
    pub patience: usize,
    /// What the L2 cache of a GPU holds when a kernel starts.
    pub cache: CacheMode,
}

impl Settings {
    fn most_measurements(&self) -> usize {
        self.measurements.map_or(usize::MAX, NonZeroUsize::get)
    }
}

/// What a tuner is doing.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// Compiling, checking and timing a candidate.
    Candidate {
        /// From 0.
        number: usize,
        /// How many there are.
        of: usize,
        /// Which.
        schedule: &'a Schedule,
    },
    /// Measuring a candidate's energy.
    Energy {
        /// From 0.
        number: usize,
        /// How many there are.
        of: usize,
        /// Which.
        schedule: &'a Schedule,
    },
    /// Candidates run in this process, where a fault of one ends the tuning of all.
    NoWorker {
        /// Why.
        why: &'a str,
    },
    /// Energy cannot be measured at all.
    NoEnergy {
        /// Why.
        why: &'a str,
    },
    /// A candidate does not compete.
    Rejected {
        /// Which, and why.
        rejected: &'a Rejected,
    },
    /// A candidate's latency has been measured.
    Timed {
        /// Seconds a launch.
        seconds: f64,
    },
    /// A candidate's energy has been measured.
    Measured {
        /// Seconds a launch.
        seconds: f64,
        /// Joules a launch.
        joules: f64,
    },
    /// A measurement was written to the journal or the trace, so an interrupted tuning goes on after it.
    Kept,
    /// An event could not be written to the journal.
    NotKept {
        /// The error.
        why: &'a str,
    },
}

impl Build {
    /// How the tuner goes about it.
    pub fn settings(&self) -> Settings {
        Settings {
            objective: self.objective,
            seed: self.seed,
            emulated_candidates: self.candidates,
            emulated_operations: 1e9,
            candidates: 64,
            measurements: self.measurements,
            patience: self.patience.unwrap_or(strategy::Rule::default().patience),
            cache: CacheMode::Cold,
        }
    }
}

/// A device on which operators are tuned, or measured for others to tune on.
pub trait Laboratory: Bench {
    /// How many schedules of an operator there are for it at these sizes, and how many of them it would try.
    ///
    /// # Errors
    /// None, and why.
    fn schedules(&mut self, found: &Found, sizes: &[u64]) -> Result<(usize, usize), String>;

    /// [Records](sweep()) one bucket of one operator.
    ///
    /// # Errors
    /// Nothing can be measured or recorded, and why.
    fn sweep(&mut self, job: &Job<'_>, recorder: &mut Recorder) -> Result<Swept, String>;
}

/// A GPU where that is allowed and one is usable, else the emulated device where that is allowed.
///
/// # Errors
/// Neither is, and why the GPU is not.
pub fn open(
    gpu: bool,
    emulated: bool,
    settings: Settings,
    mut progress: impl FnMut(Step<'_>) + 'static,
) -> Result<Box<dyn Laboratory>, String> {
    let why = if gpu {
        match real(settings.candidates, settings.cache, &mut progress) {
            Ok(Real::Worker(meter)) => return Ok(Box::new(Tuner::new(*meter, settings, progress))),
            Ok(Real::Here(meter)) => return Ok(Box::new(Tuner::new(*meter, settings, progress))),
            Err(why) => why,
        }
    } else {
        "GPUs are not used under CI".to_owned()
    };
    if !emulated {
        return Err(why);
    }
    let meter = EmulatedMeter::new(
        Profile::Hopper,
        settings.emulated_candidates,
        settings.emulated_operations,
    );
    Ok(Box::new(Tuner::new(meter, settings, progress)))
}

/// The first GPU.
enum Real {
    /// Its candidates run in a process of their own.
    Worker(Box<Remote>),
    /// Its candidates run in this process.
    Here(Box<GpuMeter>),
}

/// Opens the first GPU, in a worker where this executable serves as one.
fn real(candidates: usize, cache: CacheMode, tell: &mut dyn FnMut(Step<'_>)) -> Result<Real, String> {
    let started = match worker::serves() {
        true => Remote::start(candidates, cache),
        false => Err(Start::NotServing(
            "the executable does not call `serve_if_asked`".to_owned(),
        )),
    };
    let meter = match started {
        Ok(remote) => Real::Worker(Box::new(remote)),
        Err(Start::NoGpu(why)) => return Err(why),
        Err(Start::NotServing(why)) => {
            let meter = GpuMeter::open(candidates)?.with_cache(cache);
            tell(Step::NoWorker { why: &why });
            Real::Here(Box::new(meter))
        }
    };
    let without_energy = match &meter {
        Real::Worker(meter) => meter.without_energy(),
        Real::Here(meter) => meter.without_energy(),
    };
    if let Some(why) = without_energy {
        tell(Step::NoEnergy { why });
    }
    Ok(meter)
}

/// The device that a trace was recorded on, which has what was measured then, and nothing else.
///
/// # Errors
/// The trace is not of one device that kernels can be made for.
pub fn replay(
    trace: Trace,
    settings: Settings,
    progress: impl FnMut(Step<'_>) + 'static,
) -> Result<Box<dyn Laboratory>, String> {
    let meter = ReplayMeter::new(trace, settings.candidates)?;
    Ok(Box::new(Tuner::new(meter, settings, progress)))
}

/// The number of lasting outcomes in the journal at this place; 0 where there is no journal.
pub fn journaled(path: &Path) -> usize {
    let (entries, _) = journal::read(path);
    entries.iter().filter(|entry| entry.event.lasts()).count()
}

/// How the energy counter of the first GPU behaves, also under a load that is switched on and off. Takes some 20 s.
///
/// # Errors
/// There is no GPU or no counter that can be used, and why.
pub fn calibrate() -> Result<Calibration, String> {
    // Reads and writes 64 MB a launch: some 30 µs.
    let text = "fn load(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] * 2.0 }";
    let item = text.parse().map_err(|error| format!("{error}"))?;
    let attribute = "tune(N = 8388608)".parse().map_err(|error| format!("{error}"))?;
    let parsed = lang::parse(attribute, item).map_err(|error| error.to_string())?;
    let checked = &parsed.variants.first().ok_or("no operator")?.checked;
    let sizes = [8_388_608];
    let specialisation = Specialisation::like(&sizes);
    let mut meter = GpuMeter::open(1)?;
    let machine = meter.machine();
    let schedule = schedule::default(&problem::Problem::new(checked, &specialisation, machine), &sizes);
    let kernel = lower(&problem::Problem::new(checked, &specialisation, machine), &schedule)
        .map_err(|error| error.to_string())?;
    let inputs = data::inputs(checked, &sizes, 0)?;
    let problem = Problem {
        checked,
        specialisation: &specialisation,
        sizes: &sizes,
        inputs: &inputs,
        seed: 0,
    };
    let calibrated = (|| {
        let deadline = Instant::now() + CALIBRATION;
        meter.begin(problem, deadline)?;
        let (candidate, _) = meter.load(problem, &kernel, &[], deadline)?;
        meter.calibrate(problem, &candidate)
    })();
    calibrated.map_err(|error: MeterError| error.to_string())
}

/// Compares, for each record, the kernel that the objective chooses with the fastest one: A B B A, so many pairs, windows of 5 s. On the first
/// GPU, or on the emulated device. None where both are the same, or where energy could not be measured in time.
///
/// # Errors
/// The device cannot be used, or is broken; why.
pub fn confirm(
    emulated: bool,
    records: &[(&Found, &Record)],
    settings: &Settings,
    pairs: usize,
    deadline: Instant,
) -> Result<Vec<Option<Comparison>>, String> {
    fn all<M: Meter>(
        mut meter: M,
        records: &[(&Found, &Record)],
        settings: &Settings,
        pairs: usize,
        deadline: Instant,
    ) -> Result<Vec<Option<Comparison>>, String> {
        let one = |(found, record): &(&Found, &Record)| {
            compare::confirm(&mut meter, found, record, settings, pairs, deadline)
        };
        records.iter().map(one).collect()
    }
    if emulated {
        let meter = EmulatedMeter::new(Profile::Hopper, 1, settings.emulated_operations);
        return all(meter, records, settings, pairs, deadline);
    }
    match real(1, settings.cache, &mut |_| ())? {
        Real::Worker(meter) => all(*meter, records, settings, pairs, deadline),
        Real::Here(meter) => all(*meter, records, settings, pairs, deadline),
    }
}

/// A meter with the search on top. It remembers what it measured: later searches of a run expect something from the beginning.
struct Tuner<M, P> {
    meter: M,
    settings: Settings,
    memory: Memory,
    progress: RefCell<P>,
}

impl<M: Meter, P: FnMut(Step<'_>)> Tuner<M, P> {
    fn new(meter: M, settings: Settings, progress: P) -> Tuner<M, P> {
        Tuner {
            meter,
            settings,
            memory: Memory::default(),
            progress: RefCell::new(progress),
        }
    }
}

impl<M: Meter, P: FnMut(Step<'_>)> Bench for Tuner<M, P> {
    fn device(&self) -> &DeviceClass {
        self.meter.device()
    }

    fn lock(&self) -> Option<String> {
        // Two GPUs of one class are measured at once. A replay measures nothing.
        let name = || self.meter.uuid().or_else(|| lock_of(self.device()));
        (!self.meter.is_recorded()).then(name).flatten()
    }

    fn tune(&mut self, job: &Job<'_>) -> Result<Record, String> {
        let progress = &self.progress;
        let mut meter = Watched {
            meter: &mut self.meter,
            progress,
        };
        search(&mut meter, job, &self.settings, &mut self.memory, &mut |step| {
            (progress.borrow_mut())(step)
        })
    }
}

impl<M: Meter, P: FnMut(Step<'_>)> Laboratory for Tuner<M, P> {
    fn schedules(&mut self, found: &Found, sizes: &[u64]) -> Result<(usize, usize), String> {
        let accepted = self.meter.accepts(&found.checked, sizes);
        accepted.map_err(|error| error.to_string())?;
        let mut space = schedule::space(&problem::Problem::new(
            &found.checked,
            &found.specialisation,
            self.meter.machine(),
        ));
        if self.meter.is_recorded() {
            let problem = Problem {
                checked: &found.checked,
                specialisation: &found.specialisation,
                sizes,
                inputs: &[],
                seed: self.settings.seed,
            };
            let soon = Instant::now();
            self.meter.begin(problem, soon).map_err(|error| error.to_string())?;
            space.retain(|schedule| self.meter.has(schedule));
        }
        Ok((space.len(), space.len().min(self.meter.most_candidates())))
    }

    fn sweep(&mut self, job: &Job<'_>, recorder: &mut Recorder) -> Result<Swept, String> {
        let progress = &self.progress;
        let mut meter = Watched {
            meter: &mut self.meter,
            progress,
        };
        sweep::sweep(&mut meter, job, &self.settings, recorder, &mut |step| {
            (progress.borrow_mut())(step)
        })
    }
}
