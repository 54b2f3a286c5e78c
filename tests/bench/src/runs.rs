//! Runs of the tuner over many operators: what the first ones teach of the device, and what it is worth to those after them.

use crate::models;
use crate::random::Random;
use crate::simulated::{NOISE, Pair};
use crate::space::Space;
use crate::strategies::median;
use crate::trial::{End, InOrder, Ours, Policy, search};
use energy_kernel_build::tune::Memory;
use energy_kernel_build::tune::strategy::Rule;
use rayon::prelude::*;

/// An operator's position in a run, from 0, without the last.
const BANDS: [(usize, usize); 4] = [(0, 1), (1, 2), (2, 6), (6, usize::MAX)];

/// The most measurements until it is found.
const MOST: usize = 200;

/// Measurements to within 1 % of one operator: as the product does it in a run, without a memory, and by rising latency.
#[derive(Clone, Copy)]
struct Needed {
    position: usize,
    remembering: f64,
    alone: f64,
    rising: f64,
}

/// As many runs over all pairs, each in another order.
pub fn table(pairs: &[Pair], runs: u64) {
    let needed: Vec<Needed> = (0..runs).into_par_iter().flat_map(|seed| run(pairs, seed)).collect();
    println!(
        "\nRuns over all pairs in {runs} orders, with the memory of the tuner.\n\n\
         | operator of the run | to within 1 %, remembering: median, mean (most) | without a memory | rising latency | worse than rising latency (at most by) |\n\
         |---|---|---|---|---|"
    );
    for (from, to) in BANDS {
        let band: Vec<&Needed> = needed.iter().filter(|one| (from..to).contains(&one.position)).collect();
        let figures = |of: fn(&Needed) -> f64| {
            let values = || band.iter().map(|one| of(one));
            let mean = values().sum::<f64>() / band.len() as f64;
            format!("{}, {mean:.1} ({})", median(values()), values().fold(0.0, f64::max))
        };
        let name = match (from + 1, to) {
            (first, usize::MAX) => format!("from the {first}th on"),
            (first, last) if first == last => format!("{first}."),
            (first, last) => format!("{first}. to {last}."),
        };
        let more = || band.iter().map(|one| one.remembering - one.rising);
        let (worse, most) = (more().filter(|more| *more > 0.0).count(), more().fold(0.0, f64::max));
        println!(
            "| {name} | {} | {} | {} | {worse} of {} ({most}) |",
            figures(|one| one.remembering),
            figures(|one| one.alone),
            figures(|one| one.rising),
            band.len()
        );
    }
}

/// One run.
fn run(pairs: &[Pair], seed: u64) -> Vec<Needed> {
    let mut random = Random::new(seed + 100);
    let mut memory = Memory::default();
    let order = random.shuffled(pairs.len());
    let one = |(position, pair): (usize, &Pair)| {
        let expected = memory.expect(&pair.kernels);
        let noisy = |truth: &f64| truth * (NOISE * random.normal()).exp();
        let space = |expected: &[f64], measured: Vec<f64>| Space {
            name: pair.operator.clone(),
            candidates: models::candidates(pair, expected),
            measured,
            truth: pair.truth.clone(),
            noise: NOISE,
        };
        let measured: Vec<f64> = pair.truth.iter().map(noisy).collect();
        let alone = space(&vec![0.0; expected.len()], measured.clone());
        let remembering = space(&expected, measured);
        let found = |space: &Space, policy: &mut dyn Policy| search(space, policy, End::Found, MOST).until_1();
        let patient = Rule {
            patience: usize::MAX,
            ..Rule::default()
        };
        let needed = Needed {
            position,
            remembering: found(&remembering, &mut Ours::new(&remembering, patient)),
            alone: found(&alone, &mut Ours::new(&alone, patient)),
            rising: found(&alone, &mut InOrder::rising(&alone)),
        };
        // The run remembers what the search measures until it stops by itself.
        let mut policy = Ours::new(&remembering, Rule::default());
        search(&remembering, &mut policy, End::Done, MOST);
        let learnt = policy
            .measured()
            .map(|c| (pair.kernels[c].clone(), remembering.measured[c]));
        memory.note(learnt);
        needed
    };
    order.iter().map(|&pair| &pairs[pair]).enumerate().map(one).collect()
}
