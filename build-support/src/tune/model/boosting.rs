//! Sample-weighted gradient boosting over regression trees, several times from different halves, so that their
//! disagreement tells how much is not known.

use crate::tune::random::Random;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::tree::decision_tree_regressor::{DecisionTreeRegressor, DecisionTreeRegressorParameters};

type Tree = DecisionTreeRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;

/// How trees are grown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// Boosted sequences in the ensemble.
    pub members: usize,
    /// Trees of each.
    pub trees: usize,
    /// How much of each tree's correction is taken.
    pub rate: f64,
    /// Questions from a root to a leaf.
    pub depth: u16,
    /// Points that a leaf holds at least.
    pub leaf: usize,
    /// The part of the points that a member does not see for a tree.
    pub left_out: f64,
}

impl Default for Growth {
    fn default() -> Growth {
        Growth {
            members: 4,
            trees: 60,
            rate: 0.12,
            depth: 4,
            leaf: 2,
            left_out: 0.25,
        }
    }
}

/// An ensemble of boosted trees.
#[derive(Debug)]
pub struct Boosting {
    members: Vec<Vec<Tree>>,
    start: f64,
    rate: f64,
    columns: usize,
}

/// Points as the trees take them.
pub struct Table {
    matrix: DenseMatrix<f64>,
    rows: usize,
    columns: usize,
}

impl Table {
    /// None without rows or columns, or where something is not finite: trees panic on those.
    pub fn of(rows: &[Vec<f64>]) -> Option<Table> {
        let columns = rows.first()?.len();
        let sound = columns > 0
            && rows
                .iter()
                .all(|row| row.len() == columns && row.iter().all(|value| value.is_finite()));
        let flat = || rows.iter().flatten().copied().collect();
        let matrix = sound
            .then(|| DenseMatrix::new(rows.len(), columns, flat(), false))?
            .ok()?;
        Some(Table {
            matrix,
            rows: rows.len(),
            columns,
        })
    }
}

impl Boosting {
    /// Learns values at points. None where that cannot be: too few, weights that are not positive, or something not finite.
    pub fn fit(points: &Table, values: &[f64], weights: &[f64], growth: Growth, seed: u64) -> Option<Boosting> {
        let total: f64 = weights.iter().sum();
        let sound = values.len() == points.rows && weights.len() == points.rows && values.iter().all(|v| v.is_finite());
        if !sound || points.rows < 2 * growth.leaf || !total.is_finite() || total <= 0.0 {
            return None;
        }
        let start = values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / total;
        let grow = |member: u64| {
            let mut random = Random::new(seed ^ (member << 32));
            let mut residual: Vec<f64> = values.iter().map(|value| value - start).collect();
            (0..growth.trees)
                .map(|_| {
                    let mut seen: Vec<f64> = weights
                        .iter()
                        .map(|w| if random.unit() < growth.left_out { 0.0 } else { *w })
                        .collect();
                    if seen.iter().filter(|weight| **weight > 0.0).count() < 2 * growth.leaf {
                        seen.copy_from_slice(weights);
                    }
                    let parameters = DecisionTreeRegressorParameters::default()
                        .with_max_depth(growth.depth)
                        .with_min_samples_leaf(growth.leaf);
                    let tree = Tree::fit_with_weights(&points.matrix, &residual, &seen, parameters).ok()?;
                    let corrections = tree.predict(&points.matrix).ok()?;
                    residual
                        .iter_mut()
                        .zip(corrections)
                        .for_each(|(r, correction)| *r -= growth.rate * correction);
                    Some(tree)
                })
                .collect::<Option<Vec<Tree>>>()
        };
        Some(Boosting {
            members: (0..growth.members as u64).map(grow).collect::<Option<_>>()?,
            start,
            rate: growth.rate,
            columns: points.columns,
        })
    }

    /// The expected value at each point, and how far the members stand from it (standard deviation). None for points with other columns.
    pub fn predict(&self, points: &Table) -> Option<Vec<(f64, f64)>> {
        if points.columns != self.columns {
            return None;
        }
        let count = self.members.len().max(1) as f64;
        let mut sums = vec![(0.0, 0.0); points.rows];
        for member in &self.members {
            let mut values = vec![self.start; points.rows];
            for tree in member {
                let corrections = tree.predict(&points.matrix).ok()?;
                values
                    .iter_mut()
                    .zip(corrections)
                    .for_each(|(value, correction)| *value += self.rate * correction);
            }
            sums.iter_mut().zip(values).for_each(|(sum, value)| {
                sum.0 += value;
                sum.1 += value * value;
            });
        }
        let belief = |(sum, squares): (f64, f64)| {
            let mean = sum / count;
            (mean, (squares / count - mean * mean).max(0.0).sqrt())
        };
        Some(sums.into_iter().map(belief).collect())
    }
}
