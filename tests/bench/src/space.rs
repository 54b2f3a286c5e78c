//! What is searched: candidates with known latencies, energies as they are measured, and the truth that choices are scored by.

use crate::random::Random;
use energy_kernel_build::tune::strategy::Candidate;
use energy_kernel_build::tune::trace::{Mapping, Sweep, SweepPoint, Table, TraceError, read_text};
use std::path::Path;

/// A search problem.
#[derive(Debug, Clone)]
pub struct Space {
    pub name: String,
    pub candidates: Vec<Candidate>,
    /// Joules, as measured once.
    pub measured: Vec<f64>,
    /// Joules, without the noise.
    pub truth: Vec<f64>,
    /// The relative standard deviation of a measurement.
    pub noise: f64,
}

impl Space {
    pub fn least(&self) -> f64 {
        self.truth.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// How much more than the least a candidate needs.
    pub fn regret(&self, candidate: usize) -> f64 {
        self.truth[candidate] / self.least() - 1.0
    }

    /// Those for which something holds.
    pub fn filtered(&self, name: String, keep: impl Fn(usize) -> bool) -> Space {
        let kept: Vec<usize> = (0..self.candidates.len()).filter(|&c| keep(c)).collect();
        Space {
            name,
            candidates: kept.iter().map(|&c| self.candidates[c].clone()).collect(),
            measured: kept.iter().map(|&c| self.measured[c]).collect(),
            truth: kept.iter().map(|&c| self.truth[c]).collect(),
            noise: self.noise,
        }
    }

    /// Another draw: each candidate is kept with this probability, and measured anew.
    pub fn resampled(&self, part: f64, random: &mut Random) -> Space {
        let kept: Vec<bool> = self.truth.iter().map(|_| random.unit() < part).collect();
        let mut space = self.filtered(self.name.clone(), |c| kept[c]);
        for (measured, truth) in space.measured.iter_mut().zip(&space.truth) {
            *measured = truth * (self.noise * random.normal()).exp();
        }
        space
    }

    /// Those no slower than so much beyond the fastest.
    pub fn within(&self, slack: f64, name: String) -> Space {
        let fastest = self.candidates.iter().map(|c| c.latency).fold(f64::INFINITY, f64::min);
        self.filtered(name, |c| self.candidates[c].latency <= (1.0 + slack) * fastest)
    }
}

/// What is assumed of the noise of energies that come without a repetition.
const UNKNOWN_NOISE: f64 = 0.005;

impl Space {
    /// A problem of a trace. What was measured counts as the truth: there is nothing else.
    pub fn of(sweep: &Sweep) -> Space {
        let candidate = |point: &SweepPoint| Candidate {
            features: point.features.clone(),
            latency: point.latency,
            expected: 0.0,
        };
        let energies: Vec<f64> = sweep.points.iter().map(|point| point.energy).collect();
        Space {
            name: sweep.problem.clone(),
            candidates: sweep.points.iter().map(candidate).collect(),
            measured: energies.clone(),
            truth: energies,
            noise: UNKNOWN_NOISE,
        }
    }
}

/// The spaces of the AD4000 trace: each clock alone; all clocks pooled, with the clock hidden and shown, at three slacks.
pub fn ad4000(path: &Path) -> Result<Vec<Space>, TraceError> {
    let table = Table::parse_csv(&read_text(path)?)?;
    const TUNABLES: &str = "block_size_y+block_size_z+M_PER_BLOCK+N_PER_BLOCK+NBUFFER";
    let of = |table: &Table, name: &str, shown: bool| -> Result<Space, TraceError> {
        let features = if shown {
            format!("{TUNABLES}+clock_mhz")
        } else {
            TUNABLES.to_owned()
        };
        let read = |latency: &str, energy: &str| -> Result<Sweep, TraceError> {
            let mapping: Mapping = format!("latency={latency}:ms,energy={energy}:J,features={features}").parse()?;
            mapping
                .sweeps(table)?
                .pop()
                .ok_or_else(|| TraceError::Lacking("no rows".to_owned()))
        };
        let (raw, smooth) = (read("time_ms", "energy_J")?, read("time_ms_smooth", "energy_J_smooth")?);
        let point = |p: &SweepPoint| Candidate {
            features: p.features.clone(),
            latency: p.latency,
            expected: 0.0,
        };
        Ok(Space {
            name: name.to_owned(),
            candidates: raw.points.iter().map(point).collect(),
            measured: raw.points.iter().map(|p| p.energy).collect(),
            truth: smooth.points.iter().map(|p| p.energy).collect(),
            noise: 0.0067,
        })
    };
    let column = table.column("clock_mhz")?;
    let mut clocks: Vec<String> = table.rows.iter().map(|row| row[column].clone()).collect();
    clocks.sort();
    clocks.dedup();
    let mut spaces = Vec::new();
    for clock in clocks {
        let alone = table.filtered("clock_mhz", |cell| cell == clock)?;
        spaces.push(of(&alone, &format!("clock {clock}"), false)?);
    }
    for (shown, word) in [(false, "hidden"), (true, "shown")] {
        let pooled = of(&table, &format!("pooled, clock {word}, all"), shown)?;
        spaces.push(pooled.within(0.25, format!("pooled, clock {word}, ≤ 25 %")));
        spaces.push(pooled.within(0.10, format!("pooled, clock {word}, ≤ 10 %")));
        spaces.push(pooled);
    }
    Ok(spaces)
}
