//! Floating-point arithmetic by integers: unpacks, computes exactly or with a sticky bit, and rounds once.
//!
//! It is slower than the host's own arithmetic, and correct for every format and rounding.

/// A binary floating-point format with an implicit leading bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// The bits of the significand, with the implicit leading bit.
    pub precision: u32,
    /// The bits of the exponent.
    pub exponent: u32,
    /// `true` if the largest exponent is reserved for infinities and NaN; `false` if only all ones are NaN.
    pub has_infinity: bool,
}

impl Format {
    pub const F16: Format = Format {
        precision: 11,
        exponent: 5,
        has_infinity: true,
    };
    pub const BF16: Format = Format {
        precision: 8,
        exponent: 8,
        has_infinity: true,
    };
    pub const TF32: Format = Format {
        precision: 11,
        exponent: 8,
        has_infinity: true,
    };
    pub const F32: Format = Format {
        precision: 24,
        exponent: 8,
        has_infinity: true,
    };
    pub const F64: Format = Format {
        precision: 53,
        exponent: 11,
        has_infinity: true,
    };

    /// The 8-bit floats of the Open Compute Project.
    pub const E4M3: Format = Format {
        precision: 4,
        exponent: 4,
        has_infinity: false,
    };
    pub const E5M2: Format = Format {
        precision: 3,
        exponent: 5,
        has_infinity: true,
    };

    /// The bits of a number.
    pub fn bits(self) -> u32 {
        self.precision + self.exponent
    }

    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << (self.precision - 1)
    }

    fn sign(self) -> u64 {
        1 << (self.precision - 1 + self.exponent)
    }

    /// The NaN that a GPU produces in this format.
    pub fn nan(self) -> u64 {
        match self {
            Format::F64 => 0xfff8_0000_0000_0000,
            _ => self.sign() - 1,
        }
    }

    /// The largest finite number.
    pub fn largest(self) -> u64 {
        match self.has_infinity {
            true => self.infinity() - 1,
            false => self.nan() - 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
    /// Nearest, ties away from zero.
    Away,
}

#[derive(Clone, Copy, PartialEq)]
enum Unpacked {
    Nan,
    Infinity(bool),
    Zero(bool),
    /// (−1)^sign × significand × 2^exponent, significand ≠ 0.
    Finite {
        sign: bool,
        significand: u64,
        exponent: i32,
    },
}

fn unpack(format: Format, bits: u64) -> Unpacked {
    let sign = bits & format.sign() != 0;
    let fraction_bits = format.precision - 1;
    let fraction = bits & ((1 << fraction_bits) - 1);
    let exponent = ((bits & (format.sign() - 1)) >> fraction_bits) as i32;
    if !format.has_infinity && bits & (format.sign() - 1) == format.nan() {
        return Unpacked::Nan;
    }
    if format.has_infinity && exponent == (1 << format.exponent) - 1 {
        return if fraction == 0 {
            Unpacked::Infinity(sign)
        } else {
            Unpacked::Nan
        };
    }
    let lowest = 1 - format.bias() - fraction_bits as i32;
    match (exponent, fraction) {
        (0, 0) => Unpacked::Zero(sign),
        (0, _) => Unpacked::Finite {
            sign,
            significand: fraction,
            exponent: lowest,
        },
        _ => Unpacked::Finite {
            sign,
            significand: fraction | 1 << fraction_bits,
            exponent: lowest + exponent - 1,
        },
    }
}

fn signed_zero(format: Format, sign: bool) -> u64 {
    if sign { format.sign() } else { 0 }
}

fn signed_infinity(format: Format, sign: bool) -> u64 {
    match format.has_infinity {
        true => format.infinity() | signed_zero(format, sign),
        false => format.nan(),
    }
}

/// Rounds (−1)^sign × (significand + s) × 2^exponent, where s is 0, or in (0, 1) if `sticky` is set.
fn round(format: Format, rounding: Rounding, sign: bool, significand: u128, exponent: i32, sticky: bool) -> u64 {
    if significand == 0 {
        return signed_zero(format, sign);
    }
    let length = 128 - significand.leading_zeros() as i32;
    let lowest = 1 - format.bias() - (format.precision as i32 - 1);
    // The exponent of the result's last bit.
    let last = (exponent + length - format.precision as i32).max(lowest);
    let shift = last - exponent;
    let (mut kept, remainder) = if shift <= 0 {
        // Widening is exact unless `sticky` is set.
        (significand << (-shift).min(127), if sticky { 1 } else { 0 })
    } else if shift > 127 {
        (0, 1)
    } else {
        let half = 1u128 << (shift - 1);
        let rest = significand & ((half << 1) - 1);
        // The part cut off: 0 nothing, 1 below half, 2 half, 3 above half.
        let remainder = match rest.cmp(&half) {
            std::cmp::Ordering::Less => u32::from(rest != 0 || sticky),
            std::cmp::Ordering::Equal => 2 + u32::from(sticky),
            std::cmp::Ordering::Greater => 3,
        };
        (significand >> shift, remainder)
    };
    let up = match rounding {
        Rounding::Nearest => remainder == 3 || (remainder == 2 && kept & 1 == 1),
        Rounding::Away => remainder >= 2,
        Rounding::Zero => false,
        Rounding::Down => sign && remainder != 0,
        Rounding::Up => !sign && remainder != 0,
    };
    kept += u128::from(up);
    let mut last = last;
    if kept >> format.precision != 0 {
        kept >>= 1;
        last += 1;
    }
    let fraction_bits = format.precision - 1;
    let biased = if kept >> fraction_bits == 0 {
        0
    } else {
        last - lowest + 1
    };
    let fraction = kept as u64 & ((1 << fraction_bits) - 1);
    let magnitude = (biased as u64) << fraction_bits | fraction;
    if magnitude > format.largest() {
        let to_infinity = match rounding {
            Rounding::Nearest | Rounding::Away => true,
            Rounding::Zero => false,
            Rounding::Down => sign,
            Rounding::Up => !sign,
        };
        return match to_infinity {
            true => signed_infinity(format, sign),
            false => format.largest() | signed_zero(format, sign),
        };
    }
    magnitude | signed_zero(format, sign)
}

/// Converts between formats.
pub(crate) fn convert(from: Format, bits: u64, to: Format, rounding: Rounding) -> u64 {
    match unpack(from, bits) {
        Unpacked::Nan => to.nan(),
        Unpacked::Infinity(sign) => signed_infinity(to, sign),
        Unpacked::Zero(sign) => signed_zero(to, sign),
        Unpacked::Finite {
            sign,
            significand,
            exponent,
        } => round(to, rounding, sign, u128::from(significand), exponent, false),
    }
}

/// Converts an integer to a float.
pub(crate) fn from_integer(value: i128, to: Format, rounding: Rounding) -> u64 {
    round(to, rounding, value < 0, value.unsigned_abs(), 0, false)
}

/// a × b + c with one rounding.
pub(crate) fn multiply_add(format: Format, a: u64, b: u64, c: u64, rounding: Rounding) -> u64 {
    use Unpacked::*;
    let (a, b, c) = (unpack(format, a), unpack(format, b), unpack(format, c));
    let sign_of = |x: &Unpacked| match *x {
        Infinity(sign) | Zero(sign) | Finite { sign, .. } => sign,
        Nan => false,
    };
    let sign = sign_of(&a) ^ sign_of(&b);
    match (a, b, c) {
        (Nan, ..) | (_, Nan, _) | (_, _, Nan) => format.nan(),
        (Infinity(_), Zero(_), _) | (Zero(_), Infinity(_), _) => format.nan(),
        (Infinity(_), ..) | (_, Infinity(_), _) => match c {
            Infinity(other) if other != sign => format.nan(),
            _ => signed_infinity(format, sign),
        },
        (_, _, Infinity(other)) => signed_infinity(format, other),
        (Zero(_), ..) | (_, Zero(_), _) => match c {
            Zero(other) => signed_zero(
                format,
                if sign == other {
                    sign
                } else {
                    rounding == Rounding::Down
                },
            ),
            Finite {
                sign,
                significand,
                exponent,
            } => round(format, rounding, sign, u128::from(significand), exponent, false),
            _ => format.nan(),
        },
        (
            Finite {
                significand: x,
                exponent: ex,
                ..
            },
            Finite {
                significand: y,
                exponent: ey,
                ..
            },
            c,
        ) => {
            let product = u128::from(x) * u128::from(y);
            match c {
                Finite {
                    sign: other,
                    significand,
                    exponent,
                } => sum(
                    format,
                    rounding,
                    (sign, product, ex + ey),
                    (other, u128::from(significand), exponent),
                ),
                _ => round(format, rounding, sign, product, ex + ey, false),
            }
        }
    }
}

/// Adds two non-zero numbers, each (sign, significand, exponent).
fn sum(format: Format, rounding: Rounding, a: (bool, u128, i32), b: (bool, u128, i32)) -> u64 {
    // Normalise both to have their leading bit at bit 125, then align the smaller one to the larger one. It loses bits
    // only if the shift exceeds its trailing zeros (at least 19). Cancellation cannot reach those bits, so a sticky bit
    // suffices.
    let normalise = |(sign, significand, exponent): (bool, u128, i32)| {
        let shift = significand.leading_zeros() as i32 - 2;
        (sign, significand << shift, exponent - shift)
    };
    let (mut large, mut small) = (normalise(a), normalise(b));
    if (small.2, small.1) > (large.2, large.1) {
        std::mem::swap(&mut large, &mut small);
    }
    let shift = (large.2 - small.2) as u32;
    let (aligned, lost) = if shift > 125 {
        (0, true)
    } else {
        (small.1 >> shift, small.1 & ((1u128 << shift) - 1) != 0)
    };
    if large.0 == small.0 {
        return round(format, rounding, large.0, large.1 + aligned, large.2, lost);
    }
    // large − (aligned + lost) = (large − aligned − 1) + (1 − lost)
    let difference = large.1 - aligned - u128::from(lost);
    if difference == 0 && !lost {
        return signed_zero(format, rounding == Rounding::Down);
    }
    round(format, rounding, large.0, difference, large.2, lost)
}

pub(crate) fn add(format: Format, a: u64, b: u64, rounding: Rounding) -> u64 {
    let one = (format.bias() as u64) << (format.precision - 1);
    multiply_add(format, a, one, b, rounding)
}

pub(crate) fn multiply(format: Format, a: u64, b: u64, rounding: Rounding) -> u64 {
    // Adding a zero of the product's sign changes nothing.
    let sign = (a ^ b) & format.sign();
    multiply_add(format, a, b, sign, rounding)
}

pub(crate) fn divide(format: Format, a: u64, b: u64, rounding: Rounding) -> u64 {
    use Unpacked::*;
    let sign = (a ^ b) & format.sign() != 0;
    match (unpack(format, a), unpack(format, b)) {
        (Nan, _) | (_, Nan) | (Infinity(_), Infinity(_)) | (Zero(_), Zero(_)) => format.nan(),
        (Infinity(_), _) | (_, Zero(_)) => signed_infinity(format, sign),
        (_, Infinity(_)) | (Zero(_), _) => signed_zero(format, sign),
        (
            Finite {
                significand: x,
                exponent: ex,
                ..
            },
            Finite {
                significand: y,
                exponent: ey,
                ..
            },
        ) => {
            let shift = u128::from(x).leading_zeros() as i32 - 1;
            let numerator = u128::from(x) << shift;
            let quotient = numerator / u128::from(y);
            round(
                format,
                rounding,
                sign,
                quotient,
                ex - shift - ey,
                !numerator.is_multiple_of(u128::from(y)),
            )
        }
    }
}

pub(crate) fn square_root(format: Format, a: u64, rounding: Rounding) -> u64 {
    match unpack(format, a) {
        Unpacked::Nan | Unpacked::Infinity(true) | Unpacked::Finite { sign: true, .. } => format.nan(),
        Unpacked::Infinity(false) => format.infinity(),
        Unpacked::Zero(sign) => signed_zero(format, sign),
        Unpacked::Finite {
            significand, exponent, ..
        } => {
            let mut shift = u128::from(significand).leading_zeros() as i32 - 2;
            shift -= (exponent - shift) & 1;
            let radicand = u128::from(significand) << shift;
            let root = radicand.isqrt();
            round(
                format,
                rounding,
                false,
                root,
                (exponent - shift) / 2,
                root * root != radicand,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns() -> impl Iterator<Item = u64> {
        let mut state = 7u64;
        (0..60_000).map(move |index| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            match index % 8 {
                0 => [
                    0,
                    1 << 63,
                    1,
                    0x7ff0 << 48,
                    0xfff0 << 48,
                    0x7fef_ffff_ffff_ffff,
                    0x3ff0 << 48,
                    0x000f_ffff_ffff_ffff,
                ][(state >> 60) as usize & 7],
                // Exponents near one another, so that additions cancel and align.
                1..=4 => (state & 0x800f_ffff_ffff_ffff) | (0x3fc0 + (state >> 20 & 0x7f) * 0x10 / 0x10) << 48,
                _ => state ^ state >> 31,
            }
        })
    }

    #[test]
    fn nearest_agrees_with_the_host_in_f64() {
        let values: Vec<u64> = patterns().collect();
        for window in values.windows(3) {
            let (a, b, c) = (
                f64::from_bits(window[0]),
                f64::from_bits(window[1]),
                f64::from_bits(window[2]),
            );
            let check = |name: &str, ours: u64, host: f64| {
                let same = ours == host.to_bits() || (host.is_nan() && f64::from_bits(ours).is_nan());
                assert!(
                    same,
                    "{name} of {a:e} {b:e} {c:e}: {:e} against {host:e}",
                    f64::from_bits(ours)
                );
            };
            let n = Rounding::Nearest;
            check("sum", add(Format::F64, window[0], window[1], n), a + b);
            check("product", multiply(Format::F64, window[0], window[1], n), a * b);
            check(
                "fma",
                multiply_add(Format::F64, window[0], window[1], window[2], n),
                a.mul_add(b, c),
            );
            check("quotient", divide(Format::F64, window[0], window[1], n), a / b);
            check("root", square_root(Format::F64, window[0], n), a.sqrt());
            let narrow = convert(Format::F64, window[0], Format::F32, n) as u32;
            assert!(narrow == (a as f32).to_bits() || a.is_nan());
        }
    }

    #[test]
    fn directed_roundings_bracket_the_exact_value() {
        let values: Vec<u64> = patterns().map(|bits| bits >> 32).collect();
        for pair in values.windows(2) {
            let (a, b) = (f32::from_bits(pair[0] as u32), f32::from_bits(pair[1] as u32));
            // The product of two f32 is exact in f64.
            let exact = f64::from(a) * f64::from(b);
            if !exact.is_finite() {
                continue;
            }
            let value = |rounding| f64::from(f32::from_bits(multiply(Format::F32, pair[0], pair[1], rounding) as u32));
            let (down, up, zero) = (value(Rounding::Down), value(Rounding::Up), value(Rounding::Zero));
            assert!(down <= exact && exact <= up, "{a:e} × {b:e}: {down:e} {exact:e} {up:e}");
            assert_eq!(zero, if exact < 0.0 { up } else { down });
            if down != up && down.is_finite() && up.is_finite() {
                assert_eq!(
                    (up as f32).to_bits(),
                    if down == 0.0 && up > 0.0 {
                        1
                    } else {
                        (down as f32).next_up().to_bits()
                    }
                );
            }
        }
    }

    #[test]
    fn integers_round_like_casts() {
        for value in [
            0i64,
            1,
            -1,
            i64::MAX,
            i64::MIN,
            (1 << 53) + 1,
            (1 << 24) + 1,
            -(1 << 24) - 3,
            123_456_789_012_345,
        ] {
            assert_eq!(
                from_integer(i128::from(value), Format::F64, Rounding::Nearest),
                (value as f64).to_bits()
            );
            assert_eq!(
                from_integer(i128::from(value), Format::F32, Rounding::Nearest) as u32,
                (value as f32).to_bits()
            );
        }
    }
}
