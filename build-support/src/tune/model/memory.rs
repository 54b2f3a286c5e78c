//! The measurements of one run on a device, over all operators and buckets. They give later searches a prior.

use super::boosting::Growth;
use super::device::{Described, DeviceModel, Sample, weight};

/// The fewest measurements that a device model learns from.
const LEAST: usize = 12;

/// The most measurements, the latest ones, that a device model learns from. In an unoptimised build script trees take seconds for more.
const MOST: usize = 128;

/// The measurements on one device.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    samples: Vec<Sample>,
}

impl Memory {
    /// Adds the measured kernels of one problem, with their joules.
    pub fn note(&mut self, measured: impl Iterator<Item = (Described, f64)>) {
        let sound = measured.filter(|(_, energy)| energy.is_finite() && *energy > 0.0);
        let measured: Vec<(Described, f64)> = sound.collect();
        let least = measured.iter().map(|(_, energy)| *energy).fold(f64::INFINITY, f64::min);
        self.samples
            .extend(measured.into_iter().map(|(described, energy)| Sample {
                described,
                energy,
                weight: weight(energy / least),
            }));
    }

    /// The expected power of kernels, in ln W. The same value for all if there are too few measurements.
    pub fn expect(&self, kernels: &[Described]) -> Vec<f64> {
        let known = &self.samples[self.samples.len().saturating_sub(MOST)..];
        let enough = known.len() >= LEAST && !kernels.is_empty();
        let model = enough.then(|| DeviceModel::fit(known, Growth::default(), 0)).flatten();
        let expected = model.and_then(|model| model.log_power(kernels));
        match expected {
            Some(expected) if expected.iter().all(|(mean, _)| mean.is_finite()) => {
                expected.into_iter().map(|(mean, _)| mean).collect()
            }
            _ => vec![0.0; kernels.len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::random::Random;

    /// A kernel with two counts and a shape, and its energy: prices, and a factor that depends on the shape.
    fn kernel(random: &mut Random) -> (Described, f64) {
        let counts = vec![1e9 * random.unit(), 1e6 * random.unit()];
        let shape = vec![2f64.powi(random.below(4) as i32)];
        let latency = 1e-5 * (1.0 + random.unit());
        let energy = (200.0 * latency + 1e-12 * counts[0] + 5e-10 * counts[1]) * (1.0 + 0.02 * shape[0].log2());
        (Described { counts, shape, latency }, energy)
    }

    #[test]
    fn what_was_measured_is_expected_of_others_and_of_nothing_nothing() {
        let mut random = Random::new(1);
        let mut memory = Memory::default();
        let (unseen, energies): (Vec<Described>, Vec<f64>) = (0..30).map(|_| kernel(&mut random)).unzip();
        for problem in 0..5 {
            if problem == 0 {
                assert_eq!(memory.expect(&unseen), vec![0.0; 30]);
            }
            let measured: Vec<(Described, f64)> = (0..20).map(|_| kernel(&mut random)).collect();
            memory.note(measured.iter().cloned());
        }
        let expected = memory.expect(&unseen);
        for ((expected, energy), kernel) in expected.iter().zip(&energies).zip(&unseen) {
            let error = expected - (energy / kernel.latency).ln();
            assert!(error.abs() < 0.03, "{error}");
        }
        // Invalid energies are ignored.
        memory.note([(unseen[0].clone(), f64::NAN), (unseen[1].clone(), 0.0)].into_iter());
        assert_eq!(memory.expect(&unseen), expected);
    }
}
