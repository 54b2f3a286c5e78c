//! The interface of devices that measure candidates, and of the instances that they measure.

use super::data::Data;
use bincode::{Decode, Encode};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::{Conditions, DeviceClass, Estimate, Reason};
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Machine;
use std::time::Instant;

/// An operator at a size, with the inputs that all candidates are measured on.
#[derive(Debug, Clone, Copy)]
pub struct Instance<'a> {
    /// The operator.
    pub checked: &'a Checked,
    /// The specialisation of the kernels.
    pub specialisation: &'a Specialisation,
    /// All sizes.
    pub sizes: &'a [u64],
    /// The values of the operator's inputs.
    pub inputs: &'a [Data],
    /// The seed of the inputs.
    pub seed: u64,
    /// The positions of inputs that an earlier launch of a program has just written, so that they are in the L2 cache.
    pub warm_inputs: &'a [u32],
}

/// A figure and its conditions.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Measured {
    /// Seconds or joules per launch.
    pub estimate: Estimate,
    /// The conditions during the measurement.
    pub conditions: Conditions,
    /// Seconds per launch in the window of an energy measurement. `None` without a window.
    pub latency: Option<Estimate>,
}

/// The index of an element of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct OutputIndex {
    /// The output's number.
    pub output: u32,
    /// The element's row-major position.
    pub position: u64,
}

/// The reason that a candidate has no figure.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum BackendError {
    /// The candidate was rejected; the device works on.
    #[error("{reason}: {detail}")]
    Rejected {
        /// The kind of failure.
        reason: Reason,
        /// The error as text.
        detail: String,
    },
    /// The device cannot measure this instance: its tensors are too large, or the trace does not hold it.
    #[error("{0}")]
    Unfit(String),
    /// The device no longer works, and can measure nothing else.
    #[error("{0}")]
    Broken(String),
}

impl BackendError {
    /// A rejected candidate.
    pub(crate) fn rejected(reason: Reason, detail: impl ToString) -> BackendError {
        BackendError::Rejected {
            reason,
            detail: detail.to_string(),
        }
    }
}

/// The purpose of energy measurements, which sets their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum Effort {
    /// Choosing among candidates: windows of at least 2 s.
    #[default]
    Search,
    /// Publication: windows of at least 5 s.
    Claim,
}

/// Measures candidates on a device.
pub trait Backend {
    /// A candidate on the device.
    type Candidate;

    /// The device's class.
    fn device(&self) -> &DeviceClass;

    /// The UUID of the GPU, `GPU-…`. `None` if it is unknown, or if there is no GPU.
    fn uuid(&self) -> Option<String> {
        None
    }

    /// The machine that kernels are compiled for.
    fn machine(&self) -> Machine;

    /// The most candidates that a search tries.
    fn most_candidates(&self) -> usize;

    /// `true` if measuring energy costs nothing. Then the energy of all candidates is measured.
    fn energy_is_free(&self) -> bool;

    /// `true` if its measurements were recorded, and results checked, before. Then no kernel runs, and there are no results.
    fn is_recorded(&self) -> bool {
        false
    }

    /// The time of the current instance's measurements, in seconds since 1970. `None` if they are made now.
    fn measured_at(&self) -> Option<u64> {
        None
    }

    /// `true` if it can measure this schedule of the current instance. A device can try all schedules.
    fn has(&self, schedule: &Schedule) -> bool {
        let _ = schedule;
        true
    }

    /// Checks that it can measure an operator at these sizes.
    ///
    /// # Errors
    /// The reason that it cannot.
    fn accepts(&self, checked: &Checked, sizes: &[u64]) -> Result<(), BackendError> {
        let _ = (checked, sizes);
        Ok(())
    }

    /// Sets the purpose of the next energy measurements. Has no effect on a device without windows.
    fn set_effort(&mut self, effort: Effort) {
        let _ = effort;
    }

    /// Prepares the device for another instance, until the deadline at most.
    ///
    /// # Errors
    /// Its tensors do not fit the device, or the device is broken.
    fn begin(&mut self, instance: Instance<'_>, deadline: Instant) -> Result<(), BackendError>;

    /// Loads a candidate and runs it once, until the deadline at most. Returns the candidate and its results at these indices, each
    /// with its bytes at the low end of a word.
    ///
    /// # Errors
    /// The candidate was rejected or took too long, or the device is broken.
    fn load(
        &mut self,
        instance: Instance<'_>,
        kernel: &Kernel,
        indices: &[OutputIndex],
        deadline: Instant,
    ) -> Result<(Self::Candidate, Vec<u64>), BackendError>;

    /// Measures the seconds per launch.
    ///
    /// # Errors
    /// The candidate fails after all, or the device is broken.
    fn latency(
        &mut self,
        instance: Instance<'_>,
        candidate: &Self::Candidate,
        deadline: Instant,
    ) -> Result<Measured, BackendError>;

    /// Measures the joules per launch. `None` if energy cannot be measured, or not before the deadline.
    ///
    /// # Errors
    /// The candidate fails after all, or the device is broken.
    fn energy(
        &mut self,
        instance: Instance<'_>,
        candidate: &Self::Candidate,
        latency: f64,
        deadline: Instant,
    ) -> Result<Option<Measured>, BackendError>;
}
