//! Sums of sums on tensor cores: groups that fill slabs, that share one, that take several, and that leave parts of slabs empty.

use energy_kernel_compiler::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_tests::{first_wrong, of_validation_set, parameter, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Schedules of each operator, sizes and specialisation.
const SAMPLES: usize = 4;

/// The operator and its free sizes.
const CASES: [(&str, &[u64]); 13] = [
    // Several groups a slab; an odd number of them.
    ("group_scales_i8", &[40, 5, 32, 72]),
    ("group_scales_i8", &[33, 16, 64, 50]),
    // Several slabs a group, whole ones and not.
    ("group_scales_i8", &[19, 3, 256, 24]),
    ("group_scales_i8", &[70, 3, 144, 36]),
    // Groups that no step of tensor cores divides, of one term at the least.
    ("group_scales_i8", &[17, 7, 48, 40]),
    ("group_scales_i8", &[9, 33, 1, 11]),
    ("group_scales_i8", &[21, 1, 37, 9]),
    ("group_scales_columns_f16", &[2, 24, 5, 32, 40]),
    ("group_scales_columns_f16", &[1, 37, 3, 129, 19]),
    // Groups without terms, and no groups.
    ("group_scales_columns_f16", &[1, 18, 3, 0, 9]),
    ("group_scales_i8", &[7, 0, 32, 10]),
    ("group_scales_bytes_u8", &[3, 2, 32, 40, 48]),
    ("group_scales_bytes_u8", &[2, 3, 40, 33, 18]),
];

#[test]
fn sums_of_sums_are_right_on_tensor_cores() {
    let mut random = StdRng::seed_from_u64(15);
    let machine = Machine::like(Target::Sm80);
    let mut with_parts = 0;
    for (name, free) in CASES {
        let checked = of_validation_set(name);
        let sizes = checked.derive(free.to_vec()).expect("all free sizes");
        let inputs = random_inputs(&checked, &sizes, &mut random);
        for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
            let problem = Problem::new(&checked, &specialisation, machine);
            let space: Vec<Schedule> = (schedule::space(&problem).into_iter())
                .filter(|point| point.family() == "mma" && is_small(point))
                .collect();
            assert!(!space.is_empty(), "{name} {free:?}");
            let split = |point: &&Schedule| parameter(point, "split_k") > Some(vec![1]);
            let parts: Vec<Schedule> = space.iter().filter(split).copied().collect();
            with_parts += parts.len();
            let some = space.sample(&mut random, SAMPLES);
            for &point in some.chain(parts.sample(&mut random, 2)) {
                let kernel =
                    lower::lower(&problem, point).unwrap_or_else(|error| panic!("{name} {free:?}: {point}: {error}"));
                let run = run(&checked, &kernel, &sizes, &inputs)
                    .unwrap_or_else(|wrong| panic!("{name} {free:?}: {point}: {wrong}"));
                let wrong = first_wrong(&checked, &sizes, &inputs, &run.outputs);
                assert_eq!(wrong, None, "{name} {free:?}: {point}");
            }
        }
    }
    assert!(with_parts > 0, "no blocks share a tile");
}

/// The largest sums of a group that begin with a bias, and those of a group that does not.
#[test]
fn the_largest_sums_of_bytes_are_exact() {
    let checked = of_validation_set("group_scales_i8");
    let machine = Machine::like(Target::Sm80);
    for terms in [256, 320] {
        let sizes = checked.derive(vec![32, 2, terms, 32]).expect("all free sizes");
        let mut inputs = random_inputs(&checked, &sizes, &mut StdRng::seed_from_u64(1));
        for input in [0, 2] {
            inputs[input].bytes.fill(i8::MIN as u8);
        }
        let specialisation = Specialisation::exact(&sizes);
        let problem = Problem::new(&checked, &specialisation, machine);
        let point = "mma block=32x32x64 warp=16x16 slice_k=1 stages=2 group=1 blocks=0 split_k=1";
        let point: Schedule = point.parse().expect("a schedule");
        let kernel = lower::lower(&problem, point).expect("a legal schedule");
        assert_eq!(kernel.ptx.contains("cvt.rn.f32.s32"), terms > 256);
        let run = run(&checked, &kernel, &sizes, &inputs).expect("a clean run");
        assert_eq!(first_wrong(&checked, &sizes, &inputs, &run.outputs), None);
    }
}

/// `true` if a block has at most 64 × 64 outputs.
fn is_small(point: &Schedule) -> bool {
    parameter(point, "block").is_some_and(|block| block[0] * block[1] <= 64 * 64)
}
