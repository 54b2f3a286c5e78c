//! How a test starts a process that sees virtual GPUs.

use crate::report::Report;
use crate::settings::{PREFIX, Settings};
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Set in processes that run one test.
const CHILD: &str = "ENERGY_KERNEL_TEST_CHILD";

/// The file that cargo builds of this crate, and that of the clock.
const LIBRARY: &str = "libenergy_kernel_virtual_gpu.so";
const CLOCK: &str = "libenergy_kernel_virtual_clock.so";
/// The names under which a driver and an NVML are looked for.
const NAMES: [&str; 4] = ["libcuda.so", "libcuda.so.1", "libnvidia-ml.so", "libnvidia-ml.so.1"];

/// Virtual GPUs for child processes: a folder with the libraries, the settings, and the reports of the processes that used them.
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
    /// Virtual GPUs of these capabilities, separated by commas: `9.0`, or `9.0,8.6` for two.
    ///
    /// # Panics
    /// There is no such profile, the library was not built, or its folder cannot be made: tests cannot go on.
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

    /// Sets one of the settings, its name without the prefix; the last value of a setting counts.
    ///
    /// # Panics
    /// There is no such setting, or it cannot have that value.
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

    /// Takes a function out of the driver, as if it were an older one.
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
        // The loader looks it up by a hash of the name, and then finds another name.
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

    /// The variables that make a process see the virtual GPUs.
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

    /// A command whose process, and the processes that it starts, see the virtual GPUs.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.envs(self.variables());
        command
    }

    /// This test executable again, to run the one test of that name; [`is_child`] tells the test that it is there.
    ///
    /// # Panics
    /// The system does not tell which executable this is.
    pub fn test(&self, name: &str) -> Command {
        let mut command = self.command(std::env::current_exe().expect("this executable"));
        command
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// Runs the one test of that name in a process of its own, at most a minute.
    ///
    /// # Panics
    /// There is no such test, or the process cannot be started.
    pub fn run(&self, name: &str) -> Run {
        let run = self.finish(&mut self.test(name), Duration::from_secs(60));
        assert!(!run.text.contains("running 0 tests"), "there is no test `{name}`");
        run
    }

    /// Runs a command to its end, or ends it.
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
                    // It may have ended just now.
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

    /// The reports of the processes that called the driver or NVML and came to their ends, by process id.
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

    /// The folder that the libraries and the reports lie in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// How a process ended, and what it left.
#[derive(Debug)]
pub struct Run {
    /// None: it was ended, because its time was over.
    pub status: Option<ExitStatus>,
    /// What it wrote.
    pub text: String,
    /// None: it never called the driver, or did not end by itself.
    pub report: Option<Report>,
}

impl Run {
    /// The report of a process that succeeded, did nothing wrong, and left nothing.
    ///
    /// # Panics
    /// It is none.
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

/// Runs work in a process on virtual GPUs while calls fail, as the setting `FAIL` says it; they are counted from now on.
///
/// # Panics
/// The process has no virtual GPU, or these are no faults.
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

/// A shared library: cargo leaves it beside the executables of the tests that depend on this crate.
fn library(name: &str) -> PathBuf {
    let executable = std::env::current_exe().expect("this executable");
    let folders = executable.ancestors().skip(1).take(2);
    let found = folders
        .flat_map(|folder| [folder.join(name), folder.join("deps").join(name)])
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no {name} near {}", executable.display()))
}
