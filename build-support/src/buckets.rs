//! The buckets of operators: which there are, which lack results, and their names.

use crate::cache::Contents;
use crate::source::scan::Found;
use energy_kernel_compiler::record::{CacheFile, DeviceClass, Record};
use energy_kernel_compiler::tuning::UNNAMED;
use std::collections::BTreeSet;

/// An operator and the sizes of one of its buckets.
pub type Bucket<'a> = (&'a Found, &'a [u64]);

/// All buckets of these operators, each once: operators with the same fingerprint share results.
pub fn buckets<'a>(found: &[&'a Found]) -> Vec<Bucket<'a>> {
    let mut seen = BTreeSet::new();
    found
        .iter()
        .flat_map(|&f| f.buckets.iter().map(move |sizes| (f, sizes.as_slice())))
        .filter(|(f, sizes)| seen.insert((f.fingerprint, *sizes, &f.specialisation)))
        .collect()
}

/// The buckets without a usable record on a device.
pub fn missing<'a>(found: &[&'a Found], contents: &Contents, device: &DeviceClass) -> Vec<Bucket<'a>> {
    let mut missing = buckets(found);
    missing.retain(|(found, sizes)| {
        let record = contents.record(found, sizes, device);
        !record.is_some_and(|record| found.is_usable(device, record))
    });
    missing
}

/// The buckets with a record on a device that lacks energies.
pub fn unmeasured<'a>(found: &[&'a Found], contents: &Contents, device: &DeviceClass) -> Vec<Bucket<'a>> {
    let mut unmeasured = buckets(found);
    unmeasured.retain(|(found, sizes)| {
        let record = contents.record(found, sizes, device);
        record.is_some_and(|record| !record.energy_measured)
    });
    unmeasured
}

/// One sentence for each attribute whose `tune(…)` leaves out a size. It names the value that tuning assumes.
pub fn assumptions(found: &[Found]) -> Vec<String> {
    let mut said = Vec::new();
    for found in found.iter().filter(|found| !found.assumed.is_empty()) {
        let values: Vec<String> = found.assumed.iter().map(|size| format!("{size} = {UNNAMED}")).collect();
        let sentence = format!(
            "{} ({}:{}) is tuned for {}, because its `tune(…)` does not say; name the sizes that it is called with",
            found.checked.op().name,
            found.file.display(),
            found.line,
            values.join(", "),
        );
        // All element types of a function share one attribute.
        if !said.contains(&sentence) {
            said.push(sentence);
        }
    }
    said
}

/// A cache file that holds one record.
pub fn cache_file(found: &Found, device: &DeviceClass, record: Record) -> CacheFile {
    let op = found.checked.op();
    CacheFile {
        fingerprint: found.fingerprint,
        operator: found.name.clone(),
        size_names: op.sizes.iter().map(|size| size.name.clone()).collect(),
        device: device.clone(),
        records: vec![record],
    }
}

/// Sizes as text: `M = 16, K = 384`.
pub fn names(found: &Found, sizes: &[u64]) -> String {
    let names = found.checked.op().sizes.iter().zip(sizes);
    let pairs: Vec<String> = names.map(|(size, value)| format!("{} = {value}", size.name)).collect();
    pairs.join(", ")
}
