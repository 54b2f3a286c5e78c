//! Tunes the buckets that lack results, if the build may.

use super::editing::Editing;
use super::package::Package;
use super::policy::{Permission, Policy};
use super::report::TuningReport;
use super::wording::{list, sizes};
use super::workshop::Workshop;
use crate::bench::{Bench, Job};
use crate::buckets::{Bucket, missing, unmeasured};
use crate::cache::{Contents, Lock};
use crate::queue::{self, JOURNAL, Tuning};
use crate::source::scan::Found;
use energy_kernel_compiler::record::{DeviceClass, Record};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

/// The most time that a build spends on the emulated device, whose results serve no GPU.
const EMULATED_BUDGET: Duration = Duration::from_secs(30);

/// Tunes what is missing. Returns `true` if the script should run again at the next build.
pub(super) fn tune(
    package: &Package<'_>,
    (policy, permission): (Policy, Permission),
    found: &[Found],
    contents: &mut Contents,
    workshop: &mut dyn Workshop,
    warnings: &mut Vec<String>,
) -> bool {
    let unknown = |contents: &Contents| found.iter().any(|f| !contents.operators.contains_key(&f.fingerprint));
    let (gpu, emulated, debounce, wait) = match permission {
        Permission::Tune {
            gpu,
            emulated,
            debounce,
            wait,
        } => (gpu, emulated, debounce, wait),
        Permission::Nothing => return false,
        Permission::CacheOnly(why) => {
            if let Some(why) = why.explanation()
                && unknown(contents)
            {
                warnings.push(untuned(package, found, contents, why));
            }
            return false;
        }
    };
    if found.is_empty() {
        return false;
    }
    let open = |workshop: &mut dyn Workshop| {
        catch_unwind(AssertUnwindSafe(|| workshop.open(gpu, emulated)))
            .unwrap_or_else(|_| Err("looking for a GPU failed".to_owned()))
    };
    let bench = match open(workshop) {
        Ok(bench) => bench,
        Err(why) => {
            if unknown(contents) {
                warnings.push(untuned(package, found, contents, &why));
            }
            return false;
        }
    };
    let device = bench.device().clone();
    let (candidates, waiting) = match debounce {
        true => rested(package, found, contents, &device),
        false => (found.iter().collect(), false),
    };
    let jobs = |contents: &Contents| {
        let mut jobs = missing(&candidates, contents, &device);
        if policy == Policy::Tune {
            jobs.extend(unmeasured(&candidates, contents, &device));
        }
        jobs
    };
    let wanted = jobs(contents);
    if wanted.is_empty() {
        return waiting;
    }
    let budget = match device.simulated {
        true => package.build.budget.min(EMULATED_BUDGET),
        false => package.build.budget,
    };
    // Waiting for locks counts: a build takes no longer than its budget.
    let end = Instant::now() + budget;
    let device_lock = bench.lock();
    let mut bench = Some(bench);
    let patience = wait.then_some(end);
    let Some(_tuning) = take(package, Lock::Tuning, patience, &mut bench, workshop) else {
        warnings.push(busy(package, &wanted, &format!("tuning {}", package.name)));
        return true;
    };
    // The process that had the lock may have tuned the same operators.
    for known in package.cache.read(found).operators.into_values() {
        known.devices.into_values().for_each(|file| contents.add(file, found));
    }
    let wanted = jobs(contents);
    if wanted.is_empty() {
        return waiting;
    }
    // A debug build waits too: otherwise each build of a workspace would tune only one of its packages.
    let measuring = device_lock.map(|name| take(package, Lock::Device(&name), Some(end), &mut bench, workshop));
    if let Some(None) = measuring {
        warnings.push(busy(package, &wanted, &format!("measuring on {}", device.name)));
        return true;
    }
    match bench.map_or_else(|| open(workshop), Ok) {
        Err(why) => warnings.push(untuned(package, found, contents, &why)),
        Ok(bench) => {
            workshop.announce(&format!(
                "energy-kernel: tuning {} on {} for at most {} s; ENERGY_KERNEL=cached builds without, Ctrl-C stops",
                sizes(wanted.len()),
                device.name,
                end.saturating_duration_since(Instant::now()).as_secs(),
            ));
            let mut report = TuningReport::new(&device, contents);
            let mut work = Tuning {
                bench: &mut Guarded(bench),
                cache: &package.cache,
                journal: Some(JOURNAL),
                replace: false,
                modified: Some(package.environment.invoked),
                begun: SystemTime::now(),
            };
            queue::run(&wanted, end, &mut work, &mut report);
            report.warn(package, budget, wanted.len(), warnings);
        }
    }
    waiting
}

/// The operators that are not being edited, and `true` if one of the others lacks results.
fn rested<'f>(
    package: &Package<'_>,
    found: &'f [Found],
    contents: &Contents,
    device: &DeviceClass,
) -> (Vec<&'f Found>, bool) {
    let mut rested: Vec<&Found> = found.iter().collect();
    let mut waiting = false;
    if let Some(state) = package.cache.state() {
        let before = Editing::read(state);
        let mut editing = before.clone();
        let now = package.environment.seconds();
        editing.note(found.iter().map(|f| (f.name.as_str(), f.fingerprint)), now);
        rested.retain(|f| {
            let is_edited = editing.is_edited(&f.name, f.fingerprint, now);
            waiting |= is_edited && !missing(&[f], contents, device).is_empty();
            !is_edited
        });
        editing.write(&before, state);
    }
    (rested, waiting)
}

/// Takes a lock, waiting until `until`. `None` if another process still has it. The inner option is `None` if the file system has no locks:
/// then this build tunes without. The bench is dropped before waiting: to the other process it would be a foreign process on the GPU.
fn take(
    package: &Package<'_>,
    lock: Lock<'_>,
    until: Option<Instant>,
    bench: &mut Option<Box<dyn Bench>>,
    workshop: &mut dyn Workshop,
) -> Option<Option<File>> {
    match (package.cache.try_lock(lock), until) {
        (Ok(None), None) => None,
        (Ok(None), Some(end)) => {
            workshop.announce(&format!(
                "energy-kernel: {} waits for another process that is {}, for at most {} s; ENERGY_KERNEL=cached builds without",
                package.name,
                match lock {
                    Lock::Device(_) => "measuring on the same device",
                    Lock::Tuning | Lock::Writing => "tuning it",
                },
                end.saturating_duration_since(Instant::now()).as_secs(),
            ));
            *bench = None;
            let taken = package.cache.lock_until(lock, end);
            taken.map_or(Some(None), |taken| taken.map(Some))
        }
        (taken, _) => Some(taken.unwrap_or(None)),
    }
}

/// The warning that another process has a lock.
fn busy(package: &Package<'_>, jobs: &[Bucket<'_>], what: &str) -> String {
    format!(
        "another process is {what}: {} of {} stay untuned in this build; the next one tunes what is left, as does `{}`",
        sizes(jobs.len()),
        list(jobs.iter().map(|(found, _)| found.name.as_str())),
        package.command()
    )
}

/// The warning that operators have no results and cannot be tuned.
fn untuned(package: &Package<'_>, found: &[Found], contents: &Contents, why: &str) -> String {
    let without = found
        .iter()
        .filter(|f| !contents.operators.contains_key(&f.fingerprint));
    format!(
        "{} will run untuned: {why}. On a machine with the GPU, `{}` tunes them",
        list(without.map(|f| f.name.as_str())),
        package.command()
    )
}

/// A bench whose panics cost one job.
struct Guarded(Box<dyn Bench>);

impl Bench for Guarded {
    fn device(&self) -> &DeviceClass {
        self.0.device()
    }

    fn lock(&self) -> Option<String> {
        self.0.lock()
    }

    fn tune(&mut self, job: &Job<'_>) -> Result<Record, String> {
        catch_unwind(AssertUnwindSafe(|| self.0.tune(job))).unwrap_or_else(|_| Err("tuning it failed".to_owned()))
    }
}
