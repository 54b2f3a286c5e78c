//! What a crate embeds: decoded, its kernels unpacked.

#![no_main]

use energy_kernel_compiler::record::{Bundle, Objective};
use energy_kernel_fuzz::decoded;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(bundle) = decoded::<Bundle>(bytes) else { return };
    for tuned in &bundle.devices {
        for bucket in &tuned.buckets {
            assert!(bucket.choose(Objective::default()).is_some());
            assert!(
                bundle.find(&tuned.device, &bucket.sizes).is_some(),
                "a bucket accepts its own sizes"
            );
            for candidate in &bucket.front {
                let _ = bundle.kernel(candidate);
            }
        }
    }
});
