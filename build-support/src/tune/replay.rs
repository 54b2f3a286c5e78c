//! A recorded trace as a meter: what was measured is told again, and nothing else can be measured.

use super::meter::{Measured, Meter, MeterError, Place, Problem};
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
pub struct ReplayMeter {
    trace: Trace,
    device: DeviceClass,
    machine: Machine,
    candidates: usize,
    /// What was recorded of the problem at hand, the newest first.
    current: Option<Vec<Recorded>>,
}

impl ReplayMeter {
    /// The one device of a trace, which tries that many candidates for each bucket.
    ///
    /// # Errors
    /// It is of several devices, or of one that kernels cannot be made for.
    pub fn new(trace: Trace, candidates: usize) -> Result<ReplayMeter, String> {
        let mut devices: Vec<&DeviceClass> = trace.recordings.iter().map(|recording| &recording.device).collect();
        devices.sort();
        devices.dedup_by_key(|device| device.key());
        let [device] = devices[..] else {
            let names: Vec<String> = devices.iter().map(ToString::to_string).collect();
            return Err(match names.is_empty() {
                true => "the trace holds no operator".to_owned(),
                false => format!(
                    "the trace is of several devices: {}. The lines between one with `trace` and the next are of one device: keep those",
                    names.join("; ")
                ),
            });
        };
        let machine = (device.machine()).ok_or("the trace's device has a compute capability below 8.0")?;
        Ok(ReplayMeter {
            device: device.clone(),
            machine,
            candidates,
            trace,
            current: None,
        })
    }

    fn points(&self, checked: &Checked, sizes: &[u64]) -> Result<Vec<Recorded>, MeterError> {
        let fingerprint = fingerprint::of(checked).map_err(|error| MeterError::Unfit(error.to_string()))?;
        let recordings = self.trace.find(&self.device, &fingerprint, sizes);
        let mut points: Vec<Recorded> = recordings.flat_map(|recording| &recording.points).cloned().collect();
        if points.is_empty() {
            return Err(MeterError::Unfit(
                "the trace has no measurement of this operator at these sizes; `cargo energy-kernel tune --sweep` records some, and \
                 those that were recorded before the operator or the schedules changed are of another operator"
                    .to_owned(),
            ));
        }
        points.sort_by_key(|point| std::cmp::Reverse(point.measured_at));
        Ok(points)
    }

    fn recorded(&self, candidate: usize) -> Result<&Recorded, MeterError> {
        let points = self.current.as_ref();
        points
            .and_then(|points| points.get(candidate))
            .ok_or_else(|| MeterError::Broken("no problem was taken on".to_owned()))
    }
}

impl Meter for ReplayMeter {
    /// Which of the recorded points.
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

    fn accepts(&self, checked: &Checked, sizes: &[u64]) -> Result<(), MeterError> {
        self.points(checked, sizes).map(|_| ())
    }

    fn begin(&mut self, problem: Problem<'_>, _: Instant) -> Result<(), MeterError> {
        self.current = Some(self.points(problem.checked, problem.sizes)?);
        Ok(())
    }

    fn has(&self, schedule: &Schedule) -> bool {
        let text = schedule.to_string();
        let mut points = self.current.iter().flatten();
        points.any(|point| point.schedule == text)
    }

    /// Recorded candidates had been found right; what they computed is not recorded.
    fn load(
        &mut self,
        _: Problem<'_>,
        kernel: &Kernel,
        _: &[Place],
        _: Instant,
    ) -> Result<(usize, Vec<u64>), MeterError> {
        let hash = PackedKernel::hash(kernel);
        let points = self.current.iter().flatten();
        let position = points.enumerate().find(|(_, point)| point.kernel_hash == hash);
        let (position, _) = position.ok_or_else(|| {
            MeterError::rejected(
                Reason::NotLoaded,
                "the trace was recorded with other kernels than are emitted now; `cargo energy-kernel tune --sweep` records a new one",
            )
        })?;
        Ok((position, Vec::new()))
    }

    fn latency(&mut self, _: Problem<'_>, &candidate: &usize, _: Instant) -> Result<Measured, MeterError> {
        let point = self.recorded(candidate)?;
        Ok(Measured {
            estimate: point.latency,
            conditions: point.conditions.clone(),
            latency: None,
        })
    }

    fn energy(
        &mut self,
        _: Problem<'_>,
        &candidate: &usize,
        _: f64,
        _: Instant,
    ) -> Result<Option<Measured>, MeterError> {
        let point = self.recorded(candidate)?;
        Ok(point.energy.map(|estimate| Measured {
            estimate,
            conditions: point.conditions.clone(),
            latency: None,
        }))
    }
}
