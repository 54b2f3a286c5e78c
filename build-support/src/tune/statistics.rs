//! Means and their confidence intervals.

use energy_kernel::energy::students_quantile;
use energy_kernel_compiler::record::Estimate;

/// The mean of samples, and half the width of its 95 % confidence interval by Student's distribution. The interval is 0 for one sample.
pub(super) fn estimate(samples: &[f64]) -> Estimate {
    let count = samples.len().max(1) as f64;
    let mean = samples.iter().sum::<f64>() / count;
    if samples.len() < 2 {
        return Estimate { mean, interval: 0.0 };
    }
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
    Estimate {
        mean,
        interval: students_quantile(count - 1.0) * (variance / count).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_have_the_interval_of_students_distribution() {
        let three = estimate(&[1.0, 2.0, 3.0]);
        assert_eq!(three.mean, 2.0);
        assert!((three.interval - 4.303 / 3f64.sqrt()).abs() < 1e-3);
        assert_eq!(estimate(&[5.0]).interval, 0.0);
        assert_eq!(
            estimate(&[4.0; 7]),
            Estimate {
                mean: 4.0,
                interval: 0.0
            }
        );
    }
}
