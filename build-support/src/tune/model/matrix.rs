//! Cholesky factors of small matrices.
//!
//! Build scripts are not optimised: there, plain slices are faster than the generic code of linear-algebra crates.

/// The lower Cholesky factor L of a symmetric positive definite matrix L·Lᵀ, by rows.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    rows: Vec<Vec<f64>>,
}

impl Cholesky {
    /// Factors the matrix with these entries. Calls `entry(i, j)` for j ≤ i. `None` if the matrix is not positive definite.
    pub(super) fn of(size: usize, entry: impl Fn(usize, usize) -> f64) -> Option<Cholesky> {
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(size);
        for i in 0..size {
            let mut row: Vec<f64> = Vec::with_capacity(i + 1);
            for (j, other) in rows.iter().enumerate() {
                row.push((entry(i, j) - dot(&row, &other[..j])) / other[j]);
            }
            let rest = entry(i, i) - dot(&row, &row);
            if rest.is_nan() || rest <= 0.0 {
                return None;
            }
            row.push(rest.sqrt());
            rows.push(row);
        }
        Some(Cholesky { rows })
    }

    /// Replaces v by L⁻¹ v.
    pub(super) fn forward(&self, v: &mut [f64]) {
        for (i, row) in self.rows.iter().enumerate() {
            v[i] = (v[i] - dot(&row[..i], &v[..i])) / row[i];
        }
    }

    /// The solution x of L·Lᵀ x = v.
    pub(super) fn solve(&self, v: &[f64]) -> Vec<f64> {
        let mut x = v.to_vec();
        self.forward(&mut x);
        for (i, row) in self.rows.iter().enumerate().rev() {
            x[i] /= row[i];
            let solved = x[i];
            x[..i].iter_mut().zip(row).for_each(|(x, l)| *x -= l * solved);
        }
        x
    }

    /// The log-density of v under the normal distribution with this covariance, up to a constant.
    pub(super) fn log_density(&self, v: &[f64]) -> f64 {
        let mut whitened = v.to_vec();
        self.forward(&mut whitened);
        let determinant: f64 = self.rows.iter().filter_map(|row| row.last()).map(|d| d.ln()).sum();
        -0.5 * dot(&whitened, &whitened) - determinant
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solution_solves_and_an_indefinite_matrix_has_no_factor() {
        // Aᵀ·A + 1 of an arbitrary A.
        let a: Vec<Vec<f64>> = (0..5)
            .map(|i| (0..5).map(|j| f64::from((3 * i + 7 * j) % 11)).collect())
            .collect();
        let entry = |i: usize, j: usize| (0..5).map(|k| a[k][i] * a[k][j]).sum::<f64>() + f64::from(u8::from(i == j));
        let factor = Cholesky::of(5, entry).unwrap();
        let v = [1.0, -2.0, 3.0, 0.5, 4.0];
        let x = factor.solve(&v);
        for (i, v) in v.iter().enumerate() {
            let product: f64 = (0..5).map(|j| entry(i.max(j), i.min(j)) * x[j]).sum();
            assert!((product - v).abs() < 1e-9, "{product} {v}");
        }
        assert!(Cholesky::of(2, |i, j| if i == j { 1.0 } else { 2.0 }).is_none());
        assert!(Cholesky::of(1, |_, _| f64::NAN).is_none());
        // The density of a diagonal covariance is that of its parts.
        let diagonal = Cholesky::of(2, |i, j| [[4.0, 0.0], [0.0, 9.0]][i][j]).unwrap();
        let expected = -0.5 * (1.0 / 4.0 + 4.0 / 9.0) - 6f64.ln();
        assert!((diagonal.log_density(&[1.0, 2.0]) - expected).abs() < 1e-12);
    }
}
