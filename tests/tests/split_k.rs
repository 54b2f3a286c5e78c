//! Split-K kernels are right, and give the same bytes whichever block comes last.

use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lower, schedule};
use energy_kernel_tests::split_k::{OPERATORS, shared};
use energy_kernel_tests::{first_wrong, operators, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// The number of schedules for each family and split-K factor.
const SAMPLES: usize = 1;

#[test]
fn the_last_block_adds_up_what_all_have() {
    let mut random = StdRng::seed_from_u64(21);
    let operators = operators(energy_kernel_tests::OPERATORS);
    let mut most = 0;
    for (name, sizes) in OPERATORS {
        let found = operators.iter().find(|(of, _)| of == name);
        let (_, checked) = found.expect("the operator exists");
        let sizes = checked.derive(sizes.to_vec()).expect("sizes of the operator");
        let inputs = random_inputs(checked, &sizes, &mut random);
        let exact = Specialisation::exact(&sizes);
        let space = schedule::space(&Problem::new(checked, &exact, Machine::like(Target::Sm80)));
        let mut kinds: Vec<_> = space.iter().filter_map(shared).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert!(!kinds.is_empty(), "{name}: no split-K schedule");
        for kind in kinds {
            most = most.max(kind.1);
            let points: Vec<_> = space.iter().filter(|point| shared(point) == Some(kind)).collect();
            for &point in points.sample(&mut random, SAMPLES) {
                let case = format!("{name} {sizes:?} {point}");
                let kernel = lower::lower(&Problem::new(checked, &exact, Machine::like(Target::Sm80)), point)
                    .expect("the point is legal");
                let run = || run(checked, &kernel, &sizes, &inputs).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
                // The emulator runs blocks on several threads, so another block may be the last each time.
                let (first, second) = (run(), run());
                assert_eq!(first_wrong(checked, &sizes, &inputs, &first.outputs), None, "{case}");
                assert_eq!(first.outputs, second.outputs, "{case}");
            }
        }
    }
    assert_eq!(most, 16);
}

/// The number of terms is a kernel argument here: the parts are unequal, and those of short sums may be empty.
#[test]
fn parts_of_unknown_sums_may_be_unequal_and_empty() {
    let mut random = StdRng::seed_from_u64(22);
    let operators = operators(energy_kernel_tests::OPERATORS);
    let unequal = |size: u64| size - size / 5;
    let short = |size: u64| size.min(20);
    for (name, sizes) in OPERATORS {
        let found = operators.iter().find(|(of, _)| of == name);
        let (_, checked) = found.expect("the operator exists");
        for change in [unequal, short] {
            let sizes = sizes.iter().map(|&size| change(size)).collect();
            let sizes = checked.derive(sizes).expect("sizes of the operator");
            let inputs = random_inputs(checked, &sizes, &mut random);
            let arguments = Specialisation::like(&sizes);
            let problem = Problem::new(checked, &arguments, Machine::like(Target::Sm80));
            let space = schedule::space(&problem);
            for factor in [2, 4, 8, 16] {
                let points: Vec<_> = space
                    .iter()
                    .filter(|point| shared(point).is_some_and(|(_, own)| own == factor))
                    .collect();
                let &&point = points.choose(&mut random).expect("unknown sums can be shared");
                let case = format!("{name} {sizes:?} {point}");
                let kernel = lower::lower(&problem, point).expect("the point is legal");
                let run = run(checked, &kernel, &sizes, &inputs).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
                assert_eq!(first_wrong(checked, &sizes, &inputs, &run.outputs), None, "{case}");
            }
        }
    }
}

/// The number of terms is compiled in here: the last part may be shorter than the others, but never empty.
#[test]
fn parts_of_known_sums_may_be_unequal() {
    let mut random = StdRng::seed_from_u64(23);
    let operators = operators(energy_kernel_tests::OPERATORS);
    let mut kernels = 0;
    for (name, sizes, number) in [
        ("linear_gelu_f32", [72, 0, 40].as_slice(), 1),
        ("matmul_f64", &[40, 0, 72], 1),
        ("squared_distance_f32", &[40, 0, 72], 1),
        ("matmul_i8", &[40, 0, 72], 1),
        ("linear_gelu_f16", &[72, 0, 40], 1),
        ("matmul_transposed_f16", &[0, 40, 72], 0),
        ("gated_columns_bf16", &[40, 0, 72], 1),
        ("conv_dilated_bf16", &[2, 0, 40, 33, 3], 1),
    ] {
        let found = operators.iter().find(|(of, _)| *of == name);
        let (_, checked) = found.expect("the operator exists");
        for terms in [1, 3, 63, 65, 100, 192, 1000] {
            let mut sizes = sizes.to_vec();
            sizes[number] = terms;
            let sizes = checked.derive(sizes).expect("sizes of the operator");
            let exact = Specialisation::exact(&sizes);
            let problem = Problem::new(checked, &exact, Machine::like(Target::Sm80));
            let space = schedule::space(&problem);
            let shared: Vec<_> = space.iter().filter(|point| shared(point).is_some()).collect();
            let inputs = random_inputs(checked, &sizes, &mut random);
            for &point in shared.sample(&mut random, SAMPLES) {
                let case = format!("{name} {sizes:?} {point}");
                let kernel = lower::lower(&problem, *point).expect("the point is legal");
                let run = run(checked, &kernel, &sizes, &inputs).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
                assert_eq!(first_wrong(checked, &sizes, &inputs, &run.outputs), None, "{case}");
                kernels += 1;
            }
        }
    }
    assert!(kernels > 40, "{kernels} kernels");
}
