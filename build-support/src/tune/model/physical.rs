//! Energy as a price list: constant power × time + Σ price × count, with no negative price.
//!
//! The fit is a non-negative least-squares problem of the relative error (Lawson and Hanson, *Solving Least Squares Problems*,
//! chapter 23). The matrix is small, so coordinate descent on the normal equations is enough.

/// Fitted prices.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// Watts.
    constant: f64,
    /// Joules per count, one for each count.
    prices: Vec<f64>,
}

/// The most passes over all prices. They converge long before.
const PASSES: usize = 2000;

impl Prices {
    /// Fits prices to counts, latencies (s) and energies (J). `None` without samples, or if a value is not finite or an energy is 0.
    pub fn fit(counts: &[&[f64]], latencies: &[f64], energies: &[f64]) -> Option<Prices> {
        let width = counts.first()?.len() + 1;
        let rows: Vec<Vec<f64>> = counts
            .iter()
            .zip(latencies)
            .zip(energies)
            .map(|((counts, latency), energy)| [*latency].iter().chain(*counts).map(|value| value / energy).collect())
            .collect();
        if rows
            .iter()
            .any(|row: &Vec<f64>| row.len() != width || row.iter().any(|value| !value.is_finite()))
        {
            return None;
        }
        // Scale every column to unit length, so that the diagonal is 1.
        let norm = |c: usize| rows.iter().map(|row| row[c] * row[c]).sum::<f64>().sqrt();
        let norms: Vec<f64> = (0..width).map(norm).collect();
        let product = |a: usize, b: usize| rows.iter().map(|row| row[a] * row[b]).sum::<f64>() / (norms[a] * norms[b]);
        let used: Vec<usize> = (0..width).filter(|&c| norms[c] > 0.0).collect();
        let matrix: Vec<Vec<f64>> = used
            .iter()
            .map(|&a| used.iter().map(|&b| product(a, b)).collect())
            .collect();
        let target: Vec<f64> = used
            .iter()
            .map(|&c| rows.iter().map(|row| row[c]).sum::<f64>() / norms[c])
            .collect();
        let mut solution = vec![0.0; used.len()];
        for _ in 0..PASSES {
            let mut moved = 0.0f64;
            for c in 0..used.len() {
                let gradient = target[c] - matrix[c].iter().zip(&solution).map(|(m, s)| m * s).sum::<f64>();
                let next = (solution[c] + gradient).max(0.0);
                moved = moved.max((next - solution[c]).abs());
                solution[c] = next;
            }
            if moved < 1e-10 {
                break;
            }
        }
        let mut all = vec![0.0; width];
        used.iter()
            .zip(solution)
            .for_each(|(&c, price)| all[c] = price / norms[c]);
        Some(Prices {
            constant: all[0],
            prices: all.split_off(1),
        })
    }

    /// The energy in joules.
    pub fn energy(&self, counts: &[f64], latency: f64) -> f64 {
        self.constant * latency
            + self
                .prices
                .iter()
                .zip(counts)
                .map(|(price, count)| price * count)
                .sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::random::Random;

    #[test]
    fn prices_are_found_again_and_never_below_zero() {
        let mut random = Random::new(5);
        let samples: Vec<(Vec<f64>, f64)> = (0..200)
            .map(|_| {
                let counts = (0..4).map(|_| 1e9 * random.unit()).collect();
                (counts, 1e-3 * (1.0 + random.unit()))
            })
            .collect();
        let truth = |counts: &[f64], latency: f64| 150.0 * latency + 30e-12 * counts[0] + 9e-12 * counts[2];
        let energies: Vec<f64> = samples
            .iter()
            .map(|(c, t)| truth(c, *t) * (1.0 + 0.005 * random.normal()))
            .collect();
        let counts: Vec<&[f64]> = samples.iter().map(|(c, _)| c.as_slice()).collect();
        let latencies: Vec<f64> = samples.iter().map(|(_, t)| *t).collect();
        let prices = Prices::fit(&counts, &latencies, &energies).unwrap();
        assert!((prices.constant / 150.0 - 1.0).abs() < 0.02, "{prices:?}");
        assert!(
            (prices.prices[0] / 30e-12 - 1.0).abs() < 0.05 && (prices.prices[2] / 9e-12 - 1.0).abs() < 0.1,
            "{prices:?}"
        );
        assert!(prices.prices.iter().all(|price| *price >= 0.0) && prices.prices[1] < 1e-12);
        assert!(Prices::fit(&[], &[], &[]).is_none());
        assert!(Prices::fit(&[&[1.0]], &[1.0], &[0.0]).is_none());
    }
}
