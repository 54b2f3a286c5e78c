//! Operators for tests, and what a device that follows a script says of itself.

use crate::scan::{Found, operators};
use energy_kernel_compiler::record::{CacheMode, Conditions, DeviceClass, Inputs};

/// Its class.
pub(crate) fn device() -> DeviceClass {
    DeviceClass {
        name: "scripted".into(),
        compute_capability: (9, 0),
        multiprocessors: 132,
        memory_bytes: 1 << 36,
        simulated: false,
    }
}

/// Conditions of which only what must be is known.
pub(crate) fn conditions() -> Conditions {
    Conditions {
        driver: "scripted".into(),
        simulated_profile: None,
        sm_clock_mhz: None,
        memory_clock_mhz: None,
        temperature_celsius: None,
        power_watts: None,
        power_limit_watts: None,
        throttle_reasons: 0,
        window_seconds: 2.0,
        launches: 100,
        inputs: Inputs::Random { seed: 0 },
        cache: CacheMode::Cold,
        flags: Vec::new(),
    }
}

/// The operator of this function with these arguments of the attribute.
pub(crate) fn operator(arguments: &str, function: &str) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lib.rs");
    std::fs::write(&file, format!("#[energy_kernel({arguments})]\n{function}\n")).unwrap();
    let mut found = operators(&[file]);
    assert_eq!(found.len(), 1, "{function}");
    found.remove(0)
}
