//! A space to search: candidates with known latencies, energies as measured, and the truth that choices are scored by.

use crate::random::Random;
use crate::strategies::median;
use energy_kernel_build::tune::strategy::Candidate;
use energy_kernel_build::tune::trace::{Mapping, Sweep, SweepPoint, Table, TraceError, read, read_text};
use std::collections::{BTreeMap, BTreeSet};
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

    /// The energy of a candidate beyond the least, as a share of the least.
    pub fn regret(&self, candidate: usize) -> f64 {
        self.truth[candidate] / self.least() - 1.0
    }

    /// The candidates that satisfy a predicate.
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

    /// The candidates within so much of the fastest.
    pub fn within(&self, slack: f64, name: String) -> Space {
        let fastest = self.candidates.iter().map(|c| c.latency).fold(f64::INFINITY, f64::min);
        self.filtered(name, |c| self.candidates[c].latency <= (1.0 + slack) * fastest)
    }
}

/// The assumed noise of energies that come without a repetition.
const UNKNOWN_NOISE: f64 = 0.005;

impl Space {
    /// A problem of a trace, with the truth from another reading of the same rows. Where that is the same reading, there is nothing better than what
    /// was measured.
    ///
    /// # Errors
    /// The two readings are not of the same rows.
    pub fn of(measured: &Sweep, truth: &Sweep) -> Result<Space, TraceError> {
        let label = |sweep: &Sweep, row: usize| sweep.points.get(row).map(|point| point.label.clone());
        let rows = measured.points.len().max(truth.points.len());
        if let Some(row) = (0..rows).find(|&row| label(measured, row) != label(truth, row)) {
            let problem = format!(
                "where the truth is read, `{}` has other candidates from row {} on: not every row has both energies, or `features=` must name what the \
                 candidates are",
                measured.problem,
                row + 1
            );
            return Err(TraceError::Lacking(problem));
        }
        let candidate = |point: &SweepPoint| Candidate {
            features: point.features.clone(),
            latency: point.latency,
            expected: 0.0,
        };
        let energies = |sweep: &Sweep| sweep.points.iter().map(|point| point.energy).collect::<Vec<f64>>();
        let (measured, truth, candidates) = (
            energies(measured),
            energies(truth),
            measured.points.iter().map(candidate).collect(),
        );
        // The median, so that a few outliers do not make all uncertain: two thirds of a standard deviation for normal noise.
        let noise = 1.4826 * median(measured.iter().zip(&truth).map(|(m, t)| (m / t).ln().abs()));
        Ok(Space {
            name: String::new(),
            candidates,
            measured,
            truth,
            noise: if noise > 0.0 { noise } else { UNKNOWN_NOISE },
        })
    }

    pub fn named(self, name: String) -> Space {
        Space { name, ..self }
    }
}

/// Each problem of a trace of any kind, whole and within 25 % of its fastest. The truth is in that column of a foreign trace, if one is named.
///
/// # Errors
/// An error in the trace, the mapping or the truth.
pub fn sweeps(path: &Path, mapping: &str, truth: Option<&str>) -> Result<Vec<Space>, TraceError> {
    let (measured, truth) = match truth {
        Some(column) => {
            // Whatever it is called, no model may ask for it.
            let (name, _) = column.rsplit_once(':').unwrap_or((column, ""));
            let mapping = format!("{mapping},ignore={name}");
            let truth = read(path, &format!("{mapping},energy={column}").parse()?)?;
            (read(path, &mapping.parse()?)?, truth)
        }
        None => {
            let measured = read(path, &mapping.parse()?)?;
            (measured.clone(), measured)
        }
    };
    if measured.len() != truth.len() {
        let problem = format!(
            "{} problems have measured energies, but {} true ones",
            measured.len(),
            truth.len()
        );
        return Err(TraceError::Lacking(problem));
    }
    let mut spaces = Vec::new();
    for (measured, truth) in measured.iter().zip(&truth) {
        let name = match measured.problem.as_str() {
            "" => "all rows",
            problem => problem,
        };
        let all = Space::of(measured, truth)?.named(name.to_owned());
        spaces.push(all.within(0.25, format!("{name}, ≤ 25 %")));
        spaces.push(all);
    }
    Ok(spaces)
}

/// The noise of a measured energy, where a trace's description tells it; else the truth beside it does.
const NOISE: [(&str, f64); 1] = [("ps3_ad4000", 0.0067)];

/// The columns that tell problems apart.
const TOLD: [&str; 4] = ["dataset", "device", "kernel", "problem"];

/// The spaces of a trace in normal form: one row a configuration, its problem, its clock if any is locked (`clock_mhz`), then its tunables up to
/// `time_ms`, its energy in `energy_J` and, where it is known without noise, in `energy_J_smooth`. Of each problem each clock alone, and all clocks
/// pooled, with the clock hidden and shown, at three slacks.
///
/// # Errors
/// The file cannot be read, or is of another form.
pub fn normal_form(path: &Path) -> Result<Vec<Space>, TraceError> {
    let table = Table::parse_csv(&read_text(path)?)?;
    let told: Vec<usize> = TOLD.iter().filter_map(|name| table.column(name).ok()).collect();
    let mut problems: BTreeMap<Vec<String>, Table> = BTreeMap::new();
    let empty = || Table {
        columns: table.columns.clone(),
        ..Table::default()
    };
    for row in &table.rows {
        let problem = told.iter().map(|&column| row[column].clone()).collect();
        problems.entry(problem).or_insert_with(empty).rows.push(row.clone());
    }
    let mut spaces = Vec::new();
    for (problem, table) in &problems {
        let prefix = match problems.len() {
            1 => String::new(),
            _ => format!("{}: ", problem.join(" ")),
        };
        let own = of_problem(table)?;
        spaces.extend(own.into_iter().map(|space| {
            let name = format!("{prefix}{}", space.name);
            space.named(name)
        }));
    }
    Ok(spaces)
}

/// The spaces of one problem.
fn of_problem(table: &Table) -> Result<Vec<Space>, TraceError> {
    let clock = table.column("clock_mhz").ok();
    let told = TOLD.iter().filter_map(|name| table.column(name).ok()).max();
    let first = clock.or(told).map_or(0, |before| before + 1);
    let time = table.column("time_ms")?;
    let tunables = table.columns.get(first..time).unwrap_or_default().join("+");
    let truth = match table.column("energy_J_smooth") {
        Ok(_) => "energy_J_smooth",
        Err(_) => "energy_J",
    };
    let noise = NOISE.iter().find(|(name, _)| {
        let dataset = table.column("dataset").ok();
        dataset.is_some_and(|column| table.rows.iter().all(|row| row[column] == *name))
    });
    let of = |table: &Table, name: &str, shown: bool| -> Result<Space, TraceError> {
        let features = if shown {
            format!("{tunables}+clock_mhz")
        } else {
            tunables.clone()
        };
        let read = |energy: &str| -> Result<Sweep, TraceError> {
            let mapping: Mapping = format!("latency=time_ms:ms,energy={energy}:J,features={features}").parse()?;
            mapping
                .sweeps(table)?
                .pop()
                .ok_or_else(|| TraceError::Lacking("no rows".to_owned()))
        };
        let space = Space::of(&read("energy_J")?, &read(truth)?)?.named(name.to_owned());
        Ok(Space {
            noise: noise.map_or(space.noise, |(_, told)| *told),
            ..space
        })
    };
    let Some(clock) = clock else {
        let all = of(table, "all", false)?;
        return Ok(vec![all.within(0.25, "≤ 25 %".to_owned()), all]);
    };
    let clocks: BTreeSet<&String> = table.rows.iter().map(|row| &row[clock]).collect();
    let mut spaces = Vec::new();
    for value in &clocks {
        let alone = table.filtered("clock_mhz", |cell| cell == value.as_str())?;
        spaces.push(of(&alone, &format!("clock {value}"), false)?);
    }
    if clocks.len() > 1 {
        for (shown, word) in [(false, "hidden"), (true, "shown")] {
            let pooled = of(table, &format!("pooled, clock {word}, all"), shown)?;
            spaces.push(pooled.within(0.25, format!("pooled, clock {word}, ≤ 25 %")));
            spaces.push(pooled.within(0.10, format!("pooled, clock {word}, ≤ 10 %")));
            spaces.push(pooled);
        }
    }
    Ok(spaces)
}
