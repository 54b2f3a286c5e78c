//! The measuring protocol: the times at which the counter is read.

use super::board::{Board, BoardState};
use super::estimate::{Power, Tick, Ticks, mean_power};
use super::nvml::Nvml;
use super::survey::{Survey, Thermometer};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// The time that work runs before its window begins, so that counter, clocks and regulators have settled.
pub const SETTLING: Duration = Duration::from_millis(500);

/// The longest wait for a tick of the counter, in seconds.
const PATIENCE: f64 = 2.0;

/// The pause between two readings of the counter, in seconds. A reading itself takes up to a few milliseconds.
const POLL: f64 = 1e-3;

/// The pause between two readings of instant power, in seconds. Faster ones may return zeros.
const POLL_POWER: f64 = 0.05;

/// The pause between two readings of the board's state, in seconds. Each takes several calls, made right after a tick.
const POLL_STATE: f64 = 0.25;

/// The number of successive failures to read the counter that are tolerated.
const MOST_FAILURES: u32 = 3;

/// The meter of a board.
#[derive(Debug)]
pub struct Meter<B = Nvml> {
    board: B,
}

/// A measurement over whole ticks of the counter.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The mean power by the counter.
    pub power: Power,
    /// The mean of instant power in watts, for a cross-check. `None` if unknown.
    pub instant_watts: Option<f64>,
    /// The states of the board in the window.
    pub survey: Survey,
}

impl Window {
    /// The length in seconds.
    pub fn seconds(&self) -> f64 {
        self.power.span.1 - self.power.span.0
    }

    /// `true` if instant power differs by more than 2 %.
    pub fn disagrees(&self) -> bool {
        let watts = self.power.watts;
        self.instant_watts
            .is_some_and(|instant| (instant - watts).abs() > 0.02 * watts)
    }
}

impl Meter {
    /// Opens the meter of a GPU's board.
    ///
    /// # Errors
    /// [`Error::Energy`] without NVML, without a counter, or if the board is partitioned, because the counter is the whole board's;
    /// [`Error::WrongKind`] for an emulated GPU.
    pub fn open(gpu: &Gpu) -> Result<Meter> {
        #[cfg_attr(not(feature = "emulator"), expect(irrefutable_let_patterns))]
        let Device::Cuda(cuda) = gpu.device() else {
            return Err(Error::WrongKind {
                what: "the energy counter",
                emulated: false,
            });
        };
        Ok(Meter::on(Nvml::at(&cuda.pci_bus_id()?)?))
    }

    /// The driver's version.
    ///
    /// # Errors
    /// [`Error::Energy`] if NVML does not state it.
    pub fn driver(&self) -> Result<String> {
        self.board.driver()
    }
}

impl<B: Board> Meter<B> {
    /// Creates the meter of this board.
    pub fn on(board: B) -> Meter<B> {
        Meter { board }
    }

    /// The board.
    pub fn board(&self) -> &B {
        &self.board
    }

    /// The state of the board at this moment.
    ///
    /// # Errors
    /// [`Error::Energy`] if the board is gone.
    pub fn state(&self) -> Result<BoardState> {
        self.board.state()
    }

    /// Repeats `step` and measures the mean power over at least this long.
    ///
    /// A step queues work. To keep the GPU busy it should wait for the previous step's work, not for its own. Let the work run for
    /// [`SETTLING`] before.
    ///
    /// # Errors
    /// Those of `step`, and of [`watch`](Meter::watch).
    pub fn power(&self, at_least: Duration, mut step: impl FnMut() -> Result<()>) -> Result<Window>
    where
        B: Sync,
    {
        let (closed, cancelled) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let window = self.watch(at_least, || cancelled.load(Relaxed));
                closed.store(true, Relaxed);
                window
            });
            // The GPU stays busy until the last tick has been seen.
            let mut worked = Ok(());
            while worked.is_ok() && !closed.load(Relaxed) && !watcher.is_finished() {
                worked = step();
            }
            cancelled.store(true, Relaxed);
            let window = watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            worked?;
            window
        })
    }

    /// Measures the mean power from now on, over at least this long. The window extends from one tick of the counter to another.
    ///
    /// The first tick is left out, because its interval began earlier.
    ///
    /// # Errors
    /// [`Error::Energy`] if the counter cannot be read, does not move or moves too seldom; if `cancelled` returns `true`.
    pub fn watch(&self, at_least: Duration, cancelled: impl Fn() -> bool) -> Result<Window> {
        let at_least = at_least.as_secs_f64();
        let limit = self.board.now() + 2.0 * at_least + 2.0 * PATIENCE;
        let mut ticks = Ticks::default();
        let mut instants: Vec<(f64, f64)> = Vec::new();
        let mut survey = Survey::default();
        let (mut polled, mut looked) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        loop {
            if cancelled() {
                return Err(failed("the measurement was cancelled"));
            }
            let (asked, now, value) = self.read()?;
            let moved = ticks.read(asked, now, value);
            if moved && let [_, ticks @ ..] = ticks.ticks() {
                // The estimate is made as soon as the window can be long enough.
                let long = ticks.first().is_some_and(|first| now - first.at >= at_least);
                if long
                    && let Some(power) = mean_power(ticks)
                    && power.span.1 - power.span.0 >= at_least
                {
                    let within = instants
                        .iter()
                        .filter(|(at, _)| (power.span.0..=power.span.1).contains(at));
                    let (sum, count) = within.fold((0.0, 0.0), |(sum, count), (_, watts)| (sum + watts, count + 1.0));
                    return Ok(Window {
                        power,
                        instant_watts: (count > 0.0).then(|| sum / count),
                        survey,
                    });
                }
                if now - looked >= POLL_STATE {
                    // If the board does not answer, everything is unknown.
                    survey.add(self.board.state().unwrap_or_default());
                    looked = now;
                }
            }
            self.check_moving(&ticks, now)?;
            if now > limit {
                return Err(failed("the energy counter moved too seldom or too irregularly"));
            }
            if now - polled >= POLL_POWER {
                instants.extend(self.board.instant_watts().map(|watts| (now, watts)));
                polled = now;
            }
            self.board.rest(POLL);
        }
    }

    /// Repeats `step` until the board's temperature has settled ([`Thermometer`]), for at most this long. Returns `true` if it has.
    ///
    /// # Errors
    /// Those of `step`; [`Error::Energy`] if the board is gone.
    pub fn warm_up(&self, at_most: Duration, mut step: impl FnMut() -> Result<()>) -> Result<bool> {
        let begun = self.board.now();
        let mut thermometer = Thermometer::default();
        while !thermometer.settled() {
            if self.board.now() - begun >= at_most.as_secs_f64() {
                return Ok(false);
            }
            step()?;
            if let Some(celsius) = self.board.state()?.temperature_celsius {
                thermometer.read(self.board.now(), f64::from(celsius));
            }
        }
        Ok(true)
    }

    /// Waits for the next step of the counter.
    pub(super) fn next_tick(&self, ticks: &mut Ticks) -> Result<Tick> {
        loop {
            let (asked, answered, value) = self.read()?;
            if ticks.read(asked, answered, value)
                && let Some(tick) = ticks.ticks().last()
            {
                return Ok(*tick);
            }
            self.check_moving(ticks, answered)?;
            self.board.rest(POLL);
        }
    }

    /// Reads the counter: the time of the request, the time of the answer, and millijoules. Tolerates single failures.
    pub(super) fn read(&self) -> Result<(f64, f64, u64)> {
        let asked = self.board.now();
        let mut failures = 0;
        loop {
            match self.board.millijoules() {
                Ok(value) => return Ok((asked, self.board.now(), value)),
                Err(error) if failures >= MOST_FAILURES => return Err(error),
                Err(_) => failures += 1,
            }
            self.board.rest(POLL);
        }
    }

    fn check_moving(&self, ticks: &Ticks, now: f64) -> Result<()> {
        match now - ticks.last_moved() > PATIENCE {
            true => Err(failed(&format!("the energy counter did not move for {PATIENCE} s"))),
            false => Ok(()),
        }
    }
}

fn failed(reason: &str) -> Error {
    Error::Energy {
        reason: reason.to_owned(),
    }
}
