//! Rows are kept where only the largest values of sizes are known, and kernels are right up to these.

use energy_kernel_compiler::estimate;
use energy_kernel_compiler::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Keep, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_tests::{bounded, first_wrong, operators, random_inputs, random_sizes, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// The number of schedules of each kind for each call.
const SAMPLES: usize = 2;

#[test]
fn kept_rows_of_bounded_sizes_are_right() {
    let mut random = StdRng::seed_from_u64(31);
    let machine = Machine::like(Target::Sm80);
    let mut kernels = 0;
    for (name, checked) in operators(energy_kernel_tests::OPERATORS) {
        let sizes = random_sizes(&checked, &mut random);
        let inputs = random_inputs(&checked, &sizes, &mut random);
        let is_free = |position: usize| checked.op().sizes[position].definition.is_none();
        let specialisation = bounded(&sizes, is_free);
        let problem = Problem::new(&checked, &specialisation, machine);
        let space = schedule::space(&problem);
        for keep in [Keep::Registers, Keep::Shared] {
            let kept = |point: &&Schedule| matches!(point, Schedule::Row(row) if row.keep == keep);
            let points: Vec<&Schedule> = space.iter().filter(kept).collect();
            for &point in points.sample(&mut random, SAMPLES) {
                let case = format!("{name} {sizes:?} {point}");
                let kernel = lower::lower(&problem, *point).expect("the point is legal");
                let run = run(&checked, &kernel, &sizes, &inputs).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
                assert_eq!(first_wrong(&checked, &sizes, &inputs, &run.outputs), None, "{case}");
                kernels += 1;
            }
        }
    }
    assert!(kernels > 50, "{kernels} kernels");
}

#[test]
fn untuned_rows_are_kept() {
    let operators = operators(
        "#[energy_kernel]
        fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
            let peak = |r| max(|c| x[[r, c]]);
            let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
            |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
        }
        #[energy_kernel]
        fn twice(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| 2.0 * x[[n]] }",
    );
    let untuned = |number: usize, sizes: &[u64]| {
        let checked = &operators[number].1;
        let arguments = Specialisation::like(sizes);
        let near = estimate::near(checked, &arguments, sizes);
        let chosen = estimate::untuned(checked, &arguments, Machine::like(Target::Sm90), &near);
        assert!(chosen.specialisation.accepts(sizes));
        (arguments, chosen)
    };
    let (arguments, chosen) = untuned(0, &[4096, 4000]);
    let (bounded, schedule) = (chosen.specialisation, chosen.schedule);
    let most = |specialisation: &Specialisation| -> Vec<_> {
        specialisation.extents.iter().map(|extent| extent.most()).collect()
    };
    assert_eq!(most(&bounded), [None, Some(4096)], "{schedule}");
    assert!(
        matches!(schedule, Schedule::Row(row) if row.keep != Keep::Reload),
        "{schedule}"
    );
    assert!(bounded != arguments && !bounded.accepts(&[4096, 4112]));
    let (arguments, same) = untuned(1, &[1 << 20]);
    assert_eq!(same.specialisation, arguments);
}
