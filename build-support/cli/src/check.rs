//! `check`: whether the shipped results cover the operators.

use crate::Outcome;
use crate::arguments::{Arguments, Check};
use crate::package::Package;
use energy_kernel_build::cache::{Place, read_file};
use energy_kernel_build::names;
use energy_kernel_build::scan::Skipped;
use energy_kernel_compiler::record::{CacheFile, Record};
use std::process::ExitCode;

pub fn check(arguments: &Arguments, options: &Check) -> Outcome {
    let package = Package::find(arguments)?;
    // Whether results cover what cannot be read is not known.
    let mut problems: Vec<String> = package.skipped.iter().map(Skipped::to_string).collect();
    let mut files: Vec<CacheFile> = Vec::new();
    for path in package.cache.files(Place::Shipped) {
        match read_file(&path) {
            Ok(file) => files.push(file),
            Err(problem) => problems.push(format!("{}: {problem}; {}", path.display(), problem.remedy())),
        }
    }
    let asked = |file: &&CacheFile| {
        options
            .device
            .as_ref()
            .is_none_or(|name| file.device.name.contains(name))
    };
    let mut stale = Vec::new();
    for found in &package.operators {
        for sizes in &found.buckets {
            let of_it = |file: &&CacheFile| file.fingerprint == found.fingerprint;
            let known: Vec<(&CacheFile, &Record)> = (files.iter().filter(asked).filter(of_it))
                .filter_map(|file| Some((file, file.record(sizes, &found.specialisation)?)))
                .collect();
            for (file, _) in known
                .iter()
                .filter(|(file, record)| found.is_stale(&file.device, record))
            {
                stale.push(format!(
                    "{} ({}) on {}",
                    found.name,
                    names(found, sizes),
                    file.device.name
                ));
            }
            if known.is_empty() {
                problems.push(format!(
                    "{} ({}) has no shipped result",
                    found.name,
                    names(found, sizes)
                ));
            }
        }
    }
    let used = |file: &CacheFile| {
        package
            .operators
            .iter()
            .any(|found| found.fingerprint == file.fingerprint)
    };
    let unused = files.iter().filter(|file| !used(file)).count();
    if arguments.json {
        say!(
            "{}",
            serde_json::json!({ "problems": problems, "stale": stale, "unused": unused })
        );
    } else {
        problems.iter().for_each(|problem| say!("{problem}"));
        for one in &stale {
            say!(
                "{one} was measured with other kernels than are emitted now: it is used, `tune --again --ship` renews its figures"
            );
        }
        if unused > 0 {
            say!("{unused} shipped files belong to no operator any more");
        }
        match problems.is_empty() {
            true => say!("the shipped results cover {} operators", package.operators.len()),
            false => say!("`cargo energy-kernel tune --ship` fills the gaps, on a machine with the GPU"),
        }
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
