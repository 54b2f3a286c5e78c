//! A real GPU as a meter: CUDA events for latency, the board's energy counter for energy.
//!
//! Launches rotate over several sets of tensors, more than the L2 cache holds, so that every launch finds them in device
//! memory; many launches make one CUDA graph, so that the GPU never waits for the host.

use super::data::{Data, bytes};
use super::meter::{Measured, Meter, MeterError, Problem, Workload};
use energy_kernel::energy::{BoardState, Meter as Board};
use energy_kernel::tools::{Graph, LoadedKernel};
use energy_kernel::{Error, Gpu};
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::{CacheMode, Conditions, DeviceClass, Estimate, Flag, Inputs};
use energy_kernel_compiler::target::{Machine, Target};
use std::time::{Duration, Instant};

/// Tensors in rotation have at least so many bytes: three times the largest L2 cache there is (128 MiB would be four).
const ROTATION_BYTES: u64 = 192 << 20;

/// The most sets of tensors: small operators would need thousands, and find most of them in L2 all the same.
const MOST_SETS: u64 = 256;

/// A graph takes about so long, in seconds: long against its launch, short against a deadline.
const GRAPH_SECONDS: f64 = 0.01;

/// The most launches in a graph.
const MOST_LAUNCHES: usize = 4096;

/// Graphs that are timed for one latency.
const REPETITIONS: usize = 7;

/// Each candidate runs so long before its energy is measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// The card runs so long before anything is timed, so that all candidates stand in the same sustained state.
const FIRST_WARM_UP: Duration = Duration::from_secs(3);

/// The energy window while searching.
const WINDOW: Duration = Duration::from_millis(2200);

/// NVML's reasons for throttling that are nobody's wish: software and hardware thermal slowdown, hardware slowdown, power brake.
const THROTTLING: u64 = 0x8 | 0x20 | 0x40 | 0x80;

/// NVML's reason for throttling at the power limit.
const POWER_CAP: u64 = 0x4;

/// A GPU.
pub struct GpuMeter {
    gpu: Gpu,
    machine: Machine,
    candidates: usize,
    board: Option<Board>,
    driver: String,
    workloads: Vec<Workload>,
    /// Whether the card has left its idle state.
    warm: bool,
}

/// A candidate on the GPU.
pub struct Loaded {
    kernel: LoadedKernel,
}

impl GpuMeter {
    /// The first GPU.
    ///
    /// # Errors
    /// There is none that can be used, and why.
    pub fn open(candidates: usize) -> Result<GpuMeter, String> {
        let gpu = Gpu::open().map_err(|error| error.to_string())?;
        let class = gpu.device_class();
        let (major, minor) = class.compute_capability;
        let machine = Machine {
            target: Target::for_capability(major, minor).ok_or("its compute capability is below 8.0")?,
            multiprocessors: class.multiprocessors,
        };
        // Without the counter latencies can still be measured.
        let board = Board::open(&gpu).ok();
        let driver = board.as_ref().and_then(|board| board.driver().ok()).unwrap_or_default();
        Ok(GpuMeter {
            gpu,
            machine,
            candidates,
            board,
            driver,
            workloads: Vec::new(),
            warm: false,
        })
    }

    /// As many launches, in turn on each set of tensors, in one graph.
    fn graph(&self, problem: Problem<'_>, candidate: &Loaded, launches: usize) -> Result<Graph, Error> {
        let arguments: Vec<_> = self
            .workloads
            .iter()
            .map(|set| (set.arguments(), set.views()))
            .collect();
        let prepared: Vec<_> = arguments
            .iter()
            .map(|(arguments, views)| {
                let kernel = &candidate.kernel;
                // SAFETY: candidates are lowered from the problem, whose sizes were verified and made the tensors.
                unsafe { kernel.prepare(problem.checked, problem.specialisation, problem.sizes, arguments, views) }
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

    /// Launches for a graph of about the right length, from one measured quickly.
    fn launches(&self, problem: Problem<'_>, candidate: &Loaded) -> Result<usize, Error> {
        let few = self.workloads.len().clamp(1, 32);
        let graph = self.graph(problem, candidate, few)?;
        graph.launch()?;
        self.gpu.synchronize()?;
        let (seconds, ()) = self.gpu.time(|| graph.launch())?;
        let each = (seconds / few as f64).max(1e-7);
        Ok(((GRAPH_SECONDS / each) as usize).clamp(few, MOST_LAUNCHES))
    }

    /// Keeps the GPU busy.
    fn run_for(&self, time: Duration, problem: Problem<'_>, candidate: &Loaded) -> Result<(), Error> {
        let graph = self.graph(problem, candidate, self.launches(problem, candidate)?)?;
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.gpu.time(|| graph.launch())?;
        }
        Ok(())
    }

    fn conditions(&self, problem: Problem<'_>, before: Option<BoardState>, launches: u64) -> Conditions {
        let after = self.board.as_ref().and_then(|board| board.state().ok());
        let clock = |state: Option<BoardState>| state.and_then(|state| state.sm_clock_mhz).map(f64::from);
        let temperature = |state: Option<BoardState>| state.and_then(|state| state.temperature_celsius).map(f64::from);
        let reasons = [before, after]
            .into_iter()
            .flatten()
            .fold(0, |all, state| all | state.throttle_reasons);
        let moved =
            |a: Option<f64>, b: Option<f64>, most: f64| matches!((a, b), (Some(a), Some(b)) if (a - b).abs() > most);
        let mut flags = Vec::new();
        let mut flag = |raised: bool, flag: Flag| {
            if raised {
                flags.push(flag);
            }
        };
        flag(reasons & THROTTLING != 0, Flag::Throttled);
        flag(reasons & POWER_CAP != 0, Flag::AtPowerLimit);
        flag(
            moved(clock(before), clock(after), 0.02 * clock(before).unwrap_or(0.0)),
            Flag::ClockDrift,
        );
        flag(
            moved(temperature(before), temperature(after), 3.0),
            Flag::TemperatureDrift,
        );
        flag(
            after.is_some_and(|state| state.foreign_processes > 0),
            Flag::ForeignProcess,
        );
        let positive = |value: f64| (value > 0.0).then_some(value);
        Conditions {
            driver: self.driver.clone(),
            simulated_profile: None,
            sm_clock_mhz: clock(after).and_then(positive),
            memory_clock_mhz: after
                .and_then(|state| state.memory_clock_mhz)
                .map(f64::from)
                .and_then(positive),
            temperature_celsius: temperature(after),
            power_watts: None,
            power_limit_watts: after.and_then(|state| state.power_limit_watts).and_then(positive),
            throttle_reasons: reasons,
            window_seconds: 0.0,
            launches,
            inputs: Inputs::Random { seed: problem.seed },
            cache: CacheMode::Cold,
            flags,
        }
    }

    fn measure_latency(&self, problem: Problem<'_>, candidate: &Loaded, deadline: Instant) -> Result<Measured, Error> {
        let before = self.board.as_ref().and_then(|board| board.state().ok());
        let launches = self.launches(problem, candidate)?;
        let graph = self.graph(problem, candidate, launches)?;
        graph.launch()?;
        let mut seconds = Vec::with_capacity(REPETITIONS);
        for _ in 0..REPETITIONS {
            let (elapsed, ()) = self.gpu.time(|| graph.launch())?;
            seconds.push(elapsed / launches as f64);
            if seconds.len() >= 3 && Instant::now() >= deadline {
                break;
            }
        }
        let conditions = self.conditions(problem, before, (launches * seconds.len()) as u64);
        Ok(Measured {
            estimate: estimate(&seconds),
            conditions,
        })
    }

    fn measure_energy(
        &self,
        board: &Board,
        problem: Problem<'_>,
        candidate: &Loaded,
        latency: f64,
    ) -> Result<Measured, Error> {
        let before = board.state().ok();
        let launches = ((GRAPH_SECONDS / latency) as usize).clamp(1, MOST_LAUNCHES);
        let graph = self.graph(problem, candidate, launches)?;
        let warm = Instant::now();
        while warm.elapsed() < WARM_UP {
            self.gpu.time(|| graph.launch())?;
        }
        // Steps of some 20 ms: the GPU idles for a thousandth of that between them.
        let (mut graphs, mut busy) = (0u64, 0.0);
        let window = board.power(WINDOW, || {
            let (seconds, ()) = self.gpu.time(|| {
                graph.launch()?;
                graph.launch()
            })?;
            graphs += 2;
            busy += seconds;
            Ok(())
        })?;
        let each = busy / (graphs as f64 * launches as f64);
        let mut conditions = self.conditions(problem, before, graphs * launches as u64);
        conditions.power_watts = Some(window.watts).filter(|watts| *watts > 0.0);
        conditions.window_seconds = window.seconds;
        let disagrees = |instant: f64| (instant - window.watts).abs() > 0.02 * window.watts;
        if window.instant_watts.is_some_and(disagrees) {
            conditions.flags.push(Flag::PowerDisagrees);
        }
        if window.seconds < 1.5 {
            conditions.flags.push(Flag::ShortWindow);
        }
        let estimate = Estimate {
            mean: window.watts * each,
            interval: window.uncertainty * each,
        };
        Ok(Measured { estimate, conditions })
    }
}

/// Mean and 95 % confidence interval. Few samples, so by Student's distribution.
fn estimate(samples: &[f64]) -> Estimate {
    const QUANTILES: [f64; 7] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365];
    let count = samples.len().max(1) as f64;
    let mean = samples.iter().sum::<f64>() / count;
    if samples.len() < 2 {
        return Estimate { mean, interval: 0.0 };
    }
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let quantile = QUANTILES.get(samples.len() - 2).copied().unwrap_or(1.96);
    Estimate {
        mean,
        interval: quantile * (variance / count).sqrt(),
    }
}

/// An error of the device ends the tuning; it is not known what it left behind.
fn broken(error: Error) -> MeterError {
    MeterError::Broken(error.to_string())
}

impl Meter for GpuMeter {
    type Candidate = Loaded;

    fn device(&self) -> &DeviceClass {
        self.gpu.device_class()
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

    fn begin(&mut self, problem: Problem<'_>) -> Result<(), MeterError> {
        self.workloads.clear();
        let sets = (ROTATION_BYTES / bytes(problem.checked, problem.sizes).max(1)).clamp(1, MOST_SETS) + 1;
        for _ in 0..sets {
            self.workloads.push(Workload::new(&self.gpu, problem)?);
        }
        Ok(())
    }

    fn load(&mut self, problem: Problem<'_>, kernel: &Kernel, _: Instant) -> Result<(Loaded, Vec<Data>), MeterError> {
        let kernel = self
            .gpu
            .compile(kernel)
            .map_err(|error| MeterError::Refused(error.to_string()))?;
        if let Some(resources) = kernel.resources().map_err(broken)?
            && resources.local_bytes > 0
        {
            return Err(MeterError::Refused(format!(
                "it spills {} bytes a thread",
                resources.local_bytes
            )));
        }
        let Some(first) = self.workloads.first_mut() else {
            return Err(MeterError::Broken("no problem was taken on".to_owned()));
        };
        first.poison(&self.gpu, problem)?;
        let (arguments, views) = (first.arguments(), first.views());
        // SAFETY: candidates are lowered from the problem, whose sizes were verified and made the tensors.
        let prepared = unsafe {
            kernel.prepare(
                problem.checked,
                problem.specialisation,
                problem.sizes,
                &arguments,
                &views,
            )
        };
        let prepared = prepared.map_err(|error| MeterError::Refused(error.to_string()))?;
        prepared.launch().map_err(broken)?;
        self.gpu.synchronize().map_err(broken)?;
        drop(prepared);
        let results = first.results(problem)?;
        Ok((Loaded { kernel }, results))
    }

    fn latency(&mut self, problem: Problem<'_>, candidate: &Loaded, deadline: Instant) -> Result<Measured, MeterError> {
        if !self.warm {
            self.run_for(FIRST_WARM_UP, problem, candidate).map_err(broken)?;
            self.warm = true;
        }
        self.measure_latency(problem, candidate, deadline).map_err(broken)
    }

    fn energy(
        &mut self,
        problem: Problem<'_>,
        candidate: &Loaded,
        latency: f64,
        deadline: Instant,
    ) -> Result<Option<Measured>, MeterError> {
        let Some(board) = &self.board else { return Ok(None) };
        if Instant::now() + WARM_UP + WINDOW > deadline {
            return Ok(None);
        }
        match self.measure_energy(board, problem, candidate, latency) {
            Ok(measured) => Ok(Some(measured)),
            // The counter failed, not the GPU.
            Err(Error::Energy { .. }) => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_have_the_interval_of_students_distribution() {
        let three = estimate(&[1.0, 2.0, 3.0]);
        assert_eq!(three.mean, 2.0);
        assert!((three.interval - 4.303 / 3f64.sqrt()).abs() < 1e-3);
        assert_eq!(estimate(&[5.0]).interval, 0.0);
        assert_eq!(
            estimate(&[4.0; 7]),
            Estimate {
                mean: 4.0,
                interval: 0.0
            }
        );
    }

    #[test]
    fn without_a_gpu_it_says_why() {
        if let Err(why) = GpuMeter::open(4) {
            assert!(!why.is_empty());
        }
    }
}
