//! Sine and cosine: x = q π/2 + r, then a polynomial of r chosen by q.

use super::exponential::nearest_64;
use super::real::Real;
use crate::ptx::{Class, Compare, Guard, Opcode, Operand};
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// sin x, or cos x, which is sin(x + π/2).
pub fn sine(r: &mut Real, x: Operand, cosine: bool) -> Operand {
    let (rest, quadrant) = reduce(r, x);
    let square = r.mul(rest, rest);
    let (sine_terms, cosine_terms): (&[f64], &[f64]) = if r.wide() {
        (&SIN_64, &COS_64)
    } else {
        (&SIN_32, &COS_32)
    };

    let tail = r.polynomial(square, sine_terms);
    let tail = r.mul(square, tail);
    let of_sine = r.fma(rest, tail, rest);
    // The sum of +0 and −0 is +0.
    let of_sine = r.with_sign(of_sine, rest);

    let tail = r.polynomial(square, cosine_terms);
    let (one, minus_half) = (r.constant(1.0), r.constant(-0.5));
    let tail = r.fma(square, tail, minus_half);
    let of_cosine = r.fma(square, tail, one);

    let quadrant = if cosine {
        r.b.op(Opcode::AddS32, &[quadrant, 1.into()]).into()
    } else {
        quadrant
    };
    let odd = bit(r, quadrant, 1);
    let result = r.select(odd, of_cosine, of_sine);
    let minus = r.neg(result);
    let lower = bit(r, quadrant, 2);
    r.select(lower, minus, result)
}

fn bit(r: &mut Real, x: Operand, mask: i64) -> crate::ptx::Reg {
    let bit = r.b.op(Opcode::AndB32, &[x, mask.into()]);
    r.b.compare(Compare::Ne, Class::B32, bit.into(), 0.into())
}

/// r in [−π/4, π/4] and q, of which the last two bits count.
fn reduce(r: &mut Real, x: Operand) -> (Operand, Operand) {
    let wide = r.wide();
    let class = if wide { Class::F64 } else { Class::F32 };
    let (rest, quadrant) = if wide { reduce_64(r, x) } else { reduce_32(r, x) };
    let rest = r.b.mutable(class, rest);
    let quadrant = r.b.mutable(Class::B32, quadrant);
    let magnitude = r.abs(x);
    let large = r.is(magnitude, Compare::Ge, if wide { LARGE_64 } else { LARGE_32 });
    r.b.begin_if(Guard {
        predicate: large,
        holds: true,
    });
    {
        // A value made here keeps what is computed from it here.
        let x = match x {
            Operand::Reg(reg) => r.b.read(reg).into(),
            constant => constant,
        };
        let magnitude = r.abs(x);
        let (large_rest, large_quadrant) = if wide {
            reduce_large_64(r, magnitude)
        } else {
            reduce_large_32(r, magnitude)
        };
        let negative = r.is(x, Compare::Lt, 0.0);
        let minus = r.neg(large_rest);
        let large_rest = r.select(negative, minus, large_rest);
        let minus = r.b.op(Opcode::NegS32, &[large_quadrant]);
        let large_quadrant = r.b.op(Opcode::SelB32, &[minus.into(), large_quadrant, negative.into()]);
        let finite = r.is(magnitude, Compare::Lt, f64::INFINITY);
        let nan = r.constant(f64::NAN);
        let large_rest = r.select(finite, large_rest, nan);
        let move_rest = if wide { Opcode::MovF64 } else { Opcode::MovF32 };
        r.b.assign(move_rest, rest, &[large_rest]);
        r.b.assign(Opcode::MovB32, quadrant, &[large_quadrant.into()]);
    }
    r.b.end();
    (r.b.read(rest).into(), r.b.read(quadrant).into())
}

/// Below it q has at most 16 bits (21 in binary64), and x − q π/2 by parts of π/2 loses nothing that counts.
const LARGE_32: f64 = 65_536.0;
const LARGE_64: f64 = 1_048_576.0;

fn reduce_32(r: &mut Real, x: Operand) -> (Operand, Operand) {
    /// Adding it to a number below 2²² rounds that to an integer, in the low bits.
    const ROUNDER: f64 = 12_582_912.0;
    let rounder = r.constant(ROUNDER);
    let rounded = r.fma_by(x, FRAC_2_PI, rounder);
    let quadrants = r.sub(rounded, rounder);
    let rest = HALF_PI_32.iter().fold(x, |rest, part| r.fma_by(quadrants, -part, rest));
    (rest, r.b.op(Opcode::BitsF32, &[rounded]).into())
}

fn reduce_64(r: &mut Real, x: Operand) -> (Operand, Operand) {
    let (quadrants, integer) = nearest_64(r, x, FRAC_2_PI);
    let rest = HALF_PI_64.iter().fold(x, |rest, part| r.fma_by(quadrants, -part, rest));
    (rest, integer)
}

/// Payne and Hanek's reduction: x = m 2ᵏ with an integer m, so x · 2/π modulo 4 needs of 2/π only the bits from about
/// place k on. They times m, modulo 2⁶⁴, are a fraction of a turn.
fn reduce_large_32(r: &mut Real, magnitude: Operand) -> (Operand, Operand) {
    let bits = r.b.op(Opcode::BitsF32, &[magnitude]);
    let exponent = r.b.op(Opcode::ShrU32, &[bits.into(), 23.into()]);
    let mantissa = r.b.op(Opcode::AndB32, &[bits.into(), 0x7f_ffff.into()]);
    let mantissa = r.b.op(Opcode::OrB32, &[mantissa.into(), 0x80_0000.into()]);
    let mantissa = r.b.op(Opcode::CvtU64U32, &[mantissa.into()]);
    // k = exponent − 150; the words begin 16 places before the point, and two bits of the product are the quadrant.
    let place = r.b.op(Opcode::AddS32, &[exponent.into(), (16 - 2 - 150).into()]);
    let window = window(r, place.into(), &TWO_OVER_PI_32, 2);
    let low = r.b.op(Opcode::MulHiU64, &[mantissa.into(), window[1]]);
    let turn = r.b.op(Opcode::MadS64, &[mantissa.into(), window[0], low.into()]);

    let quadrant = quadrant_of(r, turn.into());
    let fraction = r.b.op(Opcode::ShlB64, &[turn.into(), 2.into()]);
    let fraction = r.b.op(Opcode::CvtF32S64, &[fraction.into()]);
    let scale = r.constant(FRAC_PI_2 / 18_446_744_073_709_551_616.0);
    (r.mul(fraction.into(), scale), quadrant)
}

/// The same with 128 bits of the product, of which up to 62 may be lost to cancellation.
fn reduce_large_64(r: &mut Real, magnitude: Operand) -> (Operand, Operand) {
    let bits = r.b.op(Opcode::BitsF64, &[magnitude]);
    let high = r.b.ops(Opcode::HalvesF64, &[magnitude])[1];
    let exponent = r.b.op(Opcode::ShrU32, &[high.into(), 20.into()]);
    let mantissa = r.b.op(Opcode::AndB64, &[bits.into(), 0xf_ffff_ffff_ffff.into()]);
    let mantissa = r.b.op(Opcode::OrB64, &[mantissa.into(), 0x10_0000_0000_0000.into()]);
    let mantissa = Operand::from(mantissa);
    // k = exponent − 1075; the words begin 34 places before the point.
    let place = r.b.op(Opcode::AddS32, &[exponent.into(), (34 - 2 - 1075).into()]);
    let window = window(r, place.into(), &TWO_OVER_PI_64, 3);
    let middle = r.b.op(Opcode::MulS64, &[mantissa, window[1]]);
    let below = r.b.op(Opcode::MulHiU64, &[mantissa, window[2]]);
    let low = r.b.op(Opcode::AddS64, &[middle.into(), below.into()]);
    let carried = r.b.compare_unsigned(Compare::Lt, Class::B64, low.into(), middle.into());
    let carry = r.b.op(Opcode::SelB64, &[1.into(), 0.into(), carried.into()]);
    let high = r.b.op(Opcode::MulHiU64, &[mantissa, window[1]]);
    let high = r.b.op(Opcode::MadS64, &[mantissa, window[0], high.into()]);
    let high = r.b.op(Opcode::AddS64, &[high.into(), carry.into()]);

    let quadrant = quadrant_of(r, high.into());
    // The 128 bits without the quadrant, signed: their magnitude, its leading zeros shifted out.
    let (high, low) = shift_left(r, high.into(), low.into(), 2.into());
    let sign = r.b.op(Opcode::ShrS64, &[high, 63.into()]);
    let high = r.b.op(Opcode::XorB64, &[high, sign.into()]);
    let low = r.b.op(Opcode::XorB64, &[low, sign.into()]);
    let zeros = r.b.op(Opcode::ClzB64, &[high.into()]);
    let (high, _) = shift_left(r, high.into(), low.into(), zeros.into());
    let positive = r.b.op(Opcode::ShrU64, &[high, 1.into()]);
    let fraction = r.b.op(Opcode::CvtF64S64, &[positive.into()]);
    let scale = r.b.op(Opcode::SubS32, &[(-63).into(), zeros.into()]);
    let scale = super::exponential::power_of_two_64(r, scale.into());
    let fraction = r.mul(fraction.into(), scale);
    let low = r.constant(HALF_PI_64[1]);
    let low = r.mul(fraction, low);
    let rest = r.fma_by(fraction, FRAC_PI_2, low);
    let minus = r.neg(rest);
    let negative = r.b.compare(Compare::Ne, Class::B64, sign.into(), 0.into());
    (r.select(negative, minus, rest), quadrant)
}

/// The two leading bits, rounded by the third.
fn quadrant_of(r: &mut Real, turn: Operand) -> Operand {
    let halves = r.b.op(Opcode::ShrU64, &[turn, 61.into()]);
    let halves = r.b.op(Opcode::CvtU32U64, &[halves.into()]);
    let halves = r.b.op(Opcode::AddS32, &[halves.into(), 1.into()]);
    r.b.op(Opcode::ShrU32, &[halves.into(), 1.into()]).into()
}

/// `count` words of a string of bits, from a place on.
fn window(r: &mut Real, place: Operand, words: &[u64], count: usize) -> Vec<Operand> {
    // One step a bit of the word's number, the highest first.
    let mut words: Vec<Operand> = words.iter().map(|&word| (word as i64).into()).collect();
    let mut span = (words.len() - count).next_power_of_two();
    while span > 1 {
        span /= 2;
        let far = bit(r, place, 64 * span as i64);
        let kept = (count + span).min(words.len());
        words = (0..kept)
            .map(|i| match words.get(i + span) {
                Some(&later) => r.b.op(Opcode::SelB64, &[later, words[i], far.into()]).into(),
                None => words[i],
            })
            .collect();
    }
    let shift = r.b.op(Opcode::AndB32, &[place, 63.into()]);
    (0..count)
        .map(|i| shift_left(r, words[i], words[i + 1], shift.into()).0)
        .collect()
}

/// 128 bits shifted left by at most 64 places. Shifts by 64 give 0.
fn shift_left(r: &mut Real, high: Operand, low: Operand, places: Operand) -> (Operand, Operand) {
    let up = r.b.op(Opcode::ShlB64, &[high, places]);
    let rest = match places {
        Operand::Int(places) => Operand::Int(64 - places),
        places => r.b.op(Opcode::SubS32, &[64.into(), places]).into(),
    };
    let down = r.b.op(Opcode::ShrU64, &[low, rest]);
    let high = r.b.op(Opcode::OrB64, &[up.into(), down.into()]);
    (high.into(), r.b.op(Opcode::ShlB64, &[low, places]).into())
}

/// Parts of π/2, cut off rather than rounded: all are positive, so that −0 stays −0.
const HALF_PI_32: [f64; 3] = [1.570796251296997, 7.549789415861596e-08, 5.390302529957765e-15];
const HALF_PI_64: [f64; 3] = [FRAC_PI_2, 6.123233995736765e-17, 1.0828566739219139e-32];

// The polynomials' coefficients, lowest first: `tools/fit_math.py`.

/// (sin √z / √z − 1) / z
const SIN_32: [f64; 3] = [-0.1666666466231438, 0.008332748270629749, -0.00019587890880412386];

/// (cos √z − 1 + z/2) / z²
const COS_32: [f64; 3] = [0.04166666465950221, -0.0013888303035894866, 2.4547942085071572e-05];

/// (sin √z / √z − 1) / z
const SIN_64: [f64; 6] = [
    -0.16666666666666666,
    0.008333333333330948,
    -0.00019841269836758574,
    2.755731610255244e-06,
    -2.5051131845003624e-08,
    1.5918129294866608e-10,
];

/// (cos √z − 1 + z/2) / z²
const COS_64: [f64; 6] = [
    0.041666666666666664,
    -0.0013888888888887398,
    2.480158729876569e-05,
    -2.7557317271729793e-07,
    2.08761462684032e-09,
    -1.1382632425521717e-11,
];

/// 2/π · 2⁻¹⁶, as bits after the point
const TWO_OVER_PI_32: [u64; 4] = [
    0x0000_a2f9_836e_4e44,
    0x1529_fc27_57d1_f534,
    0xddc0_db62_9599_3c43,
    0x9041_fe51_63ab_debb,
];

/// 2/π · 2⁻³⁴, as bits after the point
const TWO_OVER_PI_64: [u64; 19] = [
    0x0000_0000_28be_60db,
    0x9391_054a_7f09_d5f4,
    0x7d4d_3770_36d8_a566,
    0x4f10_e410_7f94_58ea,
    0xf7ae_f158_6dc9_1b8e,
    0x9093_74b8_0192_4bba,
    0x8274_6487_3f87_7ac7,
    0x2c4a_69cf_ba20_8d7d,
    0x4bae_d121_3a67_1c09,
    0xad17_df90_4e64_758e,
    0x60d4_ce7d_2721_17e2,
    0xef7e_4a0e_c7fe_25ff,
    0xf781_6603_fbcb_c462,
    0xd682_9b47_db4d_9fb3,
    0xc9f2_c26d_d3d1_8fd9,
    0xa797_fa8b_5d49_eeb1,
    0xfaf9_7c5e_cf41_ce7d,
    0xe294_a4ba_9afe_d7ec,
    0x47e3_5742_1580_cc11,
];
