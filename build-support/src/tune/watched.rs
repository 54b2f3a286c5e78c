//! A meter that tells what it measures as it goes.

use super::Step;
use super::meter::{Effort, Measured, Meter, MeterError, Place, Problem};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::DeviceClass;
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::target::Machine;
use std::cell::RefCell;
use std::time::Instant;

/// Any meter, and who is told.
pub(super) struct Watched<'a, M, P> {
    pub(super) meter: &'a mut M,
    pub(super) progress: &'a RefCell<P>,
}

impl<M, P: FnMut(Step<'_>)> Watched<'_, M, P> {
    fn tell(&self, step: Step<'_>) {
        (self.progress.borrow_mut())(step);
    }
}

impl<M: Meter, P: FnMut(Step<'_>)> Meter for Watched<'_, M, P> {
    type Candidate = M::Candidate;

    fn device(&self) -> &DeviceClass {
        self.meter.device()
    }

    fn uuid(&self) -> Option<String> {
        self.meter.uuid()
    }

    fn machine(&self) -> Machine {
        self.meter.machine()
    }

    fn most_candidates(&self) -> usize {
        self.meter.most_candidates()
    }

    fn energy_is_free(&self) -> bool {
        self.meter.energy_is_free()
    }

    fn is_recorded(&self) -> bool {
        self.meter.is_recorded()
    }

    fn measured_at(&self) -> Option<u64> {
        self.meter.measured_at()
    }

    fn has(&self, schedule: &Schedule) -> bool {
        self.meter.has(schedule)
    }

    fn accepts(&self, checked: &Checked, sizes: &[u64]) -> Result<(), MeterError> {
        self.meter.accepts(checked, sizes)
    }

    fn set_effort(&mut self, effort: Effort) {
        self.meter.set_effort(effort);
    }

    fn begin(&mut self, problem: Problem<'_>, deadline: Instant) -> Result<(), MeterError> {
        self.meter.begin(problem, deadline)
    }

    fn load(
        &mut self,
        problem: Problem<'_>,
        kernel: &Kernel,
        places: &[Place],
        deadline: Instant,
    ) -> Result<(Self::Candidate, Vec<u64>), MeterError> {
        self.meter.load(problem, kernel, places, deadline)
    }

    fn latency(
        &mut self,
        problem: Problem<'_>,
        candidate: &Self::Candidate,
        deadline: Instant,
    ) -> Result<Measured, MeterError> {
        let measured = self.meter.latency(problem, candidate, deadline)?;
        self.tell(Step::Timed {
            seconds: measured.estimate.mean,
        });
        Ok(measured)
    }

    fn energy(
        &mut self,
        problem: Problem<'_>,
        candidate: &Self::Candidate,
        latency: f64,
        deadline: Instant,
    ) -> Result<Option<Measured>, MeterError> {
        let measured = self.meter.energy(problem, candidate, latency, deadline)?;
        if let Some(measured) = &measured {
            self.tell(Step::Measured {
                seconds: latency,
                joules: measured.estimate.mean,
            });
        }
        Ok(measured)
    }
}
