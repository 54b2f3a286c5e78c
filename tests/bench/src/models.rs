//! Cost models, compared: what each knows of an operator that it never saw, before and after a few measurements of it.

use crate::random::Random;
use crate::simulated::{NOISE, Pair};
use crate::space::Space;
use energy_kernel_build::tune::describe::vector;
use energy_kernel_build::tune::model::Columns;
use energy_kernel_build::tune::model::boosting::{Boosting, Growth, Points};
use energy_kernel_build::tune::model::device::{Described, DeviceModel, Sample, weight};
use energy_kernel_build::tune::model::physical::Prices;
use energy_kernel_build::tune::strategy::{Candidate, Rule, Strategy};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::xgboost::{XGRegressor, XGRegressorParameters};

/// Expects the logarithm of power of kernels, from samples of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prior {
    /// The same for all.
    None,
    /// Non-negative least squares of prices.
    Linear,
    /// Sample-weighted boosted trees.
    Boosted,
    /// Trees on the residuals of the prices: the product's model.
    LinearAndBoosted,
    /// smartcore's XGRegressor.
    XgRegressor,
    /// smartcore's random forest.
    Forest,
}

pub const PRIORS: [(&str, Prior); 6] = [
    ("none", Prior::None),
    ("linear, prices ≥ 0", Prior::Linear),
    ("weighted boosted trees", Prior::Boosted),
    (
        "**linear and weighted boosted trees of the rest**",
        Prior::LinearAndBoosted,
    ),
    ("smartcore's XGRegressor", Prior::XgRegressor),
    ("smartcore's random forest", Prior::Forest),
];

fn row(kernel: &Described) -> Vec<f64> {
    let rates = kernel.counts.iter().map(|count| count / kernel.latency);
    (kernel.counts.iter().copied())
        .chain(rates)
        .chain(kernel.shape.iter().copied())
        .chain([kernel.latency])
        .collect()
}

impl Prior {
    /// ln W for each kernel.
    pub fn expect(self, samples: &[Sample], kernels: &[Described], seed: u64) -> Option<Vec<f64>> {
        let rows: Vec<Vec<f64>> = samples.iter().map(|sample| row(&sample.described)).collect();
        let columns = Columns::of(&rows);
        let known: Vec<Vec<f64>> = rows.iter().map(|row| columns.apply(row)).collect();
        let asked: Vec<Vec<f64>> = kernels.iter().map(|kernel| columns.apply(&row(kernel))).collect();
        let values: Vec<f64> = samples
            .iter()
            .map(|sample| (sample.energy / sample.described.latency).ln())
            .collect();
        match self {
            Prior::None => Some(vec![0.0; kernels.len()]),
            Prior::Linear => {
                let counts: Vec<&[f64]> = samples
                    .iter()
                    .map(|sample| sample.described.counts.as_slice())
                    .collect();
                let latencies: Vec<f64> = samples.iter().map(|sample| sample.described.latency).collect();
                let energies: Vec<f64> = samples.iter().map(|sample| sample.energy).collect();
                let prices = Prices::fit(&counts, &latencies, &energies)?;
                let power = |kernel: &Described| (prices.energy(&kernel.counts, kernel.latency) / kernel.latency).ln();
                Some(kernels.iter().map(power).collect())
            }
            Prior::Boosted => {
                let weights: Vec<f64> = samples.iter().map(|sample| sample.weight).collect();
                let trees = Boosting::fit(&Points::of(&known)?, &values, &weights, Growth::default(), seed)?;
                Some(
                    trees
                        .predict(&Points::of(&asked)?)?
                        .into_iter()
                        .map(|(mean, _)| mean)
                        .collect(),
                )
            }
            Prior::LinearAndBoosted => {
                let model = DeviceModel::fit(samples, Growth::default(), seed)?;
                Some(model.log_power(kernels)?.into_iter().map(|(mean, _)| mean).collect())
            }
            Prior::XgRegressor => {
                let parameters = XGRegressorParameters::default().with_seed(seed).with_n_estimators(100);
                let model = XGRegressor::fit(&matrix(&known)?, &values, parameters).ok()?;
                model.predict(&matrix(&asked)?).ok()
            }
            Prior::Forest => {
                let parameters = RandomForestRegressorParameters::default()
                    .with_seed(seed)
                    .with_n_trees(100);
                let model = RandomForestRegressor::fit(&matrix(&known)?, &values, parameters).ok()?;
                model.predict(&matrix(&asked)?).ok()
            }
        }
    }
}

fn matrix(rows: &[Vec<f64>]) -> Option<DenseMatrix<f64>> {
    DenseMatrix::from_2d_vec(&rows.to_vec()).ok()
}

/// The samples of other operators: what tuning them for so many measurements each would have left.
pub fn others(pairs: &[Pair], operator: &str, each: usize, random: &mut Random) -> Vec<Sample> {
    let mut samples = Vec::new();
    for pair in pairs.iter().filter(|pair| pair.operator != operator) {
        let least = pair.truth.iter().copied().fold(f64::INFINITY, f64::min);
        for kernel in random.shuffled(pair.kernels.len()).into_iter().take(each) {
            let energy = pair.truth[kernel] * (NOISE * random.normal()).exp();
            samples.push(Sample {
                described: pair.kernels[kernel].clone(),
                energy,
                weight: weight(energy / least),
            });
        }
    }
    samples
}

/// The candidates of a pair, with what a prior expects of them.
pub fn candidates(pair: &Pair, expected: &[f64]) -> Vec<Candidate> {
    (pair.kernels.iter().zip(expected))
        .map(|(kernel, expected)| Candidate {
            features: vector(kernel),
            latency: kernel.latency,
            expected: *expected,
        })
        .collect()
}

/// The accuracy of predicted powers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accuracy {
    /// Mean absolute error of energy, %.
    pub error: f64,
    /// Rank correlation of energies.
    pub spearman: f64,
    /// The share of the ten least energies that is among the ten expected ones.
    pub top_10: f64,
}

impl Accuracy {
    pub fn of(expected: &[f64], truth: &[f64]) -> Accuracy {
        let count = truth.len() as f64;
        let errors = expected.iter().zip(truth).map(|(e, t)| (e / t - 1.0).abs());
        let (a, b) = (ranks(expected), ranks(truth));
        let mean = (count - 1.0) / 2.0;
        let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
        let among = a.iter().zip(&b).filter(|(a, b)| **a < 10.0 && **b < 10.0).count();
        Accuracy {
            error: 100.0 * errors.sum::<f64>() / count,
            spearman: product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt(),
            top_10: among as f64 / 10f64.min(count),
        }
    }
}

/// A line of a table: how well powers are known of several spaces.
pub fn line(name: &str, measurements: &str, all: Vec<Accuracy>) {
    let sorted = |of: fn(&Accuracy) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (error, spearman, top) = (sorted(|a| a.error), sorted(|a| a.spearman), sorted(|a| a.top_10));
    let (middle, last) = (all.len() / 2, all.len() - 1);
    println!(
        "| {name} | {measurements} | {:.2} ({:.2}) | {:.3} ({:.3}) | {:.2} |",
        error[middle], error[last], spearman[middle], spearman[0], top[middle],
    );
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    order
        .iter()
        .enumerate()
        .for_each(|(rank, &item)| ranks[item] = rank as f64);
    ranks
}

/// The accuracy over all candidates after so many measurements chosen by the strategy.
pub fn after(space: &Space, measurements: usize, random: &mut Random) -> Accuracy {
    let Space { candidates, truth, .. } = space;
    let rule = Rule {
        patience: usize::MAX,
        ..Rule::default()
    };
    let mut strategy = Strategy::new(candidates, rule);
    let mut count = 0;
    'measuring: loop {
        let round = strategy.next_round();
        if round.is_empty() {
            break;
        }
        for candidate in round {
            if count == measurements {
                break 'measuring;
            }
            count += 1;
            strategy.observe(candidate, truth[candidate] * (NOISE * random.normal()).exp(), NOISE);
        }
    }
    let power: Vec<f64> = match strategy.learn() {
        true => strategy.beliefs().iter().map(|belief| belief.mean).collect(),
        false => candidates.iter().map(|candidate| candidate.expected).collect(),
    };
    let energies: Vec<f64> = power
        .iter()
        .zip(candidates)
        .map(|(power, c)| power.exp() * c.latency)
        .collect();
    Accuracy::of(&energies, truth)
}
