//! Sample-weighted gradient boosting over regression trees. An ensemble of several boosted sequences, each from other samples, estimates
//! the uncertainty by its spread.

use crate::tune::random::Random;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::tree::decision_tree_regressor::{DecisionTreeRegressor, DecisionTreeRegressorParameters};

type Tree = DecisionTreeRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;

/// The parameters of boosting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// The number of boosted sequences in the ensemble.
    pub members: usize,
    /// The number of trees in each sequence.
    pub trees: usize,
    /// The learning rate.
    pub rate: f64,
    /// The depth of each tree.
    pub depth: u16,
    /// The fewest points of a leaf.
    pub leaf: usize,
    /// The fraction of points that each tree does not see.
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

/// Points in the format of the trees.
pub struct Points {
    matrix: DenseMatrix<f64>,
    rows: usize,
    columns: usize,
}

impl Points {
    /// A table of these rows. `None` without rows or columns, or if a value is not finite: trees would panic.
    pub fn of(rows: &[Vec<f64>]) -> Option<Points> {
        let columns = rows.first()?.len();
        let sound = columns > 0
            && rows
                .iter()
                .all(|row| row.len() == columns && row.iter().all(|value| value.is_finite()));
        let flat = || rows.iter().flatten().copied().collect();
        let matrix = sound
            .then(|| DenseMatrix::new(rows.len(), columns, flat(), false))?
            .ok()?;
        Some(Points {
            matrix,
            rows: rows.len(),
            columns,
        })
    }
}

impl Boosting {
    /// Fits values at points. `None` if there are too few points, no positive weight, or values that are not finite.
    pub fn fit(points: &Points, values: &[f64], weights: &[f64], growth: Growth, seed: u64) -> Option<Boosting> {
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

    /// The expected value at each point, and the standard deviation of the ensemble. `None` for points with other columns.
    pub fn predict(&self, points: &Points) -> Option<Vec<(f64, f64)>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn data(count: usize, seed: u64) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut random = Random::new(seed);
        let rows: Vec<Vec<f64>> = (0..count).map(|_| (0..6).map(|_| random.normal()).collect()).collect();
        let values = rows
            .iter()
            .map(|r| 2.0 + r[0] * f64::from(u8::from(r[1] > 0.0)) + 0.5 * r[2])
            .collect();
        (rows, values)
    }

    #[test]
    fn what_was_not_seen_is_predicted_and_the_same_for_the_same_seed() {
        let (rows, values) = data(400, 1);
        let (known, asked) = (Points::of(&rows[..300]).unwrap(), Points::of(&rows[300..]).unwrap());
        let fit = |seed| Boosting::fit(&known, &values[..300], &[1.0; 300], Growth::default(), seed).unwrap();
        let predicted = fit(1).predict(&asked).unwrap();
        let squares = |errors: Vec<f64>| errors.iter().map(|e| e * e).sum::<f64>();
        let errors = squares(predicted.iter().zip(&values[300..]).map(|((p, _), v)| p - v).collect());
        let around = squares(values[300..].iter().map(|v| v - 2.0).collect());
        assert!(errors < 0.15 * around, "{errors} {around}");
        assert_eq!(predicted, fit(1).predict(&asked).unwrap());
        assert_ne!(predicted, fit(2).predict(&asked).unwrap());
    }

    #[test]
    fn a_sample_without_weight_says_nothing() {
        let (rows, mut values) = data(200, 2);
        let known = Points::of(&rows).unwrap();
        let mut weights = vec![1.0; 200];
        let clean = Boosting::fit(&known, &values, &weights, Growth::default(), 1).unwrap();
        for i in (0..200).step_by(10) {
            values[i] += 100.0;
            weights[i] = 0.0;
        }
        let model = Boosting::fit(&known, &values, &weights, Growth::default(), 1).unwrap();
        let (a, b) = (clean.predict(&known).unwrap(), model.predict(&known).unwrap());
        assert!(a.iter().zip(&b).all(|(a, b)| (a.0 - b.0).abs() < 2.0));
    }

    #[test]
    fn what_trees_would_panic_on_is_refused() {
        let rows = vec![vec![1.0], vec![f64::NAN]];
        assert!(Points::of(&rows).is_none() && Points::of(&[]).is_none() && Points::of(&[vec![], vec![]]).is_none());
        assert!(Points::of(&[vec![1.0], vec![1.0, 2.0]]).is_none());
        let table = Points::of(&[vec![1.0], vec![2.0], vec![3.0], vec![4.0]]).unwrap();
        let fit = |values: &[f64], weights: &[f64]| Boosting::fit(&table, values, weights, Growth::default(), 1);
        assert!(fit(&[1.0, 2.0, f64::NAN, 3.0], &[1.0; 4]).is_none());
        assert!(fit(&[1.0; 3], &[1.0; 3]).is_none() && fit(&[1.0; 4], &[0.0; 4]).is_none());
        assert!(fit(&[1.0; 4], &[f64::NAN; 4]).is_none());
        // Constant features and values are fitted, too.
        let constant = Points::of(&vec![vec![7.0]; 5]).unwrap();
        let model = Boosting::fit(&constant, &[3.0; 5], &[1.0; 5], Growth::default(), 1).unwrap();
        assert!((model.predict(&constant).unwrap()[0].0 - 3.0).abs() < 1e-12);
        assert!(model.predict(&Points::of(&[vec![1.0, 2.0]]).unwrap()).is_none());
    }
}
