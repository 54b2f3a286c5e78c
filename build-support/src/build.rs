//! The settings of a build.

use crate::session::policy::Policy;
use energy_kernel_compiler::record::Objective;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// The longest budget: a year. It can be added to any time without overflow.
pub const LONGEST_BUDGET: Duration = Duration::from_secs(366 * 24 * 3600);

/// The settings of a build.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "nothing happens until `run` is called"]
pub struct Build {
    pub(crate) policy: Policy,
    pub(crate) budget: Duration,
    pub(crate) objective: Objective,
    pub(crate) or_emulated: bool,
    pub(crate) candidates: usize,
    pub(crate) measurements: Option<NonZeroUsize>,
    pub(crate) patience: Option<usize>,
    pub(crate) seed: u64,
    /// Cargo's folders if empty.
    pub(crate) source_dirs: Vec<PathBuf>,
    pub(crate) cache_dir: Option<PathBuf>,
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
            budget: Duration::from_secs(120),
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

    /// Sets what to do about missing results. The variable `ENERGY_KERNEL` overrides it.
    pub fn policy(mut self, policy: Policy) -> Build {
        self.policy = policy;
        self
    }

    /// Sets the most time that a build spends on tuning: 2 minutes by default, a year at most.
    pub fn budget(mut self, budget: Duration) -> Build {
        self.budget = budget.min(LONGEST_BUDGET);
        self
    }

    /// Sets the objective that chooses the embedded kernels: by default the least energy within 5 % of the lowest latency. The whole
    /// Pareto front is embedded, so a program may choose otherwise.
    pub fn objective(mut self, objective: Objective) -> Build {
        self.objective = match objective {
            Objective::Energy { slack } => Objective::Energy {
                slack: clean_slack(slack),
            },
            other => other,
        };
        self
    }

    /// Chooses the least energy among kernels no slower than (1 + `slack`) times the fastest.
    pub fn slack(self, slack: f64) -> Build {
        self.objective(Objective::Energy { slack })
    }

    /// Tunes on the emulated device if no GPU is usable, under `CI` too. It tries a small, fixed number of candidates. The results
    /// are simulated, and no real device uses them.
    pub fn or_emulated(mut self) -> Build {
        self.or_emulated = true;
        self
    }

    /// Sets how many candidates the emulated device tries for each bucket of an operator: 6 by default, at least 1.
    pub fn emulated_candidates(mut self, candidates: usize) -> Build {
        self.candidates = candidates.max(1);
        self
    }

    /// Limits the energy measurements of each bucket of an operator, to 1 at least. There is no limit by default.
    pub fn measurements(mut self, measurements: usize) -> Build {
        self.measurements = Some(NonZeroUsize::new(measurements).unwrap_or(NonZeroUsize::MIN));
        self
    }

    /// Sets how many rounds of energy measurements without an improvement end the search of a bucket: 16 by default.
    pub fn patience(mut self, rounds: usize) -> Build {
        self.patience = Some(rounds);
        self
    }

    /// Sets the seed of the tuner's choices: 0 by default.
    pub fn seed(mut self, seed: u64) -> Build {
        self.seed = seed;
        self
    }

    /// Sets the folders that hold the source, relative to the manifest. They replace cargo's folders and targets. Pass the same ones to
    /// `cargo energy-kernel` with `--source-dir`.
    pub fn source_dirs<P: Into<PathBuf>>(mut self, folders: impl IntoIterator<Item = P>) -> Build {
        self.source_dirs = folders.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the folder of the user's cache, an absolute path. By default it is `ENERGY_KERNEL_CACHE_DIR`, else the system's folder for
    /// caches.
    pub fn cache_dir(mut self, folder: impl Into<PathBuf>) -> Build {
        self.cache_dir = Some(folder.into());
        self
    }
}

/// A slack that is negative or not finite admits only the fastest kernel.
fn clean_slack(slack: f64) -> f64 {
    if slack.is_finite() { slack.max(0.0) } else { 0.0 }
}
