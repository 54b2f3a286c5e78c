//! `check`: fails unless the shipped results cover the operators. It guards CI, so it fails if it cannot read source.

use crate::arguments::{Arguments, Check};
use crate::outcome::Outcome;
use crate::output::{json, plain};
use crate::package::Package;
use crate::quantity::count;
use energy_kernel_build::cache::{Place, SHIPPED, read_file};
use energy_kernel_build::names;
use energy_kernel_build::scan::Found;
use energy_kernel_compiler::record::{CacheFile, Record};
use std::collections::BTreeSet;
use std::process::ExitCode;

/// The findings so far.
#[derive(Default)]
struct Verdict {
    problems: Vec<String>,
    /// Results whose kernels the compiler no longer emits.
    stale: Vec<String>,
    /// The remedies for both, each once.
    remedies: BTreeSet<String>,
    /// The number of shipped files without an operator.
    unused: usize,
}

const TUNE: &str = "run `cargo energy-kernel tune --ship` on a machine with the GPU, and commit `energy-cache/`";
const AGAIN: &str =
    "run `cargo energy-kernel tune --again --ship` on a machine with the GPU to measure stale results again";

pub fn check(arguments: &Arguments, options: &Check) -> Outcome {
    let package = Package::find(arguments)?;
    let mut verdict = Verdict::default();
    verdict.look_at_source(&package, arguments);
    verdict.look_at_results(&package, options);
    let covered = verdict.problems.is_empty() && verdict.stale.is_empty();
    let operators = Found::functions(&package.operators);
    if arguments.json {
        json(&serde_json::json!({
            "covered": covered, "operators": operators, "problems": verdict.problems, "stale": verdict.stale,
            "remedies": verdict.remedies, "unused": verdict.unused,
        }));
    } else {
        verdict.problems.iter().for_each(|problem| say!("{problem}"));
        for one in &verdict.stale {
            say!("{one}: stale; the compiler no longer emits the measured kernel");
        }
        if verdict.unused > 0 {
            say!("{} in {SHIPPED}/ without an operator", count(verdict.unused, "file"));
        }
        verdict.remedies.iter().for_each(|remedy| say!("help: {remedy}"));
        if covered {
            say!("the shipped results cover {}", count(operators, "operator"));
        }
    }
    Ok(if covered { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl Verdict {
    fn problem(&mut self, problem: String, remedy: impl Into<String>) {
        self.problems.push(problem);
        self.remedies.insert(remedy.into());
    }

    /// Requires operators, and a build script that embeds their results.
    fn look_at_source(&mut self, package: &Package, arguments: &Arguments) {
        // A skipped file may hold operators.
        for skipped in &package.skipped {
            self.problem(plain(skipped), "fix the skipped source: it may hold operators");
        }
        if package.operators.is_empty() {
            let places = match arguments.source_dir.as_slice() {
                [] => "its source".to_owned(),
                named => named
                    .iter()
                    .map(|dir| plain(dir.display()))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            let what = match Found::functions(&package.without_tune) {
                0 => format!("no operator was found in {places}"),
                some => format!("{} in {places}, none with `tune(…)`", count(some, "operator")),
            };
            self.problem(
                format!("{}: {what}", package.name),
                "give operators `tune(…)`, or name other folders with --source-dir; operators that a macro or a build script generates are not found",
            );
        } else if !package.manifest.build_script_calls_us() {
            self.problem(
                format!("{}, so no result is embedded", without_build_script(package)),
                "write `fn main() { energy_kernel_build::run() }` to build.rs",
            );
        }
    }

    fn look_at_results(&mut self, package: &Package, options: &Check) {
        let mut files: Vec<CacheFile> = Vec::new();
        for path in package.cache.files(Place::Shipped) {
            match read_file(&path) {
                Ok(file) => files.push(file),
                Err(problem) => {
                    let remedy = format!("{}: {}", plain(path.display()), problem.remedy());
                    self.problem(format!("{}: {}", plain(path.display()), plain(&problem)), remedy);
                }
            }
        }
        let is_used = |file: &&CacheFile| {
            package
                .operators
                .iter()
                .any(|found| found.fingerprint == file.fingerprint)
        };
        self.unused = files.len() - files.iter().filter(is_used).count();
        for found in &package.operators {
            for sizes in &found.buckets {
                self.look_at(found, sizes, &files, options.device.as_deref());
            }
        }
    }

    /// Checks one bucket: it needs a real result, and all real results must be fresh.
    fn look_at(&mut self, found: &Found, sizes: &[u64], files: &[CacheFile], device: Option<&str>) {
        let bucket = format!("{} ({})", found.name, names(found, sizes));
        let known: Vec<(&CacheFile, &Record)> = files
            .iter()
            .filter(|file| file.fingerprint == found.fingerprint)
            .filter_map(|file| Some((file, file.record(sizes, &found.specialisation)?)))
            .collect();
        let is_asked = |file: &CacheFile| device.is_none_or(|name| file.device.name.contains(name));
        let real: Vec<&(&CacheFile, &Record)> = known
            .iter()
            .filter(|(file, _)| !file.device.simulated && is_asked(file))
            .collect();
        for (file, record) in &real {
            if found.is_stale(&file.device, record) {
                self.stale.push(format!("{bucket} on {}", plain(&file.device.name)));
                self.remedies.insert(AGAIN.to_owned());
            }
        }
        if real.is_empty() {
            let what = match (device, known.is_empty()) {
                (_, true) => "no shipped result".to_owned(),
                (None, false) => "simulated results only".to_owned(),
                (Some(name), false) => format!("no real result of a GPU named `{}`", plain(name)),
            };
            self.problem(format!("{bucket}: {what}"), TUNE);
        }
    }
}

/// The problem of a package whose build script does not call `energy_kernel_build`.
pub fn without_build_script(package: &Package) -> String {
    match &package.manifest.build_script {
        None => format!("{} has no build script", package.name),
        Some(script) => format!("{} does not call `energy_kernel_build`", plain(script.display())),
    }
}
