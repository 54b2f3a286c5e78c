//! Operators for tests, and the class and conditions of a scripted device.

use crate::source::scan::{Found, operators};
use energy_kernel_compiler::record::{CacheMode, Conditions, DeviceClass, Inputs};

/// The class of the scripted device.
pub(crate) fn device() -> DeviceClass {
    DeviceClass {
        name: "scripted".into(),
        compute_capability: (9, 0),
        multiprocessors: 132,
        memory_bytes: 1 << 36,
        simulated: false,
    }
}

/// Conditions with only the required fields.
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

/// The operator of a function and the arguments of its attribute.
pub(crate) fn operator(arguments: &str, function: &str) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lib.rs");
    std::fs::write(&file, format!("#[energy_kernel({arguments})]\n{function}\n")).unwrap();
    let mut found = operators(&[file]);
    assert_eq!(found.len(), 1, "{function}");
    found.remove(0)
}
