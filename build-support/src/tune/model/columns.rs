//! Features for models: finite, standardised, without constant ones.

/// The ratio of largest to smallest value above which a positive feature is replaced by its logarithm: sizes, counts and times matter by
/// ratio.
const WIDE: f64 = 3.0;

/// The map from raw features to columns of zero mean and unit deviation.
///
/// It drops features that are constant or not always finite: they carry no information, and tree learners panic on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    kept: Vec<Column>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Column {
    feature: usize,
    logarithm: bool,
    mean: f64,
    deviation: f64,
}

impl Columns {
    /// The columns in which these rows differ.
    pub fn of<R: AsRef<[f64]>>(rows: &[R]) -> Columns {
        let features = rows.iter().map(|row| row.as_ref().len()).min().unwrap_or(0);
        Columns {
            kept: (0..features)
                .filter_map(|feature| Column::of(feature, rows.iter().map(|row| row.as_ref()[feature])))
                .collect(),
        }
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// `true` if there are no columns.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The columns of a row. A feature that is missing or not finite counts as average.
    pub fn apply(&self, row: &[f64]) -> Vec<f64> {
        let standard = |column: &Column| {
            let value = row.get(column.feature).copied().unwrap_or(f64::NAN);
            let value = (column.value(value) - column.mean) / column.deviation;
            if value.is_finite() { value } else { 0.0 }
        };
        self.kept.iter().map(standard).collect()
    }
}

impl Column {
    fn of(feature: usize, values: impl Iterator<Item = f64> + Clone) -> Option<Column> {
        let (low, high) = values
            .clone()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let mut column = Column {
            feature,
            logarithm: low > 0.0 && high > WIDE * low,
            mean: 0.0,
            deviation: 1.0,
        };
        let count = values.clone().count() as f64;
        column.mean = values.clone().map(|value| column.value(value)).sum::<f64>() / count;
        let variance = values
            .map(|value| (column.value(value) - column.mean).powi(2))
            .sum::<f64>()
            / count;
        column.deviation = variance.sqrt();
        // Rounding gives a constant feature a tiny deviation.
        (column.deviation.is_finite() && column.deviation > 1e-9 * column.mean.abs().max(1e-3)).then_some(column)
    }

    fn value(&self, value: f64) -> f64 {
        if self.logarithm { value.ln() } else { value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_zero_mean_and_unit_deviation_and_the_useless_ones_are_left_out() {
        let rows: Vec<Vec<f64>> = (0..40)
            .map(|i| {
                let odd = if i == 7 { f64::NAN } else { f64::from(i) };
                vec![
                    f64::from(i),
                    3.0,
                    2f64.powi(i),
                    odd,
                    0.1 + 1e-18 * f64::from(i),
                    f64::from(i) * 1e300,
                ]
            })
            .collect();
        let columns = Columns::of(&rows);
        assert_eq!(
            columns.kept.iter().map(|column| column.feature).collect::<Vec<_>>(),
            [0, 2]
        );
        assert!(!columns.kept[0].logarithm && columns.kept[1].logarithm);
        let applied: Vec<Vec<f64>> = rows.iter().map(|row| columns.apply(row)).collect();
        for c in 0..2 {
            let mean = applied.iter().map(|row| row[c]).sum::<f64>() / 40.0;
            let variance = applied.iter().map(|row| row[c].powi(2)).sum::<f64>() / 40.0;
            assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-9, "{mean} {variance}");
        }
        assert_eq!(columns.apply(&[f64::NAN]), [0.0, 0.0]);
        assert!(Columns::of::<Vec<f64>>(&[]).is_empty());
    }
}
