//! The operators of the validation set at random sizes (1, primes, beside the edges of tiles), in every family that
//! accepts them, at sampled schedules, against the `f64` reference and its error bound.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Target;
use energy_kernel_compiler::{lower, schedule};
use energy_kernel_tests::{Input, first_wrong, operators, run, vectors::store};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

const SIZES: [u64; 18] = [1, 2, 3, 4, 5, 7, 10, 13, 16, 17, 26, 31, 32, 33, 63, 64, 65, 127];
/// Sizes an operator, and schedules a family at each.
const ROUNDS: usize = 3;
const SAMPLES: usize = 2;
/// Elements of outputs and inputs, at most: what the emulator does in no time.
const VOLUME: u64 = 30_000;

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
                for family in ["plain", "pointwise", "row", "contract"] {
                    let points: Vec<_> = space.iter().filter(|point| point.family() == family).collect();
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

fn random_sizes(checked: &Checked, random: &mut StdRng) -> Vec<u64> {
    let op = checked.op();
    let free = op.sizes.iter().filter(|size| size.definition.is_none()).count();
    loop {
        let chosen: Vec<u64> = (0..free).map(|_| *SIZES.choose(random).expect("not empty")).collect();
        let Ok(sizes) = checked.derive(chosen) else { continue };
        let volume =
            |dims: &[energy_kernel_compiler::ir::SizeId]| dims.iter().map(|size| sizes[size.index()]).product::<u64>();
        let inputs = op.inputs.iter().filter_map(|input| input.dims.as_deref());
        let outputs = op.outputs.iter().map(|output| output.dims.as_slice());
        let small = inputs.chain(outputs).all(|dims| volume(dims) <= VOLUME);
        if small && checked.verify(&sizes).is_ok() {
            return sizes;
        }
    }
}

fn random_inputs(checked: &Checked, sizes: &[u64], random: &mut StdRng) -> Vec<Input> {
    let op = checked.op();
    op.inputs
        .iter()
        .map(|input| {
            let elements: u64 = input.dims.iter().flatten().map(|size| sizes[size.index()]).product();
            let bytes = (0..elements)
                .flat_map(|_| {
                    let value = if input.element.is_float() {
                        // About normal: the sum of uniform numbers.
                        (0..6).map(|_| random.random::<f64>() - 0.5).sum::<f64>() * 1.4
                    } else {
                        // Some of these are out of range as indices, too.
                        random.random_range(-3i32..20).into()
                    };
                    store(input.element, value)
                })
                .collect();
            Input { bytes }
        })
        .collect()
}
