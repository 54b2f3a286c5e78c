//! The messages between parent and worker.

use crate::tune::backend::{BackendError, Effort, Measured, OutputIndex};
use bincode::{Decode, Encode};
use energy_kernel_compiler::ir::Op;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::encoding::{Document, Invalid, Validate};
use energy_kernel_compiler::record::{CacheMode, DeviceClass};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Machine;
use std::time::{Duration, Instant};

/// The environment variable that is set for a worker.
pub(super) const VARIABLE: &str = "ENERGY_KERNEL_WORKER";

/// A request of the parent. The worker answers each with one reply.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) enum Request {
    /// Opens the first GPU. The first request.
    Open {
        /// The most candidates that a search tries.
        candidates: u64,
        /// The state of the L2 cache when a kernel starts.
        cache: CacheMode,
    },
    /// Sets the purpose of energy measurements.
    Effort(Effort),
    /// Begins an instance and drops the candidates of the one before.
    Begin {
        /// The operator.
        op: Op,
        /// The specialisation of the kernels.
        specialisation: Specialisation,
        /// All sizes.
        sizes: Vec<u64>,
        /// The seed of the inputs.
        seed: u64,
        /// The positions of inputs that are in the L2 cache.
        warm_inputs: Vec<u32>,
        /// The time left.
        time: Left,
    },
    /// Loads a candidate and runs it once.
    Load {
        /// The candidate.
        kernel: Kernel,
        /// The indices of the results to return.
        indices: Vec<OutputIndex>,
        /// The time left.
        time: Left,
    },
    /// Times a candidate.
    Latency {
        /// The candidate's number, by the worker's count.
        candidate: u64,
        /// The time left.
        time: Left,
    },
    /// Measures a candidate's energy.
    Energy {
        /// The candidate's number, by the worker's count.
        candidate: u64,
        /// Seconds per launch.
        latency: f64,
        /// The time left.
        time: Left,
    },
}

/// An answer of the worker.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) enum Reply {
    /// The worker serves. Sent once, unasked.
    Ready,
    /// To [`Request::Open`]. The error is the reason that no GPU can be used.
    Opened(Result<Opened, String>),
    /// To [`Request::Begin`] and [`Request::Effort`].
    Done(Result<(), BackendError>),
    /// To [`Request::Load`]: the candidate's number and its results.
    Loaded(Result<(u64, Vec<u64>), BackendError>),
    /// To [`Request::Latency`] and [`Request::Energy`].
    Measured(Result<Option<Measured>, BackendError>),
}

/// The properties of the GPU that the parent needs.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Opened {
    /// The GPU's class.
    pub device: DeviceClass,
    /// The GPU's UUID, if the driver reports it.
    pub uuid: Option<String>,
    /// The machine that kernels are compiled for.
    pub machine: Machine,
    /// The reason that energy cannot be measured. `None` if it can.
    pub without_energy: Option<String>,
}

/// The seconds left until a deadline. Processes share no clock.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub(super) struct Left(f64);

impl Left {
    pub fn until(deadline: Instant) -> Left {
        Left(deadline.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    pub fn deadline(self) -> Instant {
        let left = Duration::try_from_secs_f64(self.0).unwrap_or_default();
        let now = Instant::now();
        now.checked_add(left).unwrap_or(now)
    }
}

impl Document for Request {
    const KIND: [u8; 4] = *b"WREQ";
}

impl Document for Reply {
    const KIND: [u8; 4] = *b"WREP";
}

// Both ends are the same executable, and the worker checks the operator again.
impl Validate for Request {
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl Validate for Reply {
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}
