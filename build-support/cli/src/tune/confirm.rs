//! `tune --confirm`: measures the savings of the chosen kernels relative to the fastest ones.

use crate::arguments::{Tune, TuneDevice};
use crate::output::plain;
use crate::package::Package;
use crate::progress::Progress;
use crate::quantity::{count, measured, percent};
use energy_kernel_build::LONGEST_BUDGET;
use energy_kernel_build::names;
use energy_kernel_build::scan::Found;
use energy_kernel_build::tune::{self, Comparison, Settings};
use energy_kernel_compiler::record::{DeviceClass, Record};
use miette::miette;
use std::time::Instant;

/// The comparison for one size.
pub struct Confirmed {
    operator: String,
    sizes: String,
    simulated: bool,
    /// `None` if the chosen kernel is the fastest, or if energy cannot be measured.
    comparison: Option<Comparison>,
}

/// Compares all sizes with a result on this device.
pub fn confirm(
    package: &Package,
    options: &Tune,
    settings: &Settings,
    buckets: &[(&Found, &[u64])],
    device: &DeviceClass,
    progress: &Progress,
) -> miette::Result<Vec<Confirmed>> {
    let contents = package.cache.read(&package.operators);
    let known: Vec<(&Found, &Record)> = buckets
        .iter()
        .filter_map(|(found, sizes)| {
            let record = contents.record(found, sizes, device)?;
            Some((*found, record))
        })
        .collect();
    let (sizes, pairs) = (count(known.len(), "size"), count(options.pairs, "pair"));
    progress.suspend(|| complain!("comparing {sizes}, {pairs} each"));
    // The user asked for it, so no budget ends it.
    let deadline = Instant::now() + LONGEST_BUDGET;
    let compared = tune::confirm(
        *options.chosen_device() == TuneDevice::Emulated,
        &known,
        settings,
        options.pairs,
        deadline,
    )
    .map_err(|why| miette!("the comparison failed: {}", plain(why)))?;
    let confirmed = known
        .iter()
        .zip(compared)
        .map(|((found, record), comparison)| Confirmed {
            operator: found.name.clone(),
            sizes: names(found, &record.sizes),
            simulated: device.simulated,
            comparison,
        });
    Ok(confirmed.collect())
}

impl Confirmed {
    /// The comparison as text.
    pub fn text(&self) -> String {
        let name = format!("{} ({})", self.operator, self.sizes);
        let Some(comparison) = &self.comparison else {
            return format!("{name}: the chosen kernel is the fastest, or energy cannot be measured");
        };
        let mut text = format!(
            "{name}: saves {} of the fastest kernel's energy, {}",
            measured(comparison.saving(), percent),
            count(comparison.pairs, "pair")
        );
        if !comparison.is_decided() {
            text += ": no difference was found";
        }
        if self.simulated {
            text += ", simulated";
        }
        for flag in &comparison.flags {
            text += &format!(", {}", flag.name());
        }
        text
    }

    /// The comparison in JSON.
    pub fn json(&self) -> serde_json::Value {
        let compared = self.comparison.as_ref().map(|comparison| {
            serde_json::json!({
                "saving": comparison.saving().mean,
                "interval": comparison.saving().interval,
                "decided": comparison.is_decided(),
                "pairs": comparison.pairs,
                "fastest_joules": comparison.energies[0].mean,
                "chosen_joules": comparison.energies[1].mean,
                "flags": comparison.flags.iter().map(|flag| flag.name()).collect::<Vec<_>>(),
            })
        });
        serde_json::json!({
            "operator": self.operator, "sizes": self.sizes, "simulated": self.simulated, "compared": compared,
        })
    }
}
