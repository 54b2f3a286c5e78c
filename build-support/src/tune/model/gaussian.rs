//! Gaussian-process regression of a few measurements.
//!
//! A value is the sum of a common mean, a smooth function of the columns with covariance `s² · exp(−|x − x′|² / 2ℓ²)`, an independent part
//! with standard deviation r, and the noise of its measurement. The common mean is unknown. ℓ, s and r are weighted by their marginal
//! likelihood on a small grid (Rasmussen and Williams, *Gaussian Processes for Machine Learning*, chapters 2 and 5): a few measurements
//! rarely determine them, and the most likely ones alone would be overconfident. All columns share one length scale. Separate ones, found
//! column by column, needed more measurements on every space that was tried.

use super::matrix::Cholesky;

/// The length scales on the grid, in units of the typical distance √d of standardised columns.
const LENGTHS: [f64; 6] = [0.3, 0.6, 1.2, 2.4, 4.8, 9.6];
/// The standard deviations of the smooth part on the grid, for residuals of a prior. The prior may be nearly right, so that small deviations
/// are needed: otherwise independent differences of kernels would look like a trend.
pub const REMAINDER: &[f64] = &[0.0016, 0.004, 0.01, 0.025, 0.06, 0.14, 0.33, 0.8, 2.0];
/// The standard deviations of the smooth part on the grid, for logarithms of power. With the smaller ones of [`REMAINDER`] the process
/// would be certain too early that all kernels are like the first few.
pub const POWER: &[f64] = REMAINDER.split_at(2).1;
/// The standard deviations of the independent part on the grid, in units of the measurement noise.
const ROUGHNESS: [f64; 4] = [0.0, 1.0, 2.0, 4.0];
/// The standard deviation of the common mean: large compared with any difference of kernels.
const MEAN: f64 = 1.0;
/// The most points on which the grid is evaluated: each of some hundred likelihoods costs the cube of their number.
const MOST_FOR_GRID: usize = 160;
/// The difference in log-likelihood from the largest beyond which hyperparameters are dropped.
const NEGLIGIBLE: f64 = 4.0;

/// The posterior of a function after some of its values were measured.
#[derive(Debug, Clone)]
pub struct Gaussian {
    points: Vec<Vec<f64>>,
    /// The mean of the values.
    offset: f64,
    /// Processes of different hyperparameters, with their normalised likelihoods.
    members: Vec<(f64, Member)>,
}

/// A process with fixed hyperparameters.
#[derive(Debug, Clone)]
struct Member {
    factor: Cholesky,
    /// K⁻¹ (y − offset).
    weights: Vec<f64>,
    shape: Hyperparameters,
    log_likelihood: f64,
}

/// The hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hyperparameters {
    length: f64,
    scale: f64,
    rough: f64,
}

impl Hyperparameters {
    /// The covariance of smooth part and mean between points at this squared distance.
    fn covariance(&self, distance: f64) -> f64 {
        self.scale * self.scale * (-0.5 * distance / (self.length * self.length)).exp() + MEAN * MEAN
    }
}

/// The squared distance of two points.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Values and their points.
#[derive(Clone, Copy)]
struct Observations<'a> {
    points: &'a [Vec<f64>],
    values: &'a [f64],
    /// Standard deviations of the measurements.
    noise: &'a [f64],
}

impl Observations<'_> {
    fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    /// The addition to the diagonal: noise, the independent part, and a term for numerical stability.
    fn diagonal(&self, i: usize, rough: f64) -> f64 {
        self.noise[i].powi(2) + rough * rough + 1e-9
    }

    fn factor(&self, shape: &Hyperparameters) -> Option<Cholesky> {
        Cholesky::of(self.points.len(), |i, j| {
            let smooth = shape.covariance(distance(&self.points[i], &self.points[j]));
            smooth + if i == j { self.diagonal(i, shape.rough) } else { 0.0 }
        })
    }

    /// The lower triangle of a function of pairs of points.
    fn pairs(&self, of: impl Fn(&[f64], &[f64]) -> f64) -> Vec<Vec<f64>> {
        let row = |(i, a): (usize, &Vec<f64>)| self.points[..=i].iter().map(|b| of(a, b)).collect();
        self.points.iter().enumerate().map(row).collect()
    }

    /// The hyperparameters on the grid whose likelihood is not negligible.
    fn likely(&self, scales: &[f64]) -> Vec<Hyperparameters> {
        let columns = self.points.first().map_or(0, Vec::len);
        let noise = (self.noise.iter().map(|n| n * n).sum::<f64>() / self.noise.len() as f64).sqrt();
        let distances = self.pairs(distance);
        let mean = self.mean();
        let centred: Vec<f64> = self.values.iter().map(|value| value - mean).collect();
        let mut all: Vec<(f64, Hyperparameters)> = Vec::new();
        for length in LENGTHS.map(|length| length * (columns.max(1) as f64).sqrt()) {
            let correlations: Vec<Vec<f64>> = distances
                .iter()
                .map(|row| row.iter().map(|d| (-0.5 * d / length.powi(2)).exp()).collect())
                .collect();
            for (scale, rough) in scales
                .iter()
                .flat_map(|&scale| ROUGHNESS.map(|rough| (scale, rough * noise)))
            {
                let factor = Cholesky::of(self.points.len(), |i, j| {
                    let smooth = scale * scale * correlations[i][j] + MEAN * MEAN;
                    smooth + if i == j { self.diagonal(i, rough) } else { 0.0 }
                });
                let Some(factor) = factor else { continue };
                all.push((factor.log_density(&centred), Hyperparameters { length, scale, rough }));
            }
        }
        let most = all
            .iter()
            .map(|(likelihood, _)| *likelihood)
            .fold(f64::NEG_INFINITY, f64::max);
        let likely = all.iter().filter(|(likelihood, _)| *likelihood > most - NEGLIGIBLE);
        likely.map(|(_, shape)| *shape).collect()
    }
}

impl Gaussian {
    /// Fits values at points, each with the standard deviation of its measurement. `scales` are the standard deviations of the smooth part on
    /// the grid ([`POWER`], [`REMAINDER`]).
    ///
    /// `None` without points or scales, or if a value is not finite.
    pub fn fit(points: &[Vec<f64>], values: &[f64], noise: &[f64], scales: &[f64]) -> Option<Gaussian> {
        // The latest points matter most to the search.
        let skip = points.len().saturating_sub(MOST_FOR_GRID);
        let shapes = Observations {
            points: &points[skip..],
            values: values.get(skip..)?,
            noise: noise.get(skip..)?,
        }
        .likely(scales);
        Gaussian::with_shapes(points, values, noise, &shapes)
    }

    /// Fits with hyperparameters from an earlier fit, weighted again.
    pub fn with_shapes(
        points: &[Vec<f64>],
        values: &[f64],
        noise: &[f64],
        shapes: &[Hyperparameters],
    ) -> Option<Gaussian> {
        let data = Observations { points, values, noise };
        let members: Vec<Member> = shapes.iter().filter_map(|&shape| Member::of(data, shape)).collect();
        let most = members
            .iter()
            .map(|m| m.log_likelihood)
            .fold(f64::NEG_INFINITY, f64::max);
        let likelihood = |member: &Member| (member.log_likelihood - most).exp();
        let sum: f64 = members.iter().map(likelihood).sum();
        match members.is_empty() {
            true => None,
            false => Some(Gaussian {
                points: points.to_vec(),
                offset: data.mean(),
                members: members
                    .into_iter()
                    .map(|member| (likelihood(&member) / sum, member))
                    .collect(),
            }),
        }
    }

    /// The hyperparameters.
    pub fn shapes(&self) -> Vec<Hyperparameters> {
        self.members.iter().map(|(_, member)| member.shape).collect()
    }

    /// The expected value at a point and its standard deviation. That includes the independent part and the spread over hyperparameters, but
    /// not the measurement noise.
    pub fn predict(&self, point: &[f64]) -> (f64, f64) {
        let distances: Vec<f64> = self.points.iter().map(|known| distance(known, point)).collect();
        // Without the offset, whose square would cancel the variance.
        let (mut mean, mut square) = (0.0, 0.0);
        for (weight, member) in &self.members {
            let (value, variance) = member.predict(&distances);
            mean += weight * value;
            square += weight * (variance + value * value);
        }
        (self.offset + mean, (square - mean * mean).max(0.0).sqrt())
    }

    /// The expected value of a measured point: the measurement without its expected noise.
    pub fn denoised(&self, position: usize, value: f64, noise: f64) -> f64 {
        let weights = self
            .members
            .iter()
            .map(|(weight, member)| weight * member.weights[position]);
        value - noise * noise * weights.sum::<f64>()
    }
}

impl Member {
    fn of(data: Observations<'_>, shape: Hyperparameters) -> Option<Member> {
        let Observations { points, values, .. } = data;
        if points.is_empty()
            || values
                .iter()
                .chain(points.iter().flatten())
                .any(|value| !value.is_finite())
        {
            return None;
        }
        let factor = data.factor(&shape)?;
        let mean = data.mean();
        let centred: Vec<f64> = values.iter().map(|value| value - mean).collect();
        Some(Member {
            weights: factor.solve(&centred),
            log_likelihood: factor.log_density(&centred),
            factor,
            shape,
        })
    }

    /// The expected difference from the mean at a point with these distances from the measured ones, and its variance.
    fn predict(&self, distances: &[f64]) -> (f64, f64) {
        let mut covariances: Vec<f64> = distances.iter().map(|&d| self.shape.covariance(d)).collect();
        let value = covariances.iter().zip(&self.weights).map(|(c, w)| c * w).sum::<f64>();
        self.factor.forward(&mut covariances);
        let explained: f64 = covariances.iter().map(|v| v * v).sum();
        let Hyperparameters { scale, rough, .. } = self.shape;
        (
            value,
            (scale * scale + MEAN * MEAN - explained).max(0.0) + rough * rough,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::random::Random;

    /// Points in three columns, and a smooth function of two of them.
    fn data(count: usize, noise: f64, seed: u64) -> (Vec<Vec<f64>>, Vec<f64>, Vec<f64>) {
        let mut random = Random::new(seed);
        let points: Vec<Vec<f64>> = (0..count).map(|_| (0..3).map(|_| random.normal()).collect()).collect();
        let truth: Vec<f64> = points.iter().map(|p| 4.0 + 0.3 * p[0] - 0.2 * p[1] * p[1]).collect();
        let values = truth.iter().map(|value| value + noise * random.normal()).collect();
        (points, truth, values)
    }

    #[test]
    fn unmeasured_values_lie_where_its_deviation_says() {
        let noise = 0.01;
        let (points, truth, values) = data(120, noise, 1);
        let known = 40;
        let model = Gaussian::fit(&points[..known], &values[..known], &vec![noise; known], POWER).unwrap();
        let predicted: Vec<(f64, f64)> = points[known..].iter().map(|p| model.predict(p)).collect();
        let errors = predicted
            .iter()
            .zip(&truth[known..])
            .map(|((mean, _), t)| (mean - t).abs());
        let mut sorted: Vec<f64> = errors.clone().collect();
        sorted.sort_by(f64::total_cmp);
        // The function's standard deviation is some 0.4.
        assert!(sorted[40] < 0.06, "median error {}", sorted[40]);
        let covered = errors
            .zip(&predicted)
            .filter(|(error, (_, deviation))| *error < 3.0 * deviation)
            .count();
        assert!(covered > 70, "{covered} of 80 within three deviations");
    }

    #[test]
    fn a_denoised_value_is_nearer_to_the_truth_than_the_measured_one() {
        let noise = 0.05;
        let (points, truth, values) = data(80, noise, 2);
        let model = Gaussian::fit(&points, &values, &[noise; 80], POWER).unwrap();
        let squares = |errors: Vec<f64>| errors.iter().map(|e| e * e).sum::<f64>();
        let raw = squares((0..80).map(|i| values[i] - truth[i]).collect());
        let denoised = squares(
            (0..80)
                .map(|i| model.denoised(i, values[i], noise) - truth[i])
                .collect(),
        );
        assert!(denoised < 0.7 * raw, "{denoised} {raw}");
    }

    /// Intervals of the likeliest hyperparameters alone hold less than 80 % of them.
    #[test]
    fn after_a_handful_of_measurements_it_knows_how_little_it_knows() {
        let (mut held, mut all) = (0, 0);
        for seed in 0..20 {
            let (points, truth, values) = data(40, 0.01, 100 + seed);
            let model = Gaussian::fit(&points[..6], &values[..6], &[0.01; 6], POWER).unwrap();
            for (point, truth) in points[6..].iter().zip(&truth[6..]) {
                let (mean, deviation) = model.predict(point);
                held += usize::from((mean - truth).abs() < 2.0 * deviation);
                all += 1;
            }
        }
        let part = f64::from(held as u32) / f64::from(all);
        assert!(part > 0.85, "{part}");
    }

    #[test]
    fn without_a_pattern_it_knows_the_mean_and_little_else() {
        let mut random = Random::new(3);
        let points: Vec<Vec<f64>> = (0..30).map(|_| vec![random.normal(), random.normal()]).collect();
        let values: Vec<f64> = (0..30).map(|_| 2.0 + 0.01 * random.normal()).collect();
        let model = Gaussian::fit(&points, &values, &[0.01; 30], POWER).unwrap();
        let (mean, deviation) = model.predict(&[0.3, -0.2]);
        assert!((mean - 2.0).abs() < 0.01 && deviation < 0.02, "{mean} {deviation}");
    }

    #[test]
    fn where_the_expectation_was_right_what_nothing_tells_is_no_trend() {
        // The root-mean-square prediction at other points, whose true value is 0.
        let error = |scales: &[f64]| {
            let mut squares = 0.0;
            for seed in 0..20 {
                let mut random = Random::new(200 + seed);
                let mut normal = |count: usize, columns: usize| -> Vec<Vec<f64>> {
                    let mut row = |_| (0..columns).map(|_| random.normal()).collect();
                    (0..count).map(&mut row).collect()
                };
                let (points, asked) = (normal(24, 12), normal(40, 12));
                // An independent part of 1 %, and 0.7 % of noise.
                let values: Vec<f64> = (normal(24, 2).iter())
                    .map(|part| 0.01 * part[0] + 0.007 * part[1])
                    .collect();
                let model = Gaussian::fit(&points, &values, &[0.007; 24], scales).unwrap();
                squares += asked.iter().map(|point| model.predict(point).0.powi(2)).sum::<f64>();
            }
            (squares / 800.0).sqrt()
        };
        let (remainder, power) = (error(REMAINDER), error(POWER));
        // The mean alone of 24 such values is off by 0.25 %.
        assert!(remainder < 0.0028 && remainder < 0.9 * power, "{remainder} {power}");
    }

    #[test]
    fn nothing_is_learnt_from_nothing_or_from_what_is_no_number() {
        assert!(Gaussian::fit(&[], &[], &[], POWER).is_none());
        assert!(Gaussian::fit(&[vec![1.0]], &[f64::NAN], &[0.1], POWER).is_none());
        assert!(Gaussian::fit(&[vec![f64::INFINITY], vec![1.0]], &[1.0, 2.0], &[0.1, 0.1], POWER).is_none());
        // One point without columns still gives a mean.
        let model = Gaussian::fit(&[vec![]], &[3.0], &[0.01], POWER).unwrap();
        assert!((model.predict(&[]).0 - 3.0).abs() < 1e-9);
        assert!(Gaussian::fit(&[vec![1.0]], &[1.0], &[0.1], &[]).is_none());
        // The same point many times over.
        assert!(Gaussian::fit(&vec![vec![1.0]; 20], &[1.0; 20], &[0.0; 20], POWER).is_some());
    }
}
