//! Calibration: measures the behaviour of a board's counter, once per machine, before its figures are trusted.

use super::board::Board;
use super::estimate::{Power, Ticks};
use super::meter::Meter;
use crate::error::Result;
use std::fmt::{Display, Formatter};
use std::time::Duration;

/// The periods of the loads in seconds: far from the counter's own period, at it, and near it. Each load is on for half of its period.
pub const LOAD_PERIODS: [f64; 3] = [0.025, 0.1, 0.13];

/// The time for which each load is measured.
const LOAD_WINDOW: Duration = Duration::from_secs(3);

/// The number of counter steps that are measured.
const STEPS: usize = 16;

/// If loads of equal mean power seem to differ by more than this fraction, the counter samples power instead of integrating it.
const MOST_DISAGREEMENT: f64 = 0.05;

/// The behaviour of a counter.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Seconds between steps: the median, the shortest, the longest.
    pub step_s: [f64; 3],
    /// Seconds per reading: the median, the shortest, the longest.
    pub call_s: [f64; 3],
    /// The period in seconds and the mean power of each load, which was on for half of the time. Empty without loads.
    pub loads: Vec<(f64, Power)>,
}

impl Calibration {
    /// The range of the loads' powers as a fraction of their mean. `None` without loads.
    ///
    /// All loads draw the same mean power, so a counter that integrates power shows no difference.
    pub fn disagreement(&self) -> Option<f64> {
        let watts = || self.loads.iter().map(|(_, power)| power.watts);
        let mean = watts().sum::<f64>() / self.loads.len() as f64;
        let most = watts().reduce(f64::max)?;
        let least = watts().reduce(f64::min)?;
        Some((most - least) / mean)
    }

    /// `true` if the counter aliases loads with about its own period. `None` without loads.
    pub fn aliases(&self) -> Option<bool> {
        Some(self.disagreement()? > MOST_DISAGREEMENT)
    }
}

impl<B: Board> Meter<B> {
    /// Measures the steps of the counter. Takes less than three seconds.
    ///
    /// # Errors
    /// [`Error::Energy`](crate::Error::Energy) if the counter does not move.
    pub fn calibrate(&self) -> Result<Calibration> {
        let mut ticks = Ticks::default();
        let mut calls = Vec::new();
        for _ in 0..=STEPS {
            self.next_tick(&mut ticks)?;
            // Directly after a step, so that no step is missed.
            let (asked, answered, value) = self.read()?;
            ticks.read(asked, answered, value);
            calls.push(answered - asked);
        }
        let steps = ticks.ticks().windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        Ok(Calibration {
            step_s: spread(steps),
            call_s: spread(calls),
            loads: Vec::new(),
        })
    }

    /// Measures the steps of the counter, and whether it aliases. Takes about 15 s.
    ///
    /// `load` must keep the GPU busy for the given number of seconds and wait for it.
    ///
    /// # Errors
    /// Those of `load`; [`Error::Energy`](crate::Error::Energy) if the counter does not move.
    pub fn calibrate_under(&self, mut load: impl FnMut(f64) -> Result<()>) -> Result<Calibration>
    where
        B: Sync,
    {
        let mut calibration = self.calibrate()?;
        for period in LOAD_PERIODS {
            let window = self.power(LOAD_WINDOW, || {
                load(period / 2.0)?;
                self.board().rest(period / 2.0);
                Ok(())
            })?;
            calibration.loads.push((period, window.power));
        }
        Ok(calibration)
    }
}

/// The median, the smallest and the largest value.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |position: usize| values.get(position).copied().unwrap_or(0.0);
    [at(values.len() / 2), at(0), at(values.len().saturating_sub(1))]
}

impl Display for Calibration {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let [step, shortest, longest] = self.step_s.map(|seconds| seconds * 1e3);
        let [call, _, slowest] = self.call_s.map(|seconds| seconds * 1e3);
        write!(
            f,
            "steps every {step:.0} ms ({shortest:.0} to {longest:.0}), a reading takes {call:.1} ms (up to {slowest:.1})"
        )?;
        for (period, power) in &self.loads {
            write!(
                f,
                "; on and off every {:.0} ms: {:.1} ± {:.1} W",
                period * 1e3,
                power.watts,
                power.interval
            )?;
        }
        match self.aliases() {
            Some(true) => write!(
                f,
                "; these should be equal: the counter aliases, and short kernels with pauses mislead it"
            ),
            Some(false) => write!(f, "; no aliasing"),
            None => Ok(()),
        }
    }
}
