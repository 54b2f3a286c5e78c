//! The results that the places hold, merged.

use crate::source::scan::Found;
use energy_kernel_compiler::record::{CacheFile, DeviceClass, Fingerprint, Record};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{SystemTime, UNIX_EPOCH};

/// The results of one operator, per device class.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// By the class's key.
    pub devices: BTreeMap<String, CacheFile>,
}

/// Everything that the places hold.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// By operator.
    pub operators: BTreeMap<Fingerprint, Results>,
    /// One warning for each file that was ignored, with the reason.
    pub warnings: Vec<String>,
}

impl Contents {
    /// Adds a file. If two records share a bucket, the one that [prevails](Record::prevails_over) stays.
    pub fn add(&mut self, file: CacheFile, operators: &[Found]) {
        let devices = &mut self.operators.entry(file.fingerprint).or_default().devices;
        match devices.entry(file.device.key()) {
            Entry::Vacant(entry) => {
                entry.insert(file);
            }
            Entry::Occupied(mut entry) => {
                let stale = staleness(operators, &file);
                entry.get_mut().merge(file, now(), stale);
            }
        }
    }

    /// The results of an operator on a device class.
    pub fn get(&self, fingerprint: &Fingerprint, device: &DeviceClass) -> Option<&CacheFile> {
        self.operators.get(fingerprint)?.devices.get(&device.key())
    }

    /// The record of an operator's bucket on a device class.
    pub fn record(&self, found: &Found, sizes: &[u64], device: &DeviceClass) -> Option<&Record> {
        let file = self.get(&found.fingerprint, device)?;
        file.record(sizes, &found.specialisation)
    }
}

/// Tells which records of a file's operator and device are stale. None is if the operator is not among these.
pub(super) fn staleness<'a>(operators: &'a [Found], file: &CacheFile) -> impl Fn(&Record) -> bool + use<'a> {
    let found = operators.iter().find(|found| found.fingerprint == file.fingerprint);
    let device = file.device.clone();
    move |record| found.is_some_and(|found| found.is_stale(&device, record))
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| time.as_secs())
}
