//! Candidates before they are measured: each is lowered once, for its place in the order of trying, its text, and its features.

use super::describe::described;
use super::model::device::Described;
use crate::session::Job;
use energy_kernel_compiler::estimate::{Datasheet, latency};
use energy_kernel_compiler::features::{Features, of_lowered};
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::lower::{self, Lowered};
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::target::Machine;
use std::collections::BTreeMap;

/// The candidates of a problem on a machine.
pub(super) struct Candidates<'a> {
    job: &'a Job<'a>,
    machine: Machine,
    /// What was lowered, until its text is wanted.
    lowered: BTreeMap<Schedule, Lowered>,
    /// None where it has none, which no legal schedule lacks.
    features: BTreeMap<Schedule, Option<Features>>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(job: &'a Job<'a>, machine: Machine) -> Candidates<'a> {
        Candidates {
            job,
            machine,
            lowered: BTreeMap::new(),
            features: BTreeMap::new(),
        }
    }

    /// Seconds that a schedule takes by the estimate; none where it has no kernel.
    pub(super) fn estimate(&mut self, schedule: Schedule) -> Option<f64> {
        let lowered = self.lower(&schedule).ok()?;
        self.lowered.insert(schedule, lowered);
        let features = self.features.get(&schedule)?.as_ref()?;
        Some(latency(features, &Datasheet::like(self.machine)))
    }

    /// The kernel of a schedule.
    ///
    /// # Errors
    /// There is none, which would be a mistake of the space.
    pub(super) fn kernel(&mut self, schedule: &Schedule) -> Result<Kernel, lower::Error> {
        let lowered = match self.lowered.remove(schedule) {
            Some(lowered) => lowered,
            None => self.lower(schedule)?,
        };
        Ok(Kernel {
            ptx: lowered.entry.module(self.machine.target),
            entry: lowered.entry.name,
            launch: lowered.launch,
            parameters: lowered.parameters,
        })
    }

    /// A schedule whose kernel was made, as the model of a device takes it, with its latency in seconds.
    pub(super) fn describe(&self, schedule: &Schedule, latency: f64) -> Described {
        described(self.features.get(schedule).and_then(Option::as_ref), latency)
    }

    fn lower(&mut self, schedule: &Schedule) -> Result<Lowered, lower::Error> {
        let (found, machine) = (self.job.found, self.machine);
        let lowered = lower::lowered(&found.checked, &found.specialisation, machine.target, schedule)?;
        let features = of_lowered(&found.checked, &found.specialisation, machine, &lowered, self.job.sizes);
        self.features.insert(*schedule, features.ok());
        Ok(lowered)
    }
}
