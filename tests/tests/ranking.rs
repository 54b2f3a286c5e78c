//! Compares the ranking of schedules by estimated latency with their ranking by simulated latency, from the emulator's counts.
//!
//! The whole figure takes some minutes:
//! `cargo test --release -p energy-kernel-tests --test ranking -- --ignored --nocapture`

use energy_kernel::simulate::{LaunchConfig, Profile, Simulated};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{estimate, lower};
use energy_kernel_tests::{Input, count, live_registers, operators, random_inputs};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

const MACHINE: Machine = Machine::like(Target::Sm90);

/// An operator at sizes that are compiled in.
struct Instance {
    checked: Checked,
    specialisation: Specialisation,
    sizes: Vec<u64>,
    inputs: Vec<Input>,
}

impl Instance {
    fn new(name: &str, free: &[u64]) -> Instance {
        let mut all = operators(energy_kernel_tests::OPERATORS).into_iter();
        let (_, checked) = all.find(|(own, _)| own == name).expect("an operator of the set");
        let sizes = checked.derive(free.to_vec()).expect("sizes of the operator");
        Instance {
            specialisation: Specialisation::exact(&sizes),
            inputs: random_inputs(&checked, &sizes, &mut StdRng::seed_from_u64(3)),
            checked,
            sizes,
        }
    }

    /// At most `most` random schedules of a family.
    fn schedules(&self, family: &str, most: usize) -> Vec<Schedule> {
        let mut space = schedule::space(&Problem::new(&self.checked, &self.specialisation, MACHINE));
        space.retain(|point| point.family() == family);
        space.sample(&mut StdRng::seed_from_u64(7), most).copied().collect()
    }

    /// Simulated seconds, from the emulator's counts.
    fn counted(&self, point: &Schedule) -> f64 {
        let kernel = lower::lower(&Problem::new(&self.checked, &self.specialisation, MACHINE), point).expect("legal");
        let counts = count(&self.checked, &kernel, &self.sizes, &self.inputs).expect("it runs");
        let config = LaunchConfig {
            grid: kernel.launches[0].grid(&self.sizes).expect("a grid"),
            block: kernel.launches[0].block,
            live_registers: live_registers(&kernel),
            dynamic_shared: kernel.launches[0].dynamic_shared,
        };
        Simulated::of(Profile::Hopper, &counts, config).latency_s
    }

    fn ranked(&self, points: &[Schedule]) -> Vec<(Schedule, f64)> {
        estimate::ranked(
            &Problem::new(&self.checked, &self.specialisation, MACHINE),
            &self.sizes,
            points,
        )
    }
}

/// The ranks of numbers in ascending order. Equal numbers share a rank.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let below = |&number: &f64| {
        let (less, equal) = numbers.iter().fold((0, 0), |(less, equal), other| {
            (
                less + usize::from(*other < number),
                equal + usize::from(*other == number),
            )
        });
        less as f64 + (equal as f64 - 1.0) / 2.0
    };
    numbers.iter().map(below).collect()
}

/// Spearman's rank correlation.
fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let of = |part: fn(&(f64, f64)) -> f64| ranks(&pairs.iter().map(part).collect::<Vec<f64>>());
    let (a, b) = (of(|pair| pair.0), of(|pair| pair.1));
    let mean = (pairs.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// The rank correlation over schedules of a family, the number of schedules, and simulated seconds: of the fastest, of the estimate's choice,
/// and of the default.
fn rank(problem: &Instance, family: &str, most: usize) -> (f64, usize, [f64; 3]) {
    let points = problem.schedules(family, most);
    let ranked = problem.ranked(&points);
    assert_eq!(ranked.len(), points.len(), "all are legal");
    let pairs: Vec<(f64, f64)> = ranked
        .iter()
        .map(|(point, seconds)| (*seconds, problem.counted(point)))
        .collect();
    let best = pairs.iter().map(|pair| pair.1).fold(f64::INFINITY, f64::min);
    let default = estimate::default(
        &Problem::new(&problem.checked, &problem.specialisation, MACHINE),
        &problem.sizes,
    );
    (
        spearman(&pairs),
        pairs.len(),
        [best, pairs[0].1, problem.counted(&default)],
    )
}

#[test]
fn ranks_are_shared_by_equals() {
    assert_eq!(ranks(&[3.0, 1.0, 3.0, 7.0]), [1.5, 0.0, 1.5, 3.0]);
    assert!((spearman(&[(1.0, 10.0), (2.0, 20.0), (3.0, 15.0)]) - 0.5).abs() < 1e-12);
}

#[test]
fn the_estimate_ranks_tiles_as_counted_cycles_do() {
    for (name, sizes, family) in [
        ("linear_gelu_f32", [256, 64, 384], "contract"),
        ("linear_gelu_f16", [256, 128, 384], "mma"),
    ] {
        let (coefficient, schedules, _) = rank(&Instance::new(name, &sizes), family, 40);
        println!("{name} {sizes:?} {family}: {coefficient:.3} over {schedules} schedules");
        assert!(coefficient >= 0.8, "{name}: {coefficient}");
    }
}

#[test]
#[ignore = "minutes; prints the whole figure"]
fn the_estimate_ranks_hundreds_of_tiles() {
    println!("| operator | sizes | family | schedules | Spearman | fastest, µs | estimate's choice | default |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut low = Vec::new();
    for (name, sizes, family) in [
        ("linear_gelu_f32", &[384, 48, 512][..], "contract"),
        ("linear_gelu_f16", &[512, 128, 768], "mma"),
        ("linear_gelu_f32", &[256, 512, 64], "contract"),
        ("matmul_tf32", &[512, 512, 64], "mma"),
        ("conv_stride_f32", &[1, 16, 28, 28, 64, 3, 3], "contract"),
        ("linear_gelu_f16", &[200, 136, 101], "mma"),
    ] {
        let (coefficient, schedules, [best, chosen, default]) = rank(&Instance::new(name, sizes), family, 240);
        println!(
            "| {name} | {sizes:?} | {family} | {schedules} | {coefficient:.3} | {:.1} | {:.2} × | {:.2} × |",
            best * 1e6,
            chosen / best,
            default / best
        );
        if coefficient < 0.8 {
            low.push((name, sizes, coefficient));
        }
    }
    assert!(low.is_empty(), "{low:?}");
}
