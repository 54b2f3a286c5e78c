//! What the tests share: processes that run one test on virtual GPUs.

#![allow(dead_code)]

use energy_kernel::{Gpu, Result};
use energy_kernel_virtual_gpu::{PROFILES, Virtual, is_child};

/// Runs a scenario in a process of its own on each capability; each must end well, and leave nothing.
pub fn everywhere(test: &str, scenario: impl FnOnce(&Gpu) -> Result<()>) {
    if is_child() {
        return scenario(&Gpu::open().unwrap()).unwrap();
    }
    for profile in &PROFILES {
        Virtual::new(&profile.version()).run(test).clean();
    }
}
