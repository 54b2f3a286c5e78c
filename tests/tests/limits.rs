//! Tuned and untuned kernels fit the limits that drivers state for each kind of GPU.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Limits, Machine, Target};
use energy_kernel_compiler::{estimate, kernel::Kernel};
use energy_kernel_tests::{GPUS, cases, missing_families, operators};

/// The limits that a driver states: bytes of shared memory of a block and of a multiprocessor, resident threads and blocks.
fn stated((major, minor): (u32, u32)) -> [u32; 4] {
    match (major, minor) {
        (8, 0) => [166_912, 167_936, 2048, 32],
        (8, 6) => [101_376, 102_400, 1536, 16],
        (8, 9) => [101_376, 102_400, 1536, 24],
        (9, 0) | (10, 0) => [232_448, 233_472, 2048, 32],
        (12, 0) => [101_376, 102_400, 1536, 24],
        _ => panic!("{major}.{minor}"),
    }
}

/// The machines that the runtime derives from the drivers' limits.
fn machines() -> impl Iterator<Item = (Machine, [u32; 4])> {
    GPUS.into_iter().map(|((major, minor), multiprocessors)| {
        let stated = stated((major, minor));
        let [shared_per_block, shared_per_multiprocessor, threads, blocks] = stated;
        let machine = Machine {
            target: Target::for_capability(major, minor).expect("8.0 or later"),
            multiprocessors,
            limits: Limits {
                threads_per_block: 1024,
                shared_per_block,
                shared_reserved: 1024,
                registers_per_block: 65536,
                threads_per_multiprocessor: threads,
                blocks_per_multiprocessor: blocks,
                shared_per_multiprocessor,
                registers_per_multiprocessor: 65536,
            },
        };
        (machine, stated)
    })
}

/// The number in a directive of the kernel's text.
fn directive(kernel: &Kernel, name: &str) -> u32 {
    let line = kernel.ptx.lines().find_map(|line| line.trim().strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().split([',', ' ']).next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name}:\n{}", kernel.ptx))
}

/// Asserts that the device can launch a kernel, and that a multiprocessor holds as many blocks as `.minnctapersm` asks for.
fn fits(kernel: &Kernel, [shared_per_block, shared, threads, blocks]: [u32; 4], of: &str) {
    let block = kernel.launches[0].threads();
    assert!((1..=1024).contains(&block), "{of}");
    assert!(kernel.launches[0].dynamic_shared <= shared_per_block, "{of}");
    assert_eq!(directive(kernel, ".maxntid"), kernel.launches[0].block[0], "{of}");
    let asked = directive(kernel, ".minnctapersm");
    assert!((1..=blocks).contains(&asked), "{of}: {asked} blocks");
    assert!(asked * block <= threads, "{of}: {asked} blocks of {block} threads");
    assert!(
        asked * (kernel.launches[0].dynamic_shared + 1024) <= shared,
        "{of}: {asked} blocks"
    );
}

#[test]
fn the_validation_set_fits_each_device() {
    let operators = operators(energy_kernel_tests::OPERATORS);
    let count = GPUS.len();
    let mut schedules = Vec::new();
    for (number, (machine, stated)) in machines().enumerate() {
        // Each device gets its own part of the operators.
        let part: Vec<_> = operators.iter().skip(number).step_by(count).cloned().collect();
        for case in cases(&part, machine) {
            let kernel = lower(
                &Problem::new(case.checked, &case.specialisation, machine),
                case.schedule,
            )
            .unwrap_or_else(|error| panic!("{case}: {error}"));
            fits(&kernel, stated, &format!("{machine:?} {case}"));
            schedules.push(case.schedule);
        }
    }
    assert_eq!(missing_families(&schedules), [""; 0]);
}

/// The choices of the estimate and of the formulas, at small and large sizes.
#[test]
fn what_runs_untuned_fits_each_device() {
    let operators = operators(energy_kernel_tests::OPERATORS);
    let untuned = |checked: &Checked, specialisation: &Specialisation, sizes: &[u64], machine: Machine| {
        let mut all = schedule::starts(&Problem::new(checked, specialisation, machine), sizes);
        all.push(schedule::default(
            &Problem::new(checked, specialisation, machine),
            sizes,
        ));
        all.push(estimate::default(
            &Problem::new(checked, specialisation, machine),
            sizes,
        ));
        all
    };
    for (machine, stated) in machines() {
        for (name, checked) in &operators {
            let free = checked
                .op()
                .sizes
                .iter()
                .filter(|size| size.definition.is_none())
                .count();
            for size in [16, 256] {
                let Ok(sizes) = checked.derive(vec![size; free]) else {
                    continue;
                };
                for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
                    for schedule in untuned(checked, &specialisation, &sizes, machine) {
                        let kernel = lower(&Problem::new(checked, &specialisation, machine), schedule).expect("legal");
                        fits(&kernel, stated, &format!("{machine:?} {name} {schedule}"));
                    }
                }
            }
        }
        // Large products take the most shared memory.
        let (_, checked) = operators
            .iter()
            .find(|(name, _)| name == "linear_gelu_f16")
            .expect("the operator exists");
        for size in [1024, 2048, 4096, 8192] {
            let sizes = checked.derive(vec![size; 3]).expect("sizes of the operator");
            for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
                for schedule in untuned(checked, &specialisation, &sizes, machine) {
                    assert!(matches!(schedule, Schedule::Mma(_)), "{schedule}");
                    let kernel = lower(&Problem::new(checked, &specialisation, machine), schedule).expect("legal");
                    fits(&kernel, stated, &format!("{machine:?} {size} {schedule}"));
                }
            }
        }
    }
}
