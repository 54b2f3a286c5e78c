//! The replay of a trace: it returns the recorded measurements and can measure nothing else.

use super::backend::{Backend, BackendError, Instance, Measured, OutputIndex};
use super::trace::{Recorded, Trace};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::fingerprint;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::{DeviceClass, PackedKernel, Reason};
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::target::Machine;
use std::time::Instant;

/// The device that a trace was recorded on.
#[derive(Debug)]
pub struct ReplayBackend {
    trace: Trace,
    device: DeviceClass,
    machine: Machine,
    candidates: usize,
    /// The recorded points of the current instance, newest first.
    current: Option<Vec<Recorded>>,
}

impl ReplayBackend {
    /// The device of a trace. It tries `candidates` candidates for each bucket.
    ///
    /// # Errors
    /// The trace is of several devices, or of one that kernels cannot be made for.
    pub fn new(trace: Trace, candidates: usize) -> Result<ReplayBackend, String> {
        let mut devices: Vec<&DeviceClass> = trace.recordings.iter().map(|recording| &recording.device).collect();
        devices.sort();
        devices.dedup_by_key(|device| device.key());
        let [device] = devices[..] else {
            let names: Vec<String> = devices.iter().map(ToString::to_string).collect();
            return Err(match names.is_empty() {
                true => "the trace holds no operator".to_owned(),
                false => format!(
                    "the trace is of several devices: {}. Keep the lines of one: those from a line with `trace` to the next such line",
                    names.join("; ")
                ),
            });
        };
        let machine = (device.machine()).ok_or("the trace's device has a compute capability below 8.0")?;
        Ok(ReplayBackend {
            device: device.clone(),
            machine,
            candidates,
            trace,
            current: None,
        })
    }

    fn points(&self, checked: &Checked, sizes: &[u64]) -> Result<Vec<Recorded>, BackendError> {
        let fingerprint = fingerprint::of(checked).map_err(|error| BackendError::Unfit(error.to_string()))?;
        let recordings = self.trace.find(&self.device, &fingerprint, sizes);
        let mut points: Vec<Recorded> = recordings.flat_map(|recording| &recording.points).cloned().collect();
        if points.is_empty() {
            return Err(BackendError::Unfit(
                "the trace has no measurement of this operator at these sizes, or has those of an earlier version of the operator; \
                 `cargo energy-kernel tune --sweep` records new ones"
                    .to_owned(),
            ));
        }
        points.sort_by_key(|point| std::cmp::Reverse(point.measured_at));
        Ok(points)
    }

    fn recorded(&self, candidate: usize) -> Result<&Recorded, BackendError> {
        let points = self.current.as_ref();
        points
            .and_then(|points| points.get(candidate))
            .ok_or_else(|| BackendError::Broken("no instance was begun".to_owned()))
    }
}

impl Backend for ReplayBackend {
    /// The position of a recorded point.
    type Candidate = usize;

    fn device(&self) -> &DeviceClass {
        &self.device
    }

    fn machine(&self) -> Machine {
        self.machine
    }

    fn most_candidates(&self) -> usize {
        self.candidates
    }

    fn energy_is_free(&self) -> bool {
        false
    }

    fn is_recorded(&self) -> bool {
        true
    }

    fn measured_at(&self) -> Option<u64> {
        let points = self.current.as_ref()?.iter();
        points.map(|point| point.measured_at).max()
    }

    fn accepts(&self, checked: &Checked, sizes: &[u64]) -> Result<(), BackendError> {
        self.points(checked, sizes).map(|_| ())
    }

    fn begin(&mut self, instance: Instance<'_>, _: Instant) -> Result<(), BackendError> {
        self.current = Some(self.points(instance.checked, instance.sizes)?);
        Ok(())
    }

    fn has(&self, schedule: &Schedule) -> bool {
        let text = schedule.to_string();
        let mut points = self.current.iter().flatten();
        points.any(|point| point.schedule == text)
    }

    /// Recorded candidates had correct results, which are not recorded.
    fn load(
        &mut self,
        _: Instance<'_>,
        kernel: &Kernel,
        _: &[OutputIndex],
        _: Instant,
    ) -> Result<(usize, Vec<u64>), BackendError> {
        let hash = PackedKernel::hash(kernel);
        let points = self.current.iter().flatten();
        let position = points.enumerate().find(|(_, point)| point.kernel_hash == hash);
        let (position, _) = position.ok_or_else(|| {
            BackendError::rejected(
                Reason::NotLoaded,
                "the compiler now emits another kernel than was recorded; `cargo energy-kernel tune --sweep` records a new trace",
            )
        })?;
        Ok((position, Vec::new()))
    }

    fn latency(&mut self, _: Instance<'_>, &candidate: &usize, _: Instant) -> Result<Measured, BackendError> {
        let point = self.recorded(candidate)?;
        Ok(Measured {
            estimate: point.latency,
            conditions: point.conditions.clone(),
            latency: None,
        })
    }

    fn energy(
        &mut self,
        _: Instance<'_>,
        &candidate: &usize,
        _: f64,
        _: Instant,
    ) -> Result<Option<Measured>, BackendError> {
        let point = self.recorded(candidate)?;
        Ok(point.energy.map(|estimate| Measured {
            estimate,
            conditions: point.conditions.clone(),
            latency: None,
        }))
    }
}
