//! The operators of the validation set at random sizes (1, primes, beside the edges of tiles), in every family that
//! accepts them, at sampled schedules, against the `f64` reference and its error bound.

use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Target;
use energy_kernel_compiler::{lower, schedule};
use energy_kernel_tests::{families, first_wrong, operators, random_inputs, random_sizes, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Sizes an operator, and schedules a family at each for each of two specialisations.
const ROUNDS: usize = 3;
const SAMPLES: usize = 3;

#[test]
fn results_are_within_the_bound() {
    let mut random = StdRng::seed_from_u64(2);
    let (mut failures, mut runs) = (Vec::new(), 0);
    for (name, checked) in operators(energy_kernel_tests::OPERATORS) {
        if std::env::var("ONLY").is_ok_and(|only| !name.contains(&only)) {
            continue;
        }
        for _ in 0..ROUNDS {
            let sizes = random_sizes(&checked, &mut random);
            let inputs = random_inputs(&checked, &sizes, &mut random);
            for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
                let space = schedule::space(&checked, &specialisation, Target::Sm80);
                for points in families(&space) {
                    for point in points.sample(&mut random, SAMPLES) {
                        runs += 1;
                        let kernel = lower::lower(&checked, &specialisation, Target::Sm80, point)
                            .unwrap_or_else(|error| panic!("{name}: {point}: {error}"));
                        let wrong = run(&checked, &kernel, &sizes, &inputs)
                            .map(|run| first_wrong(&checked, &sizes, &inputs, &run.outputs))
                            .unwrap_or_else(Some);
                        if let Some(wrong) = wrong {
                            failures.push(format!(
                                "{name} {sizes:?} {:?}: {point}: {wrong}",
                                specialisation.extents
                            ));
                        }
                    }
                }
            }
        }
    }
    println!("{runs} kernels");
    assert!(
        failures.is_empty(),
        "{} of {runs}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
