//! The public interface on the way to a real GPU, on every capability: each test runs in a process of its own, which must end
//! with right results, nothing done wrong and nothing left on the device.

#![cfg(target_os = "linux")]

use energy_kernel::Result;
use energy_kernel::prelude::*;
use energy_kernel_tests::scenarios::{self, scale};
use energy_kernel_virtual_gpu::{PROFILES, Virtual, is_child};

/// Runs a scenario in a process of its own on each capability; each must end well, and leave nothing.
fn everywhere(test: &str, scenario: impl FnOnce(&Gpu) -> Result<()>) {
    if is_child() {
        return scenario(&Gpu::open().unwrap()).unwrap();
    }
    for profile in &PROFILES {
        Virtual::new(&profile.version()).run(test).clean();
    }
}

macro_rules! tests {
    ($($scenario:ident)*) => {$(
        #[test]
        fn $scenario() {
            everywhere(stringify!($scenario), scenarios::$scenario);
        }
    )*};
}

energy_kernel_tests::scenarios!(tests);

#[test]
fn joules_of_a_region_are_what_was_drawn() {
    everywhere("joules_of_a_region_are_what_was_drawn", |gpu| {
        // Nothing runs, and the board draws its idle power.
        let (energy, ()) = gpu.energy(|| {
            std::thread::sleep(std::time::Duration::from_millis(250));
            Ok(())
        })?;
        let name = &gpu.device_class().name;
        let profile = PROFILES.iter().find(|profile| profile.name == name).unwrap();
        let truth = profile.idle_watts * energy.seconds;
        assert!(!energy.simulated && energy.seconds >= 0.25);
        assert!(
            (energy.joules - truth).abs() <= energy.uncertainty,
            "{energy:?}, truth {truth}"
        );
        assert_eq!(gpu.driver_version()?, Some(profile.cuda));
        Ok(())
    });
}

#[test]
fn several_gpus_are_kept_apart() {
    if !is_child() {
        Virtual::new("9.0,8.6").run("several_gpus_are_kept_apart").clean();
        return;
    }
    let (first, second) = (Gpu::open().unwrap(), Gpu::open_at(1).unwrap());
    assert!(matches!(
        Gpu::open_at(2),
        Err(Error::NoSuchDevice { ordinal: 2, count: 2 })
    ));
    assert_eq!(first.device_class().compute_capability, (9, 0));
    assert_eq!(second.device_class().compute_capability, (8, 6));
    let (a, b) = (
        Tensor::from_slice(&first, &[8], &[1.0; 8]).unwrap(),
        Tensor::from_slice(&second, &[8], &[2.0; 8]).unwrap(),
    );
    for (gpu, x, wrong) in [(&first, &a, &b), (&second, &b, &a)] {
        assert!(matches!(scale(gpu, wrong, 2.0), Err(Error::WrongDevice { .. })));
        assert_eq!(
            scale(gpu, x, 2.0).unwrap().to_vec().unwrap()[7],
            2.0 * x.to_vec().unwrap()[7]
        );
    }
    // A thread that has used one uses the other.
    std::thread::scope(|scope| {
        for (gpu, x) in [(&first, &a), (&second, &b)] {
            scope.spawn(move || {
                let y = scale(gpu, x, 3.0).unwrap();
                scale(gpu, &y, 3.0).unwrap().to_vec().unwrap()
            });
        }
    });
    drop((first, a));
    assert_eq!(scale(&second, &b, 2.0).unwrap().to_vec().unwrap(), [4.0; 8]);
}

#[test]
fn memory_that_runs_out_is_told_and_comes_back() {
    if !is_child() {
        for pools in ["0", "1"] {
            let gpu = Virtual::new("9.0").with("MEMORY_MB", "64").with("POOLS", pools);
            gpu.run("memory_that_runs_out_is_told_and_comes_back").clean();
        }
        return;
    }
    let gpu = Gpu::open().unwrap();
    for _ in 0..3 {
        let large = Tensor::<f32>::zeros(&gpu, &[10 << 20]).unwrap();
        let error = Tensor::<f32>::zeros(&gpu, &[10 << 20]).unwrap_err();
        assert_eq!(error, Error::OutOfMemory { bytes: 40 << 20 });
        assert_eq!(large.slice(5..8).unwrap().to_vec().unwrap(), [0.0; 3]);
        drop(large);
        gpu.synchronize().unwrap();
    }
}

#[test]
fn a_machine_whose_driver_finds_no_gpu_is_told_so() {
    if !is_child() {
        Virtual::new("none")
            .run("a_machine_whose_driver_finds_no_gpu_is_told_so")
            .clean();
        return;
    }
    assert_eq!(Gpu::open().unwrap_err(), Error::NoDevice);
}
