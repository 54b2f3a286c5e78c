//! `tune`: the same tuning as in a build script, optimised and with a progress bar.

use crate::Outcome;
use crate::arguments::{Arguments, Bench, Tune};
use crate::confirm::{Confirmed, confirm};
use crate::interrupt;
use crate::output::{json, plain, rejected};
use crate::package::Package;
use crate::progress::Progress;
use crate::quantity::{count, joules, seconds};
use crate::sweep::sweep;
use energy_kernel_build::cache::{Contents, Place, SHIPPED};
use energy_kernel_build::scan::Found;
use energy_kernel_build::tune::trace::Trace;
use energy_kernel_build::tune::{Laboratory, MOST_EMULATED_OPERATIONS, Settings, Step, open, replay};
use energy_kernel_build::{Job, Lock, buckets, cache_file, journal_path, missing, names, unmeasured};
use energy_kernel_compiler::record::{Advantage, CacheFile, CacheMode, DeviceClass, Objective, Rejected};
use miette::miette;
use std::fs::File;
use std::process::ExitCode;
use std::time::Instant;

pub fn tune(arguments: &Arguments, options: &Tune) -> Outcome {
    if !options.slack.is_finite() || options.slack < 0.0 {
        return Err(miette!("--slack {}: write 0 or a positive number", options.slack).into());
    }
    if options.warm_l2 && *options.bench() != Bench::Gpu {
        return Err(miette!("--warm-l2 is a way to measure on a GPU; remove it, or tune on a GPU").into());
    }
    let trace = read_trace(options)?;
    if options.ship && simulates(options, trace.as_ref()) {
        return Err(nothing_to_ship().into());
    }
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
            let lock = package.cache.try_lock(Lock::Tuning);
            match lock {
                Ok(None) => wait(&package, Lock::Tuning, patience, &format!("tuning {}", package.name))?,
                taken => taken.ok().flatten(),
            }
        }
    };
    // The time that another tuning took is not taken from this one's.
    let end = Instant::now() + options.budget;
    let progress = Progress::new(arguments.json, end)?;
    let mut bench = open_bench(options, trace, settings, &progress)?;
    let replayed = matches!(options.bench(), Bench::Replay(_));
    let device = bench.device().clone();
    let all: Vec<(&Found, &[u64])> = buckets(&found);
    let reopen = || open_bench(options, None, settings, &progress);
    if let Some(file) = &options.sweep {
        let (mut bench, _measuring) = measure_alone(&package, bench, reopen, end)?;
        return sweep(arguments, file, bench.as_mut(), &all, &progress, end);
    }
    let contents = package.cache.read(&package.operators);
    contents
        .warnings
        .iter()
        .for_each(|warning| complain!("warning: {}", plain(warning)));
    let jobs: Vec<(&Found, &[u64])> = match options.again {
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
        foretell(arguments, &jobs, bench.as_mut());
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::install(arguments.json)?;
    let mut measuring = None;
    if !jobs.is_empty() || options.confirm {
        (bench, measuring) = measure_alone(&package, bench, reopen, end)?;
    }
    progress.begin(jobs.len());

    // The user asks for new results although there are some.
    let replaces = options.again || options.warm_l2;
    let mut failed = 0;
    let mut replaced = Vec::new();
    let mut results = Vec::new();
    for (number, &(found, sizes)) in jobs.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            failed += jobs.len() - number;
            complain!(
                "warning: the time ended before {} of {}; a longer --budget tunes them",
                jobs.len() - number,
                count(jobs.len(), "size")
            );
            break;
        }
        let share = left / u32::try_from(jobs.len() - number).unwrap_or(u32::MAX);
        // A trace is at hand as a journal is.
        let journal = package.cache.state().filter(|_| !replayed).map(|state| {
            let journal = journal_path(state, found, &device, sizes);
            // What was measured before is what is to be measured again; what was measured again is not.
            match (options.again, options.warm_l2) {
                (true, true) => journal.with_extension("again.warm.journal"),
                (true, false) => journal.with_extension("again.journal"),
                (false, true) => journal.with_extension("warm.journal"),
                (false, false) => journal,
            }
        });
        let job = Job {
            found,
            sizes,
            deadline: Instant::now() + share,
            limit: end,
            journal: journal.as_deref(),
        };
        let named = names(found, sizes);
        progress.job(&found.name, &named);
        match bench.tune(&job) {
            Err(why) => {
                failed += 1;
                progress.suspend(|| complain!("warning: {} ({named}): {}", found.name, plain(why)));
            }
            Ok(record) => {
                let line = summary(&found.name, &named, &record, settings.objective);
                results.push(serde_json::json!({
                    "operator": found.name, "sizes": named, "rejected": rejected(&record.rejected),
                }));
                let file = cache_file(found, &device, record.clone());
                let stored = match replaces {
                    true => package.cache.replace(Place::User, &file, &package.operators),
                    false => package.cache.store(Place::User, &file, &package.operators, None),
                };
                if let Err(error) = stored {
                    // The next size may have better luck.
                    failed += 1;
                    let folder = package.cache.folder(Place::User).unwrap_or(&package.folder);
                    let folder = plain(folder.display());
                    let then = match progress.not_kept() {
                        None => "once that is mended, the same command takes it from what was measured now".to_owned(),
                        Some(why) => format!(
                            "what was measured now is lost, its journal cannot be written: {}",
                            plain(why)
                        ),
                    };
                    progress.suspend(|| {
                        complain!(
                            "warning: {} ({named}): the result cannot be kept in {folder}: {}; {then}",
                            found.name,
                            plain(error)
                        );
                    });
                    progress.done();
                    continue;
                }
                if let Some(advantage) = package.cache.preferred_to(&record, found, &device) {
                    let then = match advantage {
                        Advantage::Energies if !replayed => "; a longer --budget measures them",
                        _ => "",
                    };
                    progress.suspend(|| {
                        complain!(
                            "warning: {} ({named}): the earlier result stays in use: it {}{then}",
                            found.name,
                            advantage.explanation()
                        );
                    });
                }
                if replaces {
                    replaced.push(file);
                }
                if let Some(journal) = &journal {
                    let _ = std::fs::remove_file(journal);
                }
                if !arguments.json {
                    progress.suspend(|| say!("{line}"));
                }
            }
        }
        progress.done();
    }
    progress.end();
    drop((tuning, bench));
    let shipped = if options.ship {
        ship(&package, &found, &replaced)?
    } else {
        Vec::new()
    };
    if options.ship && shipped.is_empty() {
        return Err(nothing_to_ship().into());
    }
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

/// The operators to tune: those of these names, which must have sizes to tune for, or all that have.
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

/// The refusal of --ship if no result is a real device's.
fn nothing_to_ship() -> miette::Report {
    miette!(
        "nothing to ship: all results are simulated. Run `cargo energy-kernel tune --ship` on a machine with a GPU."
    )
}

/// `true` if what the tuning finds is known to be simulated before it begins.
fn simulates(options: &Tune, trace: Option<&Trace>) -> bool {
    let recordings = trace.iter().flat_map(|trace| &trace.recordings);
    *options.bench() == Bench::Emulated || recordings.into_iter().any(|recording| recording.device.simulated)
}

/// The trace to replay, if that is what is asked for.
fn read_trace(options: &Tune) -> miette::Result<Option<Trace>> {
    let Bench::Replay(file) = options.bench() else {
        return Ok(None);
    };
    if options.sweep.is_some() {
        return Err(miette!("a trace has nothing to record: --sweep needs a device"));
    }
    if options.confirm {
        return Err(miette!("a trace cannot be measured again: --confirm needs a device"));
    }
    Trace::read(file).map(Some).map_err(|error| {
        miette!(
            help = "`cargo energy-kernel tune --sweep FILE` records a trace",
            "{} cannot be replayed: {}",
            plain(file.display()),
            plain(error)
        )
    })
}

/// Waits until `until` for a lock that another process has, and says so. None if locks cannot be kept; then results cannot either.
fn wait(package: &Package, lock: Lock<'_>, until: Instant, doing: &str) -> miette::Result<Option<File>> {
    complain!("another process is {doing}; waiting (Ctrl-C to stop)");
    match package.cache.lock_until(lock, until) {
        Ok(None) => Err(miette!(
            help = "call this again once that has ended, or wait longer with --budget",
            "another process is still {doing}"
        )),
        taken => Ok(taken.ok().flatten()),
    }
}

/// Takes the lock of the bench's device, so that no other process measures there. While it waits, it drops the bench: to the other process it
/// would be a foreign process on the GPU.
fn measure_alone(
    package: &Package,
    bench: Box<dyn Laboratory>,
    reopen: impl FnOnce() -> miette::Result<Box<dyn Laboratory>>,
    until: Instant,
) -> miette::Result<(Box<dyn Laboratory>, Option<File>)> {
    let Some(name) = bench.lock() else {
        return Ok((bench, None));
    };
    let lock = Lock::Device(&name);
    match package.cache.try_lock(lock) {
        Ok(None) => {
            let doing = format!("measuring on {}", plain(&bench.device().name));
            drop(bench);
            let taken = wait(package, lock, until, &doing)?;
            Ok((reopen()?, taken))
        }
        taken => Ok((bench, taken.ok().flatten())),
    }
}

/// The device to tune on.
fn open_bench(
    options: &Tune,
    trace: Option<Trace>,
    settings: Settings,
    progress: &Progress,
) -> miette::Result<Box<dyn Laboratory>> {
    let steps = progress.clone();
    let step = move |step: Step<'_>| steps.step(step);
    match trace {
        Some(trace) => {
            replay(trace, settings, step).map_err(|why| miette!("the trace cannot be replayed: {}", plain(why)))
        }
        None => {
            let emulated = *options.bench() == Bench::Emulated;
            open(!emulated, emulated, settings, step).map_err(|why| {
                miette!(
                    help = "--emulated tunes without a GPU; its results are simulated",
                    "{}",
                    plain(why)
                )
            })
        }
    }
}

/// What was measured with a cold cache, and completely: what was not is to be measured anyway.
fn cold<'a>(
    all: &[(&'a Found, &'a [u64])],
    contents: &Contents,
    device: &DeviceClass,
) -> impl Iterator<Item = (&'a Found, &'a [u64])> {
    all.iter().copied().filter(|(found, sizes)| {
        let file = contents.get(&found.fingerprint, device);
        let record = file.and_then(|file| file.record(sizes, &found.specialisation));
        record.is_some_and(|record| {
            let is_cold = record
                .front
                .iter()
                .any(|point| point.conditions.cache == CacheMode::Cold);
            record.energy_measured && is_cold
        })
    })
}

/// Says what would be tuned.
fn foretell(arguments: &Arguments, jobs: &[(&Found, &[u64])], bench: &mut dyn Laboratory) {
    let device = bench.device().clone();
    let mut all = Vec::new();
    for (found, sizes) in jobs {
        let ((space, candidates), why) = match bench.schedules(found, sizes) {
            Ok(counts) => (counts, None),
            Err(why) => ((0, 0), Some(why)),
        };
        let named = names(found, sizes);
        if !arguments.json {
            match &why {
                None => say!(
                    "{} ({named}): up to {candidates} of {}",
                    found.name,
                    count(space, "schedule")
                ),
                Some(why) => say!("{} ({named}): none: {}", found.name, plain(why)),
            }
        }
        all.push(serde_json::json!({
            "operator": found.name, "sizes": named, "schedules": space, "candidates": candidates, "why": why,
        }));
    }
    if arguments.json {
        json(&serde_json::json!({ "device": device.name, "simulated": device.simulated, "would_tune": all }));
    }
}

fn summary(name: &str, sizes: &str, record: &energy_kernel_compiler::record::Record, objective: Objective) -> String {
    let Some(chosen) = record.choose(objective) else {
        return format!("{name} ({sizes})");
    };
    let simulated = if chosen.conditions.simulated_profile.is_some() {
        ", simulated"
    } else {
        ""
    };
    let energy = chosen
        .energy
        .map_or("energy unmeasured".to_owned(), |energy| joules(energy.mean));
    let latency = seconds(chosen.latency.mean);
    let rejected = match record.rejected.is_empty() {
        true => String::new(),
        false => format!("; rejected: {}", Rejected::summary(&record.rejected)),
    };
    format!(
        "{name} ({sizes}): {energy} in {latency}{simulated}: {}{rejected}",
        chosen.program
    )
}

/// Copies the results of these operators on real devices into the package. Those in `replaced` were measured on request and replace shipped ones.
fn ship(package: &Package, found: &[&Found], replaced: &[CacheFile]) -> miette::Result<Vec<std::path::PathBuf>> {
    let contents = package.cache.read(&package.operators);
    let known = found
        .iter()
        .filter_map(|found| contents.operators.get(&found.fingerprint));
    let is_real = |file: &&CacheFile| !file.device.simulated;
    let known = known.flat_map(|known| known.devices.values()).filter(is_real);
    let operators = &package.operators;
    let stored = known.map(|file| package.cache.store(Place::Shipped, file, operators, None));
    let again = (replaced.iter().filter(is_real)).map(|file| package.cache.replace(Place::Shipped, file, operators));
    let mut shipped = stored
        .chain(again)
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|error| {
            miette!(
                "a result cannot be shipped in {}: {}",
                plain(package.folder.join(SHIPPED).display()),
                plain(error)
            )
        })?;
    shipped.sort();
    shipped.dedup();
    Ok(shipped)
}
