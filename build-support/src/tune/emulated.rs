//! The emulated device as a meter: latency and energy are simulated from what a kernel does, and said to be.

use super::MOST_EMULATED_OPERATIONS;
use super::data::{bytes, operations, volume};
use super::meter::{Measured, Meter, MeterError, Place, Problem, Workload};
use energy_kernel::simulate::Profile;
use energy_kernel::{Emulation, Gpu};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::{CacheMode, Conditions, DeviceClass, Estimate, Inputs, Reason};
use energy_kernel_compiler::target::Machine;
use std::time::Instant;

/// Making up and copying a tensor is not interrupted either: in an unoptimised build script a byte takes as long as so many
/// operations on the emulated device (5.5 s for 512 MB).
const OPERATIONS_A_BYTE: f64 = 8.0;

/// Tensors are held several times, in the memory of a machine that does other things besides.
const MOST_BYTES: u64 = 2 << 30;

/// The reference is far slower than the emulator, and is not interrupted within a result: one must not take more than this
/// part of all the operations that are allowed.
const RESULTS: f64 = 500.0;

/// The emulated device.
pub struct EmulatedMeter {
    gpu: Gpu,
    profile: Profile,
    candidates: usize,
    most_operations: f64,
    workload: Option<Workload>,
}

/// A candidate has its figures as soon as it has run.
pub struct Simulated {
    latency: f64,
    energy: f64,
}

impl EmulatedMeter {
    /// The device of this profile, which tries that many candidates for each bucket, and refuses operators that do more
    /// operations than `most_operations`: they would be broken off before they came to anything.
    pub fn new(profile: Profile, candidates: usize, most_operations: f64) -> EmulatedMeter {
        // Launches are counted; whether kernels are sound is for tests to find out, and costs several times the run time.
        let gpu = Gpu::emulated_with(Emulation {
            profile,
            sanitize: false,
            ..Emulation::default()
        });
        EmulatedMeter {
            gpu,
            profile,
            candidates,
            most_operations,
            workload: None,
        }
    }

    /// Where there is patience enough for so many times as many operations, if anywhere.
    fn more(&self, times: f64) -> &'static str {
        match times * self.most_operations <= MOST_EMULATED_OPERATIONS {
            true => " in a build; `cargo energy-kernel tune --emulated` has more patience",
            false => "",
        }
    }

    fn measured(&self, mean: f64, seed: u64) -> Measured {
        Measured {
            // A simulation gives the same every time.
            estimate: Estimate { mean, interval: 0.0 },
            conditions: Conditions {
                driver: String::new(),
                simulated_profile: Some(self.profile.name().to_owned()),
                sm_clock_mhz: None,
                memory_clock_mhz: None,
                temperature_celsius: None,
                power_watts: None,
                power_limit_watts: None,
                throttle_reasons: 0,
                window_seconds: 0.0,
                launches: 1,
                inputs: Inputs::Random { seed },
                cache: CacheMode::Cold,
                flags: Vec::new(),
            },
            latency: None,
        }
    }
}

impl Meter for EmulatedMeter {
    type Candidate = Simulated;

    fn device(&self) -> &DeviceClass {
        self.gpu.device_class()
    }

    fn machine(&self) -> Machine {
        self.gpu.machine()
    }

    fn most_candidates(&self) -> usize {
        self.candidates
    }

    fn energy_is_free(&self) -> bool {
        true
    }

    fn accepts(&self, checked: &Checked, sizes: &[u64]) -> Result<(), MeterError> {
        let operations = operations(checked, sizes);
        if operations > self.most_operations {
            return Err(MeterError::Unfit(format!(
                "some {operations:.0e} operations are more than the {:.0e} that the emulated device is given{}",
                self.most_operations,
                self.more(operations / self.most_operations),
            )));
        }
        let results: u64 = (checked.op().outputs.iter())
            .map(|output| volume(&output.dims, sizes))
            .fold(1, u64::saturating_add);
        if operations / results as f64 > self.most_operations / RESULTS {
            return Err(MeterError::Unfit(format!(
                "some {operations:.0e} operations for {results} results are too many to check for the emulated device{}",
                self.more(RESULTS * operations / (self.most_operations * results as f64)),
            )));
        }
        let bytes = bytes(checked, sizes);
        let most = MOST_BYTES.min((self.most_operations / OPERATIONS_A_BYTE) as u64);
        if bytes > most {
            return Err(MeterError::Unfit(format!(
                "its tensors have {bytes} bytes, more than the {most} that the emulated device is given"
            )));
        }
        Ok(())
    }

    fn begin(&mut self, problem: Problem<'_>, _: Instant) -> Result<(), MeterError> {
        self.workload = None;
        let unfit = |error: energy_kernel::Error| MeterError::Unfit(error.to_string());
        self.workload = Some(Workload::new(&self.gpu, problem).map_err(unfit)?);
        Ok(())
    }

    fn load(
        &mut self,
        problem: Problem<'_>,
        kernel: &Kernel,
        places: &[Place],
        deadline: Instant,
    ) -> Result<(Simulated, Vec<u64>), MeterError> {
        let rejected = |reason| move |error: energy_kernel::Error| MeterError::rejected(reason, error);
        let broken = |error: energy_kernel::Error| MeterError::Broken(error.to_string());
        let Some(workload) = &mut self.workload else {
            return Err(MeterError::Broken("no problem was taken on".to_owned()));
        };
        workload.poison(&self.gpu, problem).map_err(broken)?;
        let loaded = self.gpu.compile(kernel).map_err(rejected(Reason::NotLoaded))?;
        let (arguments, views) = (workload.arguments(), workload.views());
        // SAFETY: candidates are lowered from the problem, whose sizes were verified and made the tensors.
        let prepared = unsafe { loaded.prepare(problem.checked, problem.sizes, &arguments, &views) };
        let prepared = prepared.map_err(rejected(Reason::NotLaunched))?;
        let (simulated, ()) = self
            .gpu
            .simulate_until(deadline, || prepared.launch())
            .map_err(|error| match Instant::now() >= deadline {
                true => MeterError::rejected(Reason::Late, error),
                false => MeterError::rejected(Reason::Faulted, error),
            })?;
        let candidate = Simulated {
            latency: simulated.latency_s,
            energy: simulated.energy_j,
        };
        Ok((candidate, workload.results(problem, places).map_err(broken)?))
    }

    fn latency(&mut self, problem: Problem<'_>, candidate: &Simulated, _: Instant) -> Result<Measured, MeterError> {
        Ok(self.measured(candidate.latency, problem.seed))
    }

    fn energy(
        &mut self,
        problem: Problem<'_>,
        candidate: &Simulated,
        _: f64,
        _: Instant,
    ) -> Result<Option<Measured>, MeterError> {
        Ok(Some(self.measured(candidate.energy, problem.seed)))
    }
}
