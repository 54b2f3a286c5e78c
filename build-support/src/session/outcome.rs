//! The outcome of a run of the build script: its directives for cargo.

use super::package::Package;
use super::watch::watched;
use crate::environment::WATCHED;
use std::path::{Path, PathBuf};

/// The end of a run of the build script.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The lines that the build script prints.
    pub(crate) directives: Vec<String>,
    /// `true` if the next run may skip everything unless something changes.
    pub(crate) settled: bool,
}

impl Outcome {
    /// A run that ended with one warning.
    pub(super) fn failed(problem: &str) -> Outcome {
        Outcome {
            directives: vec![warning(problem)],
            settled: false,
        }
    }
}

/// The lines for cargo. `again` reruns the script at the next build; `elsewhere` are source files outside the folders.
pub(super) fn directives(
    package: &Package<'_>,
    warnings: &[String],
    again: bool,
    elsewhere: &[PathBuf],
) -> Vec<String> {
    let variables = WATCHED.iter();
    let mut directives: Vec<String> = variables
        .map(|variable| format!("cargo::rerun-if-env-changed={variable}"))
        .collect();
    let mut read = package.folders();
    read.extend(package.sources.manifest());
    read.extend(elsewhere.iter().map(PathBuf::as_path));
    let mut paths = watched(&read, &package.output.join("watched"));
    if again {
        // Cargo reruns a script at every build if a watched path does not exist.
        paths.push(package.output.join("again"));
    }
    let changed = |path: &PathBuf| format!("cargo::rerun-if-changed={}", Path::display(path));
    directives.extend(paths.iter().map(changed));
    directives.extend(warnings.iter().map(|text| warning(text)));
    directives
}

/// A warning as a line for cargo. File names and errors from outside may hold control characters.
fn warning(text: &str) -> String {
    format!("cargo::warning={}", text.replace(char::is_control, " "))
}
