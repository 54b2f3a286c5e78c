//! What measurements of other problems say of a device: prices, and what they leave over.

use super::Columns;
use super::boosting::{Boosting, Growth, Table};
use super::physical::Prices;

/// What is known of a kernel without measuring its energy.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// What it does: instructions, bytes. Each may have a price.
    pub counts: Vec<f64>,
    /// How it is launched, and whatever else has no price.
    pub shape: Vec<f64>,
    /// Seconds.
    pub latency: f64,
}

impl Described {
    /// Everything that trees may ask: counts, how fast they come, the shape, and the latency.
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
    /// What an error here costs beside others: more near the optimum of its problem.
    pub weight: f64,
}

/// The weight of a sample that needs so many times the least energy of its problem: a quarter as much where it needs twice as
/// much. Nobody asks which of the bad ones is worse.
pub fn weight(times_the_least: f64) -> f64 {
    times_the_least.max(1.0).powi(-2)
}

/// The cost model of a device: prices, and sample-weighted boosted trees for the logarithm of what the prices leave over.
#[derive(Debug)]
pub struct DeviceModel {
    prices: Prices,
    columns: Columns,
    trees: Boosting,
}

impl DeviceModel {
    /// Learns. None where there is too little to learn from.
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
        let table = Table::of(&rows.iter().map(|row| columns.apply(row)).collect::<Vec<_>>())?;
        let left: Vec<f64> = (samples.iter())
            .map(|sample| (sample.energy / prices.energy(&sample.described.counts, sample.described.latency)).ln())
            .collect();
        let weights: Vec<f64> = samples.iter().map(|sample| sample.weight).collect();
        Some(DeviceModel {
            trees: Boosting::fit(&table, &left, &weights, growth, seed)?,
            prices,
            columns,
        })
    }

    /// The expected logarithm of power (ln W) of kernels, and its standard deviation as far as the trees disagree.
    pub fn log_power(&self, kernels: &[Described]) -> Option<Vec<(f64, f64)>> {
        let rows: Vec<Vec<f64>> = kernels.iter().map(|kernel| self.columns.apply(&kernel.row())).collect();
        let left = self.trees.predict(&Table::of(&rows)?)?;
        let power = |kernel: &Described| (self.prices.energy(&kernel.counts, kernel.latency) / kernel.latency).ln();
        Some(
            kernels
                .iter()
                .zip(left)
                .map(|(kernel, (mean, deviation))| (power(kernel) + mean, deviation))
                .collect(),
        )
    }
}
