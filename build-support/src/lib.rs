//! The build script of a crate that uses energy-kernel.
//!
//! ```no_run
//! // build.rs
//! energy_kernel_build::run();
//! ```
//!
//! It finds the crate's `#[energy_kernel]` operators. For each size in their `tune(…)` it takes the newest result that
//! the crate ships (`energy-cache/`) or the user's cache holds. If there is none and a GPU is usable, it searches for the
//! kernel of least energy within a time budget. It compiles the results into bundles, which the attribute embeds.
//!
//! The variable `ENERGY_KERNEL` decides what happens if results are missing: `auto` (the default), `cached` (never
//! tune), `tune` (also where `auto` would not: under `CI`, for another target), `off` (embed nothing).
//! `ENERGY_KERNEL_CACHE_DIR` moves the user's cache to another absolute path.
//!
//! ```text
//!   source ──▶ operators ─┐
//!                         ├─ session: what is missing? ── queue ──▶ cache ──▶ bundle ──▶ OUT_DIR ──▶ the attribute
//!   cache ──▶ records ────┘                                 │
//!                                                           └─ tune (feature `tune`): search, cost model, measurement
//! ```
//! Invariant: no failure of a GPU, its driver, NVML or a cache breaks a build. The script warns instead, and the
//! operators concerned run untuned.

mod bench;
mod buckets;
mod build;
pub mod cache;
mod environment;
pub mod queue;
mod session;
pub mod slow;
mod source;
#[cfg(feature = "tune")]
pub mod tune;

pub use bench::{Bench, Job, StageResults};
pub use buckets::{Bucket, assumptions, buckets, cache_file, missing, names, unmeasured};
pub use build::{Build, LONGEST_BUDGET};
pub use cache::Lock;
pub use environment::Environment;
pub use session::policy::Policy;
pub use source::{manifest, scan, sources};

use std::io::Write;

/// Runs the build script with default settings.
pub fn run() {
    Build::new().run();
}

impl Build {
    /// Reads the environment and the sources, tunes if it may, writes bundles, and prints cargo's directives. Call it first in `main`: to
    /// tune on a GPU it starts the script once more, as the process in which candidates run.
    pub fn run(&self) {
        #[cfg(feature = "tune")]
        tune::serve_if_asked();
        let environment = Environment::of_process();
        let mut workshop = session::workshop::Own::new(self);
        let outcome = session::execute(self, &environment, &mut workshop);
        // The pipe may be closed.
        let _ = writeln!(std::io::stdout(), "{}", outcome.directives.join("\n"));
    }
}
