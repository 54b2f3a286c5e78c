//! What an annotated crate's build script calls.
//!
//! ```no_run
//! // build.rs
//! energy_kernel_build::run();
//! ```
//!
//! It finds the crate's `#[energy_kernel]` operators, and for each size in their `tune(…)` takes the newest result that
//! the crate ships (`energy-cache/`) or the user's cache holds. Where there is none and a GPU is usable, it searches for the
//! kernel of least energy, within a time budget. The results are compiled into bundles, which the attribute embeds.
//!
//! The variable `ENERGY_KERNEL` decides what happens where results are missing: `auto` (the default), `cached` (never
//! tune), `tune` (also where `auto` would not: under `CI`, for another target), `off` (embed nothing).
//! `ENERGY_KERNEL_CACHE_DIR` moves the user's cache: an absolute path.
//!
//! ```text
//!   scan ──▶ operators ─┐
//!                       ├─ session: what is missing? ── tune ──▶ cache ──▶ bundle ──▶ OUT_DIR ──▶ the attribute
//!   cache ──▶ records ──┘
//! ```
//! Invariant: no failure of a GPU, its driver, NVML or a cache breaks a build. What goes wrong is a warning, and the
//! operators concerned run untuned.

mod bundle;
pub mod cache;
mod checkout;
mod editing;
mod environment;
mod locks;
pub mod manifest;
mod policy;
pub mod scan;
mod session;
#[cfg(test)]
mod session_tests;
pub mod sources;
mod stamp;
#[cfg(feature = "tune")]
pub mod tune;
mod watch;
mod workshop;

pub use environment::Environment;
pub use locks::Lock;
pub use policy::Policy;
pub use session::{
    Bench, Job, LONGEST_BUDGET, assumptions, buckets, cache_file, journal_path, missing, names, unmeasured,
};

use energy_kernel_compiler::record::Objective;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Does what a build script does, with default settings.
pub fn run() {
    Build::new().run();
}

/// The settings of a build.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "nothing happens until `run` is called"]
pub struct Build {
    policy: Policy,
    budget: Duration,
    objective: Objective,
    or_emulated: bool,
    candidates: usize,
    measurements: Option<NonZeroUsize>,
    patience: Option<usize>,
    seed: u64,
    /// None: cargo's.
    source_dirs: Vec<PathBuf>,
    cache_dir: Option<PathBuf>,
}

impl Default for Build {
    fn default() -> Build {
        Build::new()
    }
}

impl Build {
    /// Default settings.
    pub fn new() -> Build {
        Build {
            policy: Policy::Auto,
            budget: session::DEFAULT_BUDGET,
            objective: Objective::default(),
            or_emulated: false,
            candidates: 6,
            measurements: None,
            patience: None,
            seed: 0,
            source_dirs: Vec::new(),
            cache_dir: None,
        }
    }

    /// What to do about missing results. The variable `ENERGY_KERNEL` overrides it.
    pub fn policy(mut self, policy: Policy) -> Build {
        self.policy = policy;
        self
    }

    /// The most time a build spends on tuning: 2 minutes by default, a year at most.
    pub fn budget(mut self, budget: Duration) -> Build {
        self.budget = budget.min(session::LONGEST_BUDGET);
        self
    }

    /// What the embedded kernels are chosen for: the least energy within 5 % of the lowest latency, by default. The whole
    /// front is embedded; a program may choose otherwise.
    pub fn objective(mut self, objective: Objective) -> Build {
        self.objective = match objective {
            Objective::Energy { slack } => Objective::Energy {
                slack: clean_slack(slack),
            },
            other => other,
        };
        self
    }

    /// The least energy among kernels no slower than (1 + `slack`) times the fastest.
    pub fn slack(self, slack: f64) -> Build {
        self.objective(Objective::Energy { slack })
    }

    /// Where no GPU is usable, tunes a small fixed number of candidates on the emulated device, under `CI` too. What it
    /// finds is simulated, and stays with that device.
    pub fn or_emulated(mut self) -> Build {
        self.or_emulated = true;
        self
    }

    /// How many candidates the emulated device tries for each bucket of an operator: 6 by default, at least 1.
    pub fn emulated_candidates(mut self, candidates: usize) -> Build {
        self.candidates = candidates.max(1);
        self
    }

    /// The most energies that are measured for each bucket of an operator: as many as it takes, by default; at least 1.
    pub fn measurements(mut self, measurements: usize) -> Build {
        self.measurements = Some(NonZeroUsize::new(measurements).unwrap_or(NonZeroUsize::MIN));
        self
    }

    /// How many rounds of energy measurements may bring no improvement before the search of a bucket ends: 16 by default.
    pub fn patience(mut self, rounds: usize) -> Build {
        self.patience = Some(rounds);
        self
    }

    /// The seed of the tuner's choices: 0 by default.
    pub fn seed(mut self, seed: u64) -> Build {
        self.seed = seed;
        self
    }

    /// The folders that hold the source, relative to the manifest, instead of cargo's folders and targets. Tell `cargo energy-kernel` the same
    /// with `--source-dir`.
    pub fn source_dirs<P: Into<PathBuf>>(mut self, folders: impl IntoIterator<Item = P>) -> Build {
        self.source_dirs = folders.into_iter().map(Into::into).collect();
        self
    }

    /// The folder of the user's cache, an absolute path. By default the system's folder for caches, or `ENERGY_KERNEL_CACHE_DIR`.
    pub fn cache_dir(mut self, folder: impl Into<PathBuf>) -> Build {
        self.cache_dir = Some(folder.into());
        self
    }

    /// Does what a build script does: reads the environment and the sources, writes bundles, tells cargo. Call it first in `main`: where
    /// it tunes on a GPU, it starts the script once more, as the process in which candidates run.
    pub fn run(&self) {
        #[cfg(feature = "tune")]
        tune::serve_if_asked();
        let environment = Environment::of_process();
        let mut workshop = workshop::Own::new(self);
        let outcome = session::execute(self, &environment, &mut workshop);
        // Where nobody listens, nothing needs to be said.
        let _ = writeln!(std::io::stdout(), "{}", outcome.directives.join("\n"));
    }
}

/// A slack that is no number, or negative, admits the fastest kernel only.
fn clean_slack(slack: f64) -> f64 {
    if slack.is_finite() { slack.max(0.0) } else { 0.0 }
}
