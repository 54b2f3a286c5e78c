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
//! Deterministic, given its seed and its measurements.

#![allow(clippy::result_large_err, reason = "errors of a device are rare, and end the tuning")]

mod data;
mod describe;
mod emulated;
mod expected;
mod gpu;
mod journal;
mod meter;
pub mod model;
mod random;
mod sample;
mod search;
#[cfg(test)]
mod search_tests;
pub mod strategy;
#[cfg(test)]
mod testing;
pub mod trace;

pub use data::Data;
pub use emulated::EmulatedMeter;
pub use energy_kernel::simulate::Profile;
pub use expected::Expected;
pub use gpu::GpuMeter;
pub use meter::{Measured, Meter, MeterError, Problem};
pub use search::search;

use crate::Build;
use crate::session::{Bench, Job};
use energy_kernel_compiler::record::{DeviceClass, Objective, Record};
use energy_kernel_compiler::schedule::Schedule;

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
        }
    }
}

/// A GPU where that is allowed and one is usable, else the emulated device where that is allowed.
///
/// # Errors
/// Neither is, and why the GPU is not.
pub fn open(
    gpu: bool,
    emulated: bool,
    settings: Settings,
    progress: impl FnMut(Step<'_>) + 'static,
) -> Result<Box<dyn Bench>, String> {
    let why = if gpu {
        match GpuMeter::open(settings.candidates) {
            Ok(meter) => {
                return Ok(Box::new(Tuner {
                    meter,
                    settings,
                    progress,
                }));
            }
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
    Ok(Box::new(Tuner {
        meter,
        settings,
        progress,
    }))
}

/// A meter with the search on top.
struct Tuner<M, P> {
    meter: M,
    settings: Settings,
    progress: P,
}

impl<M: Meter, P: FnMut(Step<'_>)> Bench for Tuner<M, P> {
    fn device(&self) -> &DeviceClass {
        self.meter.device()
    }

    fn tune(&mut self, job: &Job<'_>) -> Result<Record, String> {
        search(&mut self.meter, job, &self.settings, &mut self.progress)
    }
}
