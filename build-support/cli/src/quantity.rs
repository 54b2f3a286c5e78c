//! Quantities as text: three digits and a unit, known intervals, nouns in the right number.

use energy_kernel_compiler::record::Estimate;

/// A time: `12.3 µs`.
pub fn seconds(value: f64) -> String {
    scaled(value, "s")
}

/// An energy: `4.56 mJ`.
pub fn joules(value: f64) -> String {
    scaled(value, "J")
}

/// A measured quantity, with its interval if that is known: `119 mJ ± 20.0 µJ`, `12.3 µs`.
pub fn measured(estimate: Estimate, unit: impl Fn(f64) -> String) -> String {
    match estimate.interval > 0.0 {
        true => format!("{} ± {}", unit(estimate.mean), unit(estimate.interval)),
        false => unit(estimate.mean),
    }
}

/// A share in per cent: `12.34 %`.
pub fn percent(value: f64) -> String {
    format!("{:.2} %", 100.0 * value)
}

/// A length of data: `17 bytes`, `1.50 MiB`.
pub fn bytes(value: u64) -> String {
    let prefixes = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match prefixes.into_iter().find(|(_, bits)| value >> bits > 0) {
        Some((unit, bits)) => format!("{} {unit}", digits(value as f64 / (1u64 << bits) as f64)),
        None => count(value as usize, "byte"),
    }
}

/// A number of things: `1 operator`, `4 operators`, `0 processes`.
pub fn count(number: usize, thing: &str) -> String {
    let plural = match number {
        1 => "",
        _ if thing.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number} {thing}{plural}")
}

fn scaled(value: f64, unit: &str) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value} {unit}");
    }
    // Rounded before the prefix is chosen: 999.7 µs are 1.00 ms.
    let step = 10f64.powi(value.abs().log10().floor() as i32 - 2);
    let rounded = (value / step).round() * step;
    let prefixes = [(1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p")];
    let fits = |(scale, _): &(f64, &str)| rounded.abs() >= scale * (1.0 - 1e-9);
    let (scale, prefix) = prefixes.into_iter().find(fits).unwrap_or((1e-12, "p"));
    format!("{} {prefix}{unit}", digits(value / scale))
}

/// Three digits, or all digits before the point.
fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 99.95 => format!("{value:.0}"),
        middle if middle >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_prefix() {
        for (value, text) in [
            (1.234e-5, "12.3 µs"),
            (0.5, "500 ms"),
            (9.996e-4, "1.00 ms"),
            (9.994e-4, "999 µs"),
            (99.97e-6, "100 µs"),
            (2.0, "2.00 s"),
            (1234.6, "1235 s"),
            (-3e-9, "-3.00 ns"),
            (1e-12, "1.00 ps"),
            (0.0, "0 s"),
        ] {
            assert_eq!(seconds(value), text);
        }
    }

    #[test]
    fn an_interval_that_is_not_known_is_not_shown_as_none() {
        let energy = |interval| Estimate {
            mean: 0.119_068_677,
            interval,
        };
        assert_eq!(measured(energy(0.0), joules), "119 mJ");
        assert_eq!(measured(energy(2e-5), joules), "119 mJ ± 20.0 µJ");
    }

    #[test]
    fn things_are_counted_in_english() {
        let counts = [
            count(0, "file"),
            count(1, "file"),
            count(2, "file"),
            count(2, "process"),
        ];
        assert_eq!(counts, ["0 files", "1 file", "2 files", "2 processes"]);
        assert_eq!(
            [bytes(1), bytes(1023), bytes(1024), bytes(3 << 29)],
            ["1 byte", "1023 bytes", "1.00 KiB", "1.50 GiB"]
        );
        assert_eq!(percent(0.1234), "12.34 %");
    }
}
