//! eˣ and what is made of it: sigmoid, silu, tanh.

use super::real::Real;
use crate::ptx::{Compare, Opcode, Operand};
use std::f64::consts::{LN_2, LOG2_E};

/// A value `mantissa · Π scales`, where the scales are powers of two: what multiplies it should do so before the scales, which may underflow.
pub struct Scaled {
    /// Not subnormal, unless the value is far below the smallest one.
    pub mantissa: Operand,
    scales: Vec<Operand>,
}

impl Scaled {
    /// `x` times the scales.
    pub fn apply(&self, r: &mut Real, x: Operand) -> Operand {
        self.scales.iter().fold(x, |x, &scale| r.mul(x, scale))
    }

    /// The value.
    pub fn value(&self, r: &mut Real) -> Operand {
        self.apply(r, self.mantissa)
    }
}

/// eˣ
pub fn exp(r: &mut Real, x: Operand) -> Operand {
    let power = if r.wide() {
        scaled_exp_64(r, x, None)
    } else {
        scaled_exp_32(r, x, 1.0, None, 126.0)
    };
    power.value(r)
}

/// e to the power `x + low`, where `low` is far below `x`, of binary64; of binary32 for x ≤ 0 only.
pub fn scaled_exp(r: &mut Real, x: Operand, low: Option<Operand>) -> Scaled {
    if r.wide() {
        return scaled_exp_64(r, x, low);
    }
    scaled_exp_below_one(r, x, 1.0, low)
}

/// e to the power `sign · x + low`, which is at most 0, of binary32. Exponents may be below those of normal numbers, for what multiplies the
/// power before the scales.
fn scaled_exp_below_one(r: &mut Real, x: Operand, sign: f64, low: Option<Operand>) -> Scaled {
    let mut power = scaled_exp_32(r, x, sign, low, 160.0);
    let last = r.constant((126.0f64 - 160.0).exp2());
    power.scales.push(last);
    power
}

/// e to the power `sign · x + low` as 2ⁿ · 2ᶠ. The exponent n is held in [−lowest, 252 − lowest] by a saturating multiplication; beyond, f grows and does the
/// rest. The scale is 2ⁿ times 2 to the power `lowest − 126`.
fn scaled_exp_32(r: &mut Real, x: Operand, sign: f64, low: Option<Operand>, lowest: f64) -> Scaled {
    /// Adding it to a number below 2²² rounds that to an integer, in the low bits.
    const ROUNDER: f64 = 12_582_912.0;
    let (scale, start) = (r.constant(sign * LOG2_E / 252.0), r.constant(lowest / 252.0));
    let position: Operand = r.b.op(Opcode::FmaSatF32, &[x, scale, start]).into();
    let rounded = {
        let rounder = r.constant(ROUNDER + 1.0);
        r.fma_by(position, 252.0, rounder)
    };
    // The low bits are n + lowest + 1, the exponent field of the scale.
    let bits = r.b.op(Opcode::BitsF32, &[rounded]);
    let scale = r.b.op(Opcode::ShlB32, &[bits.into(), 23.into()]);
    let scale = r.b.op(Opcode::F32Bits, &[scale.into()]);
    let bias = r.constant(ROUNDER + 1.0 + lowest);
    let minus_n = r.sub(bias, rounded);
    let f = r.fma_by(x, sign * LOG2_E, minus_n);
    let f = r.fma_by(x, sign * (LOG2_E - f64::from(LOG2_E as f32)), f);
    let f = match low {
        Some(low) => r.fma_by(low, LOG2_E, f),
        None => f,
    };
    Scaled {
        mantissa: r.b.op(Opcode::Ex2F32, &[f]).into(),
        scales: vec![scale.into()],
    }
}

/// 2ⁿ · eʳ with |r| ≤ ln 2 / 2, where 2ⁿ is two factors, since n may be beyond the exponents of normal numbers.
fn scaled_exp_64(r: &mut Real, x: Operand, low: Option<Operand>) -> Scaled {
    let x = r.at_least(x, -800.0);
    let x = r.at_most(x, 710.0);
    let (n, integer) = nearest_64(r, x, LOG2_E);
    let rest = r.fma_by(n, -LN_2, x);
    let rest = r.fma_by(n, -LN_2_LOW, rest);
    let rest = match low {
        Some(low) => r.add(rest, low),
        None => rest,
    };
    let square = r.mul(rest, rest);
    let tail = r.polynomial(rest, &EXP_64);
    let beyond_one = r.fma(square, tail, rest);
    let one = r.constant(1.0);
    let half = r.b.op(Opcode::ShrS32, &[integer, 1.into()]);
    let other = r.b.op(Opcode::SubS32, &[integer, half.into()]);
    Scaled {
        mantissa: r.add(one, beyond_one),
        scales: vec![power_of_two_64(r, half.into()), power_of_two_64(r, other.into())],
    }
}

/// The integer nearest to `x · factor`, below 2³¹, as a binary64 and as 32 bits.
pub fn nearest_64(r: &mut Real, x: Operand, factor: f64) -> (Operand, Operand) {
    /// Adding it to a number below 2⁵¹ rounds that to an integer, in the low bits.
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    let rounder = Operand::from(ROUNDER);
    let rounded = r.b.op(Opcode::FmaF64, &[x, factor.into(), rounder]);
    let nearest = r.b.op(Opcode::SubF64, &[rounded.into(), rounder]);
    let halves = r.b.ops(Opcode::HalvesF64, &[rounded.into()]);
    (nearest.into(), halves[0].into())
}

/// 2ⁿ as a binary64, of an exponent of normal numbers.
pub fn power_of_two_64(r: &mut Real, n: Operand) -> Operand {
    let shifted = r.b.op(Opcode::ShlB32, &[n, 20.into()]);
    let high = r.b.op(Opcode::AddS32, &[shifted.into(), (1023i64 << 20).into()]);
    r.b.op(Opcode::F64Halves, &[0.into(), high.into()]).into()
}

/// 1 / (1 + e⁻ˣ), with e⁻|ˣ| so that neither side loses what is small.
pub fn sigmoid(r: &mut Real, x: Operand) -> Operand {
    let (power, negative) = power_of_minus_magnitude(r, x);
    let (power, one) = (power.value(r), r.constant(1.0));
    let numerator = r.select(negative, power, one);
    over_one_plus(r, numerator, power)
}

/// x · sigmoid(x); the limit −0 at −∞.
pub fn silu(r: &mut Real, x: Operand) -> Operand {
    // Beyond, the result is zero.
    let lowest = if r.wide() { -800.0 } else { -120.0 };
    let x = r.at_least(x, lowest);
    let (power, negative) = power_of_minus_magnitude(r, x);
    // The power may be subnormal where its product with x is not: its scale comes last.
    let product = r.mul(x, power.mantissa);
    let numerator = r.select(negative, product, x);
    let value = power.value(r);
    let quotient = over_one_plus(r, numerator, value);
    let scaled = power.apply(r, quotient);
    r.select(negative, scaled, quotient)
}

/// e⁻|ˣ|, and whether x is negative.
fn power_of_minus_magnitude(r: &mut Real, x: Operand) -> (Scaled, crate::ptx::Reg) {
    let negative = r.is(x, Compare::Lt, 0.0);
    let magnitude = r.abs(x);
    let power = if r.wide() {
        let minus = r.neg(magnitude);
        scaled_exp_64(r, minus, None)
    } else {
        scaled_exp_below_one(r, magnitude, -1.0, None)
    };
    (power, negative)
}

/// `numerator / (1 + x)` for 0 ≤ x ≤ 1.
fn over_one_plus(r: &mut Real, numerator: Operand, x: Operand) -> Operand {
    let one = r.constant(1.0);
    let denominator = r.add(x, one);
    if r.wide() {
        return r.b.op(Opcode::DivF64, &[numerator, denominator]).into();
    }
    let reciprocal = r.reciprocal(denominator);
    r.mul(numerator, reciprocal)
}

/// An odd polynomial near 0, else 1 − 2 / (e²ˣ + 1).
pub fn tanh(r: &mut Real, x: Operand) -> Operand {
    let magnitude = r.abs(x);
    let square = r.mul(x, x);
    let coefficients: &[f64] = if r.wide() { &TANH_64 } else { &TANH_32 };
    let tail = r.polynomial(square, coefficients);
    let tail = r.mul(square, tail);
    let near = r.fma(magnitude, tail, magnitude);
    let (one, minus_two) = (r.constant(1.0), r.constant(-2.0));
    let power = if r.wide() {
        // Beyond, tanh is 1; the bound spares the scales.
        let bounded = r.at_most(magnitude, 22.0);
        let twice = r.add(bounded, bounded);
        exp(r, twice)
    } else {
        // The rounding error of the exponent is below the contribution of 2 / (e²ˣ + 1).
        let exponent = r.constant(2.0 * LOG2_E);
        let exponent = r.mul(magnitude, exponent);
        r.b.op(Opcode::Ex2F32, &[exponent]).into()
    };
    let denominator = r.add(power, one);
    let reciprocal = r.reciprocal(denominator);
    let far = r.fma(minus_two, reciprocal, one);
    let is_near = r.is(magnitude, Compare::Lt, 0.6);
    let result = r.select(is_near, near, far);
    r.with_sign(result, x)
}

/// ln 2 less its nearest binary64.
pub const LN_2_LOW: f64 = 2.3190468138462996e-17;

// The polynomials' coefficients, lowest first: `tools/fit_math.py`.

/// (eʳ − 1 − r) / r²
const EXP_64: [f64; 10] = [
    0.5000000000000001,
    0.16666666666666669,
    0.041666666666623824,
    0.008333333333330039,
    0.0013888888917367081,
    0.00019841269863171557,
    2.4801521057868204e-05,
    2.7557268276905696e-06,
    2.7620201591031547e-07,
    2.5100472505694996e-08,
];

/// (tanh √z / √z − 1) / z, below z = 0.36
const TANH_32: [f64; 5] = [
    -0.3333333033273155,
    0.13332915366987452,
    -0.053873948848643334,
    0.02111095904951479,
    -0.00626911971964973,
];

/// (tanh √z / √z − 1) / z, below z = 0.36
const TANH_64: [f64; 11] = [
    -0.33333333333333326,
    0.13333333333330197,
    -0.05396825396475762,
    0.02186948838378093,
    -0.008863232113541474,
    0.0035920831663434575,
    -0.001455464802800745,
    0.0005880541548418729,
    -0.0002322510406793851,
    8.154737806525365e-05,
    -1.833596211003942e-05,
];
