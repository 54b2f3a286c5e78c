//! The meaning of the columns of a foreign table.

use super::error::TraceError;
use super::sweep::{Sweep, SweepPoint};
use super::table::Table;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The names and units of columns.
///
/// Its text form is a comma-separated list of `what=column`: `latency=time_ms:ms,energy=energy_J,problem=clock,features=tile_m+tile_n`.
///
/// - A unit follows a colon: s, ms, us for `latency` (by default ms, as in Kernel Tuner), J, mJ for `energy` (by default J), W, mW for `power`.
/// - `power` times latency is the energy, if no column holds that.
/// - Without `features`, all tunables are features. If the format does not name tunables, all other columns are, except those whose names
///   say that they were measured: one of their words is `energy`, `power`, `time` or similar.
/// - `ignore` removes features.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    latency: Option<Quantity>,
    energy: Option<Quantity>,
    power: Option<Quantity>,
    /// The columns whose values identify a problem.
    problem: Vec<String>,
    features: Vec<String>,
    ignored: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Quantity {
    column: String,
    unit: Option<String>,
}

/// The columns that are tried, in this order, if the mapping names none.
const LATENCIES: [&str; 3] = ["time", "time_ms", "latency_ms"];
const ENERGIES: [&str; 5] = ["energy_J", "energy", "ps_energy", "nvml_energy", "pmt_energy"];
const POWERS: [&str; 4] = ["power_W", "ps_power", "nvml_power", "pmt_power"];
const LATENCY_UNITS: [(&str, f64); 3] = [("ms", 1e-3), ("s", 1.0), ("us", 1e-6)];
const ENERGY_UNITS: [(&str, f64); 2] = [("J", 1.0), ("mJ", 1e-3)];
const POWER_UNITS: [(&str, f64); 2] = [("W", 1.0), ("mW", 1e-3)];

/// Words in the names of columns that are measured with the energy. As features they would give the answer away.
const MEASURED: [&str; 9] = [
    "energy",
    "power",
    "time",
    "times",
    "timestamp",
    "latency",
    "runtime",
    "temp",
    "temperature",
];

/// The most categories of a column. A cell that is not a number is a category.
const MOST_CATEGORIES: usize = 32;

impl FromStr for Mapping {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Mapping, TraceError> {
        let mut mapping = Mapping::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let expected = || {
                TraceError::Lacking(format!(
                    "`{part}` is not a part of a mapping; write latency=COLUMN:UNIT, energy=COLUMN:UNIT, power=COLUMN:UNIT, problem=COLUMN, \
                     features=COLUMN+COLUMN or ignore=COLUMN"
                ))
            };
            let (what, columns) = part.trim().split_once('=').ok_or_else(expected)?;
            let names = || columns.split('+').map(str::to_owned);
            match what {
                "latency" => mapping.latency = Some(Quantity::of(columns)),
                "energy" => mapping.energy = Some(Quantity::of(columns)),
                "power" => mapping.power = Some(Quantity::of(columns)),
                "problem" => mapping.problem.extend(names()),
                "features" => mapping.features.extend(names()),
                "ignore" => mapping.ignored.extend(names()),
                _ => return Err(expected()),
            }
        }
        Ok(mapping)
    }
}

impl Quantity {
    fn of(text: &str) -> Quantity {
        match text.rsplit_once(':') {
            Some((column, unit)) => Quantity {
                column: column.to_owned(),
                unit: Some(unit.to_owned()),
            },
            None => Quantity {
                column: text.to_owned(),
                unit: None,
            },
        }
    }

    /// The column of a table, and the factor to seconds, joules or watts.
    fn find(&self, units: &[(&str, f64)], table: &Table) -> Result<(usize, f64), TraceError> {
        let unit = self.unit.as_deref().unwrap_or(units[0].0);
        let factor = units.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
            let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            TraceError::Lacking(format!(
                "`{unit}` is not a unit of `{}`; write one of {}",
                self.column,
                known.join(", ")
            ))
        })?;
        Ok((table.column(&self.column)?, factor.1))
    }
}

/// The first of these columns that exists, in its default unit.
fn usual(names: &[&str], units: &[(&str, f64)], table: &Table) -> Option<(usize, f64)> {
    let column = names.iter().find_map(|name| table.column(name).ok())?;
    Some((column, units[0].1))
}

fn lacking(names: &[&str], table: &Table) -> TraceError {
    TraceError::Lacking(format!(
        "there is none of the columns {}, only {}; name another in the mapping",
        names.join(", "),
        table.columns.join(", ")
    ))
}

/// `true` if a column's name says that it was measured: one of its words is `energy`, `power`, `time` or similar.
fn is_measured(name: &str) -> bool {
    let words = name.split(|c: char| !c.is_alphanumeric());
    words
        .map(str::to_lowercase)
        .any(|word| MEASURED.contains(&word.as_str()))
}

/// The source of a row's energy.
enum Source {
    /// A column of energies, and the factor to joules.
    Energy(usize, f64),
    /// A column of powers, and the factor to watts.
    Power(usize, f64),
}

impl Mapping {
    /// The problems in a table, in the order of their names. Ignores rows without a latency or an energy.
    ///
    /// # Errors
    /// A column is missing, or no row has both figures.
    pub fn sweeps(&self, table: &Table) -> Result<Vec<Sweep>, TraceError> {
        let (latency, seconds) = match &self.latency {
            Some(named) => named.find(&LATENCY_UNITS, table)?,
            None => usual(&LATENCIES, &LATENCY_UNITS, table).ok_or_else(|| lacking(&LATENCIES, table))?,
        };
        let source = self.source(table)?;
        let indices = |names: &[String]| {
            names
                .iter()
                .map(|name| table.column(name))
                .collect::<Result<Vec<_>, _>>()
        };
        let (problem, ignored) = (indices(&self.problem)?, indices(&self.ignored)?);
        let features: Vec<usize> = match (&self.features[..], &table.tunables[..]) {
            ([], []) => (0..table.columns.len())
                .filter(|&c| !source.is_in(c) && c != latency && !is_measured(&table.columns[c]))
                .collect(),
            ([], tunables) => indices(tunables)?,
            (named, _) => indices(named)?,
        };
        let features: Vec<usize> = features
            .into_iter()
            .filter(|c| !problem.contains(c) && !ignored.contains(c))
            .collect();

        let measured: Vec<(&Vec<String>, f64, f64)> = table
            .rows
            .iter()
            .filter_map(|row| {
                let latency = positive(seconds * figure(&row[latency])?)?;
                Some((row, latency, source.energy(row, latency)?))
            })
            .collect();
        if measured.is_empty() {
            return Err(TraceError::Lacking(
                "no row has both a latency and an energy".to_owned(),
            ));
        }
        let encodings: Vec<Encoding> = features
            .iter()
            .map(|&column| {
                Encoding::of(
                    &table.columns[column],
                    column,
                    measured.iter().map(|(row, ..)| &row[column]),
                )
            })
            .collect();
        let columns: Vec<String> = encodings.iter().flat_map(Encoding::names).collect();
        let mut sweeps: BTreeMap<String, Sweep> = BTreeMap::new();
        for (row, latency, energy) in measured {
            let listed = |columns: &[usize]| {
                let parts = columns.iter().map(|&c| format!("{}={}", table.columns[c], row[c]));
                parts.collect::<Vec<String>>().join(" ")
            };
            let name = listed(&problem);
            let sweep = sweeps.entry(name.clone()).or_insert_with(|| Sweep {
                problem: name,
                columns: columns.clone(),
                points: Vec::new(),
            });
            sweep.points.push(SweepPoint {
                label: listed(&features),
                features: encodings.iter().flat_map(|encoding| encoding.values(row)).collect(),
                latency,
                energy,
            });
        }
        Ok(sweeps.into_values().collect())
    }

    /// The source of energies: a named column, an energy rather than a power, else a usual one.
    fn source(&self, table: &Table) -> Result<Source, TraceError> {
        let energy = |(column, joules)| Source::Energy(column, joules);
        let power = |(column, watts)| Source::Power(column, watts);
        if let Some(named) = &self.energy {
            return Ok(energy(named.find(&ENERGY_UNITS, table)?));
        }
        if let Some(named) = &self.power {
            return Ok(power(named.find(&POWER_UNITS, table)?));
        }
        usual(&ENERGIES, &ENERGY_UNITS, table)
            .map(energy)
            .or_else(|| usual(&POWERS, &POWER_UNITS, table).map(power))
            .ok_or_else(|| lacking(&[&ENERGIES[..], &POWERS[..]].concat(), table))
    }
}

impl Source {
    /// `true` if it is this column.
    fn is_in(&self, column: usize) -> bool {
        let (Source::Energy(own, _) | Source::Power(own, _)) = self;
        *own == column
    }

    /// The joules of a row with this latency in seconds.
    fn energy(&self, row: &[String], latency: f64) -> Option<f64> {
        positive(match self {
            Source::Energy(column, joules) => joules * figure(&row[*column])?,
            Source::Power(column, watts) => watts * figure(&row[*column])? * latency,
        })
    }
}

/// The number in a cell.
fn figure(cell: &str) -> Option<f64> {
    cell.trim().parse().ok()
}

/// A figure in seconds or joules. `None` if it is not positive, also because it underflows.
fn positive(figure: f64) -> Option<f64> {
    (figure.is_finite() && figure > 0.0).then_some(figure)
}

/// The features of a column: one number, or one for each category.
enum Encoding {
    Number {
        name: String,
        column: usize,
    },
    Categories {
        name: String,
        column: usize,
        known: Vec<String>,
    },
}

impl Encoding {
    fn of<'a>(name: &str, column: usize, cells: impl Iterator<Item = &'a String> + Clone) -> Encoding {
        let name = name.to_owned();
        if cells.clone().all(|cell| number(cell).is_some()) {
            return Encoding::Number { name, column };
        }
        let mut known: Vec<String> = Vec::new();
        for cell in cells {
            if !known.contains(cell) && known.len() < MOST_CATEGORIES {
                known.push(cell.clone());
            }
        }
        known.sort();
        Encoding::Categories { name, column, known }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Encoding::Number { name, .. } => vec![name.clone()],
            Encoding::Categories { name, known, .. } => known.iter().map(|value| format!("{name}={value}")).collect(),
        }
    }

    fn values(&self, row: &[String]) -> Vec<f64> {
        match self {
            Encoding::Number { column, .. } => vec![number(&row[*column]).unwrap_or(f64::NAN)],
            Encoding::Categories { column, known, .. } => known
                .iter()
                .map(|value| f64::from(u8::from(*value == row[*column])))
                .collect(),
        }
    }
}

fn number(cell: &str) -> Option<f64> {
    match cell.trim() {
        "true" | "True" => Some(1.0),
        "false" | "False" => Some(0.0),
        other => other.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "clock,tile,kind,t_us,mj,note\n900,16,a,10,2,x\n900,32,b,20,3,y\n800,16,a,30,4,z\n800,32,b,nan,4,z\n800,64,b,5,InvalidConfig,z\n";

    #[test]
    fn columns_units_problems_and_categories() {
        let mapping: Mapping = "latency=t_us:us,energy=mj:mJ,problem=clock,ignore=note"
            .parse()
            .unwrap();
        let sweeps = mapping.sweeps(&Table::parse_csv(CSV).unwrap()).unwrap();
        assert_eq!(
            sweeps
                .iter()
                .map(|s| (s.problem.as_str(), s.points.len()))
                .collect::<Vec<_>>(),
            [("clock=800", 1), ("clock=900", 2)]
        );
        assert_eq!(sweeps[1].columns, ["tile", "kind=a", "kind=b"]);
        let second = &sweeps[1].points[1];
        assert_eq!((second.latency, second.energy), (20.0 * 1e-6, 3.0 * 1e-3));
        assert_eq!(second.features, [32.0, 0.0, 1.0]);
        assert_eq!(second.label, "tile=32 kind=b");
    }

    #[test]
    fn power_stands_for_energy_where_that_is_not_there() {
        let energies = |mapping: &str, csv: &str| -> Vec<f64> {
            let sweeps = mapping
                .parse::<Mapping>()
                .unwrap()
                .sweeps(&Table::parse_csv(csv).unwrap())
                .unwrap();
            sweeps[0].points.iter().map(|point| point.energy).collect()
        };
        let csv = "time,nvml_power,tile\n2,150,16\n4,nan,32\n0.5,100,64\n";
        assert_eq!(energies("", csv), [2e-3 * 150.0, 0.5e-3 * 100.0]);
        assert_eq!(energies("latency=time:s,power=nvml_power:mW", csv), [0.3, 0.05]);
        // A column of energies takes precedence.
        let csv = "time,nvml_power,ps_energy,tile\n2,150,0.25,16\n";
        assert_eq!(energies("", csv), [0.25]);
        assert_eq!(energies("power=nvml_power", csv), [0.3]);
        assert_eq!(energies("power=nvml_power,energy=ps_energy", csv), [0.25]);
    }

    #[test]
    fn what_was_measured_is_no_feature_unless_it_is_named() {
        let csv = "time_ms,energy_J,power_W,energy_J_smooth,Temp,time_cv,tile,timeout_kind\n1,2,3,4,5,6,7,a\n1,2,3,4,5,6,8,b\n";
        let columns = |mapping: &str| {
            let sweeps = mapping
                .parse::<Mapping>()
                .unwrap()
                .sweeps(&Table::parse_csv(csv).unwrap())
                .unwrap();
            sweeps[0].columns.clone()
        };
        assert_eq!(columns(""), ["tile", "timeout_kind=a", "timeout_kind=b"]);
        assert_eq!(columns("features=tile+time_cv"), ["tile", "time_cv"]);
    }

    #[test]
    fn what_is_lacking_is_said() {
        let table = Table::parse_csv(CSV).unwrap();
        let problem = |mapping: &str| -> String {
            let mapping = mapping.parse::<Mapping>();
            mapping
                .and_then(|mapping| mapping.sweeps(&table))
                .unwrap_err()
                .to_string()
        };
        assert!(
            problem("").contains("there is none of the columns time, time_ms"),
            "{}",
            problem("")
        );
        assert!(problem("latency=t_us:h,energy=mj").contains("`h` is not a unit of `t_us`; write one of ms, s, us"));
        assert!(problem("latency=t_us,energy=joules").contains("no column `joules`"));
        assert!(problem("latency=t_us,energy=note").contains("no row has both"));
        // 1e-322 ms underflows in seconds.
        let tiny = Table::parse_csv("time,energy\n1e-322,1\n").unwrap();
        assert!(Mapping::default().sweeps(&tiny).is_err());
        assert!(problem("speed=t_us").contains("`speed=t_us` is not a part of a mapping"));
    }
}
