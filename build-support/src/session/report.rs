//! Turns the end of each job into results and warnings.

use super::package::Package;
use super::wording::one_of;
use crate::buckets::{Bucket, cache_file, names};
use crate::cache::Contents;
use crate::queue::{Ended, Observer};
use energy_kernel_compiler::record::{DeviceClass, Record};
use std::time::Duration;

/// Collects the results and the warnings of a tuning.
pub(super) struct TuningReport<'a> {
    device: &'a DeviceClass,
    contents: &'a mut Contents,
    untuned: Vec<String>,
    defects: Vec<String>,
    without_energy: Vec<String>,
    not_stored: Vec<String>,
    left: usize,
}

impl Observer<Record> for TuningReport<'_> {
    fn end(&mut self, (found, sizes): Bucket<'_>, ended: Ended<Record>) {
        let named = names(found, sizes);
        let record = match ended {
            Ended::Failed(why) => {
                let untuned = format!("{} ({named}) runs untuned: {why}", found.name);
                return self.untuned.push(untuned);
            }
            Ended::NotStored(record, problem) => {
                self.not_stored.push(format!(
                    "the result for {} ({named}) is not kept in the user's cache: {problem}",
                    found.name
                ));
                record
            }
            Ended::Stored(record) => record,
        };
        let defects = record.rejected.iter().filter(|one| one.reason.is_defect());
        self.defects
            .extend(defects.map(|one| one.complaint(&found.name, &named)));
        if !record.energy_measured {
            self.without_energy.push(format!("{} ({named})", found.name));
        }
        let file = cache_file(found, self.device, record);
        self.contents.add(file, std::slice::from_ref(found));
    }

    fn out_of_time(&mut self, left: usize) {
        self.left = left;
    }
}

impl<'a> TuningReport<'a> {
    pub(super) fn new(device: &'a DeviceClass, contents: &'a mut Contents) -> TuningReport<'a> {
        TuningReport {
            device,
            contents,
            untuned: Vec::new(),
            defects: Vec::new(),
            without_energy: Vec::new(),
            not_stored: Vec::new(),
            left: 0,
        }
    }

    /// Adds the warnings. `jobs` is the number of sizes in the queue.
    pub(super) fn warn(self, package: &Package<'_>, budget: Duration, jobs: usize, warnings: &mut Vec<String>) {
        let command = package.command();
        warnings.extend(one_of(self.untuned, &format!("`{command}` says why")));
        warnings.extend(one_of(self.defects, "`cargo energy-kernel report` lists them"));
        if let Some(first) = self.without_energy.first() {
            let more = match self.without_energy.len() {
                1 => String::new(),
                several => format!(" and {} more", several - 1),
            };
            warnings.push(format!(
                "energy measurements are incomplete for {first}{more}; `{command}` completes them, or says what prevents it"
            ));
        }
        // Without any user's cache, `run` has warned already.
        if package.cache.create(None).is_ok() {
            warnings.extend(one_of(self.not_stored, "`cargo energy-kernel doctor` looks into it"));
        }
        if self.left > 0 {
            warnings.push(format!(
                "the time for tuning ({} s) ended before {} of {jobs} sizes; `{command}` tunes them",
                budget.as_secs(),
                self.left,
            ));
        }
    }
}
