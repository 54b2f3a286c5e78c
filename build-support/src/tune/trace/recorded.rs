//! Our own format, which `cargo energy-kernel tune --sweep` records.
//!
//! A trace is a text file whose lines are JSON objects. So measurements are appended as they come, the concatenation of two traces is a
//! trace, and other programs can read it. The keys, in any order, distinguish three kinds of lines:
//!
//! ```text
//! {"trace": 1, "device": {"name": "NVIDIA H200", "compute_capability": [9, 0], "multiprocessors": 132, "memory_bytes": 150754820096, "simulated": false}}
//! {"operator": "softmax", "fingerprint": "64 hexadecimal digits", "sizes": [["R", 33], ["C", 100]], "features": ["threads a block", "blocks", …]}
//! {"schedule": "row threads=128 rows=1 vector=4 keep=registers", "kernel": "64 hexadecimal digits", "features": [128, 33, …],
//!  "latency_s": [2.1e-6, 3e-9], "energy_j": [4.2e-4, 2e-6], "measured_at": 1764081494, "conditions": {"driver": "580.95", …}}
//! ```
//! - `trace` is the version of the format. The following lines were measured on that device.
//! - `operator` and the names of `sizes` are for display; the [fingerprint](Fingerprint) identifies the operator. The following lines are
//!   about this operator at these sizes, on the device above.
//! - `schedule` is the text that `cargo energy-kernel ptx --schedule` takes. `kernel` is the hash of its kernel
//!   ([`Point::kernel_hash`](energy_kernel_compiler::record::Point::kernel_hash)). `features` has one value for each name above, or null.
//! - `latency_s` and `energy_j` are seconds and joules per launch: the mean, and half the width of its 95 % interval. A point without
//!   `energy_j` was only timed.
//! - `measured_at` is in seconds since 1970.
//! - `conditions` holds the known fields of [`Conditions`]: `driver`, `simulated_profile`, `sm_clock_mhz`, `memory_clock_mhz`,
//!   `temperature_celsius`, `power_watts`, `power_limit_watts`, `throttle_reasons` (NVML's mask), `window_seconds`, `launches`, `inputs_seed`, `cache`
//!   (`cold`, `warm`), `flags`.
//!
//! The last measurement of a schedule counts. Other keys are ignored, as is a partial last line, which a killed process leaves. Rejected
//! candidates (wrong results, spills) are not in a trace.

use super::error::TraceError;
use super::file::read_text;
use super::json::{self, Fields};
use super::sweep::{Sweep, SweepPoint};
use energy_kernel_compiler::record::encoding::Validate;
use energy_kernel_compiler::record::{Conditions, DeviceClass, Estimate, Fingerprint};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the format.
pub const VERSION: u64 = 1;

const NOT_A_TRACE: &str = "this is not a trace of `cargo energy-kernel tune --sweep`: its first line is not a JSON object with `trace`. \
                        Tables and caches of other tuners cannot be replayed: they do not name our kernels";

/// The longest name, in bytes.
const LONGEST_NAME: usize = 1024;

/// Measured sweeps on any devices.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace {
    /// One for each device, operator and sizes, in the order of the file.
    pub recordings: Vec<Recording>,
    /// The bytes that were read, without a partial last line.
    pub(super) whole: usize,
}

/// The measurements of one operator at one size on one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The device.
    pub device: DeviceClass,
    /// The operator and its sizes.
    pub problem: RecordedProblem,
    /// The candidates.
    pub points: Vec<Recorded>,
}

/// An operator at a size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordedProblem {
    /// The operator's fingerprint.
    pub fingerprint: Fingerprint,
    /// The operator's name at that time, for display.
    pub operator: String,
    /// The sizes, with their names at that time.
    pub sizes: Vec<(String, u64)>,
    /// The names of the points' features.
    pub features: Vec<String>,
}

/// A measured candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The text of the [`Schedule`](energy_kernel_compiler::schedule::Schedule).
    pub schedule: String,
    /// The hash of its kernel.
    pub kernel_hash: [u8; 32],
    /// One value for each name. NaN if it is unknown.
    pub features: Vec<f64>,
    /// Seconds per launch.
    pub latency: Estimate,
    /// Joules per launch, if measured.
    pub energy: Option<Estimate>,
    /// The conditions during the measurement.
    pub conditions: Conditions,
    /// The time of the measurement, in seconds since 1970.
    pub measured_at: u64,
}

impl Trace {
    /// Reads a file, compressed or not.
    ///
    /// # Errors
    /// The file cannot be read or violates the format.
    pub fn read(path: &Path) -> Result<Trace, TraceError> {
        Trace::parse(&read_text(path)?)
    }

    /// `true` if a text is meant as a trace of this format.
    pub fn is_meant(text: &str) -> bool {
        let first = text.lines().next().unwrap_or("");
        serde_json::from_str::<Value>(first).is_ok_and(|value| value.get("trace").is_some())
    }

    /// Parses a text.
    ///
    /// # Errors
    /// The text violates the format.
    pub fn parse(text: &str) -> Result<Trace, TraceError> {
        let mut reader = Reader::default();
        let mut whole = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let malformed = |problem| TraceError::Malformed {
                line: number + 1,
                problem,
            };
            match serde_json::from_str::<Value>(line) {
                _ if line.trim().is_empty() => {}
                Ok(value) => reader.line(&value).map_err(malformed)?,
                Err(_) if !line.ends_with('\n') && number > 0 => break,
                Err(_) if number == 0 => return Err(malformed(NOT_A_TRACE.to_owned())),
                Err(error) => return Err(malformed(in_column(&error))),
            }
            whole += line.len();
        }
        if reader.device.is_none() {
            return Err(TraceError::Lacking("the trace is empty".to_owned()));
        }
        Ok(Trace {
            recordings: reader.recordings,
            whole,
        })
    }

    /// The recordings of an operator at these sizes on a device class. There are several if names changed in between.
    pub fn find(
        &self,
        device: &DeviceClass,
        fingerprint: &Fingerprint,
        sizes: &[u64],
    ) -> impl Iterator<Item = &Recording> {
        self.recordings.iter().filter(move |recording| {
            recording.device.key() == device.key()
                && recording.problem.fingerprint == *fingerprint
                && recording.problem.extents().eq(sizes.iter().copied())
        })
    }
}

impl RecordedProblem {
    /// The values of the sizes.
    pub fn extents(&self) -> impl Iterator<Item = u64> {
        self.sizes.iter().map(|(_, extent)| *extent)
    }
}

impl Recording {
    /// The points whose energy was measured, to judge strategies by.
    pub fn sweep(&self) -> Sweep {
        let sizes: Vec<String> = (self.problem.sizes.iter())
            .map(|(name, extent)| format!("{name} = {extent}"))
            .collect();
        let point = |point: &Recorded| {
            Some(SweepPoint {
                label: point.schedule.clone(),
                features: point.features.clone(),
                latency: point.latency.mean,
                energy: point.energy?.mean,
            })
        };
        Sweep {
            problem: format!("{} ({}) on {}", self.problem.operator, sizes.join(", "), self.device),
            columns: self.problem.features.clone(),
            points: self.points.iter().filter_map(point).collect(),
        }
    }
}

/// The state of a reader.
#[derive(Default)]
struct Reader {
    device: Option<DeviceClass>,
    /// The recording of the following points.
    current: Option<usize>,
    recordings: Vec<Recording>,
    places: BTreeMap<(DeviceClass, RecordedProblem), usize>,
    /// The position of each point in its recording.
    points: BTreeMap<(usize, String, [u8; 32]), usize>,
}

impl Reader {
    fn line(&mut self, value: &Value) -> Result<(), String> {
        let fields = Fields::of(value)?;
        if fields.has("trace") {
            return self.header(&fields);
        }
        let Some(device) = &self.device else {
            return Err(NOT_A_TRACE.to_owned());
        };
        if fields.has("operator") {
            let key = (device.clone(), described(&fields)?);
            let place = *self.places.entry(key).or_insert_with_key(|(device, problem)| {
                self.recordings.push(Recording {
                    device: device.clone(),
                    problem: problem.clone(),
                    points: Vec::new(),
                });
                self.recordings.len() - 1
            });
            self.current = Some(place);
            return Ok(());
        }
        if fields.has("schedule") {
            return self.point(&fields);
        }
        Err("the line has none of `trace`, `operator` and `schedule`".to_owned())
    }

    fn header(&mut self, fields: &Fields<'_>) -> Result<(), String> {
        match fields.integer("trace")? {
            VERSION => {}
            other => {
                return Err(format!(
                    "the trace has version {other}; this program reads version {VERSION}"
                ));
            }
        }
        self.device = Some(json::device(&fields.object("device")?)?);
        self.current = None;
        Ok(())
    }

    fn point(&mut self, fields: &Fields<'_>) -> Result<(), String> {
        let place = self.current.ok_or("a point comes before its operator")?;
        let recording = &mut self.recordings[place];
        let point = recorded(fields)?;
        if point.features.len() != recording.problem.features.len() {
            let (is, should) = (point.features.len(), recording.problem.features.len());
            return Err(format!("the point has {is} features, and the operator names {should}"));
        }
        let key = (place, point.schedule.clone(), point.kernel_hash);
        match self.points.get(&key) {
            Some(&known) => recording.points[known] = point,
            None => {
                self.points.insert(key, recording.points.len());
                recording.points.push(point);
            }
        }
        Ok(())
    }
}

/// A JSON error with its column only: the parser sees one line at a time.
fn in_column(error: &serde_json::Error) -> String {
    let problem = error.to_string();
    let problem = problem.split(" at line ").next().unwrap_or_default();
    format!("{problem} at column {}", error.column())
}

fn described(fields: &Fields<'_>) -> Result<RecordedProblem, String> {
    let named = |text: &str| match text.len() <= LONGEST_NAME {
        true => Ok(text.to_owned()),
        false => Err(format!("a name has more than {LONGEST_NAME} bytes")),
    };
    let size = |value: &Value| {
        let pair = value.as_array().map(Vec::as_slice);
        let Some([Value::String(name), extent]) = pair else {
            return Err("`sizes` is not a list of names and numbers".to_owned());
        };
        let extent = extent.as_u64().ok_or("a size is not a whole number")?;
        Ok((named(name)?, extent))
    };
    let feature = |value: &Value| named(value.as_str().ok_or("`features` is not a list of names")?);
    Ok(RecordedProblem {
        fingerprint: fields.text("fingerprint")?.parse().map_err(|e| format!("{e}"))?,
        operator: named(fields.text("operator")?)?,
        sizes: fields.list("sizes")?.iter().map(size).collect::<Result<_, _>>()?,
        features: fields.list("features")?.iter().map(feature).collect::<Result<_, _>>()?,
    })
}

fn recorded(fields: &Fields<'_>) -> Result<Recorded, String> {
    let feature = |value: &Value| match value {
        Value::Null => Ok(f64::NAN),
        other => other.as_f64().ok_or("a feature is not a number"),
    };
    // A kernel's hash has the same digits as a fingerprint.
    let kernel: Fingerprint = fields
        .text("kernel")?
        .parse()
        .map_err(|_| "`kernel` is not 64 hexadecimal digits")?;
    let point = Recorded {
        schedule: fields.text("schedule")?.to_owned(),
        kernel_hash: kernel.0,
        features: fields.list("features")?.iter().map(feature).collect::<Result<_, _>>()?,
        latency: fields.estimate("latency_s")?,
        energy: match fields.has("energy_j") {
            true => Some(fields.estimate("energy_j")?),
            false => None,
        },
        conditions: json::conditions(&fields.object("conditions")?)?,
        measured_at: fields.integer("measured_at")?,
    };
    if point.schedule.len() > LONGEST_NAME {
        return Err(format!("a schedule has more than {LONGEST_NAME} bytes"));
    }
    point.conditions.validate().map_err(|invalid| invalid.to_string())?;
    Ok(point)
}

/// The first line of a device's points.
pub(super) fn header(device: &DeviceClass) -> Value {
    json!({ "trace": VERSION, "device": json::device_value(device) })
}

/// The line of an operator at a size.
pub(super) fn problem(problem: &RecordedProblem) -> Value {
    json!({
        "operator": problem.operator, "fingerprint": problem.fingerprint.to_string(), "sizes": problem.sizes, "features": problem.features,
    })
}

/// The line of a point.
pub(super) fn point(point: &Recorded) -> Value {
    let mut value = json!({
        "schedule": point.schedule,
        "kernel": Fingerprint(point.kernel_hash).to_string(),
        "features": point.features,
        "latency_s": [point.latency.mean, point.latency.interval],
        "measured_at": point.measured_at,
        "conditions": json::conditions_value(&point.conditions),
    });
    if let Some(energy) = point.energy {
        value["energy_j"] = json!([energy.mean, energy.interval]);
    }
    value
}
