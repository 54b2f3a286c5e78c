//! The tuner.
//!
//! ```text
//!   space ── sample ──▶ candidates ── lower ──▶ kernels ── check against the reference ──▶ correct ones
//!                                                                                            │
//!          record ◀── Pareto front ◀── energy, of a few within the bound ◀─── latency, of all ┘
//!             │                             ▲
//!             │                  strategy ──┘ which few: it learns power from those measured (model)
//!             └─ every measured point is in the journal already: an interrupted tuning resumes
//! ```
//! A [`Backend`] measures candidates: a GPU, the emulated device, or the replay of a [`trace`] that a sweep has recorded. A
//! [`Memory`] keeps what a run learns of its device, as the prior of later operators and buckets. The search is deterministic, given
//! its seed and its measurements.

#![allow(clippy::result_large_err, reason = "errors of a device are rare, and end the tuning")]

mod append;
mod backend;
mod busy;
mod calibrate;
mod compare;
mod confirm;
mod data;
pub mod describe;
mod emulated;
mod evolve;
mod expected;
mod first_gpu;
mod gpu;
#[cfg(all(test, target_os = "linux"))]
mod gpu_tests;
mod journal;
mod laboratory;
mod lowered;
pub mod model;
mod programs;
#[cfg(test)]
mod programs_tests;
mod random;
mod replay;
#[cfg(test)]
mod replay_tests;
mod sample;
mod search;
#[cfg(test)]
mod search_tests;
mod settings;
mod statistics;
mod step;
pub mod strategy;
mod sweep;
mod sweeping;
#[cfg(test)]
mod testing;
pub mod trace;
mod watched;
mod worker;
mod workload;

pub use backend::{Backend, BackendError, Effort, Instance, Measured, OutputIndex};
pub use calibrate::calibrate;
pub use compare::{Comparison, LEAST_PAIRS, compare};
pub use confirm::confirm;
pub use data::Data;
pub use emulated::{EmulatedBackend, MOST_EMULATED_OPERATIONS};
pub use energy_kernel::energy::Calibration;
pub use energy_kernel::simulate::Profile;
pub use expected::{Difference, Expected};
pub use gpu::GpuBackend;
pub use journal::journaled;
pub use laboratory::{Laboratory, open, replay};
pub use model::memory::Memory;
pub use programs::search;
pub use replay::ReplayBackend;
pub use settings::Settings;
pub use step::Step;
pub use sweep::{Swept, sweep};
pub use sweeping::Sweeping;
pub use worker::serve_if_asked;
