//! The emulated device. It simulates latency and energy from the operations of a kernel, and marks them as simulated.

use super::backend::{Backend, BackendError, Instance, Measured, OutputIndex};
use super::data::{bytes, operations, volume};
use super::workload::Workload;
use energy_kernel::Gpu;
use energy_kernel::simulate::{Emulation, Profile};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::{CacheMode, Conditions, DeviceClass, Estimate, Inputs, Reason};
use energy_kernel_compiler::target::Machine;
use std::time::Instant;

/// The most operations of an operator on the emulated device, even with a long budget.
pub const MOST_EMULATED_OPERATIONS: f64 = 1e11;

/// The cost of a byte, in operations on the emulated device. Drawing and copying tensors cannot be interrupted, and takes an unoptimised
/// build script 5.5 s for 512 MB.
const OPERATIONS_A_BYTE: f64 = 8.0;

/// The most bytes of tensors. The host holds them several times.
const MOST_BYTES: u64 = 2 << 30;

/// The operations of one result may be at most the allowed operations divided by this: the reference is far slower than the emulator,
/// and is not interrupted within a result.
const RESULTS: f64 = 500.0;

/// The emulated device.
pub struct EmulatedBackend {
    gpu: Gpu,
    profile: Profile,
    candidates: usize,
    most_operations: f64,
    workload: Option<Workload>,
}

/// A candidate that has run, and its figures.
pub struct SimulatedCandidate {
    latency: f64,
    energy: f64,
}

impl EmulatedBackend {
    /// The device of this profile. It tries `candidates` candidates for each bucket and refuses operators of more than `most_operations`
    /// operations, which would not finish in time.
    pub fn new(profile: Profile, candidates: usize, most_operations: f64) -> EmulatedBackend {
        // Only count. The sanitizer is for tests: it takes several times as long.
        let gpu = Gpu::emulated_with(Emulation::new().profile(profile).sanitize(false));
        EmulatedBackend {
            gpu,
            profile,
            candidates,
            most_operations,
            workload: None,
        }
    }

    /// The hint that the command allows `times` as many operations. Empty if it does not.
    fn more(&self, times: f64) -> &'static str {
        match times * self.most_operations <= MOST_EMULATED_OPERATIONS {
            true => " in a build; `cargo energy-kernel tune --emulated` allows more",
            false => "",
        }
    }

    fn measured(&self, mean: f64, seed: u64) -> Measured {
        Measured {
            // Simulations repeat exactly.
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

impl Backend for EmulatedBackend {
    type Candidate = SimulatedCandidate;

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

    fn accepts(&self, checked: &Checked, sizes: &[u64]) -> Result<(), BackendError> {
        let operations = operations(checked, sizes);
        if operations > self.most_operations {
            return Err(BackendError::Unfit(format!(
                "some {operations:.0e} operations are more than the {:.0e} that the emulated device allows{}",
                self.most_operations,
                self.more(operations / self.most_operations),
            )));
        }
        let results: u64 = (checked.op().outputs.iter())
            .map(|output| volume(&output.dims, sizes))
            .fold(1, u64::saturating_add);
        if operations / results as f64 > self.most_operations / RESULTS {
            return Err(BackendError::Unfit(format!(
                "some {operations:.0e} operations for {results} results take too long to check on the emulated device{}",
                self.more(RESULTS * operations / (self.most_operations * results as f64)),
            )));
        }
        let bytes = bytes(checked, sizes);
        let most = MOST_BYTES.min((self.most_operations / OPERATIONS_A_BYTE) as u64);
        if bytes > most {
            return Err(BackendError::Unfit(format!(
                "its tensors have {bytes} bytes, more than the {most} that the emulated device allows"
            )));
        }
        Ok(())
    }

    fn begin(&mut self, instance: Instance<'_>, _: Instant) -> Result<(), BackendError> {
        self.workload = None;
        let unfit = |error: energy_kernel::Error| BackendError::Unfit(error.to_string());
        self.workload = Some(Workload::new(&self.gpu, instance).map_err(unfit)?);
        Ok(())
    }

    fn load(
        &mut self,
        instance: Instance<'_>,
        kernel: &Kernel,
        indices: &[OutputIndex],
        deadline: Instant,
    ) -> Result<(SimulatedCandidate, Vec<u64>), BackendError> {
        let rejected = |reason| move |error: energy_kernel::Error| BackendError::rejected(reason, error);
        let broken = |error: energy_kernel::Error| BackendError::Broken(error.to_string());
        let Some(workload) = &mut self.workload else {
            return Err(BackendError::Broken("no instance was begun".to_owned()));
        };
        workload.poison().map_err(broken)?;
        let loaded = self.gpu.compile(kernel).map_err(rejected(Reason::NotLoaded))?;
        let (arguments, views) = (workload.arguments(), workload.views());
        // SAFETY: candidates are lowered from the instance, whose sizes were verified and made the tensors.
        let prepared = unsafe { loaded.prepare(instance.checked, instance.sizes, &arguments, &views) };
        let prepared = prepared.map_err(rejected(Reason::NotLaunched))?;
        let (simulated, ()) = self
            .gpu
            .simulate_until(deadline, || prepared.launch())
            .map_err(|error| match Instant::now() >= deadline {
                true => BackendError::rejected(Reason::Late, error),
                false => BackendError::rejected(Reason::Faulted, error),
            })?;
        let candidate = SimulatedCandidate {
            latency: simulated.latency_s,
            energy: simulated.energy_j,
        };
        Ok((candidate, workload.results(instance, indices).map_err(broken)?))
    }

    fn latency(
        &mut self,
        instance: Instance<'_>,
        candidate: &SimulatedCandidate,
        _: Instant,
    ) -> Result<Measured, BackendError> {
        Ok(self.measured(candidate.latency, instance.seed))
    }

    fn energy(
        &mut self,
        instance: Instance<'_>,
        candidate: &SimulatedCandidate,
        _: f64,
        _: Instant,
    ) -> Result<Option<Measured>, BackendError> {
        Ok(Some(self.measured(candidate.energy, instance.seed)))
    }
}
