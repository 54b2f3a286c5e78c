//! A file of a cache: decoded, merged, chosen from.

#![no_main]

use energy_kernel_compiler::record::{CacheFile, Objective};
use energy_kernel_fuzz::decoded;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(file) = decoded::<CacheFile>(bytes) else {
        return;
    };
    for record in &file.records {
        for objective in [Objective::default(), Objective::Edp, Objective::Latency] {
            assert!(record.choose(objective).is_some(), "a valid record has a choice");
        }
        let _ = file.named(record);
    }
    let mut merged = file.clone();
    merged.merge(file.clone(), 0, |_| false);
    assert_eq!(merged, file);
    let _ = CacheFile::file_name(&file.fingerprint, &file.device);
});
