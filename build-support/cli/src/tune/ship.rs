//! `tune --ship`: copies results into the package.

use crate::arguments::{Tune, TuneDevice};
use crate::output::plain;
use crate::package::Package;
use energy_kernel_build::cache::{Place, SHIPPED};
use energy_kernel_build::scan::Found;
use energy_kernel_build::tune::trace::Trace;
use energy_kernel_compiler::record::CacheFile;
use miette::{Result, miette};
use std::path::PathBuf;

/// Copies the results of these operators on real devices into the package. Results in `replaced` were measured again on request and replace
/// shipped ones.
pub fn ship(package: &Package, found: &[&Found], replaced: &[CacheFile]) -> Result<Vec<PathBuf>> {
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
    match shipped.is_empty() {
        true => Err(nothing_to_ship()),
        false => Ok(shipped),
    }
}

/// Refuses --ship if the results will be simulated.
///
/// # Errors
/// The device or the trace is simulated.
pub fn refuse_simulated(options: &Tune, trace: Option<&Trace>) -> Result<()> {
    let mut recordings = trace.iter().flat_map(|trace| &trace.recordings);
    let simulates =
        *options.chosen_device() == TuneDevice::Emulated || recordings.any(|recording| recording.device.simulated);
    match options.ship && simulates {
        true => Err(nothing_to_ship()),
        false => Ok(()),
    }
}

fn nothing_to_ship() -> miette::Report {
    miette!(
        "nothing to ship: all results are simulated. Run `cargo energy-kernel tune --ship` on a machine with a GPU."
    )
}
