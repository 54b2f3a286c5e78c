//! The kernels of the validation set on the emulator, against the `f64` reference and its error bound.

use energy_kernel_compiler::lower;
use energy_kernel_compiler::target::Target;
use energy_kernel_tests::{cases, first_wrong, operators, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;

#[test]
fn results_are_within_the_bound() {
    let mut random = StdRng::seed_from_u64(2);
    let operators = operators(energy_kernel_tests::OPERATORS);
    let cases = cases(&operators, Target::Sm80);
    let mut failures = Vec::new();
    for case in &cases {
        let inputs = random_inputs(case.checked, &case.sizes, &mut random);
        let kernel = lower::lower(case.checked, &case.specialisation, Target::Sm80, &case.schedule)
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        let wrong = run(case.checked, &kernel, &case.sizes, &inputs)
            .map(|run| first_wrong(case.checked, &case.sizes, &inputs, &run.outputs))
            .unwrap_or_else(Some);
        failures.extend(wrong.map(|wrong| format!("{case}: {wrong}")));
    }
    println!("{} kernels", cases.len());
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}
