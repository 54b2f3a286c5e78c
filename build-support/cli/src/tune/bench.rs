//! The device to tune on, and its lock.

use crate::arguments::{Tune, TuneDevice};
use crate::output::plain;
use crate::package::Package;
use crate::progress::Progress;
use energy_kernel_build::Lock;
use energy_kernel_build::tune::trace::Trace;
use energy_kernel_build::tune::{Laboratory, Settings, Step, open, replay};
use miette::{Result, miette};
use std::fs::File;
use std::time::Instant;

/// Reads the trace to replay. `None` if another device was chosen.
pub fn read_trace(options: &Tune) -> Result<Option<Trace>> {
    let TuneDevice::Replay(file) = options.chosen_device() else {
        return Ok(None);
    };
    if options.sweep.is_some() {
        return Err(miette!("--sweep needs a device; a replay measures nothing"));
    }
    if options.confirm {
        return Err(miette!("--confirm needs a device; a replay measures nothing"));
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

/// Opens the device to tune on.
pub fn open_bench(
    options: &Tune,
    trace: Option<Trace>,
    settings: Settings,
    progress: &Progress,
) -> Result<Box<dyn Laboratory>> {
    let steps = progress.clone();
    let step = move |step: Step<'_>| steps.step(step);
    match trace {
        Some(trace) => {
            replay(trace, settings, step).map_err(|why| miette!("the trace cannot be replayed: {}", plain(why)))
        }
        None => {
            let emulated = *options.chosen_device() == TuneDevice::Emulated;
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

/// Takes the lock of the bench's device, so that no other process measures there. The bench is dropped before waiting: to the other process
/// it would be a foreign process on the GPU.
pub fn measure_alone(
    package: &Package,
    bench: Box<dyn Laboratory>,
    reopen: impl FnOnce() -> Result<Box<dyn Laboratory>>,
    until: Instant,
) -> Result<(Box<dyn Laboratory>, Option<File>)> {
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

/// Takes a lock, waiting until `until` if another process has it. `None` if the file system has no locks.
pub fn take(package: &Package, lock: Lock<'_>, until: Instant, doing: &str) -> Result<Option<File>> {
    match package.cache.try_lock(lock) {
        Ok(None) => wait(package, lock, until, doing),
        taken => Ok(taken.ok().flatten()),
    }
}

fn wait(package: &Package, lock: Lock<'_>, until: Instant, doing: &str) -> Result<Option<File>> {
    complain!("another process is {doing}; waiting (Ctrl-C to stop)");
    match package.cache.lock_until(lock, until) {
        Ok(None) => Err(miette!(
            help = "run the command again later, or wait longer with --budget",
            "another process is still {doing}"
        )),
        taken => Ok(taken.ok().flatten()),
    }
}
