//! A real GPU: CUDA events measure latency, the board's energy counter measures energy.
//!
//! ```text
//!   thermal warm-up, once ──▶ candidate: settle 0.5 s ──▶ window from tick to tick, the GPU busy throughout
//!                                                          │ joules / second (counter)   × seconds / launch (events)
//!                                                          └─ instant power, clocks, temperature, … ──▶ conditions, flags
//! ```
//! Launches rotate over several sets of tensors, together larger than the L2 cache, so that every launch reads them from device memory.
//! Inputs that an earlier stage of a program has just written are the same in all sets.
//! Many launches make one CUDA graph. The next graph is queued before the last one ends, so the GPU never waits for the host.

use super::backend::{Backend, BackendError, Effort, Instance, Measured, OutputIndex};
use super::busy::BusyGpu;
use super::compare::incomparable;
use super::data::bytes;
use super::statistics::estimate;
use super::workload::Workload;
use energy_kernel::energy::{Calibration, Meter, SETTLING, Survey};
use energy_kernel::tools::{Graph, LoadedKernel};
use energy_kernel::{Error, Gpu};
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::{CacheMode, Conditions, DeviceClass, Estimate, Flag, Inputs, Reason};
use energy_kernel_compiler::target::Machine;
use std::time::{Duration, Instant};

/// The bytes of the tensors in rotation, as a multiple of the L2 cache.
const ROTATION: u64 = 3;

/// The L2 cache, in bytes, of a GPU that does not report it. A B200 has 126 MiB.
const LARGEST_L2: u64 = 128 << 20;

/// The most sets of tensors. Making more takes longer than measuring.
const MOST_SETS: u64 = 1024;

/// The target length of a graph in seconds: long compared with its launch, short compared with a deadline.
const GRAPH_SECONDS: f64 = 0.01;

/// The longest graph in seconds, unless one launch takes longer.
const LONGEST_GRAPH: f64 = 0.25;

/// The most launches in a graph.
const MOST_LAUNCHES: usize = 4096;

/// The number of graphs that are timed for one latency.
const REPETITIONS: usize = 7;

/// The least and the most time that the board runs before anything is timed. In between, it runs until its temperature has settled.
const WARM_UP: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(60)];

/// The least time in which the temperature can be found settled: it must not move for 10 s.
const LEAST_SETTLING: Duration = Duration::from_secs(12);

/// The longest first launch of a candidate. Slower kernels are rejected, so that one that hangs does not take the whole budget.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(20);

/// A launch that is ended later than this counts as hung, an earlier one as late.
const HANGING: Duration = Duration::from_secs(5);

/// The driver's error codes for a faulting kernel. They leave the context unusable.
const FAULTS: [u32; 13] = [700, 702, 708, 709, 710, 711, 712, 714, 715, 716, 717, 718, 719];

/// The idle time after which the board has cooled down.
const COLD_AFTER: Duration = Duration::from_secs(10);

/// The time that a window takes beyond its length: settling, ticks at both ends.
const MARGIN: Duration = Duration::from_millis(1000);

impl Effort {
    /// The least length of an energy window.
    const fn window(self) -> Duration {
        match self {
            Effort::Search => Duration::from_secs(2),
            Effort::Claim => Duration::from_secs(5),
        }
    }
}

/// A GPU.
pub struct GpuBackend {
    gpu: Gpu,
    candidates: usize,
    /// The energy meter, or the reason that there is none.
    meter: Result<Meter, String>,
    driver: String,
    cache: CacheMode,
    effort: Effort,
    workloads: Vec<Workload>,
    /// `true` if the sets of tensors in rotation exceed the L2 cache.
    cold: bool,
    /// The last time that it worked. `None` before it has warmed up.
    busy: Option<Instant>,
    /// The conditions of the instance's first energy measurement, which the others are compared with.
    reference: Option<Conditions>,
    /// The reason that the context is unusable.
    broken: Option<String>,
}

/// A candidate on the GPU.
pub struct GpuCandidate {
    kernel: LoadedKernel,
}

impl GpuBackend {
    /// Opens the first GPU.
    ///
    /// # Errors
    /// The reason that no GPU can be used.
    pub fn open(candidates: usize) -> Result<GpuBackend, String> {
        let gpu = Gpu::open().map_err(|error| error.to_string())?;
        // Without the counter latencies can still be measured.
        let meter = Meter::open(&gpu).map_err(|error| error.to_string());
        let driver = meter
            .as_ref()
            .ok()
            .and_then(|meter| meter.driver().ok())
            .unwrap_or_default();
        Ok(GpuBackend {
            gpu,
            candidates,
            meter,
            driver,
            cache: CacheMode::Cold,
            effort: Effort::Search,
            workloads: Vec::new(),
            cold: false,
            busy: None,
            reference: None,
            broken: None,
        })
    }

    /// Sets the state of the L2 cache when a kernel starts: cold by default.
    #[must_use]
    pub fn with_cache(mut self, cache: CacheMode) -> GpuBackend {
        self.cache = cache;
        self
    }

    /// The reason that energy cannot be measured. `None` if it can.
    pub fn without_energy(&self) -> Option<&str> {
        self.meter.as_ref().err().map(String::as_str)
    }

    /// Calibrates the energy counter, also under launches of this candidate that are switched on and off.
    ///
    /// # Errors
    /// There is no usable counter, or the device is broken.
    pub fn calibrate(&self, instance: Instance<'_>, candidate: &GpuCandidate) -> Result<Calibration, BackendError> {
        let meter = self.meter.as_ref().map_err(|why| BackendError::Unfit(why.clone()))?;
        let broken = |error: Error| BackendError::Broken(error.to_string());
        let graph = self.graph(instance, candidate, 1).map_err(broken)?;
        let (each, ()) = self.gpu.time(|| graph.launch()).map_err(broken)?;
        let calibrated = meter.calibrate_under(|seconds| {
            let launches = (seconds / each.max(1e-7)).clamp(1.0, MOST_LAUNCHES as f64);
            (0..launches as usize).try_for_each(|_| graph.launch())?;
            self.gpu.synchronize()
        });
        calibrated.map_err(|error| BackendError::Unfit(error.to_string()))
    }

    /// Runs a kernel once on the first set of tensors. `false` if it has not ended in time.
    fn run(&mut self, instance: Instance<'_>, kernel: &LoadedKernel, deadline: Instant) -> Result<bool, Error> {
        let Some(first) = self.workloads.first_mut() else {
            return Ok(true);
        };
        first.poison()?;
        let (arguments, views) = (first.arguments(), first.views());
        // SAFETY: candidates are lowered from the instance, whose sizes were verified and made the tensors.
        let prepared = unsafe { kernel.prepare(instance.checked, instance.sizes, &arguments, &views) }?;
        prepared.launch()?;
        self.gpu.wait_until(deadline.min(Instant::now() + LAUNCH_PATIENCE))
    }

    /// Checks that the context works.
    fn sound(&self) -> Result<(), BackendError> {
        match &self.broken {
            Some(why) => Err(BackendError::Broken(why.clone())),
            None => Ok(()),
        }
    }

    /// Interprets an error while a candidate was measured. Every error except a lack of memory leaves the context unusable.
    fn failed(&mut self, error: Error) -> BackendError {
        if let Error::OutOfMemory { .. } = error {
            return BackendError::rejected(Reason::NotLaunched, error);
        }
        self.broken = Some(error.to_string());
        match error {
            Error::Driver { code, .. } if FAULTS.contains(&code) => BackendError::rejected(Reason::Faulted, error),
            error => BackendError::Broken(error.to_string()),
        }
    }

    /// Records launches in one graph, on each set of tensors in turn.
    fn graph(&self, instance: Instance<'_>, candidate: &GpuCandidate, launches: usize) -> Result<Graph, Error> {
        let arguments: Vec<_> = self
            .workloads
            .iter()
            .map(|set| (set.arguments(), set.views()))
            .collect();
        let prepared: Vec<_> = arguments
            .iter()
            .map(|(arguments, views)| {
                let kernel = &candidate.kernel;
                // SAFETY: candidates are lowered from the instance, whose sizes were verified and made the tensors.
                unsafe { kernel.prepare(instance.checked, instance.sizes, arguments, views) }
            })
            .collect::<Result<_, _>>()?;
        self.gpu.record(|| {
            prepared
                .iter()
                .cycle()
                .take(launches)
                .try_for_each(|prepared| prepared.launch())
        })
    }

    /// The number of launches for a graph of about the right length: a multiple of the sets, so that each is used equally often. If
    /// that took too long, the work per byte is high, and it hardly matters where the tensors come from.
    fn launches(&self, latency: f64) -> usize {
        let wanted = ((GRAPH_SECONDS / latency.max(1e-7)) as usize).clamp(1, MOST_LAUNCHES);
        let round = wanted.next_multiple_of(self.workloads.len().max(1));
        match round as f64 * latency > LONGEST_GRAPH {
            true => wanted,
            false => round,
        }
    }

    /// A graph of about the right length and its number of launches, from a quick measurement.
    fn timed_graph(&self, instance: Instance<'_>, candidate: &GpuCandidate) -> Result<(Graph, usize), Error> {
        let few = self.workloads.len().clamp(1, 32);
        let graph = self.graph(instance, candidate, few)?;
        graph.launch()?;
        self.gpu.synchronize()?;
        let (seconds, ()) = self.gpu.time(|| graph.launch())?;
        let launches = self.launches(seconds / few as f64);
        Ok((self.graph(instance, candidate, launches)?, launches))
    }

    /// Brings the board into its sustained state if it has been idle.
    fn warm_up(&mut self, instance: Instance<'_>, candidate: &GpuCandidate, deadline: Instant) -> Result<(), Error> {
        let first = self.busy.is_none();
        if !first && self.busy.is_some_and(|busy| busy.elapsed() < COLD_AFTER) {
            return Ok(());
        }
        let (graph, _) = self.timed_graph(instance, candidate)?;
        let step = || self.gpu.time(|| graph.launch()).map(|_| ());
        let [least, most] = WARM_UP;
        let begun = Instant::now();
        while begun.elapsed() < least {
            step()?;
        }
        // A build's share of the time is for measuring.
        let left = deadline.saturating_duration_since(Instant::now());
        let most = most.min((left / 4).max(LEAST_SETTLING)).min(left / 2);
        if first && let Ok(meter) = &self.meter {
            meter.warm_up(most, step)?;
        }
        self.busy = Some(Instant::now());
        Ok(())
    }

    fn conditions(&self, instance: Instance<'_>, survey: &Survey, launches: u64) -> Conditions {
        let positive = |value: &f64| *value > 0.0;
        Conditions {
            driver: self.driver.clone(),
            simulated_profile: None,
            sm_clock_mhz: survey.sm_clock_mhz().filter(positive),
            memory_clock_mhz: survey.memory_clock_mhz().filter(positive),
            temperature_celsius: survey.temperature_celsius(),
            power_watts: None,
            power_limit_watts: survey.power_limit_watts().filter(positive),
            throttle_reasons: survey.throttle_reasons(),
            window_seconds: 0.0,
            launches,
            inputs: Inputs::Random { seed: instance.seed },
            cache: match self.cold {
                true => CacheMode::Cold,
                false => CacheMode::Warm,
            },
            flags: survey.flags(),
        }
    }

    fn measure_latency(
        &self,
        instance: Instance<'_>,
        candidate: &GpuCandidate,
        deadline: Instant,
    ) -> Result<Measured, Error> {
        // If NVML does not answer, everything is unknown.
        let state = || Some(self.meter.as_ref().ok()?.state().unwrap_or_default());
        let mut survey = Survey::default();
        survey.extend(state());
        let (graph, launches) = self.timed_graph(instance, candidate)?;
        graph.launch()?;
        let mut seconds = Vec::with_capacity(REPETITIONS);
        for _ in 0..REPETITIONS {
            let (elapsed, ()) = self.gpu.time(|| graph.launch())?;
            seconds.push(elapsed / launches as f64);
            if seconds.len() >= 3 && Instant::now() >= deadline {
                break;
            }
        }
        survey.extend(state());
        Ok(Measured {
            estimate: estimate(&seconds),
            conditions: self.conditions(instance, &survey, (launches * seconds.len()) as u64),
            latency: None,
        })
    }

    fn measure_energy(
        &self,
        meter: &Meter,
        instance: Instance<'_>,
        candidate: &GpuCandidate,
        latency: f64,
    ) -> Result<Measured, Error> {
        let launches = self.launches(latency);
        let graph = self.graph(instance, candidate, launches)?;
        let mut busy = BusyGpu::new(&self.gpu, &graph, meter)?;
        let settling = Instant::now();
        while settling.elapsed() < SETTLING {
            busy.step()?;
        }
        let window = meter.power(self.effort.window(), || busy.step())?;
        let graphs = busy.graphs(window.power.span)?;
        let each: Vec<f64> = graphs.iter().map(|seconds| seconds / launches as f64).collect();
        let latency = estimate(&each);
        let mut conditions = self.conditions(instance, &window.survey, (graphs.len() * launches) as u64);
        conditions.power_watts = Some(window.power.watts);
        conditions.window_seconds = window.seconds();
        if window.disagrees() {
            conditions.flags.push(Flag::PowerDisagrees);
        }
        let energy = Estimate {
            mean: window.power.watts * latency.mean,
            interval: window.power.interval * latency.mean,
        };
        Ok(Measured {
            estimate: energy,
            conditions,
            latency: Some(latency),
        })
    }
}

impl Backend for GpuBackend {
    type Candidate = GpuCandidate;

    fn device(&self) -> &DeviceClass {
        self.gpu.device_class()
    }

    fn uuid(&self) -> Option<String> {
        self.gpu.uuid().ok().flatten()
    }

    fn machine(&self) -> Machine {
        self.gpu.machine()
    }

    fn most_candidates(&self) -> usize {
        self.candidates
    }

    fn energy_is_free(&self) -> bool {
        false
    }

    fn set_effort(&mut self, effort: Effort) {
        self.effort = effort;
    }

    fn begin(&mut self, instance: Instance<'_>, _: Instant) -> Result<(), BackendError> {
        self.sound()?;
        self.workloads.clear();
        self.reference = None;
        let l2 = self.gpu.l2_bytes().map_err(|error| self.failed(error))?;
        let least = ROTATION * l2.unwrap_or(LARGEST_L2);
        let warm = instance.warm_inputs.iter();
        let warm = warm.filter_map(|&input| Some(instance.inputs.get(input as usize)?.bytes.len() as u64));
        let each = (bytes(instance.checked, instance.sizes))
            .saturating_sub(warm.sum())
            .max(1);
        let sets = match self.cache {
            CacheMode::Cold => least.div_ceil(each).clamp(1, MOST_SETS) + 1,
            CacheMode::Warm => 1,
        };
        for _ in 0..sets {
            match Workload::beside(self.workloads.first(), &self.gpu, instance) {
                Ok(set) => self.workloads.push(set),
                Err(Error::OutOfMemory { .. }) if !self.workloads.is_empty() => {
                    // Modules, graphs and partial sums need memory, too.
                    if self.workloads.len() > 1 {
                        self.workloads.pop();
                    }
                    break;
                }
                Err(error @ Error::OutOfMemory { .. }) => return Err(BackendError::Unfit(error.to_string())),
                Err(error) => return Err(self.failed(error)),
            }
        }
        // If tensors are small, or memory is short, some stay in the cache.
        self.cold = self.workloads.len() as u64 * each >= least;
        Ok(())
    }

    fn load(
        &mut self,
        instance: Instance<'_>,
        kernel: &Kernel,
        indices: &[OutputIndex],
        deadline: Instant,
    ) -> Result<(GpuCandidate, Vec<u64>), BackendError> {
        self.sound()?;
        let kernel = match self.gpu.compile(kernel) {
            Ok(kernel) => kernel,
            Err(error @ Error::Load { .. }) => return Err(BackendError::rejected(Reason::NotLoaded, error)),
            Err(error) => return Err(self.failed(error)),
        };
        let resources = kernel.resources().map_err(|error| self.failed(error))?;
        let spilled = resources.map_or(0, |resources| resources.local_bytes);
        if spilled > 0 {
            let detail = format!("{spilled} bytes of local memory a thread");
            return Err(BackendError::rejected(Reason::Spills, detail));
        }
        let begun = Instant::now();
        let ended = self.run(instance, &kernel, deadline).map_err(|error| match error {
            Error::Lower { .. } => BackendError::rejected(Reason::NotLaunched, error),
            error => self.failed(error),
        })?;
        if !ended {
            self.broken = Some("a kernel that does not end still runs".to_owned());
            let waited = begun.elapsed();
            let reason = if waited < HANGING { Reason::Late } else { Reason::Hung };
            let detail = format!("its first launch has not ended after {:.0} s", waited.as_secs_f64());
            return Err(BackendError::rejected(reason, detail));
        }
        let results = match self.workloads.first() {
            Some(first) => first.results(instance, indices).map_err(|error| self.failed(error))?,
            None => Vec::new(),
        };
        Ok((GpuCandidate { kernel }, results))
    }

    fn latency(
        &mut self,
        instance: Instance<'_>,
        candidate: &GpuCandidate,
        deadline: Instant,
    ) -> Result<Measured, BackendError> {
        self.sound()?;
        let measured = self
            .warm_up(instance, candidate, deadline)
            .and_then(|()| self.measure_latency(instance, candidate, deadline));
        self.busy = Some(Instant::now());
        measured.map_err(|error| self.failed(error))
    }

    fn energy(
        &mut self,
        instance: Instance<'_>,
        candidate: &GpuCandidate,
        latency: f64,
        deadline: Instant,
    ) -> Result<Option<Measured>, BackendError> {
        self.sound()?;
        if self.meter.is_err() || Instant::now() + self.effort.window() + MARGIN > deadline {
            return Ok(None);
        }
        let warm = self.warm_up(instance, candidate, deadline);
        let Ok(meter) = &self.meter else { return Ok(None) };
        let measured = warm.and_then(|()| self.measure_energy(meter, instance, candidate, latency));
        self.busy = Some(Instant::now());
        match measured {
            Ok(mut measured) => {
                let conditions = &mut measured.conditions;
                let reference = self.reference.get_or_insert_with(|| conditions.clone());
                let doubts = incomparable([&*reference, &*conditions].into_iter());
                conditions.flags.extend(doubts);
                conditions.flags.sort();
                conditions.flags.dedup();
                Ok(Some(measured))
            }
            // The counter failed, not the GPU.
            Err(Error::Energy { .. }) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_it_says_why() {
        if let Err(why) = GpuBackend::open(4) {
            assert!(!why.is_empty());
        }
    }
}
