//! Compares the energy of two kernels. They are measured in turn, A B B A, so that drift affects both equally.

use super::backend::{Backend, BackendError, Instance, Measured};
use super::statistics::estimate;
use energy_kernel_compiler::record::{Conditions, Estimate, Flag};
use std::time::Instant;

/// The fewest pairs that are compared.
pub const LEAST_PAIRS: usize = 4;

/// The largest relative difference of SM clocks, and of temperatures in °C.
const MOVED: (f64, f64) = (0.02, 3.0);

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The energy of the second divided by that of the first: the mean, and half the width of its 95 % confidence interval by Student's
    /// distribution over the pairs.
    pub ratio: Estimate,
    /// Joules per launch of the first and of the second: means over the pairs.
    pub energies: [Estimate; 2],
    /// The number of pairs of windows.
    pub pairs: usize,
    /// Doubts about any window, and about their comparability.
    pub flags: Vec<Flag>,
}

impl Comparison {
    /// The fraction of the first's energy that the second saves, with its interval.
    pub fn saving(&self) -> Estimate {
        Estimate {
            mean: 1.0 - self.ratio.mean,
            interval: self.ratio.interval,
        }
    }

    /// `true` if the interval excludes equal energies.
    pub fn is_decided(&self) -> bool {
        (1.0 - self.ratio.mean).abs() > self.ratio.interval
    }

    /// A comparison from pairs of measurements: of the first, of the second. `None` for fewer than two pairs.
    pub fn of(pairs: &[[Measured; 2]]) -> Option<Comparison> {
        if pairs.len() < 2 {
            return None;
        }
        // Average logarithms, so that A / B and B / A are equally far from 1.
        let logarithms: Vec<f64> = (pairs.iter())
            .map(|[a, b]| (b.estimate.mean / a.estimate.mean).ln())
            .collect();
        let logarithm = estimate(&logarithms);
        let ratio = logarithm.mean.exp();
        let energy = |which: usize| {
            let means: Vec<f64> = pairs.iter().map(|pair| pair[which].estimate.mean).collect();
            estimate(&means)
        };
        let mut flags: Vec<Flag> = (pairs.iter().flatten())
            .flat_map(|measured| measured.conditions.flags.iter().copied())
            .collect();
        flags.extend(incomparable(
            pairs.iter().flatten().map(|measured| &measured.conditions),
        ));
        flags.sort();
        flags.dedup();
        Some(Comparison {
            ratio: Estimate {
                mean: ratio,
                interval: ratio * logarithm.interval,
            },
            energies: [energy(0), energy(1)],
            pairs: pairs.len(),
            flags,
        })
    }
}

/// The differences between conditions that make figures hard to compare. Clock differences do not count at the power limit, where the
/// board chooses the clock.
pub(super) fn incomparable<'a>(conditions: impl Iterator<Item = &'a Conditions> + Clone) -> Vec<Flag> {
    let spread = |of: fn(&Conditions) -> Option<f64>| {
        let least = conditions.clone().filter_map(of).reduce(f64::min)?;
        Some((least, conditions.clone().filter_map(of).reduce(f64::max)? - least))
    };
    let (clock, temperature) = MOVED;
    let capped = conditions
        .clone()
        .any(|conditions| conditions.flags.contains(&Flag::AtPowerLimit));
    let mut flags = Vec::new();
    if !capped && spread(|conditions| conditions.sm_clock_mhz).is_some_and(|(least, moved)| moved > clock * least) {
        flags.push(Flag::ClockDrift);
    }
    if spread(|conditions| conditions.temperature_celsius).is_some_and(|(_, moved)| moved > temperature) {
        flags.push(Flag::TemperatureDrift);
    }
    flags
}

/// Compares two candidates, each given with its latency in seconds. `pairs` is rounded up to an even number, four at least. `None` if
/// energy cannot be measured, or not before the deadline.
///
/// # Errors
/// The device is broken.
pub fn compare<M: Backend>(
    backend: &mut M,
    instance: Instance<'_>,
    candidates: [(&M::Candidate, f64); 2],
    pairs: usize,
    deadline: Instant,
) -> Result<Option<Comparison>, BackendError> {
    let pairs = pairs.max(LEAST_PAIRS).next_multiple_of(2);
    let mut measured = Vec::with_capacity(pairs);
    for number in 0..pairs {
        // A B, B A, A B, …
        let turned = number % 2 == 1;
        let mut one = |which: usize| {
            let (candidate, latency) = candidates[which];
            backend.energy(instance, candidate, latency, deadline)
        };
        let (Some(early), Some(late)) = (one(usize::from(turned))?, one(usize::from(!turned))?) else {
            return Ok(None);
        };
        measured.push(if turned { [late, early] } else { [early, late] });
    }
    Ok(Comparison::of(&measured))
}

#[cfg(test)]
mod tests {
    use super::super::backend::OutputIndex;
    use super::super::random::Random;
    use super::super::testing::{conditions, device, operator};
    use super::*;
    use energy_kernel_compiler::kernel::Kernel;
    use energy_kernel_compiler::record::DeviceClass;
    use energy_kernel_compiler::target::{Machine, Target};

    /// A scripted device: each window's energy has drift and noise.
    struct Scripted {
        device: DeviceClass,
        random: Random,
        noise: f64,
        drift: f64,
        windows: Vec<f64>,
        /// The number of windows after which the counter fails.
        counts: usize,
        warms: f64,
    }

    impl Scripted {
        fn new(seed: u64, noise: f64, drift: f64) -> Scripted {
            Scripted {
                device: device(),
                random: Random::new(seed),
                noise,
                drift,
                windows: Vec::new(),
                counts: usize::MAX,
                warms: 0.0,
            }
        }

        fn measured(&self, mean: f64) -> Measured {
            Measured {
                estimate: Estimate { mean, interval: 0.0 },
                conditions: Conditions {
                    sm_clock_mhz: Some(1980.0),
                    temperature_celsius: Some(60.0 + self.warms * self.windows.len() as f64),
                    ..conditions()
                },
                latency: None,
            }
        }
    }

    impl Backend for Scripted {
        /// The true joules per launch.
        type Candidate = f64;

        fn device(&self) -> &DeviceClass {
            &self.device
        }

        fn machine(&self) -> Machine {
            Machine::like(Target::Sm90)
        }

        fn most_candidates(&self) -> usize {
            1
        }

        fn energy_is_free(&self) -> bool {
            false
        }

        fn begin(&mut self, _: Instance<'_>, _: Instant) -> Result<(), BackendError> {
            Ok(())
        }

        fn load(
            &mut self,
            _: Instance<'_>,
            _: &Kernel,
            _: &[OutputIndex],
            _: Instant,
        ) -> Result<(f64, Vec<u64>), BackendError> {
            Err(BackendError::Unfit("nothing is loaded".into()))
        }

        fn latency(&mut self, _: Instance<'_>, _: &f64, _: Instant) -> Result<Measured, BackendError> {
            Ok(self.measured(1e-5))
        }

        fn energy(
            &mut self,
            _: Instance<'_>,
            candidate: &f64,
            _: f64,
            _: Instant,
        ) -> Result<Option<Measured>, BackendError> {
            if self.windows.len() >= self.counts {
                return Ok(None);
            }
            let noise = self.noise * self.random.normal();
            let joules = candidate * (1.0 + noise + self.drift * self.windows.len() as f64);
            self.windows.push(*candidate);
            Ok(Some(self.measured(joules)))
        }
    }

    fn run(backend: &mut Scripted, [a, b]: [f64; 2], pairs: usize) -> Option<Comparison> {
        let found = operator(
            "tune(N = 8)",
            "fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] * 2.0 }",
        );
        let instance = Instance {
            checked: &found.checked,
            specialisation: &found.specialisation,
            sizes: &[8],
            inputs: &[],
            seed: 0,
            warm_inputs: &[],
        };
        compare(backend, instance, [(&a, 1e-5), (&b, 1e-5)], pairs, Instant::now()).expect("it does not break")
    }

    #[test]
    fn windows_are_interleaved_and_at_least_four_pairs() {
        let mut backend = Scripted::new(0, 0.0, 0.0);
        let comparison = run(&mut backend, [2.0, 1.0], 1).expect("there is a counter");
        assert_eq!(backend.windows, [2.0, 1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0]);
        assert_eq!(comparison.pairs, 4);
        assert!((comparison.saving().mean - 0.5).abs() < 1e-12 && comparison.is_decided());
        assert!((comparison.energies[0].mean - 2.0).abs() < 1e-12 && comparison.flags.is_empty());
    }

    #[test]
    fn a_drift_touches_both_alike() {
        // 1 % per window: measured one after the other, they would differ by 8 %.
        let comparison = run(&mut Scripted::new(0, 0.0, 0.01), [1.0, 1.0], 8).expect("there is a counter");
        assert!((comparison.ratio.mean - 1.0).abs() < 1e-3, "{comparison:?}");
        assert!(!comparison.is_decided(), "{comparison:?}");
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        let trials = 1000;
        for (b, decides) in [(0.98, 0.9), (1.0, 0.0)] {
            let comparisons: Vec<Comparison> = (0..trials)
                .filter_map(|seed| run(&mut Scripted::new(seed, 0.005, 0.0), [1.0, b], 8))
                .collect();
            let part = |is: &dyn Fn(&Comparison) -> bool| {
                comparisons.iter().filter(|one| is(one)).count() as f64 / trials as f64
            };
            let covered = part(&|one| (one.ratio.mean - b).abs() <= one.ratio.interval);
            assert!((0.93..=0.97).contains(&covered), "{covered}");
            let decided = part(&Comparison::is_decided);
            assert!(decided >= decides && (b < 1.0 || decided < 0.07), "{b}: {decided}");
        }
    }

    #[test]
    fn what_makes_them_incomparable_is_flagged() {
        let mut backend = Scripted::new(0, 0.0, 0.0);
        backend.warms = 0.5;
        let comparison = run(&mut backend, [1.0, 1.0], 4).expect("there is a counter");
        assert_eq!(comparison.flags, [Flag::TemperatureDrift]);
    }

    #[test]
    fn clocks_that_differ_are_a_doubt_unless_the_board_sets_them_at_its_limit() {
        let backend = Scripted::new(0, 0.0, 0.0);
        let at = |clock, flags: &[Flag]| Conditions {
            sm_clock_mhz: Some(clock),
            flags: flags.to_vec(),
            ..backend.measured(1.0).conditions
        };
        let between = |a: &Conditions, b: &Conditions| incomparable([a, b].into_iter());
        assert_eq!(between(&at(1980.0, &[]), &at(1950.0, &[])), []);
        assert_eq!(between(&at(1980.0, &[]), &at(1900.0, &[])), [Flag::ClockDrift]);
        assert_eq!(between(&at(1980.0, &[]), &at(1900.0, &[Flag::AtPowerLimit])), []);
    }

    #[test]
    fn without_a_counter_there_is_no_comparison() {
        let mut backend = Scripted::new(0, 0.0, 0.0);
        backend.counts = 5;
        assert_eq!(run(&mut backend, [1.0, 1.0], 4), None);
    }
}
