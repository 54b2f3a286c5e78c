//! The steps of `tune`.

use super::bench::{measure_alone, open_bench, read_trace, take};
use super::confirm::{Confirmed, confirm};
use super::dry_run::dry_run;
use super::report::TuningReport;
use super::ship::{refuse_simulated, ship};
use super::sweep::sweep;
use crate::arguments::{Arguments, Tune, TuneDevice};
use crate::interrupt;
use crate::outcome::Outcome;
use crate::output::{json, plain};
use crate::package::Package;
use crate::progress::Progress;
use crate::quantity::count;
use energy_kernel_build::cache::Contents;
use energy_kernel_build::queue::{self, JOURNAL, Tuning};
use energy_kernel_build::scan::Found;
use energy_kernel_build::tune::{MOST_EMULATED_OPERATIONS, Settings};
use energy_kernel_build::{Bucket, Lock, buckets, missing, unmeasured};
use energy_kernel_compiler::record::{CacheMode, DeviceClass};
use miette::miette;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

pub fn tune(arguments: &Arguments, options: &Tune) -> Outcome {
    if !options.slack.is_finite() || options.slack < 0.0 {
        return Err(miette!("--slack {} is invalid: write 0 or a positive number", options.slack).into());
    }
    if options.warm_l2 && *options.chosen_device() != TuneDevice::Gpu {
        return Err(miette!("--warm-l2 needs a GPU; remove it, or tune on a GPU").into());
    }
    let trace = read_trace(options)?;
    refuse_simulated(options, trace.as_ref())?;
    let package = Package::find(arguments)?;
    package.warn();
    let found = tunable(&package, &options.operator)?;
    let settings = Settings {
        objective: options.objective(),
        seed: options.seed,
        emulated_candidates: options.candidates.unwrap_or(24).max(1),
        emulated_operations: MOST_EMULATED_OPERATIONS,
        candidates: options.candidates.unwrap_or(256).max(1),
        measurements: options.measurements,
        patience: options.patience,
        cache: options.cache(),
    };
    let tuning = match options.dry_run || options.sweep.is_some() {
        true => None,
        false => {
            package.cache.create(None).map_err(|error| {
                miette!(
                    help = "name another folder with ENERGY_KERNEL_CACHE_DIR",
                    "results cannot be kept: {}",
                    plain(error)
                )
            })?;
            package.cache.note(&package.operators);
            let patience = Instant::now() + options.budget;
            take(&package, Lock::Tuning, patience, &format!("tuning {}", package.name))?
        }
    };
    // Waiting for another tuning does not count.
    let end = Instant::now() + options.budget;
    let progress = Progress::new(arguments.json, end)?;
    let mut bench = open_bench(options, trace, settings, &progress)?;
    let replayed = matches!(options.chosen_device(), TuneDevice::Replay(_));
    let device = bench.device().clone();
    let all = buckets(&found);
    let reopen = || open_bench(options, None, settings, &progress);
    if let Some(file) = &options.sweep {
        let (mut bench, _measuring) = measure_alone(&package, bench, reopen, end)?;
        return sweep(arguments.json, file, bench.as_mut(), &all, &progress, end);
    }
    let contents = package.cache.read(&package.operators);
    contents
        .warnings
        .iter()
        .for_each(|warning| complain!("warning: {}", plain(warning)));
    let jobs: Vec<Bucket<'_>> = match options.again {
        true => all.clone(),
        false => missing(&found, &contents, &device)
            .into_iter()
            .chain(unmeasured(&found, &contents, &device))
            .chain(cold(&all, &contents, &device).filter(|_| options.warm_l2))
            .collect(),
    };
    if !arguments.json {
        let all = count(all.len(), "size");
        say!("{}: {} of {all} to tune", plain(&device), jobs.len());
    }
    if options.dry_run {
        dry_run(arguments.json, &jobs, bench.as_mut());
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::install(arguments.json)?;
    let mut measuring = None;
    if !jobs.is_empty() || options.confirm {
        (bench, measuring) = measure_alone(&package, bench, reopen, end)?;
    }
    progress.begin(jobs.len());
    let replace = options.again || options.warm_l2;
    let mut report = TuningReport {
        package: &package,
        device: &device,
        progress: &progress,
        objective: settings.objective,
        as_json: arguments.json,
        replayed,
        failed: 0,
        results: Vec::new(),
        stored: Vec::new(),
    };
    let mut work = Tuning {
        bench: bench.as_mut(),
        cache: &package.cache,
        journal: journal(options),
        replace,
        modified: None,
        begun: SystemTime::now(),
    };
    queue::run(&jobs, end, &mut work, &mut report);
    progress.end();
    let TuningReport {
        failed,
        results,
        stored,
        ..
    } = report;
    drop((tuning, bench));
    let replaced = if replace { stored } else { Vec::new() };
    let shipped = match options.ship {
        true => ship(&package, &found, &replaced)?,
        false => Vec::new(),
    };
    let confirmed = match options.confirm {
        true => confirm(&package, options, &settings, &all, &device, &progress)?,
        false => Vec::new(),
    };
    drop(measuring);
    if arguments.json {
        let files: Vec<String> = shipped.iter().map(|path| path.display().to_string()).collect();
        json(&serde_json::json!({
            "device": device.name, "simulated": device.simulated,
            "tuned": jobs.len() - failed, "failed": failed, "results": results, "shipped": files,
            "confirmed": confirmed.iter().map(Confirmed::json).collect::<Vec<_>>(),
        }));
    } else {
        shipped
            .iter()
            .for_each(|path| say!("shipped {}", plain(path.display())));
        confirmed.iter().for_each(|one| say!("{}", one.text()));
    }
    Ok(if failed > 0 {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

/// The extension of the journals. Measurements with --again or --warm-l2 have journals of their own: they must not resume from other ones.
/// A replay needs none.
fn journal(options: &Tune) -> Option<&'static str> {
    match (options.chosen_device(), options.again, options.warm_l2) {
        (TuneDevice::Replay(_), ..) => None,
        (_, true, true) => Some("again.warm.journal"),
        (_, true, false) => Some("again.journal"),
        (_, false, true) => Some("warm.journal"),
        (_, false, false) => Some(JOURNAL),
    }
}

/// The operators of these names, or all operators with sizes to tune for.
///
/// # Errors
/// A named operator has no sizes to tune for, or no operator has.
fn tunable<'a>(package: &'a Package, names: &[String]) -> miette::Result<Vec<&'a Found>> {
    let (found, without): (Vec<&Found>, Vec<&Found>) =
        (package.named(names)?.into_iter()).partition(|found| !found.buckets.is_empty());
    let help = "give it `tune(…)` with the sizes to tune for: `#[energy_kernel(tune(M = [1, 16], N = 1024))]`";
    match without.first() {
        Some(first) if !names.is_empty() => Err(miette!(help = help, "`{}` has no sizes to tune for", first.name)),
        _ if found.is_empty() => Err(miette!(
            help = help,
            "{} has no operator with sizes to tune for ({} without)",
            package.name,
            count(Found::functions(&package.without_tune), "operator")
        )),
        _ => Ok(found),
    }
}

/// The buckets with complete measurements for a cold cache. Incomplete ones are measured anyway.
fn cold<'a>(all: &[Bucket<'a>], contents: &Contents, device: &DeviceClass) -> impl Iterator<Item = Bucket<'a>> {
    all.iter().copied().filter(|(found, sizes)| {
        contents.record(found, sizes, device).is_some_and(|record| {
            let mut front = record.front.iter();
            record.energy_measured && front.any(|point| point.conditions.cache == CacheMode::Cold)
        })
    })
}
