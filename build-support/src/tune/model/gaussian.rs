//! A Gaussian process: what a handful of measurements says of points nearby.
//!
//! A value is a common mean, a smooth function of the columns with covariance `s² · exp(−|x − x′|² / 2ℓ²)`, a part of its own that no column
//! tells (standard deviation r), and the noise of its measurement. The common mean is unknown; ℓ, s and r are those of the largest marginal
//! likelihood on a small grid (Rasmussen and Williams, *Gaussian Processes for Machine Learning*, chapters 2 and 5). One length for
//! all columns: lengths for each, found column by column, needed more measurements on every space that was tried.

use super::matrix::Cholesky;

/// Lengths that are tried, in units of the typical distance √d of standardised columns.
const LENGTHS: [f64; 6] = [0.3, 0.6, 1.2, 2.4, 4.8, 9.6];
/// Standard deviations of the smooth part that are tried: of the logarithm of power, from what is barely worth a model to any there is.
const SCALES: [f64; 7] = [0.01, 0.025, 0.06, 0.14, 0.33, 0.8, 2.0];
/// Standard deviations of the part of its own that are tried, in units of the noise of measurement.
const ROUGHNESS: [f64; 4] = [0.0, 1.0, 2.0, 4.0];
/// The deviation of the common mean from that of the measured ones: wide beside any difference of kernels.
const MEAN: f64 = 1.0;
/// The most points whose likelihood is computed: it costs the cube of their number, a hundred times over.
const MOST_FOR_GRID: usize = 160;

/// What is known of a function after some of its values were measured.
#[derive(Debug, Clone)]
pub struct Gaussian {
    points: Vec<Vec<f64>>,
    factor: Cholesky,
    /// K⁻¹ (y − offset).
    weights: Vec<f64>,
    offset: f64,
    shape: Shape,
}

/// The hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    length: f64,
    scale: f64,
    rough: f64,
}

impl Shape {
    /// The covariance of the smooth parts and the mean.
    fn covariance(&self, a: &[f64], b: &[f64]) -> f64 {
        let distance: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
        self.scale * self.scale * (-0.5 * distance / (self.length * self.length)).exp() + MEAN * MEAN
    }
}

/// Values and what they were measured at.
#[derive(Clone, Copy)]
struct Data<'a> {
    points: &'a [Vec<f64>],
    values: &'a [f64],
    /// Standard deviations of the measurements.
    noise: &'a [f64],
}

impl Data<'_> {
    fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    /// Everything that is added on the diagonal, with what keeps the factorisation stable.
    fn diagonal(&self, i: usize, rough: f64) -> f64 {
        self.noise[i].powi(2) + rough * rough + 1e-9
    }

    fn factor(&self, shape: &Shape) -> Option<Cholesky> {
        Cholesky::of(self.points.len(), |i, j| {
            let smooth = shape.covariance(&self.points[i], &self.points[j]);
            smooth + if i == j { self.diagonal(i, shape.rough) } else { 0.0 }
        })
    }

    /// A function of all pairs of points, the second not after the first.
    fn pairs(&self, of: impl Fn(&[f64], &[f64]) -> f64) -> Vec<Vec<f64>> {
        let row = |(i, a): (usize, &Vec<f64>)| self.points[..=i].iter().map(|b| of(a, b)).collect();
        self.points.iter().enumerate().map(row).collect()
    }

    /// The hyperparameters of the largest marginal likelihood.
    fn likeliest(&self) -> Option<Shape> {
        let columns = self.points.first()?.len();
        let noise = (self.noise.iter().map(|n| n * n).sum::<f64>() / self.noise.len() as f64).sqrt();
        let distances = self.pairs(|a, b| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum());
        let mean = self.mean();
        let centred: Vec<f64> = self.values.iter().map(|value| value - mean).collect();
        let mut best: Option<(f64, Shape)> = None;
        for length in LENGTHS.map(|length| length * (columns.max(1) as f64).sqrt()) {
            let correlations: Vec<Vec<f64>> = distances
                .iter()
                .map(|row| row.iter().map(|d| (-0.5 * d / length.powi(2)).exp()).collect())
                .collect();
            for (scale, rough) in SCALES
                .iter()
                .flat_map(|&scale| ROUGHNESS.map(|rough| (scale, rough * noise)))
            {
                let factor = Cholesky::of(self.points.len(), |i, j| {
                    let smooth = scale * scale * correlations[i][j] + MEAN * MEAN;
                    smooth + if i == j { self.diagonal(i, rough) } else { 0.0 }
                });
                let Some(factor) = factor else { continue };
                let likelihood = factor.log_density(&centred);
                if best.is_none_or(|(most, _)| likelihood > most) {
                    best = Some((likelihood, Shape { length, scale, rough }));
                }
            }
        }
        best.map(|(_, shape)| shape)
    }
}

impl Gaussian {
    /// Learns from values at points, each with the standard deviation of its measurement.
    ///
    /// None without points, or where something is not finite.
    pub fn fit(points: &[Vec<f64>], values: &[f64], noise: &[f64]) -> Option<Gaussian> {
        // The latest points are the ones that the search is about.
        let skip = points.len().saturating_sub(MOST_FOR_GRID);
        let shape = Data {
            points: &points[skip..],
            values: values.get(skip..)?,
            noise: noise.get(skip..)?,
        }
        .likeliest()?;
        Gaussian::with_shape(points, values, noise, shape)
    }

    /// Learns with hyperparameters that were found before.
    pub fn with_shape(points: &[Vec<f64>], values: &[f64], noise: &[f64], shape: Shape) -> Option<Gaussian> {
        if points.is_empty()
            || values
                .iter()
                .chain(points.iter().flatten())
                .any(|value| !value.is_finite())
        {
            return None;
        }
        let data = Data { points, values, noise };
        let factor = data.factor(&shape)?;
        let offset = data.mean();
        let centred: Vec<f64> = values.iter().map(|value| value - offset).collect();
        Some(Gaussian {
            points: points.to_vec(),
            weights: factor.solve(&centred),
            factor,
            offset,
            shape,
        })
    }

    /// The hyperparameters.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The expected value at a point, and the standard deviation of what is not known about it: its own part counts, the noise of a
    /// measurement does not.
    pub fn predict(&self, point: &[f64]) -> (f64, f64) {
        let mut covariances: Vec<f64> = self.points.iter().map(|p| self.shape.covariance(p, point)).collect();
        let mean = self.offset + covariances.iter().zip(&self.weights).map(|(c, w)| c * w).sum::<f64>();
        self.factor.forward(&mut covariances);
        let explained: f64 = covariances.iter().map(|v| v * v).sum();
        let Shape { scale, rough, .. } = self.shape;
        let variance = (scale * scale + MEAN * MEAN - explained).max(0.0) + rough * rough;
        (mean, variance.sqrt())
    }

    /// The expected value of a measured point: what was measured, less the part of it that is likely noise.
    pub fn denoised(&self, position: usize, value: f64, noise: f64) -> f64 {
        value - noise * noise * self.weights[position]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::random::Random;

    /// Points in three columns, of which two tell, and a smooth function of them.
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
        let model = Gaussian::fit(&points[..known], &values[..known], &vec![noise; known]).unwrap();
        let predicted: Vec<(f64, f64)> = points[known..].iter().map(|p| model.predict(p)).collect();
        let errors = predicted
            .iter()
            .zip(&truth[known..])
            .map(|((mean, _), t)| (mean - t).abs());
        let mut sorted: Vec<f64> = errors.clone().collect();
        sorted.sort_by(f64::total_cmp);
        // The function's own deviation is some 0.4.
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
        let model = Gaussian::fit(&points, &values, &[noise; 80]).unwrap();
        let squares = |errors: Vec<f64>| errors.iter().map(|e| e * e).sum::<f64>();
        let raw = squares((0..80).map(|i| values[i] - truth[i]).collect());
        let denoised = squares(
            (0..80)
                .map(|i| model.denoised(i, values[i], noise) - truth[i])
                .collect(),
        );
        assert!(denoised < 0.7 * raw, "{denoised} {raw}");
    }

    #[test]
    fn without_a_pattern_it_knows_the_mean_and_little_else() {
        let mut random = Random::new(3);
        let points: Vec<Vec<f64>> = (0..30).map(|_| vec![random.normal(), random.normal()]).collect();
        let values: Vec<f64> = (0..30).map(|_| 2.0 + 0.01 * random.normal()).collect();
        let model = Gaussian::fit(&points, &values, &[0.01; 30]).unwrap();
        let (mean, deviation) = model.predict(&[0.3, -0.2]);
        assert!((mean - 2.0).abs() < 0.01 && deviation < 0.02, "{mean} {deviation}");
    }

    #[test]
    fn nothing_is_learnt_from_nothing_or_from_what_is_no_number() {
        assert!(Gaussian::fit(&[], &[], &[]).is_none());
        assert!(Gaussian::fit(&[vec![1.0]], &[f64::NAN], &[0.1]).is_none());
        assert!(Gaussian::fit(&[vec![f64::INFINITY], vec![1.0]], &[1.0, 2.0], &[0.1, 0.1]).is_none());
        // One point in no column at all is still a mean.
        let model = Gaussian::fit(&[vec![]], &[3.0], &[0.01]).unwrap();
        assert!((model.predict(&[]).0 - 3.0).abs() < 1e-9);
        // The same point many times over.
        assert!(Gaussian::fit(&vec![vec![1.0]; 20], &[1.0; 20], &[0.0; 20]).is_some());
    }
}
