//! The error function and gelu: the tail of the normal distribution.

use super::exponential::{Scaled, scaled_exp};
use super::real::Real;
use crate::ptx::{Compare, Opcode, Operand};
use std::f64::consts::SQRT_2;

/// An odd polynomial below 1, else 1 − erfc(|x|).
pub fn erf(r: &mut Real, x: Operand) -> Operand {
    let magnitude = r.abs(x);
    let square = r.mul(x, x);
    let coefficients: &[f64] = if r.wide() { &ERF_64 } else { &ERF_32 };
    let tail = r.polynomial(square, coefficients);
    let near = r.fma(magnitude, tail, magnitude);
    let one = r.constant(1.0);
    let far = if r.wide() {
        // Beyond, erf is 1.
        let magnitude = r.at_most(magnitude, 6.0);
        let root = r.constant(SQRT_2);
        let deviations = r.mul(magnitude, root);
        let (factor, reciprocal) = tail_factor_64(r, deviations);
        let power = minus_square_power(r, magnitude, 1.0);
        let tail = r.mul(factor, reciprocal);
        let tail = r.mul(tail, power.mantissa);
        let tail = power.apply(r, tail);
        r.fma_by(tail, -2.0, one)
    } else {
        let magnitude = r.at_most(magnitude, 4.0);
        let logarithm = r.polynomial(magnitude, &LOG2_ERFC_32);
        let tail = r.b.op(Opcode::Ex2F32, &[logarithm]);
        r.sub(one, tail.into())
    };
    let is_near = r.is(magnitude, Compare::Lt, 1.0);
    let result = r.select(is_near, near, far);
    r.with_sign(result, x)
}

/// x Φ(x) = max(x, 0) − |x| Φ(−|x|), whose second part keeps its precision until it underflows. At −∞ the limit −0.
pub fn gelu(r: &mut Real, x: Operand) -> Operand {
    let magnitude = r.abs(x);
    let tail = if r.wide() {
        weighted_tail_64(r, magnitude)
    } else {
        weighted_tail_32(r, magnitude)
    };
    let positive = r.is(x, Compare::Ge, 0.0);
    let zero = r.constant(-0.0);
    let upper = r.select(positive, x, zero);
    let far = r.sub(upper, tail);
    if r.wide() {
        return far;
    }
    // The error of the approximate instructions is kept from where values are most frequent.
    let square = r.mul(x, x);
    let slope = r.polynomial(square, &PHI_32);
    let half = r.constant(0.5);
    let phi = r.fma(x, slope, half);
    let near = r.mul(x, phi);
    let is_near = r.is(magnitude, Compare::Lt, 1.0);
    r.select(is_near, near, far)
}

/// a Φ(−a) for a ≥ 1, by a polynomial of (a − 4) / (a + 4).
fn weighted_tail_32(r: &mut Real, a: Operand) -> Operand {
    // Beyond, the tail is 0.
    let a = r.at_most(a, 14.5);
    let (four, minus_four) = (r.constant(4.0), r.constant(-4.0));
    let denominator = r.add(a, four);
    let reciprocal = r.reciprocal(denominator);
    let numerator = r.add(a, minus_four);
    let position = r.mul(numerator, reciprocal);
    let factor = r.polynomial(position, &TAIL_32);
    let power = minus_square_power(r, a, 0.5);
    let tail = r.mul(factor, power.mantissa);
    power.apply(r, tail)
}

/// a Φ(−a) for a ≥ 0.
fn weighted_tail_64(r: &mut Real, a: Operand) -> Operand {
    // Beyond, the tail is 0.
    let a = r.at_most(a, 39.5);
    let (factor, reciprocal) = tail_factor_64(r, a);
    let power = minus_square_power(r, a, 0.5);
    let tail = r.mul(a, reciprocal);
    let tail = r.mul(tail, factor);
    let tail = r.mul(tail, power.mantissa);
    power.apply(r, tail)
}

/// Φ(−a) = e^(−a²/2) · G · R with R = 1 / (a + 4): gives G, a polynomial of (a − 4) / (a + 4), and R.
fn tail_factor_64(r: &mut Real, a: Operand) -> (Operand, Operand) {
    let (four, minus_four) = (r.constant(4.0), r.constant(-4.0));
    let denominator = r.add(a, four);
    let reciprocal = r.reciprocal(denominator);
    let numerator = r.add(a, minus_four);
    let quotient = r.mul(numerator, reciprocal);
    // The polynomial is steep in it: the quotient corrected by what it leaves.
    let minus = r.neg(quotient);
    let rest = r.fma(minus, denominator, numerator);
    let position = r.fma(rest, reciprocal, quotient);
    (r.polynomial(position, &TAIL_64), reciprocal)
}

/// e^(−factor · a²), where the factor is a power of two: what the square's rounding left goes into the exponent too.
fn minus_square_power(r: &mut Real, a: Operand, factor: f64) -> Scaled {
    let factor = r.constant(-factor);
    let scaled = r.mul(a, factor);
    let square = r.mul(a, scaled);
    let minus = r.neg(square);
    let low = r.fma(a, scaled, minus);
    scaled_exp(r, square, Some(low))
}

// The polynomials' coefficients, lowest first: `tools/fit_math.py`.

/// erf √z / √z − 1
const ERF_32: [f64; 7] = [
    0.12837916584835093,
    -0.37612626666720334,
    0.11283594715160218,
    -0.026854212010626412,
    0.005189087423433974,
    -0.000801686428716587,
    7.875875062685488e-05,
];

/// erf √z / √z − 1
const ERF_64: [f64; 13] = [
    0.1283791670955126,
    -0.3761263890318375,
    0.11283791670954879,
    -0.026866170645076792,
    0.0052239776248180145,
    -0.000854832698083379,
    0.0001205533111164271,
    -1.4925595266831182e-05,
    1.6461000484121368e-06,
    -1.6350312701054695e-07,
    1.4659775274047436e-08,
    -1.1372848856791674e-09,
    5.957176147748911e-11,
];

/// log₂ erfc a, for 1 ≤ a ≤ 4
const LOG2_ERFC_32: [f64; 8] = [
    -0.0011049569285976556,
    -1.6243211888989755,
    -0.9220859228344355,
    -0.14900315617653978,
    0.03261179280825728,
    -0.004951836315524627,
    0.00045724347062246887,
    -1.9147970565957923e-05,
];

/// (Φ(√z) − ½) / √z, below z = 1
const PHI_32: [f64; 6] = [
    0.3989422801308406,
    -0.0664903605671869,
    0.00997332848125617,
    -0.0011863439888019887,
    0.00011350229619286141,
    -7.66053817138209e-06,
];

/// a e^(a²/2) Φ(−a) of (a − 4) / (a + 4), for 1 ≤ a ≤ 14.5
const TAIL_32: [f64; 9] = [
    0.37764256537659624,
    0.07369425521694284,
    -0.11037959187607616,
    0.10030727098848531,
    -0.0630641975845756,
    0.026434353783374134,
    -0.005491472712148488,
    -0.0009530806201203337,
    0.0008031526359243318,
];

/// (a + 4) e^(a²/2) Φ(−a) of (a − 4) / (a + 4), for a ≤ 39.5
const TAIL_64: [f64; 23] = [
    0.7552851304157515,
    -0.6078966419718917,
    0.3871374007422191,
    -0.1865218579596938,
    0.06039657489068796,
    -0.007540188965608264,
    -0.0034796923620208924,
    0.0016308184421763136,
    0.0001333442518716509,
    -0.00023109482118101652,
    -1.9078547665539693e-06,
    3.514419791394192e-05,
    7.149674034716206e-07,
    -5.918952885516133e-06,
    -6.250594640608763e-07,
    1.019938768118178e-06,
    2.6361014617832634e-07,
    -1.5444329754008877e-07,
    -7.636221205575767e-08,
    1.4712485024685244e-08,
    1.395008368052857e-08,
    3.0469175279772776e-11,
    -9.824453179690978e-10,
];
