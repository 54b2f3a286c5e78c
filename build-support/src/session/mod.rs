//! One run of the build script: from sources and caches to bundles, tuning what is missing if that is allowed.
//!
//! ```text
//!   policy ─▶ stamp: nothing changed? ─▶ scan ─▶ cache ─▶ tuning ─▶ embed: bundles and index ─▶ outcome: directives for cargo
//! ```
//! Nothing here fails: every problem becomes a warning, and the operators concerned run untuned.

mod bundle;
mod editing;
mod embed;
mod outcome;
mod package;
pub(crate) mod policy;
mod report;
mod slow;
mod stamp;
#[cfg(test)]
mod tests;
mod tuning;
mod watch;
mod wording;
pub(crate) mod workshop;

use crate::buckets::assumptions;
use crate::build::Build;
use crate::environment::Environment;
use crate::source::scan;
use outcome::{Outcome, directives};
use package::Package;
use policy::{Permission, Policy, permission, policy_of};
use stamp::{Stamp, file_lines, remember, remembered};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use wording::one_of;
use workshop::Workshop;

/// A run of the build script.
pub(crate) fn execute(build: &Build, environment: &Environment, workshop: &mut dyn Workshop) -> Outcome {
    let Some(package) = Package::of(build, environment) else {
        return Outcome::failed(
            "energy_kernel_build::run() belongs in a build script: cargo's variables are not set, or are not UTF-8",
        );
    };
    // A defect here must not break the build.
    catch_unwind(AssertUnwindSafe(|| run(&package, workshop))).unwrap_or_else(|_| {
        Outcome::failed(
            "energy-kernel failed while it looked for operators, which run untuned; please report it. \
             ENERGY_KERNEL=off builds without",
        )
    })
}

fn run(package: &Package<'_>, workshop: &mut dyn Workshop) -> Outcome {
    let (build, environment) = (package.build, package.environment);
    let mut warnings = Vec::new();
    let policy = policy_of(environment, build.policy, &mut warnings);
    let permission = permission(environment, policy, build.or_emulated, workshop.can_tune());
    warnings.extend(without_cache(package, policy, permission));
    let mut elsewhere = remembered(&package.output);
    let mut files = package.sources.walk();
    files.extend(package.sources.manifest().map(Path::to_owned));
    files.extend(elsewhere.iter().cloned());
    // Noted before the files are read: a file that is saved during tuning is for the next run to see.
    let sources = file_lines(&files);
    let stamp = || Stamp::of(package, permission, &sources);
    if let Some(directives) = stamp().unchanged() {
        return Outcome {
            directives,
            settled: true,
        };
    }
    let mut again = false;
    if permission == Permission::Nothing {
        embed::write(package, None, &[], &mut warnings);
    } else {
        let scan = scan::scan(&package.sources);
        let found = scan.operators;
        elsewhere = scan.elsewhere;
        package.cache.note(&found);
        warnings.extend(one_of(
            assumptions(&found),
            &format!("`cargo energy-kernel show --package {}` names them", package.name),
        ));
        let mut contents = package.cache.read(&found);
        warnings.extend(one_of(
            std::mem::take(&mut contents.warnings),
            "`cargo energy-kernel doctor` names them",
        ));
        again = tuning::tune(
            package,
            (policy, permission),
            &found,
            &mut contents,
            workshop,
            &mut warnings,
        );
        let mut stale = Vec::new();
        let assembled = embed::assemble(package, &found, &contents, &mut stale);
        let all = format!("`{} --again` measures all of them again", package.command());
        warnings.extend(one_of(stale, &all));
        embed::write(package, Some(&found), &assembled, &mut warnings);
        if !matches!(permission, Permission::CacheOnly(why) if why.explanation().is_none()) {
            again |= slow::warn(package, &found, &contents, &mut warnings);
        }
        remember(&package.output, &elsewhere);
    }
    let directives = directives(package, &warnings, again, &elsewhere);
    // A new stamp: tuning has written to the cache.
    let settled = !again && stamp().write(&directives).is_ok();
    Outcome { directives, settled }
}

/// Creates the user's cache. The warning if that fails and results would be lost.
fn without_cache(package: &Package<'_>, policy: Policy, permission: Permission) -> Option<String> {
    if policy == Policy::Off {
        return None;
    }
    let problem = package.cache.create(Some(package.environment.invoked)).err()?;
    if let Some(refused) = package.cache.refused() {
        return Some(format!("the user's cache is not used: {refused}"));
    }
    matches!(permission, Permission::Tune { .. }).then(|| {
        format!("results are not kept in the user's cache: {problem}; ENERGY_KERNEL_CACHE_DIR names another folder")
    })
}
