//! The messages between parent and worker.

use crate::tune::meter::{Effort, Measured, MeterError, Place};
use bincode::{Decode, Encode};
use energy_kernel_compiler::ir::Op;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::encoding::{Document, Invalid, Validate};
use energy_kernel_compiler::record::{CacheMode, DeviceClass};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Machine;
use std::time::{Duration, Instant};

/// A demand of the parent. Each is answered by one reply.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) enum Request {
    /// Opens the first GPU. The first request.
    Open {
        /// The most candidates that are worth trying.
        candidates: u64,
        /// What the L2 cache holds when a kernel starts.
        cache: CacheMode,
    },
    /// Sets what energies are measured for.
    Effort(Effort),
    /// Takes on a problem. Candidates of the one before are dropped.
    Begin {
        /// The operator.
        op: Op,
        /// What kernels are compiled to know.
        specialisation: Specialisation,
        /// All sizes.
        sizes: Vec<u64>,
        /// The seed of the inputs.
        seed: u64,
        /// Until when.
        time: Left,
    },
    /// Loads a candidate and runs it once.
    Load {
        /// The candidate.
        kernel: Kernel,
        /// The places of the results that are sent back.
        places: Vec<Place>,
        /// Until when.
        time: Left,
    },
    /// Times a candidate.
    Latency {
        /// Its number, by the worker's count.
        candidate: u64,
        /// Until when.
        time: Left,
    },
    /// Measures a candidate's energy.
    Energy {
        /// Its number, by the worker's count.
        candidate: u64,
        /// Seconds a launch.
        latency: f64,
        /// Until when.
        time: Left,
    },
}

/// An answer of the worker.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) enum Reply {
    /// The worker serves. Comes unasked, once.
    Ready,
    /// To [`Request::Open`]; else why no GPU can be used.
    Opened(Result<Opened, String>),
    /// To [`Request::Begin`] and [`Request::Effort`].
    Done(Result<(), MeterError>),
    /// To [`Request::Load`]: the candidate's number, and its results.
    Loaded(Result<(u64, Vec<u64>), MeterError>),
    /// To [`Request::Latency`] and [`Request::Energy`].
    Measured(Result<Option<Measured>, MeterError>),
}

/// What the parent must know of the GPU.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Opened {
    /// The GPU.
    pub device: DeviceClass,
    /// Its identity, where the driver tells.
    pub uuid: Option<String>,
    /// What kernels are compiled for.
    pub machine: Machine,
    /// Why energy cannot be measured; none where it can.
    pub without_energy: Option<String>,
}

/// The seconds left until a deadline: processes share no clock.
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

// Both ends are the same executable; `Checked` examines the operator anew.
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
