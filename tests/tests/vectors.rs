//! Runs every operator with test vectors at random schedules of every family, with fixed sizes and with sizes as arguments. Results are within
//! the vectors' bounds, and the sanitizer finds nothing.

use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::size::{Sizes, Specialisation};
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lower, schedule};
use energy_kernel_tests::{families, missing_families, operators, run, vectors};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// The number of schedules for each family, operator and specialisation.
const SAMPLES: usize = 5;

#[test]
fn results_are_those_of_numpy() {
    let operators = operators(energy_kernel_tests::OPERATORS);
    let mut random = StdRng::seed_from_u64(1);
    let mut failures = Vec::new();
    let mut ran = Vec::new();
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
                    ran.push(*point);
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
    println!("{} kernels", ran.len());
    assert!(ran.len() > 44 * 5, "only {} kernels ran", ran.len());
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        ran.len(),
        failures.join("\n")
    );
    assert_eq!(missing_families(&ran), [""; 0]);
}
