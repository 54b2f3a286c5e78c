//! What was measured on a device in one run, of all its operators and buckets: later ones expect something from the beginning.

use super::boosting::Growth;
use super::device::{Described, DeviceModel, Sample, weight};

/// Fewer measurements teach nothing about a device.
const LEAST: usize = 12;

/// The latest are learnt from: a build script is not optimised, and trees take seconds for more.
const MOST: usize = 256;

/// The measurements on one device.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    samples: Vec<Sample>,
}

impl Memory {
    /// Remembers the measured kernels of one problem, with their joules.
    pub fn note(&mut self, measured: impl Iterator<Item = (Described, f64)> + Clone) {
        let least = measured.clone().map(|(_, energy)| energy).fold(f64::INFINITY, f64::min);
        self.samples.extend(measured.map(|(described, energy)| Sample {
            described,
            energy,
            weight: weight(energy / least),
        }));
    }

    /// What is expected of the power of kernels, in ln W. The same of all, where too little is known.
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
