//! Made-up spaces, each with another reason for power to differ: a guard against constants that fit one trace.

use crate::random::Random;
use crate::space::Space;
use energy_kernel_build::tune::strategy::Candidate;

const CANDIDATES: usize = 400;

/// The features of a made-up kernel.
struct Made {
    features: Vec<f64>,
    /// Seconds.
    latency: f64,
    /// W.
    power: f64,
}

/// Makes one up.
type Kind = fn(&mut Random) -> Made;

/// One space of each kind.
pub fn spaces(seed: u64) -> Vec<Space> {
    let kinds: [(&str, f64, Kind); 6] = [
        ("made up: power is constant", 0.007, constant),
        (
            "made up: bandwidth-bound, power by multiprocessors and instructions",
            0.007,
            bandwidth_bound,
        ),
        ("made up: compute-bound, power by traffic", 0.007, compute_bound),
        ("made up: hidden clock", 0.007, hidden_clock),
        ("made up: a part of 3 % that nothing shows", 0.007, rough),
        ("made up: noise of 2 %", 0.02, compute_bound),
    ];
    let mut random = Random::new(seed + 77);
    let mut make = |(name, noise, kind): (&str, f64, Kind)| {
        let made: Vec<Made> = (0..CANDIDATES).map(|_| kind(&mut random)).collect();
        let truth: Vec<f64> = made.iter().map(|kernel| kernel.latency * kernel.power).collect();
        Space {
            name: name.to_owned(),
            candidates: (made.iter())
                .map(|kernel| Candidate {
                    features: kernel.features.clone(),
                    latency: kernel.latency,
                    expected: 0.0,
                })
                .collect(),
            measured: truth
                .iter()
                .map(|energy| energy * (noise * random.normal()).exp())
                .collect(),
            truth,
            noise,
        }
    };
    kinds.into_iter().map(&mut make).collect()
}

/// 2 to one of so many powers.
fn power_of_two(random: &mut Random, from: i32, count: i32) -> f64 {
    2f64.powi(from + (random.unit() * f64::from(count)) as i32)
}

fn constant(random: &mut Random) -> Made {
    let features = vec![
        power_of_two(random, 4, 5),
        power_of_two(random, 4, 5),
        power_of_two(random, 0, 4),
    ];
    let latency =
        1e-3 * (1.0 + 0.5 * (features[0] / features[1]).log2().abs() + 0.2 * features[2].log2() + 0.3 * random.unit());
    Made {
        features,
        latency,
        power: 250.0,
    }
}

/// As few multiprocessors as saturate the memory are as fast as all of them.
fn bandwidth_bound(random: &mut Random) -> Made {
    let active = 24.0 + 12.0 * (random.unit() * 10.0).floor();
    let (vector, threads, unroll) = (
        power_of_two(random, 0, 4),
        power_of_two(random, 6, 4),
        power_of_two(random, 0, 3),
    );
    let in_flight = active * vector * unroll * threads / 65536.0;
    let latency = 1e-4 * (1.0f64.powi(4) + (1.2 / in_flight).powi(4)).powf(0.25) * (1.0 + 0.01 * random.unit());
    let instructions = 4.0 / vector + 1.0 / unroll;
    let power = 120.0 + 0.6 * active + 12.0 * instructions * 1e-4 / latency + 90.0 * 1e-4 / latency;
    Made {
        features: vec![active, vector, threads, unroll],
        latency,
        power,
    }
}

fn tiles(random: &mut Random) -> (Vec<f64>, f64, f64, f64) {
    let (m, n, stages) = (
        power_of_two(random, 4, 5),
        power_of_two(random, 4, 5),
        1.0 + (random.unit() * 4.0).floor(),
    );
    let warps = power_of_two(random, 1, 4);
    let traffic = 64.0 / m + 64.0 / n;
    let spill = (m * n / (warps * 4096.0)).max(1.0);
    let latency = 1e-3 * (1.0 + 0.25 * traffic + 0.6 * (spill - 1.0) + 0.25 / stages) * (1.0 + 0.03 * random.unit());
    (vec![m, n, stages, warps], latency, traffic, warps)
}

fn compute_bound(random: &mut Random) -> Made {
    let (features, latency, traffic, warps) = tiles(random);
    let power = 110.0 + (0.19 + 0.03 * traffic + 0.004 * warps) / latency;
    Made {
        features,
        latency,
        power,
    }
}

/// Time falls and power rises with a clock that nothing shows.
fn hidden_clock(random: &mut Random) -> Made {
    let (features, latency, traffic, _) = tiles(random);
    let clock = 0.75 + 0.25 * (random.unit() * 8.0).floor() / 7.0;
    let latency = latency * (0.3 + 0.7 / clock);
    let power = 60.0 + (0.15 + 0.03 * traffic) * clock * clock * clock / 1e-3;
    Made {
        features,
        latency,
        power,
    }
}

fn rough(random: &mut Random) -> Made {
    let made = compute_bound(random);
    Made {
        power: made.power * (0.03 * random.normal()).exp(),
        ..made
    }
}
