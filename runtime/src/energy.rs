//! Joules, from the energy counter of the board (NVML).
//!
//! The counter is the hardware's own integral of power. It moves in steps, about every 100 ms; what is read between steps is old. So every
//! window here starts and ends *on a tick*: power is the counter's difference between two ticks over the time between them.
//! (`nvmlDeviceGetPowerUsage` is an average over a second on recent boards, and is not used.)
//!
//! ```text
//!   counter   ──┐    ┌────┐    ┌────┐    ┌──        work  ├───────────────────┤
//!               └────┘    └────┘    └────┘                ▲                   ▲
//!              tick      tick      tick              starts after a tick   the tick after it ends the last interval,
//!                                                                          of which a part is the work's: uncertainty
//! ```

use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// NVML's field for power at this moment, in milliwatts.
const INSTANT_POWER: FieldId = FieldId(186);
/// The longest that a tick of the counter is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two readings of the counter. One reading costs up to some milliseconds itself.
const POLL: Duration = Duration::from_millis(1);
/// Between two readings of instant power: faster ones may return zeros.
const POLL_POWER: Duration = Duration::from_millis(50);

/// The energy of a region of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Energy {
    /// Joules of the whole board, from the region's start to its end.
    pub joules: f64,
    /// How far from it the truth can be, by the counter's resolution in time.
    pub uncertainty: f64,
    /// Seconds: of the region, or, simulated, of its launches.
    pub seconds: f64,
    /// Whether it was simulated, on an emulated GPU.
    pub simulated: bool,
}

/// Mean power over whole ticks of the counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Watts of the whole board.
    pub watts: f64,
    /// Half the width of the interval that the ticks' timing leaves, in watts.
    pub uncertainty: f64,
    /// Seconds from the first tick to the last.
    pub seconds: f64,
    /// Steps of the counter in it.
    pub ticks: usize,
    /// Mean of instant power polled meanwhile, for a cross-check; none where the board does not say.
    pub instant_watts: Option<f64>,
}

/// How the counter behaves on this machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Seconds between its steps.
    pub period_s: f64,
    /// Seconds that reading it takes, the longest seen.
    pub call_s: f64,
}

/// The state of a board: under which conditions a figure was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoardState {
    /// Clock of the multiprocessors, in MHz.
    pub sm_clock_mhz: Option<u32>,
    /// Clock of the memory, in MHz.
    pub memory_clock_mhz: Option<u32>,
    /// Temperature of the GPU, in °C.
    pub temperature_celsius: Option<u32>,
    /// The limit in force, in watts.
    pub power_limit_watts: Option<f64>,
    /// Why clocks are lower than they could be: NVML's bit mask.
    pub throttle_reasons: u64,
    /// Other processes that compute on the board.
    pub foreign_processes: usize,
}

/// The meter of one board.
pub struct Meter {
    nvml: Nvml,
    bus_id: String,
}

/// A reading of the counter at a step of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tick {
    /// Seconds since some start.
    at: f64,
    /// The step lies at most so many seconds before.
    gap: f64,
    millijoules: u64,
}

fn failed(what: &str) -> impl FnOnce(NvmlError) -> Error {
    move |error| {
        let advice = match error {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => "; install the driver's NVML library",
            NvmlError::NoPermission => "; this user may not read it",
            NvmlError::NotSupported => "; this board does not count energy (Volta and later do)",
            _ => "",
        };
        Error::Energy {
            reason: format!("{what}: {error}{advice}"),
        }
    }
}

impl Gpu {
    /// Runs `work`, waits for it, and returns its energy beside its result. Other work on the same board counts in.
    ///
    /// The counter moves about every 100 ms, so it first waits up to two steps, and the uncertainty is large for short work: repeat it
    /// for seconds. On an emulated GPU the energy is simulated.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Energy`] where the board's counter cannot be read.
    pub fn energy<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<(Energy, R)> {
        match self.device() {
            Device::Cuda(_) => Meter::open(self)?.region(|| {
                let result = work()?;
                self.synchronize()?;
                Ok(result)
            }),
            #[cfg(feature = "emulator")]
            Device::Emulated(emulated) => {
                let (tally, result) = emulated.counted(work)?;
                let energy = Energy {
                    joules: tally.energy_j,
                    uncertainty: 0.0,
                    seconds: tally.latency_s,
                    simulated: true,
                };
                Ok((energy, result))
            }
        }
    }
}

impl Meter {
    /// The meter of a GPU's board.
    ///
    /// # Errors
    /// [`Error::Energy`] without NVML, without a counter, or when the board is partitioned (the counter is the whole board's);
    /// [`Error::WrongKind`] for an emulated GPU.
    pub fn open(gpu: &Gpu) -> Result<Meter> {
        #[cfg_attr(not(feature = "emulator"), expect(irrefutable_let_patterns))]
        let Device::Cuda(cuda) = gpu.device() else {
            return Err(Error::WrongKind {
                what: "the energy counter",
                emulated: false,
            });
        };
        Meter::of_board(cuda.pci_bus_id()?)
    }

    fn of_board(bus_id: String) -> Result<Meter> {
        let meter = Meter {
            nvml: Nvml::init().map_err(failed("NVML cannot be used"))?,
            bus_id,
        };
        let device = meter.device()?;
        if device.mig_mode().is_ok_and(|mode| mode.current != 0) {
            return Err(Error::Energy {
                reason: "the board is partitioned (MIG), and its counter is the whole board's".to_owned(),
            });
        }
        meter.millijoules()?;
        Ok(meter)
    }

    fn device(&self) -> Result<nvml_wrapper::Device<'_>> {
        self.nvml
            .device_by_pci_bus_id(self.bus_id.as_str())
            .map_err(failed("NVML does not know the board"))
    }

    fn millijoules(&self) -> Result<u64> {
        self.device()?
            .total_energy_consumption()
            .map_err(failed("the energy counter cannot be read"))
    }

    /// The driver's version.
    ///
    /// # Errors
    /// [`Error::Energy`] if NVML does not say.
    pub fn driver(&self) -> Result<String> {
        self.nvml.sys_driver_version().map_err(failed("the driver's version"))
    }

    /// Watts at this moment; none where the board does not say.
    pub fn instant_watts(&self) -> Option<f64> {
        let values = self.device().ok()?.field_values_for(&[INSTANT_POWER]).ok()?;
        let milliwatts = match values.into_iter().next()?.ok()?.value.ok()? {
            SampleValue::U32(value) => f64::from(value),
            SampleValue::U64(value) => value as f64,
            SampleValue::I64(value) => value as f64,
            SampleValue::F64(value) => value,
        };
        (milliwatts > 0.0).then_some(milliwatts * 1e-3)
    }

    /// The state of the board now.
    ///
    /// # Errors
    /// [`Error::Energy`] if the board is gone.
    pub fn state(&self) -> Result<BoardState> {
        let device = self.device()?;
        let own = std::process::id();
        Ok(BoardState {
            sm_clock_mhz: device.clock_info(Clock::SM).ok(),
            memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
            temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok(),
            power_limit_watts: device
                .enforced_power_limit()
                .ok()
                .map(|milliwatts| f64::from(milliwatts) * 1e-3),
            throttle_reasons: device.current_throttle_reasons().map_or(0, |reasons| reasons.bits()),
            foreign_processes: device.running_compute_processes().map_or(0, |processes| {
                processes.iter().filter(|process| process.pid != own).count()
            }),
        })
    }

    /// Finds out how the counter behaves: watches some steps of it.
    ///
    /// # Errors
    /// [`Error::Energy`] if it does not move.
    pub fn calibrate(&self) -> Result<Calibration> {
        let start = Instant::now();
        let mut call_s: f64 = 0.0;
        let first = self.tick(start)?;
        let mut last = first;
        let steps = 8;
        for _ in 0..steps {
            last = self.tick(start)?;
            let before = Instant::now();
            self.millijoules()?;
            call_s = call_s.max(before.elapsed().as_secs_f64());
        }
        Ok(Calibration {
            period_s: (last.at - first.at) / f64::from(steps),
            call_s,
        })
    }

    /// Waits for the next step of the counter.
    fn tick(&self, start: Instant) -> Result<Tick> {
        let began = Instant::now();
        // A thread may rest between asking and looking at the clock, so the gap begins before the last reading but one.
        let mut before = start.elapsed();
        let old = self.millijoules()?;
        loop {
            let asked = start.elapsed();
            let millijoules = self.millijoules()?;
            let now = start.elapsed();
            if millijoules != old {
                return Ok(Tick {
                    at: now.as_secs_f64(),
                    gap: (now - before).as_secs_f64(),
                    millijoules,
                });
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::Energy {
                    reason: format!("the energy counter stands still for {} s", PATIENCE.as_secs()),
                });
            }
            before = asked;
            std::thread::sleep(POLL);
        }
    }

    fn region<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<(Energy, R)> {
        let clock = Instant::now();
        let earlier = self.tick(clock)?;
        let start = self.tick(clock)?;
        let result = work()?;
        let end = clock.elapsed().as_secs_f64();
        let at_end = self.millijoules()?;
        let read_by = clock.elapsed().as_secs_f64();
        let after = self.tick(clock)?;
        let energy = attribute([earlier, start, after], end, at_end, read_by);
        Ok((energy, result))
    }

    /// Runs `step` again and again for at least that long, and returns the mean power meanwhile. A step gives the GPU work and
    /// keeps it busy: it should wait for the step before, not for its own. The first interval of the counter is left out.
    ///
    /// # Errors
    /// Those of `step`; [`Error::Energy`] if fewer than two steps of the counter were seen.
    pub fn power(&self, at_least: Duration, mut step: impl FnMut() -> Result<()>) -> Result<Window> {
        let clock = Instant::now();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sampler = scope.spawn(|| self.sample(clock, &done));
            let mut worked = Ok(());
            while worked.is_ok() && clock.elapsed() < at_least {
                worked = step();
            }
            // Until a tick closes the window, the GPU stays busy.
            let closing = Instant::now();
            while worked.is_ok() && closing.elapsed() < Duration::from_millis(120) {
                worked = step();
            }
            done.store(true, Relaxed);
            let sampled = sampler.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            worked?;
            let (ticks, watts) = sampled?;
            let instant = (!watts.is_empty()).then(|| watts.iter().sum::<f64>() / watts.len() as f64);
            mean_power(&ticks, instant).ok_or_else(|| Error::Energy {
                reason: "the energy counter did not move often enough: measure for longer".to_owned(),
            })
        })
    }

    /// All steps of the counter, and instant power, until it is done.
    fn sample(&self, clock: Instant, done: &AtomicBool) -> Result<(Vec<Tick>, Vec<f64>)> {
        let (mut ticks, mut watts) = (Vec::new(), Vec::new());
        let mut before = clock.elapsed();
        let mut value = self.millijoules()?;
        let mut polled = before;
        while !done.load(Relaxed) {
            std::thread::sleep(POLL);
            let asked = clock.elapsed();
            let millijoules = self.millijoules()?;
            let now = clock.elapsed();
            if millijoules != value {
                ticks.push(Tick {
                    at: now.as_secs_f64(),
                    gap: (now - before).as_secs_f64(),
                    millijoules,
                });
                value = millijoules;
            }
            before = asked;
            if now - polled >= POLL_POWER {
                watts.extend(self.instant_watts());
                polled = now;
            }
        }
        Ok((ticks, watts))
    }
}

/// The energy of a region that starts on the second tick, the first being the one before, and ends at `end`, between a tick of
/// which `at_end` is the value, read by `read_by`, and the third tick.
///
/// In that last interval the work drew no less than nothing and no more than all that was counted; had power been even, a part by
/// time. The estimate lies halfway between that part and all of it, for the GPU draws less when the work is over.
fn attribute([earlier, start, after]: [Tick; 3], end: f64, at_end: u64, read_by: f64) -> Energy {
    let period = start.at - earlier.at;
    let joules = |millijoules: u64| millijoules as f64 * 1e-3;
    let certain = joules(at_end.saturating_sub(start.millijoules));
    let last = joules(after.millijoules.saturating_sub(at_end));
    let by_time = match period > 0.0 {
        true => (1.0 - (after.at - end) / period).clamp(0.0, 1.0),
        false => 0.0,
    };
    let watts = (certain + last) / (after.at - start.at).max(f64::MIN_POSITIVE);
    // Each tick happened within its gap: that moves the start, the end of the last interval, and the period by which it is divided.
    let unseen = start.gap + after.gap + start.gap.max(earlier.gap) + (read_by - end);
    Energy {
        joules: certain + last * (1.0 + by_time) / 2.0,
        uncertainty: last * (1.0 - by_time) / 2.0 + watts * unseen + 1e-3,
        seconds: end - start.at,
        simulated: false,
    }
}

/// Mean power from the second tick (the first ends an interval that began before the work) to the last.
fn mean_power(ticks: &[Tick], instant_watts: Option<f64>) -> Option<Window> {
    let [_, first, .., last] = ticks else { return None };
    let seconds = last.at - first.at;
    if seconds <= 0.0 {
        return None;
    }
    let watts = last.millijoules.saturating_sub(first.millijoules) as f64 * 1e-3 / seconds;
    Some(Window {
        watts,
        // Each tick happened within its gap; the counter counts whole millijoules.
        uncertainty: watts * first.gap.max(last.gap) / seconds + 1e-3 / seconds,
        seconds,
        ticks: ticks.len() - 2,
        instant_watts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(at: f64, millijoules: u64) -> Tick {
        Tick {
            at,
            gap: 0.002,
            millijoules,
        }
    }

    /// Ticks every 100 ms of a board that draws 300 W.
    fn steady(count: u32) -> Vec<Tick> {
        (0..count)
            .map(|i| tick(0.1 * f64::from(i) + 0.013, 1_000_000 + 30_000 * u64::from(i)))
            .collect()
    }

    #[test]
    fn steady_power_is_found_between_ticks() {
        let window = mean_power(&steady(22), Some(299.0)).expect("enough ticks");
        assert!((window.watts - 300.0).abs() < 1e-6, "{window:?}");
        assert!((window.seconds - 2.0).abs() < 1e-9 && window.ticks == 20);
        assert!(window.uncertainty < 0.003 * window.watts, "{window:?}");
        assert_eq!(window.instant_watts, Some(299.0));
    }

    #[test]
    fn too_few_ticks_are_no_window() {
        assert_eq!(mean_power(&steady(2), None), None);
        assert!(mean_power(&steady(3), None).is_some());
        assert_eq!(mean_power(&[], None), None);
    }

    #[test]
    fn the_true_energy_lies_within_the_uncertainty() {
        // 300 W during the work, 100 W afterwards; ticks at multiples of 100 ms, each seen up to 2 ms late; the work ends anywhere.
        let late = [0.0, 0.0007, 0.002];
        for end in [0.13, 0.2, 0.2004, 0.55, 1.0499, 2.999] {
            for (earlier, started, ended) in (0..27).map(|n| (late[n % 3], late[n / 3 % 3], late[n / 9])) {
                let counted = |time: f64| (300.0 * time.min(end) + 100.0 * (time - end).max(0.0)) * 1e3;
                let last = (end * 10.0f64).floor() / 10.0;
                let ticks = [
                    tick(-0.1 + earlier, 0),
                    tick(started, 0),
                    tick(last + 0.1 + ended, counted(last + 0.1) as u64),
                ];
                let energy = attribute(ticks, end, counted(last) as u64, end);
                let truth = 300.0 * (end - started);
                assert!(
                    (energy.joules - truth).abs() <= energy.uncertainty,
                    "{end}: {energy:?}, truth {truth}"
                );
                assert!(energy.uncertainty < 0.06 * 300.0 + 3.0, "{energy:?}");
                assert!((energy.seconds - (end - started)).abs() < 1e-12 && !energy.simulated);
            }
        }
    }

    #[test]
    fn a_machine_without_nvml_is_told_so() {
        // On a machine with NVML there is no board of that address either.
        let error = Meter::of_board("FFFFFFFF:FF:FF.0".to_owned())
            .err()
            .expect("no such board");
        assert!(matches!(error, Error::Energy { .. }), "{error}");
    }

    #[cfg(feature = "emulator")]
    #[test]
    fn an_emulated_gpu_has_simulated_energy_and_no_meter() {
        let gpu = Gpu::emulated();
        assert!(matches!(Meter::open(&gpu), Err(Error::WrongKind { .. })));
        let (energy, answer) = gpu.energy(|| Ok(42)).expect("nothing can fail");
        assert_eq!(answer, 42);
        assert!(energy.simulated && energy.joules == 0.0);
    }
}
