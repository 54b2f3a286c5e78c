//! Processes on virtual GPUs, started by a test.

use crate::report::Report;
use crate::settings::{PREFIX, Settings};
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The variable that marks a process started by [`Virtual::test`].
const CHILD: &str = "ENERGY_KERNEL_TEST_CHILD";

/// The shared libraries of this crate and of the clock.
const LIBRARY: &str = "libenergy_kernel_virtual_gpu.so";
const CLOCK: &str = "libenergy_kernel_virtual_clock.so";
/// The names under which programs load the driver and NVML.
const NAMES: [&str; 4] = ["libcuda.so", "libcuda.so.1", "libnvidia-ml.so", "libnvidia-ml.so.1"];

/// Virtual GPUs for child processes: a folder with the libraries and the reports, and the settings.
///
/// ```no_run
/// use energy_kernel_virtual_gpu::Virtual;
///
/// let gpu = Virtual::new("8.6").with("FAIL", "cuMemAllocAsync:2:2");
/// let output = gpu.command("target/debug/quickstart").output().expect("it starts");
/// for report in gpu.reports() {
///     assert!(report.left.is_empty(), "{report}");
/// }
/// ```
pub struct Virtual {
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Virtual {
    /// Virtual GPUs of these capabilities, separated by commas: `9.0`, or `9.0,8.6` for two devices.
    ///
    /// # Panics
    /// The profile is unknown, the library was not built, or the folder cannot be created.
    pub fn new(devices: &str) -> Virtual {
        let folder = tempfile::tempdir().expect("a folder for the libraries");
        let library = library(LIBRARY);
        for name in NAMES {
            std::os::unix::fs::symlink(&library, folder.path().join(name)).expect("a link to the library");
        }
        let reports = folder.path().to_string_lossy().into_owned();
        Virtual {
            folder,
            settings: Vec::new(),
        }
        .with("DEVICES", devices)
        .with("REPORT", &reports)
    }

    /// Sets a setting, named without its prefix. A later value replaces an earlier one.
    ///
    /// # Panics
    /// The setting is unknown or the value is invalid.
    #[must_use]
    pub fn with(mut self, setting: &str, value: &str) -> Virtual {
        let variable = (format!("{PREFIX}{setting}"), value.to_owned());
        self.settings.retain(|(name, _)| *name != variable.0);
        if let Err(error) = Settings::parse([variable.clone()]) {
            panic!("{error}");
        }
        self.settings.push(variable);
        self
    }

    /// Removes a function from the driver, as in an older version.
    ///
    /// # Panics
    /// The driver has no such function.
    #[must_use]
    pub fn without(self, function: &str) -> Virtual {
        let mut bytes = std::fs::read(self.folder.path().join(NAMES[0])).expect("the library");
        let name = format!("\0{function}\0");
        let places: Vec<usize> = (bytes.windows(name.len()).enumerate())
            .filter_map(|(place, text)| (text == name.as_bytes()).then_some(place))
            .collect();
        assert!(!places.is_empty(), "the driver has no {function}");
        // The loader finds the entry by the hash of the name, and then compares the names.
        places.into_iter().for_each(|place| bytes[place + 1] = b'_');
        let changed = self.folder.path().join(format!("without-{function}.so"));
        std::fs::write(&changed, bytes).expect("the changed library");
        for name in NAMES {
            let link = self.folder.path().join(name);
            std::fs::remove_file(&link).expect("a link to the library");
            std::os::unix::fs::symlink(&changed, link).expect("a link to the changed library");
        }
        self
    }

    /// The environment variables that give a process the virtual GPUs.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let mut path = self.folder.path().as_os_str().to_owned();
        if let Some(before) = std::env::var_os("LD_LIBRARY_PATH").filter(|before| !before.is_empty()) {
            path.push(":");
            path.push(before);
        }
        let settings = self.settings.iter().map(|(name, value)| (name.into(), value.into()));
        let preload = self.settings.iter().any(|(name, _)| name.ends_with("_CLOCK"));
        let clock = preload.then(|| ("LD_PRELOAD".into(), library(CLOCK).into()));
        settings
            .chain(clock)
            .chain([("LD_LIBRARY_PATH".into(), path)])
            .collect()
    }

    /// A command whose process and descendants see the virtual GPUs.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.envs(self.variables());
        command
    }

    /// A command that runs one test of this executable. The test finds out with [`is_child`].
    ///
    /// # Panics
    /// The path of this executable is unknown.
    pub fn test(&self, name: &str) -> Command {
        let mut command = self.command(std::env::current_exe().expect("this executable"));
        command
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// Runs one test of this executable in its own process, for at most two minutes.
    ///
    /// # Panics
    /// The test does not exist, or the process cannot be started.
    pub fn run(&self, name: &str) -> Run {
        let run = self.finish(&mut self.test(name), Duration::from_secs(240));
        assert!(!run.text.contains("running 0 tests"), "there is no test `{name}`");
        run
    }

    /// Runs a command, and kills it at the limit.
    ///
    /// # Panics
    /// The process cannot be started.
    pub fn finish(&self, command: &mut Command, limit: Duration) -> Run {
        let output = tempfile::tempfile().expect("a file for the output");
        let both = || output.try_clone().expect("the file, twice");
        let command = command.stdin(Stdio::null()).stdout(both()).stderr(both());
        let mut child = command.spawn().expect("the process starts");
        let deadline = Instant::now() + limit;
        let status = loop {
            match child.try_wait().expect("its state") {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => {
                    // Both fail if it has just ended.
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(3)),
            }
        };
        let mut output = output;
        let mut text = Vec::new();
        output.seek(SeekFrom::Start(0)).expect("the output's start");
        output.read_to_end(&mut text).expect("the output");
        let report = self.folder.path().join(format!("{}.report", child.id()));
        let report = std::fs::read_to_string(report).ok();
        Run {
            status,
            text: String::from_utf8_lossy(&text).into_owned(),
            report: report.map(|text| Report::parse(&text).unwrap_or_else(|error| panic!("{error}"))),
        }
    }

    /// Returns the reports of all processes that called the driver or NVML and exited normally.
    ///
    /// # Panics
    /// A report cannot be read.
    pub fn reports(&self) -> Vec<Report> {
        let files = std::fs::read_dir(self.folder.path()).expect("the folder of reports");
        let mut paths: Vec<PathBuf> = files
            .filter_map(|file| Some(file.ok()?.path()))
            .filter(|path| path.extension() == Some(OsStr::new("report")))
            .collect();
        paths.sort();
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).expect("a report");
            Report::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        paths.iter().map(read).collect()
    }

    /// The folder of the libraries and reports.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The end of a process.
#[derive(Debug)]
pub struct Run {
    /// The exit status, or none if the process was killed at the limit.
    pub status: Option<ExitStatus>,
    /// Its standard output and standard error.
    pub text: String,
    /// Its report, or none if it never called the driver or did not exit normally.
    pub report: Option<Report>,
}

impl Run {
    /// Returns the report of a process that succeeded without mistakes and leaks.
    ///
    /// # Panics
    /// The process failed, made a mistake or leaked.
    pub fn clean(self) -> Report {
        assert!(
            self.status.is_some_and(|status| status.success()),
            "{:?}\n{}",
            self.status,
            self.text
        );
        let report = self
            .report
            .unwrap_or_else(|| panic!("it never called the driver\n{}", self.text));
        let clean = report.problems.is_empty() && report.left.is_empty();
        assert!(clean, "{report}\n{}", self.text);
        report
    }
}

/// `true` in a process that [`Virtual::test`] started.
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs work while calls of this process fail, given in the syntax of the setting `FAIL`. Calls are counted from here.
///
/// # Panics
/// The process has no virtual GPU, or the faults are invalid.
pub fn while_failing<R>(faults: &str, work: impl FnOnce() -> R) -> R {
    set_faults(faults);
    let result = work();
    set_faults("");
    result
}

fn set_faults(faults: &str) {
    const RTLD_NOW: c_int = 2;
    const RTLD_NOLOAD: c_int = 4;
    unsafe extern "C" {
        fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    let faults = CString::new(faults).expect("a text without zero bytes");
    let find = |name: &CStr| {
        // SAFETY: only looks for a library that is loaded already, and in it for a name.
        let found = unsafe {
            let library = dlopen(name.as_ptr(), RTLD_NOW | RTLD_NOLOAD);
            if library.is_null() {
                library
            } else {
                dlsym(library, c"virtualGpuFail".as_ptr())
            }
        };
        (!found.is_null()).then_some(found)
    };
    let found = [c"libcuda.so", c"libcuda.so.1"]
        .into_iter()
        .find_map(find)
        .expect("a virtual GPU");
    // SAFETY: the function is that of `driver::control`.
    let answer = unsafe {
        let set: unsafe extern "C" fn(*const c_char) -> c_int = std::mem::transmute(found);
        set(faults.as_ptr())
    };
    assert_eq!(answer, 0, "these are no faults: {faults:?}");
}

/// Returns the path of a shared library. Cargo builds it beside the test executables that depend on this crate.
fn library(name: &str) -> PathBuf {
    let executable = std::env::current_exe().expect("this executable");
    let folders = executable.ancestors().skip(1).take(2);
    let found = folders
        .flat_map(|folder| [folder.join(name), folder.join("deps").join(name)])
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no {name} near {}", executable.display()))
}
