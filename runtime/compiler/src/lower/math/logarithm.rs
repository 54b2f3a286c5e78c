//! The natural logarithm and the power xʸ, which is made of it.

use super::exponential::{nearest_64, power_of_two_64, scaled_exp};
use super::real::Real;
use crate::element::Type;
use crate::ptx::{Builder, Compare, Opcode, Operand, Reg};
use std::f64::consts::LN_2;

/// ln x
pub fn ln(r: &mut Real, x: Operand) -> Operand {
    let (result, positive) = if r.wide() { ln_64(r, x) } else { ln_32(r, x) };
    // 0 and below, +∞, NaN.
    let (infinity, nan) = (r.constant(f64::NEG_INFINITY), r.constant(f64::NAN));
    let zero = r.is(x, Compare::Eq, 0.0);
    let of_rest = r.select(zero, infinity, nan);
    let large = r.is(x, Compare::Gt, 0.0);
    let special = r.select(large, x, of_rest);
    r.select(positive, result, special)
}

/// n ln 2 + ln(1 + f) with √½ ≤ 1 + f < √2: a polynomial. Also whether x is positive and finite.
fn ln_32(r: &mut Real, x: Operand) -> (Operand, Reg) {
    const SQRT_HALF: i64 = 0x3f35_04f3;
    let subnormal = r.is(x, Compare::Lt, f64::from(f32::MIN_POSITIVE));
    let scale = r.constant(8_388_608.0);
    let larger = r.mul(x, scale);
    let (shift, none) = (r.constant(-23.0), r.constant(0.0));
    let normal = r.select(subnormal, larger, x);
    let shift = r.select(subnormal, shift, none);

    let bits = r.b.op(Opcode::BitsF32, &[normal]);
    let above = r.b.op(Opcode::SubS32, &[bits.into(), SQRT_HALF.into()]);
    let exponent = r.b.op(Opcode::AndB32, &[above.into(), (-0x80_0000).into()]);
    let mantissa = r.b.op(Opcode::SubS32, &[bits.into(), exponent.into()]);
    let mantissa = r.b.op(Opcode::F32Bits, &[mantissa.into()]);
    let exponent = r.b.op(Opcode::ShrS32, &[exponent.into(), 23.into()]);
    let exponent = r.b.op(Opcode::CvtF32S32, &[exponent.into()]);
    let exponent = r.add(exponent.into(), shift);

    let minus_one = r.constant(-1.0);
    let f = r.add(mantissa.into(), minus_one);
    let tail = r.polynomial(f, &LN_32);
    let minus_half = r.constant(-0.5);
    let tail = r.fma(f, tail, minus_half);
    let square = r.mul(f, f);
    let ln = r.fma(square, tail, f);
    (r.fma_by(exponent, LN_2, ln), is_positive_finite(r, x))
}

/// n ln 2 + ln(1 + f) with √½ ≤ 1 + f < √2, by s = f / (2 + f): ln(1 + f) = 2 s + s R(s²) = f − s (f − R(s²)).
fn ln_64(r: &mut Real, x: Operand) -> (Operand, Reg) {
    let (exponent, mantissa) = split_64(r, x);
    let (one, two) = (r.constant(1.0), r.constant(2.0));
    let f = r.sub(mantissa, one);
    let denominator = r.add(f, two);
    let s: Operand = r.b.op(Opcode::DivF64, &[f, denominator]).into();
    let square = r.mul(s, s);
    let tail = r.polynomial(square, &LN_64);
    let tail = r.mul(square, tail);
    let inner = r.sub(f, tail);
    let low = r.constant(-LN_2_REST);
    let low = r.mul(exponent, low);
    let correction = r.fma(s, inner, low);
    let ln = r.sub(f, correction);
    (r.fma_by(exponent, LN_2_SHORT, ln), is_positive_finite(r, x))
}

fn is_positive_finite(r: &mut Real, x: Operand) -> Reg {
    let positive = r.is(x, Compare::Gt, 0.0);
    let finite = r.is(x, Compare::Lt, f64::INFINITY);
    r.b.op(Opcode::AndPred, &[positive.into(), finite.into()])
}

/// A positive finite binary64 as exponent and mantissa: 2ⁿ m with √½ ≤ m < √2.
fn split_64(r: &mut Real, x: Operand) -> (Operand, Operand) {
    const SQRT_HALF: i64 = 0x3fe6_a09e_667f_3bcd;
    let subnormal = r.is(x, Compare::Lt, f64::MIN_POSITIVE);
    let scale = r.constant(9_007_199_254_740_992.0);
    let larger = r.mul(x, scale);
    let (shift, none) = (r.constant(-53.0), r.constant(0.0));
    let normal = r.select(subnormal, larger, x);
    let shift = r.select(subnormal, shift, none);
    let bits = r.b.op(Opcode::BitsF64, &[normal]);
    let above = r.b.op(Opcode::SubS64, &[bits.into(), SQRT_HALF.into()]);
    let exponent = r.b.op(Opcode::AndB64, &[above.into(), (-1i64 << 52).into()]);
    let mantissa = r.b.op(Opcode::SubS64, &[bits.into(), exponent.into()]);
    let mantissa = r.b.op(Opcode::F64Bits, &[mantissa.into()]);
    let high = r.b.ops(Opcode::HalvesB64, &[exponent.into()])[1];
    let exponent = r.b.op(Opcode::ShrS32, &[high.into(), 20.into()]);
    let exponent = r.b.op(Opcode::CvtF64S32, &[exponent.into()]);
    (r.add(exponent.into(), shift), mantissa.into())
}

/// xʸ, with the special cases of C's `pow`.
pub fn powf(r: &mut Real, x: Operand, y: Operand) -> Operand {
    let magnitude = r.abs(x);
    let power = if r.wide() {
        power_64(r, magnitude, y)
    } else {
        power_32(r, magnitude, y)
    };

    let whole = r.trunc(y);
    let whole = r.compare(Compare::Eq, whole, y);
    let half = r.constant(0.5);
    let half = r.mul(y, half);
    let half_whole = r.trunc(half);
    let odd = r.compare(Compare::Ne, half_whole, half);
    let odd = r.b.op(Opcode::AndPred, &[whole.into(), odd.into()]);
    let signed = r.with_sign(power, x);
    let power = r.select(odd, signed, power);

    // A negative finite number to a power that is not whole.
    let negative = r.is(x, Compare::Lt, 0.0);
    let finite = r.is(magnitude, Compare::Lt, f64::INFINITY);
    let negative = r.b.op(Opcode::AndPred, &[negative.into(), finite.into()]);
    let broken = r.b.op(Opcode::NotPred, &[whole.into()]);
    let undefined = r.b.op(Opcode::AndPred, &[negative.into(), broken.into()]);
    let nan = r.constant(f64::NAN);
    let power = r.select(undefined, nan, power);

    // Even of a NaN: x⁰ and 1ʸ. And (−1) to ±∞.
    let one = r.constant(1.0);
    let no_power = r.is(y, Compare::Eq, 0.0);
    let is_one = r.is(x, Compare::Eq, 1.0);
    let unit = r.is(magnitude, Compare::Eq, 1.0);
    let endless = r.abs(y);
    let endless = r.is(endless, Compare::Eq, f64::INFINITY);
    let unit = r.b.op(Opcode::AndPred, &[unit.into(), endless.into()]);
    let always = r.b.op(Opcode::OrPred, &[no_power.into(), is_one.into()]);
    let always = r.b.op(Opcode::OrPred, &[always.into(), unit.into()]);
    r.select(always, one, power)
}

/// xʸ for x ≥ 0 of binary32, by a binary64 logarithm to 36 bits.
fn power_32(r: &mut Real, x: Operand, y: Operand) -> Operand {
    let wide_x = r.b.op(Opcode::CvtF64F32, &[x]).into();
    let wide_y = r.b.op(Opcode::CvtF64F32, &[y]).into();
    power_of_wide(r.b, wide_x, wide_y)
}

/// xʸ for x ≥ 0, values of binary32 held in binary64; y may be any binary64. The result is a binary32.
pub fn power_of_wide(b: &mut Builder, x: Operand, y: Operand) -> Operand {
    let r = &mut Real::new(b, Type::F64);
    let (exponent, mantissa) = split_64(r, x);
    let (one, minus_one) = (r.constant(1.0), r.constant(-1.0));
    let f = r.add(mantissa, minus_one);
    let denominator = r.add(mantissa, one);
    // A reciprocal of 23 bits and one step of Newton's: 45 bits.
    let narrow = r.b.op(Opcode::CvtF32F64, &[denominator]);
    let narrow = r.b.op(Opcode::RcpApproxF32, &[narrow.into()]);
    let guess: Operand = r.b.op(Opcode::CvtF64F32, &[narrow.into()]).into();
    let minus = r.neg(denominator);
    let miss = r.fma(minus, guess, one);
    let reciprocal = r.fma(guess, miss, guess);
    let s = r.mul(f, reciprocal);
    let square = r.mul(s, s);
    let tail = r.polynomial(square, &LOG_32);
    let first = r.constant(2.0 / LN_2);
    let tail = r.fma(square, tail, first);
    let logarithm = r.fma(s, tail, exponent);
    let logarithm = with_limits(r, x, logarithm);

    let product = r.mul(y, logarithm);
    let product = r.at_least(product, -400.0);
    let product = r.at_most(product, 400.0);
    let (n, integer) = nearest_64(r, product, 1.0);
    let rest = r.sub(product, n);
    let rest = r.b.op(Opcode::CvtF32F64, &[rest]);
    let power = r.b.op(Opcode::Ex2F32, &[rest.into()]);
    let power = r.b.op(Opcode::CvtF64F32, &[power.into()]);
    let scale = power_of_two_64(r, integer);
    let power = r.mul(power.into(), scale);
    r.b.op(Opcode::CvtF32F64, &[power]).into()
}

/// The logarithm of 0, +∞ and NaN where x is one of them.
fn with_limits(r: &mut Real, x: Operand, logarithm: Operand) -> Operand {
    let regular = is_positive_finite(r, x);
    let zero = r.is(x, Compare::Eq, 0.0);
    let infinity = r.constant(f64::NEG_INFINITY);
    let special = r.select(zero, infinity, x);
    r.select(regular, logarithm, special)
}

/// xʸ for x ≥ 0 of binary64. The logarithm is a sum of two numbers, good to 65 bits: an exponent of 745 leaves 55 of them.
///
/// ln m = 2 s + ⅔ s³ + s⁵ R(s²) with s = (m − 1) / (m + 1); s, s² and ⅔ s³ are sums of two numbers.
fn power_64(r: &mut Real, x: Operand, y: Operand) -> Operand {
    let (exponent, mantissa) = split_64(r, x);
    let (one, minus_one) = (r.constant(1.0), r.constant(-1.0));
    let f = r.add(mantissa, minus_one);
    let denominator = r.add(mantissa, one);
    let rounded = r.sub(denominator, one);
    let denominator_low = r.sub(mantissa, rounded);
    let reciprocal = r.reciprocal(denominator);
    let s = r.mul(f, reciprocal);
    let minus_s = r.neg(s);
    let rest = r.fma(minus_s, denominator, f);
    let rest = r.fma(minus_s, denominator_low, rest);
    let s_low = r.mul(rest, reciprocal);

    let (square, square_low) = product(r, s, s);
    let twice = r.add(s, s);
    let square_low = r.fma(twice, s_low, square_low);
    let (cube, cube_low) = product(r, s, square);
    let cube_low = r.fma(s, square_low, cube_low);
    let cube_low = r.fma(s_low, square, cube_low);
    let two_thirds = r.constant(2.0 / 3.0);
    let (third, third_low) = product(r, cube, two_thirds);
    let third_low = r.fma_by(cube, TWO_THIRDS_LOW, third_low);
    let third_low = r.fma(cube_low, two_thirds, third_low);

    let tail = r.polynomial(square, &POW_64);
    let fifth = r.mul(cube, square);
    let low = r.fma(fifth, tail, third_low);
    let low = r.fma_by(exponent, LN_2_REST, low);
    let low = r.fma_by(s_low, 2.0, low);
    let high = r.constant(LN_2_SHORT);
    let high = r.mul(exponent, high);
    let (high, low_1) = sum(r, high, twice);
    let (high, low_2) = sum(r, high, third);
    let low_12 = r.add(low_1, low_2);
    let low = r.add(low, low_12);
    let (high, low) = sum(r, high, low);
    let high = with_limits(r, x, high);

    let exponent = r.mul(y, high);
    let minus = r.neg(exponent);
    let exponent_low = r.fma(y, high, minus);
    let exponent_low = r.fma(y, low, exponent_low);
    // Where the power is 0 or ∞ the second part is of no use, and may be NaN.
    let size = r.abs(exponent);
    let useful = r.is(size, Compare::Lt, 1000.0);
    let zero = r.constant(0.0);
    let exponent_low = r.select(useful, exponent_low, zero);
    scaled_exp(r, exponent, Some(exponent_low)).value(r)
}

/// A product and what its rounding left.
fn product(r: &mut Real, x: Operand, y: Operand) -> (Operand, Operand) {
    let high = r.mul(x, y);
    let minus = r.neg(high);
    (high, r.fma(x, y, minus))
}

/// A sum and what its rounding left, where the first is the larger or 0.
fn sum(r: &mut Real, x: Operand, y: Operand) -> (Operand, Operand) {
    let high = r.add(x, y);
    let taken = r.sub(high, x);
    (high, r.sub(y, taken))
}

/// ln 2 to 42 bits, so that its product with an exponent is exact, and the rest.
const LN_2_SHORT: f64 = 0.6931471805598903;
const LN_2_REST: f64 = 5.497923018708371e-14;

/// ⅔ less its nearest binary64.
const TWO_THIRDS_LOW: f64 = 3.700743415417188e-17;

// The polynomials' coefficients, lowest first: `tools/fit_math.py`.

/// (ln(1 + f) − f + f²/2) / f³
const LN_32: [f64; 9] = [
    0.33333331180030046,
    -0.24999996957950882,
    0.200007157488921,
    -0.16667802319501254,
    0.1424905764569748,
    -0.12425687331451106,
    0.1168541992348674,
    -0.11479733846637635,
    0.06971611471451178,
];

/// (ln((1 + s) / (1 − s)) / s − 2) / z of z = s²
const LN_64: [f64; 7] = [
    0.666666666666667,
    0.3999999999989945,
    0.28571428626001427,
    0.22222211130560726,
    0.18182889433757515,
    0.15331711346672997,
    0.14616576421644387,
];

/// (log₂((1 + s) / (1 − s)) / s − 2 / ln 2) / z of z = s²
const LOG_32: [f64; 4] = [
    0.9617966923070985,
    0.5770797746330492,
    0.41190121925204687,
    0.3365890388564415,
];

/// (ln((1 + s) / (1 − s)) / s − 2 − ⅔ z) / z² of z = s²
const POW_64: [f64; 8] = [
    0.4,
    0.28571428571429364,
    0.22222222221655907,
    0.181818183353876,
    0.15384594963074136,
    0.13334804663624336,
    0.11706237148816372,
    0.11723170160799075,
];
