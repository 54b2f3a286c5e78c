//! Numbers in messages.

/// Formats a count: `1 dimension`, `2 dimensions`.
pub fn counted(count: u64, one: &str, several: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {several}"),
    }
}

/// Formats a count of things given: `1 index is given`, `2 indices are given`.
pub fn given(count: u64, one: &str, several: &str) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{} {verb} given", counted(count, one, several))
}

/// Formats a quantity with a suitable unit prefix: `119.1 mJ`. If half of the 95 % confidence interval is known (finite and positive), it is
/// included: `119.07 ± 0.35 mJ`.
pub fn quantity(mean: f64, interval: f64, unit: &str) -> String {
    const PREFIXES: [(&str, f64); 6] = [("", 1.0), ("m", 1e3), ("µ", 1e6), ("n", 1e9), ("p", 1e12), ("f", 1e15)];
    // Values that would round to 1000 take the next unit.
    let suits = |&&(_, scale): &&(&str, f64)| mean.abs() * scale >= 0.99995;
    let (prefix, scale) = PREFIXES.iter().find(suits).unwrap_or(&PREFIXES[0]);
    let (mean, interval) = (mean * scale, interval * scale);
    let digits_before = |value: f64| {
        if value >= 1.0 {
            value.log10().floor() as i32 + 1
        } else {
            0
        }
    };
    if !(interval > 0.0 && interval.is_finite()) {
        let decimals = (4 - digits_before(mean.abs() * 1.00005)).clamp(0, 3) as usize;
        return format!("{mean:.decimals$} {prefix}{unit}");
    }
    // The interval has two significant digits, and the mean as many decimals.
    let decimals = (1 - interval.log10().floor() as i32).clamp(0, 3) as usize;
    format!("{mean:.decimals$} ± {interval:.decimals$} {prefix}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_a_unit_and_digits_that_suit_them() {
        assert_eq!(quantity(0.119068677, 0.0, "J"), "119.1 mJ");
        assert_eq!(quantity(0.119068677, 3.5e-4, "J"), "119.07 ± 0.35 mJ");
        assert_eq!(quantity(1e-5, 1e-8, "s"), "10.000 ± 0.010 µs");
        assert_eq!(quantity(9.99999e-4, 0.0, "s"), "1.000 ms");
        assert_eq!(quantity(2.5, 0.2, "J"), "2.50 ± 0.20 J");
        assert_eq!(quantity(1234.5, 20.0, "J"), "1234 ± 20 J");
        assert_eq!(quantity(1234.5, f64::NAN, "J"), "1234 J");
        assert_eq!(quantity(3.2e-7, 0.0, "s"), "320.0 ns");
        assert_eq!(quantity(0.0, 0.0, "J"), "0.000 J");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(0, "axis", "axes"), "0 axes");
        assert_eq!(counted(1, "axis", "axes"), "1 axis");
        assert_eq!(given(1, "index", "indices"), "1 index is given");
        assert_eq!(given(2, "index", "indices"), "2 indices are given");
    }
}
