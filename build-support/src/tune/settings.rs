//! The settings of a search.

use super::strategy::Rule;
use crate::build::Build;
use energy_kernel_compiler::record::{CacheMode, Objective};
use std::num::NonZeroUsize;

/// The settings of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The objective. It bounds the latency of candidates whose energy is measured.
    pub objective: Objective,
    /// The seed of inputs and choices.
    pub seed: u64,
    /// The number of candidates that the emulated device tries for each bucket.
    pub emulated_candidates: usize,
    /// The most operations of an operator on the emulated device, which does some 10⁸ per second.
    pub emulated_operations: f64,
    /// The most candidates that a GPU tries for each bucket.
    pub candidates: usize,
    /// The most energy measurements for each bucket. `None` for as many as the strategy asks for.
    pub measurements: Option<NonZeroUsize>,
    /// The rounds of energy measurements without an improvement that end the search of a bucket.
    pub patience: usize,
    /// The state of a GPU's L2 cache when a kernel starts.
    pub cache: CacheMode,
}

impl Settings {
    pub(super) fn most_measurements(&self) -> usize {
        self.measurements.map_or(usize::MAX, NonZeroUsize::get)
    }
}

impl Build {
    /// The settings of a build's searches.
    pub fn settings(&self) -> Settings {
        Settings {
            objective: self.objective,
            seed: self.seed,
            emulated_candidates: self.candidates,
            emulated_operations: 1e9,
            candidates: 64,
            measurements: self.measurements,
            patience: self.patience.unwrap_or(Rule::default().patience),
            cache: CacheMode::Cold,
        }
    }
}
