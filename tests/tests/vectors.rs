//! Every operator with vectors, in every family that accepts it, at sampled schedules, compiled for exactly its sizes
//! and for any: results within the vectors' bounds, nothing for the sanitizer to find.

use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::size::{Sizes, Specialisation};
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lower, schedule};
use energy_kernel_tests::{families, operators, run, vectors};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Schedules a family, operator and specialisation.
const SAMPLES: usize = 5;

#[test]
fn results_are_those_of_numpy() {
    let operators = operators(energy_kernel_tests::OPERATORS);
    let mut random = StdRng::seed_from_u64(1);
    let mut failures = Vec::new();
    let mut runs = 0;
    for (case, inputs, expected) in vectors::cases() {
        if std::env::var("ONLY").is_ok_and(|only| !case.operator.contains(&only)) {
            continue;
        }
        let (_, checked) = operators
            .iter()
            .find(|(name, _)| *name == case.operator)
            .unwrap_or_else(|| panic!("{} is not among the operators", case.operator));
        let free = checked.op().sizes.iter().filter(|size| size.definition.is_none());
        let sizes: Sizes = free.map(|size| (size.name.clone(), case.sizes[&size.name])).collect();
        let sizes = checked
            .bind(&sizes)
            .unwrap_or_else(|error| panic!("{}: {error}", case.operator));
        checked
            .verify(&sizes)
            .unwrap_or_else(|error| panic!("{}: {error}", case.operator));
        for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
            let space = schedule::space(&Problem::new(checked, &specialisation, Machine::like(Target::Sm80)));
            for points in families(&space) {
                for point in points.sample(&mut random, SAMPLES) {
                    let name = format!("{} {specialisation:?}: {point}", case.operator);
                    let kernel = lower::lower(
                        &Problem::new(checked, &specialisation, Machine::like(Target::Sm80)),
                        point,
                    )
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                    runs += 1;
                    match run(checked, &kernel, &sizes, &inputs) {
                        Err(error) => failures.push(format!("{name}: {error}")),
                        Ok(run) => {
                            for (position, (expected, output)) in expected.iter().zip(&run.outputs).enumerate() {
                                if let Some(wrong) = expected.first_wrong(output) {
                                    failures.push(format!("{name}: output {position}: {wrong}"));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    println!("{runs} kernels");
    assert!(runs > 44 * 5, "only {runs} kernels ran");
    assert!(
        failures.is_empty(),
        "{} of {runs}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
