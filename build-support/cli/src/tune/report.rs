//! Reports the progress and the results of a tuning.

use crate::output::{self, plain, rejected};
use crate::package::Package;
use crate::progress::Progress;
use crate::quantity::{count, joules, seconds};
use energy_kernel_build::cache::Place;
use energy_kernel_build::queue::{Ended, Observer};
use energy_kernel_build::slow::Judged;
use energy_kernel_build::{Bucket, cache_file, names};
use energy_kernel_compiler::record::{Advantage, CacheFile, DeviceClass, Objective, Record, Rejected};
use serde_json::Value;

/// The observer of a tuning.
pub struct TuningReport<'a> {
    pub package: &'a Package,
    pub device: &'a DeviceClass,
    pub progress: &'a Progress,
    pub objective: Objective,
    /// `true` to print no text.
    pub as_json: bool,
    /// `true` if the device is a trace.
    pub replayed: bool,
    /// The number of sizes without a stored result.
    pub failed: usize,
    /// The results in JSON.
    pub results: Vec<Value>,
    /// The stored results.
    pub stored: Vec<CacheFile>,
}

impl Observer<Record> for TuningReport<'_> {
    fn begin(&mut self, (found, sizes): Bucket<'_>) {
        self.progress.job(&found.name, &names(found, sizes));
    }

    fn end(&mut self, (found, sizes): Bucket<'_>, ended: Ended<Record>) {
        let named = names(found, sizes);
        let warn = |text: String| {
            self.progress
                .suspend(|| complain!("warning: {} ({named}): {text}", found.name));
        };
        if let Ended::Stored(record) | Ended::NotStored(record, _) = &ended {
            let judged = Judged {
                found,
                sizes,
                device: self.device,
                record: Some(record),
            };
            let slow = judged.slow();
            self.results.push(serde_json::json!({
                "operator": found.name, "sizes": named, "rejected": rejected(&record.rejected),
                "slow": slow.as_ref().map(output::slow),
            }));
            if let Some(slow) = slow {
                warn(slow.to_string());
            }
        }
        match ended {
            Ended::Failed(why) => {
                self.failed += 1;
                warn(plain(why));
            }
            Ended::NotStored(_, error) => {
                self.failed += 1;
                let folder = self.package.cache.folder(Place::User).unwrap_or(&self.package.folder);
                let then = match self.progress.not_kept() {
                    None => "fix that and run the command again; it resumes from the journal".to_owned(),
                    Some(why) => format!(
                        "the measurements are lost, because the journal cannot be written: {}",
                        plain(why)
                    ),
                };
                warn(format!(
                    "the result cannot be kept in {}: {}; {then}",
                    plain(folder.display()),
                    plain(error)
                ));
            }
            Ended::Stored(record) => {
                if let Some(advantage) = self.package.cache.preferred_to(&record, found, self.device) {
                    let then = match advantage {
                        Advantage::Energies if !self.replayed => "; a longer --budget measures them",
                        _ => "",
                    };
                    warn(format!(
                        "the earlier result stays in use: it {}{then}",
                        advantage.explanation()
                    ));
                }
                if !self.as_json {
                    let line = summary(&found.name, &named, &record, self.objective);
                    self.progress.suspend(|| say!("{line}"));
                }
                self.stored.push(cache_file(found, self.device, record));
            }
        }
        self.progress.done();
    }

    fn out_of_time(&mut self, left: usize) {
        self.failed += left;
        complain!(
            "warning: the time ended before {}; a longer --budget tunes them",
            count(left, "size")
        );
    }
}

fn summary(name: &str, sizes: &str, record: &Record, objective: Objective) -> String {
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
