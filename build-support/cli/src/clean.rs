//! `clean`: deletes the files of a package in the user's cache.

use crate::arguments::{Arguments, Clean};
use crate::outcome::Outcome;
use crate::output::{json, plain};
use crate::package::Package;
use crate::quantity::{self, count};
use energy_kernel_build::Lock;
use energy_kernel_build::cache::{Place, STAGE_OF, Unreadable, read_file};
use energy_kernel_build::scan::Found;
use energy_kernel_compiler::file::{self, FileError};
use energy_kernel_compiler::record::encoding::FORMAT_VERSION;
use energy_kernel_compiler::record::{DecodeError, Fingerprint};
use miette::{Context, IntoDiagnostic, miette};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn clean(arguments: &Arguments, options: &Clean) -> Outcome {
    let package = Package::find(arguments)?;
    // A running tuning writes to these files.
    let lock = match options.dry_run || package.cache.state().is_none_or(|state| !state.exists()) {
        true => None,
        false => Some(package.cache.try_lock(Lock::Tuning).into_diagnostic()?.ok_or_else(|| {
            miette!(
                help = "wait for it, or end it",
                "another process is tuning {}",
                package.name
            )
        })?),
    };
    let mut files = package.cache.files(Place::User);
    let elsewhere = package.cache.used_elsewhere();
    let before = files.len();
    files.retain(|path| !is_used(&elsewhere, path));
    let kept = before - files.len();
    if options.shipped {
        files.extend(package.cache.files(Place::Shipped));
    }
    if options.unused {
        files.retain(|path| is_unused(&package, path));
    } else {
        files.extend(package.cache.leftovers());
    }
    let mut bytes = 0;
    for path in &files {
        bytes += std::fs::symlink_metadata(path).map_or(0, |metadata| metadata.len());
        if !options.dry_run {
            std::fs::remove_file(path)
                .into_diagnostic()
                .wrap_err_with(|| format!("{} cannot be deleted", plain(path.display())))?;
        }
    }
    drop(lock);
    report(arguments, options, &files, bytes, kept);
    Ok(ExitCode::SUCCESS)
}

/// `true` if another checkout of the package has the operator of a result: checkouts share results.
fn is_used(elsewhere: &BTreeSet<Fingerprint>, path: &Path) -> bool {
    !elsewhere.is_empty() && read_file(path).is_ok_and(|file| elsewhere.contains(&file.fingerprint))
}

/// `true` if nothing can use a result: it belongs to no operator of the package, or is damaged.
fn is_unused(package: &Package, path: &Path) -> bool {
    match read_file(path) {
        Ok(file) => {
            let whole = file.operator.strip_prefix(STAGE_OF);
            let its = |found: &Found| found.fingerprint == file.fingerprint || whole == Some(found.name.as_str());
            // Programs use cached results even after an operator has lost its `tune(…)`.
            let mut operators = package.operators.iter().chain(&package.without_tune);
            !operators.any(its) && !may_be_meant(package, &file.operator)
        }
        // Keep files we cannot read: they may be valid, or a newer version's.
        Err(Unreadable::File(FileError::Io(_))) => false,
        Err(Unreadable::Content(DecodeError::Version { found })) => found < FORMAT_VERSION,
        Err(Unreadable::File(_) | Unreadable::Content(_)) => true,
    }
}

/// The most bytes of a source file that is searched. A longer one may name any operator.
const LONGEST_SOURCE: u64 = 32 << 20;

/// `true` if a source file that was passed over names the operator: its results survive while it is being edited.
fn may_be_meant(package: &Package, operator: &str) -> bool {
    let name = operator.split('<').next().unwrap_or(operator);
    package.skipped.iter().any(|skipped| {
        let text = file::read(&skipped.file, LONGEST_SOURCE);
        text.map_or(true, |text| String::from_utf8_lossy(&text).contains(name))
    })
}

fn report(arguments: &Arguments, options: &Clean, files: &[PathBuf], bytes: u64, kept: usize) {
    if arguments.json {
        let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        json(&serde_json::json!({ "deleted": files, "bytes": bytes, "kept": kept, "dry_run": options.dry_run }));
        return;
    }
    let does = if options.dry_run { "would delete" } else { "deleted" };
    files.iter().for_each(|path| say!("{does} {}", plain(path.display())));
    say!("{does} {} ({})", count(files.len(), "file"), quantity::bytes(bytes));
    if kept > 0 {
        say!("kept {} that other checkouts of the package use", count(kept, "file"));
    }
}
