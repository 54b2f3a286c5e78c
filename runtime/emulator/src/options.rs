//! The options of a launch.

use std::time::Instant;

use crate::numerics::tensor::TensorCores;

/// Options of a launch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Look for [`Finding`](crate::Finding)s. A wrong access then does nothing (loads give 0) and the launch goes on;
    /// without the sanitizer it ends the launch with [`Error::Fault`](crate::Error::Fault). Multiplies the run time by
    /// a small factor.
    pub sanitize: bool,
    /// Fill [`Report::counts`](crate::Report::counts).
    pub count: bool,
    /// The number of host threads; `None` for as many as the host has.
    pub threads: Option<usize>,
    /// End the launch with [`Error::InstructionLimit`](crate::Error::InstructionLimit) after this many warp
    /// instructions, give or take a warp's turn on each host thread.
    pub instruction_limit: Option<u64>,
    /// End the launch with [`Error::Deadline`](crate::Error::Deadline) at this time, give or take a warp's turn on each
    /// host thread.
    pub deadline: Option<Instant>,
    /// Perturb the results of approximate instructions (`ex2.approx`, `rcp.approx`, …) by up to the error that the PTX
    /// manual allows, the same way in every run. Without it they are correctly rounded, which no GPU does.
    pub approx_error: bool,
    /// The GPU whose tensor cores matrix instructions imitate.
    pub tensor_cores: TensorCores,
}
