//! The energy model of a device, fitted to measurements of other problems: prices, and trees for their residual.

use super::Columns;
use super::boosting::{Boosting, Growth, Points};
use super::physical::Prices;

/// The properties of a kernel that are known before its energy is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// Counts of instructions and bytes. Each may have a price.
    pub counts: Vec<f64>,
    /// The shape of the launch, and other properties without a price.
    pub shape: Vec<f64>,
    /// Seconds.
    pub latency: f64,
}

impl Described {
    /// The features of the trees: counts, their rates, the shape, and the latency.
    fn row(&self) -> Vec<f64> {
        let rates = self.counts.iter().map(|count| count / self.latency);
        (self.counts.iter().copied())
            .chain(rates)
            .chain(self.shape.iter().copied())
            .chain([self.latency])
            .collect()
    }
}

/// A measured kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The kernel.
    pub described: Described,
    /// Joules.
    pub energy: f64,
    /// The weight of its error: larger near the optimum of its problem.
    pub weight: f64,
}

/// The weight of a sample whose energy is this multiple of its problem's least: a quarter for twice the energy. The order of bad kernels
/// does not matter.
pub fn weight(times_the_least: f64) -> f64 {
    times_the_least.max(1.0).powi(-2)
}

/// The cost model of a device: prices, and sample-weighted boosted trees for the residual of their logarithm. The trees are scaled by how
/// well they generalise.
#[derive(Debug)]
pub struct DeviceModel {
    prices: Prices,
    columns: Columns,
    trees: Boosting,
    /// The factor of the trees' predictions, from 0 to 1.
    trust: f64,
}

impl DeviceModel {
    /// Fits a model. `None` if there are too few samples.
    pub fn fit(samples: &[Sample], growth: Growth, seed: u64) -> Option<DeviceModel> {
        let counts: Vec<&[f64]> = samples
            .iter()
            .map(|sample| sample.described.counts.as_slice())
            .collect();
        let latencies: Vec<f64> = samples.iter().map(|sample| sample.described.latency).collect();
        let energies: Vec<f64> = samples.iter().map(|sample| sample.energy).collect();
        let prices = Prices::fit(&counts, &latencies, &energies)?;
        let rows: Vec<Vec<f64>> = samples.iter().map(|sample| sample.described.row()).collect();
        let columns = Columns::of(&rows);
        let rows: Vec<Vec<f64>> = rows.iter().map(|row| columns.apply(row)).collect();
        let residuals: Vec<f64> = (samples.iter())
            .map(|sample| (sample.energy / prices.energy(&sample.described.counts, sample.described.latency)).ln())
            .collect();
        let weights: Vec<f64> = samples.iter().map(|sample| sample.weight).collect();
        Some(DeviceModel {
            trees: Boosting::fit(&Points::of(&rows)?, &residuals, &weights, growth, seed)?,
            trust: trust(&rows, &residuals, &weights, growth, seed),
            prices,
            columns,
        })
    }

    /// The expected logarithm of power (ln W) of kernels, and the standard deviation of the tree ensemble.
    pub fn log_power(&self, kernels: &[Described]) -> Option<Vec<(f64, f64)>> {
        let rows: Vec<Vec<f64>> = kernels.iter().map(|kernel| self.columns.apply(&kernel.row())).collect();
        let residuals = self.trees.predict(&Points::of(&rows)?)?;
        let power = |kernel: &Described| (self.prices.energy(&kernel.counts, kernel.latency) / kernel.latency).ln();
        Some(
            kernels
                .iter()
                .zip(residuals)
                .map(|(kernel, (mean, deviation))| (power(kernel) + self.trust * mean, self.trust * deviation))
                .collect(),
        )
    }
}

/// The factor of the trees' predictions, from 0 to 1, by cross-validation. Trees grown on one half of the samples, which come operator by
/// operator, predict the other half. The factor is the one with the least squared error (stacked regression: Breiman, Machine Learning
/// 24, 1996). 0 without enough samples.
fn trust(rows: &[Vec<f64>], residuals: &[f64], weights: &[f64], growth: Growth, seed: u64) -> f64 {
    let growth = Growth { members: 1, ..growth };
    let (first, second) = (0..rows.len() / 2, rows.len() / 2..rows.len());
    let (mut product, mut square) = (0.0, 0.0);
    for (known, asked) in [(first.clone(), second.clone()), (second, first)] {
        let trees = Points::of(&rows[known.clone()])
            .and_then(|table| Boosting::fit(&table, &residuals[known.clone()], &weights[known], growth, seed));
        let predicted = trees.and_then(|trees| trees.predict(&Points::of(&rows[asked.clone()])?));
        for (at, (mean, _)) in asked.zip(predicted.into_iter().flatten()) {
            product += weights[at] * residuals[at] * mean;
            square += weights[at] * mean * mean;
        }
    }
    if square > 0.0 {
        (product / square).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::random::Random;

    /// The root-mean-square error of predictions, for energies of a price, a factor that depends on the shape, and a random factor.
    fn error(of_shape: f64, hidden: f64, seed: u64) -> f64 {
        let mut random = Random::new(seed);
        let mut kernel = || {
            let counts = vec![1e9 * (0.1 + random.unit())];
            let shape = vec![2f64.powi(random.below(4) as i32), random.unit(), random.unit()];
            let described = Described {
                latency: 1e-5 * (1.0 + random.unit()),
                counts,
                shape,
            };
            let told = 1e-12 * described.counts[0] * (of_shape * described.shape[0].log2()).exp();
            (described, told, (hidden * random.normal()).exp())
        };
        let samples: Vec<Sample> = (0..120)
            .map(|_| kernel())
            .map(|(described, told, hidden)| Sample {
                described,
                energy: told * hidden,
                weight: 1.0,
            })
            .collect();
        let model = DeviceModel::fit(&samples, Growth::default(), seed).unwrap();
        let (asked, told): (Vec<Described>, Vec<f64>) =
            (0..100).map(|_| kernel()).map(|(d, told, _)| (d, told)).unzip();
        let expected = model.log_power(&asked).unwrap();
        let errors = (expected.iter().zip(&asked).zip(&told))
            .map(|(((mean, _), kernel), told)| mean - (told / kernel.latency).ln());
        (errors.map(|error| error * error).sum::<f64>() / 100.0).sqrt()
    }

    #[test]
    fn trees_are_believed_as_far_as_they_hold_elsewhere() {
        for seed in 0..5 {
            // Without the trees the error would be 0.11.
            let told = error(0.1, 0.005, seed);
            assert!(told < 0.03, "{told}");
            // With a factor of 1, the trees would fit the random part.
            let nothing = error(0.0, 0.03, seed);
            assert!(nothing < 0.008, "{nothing}");
        }
    }
}
