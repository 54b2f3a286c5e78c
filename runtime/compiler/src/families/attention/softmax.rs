//! The online softmax of a warp's rows, in registers.
//!
//! A lane has two neighbouring columns of every 8 in each of its rows; four lanes share a row.
//!
//! A row keeps m, the largest of its scores so far. Weights are `exp(score − m)`, computed as 2 to the power `score·c − m·c` with c = log₂ e. Beyond
//! 2¹²⁶ the product would overflow; but there scores that differ at all differ by more than any weight tells, so c is a small power
//! of two. A row that has seen nothing has m = −∞, and weights of 0.
//!
//! A positive factor common to all scores is part of c. Then m is the factor times the largest of what it multiplies.

use crate::lower::expression::Lowering;
use crate::lower::tile::multiplicand::Multiplicand;
use crate::ptx::builder::move_of;
use crate::ptx::{Builder, Class, Compare, Opcode, Operand, Reg};
use std::f32::consts::LOG2_E;

/// A lane's state of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Softmax {
    /// The largest score so far, the same in the four lanes.
    largest: Reg,
    /// The sum of the lane's weights.
    mass: Reg,
}

/// The result of a block of keys.
pub(super) struct Weights {
    /// By this all that was summed before is multiplied.
    pub rescaling: Reg,
    /// The lane's weights.
    pub weights: Vec<Reg>,
}

/// From here on scores are multiplied by [`SMALL`].
const LARGE: f32 = f32::from_bits((126 + 127) << 23);
/// 2⁻⁹⁶
const SMALL: f32 = f32::from_bits((127 - 96) << 23);

impl Softmax {
    /// A row that has seen nothing.
    pub fn new(lowering: &mut Lowering<'_>) -> Softmax {
        let b = &mut lowering.b;
        Softmax {
            largest: b.mutable(Class::F32, f32::NEG_INFINITY.into()),
            mass: b.mutable(Class::F32, 0f32.into()),
        }
    }

    /// Takes in the lane's scores of a block of keys, which are to be multiplied by a positive factor.
    pub fn take_in(&self, b: &mut Builder, scores: &[Operand], factor: Option<Reg>) -> Weights {
        let before = b.read(self.largest);
        let found = largest(b, scores);
        let found = scaled(b, found, factor);
        let now = b.op(Opcode::MaxF32, &[before.into(), found.into()]);
        let shift = b.op(Opcode::MaxF32, &[now.into(), f32::MIN.into()]);
        let magnitude = b.op(Opcode::AbsF32, &[shift.into()]);
        let is_large = b.compare(Compare::Gt, Class::F32, magnitude.into(), LARGE.into());
        let scale = b.op(Opcode::SelF32, &[SMALL.into(), LOG2_E.into(), is_large.into()]);
        let minus = b.op(Opcode::MulF32, &[shift.into(), scale.into()]);
        let minus = b.op(Opcode::NegF32, &[minus.into()]);
        let scale = match factor {
            None => scale,
            Some(factor) => {
                // It is never 0, so that a key that is not seen has −∞.
                let scale = b.op(Opcode::MulF32, &[scale.into(), factor.into()]);
                b.op(Opcode::MaxF32, &[scale.into(), f32::MIN_POSITIVE.into()])
            }
        };
        let rescaling = weight_of(b, before, shift);
        b.assign(move_of(Class::F32), self.largest, &[now.into()]);
        b.assign(Opcode::MulF32, self.mass, &[self.mass.into(), rescaling.into()]);
        let weight = |&score: &Operand| {
            let power = b.op(Opcode::FmaF32, &[score, scale.into(), minus.into()]);
            b.op(Opcode::Ex2F32, &[power.into()])
        };
        let weights = scores.iter().map(weight).collect();
        Weights { rescaling, weights }
    }

    /// Forgets what the row has seen.
    pub fn forget(&self, b: &mut Builder) {
        b.assign(move_of(Class::F32), self.largest, &[f32::NEG_INFINITY.into()]);
        b.assign(move_of(Class::F32), self.mass, &[0f32.into()]);
    }

    /// The largest score, and the sum of the lane's weights.
    pub fn registers(&self) -> [Reg; 2] {
        [self.largest, self.mass]
    }

    /// Takes in another softmax of the same row. Returns by what the sums of this one, and of the other, are multiplied.
    pub fn merge(&self, b: &mut Builder, largest: Reg, mass: Reg) -> [Reg; 2] {
        let before = b.read(self.largest);
        let now = b.op(Opcode::MaxF32, &[before.into(), largest.into()]);
        let shift = b.op(Opcode::MaxF32, &[now.into(), f32::MIN.into()]);
        let [own, other] = [before, largest].map(|largest| weight_of(b, largest, shift));
        let mass = b.op(Opcode::MulF32, &[mass.into(), other.into()]);
        b.assign(move_of(Class::F32), self.largest, &[now.into()]);
        b.assign(Opcode::FmaF32, self.mass, &[self.mass.into(), own.into(), mass.into()]);
        [own, other]
    }

    /// Adds weights to those of the row. They are rounded first where the source does so.
    pub fn add(&self, b: &mut Builder, weights: &[Reg]) {
        let mut chains: [Option<Reg>; 2] = [None; 2];
        for (number, &weight) in weights.iter().enumerate() {
            let chain = &mut chains[number % 2];
            *chain = Some(match *chain {
                None => weight,
                Some(sum) => b.op(Opcode::AddF32, &[sum.into(), weight.into()]),
            });
        }
        for sum in chains.into_iter().flatten() {
            b.assign(Opcode::AddF32, self.mass, &[self.mass.into(), sum.into()]);
        }
    }

    /// The final values of a row.
    pub fn settled(&self, b: &mut Builder) -> Settled {
        let mass = b.read(self.mass);
        let mass = across_lanes(b, Opcode::AddF32, mass);
        let largest = b.read(self.largest);
        let nothing = b.op(Opcode::SubF32, &[largest.into(), largest.into()]);
        // A score that is no number is in the mass alone.
        let number = b.op(Opcode::MulF32, &[mass.into(), 0f32.into()]);
        let largest = b.op(Opcode::AddF32, &[largest.into(), number.into()]);
        let mass = b.op(Opcode::AddF32, &[mass.into(), nothing.into()]);
        Settled { largest, mass, nothing }
    }
}

/// A row whose keys are all taken in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    /// The largest score.
    pub largest: Reg,
    /// The sum of all weights; NaN if there is no key.
    pub mass: Reg,
    /// 0, or NaN if there is no key.
    pub nothing: Reg,
}

/// The largest of a lane's scores of a row, and of those of the four lanes that share it.
fn largest(b: &mut Builder, scores: &[Operand]) -> Reg {
    let mut chains = [Operand::from(f32::NEG_INFINITY); 2];
    for (pair, next) in scores.chunks(2).enumerate() {
        for (chain, &score) in chains.iter_mut().zip(next) {
            *chain = match pair {
                0 => score,
                _ => b.op(Opcode::MaxF32, &[score, *chain]).into(),
            };
        }
    }
    let own = b.op(Opcode::MaxF32, &chains);
    across_lanes(b, Opcode::MaxF32, own)
}

fn scaled(b: &mut Builder, value: Reg, factor: Option<Reg>) -> Reg {
    match factor {
        Some(factor) => b.op(Opcode::MulF32, &[value.into(), factor.into()]),
        None => value,
    }
}

/// `exp(score − shift)`
fn weight_of(b: &mut Builder, score: Reg, shift: Reg) -> Reg {
    let apart = b.op(Opcode::SubF32, &[score.into(), shift.into()]);
    let apart = b.op(Opcode::MulF32, &[apart.into(), LOG2_E.into()]);
    b.op(Opcode::Ex2F32, &[apart.into()])
}

/// Combines a value of the four lanes that share a row.
fn across_lanes(b: &mut Builder, combine: Opcode, value: Reg) -> Reg {
    let mut value = value;
    for distance in [1i64, 2] {
        let bits = b.op(Opcode::BitsF32, &[value.into()]);
        // It has a result.
        let other = b
            .converge(Opcode::ShflBflyB32, &[bits.into(), distance.into()])
            .unwrap_or(bits);
        let other = b.op(Opcode::F32Bits, &[other.into()]);
        value = b.op(combine, &[value.into(), other.into()]);
    }
    value
}

/// Two neighbouring weights as tensor cores multiply them.
pub(super) fn packed(b: &mut Builder, multiplicand: Multiplicand, first: Reg, second: Reg) -> Reg {
    let opcode = match multiplicand {
        Multiplicand::Bf16 => Opcode::CvtBf16x2F32,
        _ => Opcode::CvtF16x2F32,
    };
    b.op(opcode, &[second.into(), first.into()])
}

/// Two packed weights.
pub(super) fn unpacked(b: &mut Builder, multiplicand: Multiplicand, pair: Reg) -> [Reg; 2] {
    if multiplicand == Multiplicand::Bf16 {
        let first = b.op(Opcode::ShlB32, &[pair.into(), 16.into()]);
        let second = b.op(Opcode::AndB32, &[pair.into(), 0xFFFF_0000.into()]);
        return [first, second].map(|bits| b.op(Opcode::F32Bits, &[bits.into()]));
    }
    let halves = b.ops(Opcode::HalvesB32, &[pair.into()]);
    [halves[0], halves[1]].map(|half| b.op(Opcode::CvtF32F16, &[half.into()]))
}
