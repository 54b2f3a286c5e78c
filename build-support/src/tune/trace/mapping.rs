//! What the columns of a foreign table mean.

use super::{Sweep, SweepPoint, Table, TraceError};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Names and units of columns.
///
/// Its text form is a list `what=column` with commas: `latency=time_ms:ms,energy=energy_J,problem=clock,features=tile_m+tile_n`. Units stand
/// behind a colon: s, ms, us for latency (ms by default, as Kernel Tuner has it), J, mJ for energy (J by default). Without `features` all tunables
/// are features, or where the format does not tell them all other columns; `ignore` takes some out again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    latency: Option<Quantity>,
    energy: Option<Quantity>,
    /// Columns that tell problems apart.
    problem: Vec<String>,
    features: Vec<String>,
    ignored: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Quantity {
    column: String,
    unit: Option<String>,
}

/// Columns that are looked for where no mapping names one, the likeliest first.
const LATENCIES: [&str; 3] = ["time", "time_ms", "latency_ms"];
const ENERGIES: [&str; 5] = ["energy_J", "energy", "ps_energy", "nvml_energy", "pmt_energy"];

/// A cell is a category where it is no number; so many of a column are told apart.
const MOST_CATEGORIES: usize = 32;

impl FromStr for Mapping {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Mapping, TraceError> {
        let mut mapping = Mapping::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let expected = || {
                TraceError::Lacking(format!(
                    "`{part}` is no part of a mapping: latency=COLUMN:UNIT, energy=COLUMN:UNIT, problem=COLUMN, features=COLUMN+COLUMN and \
                     ignore=COLUMN are"
                ))
            };
            let (what, columns) = part.trim().split_once('=').ok_or_else(expected)?;
            let names = || columns.split('+').map(str::to_owned);
            match what {
                "latency" => mapping.latency = Some(Quantity::of(columns)),
                "energy" => mapping.energy = Some(Quantity::of(columns)),
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

    /// The column, and the factor to seconds or joules.
    fn find(
        named: Option<&Quantity>,
        usual: &[&str],
        units: &[(&str, f64)],
        table: &Table,
    ) -> Result<(usize, f64), TraceError> {
        let Some(quantity) = named else {
            let found = usual.iter().find_map(|name| table.column(name).ok());
            let column = found.ok_or_else(|| {
                TraceError::Lacking(format!(
                    "none of the columns {} is there, only {}; a mapping names another",
                    usual.join(", "),
                    table.columns.join(", ")
                ))
            })?;
            return Ok((column, units[0].1));
        };
        let unit = quantity.unit.as_deref().unwrap_or(units[0].0);
        let factor = units.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
            let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            TraceError::Lacking(format!(
                "`{unit}` is no unit of `{}`; {} are",
                quantity.column,
                known.join(", ")
            ))
        })?;
        Ok((table.column(&quantity.column)?, factor.1))
    }
}

impl Mapping {
    /// The problems in a table, in the order of their names. Rows without a latency and an energy are passed over.
    ///
    /// # Errors
    /// A column is missing, or no row has both figures.
    pub fn sweeps(&self, table: &Table) -> Result<Vec<Sweep>, TraceError> {
        let (latency, seconds) = Quantity::find(
            self.latency.as_ref(),
            &LATENCIES,
            &[("ms", 1e-3), ("s", 1.0), ("us", 1e-6)],
            table,
        )?;
        let (energy, joules) = Quantity::find(self.energy.as_ref(), &ENERGIES, &[("J", 1.0), ("mJ", 1e-3)], table)?;
        let indices = |names: &[String]| {
            names
                .iter()
                .map(|name| table.column(name))
                .collect::<Result<Vec<_>, _>>()
        };
        let (problem, ignored) = (indices(&self.problem)?, indices(&self.ignored)?);
        let features: Vec<usize> = match (&self.features[..], &table.tunables[..]) {
            ([], []) => (0..table.columns.len())
                .filter(|c| ![latency, energy].contains(c))
                .collect(),
            ([], tunables) => indices(tunables)?,
            (named, _) => indices(named)?,
        };
        let features: Vec<usize> = features
            .into_iter()
            .filter(|c| !problem.contains(c) && !ignored.contains(c))
            .collect();

        // In seconds or joules: what is too small for those is nothing.
        let positive = |cell: &str, unit: f64| {
            let figure = unit * cell.trim().parse::<f64>().ok()?;
            (figure.is_finite() && figure > 0.0).then_some(figure)
        };
        let measured: Vec<(&Vec<String>, f64, f64)> = table
            .rows
            .iter()
            .filter_map(|row| Some((row, positive(&row[latency], seconds)?, positive(&row[energy], joules)?)))
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
}

/// How a column becomes features: a number, or one for each category.
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
            problem("").contains("none of the columns time, time_ms"),
            "{}",
            problem("")
        );
        assert!(problem("latency=t_us:h,energy=mj").contains("`h` is no unit of `t_us`; ms, s, us are"));
        assert!(problem("latency=t_us,energy=joules").contains("no column `joules`"));
        assert!(problem("latency=t_us,energy=note").contains("no row has both"));
        // Of 1e-322 ms nothing is left in seconds.
        let tiny = Table::parse_csv("time,energy\n1e-322,1\n").unwrap();
        assert!(Mapping::default().sweeps(&tiny).is_err());
        assert!(problem("speed=t_us").contains("`speed=t_us` is no part of a mapping"));
    }
}
