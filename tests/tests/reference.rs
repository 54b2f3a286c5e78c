//! Runs the validation set on the emulator, and compares it with the `f64` reference and its error bound.

use energy_kernel_compiler::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_tests::{Case, cases, first_wrong, operators, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;

#[test]
fn results_are_within_the_bound() {
    let operators = operators(energy_kernel_tests::OPERATORS);
    let machine = Machine::like(Target::Sm80);
    let all = cases(&operators, machine);
    let cases: Vec<&Case> = all.iter().filter(|case| case.is_short(machine)).collect();
    assert!(5 * cases.len() >= 4 * all.len(), "{} of {}", cases.len(), all.len());
    let failure = |(number, case): (usize, &&Case)| {
        let mut random = StdRng::seed_from_u64(number as u64);
        let inputs = random_inputs(case.checked, &case.sizes, &mut random);
        let kernel = lower::lower(
            &Problem::new(case.checked, &case.specialisation, machine),
            case.schedule,
        )
        .unwrap_or_else(|error| panic!("{case}: {error}"));
        let wrong = run(case.checked, &kernel, &case.sizes, &inputs)
            .map(|run| first_wrong(case.checked, &case.sizes, &inputs, &run.outputs))
            .unwrap_or_else(Some);
        wrong.map(|wrong| format!("{case}: {wrong}"))
    };
    let failures: Vec<_> = cases.par_iter().enumerate().filter_map(failure).collect();
    println!("{} kernels", cases.len());
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}
