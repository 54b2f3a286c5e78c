//! The results of stages in the user's cache. They are never shipped: the record of an operator does not need them.

use super::places::{Cache, Place};
use crate::bench::StageResults;
use crate::buckets::cache_file;
use crate::source::scan::Found;
use energy_kernel_compiler::fingerprint;
use energy_kernel_compiler::record::{DeviceClass, Record};
use std::time::{SystemTime, UNIX_EPOCH};

/// Precedes the operator's name in the file of a stage.
pub const STAGE_OF: &str = "a stage of ";

/// The results of stages in the user's cache.
#[derive(Debug, Clone, Copy)]
pub struct CachedStages<'a> {
    /// The cache of the package.
    pub cache: &'a Cache,
    /// The time since which results count, if earlier ones are to be replaced.
    pub replaced_since: Option<SystemTime>,
    /// The time that cache files get, if it is not the present.
    pub modified: Option<SystemTime>,
}

impl StageResults for CachedStages<'_> {
    fn find(&self, stage: &Found, sizes: &[u64], device: &DeviceClass) -> Option<Record> {
        let since = self
            .replaced_since
            .and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        let counts = |record: &&Record| {
            record.energy_measured
                && since.is_none_or(|since| record.measured_at >= since.as_secs())
                && !stage.is_stale(device, record)
        };
        let contents = self.cache.read(std::slice::from_ref(stage));
        let own = contents.record(stage, sizes, device).filter(counts);
        // An operator of the package may be the same as the stage.
        let operator = || {
            let fingerprint = fingerprint::of(&stage.checked).ok()?;
            contents.get(&fingerprint, device)?.record(sizes, &stage.specialisation)
        };
        own.or_else(|| operator().filter(|_| stage.warm_inputs.is_empty()).filter(counts))
            .cloned()
    }

    fn keep(&self, stage: &Found, device: &DeviceClass, record: &Record) {
        let file = cache_file(stage, device, record.clone());
        let operator = std::slice::from_ref(stage);
        let _ = match self.replaced_since {
            Some(_) => self.cache.replace(Place::User, &file, operator),
            None => self.cache.store(Place::User, &file, operator, self.modified),
        };
    }
}
