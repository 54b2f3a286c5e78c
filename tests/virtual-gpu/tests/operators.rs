//! The operators of the validation set through `Gpu::open()` on every capability: with the kernels that the runtime chooses, and with
//! others of every family.

#![cfg(target_os = "linux")]

use energy_kernel::Result;
use energy_kernel::prelude::*;
use energy_kernel::tools::compiler::lower::lower;
use energy_kernel::tools::compiler::problem::Problem;
use energy_kernel::tools::compiler::schedule;
use energy_kernel::tools::compiler::size::Specialisation;
use energy_kernel_tests::on_gpu::Instance;
use energy_kernel_tests::{OPERATORS, families, is_short, operators, random_inputs, random_sizes};
use energy_kernel_virtual_gpu::{PROFILES, Profile, Virtual, is_child};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// By the kernel that the runtime chooses.
fn call(problem: &Instance<'_>, gpu: &Gpu) -> Result<()> {
    let outputs = problem.outputs(gpu)?;
    problem.call(gpu, &outputs)?;
    assert_eq!(
        outputs.first_wrong()?,
        None,
        "the runtime's choice at {:?}",
        problem.sizes()
    );
    Ok(())
}

/// By one kernel of each family that takes the operator.
fn each_family(problem: &Instance<'_>, gpu: &Gpu, profile: &Profile, random: &mut StdRng) -> Result<()> {
    let machine = gpu.machine();
    let specialisation = match random.random() {
        true => Specialisation::exact(problem.sizes()),
        false => Specialisation::like(problem.sizes()),
    };
    let own = Problem::new(problem.checked(), &specialisation, machine);
    for points in families(&schedule::space(&own)) {
        let point = points.choose(random).unwrap();
        if !is_short(&own, point, problem.sizes()) {
            continue;
        }
        let kernel = lower(&own, point).unwrap();
        assert!(
            kernel
                .launches
                .iter()
                .all(|launch| launch.dynamic_shared <= profile.most_shared())
        );
        let outputs = problem.outputs(gpu)?;
        problem.load(gpu, &specialisation, point)?.launch(&outputs)?;
        assert_eq!(outputs.first_wrong()?, None, "{point} at {:?}", problem.sizes());
    }
    Ok(())
}

#[test]
fn the_validation_set_runs_on_every_capability() {
    const NAME: &str = "the_validation_set_runs_on_every_capability";
    if !is_child() {
        let run = |profile: &'static Profile| move || Virtual::new(&profile.version()).run(NAME).clean().executed;
        let kernels: u64 = std::thread::scope(|scope| {
            let runs: Vec<_> = PROFILES.iter().map(|profile| scope.spawn(run(profile))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).sum()
        });
        assert!(kernels > 600, "{kernels}");
        return;
    }
    let gpu = Gpu::open().unwrap();
    let (major, minor) = gpu.device_class().compute_capability;
    let place = PROFILES
        .iter()
        .position(|profile| profile.capability == (major, minor))
        .unwrap();
    let mut random = StdRng::seed_from_u64(place as u64);
    for (number, (name, checked)) in operators(OPERATORS).iter().enumerate() {
        let sizes = random_sizes(checked, &mut random);
        let inputs = random_inputs(checked, &sizes, &mut random);
        let problem = Instance::new(&gpu, checked, sizes, inputs).unwrap();
        let told = |error: Error| panic!("{name} at {:?}: {error}", problem.sizes());
        call(&problem, &gpu).unwrap_or_else(told);
        // Each capability has a part of the set.
        if number % PROFILES.len() == place {
            each_family(&problem, &gpu, &PROFILES[place], &mut random).unwrap_or_else(told);
        }
    }
}
