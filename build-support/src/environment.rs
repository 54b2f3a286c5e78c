//! The surroundings of a build script as a value, so that tests can make their own.

use energy_kernel_compiler::file;
use energy_kernel_compiler::record::folder::{FOLDER_VARIABLE, RelativeFolder, user_cache};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The variables that the script watches: cargo reruns it if one of them changes.
pub(crate) const WATCHED: [&str; 5] = [
    "ENERGY_KERNEL",
    FOLDER_VARIABLE,
    "ENERGY_KERNEL_NESTED",
    "CI",
    "DOCS_RS",
];

const GIVEN_BY_CARGO: [&str; 6] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_PKG_NAME",
    "OUT_DIR",
    "TARGET",
    "HOST",
    "PROFILE",
];

/// The surroundings of a build script.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The environment variables that are set.
    pub variables: BTreeMap<String, String>,
    /// The folder of the user's cache, if there is one. [`Cache::of`](crate::cache::Cache::of) refuses a relative path.
    pub user_cache: Option<PathBuf>,
    /// Cargo's home, below which it keeps the sources of dependencies.
    pub cargo_home: Option<PathBuf>,
    /// A description of the machine's GPUs that needs no driver start. Empty if there are none.
    pub gpus: String,
    /// The present time.
    pub now: SystemTime,
    /// The time when cargo began with this script. To cargo, older files are unchanged.
    pub invoked: SystemTime,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Environment {
        // Keep a setting that is not UTF-8, lossily. Drop such a path: converted, it would name another file.
        let choice = |name: &&str| {
            Some((
                (*name).to_owned(),
                std::env::var_os(name)?.to_string_lossy().into_owned(),
            ))
        };
        let path = |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok()?));
        let choices = WATCHED.iter().filter_map(choice);
        let variables: BTreeMap<String, String> = choices.chain(GIVEN_BY_CARGO.iter().filter_map(path)).collect();
        let user_cache = user_cache(std::env::var_os(FOLDER_VARIABLE), || {
            directories::ProjectDirs::from("", "", "energy-kernel").map(|dirs| dirs.cache_dir().to_owned())
        });
        let own = std::env::var_os("CARGO_HOME").filter(|path| !path.is_empty());
        let at_home = || directories::BaseDirs::new().map(|dirs| dirs.home_dir().join(".cargo"));
        let now = SystemTime::now();
        Environment {
            invoked: variables
                .get("OUT_DIR")
                .map_or(now, |out_dir| invoked(Path::new(out_dir), now)),
            variables,
            // The cache refuses a relative path and reports it.
            user_cache: user_cache.unwrap_or_else(|RelativeFolder(path)| Some(path)),
            cargo_home: own.map(PathBuf::from).or_else(at_home),
            gpus: gpus_at_a_glance(),
            now,
        }
    }

    /// The value of a variable, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// `true` if a variable is set to something other than `0` or `false`.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "0" && value != "false")
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> u64 {
        self.now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }
}

/// The time of the file beside OUT_DIR that cargo writes just before it starts the script. Without that file the script runs once more.
fn invoked(out_dir: &Path, now: SystemTime) -> SystemTime {
    let noted = std::fs::metadata(out_dir.with_file_name("invoked.timestamp")).and_then(|file| file.modified());
    noted.map_or(now, |noted| noted.min(now))
}

/// The GPUs that the Linux driver lists as files. Starting the driver would take longer than everything else in a warm build.
fn gpus_at_a_glance() -> String {
    let read = |path: &Path| file::read_text(path, 64 << 10).ok();
    let mut glance = read(Path::new("/proc/driver/nvidia/version")).unwrap_or_default();
    if let Ok(gpus) = std::fs::read_dir("/proc/driver/nvidia/gpus") {
        let mut names: Vec<String> = gpus
            .filter_map(|gpu| read(&gpu.ok()?.path().join("information")))
            .collect();
        names.sort();
        glance.extend(names);
    }
    glance
}
