//! `doctor`: looks for problems of GPU, driver, energy counter, permissions, caches and package. A missing GPU or package is not a problem.

use crate::arguments::{Arguments, Doctor};
use crate::check::without_build_script;
use crate::outcome::Outcome;
use crate::output::{json, plain};
use crate::package::{Package, SEVERAL};
use crate::quantity::count;
use energy_kernel::energy::{Board, Meter};
use energy_kernel::{Error, Gpu};
use energy_kernel_build::cache::{Place, read_file};
use energy_kernel_build::manifest::Manifest;
use energy_kernel_build::scan::Found;
use energy_kernel_build::{Environment, Policy};
use std::path::Path;
use std::process::ExitCode;

/// The state of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// Worth knowing, but not a problem: for example, there is no GPU.
    Note,
    Problem,
}

/// The result of one check.
struct Finding {
    section: &'static str,
    what: &'static str,
    state: State,
    says: String,
}

/// All findings, section by section.
struct Findings {
    section: &'static str,
    all: Vec<Finding>,
}

pub fn doctor(arguments: &Arguments, options: &Doctor) -> Outcome {
    let mut findings = Findings {
        section: "device",
        all: Vec::new(),
    };
    look_at_device(&mut findings, options);
    findings.section = "cache";
    findings.result("user's cache", user_cache());
    findings.section = "package";
    look_at_package(&mut findings, arguments);
    let is_ill = findings.all.iter().any(|finding| finding.state == State::Problem);
    if arguments.json {
        let all = findings.all.iter().map(|finding| {
            serde_json::json!({
                "section": finding.section, "what": finding.what, "state": finding.state.name(), "says": finding.says,
            })
        });
        json(&all.collect());
    } else {
        let mut section = "";
        for finding in &findings.all {
            if finding.section != section {
                section = finding.section;
                say!("{section}");
            }
            let state = finding.state.name();
            say!("  {state:7}  {:15}  {}", finding.what, plain(&finding.says));
        }
    }
    Ok(if is_ill { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            State::Well => "ok",
            State::Note => "note",
            State::Problem => "problem",
        }
    }
}

impl Findings {
    fn add(&mut self, what: &'static str, state: State, says: String) {
        self.all.push(Finding {
            section: self.section,
            what,
            state,
            says,
        });
    }

    fn result(&mut self, what: &'static str, result: Result<String, String>) {
        match result {
            Ok(says) => self.add(what, State::Well, says),
            Err(problem) => self.add(what, State::Problem, problem),
        }
    }
}

fn look_at_device(findings: &mut Findings, options: &Doctor) {
    match Gpu::open() {
        Ok(gpu) => {
            findings.result("GPU", Ok(gpu.device_class().to_string()));
            findings.result("driver", driver(&gpu));
            findings.result("energy counter", counter(&gpu));
            if options.energy {
                findings.result("calibration", calibration());
            }
        }
        Err(error) => {
            let (state, says) = without_gpu(&error, board(Path::new("/sys/bus/pci/devices")));
            findings.add("GPU", state, says);
            if options.energy {
                let why = "there is no GPU to calibrate".to_owned();
                findings.result("calibration", Err(why));
            }
        }
    }
}

/// A missing GPU is a problem only if the machine has one.
fn without_gpu(error: &Error, board: Option<String>) -> (State, String) {
    let is_hidden = matches!(error, Error::NoDevice) && std::env::var_os("CUDA_VISIBLE_DEVICES").is_some();
    match (error, board) {
        (Error::NoDriver { .. } | Error::NoDevice, Some(board)) if !is_hidden => (
            State::Problem,
            format!("{error}; the machine has an NVIDIA GPU (PCI {board})"),
        ),
        (Error::NoDriver { .. } | Error::NoDevice, _) => (State::Note, error.to_string()),
        _ => (State::Problem, error.to_string()),
    }
}

/// The PCI address of the first NVIDIA display or compute board that Linux lists.
fn board(devices: &Path) -> Option<String> {
    let mut boards: Vec<String> = std::fs::read_dir(devices)
        .ok()?
        .flatten()
        .filter(|device| {
            let says = |file: &str, beginning: &str| {
                std::fs::read_to_string(device.path().join(file)).is_ok_and(|text| text.starts_with(beginning))
            };
            says("vendor", "0x10de") && says("class", "0x03")
        })
        .map(|device| device.file_name().to_string_lossy().into_owned())
        .collect();
    boards.sort();
    boards.into_iter().next()
}

fn look_at_package(findings: &mut Findings, arguments: &Arguments) {
    let is_asked_for = arguments.package.is_some() || arguments.manifest_path.is_some() || arguments.metadata.is_some();
    let here = std::env::current_dir().unwrap_or_default();
    if !is_asked_for && !here.ancestors().any(|folder| folder.join(Manifest::FILE).is_file()) {
        return findings.add(
            "package",
            State::Note,
            "there is no Cargo.toml here or above".to_owned(),
        );
    }
    let package = match Package::look(arguments) {
        Ok(package) => package,
        Err(error) => {
            let help = error.help().map_or(String::new(), |help| format!("; {help}"));
            let is_open = error.code().is_some_and(|code| code.to_string() == SEVERAL);
            let state = if is_open { State::Note } else { State::Problem };
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            return findings.add("package", state, format!("{}{help}", causes.join(": ")));
        }
    };
    let (tuned, without) = (
        Found::functions(&package.operators),
        Found::functions(&package.without_tune),
    );
    let operators = match (tuned, without) {
        (0, 0) => "no operators".to_owned(),
        (_, 0) => format!("{} with sizes to tune for", count(tuned, "operator")),
        _ => format!("{} with sizes to tune for, {without} without", count(tuned, "operator")),
    };
    let place = package.folder.display();
    findings.add(
        "package",
        State::Well,
        format!("{} in {place}: {operators}", package.name),
    );
    for skipped in &package.skipped {
        findings.add("skipped", State::Note, skipped.to_string());
    }
    match package.manifest.build_script_calls_us() {
        true => findings.add("build script", State::Well, "calls energy_kernel_build".to_owned()),
        // There is nothing to tune or to embed.
        false if tuned == 0 => {}
        false => {
            let why = without_build_script(&package);
            let problem =
                format!("{why}: `cargo build` tunes and embeds nothing; call energy_kernel_build::run() in it");
            findings.result("build script", Err(problem));
        }
    }
    for (what, place) in [("shipped results", Place::Shipped), ("cached results", Place::User)] {
        findings.result(what, results(&package, place));
    }
    findings.add("interrupted", State::Well, interrupted(&package));
    if let Some(value) = package.environment.get("ENERGY_KERNEL") {
        findings.result("ENERGY_KERNEL", value.parse::<Policy>().map(|_| value.to_owned()));
    }
}

fn driver(gpu: &Gpu) -> Result<String, String> {
    let cuda = gpu.driver_version().map_err(|error| error.to_string())?.unwrap_or(0);
    Ok(format!("supports CUDA {}.{}", cuda / 1000, cuda % 1000 / 10))
}

/// The state of NVML and the board.
fn counter(gpu: &Gpu) -> Result<String, String> {
    let meter = Meter::open(gpu).map_err(|error| error.to_string())?;
    let state = meter.state().map_err(|error| error.to_string())?;
    if let Some(others @ 1..) = state.foreign_processes {
        let others = count(others, "other process");
        return Err(format!(
            "energy cannot be attributed to kernels while others use the GPU ({others}); end them"
        ));
    }
    let mut says = format!(
        "can be read (driver {})",
        meter.driver().map_err(|error| error.to_string())?
    );
    let known = [
        state.sm_clock_mhz.map(|clock| format!("{clock} MHz")),
        state.temperature_celsius.map(|celsius| format!("{celsius} °C")),
        state.power_limit_watts.map(|watts| format!("limited to {watts:.0} W")),
        meter
            .board()
            .instant_watts()
            .map(|watts| format!("draws {watts:.0} W now")),
    ];
    for known in known.into_iter().flatten() {
        says += &format!(", {known}");
    }
    for unknown in state.unknown() {
        says += &format!(", {}", unknown.name());
    }
    Ok(says + "; --energy calibrates it")
}

fn calibration() -> Result<String, String> {
    let calibration = energy_kernel_build::tune::calibrate()?;
    match calibration.aliases() {
        Some(true) => Err(calibration.to_string()),
        _ => Ok(calibration.to_string()),
    }
}

fn user_cache() -> Result<String, String> {
    let folder = Environment::of_process()
        .user_cache
        .ok_or("this user has no cache folder; set ENERGY_KERNEL_CACHE_DIR")?;
    if folder.is_relative() {
        return Err(format!(
            "{} means another folder to each build script and program; set ENERGY_KERNEL_CACHE_DIR to an absolute path",
            folder.display()
        ));
    }
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, b"").map_err(|error| format!("{} cannot be written: {error}", folder.display()))?;
    let _ = std::fs::remove_file(probe);
    writable_by_owner_alone(&folder)?;
    Ok(folder.display().to_string())
}

/// Checks that only the owner can write there: the files decide which kernels run.
#[cfg(unix)]
fn writable_by_owner_alone(folder: &std::path::Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(folder).map_or(0, |metadata| metadata.permissions().mode());
    match mode & 0o022 {
        0 => Ok(()),
        _ => Err(format!(
            "other users can write to {} and so choose the kernels that run; run `chmod go-w` on it",
            folder.display()
        )),
    }
}

#[cfg(not(unix))]
fn writable_by_owner_alone(_: &std::path::Path) -> Result<(), String> {
    Ok(())
}

/// The interrupted tunings.
fn interrupted(package: &Package) -> String {
    let leftovers = package.cache.leftovers();
    let measured: Vec<usize> = leftovers
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "journal"))
        .map(|path| energy_kernel_build::tune::journaled(path))
        .filter(|outcomes| *outcomes > 0)
        .collect();
    match measured.len() {
        0 => "no tuning".to_owned(),
        tunings => format!(
            "{} with {}; `cargo energy-kernel tune` resumes",
            count(tunings, "tuning"),
            count(measured.iter().sum(), "measurement")
        ),
    }
}

fn results(package: &Package, place: Place) -> Result<String, String> {
    let files = package.cache.files(place);
    let broken: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let problem = read_file(path).err()?;
            Some(format!("{}: {problem}; {}", path.display(), problem.remedy()))
        })
        .collect();
    match broken.is_empty() {
        true => Ok(count(files.len(), "file")),
        false => Err(broken.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn no_gpu_is_a_problem_only_where_there_is_a_board() {
        let missing = Error::NoDriver {
            tried: vec!["libcuda.so.1".to_owned()],
            reason: "not found".to_owned(),
        };
        assert_eq!(without_gpu(&missing, None).0, State::Note);
        let (state, says) = without_gpu(&missing, Some("0000:01:00.0".to_owned()));
        assert!(state == State::Problem && says.contains("0000:01:00.0"), "{says}");
        let old = Error::DriverTooOld {
            symbol: "cuGraphLaunch",
        };
        assert_eq!(without_gpu(&old, None).0, State::Problem);
    }

    #[test]
    fn boards_are_told_from_other_devices_of_their_maker() {
        let root = tempfile::tempdir().unwrap();
        let device = |name: &str, vendor: &str, class: &str| {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("vendor"), vendor).unwrap();
            fs::write(root.path().join(name).join("class"), class).unwrap();
        };
        device("0000:00:02.0", "0x8086\n", "0x030000\n");
        device("0000:01:00.1", "0x10de\n", "0x040300\n");
        assert_eq!(board(root.path()), None);
        device("0000:02:00.0", "0x10de\n", "0x030200\n");
        device("0000:01:00.0", "0x10de\n", "0x030000\n");
        assert_eq!(board(root.path()).as_deref(), Some("0000:01:00.0"));
        assert_eq!(board(Path::new("/nonexistent")), None);
    }
}
