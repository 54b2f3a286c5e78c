//! Our own format: what `cargo energy-kernel tune --sweep` records.
//!
//! A text file of lines, each a JSON object, so that a measurement is appended as it comes, two traces one behind the other
//! are a trace, and other programs read it without ours. There are three kinds of lines, told apart by what they have (keys come in any
//! order):
//!
//! ```text
//! {"trace": 1, "device": {"name": "NVIDIA H200", "compute_capability": [9, 0], "multiprocessors": 132, "memory_bytes": 150754820096, "simulated": false}}
//! {"operator": "softmax", "fingerprint": "64 hexadecimal digits", "sizes": [["R", 33], ["C", 100]], "features": ["threads a block", "blocks", …]}
//! {"schedule": "row threads=128 rows=1 vector=4 keep=registers", "kernel": "64 hexadecimal digits", "features": [128, 33, …],
//!  "latency_s": [2.1e-6, 3e-9], "energy_j": [4.2e-4, 2e-6], "measured_at": 1764081494, "conditions": {"driver": "580.95", …}}
//! ```
//! - `trace` is the version of the format; what follows was measured on that device.
//! - `operator` and the names of `sizes` are for people; the [fingerprint](Fingerprint) tells operators apart. What follows is about this
//!   operator at these sizes, on the device above.
//! - `schedule` is as `cargo energy-kernel ptx --schedule` takes it; `kernel` tells what was emitted for it
//!   ([`Point::kernel_hash`](energy_kernel_compiler::record::Point::kernel_hash)). `features` are as many as the names above; null where there is none.
//! - `latency_s` and `energy_j` are seconds and joules a launch: the mean, and half the width of its 95 % interval. A point without `energy_j`
//!   was timed only.
//! - `measured_at` is in seconds since 1970.
//! - `conditions` holds of [`Conditions`] what is known: `driver`, `simulated_profile`, `sm_clock_mhz`, `memory_clock_mhz`,
//!   `temperature_celsius`, `power_watts`, `power_limit_watts`, `throttle_reasons` (NVML's mask), `window_seconds`, `launches`, `inputs_seed`, `cache`
//!   (`cold`, `warm`), `flags`.
//!
//! A schedule that is measured again counts as measured last. Other keys are passed over. Candidates that do not compete
//! (wrong results, spills) are not in it. A last line that is cut off, as a killed process leaves it, is passed over too.

use super::json::{self, Fields};
use super::{Sweep, SweepPoint, TraceError, read_text};
use energy_kernel_compiler::record::encoding::Validate;
use energy_kernel_compiler::record::{Conditions, DeviceClass, Estimate, Fingerprint};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the format that is written; the only one that is read.
pub const VERSION: u64 = 1;

const NO_TRACE: &str = "this is no trace that `cargo energy-kernel tune --sweep` recorded: its first line is no JSON object with `trace`. \
                        Tables and caches of other tuners name no kernels of ours";

/// Names beyond this length are nobody's.
const LONGEST_NAME: usize = 1024;

/// Measured sweeps on any devices.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace {
    /// One for each device, operator and sizes, in the order they came.
    pub recordings: Vec<Recording>,
    /// The bytes that were read, less a last line that is cut off.
    pub(super) whole: usize,
}

/// What was measured of one operator at one size on one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Where.
    pub device: DeviceClass,
    /// What, and on what.
    pub problem: Problem,
    /// The candidates.
    pub points: Vec<Recorded>,
}

/// An operator at a size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What tells the operator from others.
    pub fingerprint: Fingerprint,
    /// Its name then, for people.
    pub operator: String,
    /// Its sizes, by the names that they had then.
    pub sizes: Vec<(String, u64)>,
    /// The names of the points' features.
    pub features: Vec<String>,
}

/// A measured candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// How it computes: the text of a [`Schedule`](energy_kernel_compiler::schedule::Schedule) of the compiler that recorded it.
    pub schedule: String,
    /// What was emitted for it.
    pub kernel_hash: [u8; 32],
    /// One for each name; not a number where there is none.
    pub features: Vec<f64>,
    /// Seconds a launch.
    pub latency: Estimate,
    /// Joules a launch, where they were measured.
    pub energy: Option<Estimate>,
    /// What held meanwhile.
    pub conditions: Conditions,
    /// When: seconds since 1970.
    pub measured_at: u64,
}

impl Trace {
    /// Reads a file, packed or not.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
    pub fn read(path: &Path) -> Result<Trace, TraceError> {
        Trace::parse(&read_text(path)?)
    }

    /// Whether a text means to be a trace of this format.
    pub fn is_meant(text: &str) -> bool {
        let first = text.lines().next().unwrap_or("");
        serde_json::from_str::<Value>(first).is_ok_and(|value| value.get("trace").is_some())
    }

    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
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
                Err(_) if number == 0 => return Err(malformed(NO_TRACE.to_owned())),
                Err(error) => return Err(malformed(in_column(&error))),
            }
            whole += line.len();
        }
        if reader.device.is_none() {
            return Err(TraceError::Lacking("there is nothing in it".to_owned()));
        }
        Ok(Trace {
            recordings: reader.recordings,
            whole,
        })
    }

    /// The recordings of an operator at these sizes on this class of devices: several, where its names were others in between.
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

impl Problem {
    /// The values of the sizes.
    pub fn extents(&self) -> impl Iterator<Item = u64> {
        self.sizes.iter().map(|(_, extent)| *extent)
    }
}

impl Recording {
    /// What strategies are judged by: the points whose energy was measured.
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

/// What has been read so far.
#[derive(Default)]
struct Reader {
    device: Option<DeviceClass>,
    /// The recording that points belong to.
    current: Option<usize>,
    recordings: Vec<Recording>,
    places: BTreeMap<(DeviceClass, Problem), usize>,
    /// Where in its recording a point is.
    points: BTreeMap<(usize, String, [u8; 32]), usize>,
}

impl Reader {
    fn line(&mut self, value: &Value) -> Result<(), String> {
        let fields = Fields::of(value)?;
        if fields.has("trace") {
            return self.header(&fields);
        }
        let Some(device) = &self.device else {
            return Err(NO_TRACE.to_owned());
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
        Err("it has none of `trace`, `operator` and `schedule`".to_owned())
    }

    fn header(&mut self, fields: &Fields<'_>) -> Result<(), String> {
        match fields.integer("trace")? {
            VERSION => {}
            other => {
                return Err(format!("its version is {other}; this program reads version {VERSION}"));
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

/// What is wrong with a line as JSON. The parser numbers the lines of what it is given, which is one.
fn in_column(error: &serde_json::Error) -> String {
    let problem = error.to_string();
    let problem = problem.split(" at line ").next().unwrap_or_default();
    format!("{problem} at column {}", error.column())
}

fn described(fields: &Fields<'_>) -> Result<Problem, String> {
    let named = |text: &str| match text.len() <= LONGEST_NAME {
        true => Ok(text.to_owned()),
        false => Err(format!("a name has more than {LONGEST_NAME} bytes")),
    };
    let size = |value: &Value| {
        let pair = value.as_array().map(Vec::as_slice);
        let Some([Value::String(name), extent]) = pair else {
            return Err("`sizes` is no list of names with their numbers".to_owned());
        };
        let extent = extent.as_u64().ok_or("a size is no whole number")?;
        Ok((named(name)?, extent))
    };
    let feature = |value: &Value| named(value.as_str().ok_or("`features` is no list of names")?);
    Ok(Problem {
        fingerprint: fields.text("fingerprint")?.parse().map_err(|e| format!("{e}"))?,
        operator: named(fields.text("operator")?)?,
        sizes: fields.list("sizes")?.iter().map(size).collect::<Result<_, _>>()?,
        features: fields.list("features")?.iter().map(feature).collect::<Result<_, _>>()?,
    })
}

fn recorded(fields: &Fields<'_>) -> Result<Recorded, String> {
    let feature = |value: &Value| match value {
        Value::Null => Ok(f64::NAN),
        other => other.as_f64().ok_or("a feature is no number"),
    };
    // The same sort of digits.
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

/// The first line, and whatever a device's points begin with.
pub(super) fn header(device: &DeviceClass) -> Value {
    json!({ "trace": VERSION, "device": json::device_value(device) })
}

/// The line of an operator at a size.
pub(super) fn problem(problem: &Problem) -> Value {
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
