//! The settings of the virtual GPUs, read from environment variables.

use crate::profile::Profile;
use std::path::PathBuf;
use std::str::FromStr;

/// The prefix of settings. Unknown variables with this prefix are errors.
pub const PREFIX: &str = "VIRTUAL_GPU_";

/// The nodes of a graph that a launch executes. Time and energy pass for all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graphs {
    /// Every node at every launch.
    All,
    /// The first and the last node at the first launch: for programs that time thousands of launches.
    Sample,
}

/// A selection of calls by number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// One call.
    Nth(u64),
    /// A call and all later ones.
    From(u64),
    /// Every n-th call.
    Each(u64),
}

impl Which {
    pub fn is(self, call: u64) -> bool {
        match self {
            Which::Nth(nth) => call == nth,
            Which::From(first) => call >= first,
            Which::Each(period) => call.is_multiple_of(period),
        }
    }
}

/// The effect of an injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The call does nothing and returns this code.
    Fails(i32),
    /// The same, and the code becomes the device's sticky error.
    Breaks(i32),
    /// The call never returns.
    Hangs,
    /// The process aborts.
    Crashes,
}

/// A fault to inject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A function name, or a prefix followed by `*`.
    pub function: String,
    pub which: Which,
    pub fate: Fate,
}

impl Fault {
    pub fn concerns(&self, function: &str, call: u64) -> bool {
        let named = match self.function.strip_suffix('*') {
            Some(start) => function.starts_with(start),
            None => function == self.function,
        };
        named && self.which.is(call)
    }
}

/// A defect of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// It accesses an illegal address: a sticky error.
    Illegal,
    /// It never ends.
    Hangs,
    /// It writes nothing.
    Idle,
    /// It aborts the process.
    Crashes,
    /// It spills 64 bytes a thread.
    Spills,
    /// The driver's compiler rejects it.
    Rejected,
}

/// A selection of kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspect {
    /// Kernels whose PTX contains a text.
    Containing(String),
    /// Kernels of modules selected by load order, from 1.
    Loaded(Which),
}

/// The functions that can lie: do nothing and report success.
pub const LIARS: [&str; 10] = [
    "cuCtxSynchronize",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuLaunchKernel",
    "cuMemFreeAsync",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
];

/// All settings. The crate's documentation describes each.
#[derive(Debug)]
pub struct Settings {
    pub devices: Vec<&'static Profile>,
    pub cuda: Option<u32>,
    pub memory: u64,
    pub pools: bool,
    pub threads: usize,
    pub sanitize: bool,
    pub graphs: Graphs,
    pub registers: u32,
    pub speed: f64,
    pub clock: u32,
    pub kernel_us: Option<f64>,
    pub watts: Option<f64>,
    pub instant_watts: Option<f64>,
    pub tick_ms: f64,
    pub counter_bits: u32,
    pub counter_first: u64,
    pub celsius: u32,
    pub heating: f64,
    pub throttle: u64,
    pub foreign: u32,
    pub mig: bool,
    pub fail: Vec<Fault>,
    pub lie: Vec<&'static str>,
    pub kernels: Vec<(Defect, Suspect)>,
    pub report: Option<PathBuf>,
    pub trace: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            devices: Profile::of("9.0").into_iter().collect(),
            cuda: None,
            memory: 4 << 30,
            pools: true,
            threads: 1,
            sanitize: false,
            graphs: Graphs::All,
            registers: 40,
            speed: 1.0,
            clock: 1,
            kernel_us: None,
            watts: None,
            instant_watts: None,
            tick_ms: 100.0,
            counter_bits: 64,
            counter_first: 1_000_000,
            celsius: 45,
            heating: 0.0,
            throttle: 0,
            foreign: 0,
            mig: false,
            fail: Vec::new(),
            lie: Vec::new(),
            kernels: Vec::new(),
            report: None,
            trace: None,
        }
    }
}

impl Settings {
    /// Parses the settings among variables. Other variables are ignored.
    ///
    /// # Errors
    /// An unknown setting or an invalid value.
    pub fn parse(variables: impl IntoIterator<Item = (String, String)>) -> Result<Settings, String> {
        let mut settings = Settings::default();
        for (name, value) in variables {
            if let Some(key) = name.strip_prefix(PREFIX) {
                settings
                    .set(key, &value)
                    .map_err(|wanted| format!("{name}={value}: {wanted}"))?;
            }
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "DEVICES" => self.devices = devices(value)?,
            "CUDA" => self.cuda = Some(cuda(value)?),
            "MEMORY_MB" => self.memory = number::<u64>(value, "megabytes")? << 20,
            "POOLS" => self.pools = flag(value)?,
            "THREADS" => self.threads = number(value, "host threads of a launch")?,
            "SANITIZE" => self.sanitize = flag(value)?,
            "GRAPHS" => {
                self.graphs = match value {
                    "all" => Graphs::All,
                    "sample" => Graphs::Sample,
                    _ => return Err("`all` or `sample` is wanted".to_owned()),
                }
            }
            "REGISTERS" => self.registers = number(value, "registers a thread")?,
            "SPEED" => self.speed = positive(value)?,
            "CLOCK" => match number(value, "seconds of the process a second")? {
                clock @ 1..=1000 => self.clock = clock,
                _ => return Err("1 to 1000 is wanted".to_owned()),
            },
            "KERNEL_US" => self.kernel_us = Some(positive(value)?),
            "WATTS" => self.watts = Some(positive(value)?),
            "INSTANT_WATTS" => self.instant_watts = Some(positive(value)?),
            "TICK_MS" => self.tick_ms = non_negative(value)?,
            "COUNTER_BITS" => {
                self.counter_bits = number(value, "32 or 64")?;
                if ![32, 64].contains(&self.counter_bits) {
                    return Err("32 or 64 is wanted".to_owned());
                }
            }
            "COUNTER_FIRST" => self.counter_first = number(value, "millijoules")?,
            "CELSIUS" => self.celsius = number(value, "degrees")?,
            "HEATING" => self.heating = non_negative(value)?,
            "THROTTLE" => self.throttle = number(value, "NVML's mask of reasons, in decimal")?,
            "FOREIGN" => self.foreign = number(value, "other processes")?,
            "MIG" => self.mig = flag(value)?,
            "FAIL" => self.fail = faults(value)?,
            "LIE" => self.lie = list(value, liar)?,
            "KERNELS" => self.kernels = list(value, defect)?,
            "REPORT" => self.report = Some(value.into()),
            "TRACE" => self.trace = Some(value.into()),
            _ => return Err("there is no such setting".to_owned()),
        }
        Ok(())
    }
}

fn list<T>(value: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    value.split(',').map(item).collect()
}

fn number<T: FromStr>(value: &str, wanted: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{wanted} are wanted"))
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("0 or 1 is wanted".to_owned()),
    }
}

fn non_negative(value: &str) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("a number of at least 0 is wanted".to_owned()),
    }
}

fn positive(value: &str) -> Result<f64, String> {
    match non_negative(value) {
        Ok(number) if number > 0.0 => Ok(number),
        _ => Err("a number above 0 is wanted".to_owned()),
    }
}

fn devices(value: &str) -> Result<Vec<&'static Profile>, String> {
    if value == "none" {
        return Ok(Vec::new());
    }
    list(value, |capability| {
        let known = || {
            crate::profile::PROFILES
                .iter()
                .map(Profile::version)
                .collect::<Vec<_>>()
        };
        Profile::of(capability).ok_or_else(|| format!("`none` or capabilities are wanted, of {}", known().join(", ")))
    })
}

fn cuda(value: &str) -> Result<u32, String> {
    let wanted = || "a CUDA version is wanted, as `12.4`".to_owned();
    let (major, minor) = value.split_once('.').ok_or_else(wanted)?;
    let parse = |text: &str| text.parse::<u32>().map_err(|_| wanted());
    Ok(1000 * parse(major)? + 10 * parse(minor)?)
}

fn which(value: &str) -> Result<Which, String> {
    let wanted = "a number of the call (`3`), all from it on (`3+`), or each third (`%3`) is wanted";
    let parse = |text: &str| match text.parse() {
        Ok(0) | Err(_) => Err(wanted.to_owned()),
        Ok(number) => Ok(number),
    };
    match (value.strip_suffix('+'), value.strip_prefix('%')) {
        (Some(first), _) => parse(first).map(Which::From),
        (_, Some(period)) => parse(period).map(Which::Each),
        _ => parse(value).map(Which::Nth),
    }
}

/// Parses a list of faults.
///
/// # Errors
/// The text is not a list of faults.
pub fn faults(value: &str) -> Result<Vec<Fault>, String> {
    list(value, fault)
}

fn fault(value: &str) -> Result<Fault, String> {
    let wanted = || "FUNCTION:WHICH:CODE[:sticky], or `hang` or `crash` for the code, is wanted".to_owned();
    let parts: Vec<&str> = value.split(':').collect();
    let (function, call, fate) = match parts[..] {
        [function, call, "hang"] => (function, call, Fate::Hangs),
        [function, call, "crash"] => (function, call, Fate::Crashes),
        [function, call, code] => (function, call, Fate::Fails(code.parse().map_err(|_| wanted())?)),
        [function, call, code, "sticky"] => (function, call, Fate::Breaks(code.parse().map_err(|_| wanted())?)),
        _ => return Err(wanted()),
    };
    if !function.starts_with("cu") && !function.starts_with("nvml") {
        return Err(format!("no function of the driver or of NVML is called {function}"));
    }
    Ok(Fault {
        function: function.to_owned(),
        which: which(call)?,
        fate,
    })
}

fn liar(value: &str) -> Result<&'static str, String> {
    LIARS
        .into_iter()
        .find(|name| *name == value)
        .ok_or_else(|| format!("only these can lie: {}", LIARS.join(", ")))
}

fn defect(value: &str) -> Result<(Defect, Suspect), String> {
    let (defect, suspect) = value.split_once(':').ok_or("DEFECT:TEXT or DEFECT:#WHICH is wanted")?;
    let defect = match defect {
        "illegal" => Defect::Illegal,
        "hang" => Defect::Hangs,
        "idle" => Defect::Idle,
        "crash" => Defect::Crashes,
        "spill" => Defect::Spills,
        "reject" => Defect::Rejected,
        _ => return Err("the defects are illegal, hang, idle, crash, spill, reject".to_owned()),
    };
    let suspect = match suspect.strip_prefix('#') {
        Some(number) => Suspect::Loaded(which(number)?),
        None => Suspect::Containing(suspect.to_owned()),
    };
    Ok((defect, suspect))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str, value: &str) -> Result<Settings, String> {
        Settings::parse([
            ("HOME".to_owned(), "/".to_owned()),
            (format!("{PREFIX}{key}"), value.to_owned()),
        ])
    }

    #[test]
    fn settings_are_taken_as_they_are_documented() {
        let devices = parse("DEVICES", "9.0,8.6").expect("two devices").devices;
        assert_eq!(
            devices.iter().map(|d| d.capability).collect::<Vec<_>>(),
            [(9, 0), (8, 6)]
        );
        assert!(parse("DEVICES", "none").expect("no device").devices.is_empty());
        assert_eq!(parse("CUDA", "12.4").expect("a version").cuda, Some(12_040));
        let faults = parse(
            "FAIL",
            "cuMemAllocAsync:2:2,nvml*:3+:999,cuInit:%5:700:sticky,cuInit:1:hang",
        );
        let faults = faults.expect("faults").fail;
        assert_eq!(faults[0].fate, Fate::Fails(2));
        assert!(faults[0].concerns("cuMemAllocAsync", 2) && !faults[0].concerns("cuMemAllocAsync", 3));
        assert!(faults[1].concerns("nvmlInit_v2", 7) && !faults[1].concerns("nvmlInit_v2", 2));
        assert!(faults[2].concerns("cuInit", 10) && !faults[2].concerns("cuInit", 11));
        assert_eq!((faults[2].fate, faults[3].fate), (Fate::Breaks(700), Fate::Hangs));
        let kernels = parse("KERNELS", "hang:#2,illegal:softmax").expect("defects").kernels;
        assert_eq!(kernels[0], (Defect::Hangs, Suspect::Loaded(Which::Nth(2))));
        assert_eq!(kernels[1], (Defect::Illegal, Suspect::Containing("softmax".to_owned())));
    }

    #[test]
    fn what_is_misspelt_is_an_error_that_names_it() {
        let bad = [
            ("DEVICE", "9.0"),
            ("DEVICES", "9.1"),
            ("DEVICES", ""),
            ("CUDA", "12"),
            ("POOLS", "yes"),
            ("SPEED", "0"),
            ("CLOCK", "0.5"),
            ("SPEED", "NaN"),
            ("TICK_MS", "-1"),
            ("COUNTER_BITS", "16"),
            ("FAIL", "cuInit:0:2"),
            ("FAIL", "cuInit:1"),
            ("FAIL", "open:1:2"),
            ("FAIL", "cuInit:1:2:stuck"),
            ("LIE", "cuInit"),
            ("KERNELS", "slow:x"),
            ("KERNELS", "hang:#0"),
        ];
        for (key, value) in bad {
            let error = parse(key, value).expect_err(key);
            assert!(error.starts_with(&format!("{PREFIX}{key}={value}: ")), "{error}");
        }
    }
}
