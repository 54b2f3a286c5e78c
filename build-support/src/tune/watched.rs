//! A backend that reports its measurements.

use super::backend::{Backend, BackendError, Effort, Instance, Measured, OutputIndex};
use super::step::Step;
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::DeviceClass;
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::target::Machine;
use std::cell::RefCell;
use std::time::Instant;

/// A backend, and the listener that hears of its measurements.
pub(super) struct Watched<'a, B, P> {
    pub(super) backend: &'a mut B,
    pub(super) progress: &'a RefCell<P>,
}

impl<B, P: FnMut(Step<'_>)> Watched<'_, B, P> {
    fn tell(&self, step: Step<'_>) {
        (self.progress.borrow_mut())(step);
    }
}

impl<B: Backend, P: FnMut(Step<'_>)> Backend for Watched<'_, B, P> {
    type Candidate = B::Candidate;

    fn device(&self) -> &DeviceClass {
        self.backend.device()
    }

    fn uuid(&self) -> Option<String> {
        self.backend.uuid()
    }

    fn machine(&self) -> Machine {
        self.backend.machine()
    }

    fn most_candidates(&self) -> usize {
        self.backend.most_candidates()
    }

    fn energy_is_free(&self) -> bool {
        self.backend.energy_is_free()
    }

    fn is_recorded(&self) -> bool {
        self.backend.is_recorded()
    }

    fn measured_at(&self) -> Option<u64> {
        self.backend.measured_at()
    }

    fn has(&self, schedule: &Schedule) -> bool {
        self.backend.has(schedule)
    }

    fn accepts(&self, checked: &Checked, sizes: &[u64]) -> Result<(), BackendError> {
        self.backend.accepts(checked, sizes)
    }

    fn set_effort(&mut self, effort: Effort) {
        self.backend.set_effort(effort);
    }

    fn begin(&mut self, instance: Instance<'_>, deadline: Instant) -> Result<(), BackendError> {
        self.backend.begin(instance, deadline)
    }

    fn load(
        &mut self,
        instance: Instance<'_>,
        kernel: &Kernel,
        indices: &[OutputIndex],
        deadline: Instant,
    ) -> Result<(Self::Candidate, Vec<u64>), BackendError> {
        self.backend.load(instance, kernel, indices, deadline)
    }

    fn latency(
        &mut self,
        instance: Instance<'_>,
        candidate: &Self::Candidate,
        deadline: Instant,
    ) -> Result<Measured, BackendError> {
        let measured = self.backend.latency(instance, candidate, deadline)?;
        self.tell(Step::Timed {
            seconds: measured.estimate.mean,
        });
        Ok(measured)
    }

    fn energy(
        &mut self,
        instance: Instance<'_>,
        candidate: &Self::Candidate,
        latency: f64,
        deadline: Instant,
    ) -> Result<Option<Measured>, BackendError> {
        let measured = self.backend.energy(instance, candidate, latency, deadline)?;
        if let Some(measured) = &measured {
            self.tell(Step::Measured {
                seconds: latency,
                joules: measured.estimate.mean,
            });
        }
        Ok(measured)
    }
}
