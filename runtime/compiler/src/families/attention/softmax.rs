//! The online softmax of a warp's rows, in registers.
//!
//! A lane has two neighbouring columns of every 8 in each of its rows; four lanes share a row.
//!
//! A row keeps m, the largest of its scores so far. Weights are `exp(score − m)`, computed as 2 to the power `score·c − m·c` with c = log₂ e. Beyond
//! 2¹²⁶ the product would overflow; but there scores that differ at all differ by more than any weight tells, so c is a small power
//! of two. A row that has seen nothing has m = −∞, and weights of 0.
//!
//! A positive factor common to all scores is part of c. Then m is the factor times the largest of what it multiplies.

use super::mass::{Mass, across_lanes};
use crate::lower::expression::Lowering;
use crate::ptx::builder::move_of;
use crate::ptx::{Builder, Class, Compare, Opcode, Operand, Reg};
use std::f32::consts::LOG2_E;

/// A lane's state of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Softmax {
    /// The largest score so far, the same in the four lanes.
    largest: Reg,
    /// The sum of the lane's weights.
    pub mass: Mass,
}

/// From here on scores are multiplied by [`SMALL`].
const LARGE: f32 = f32::from_bits((126 + 127) << 23);
/// 2⁻⁹⁶
const SMALL: f32 = f32::from_bits((127 - 96) << 23);

impl Softmax {
    /// A row that has seen nothing.
    pub fn new(lowering: &mut Lowering<'_>) -> Softmax {
        Softmax {
            largest: lowering.b.mutable(Class::F32, f32::NEG_INFINITY.into()),
            mass: Mass::new(lowering),
        }
    }

    /// Takes in the lane's scores of a block of keys, which are to be multiplied by a positive factor. Returns by what all that was summed before is
    /// multiplied, and the lane's weights.
    pub fn take_in(&self, b: &mut Builder, scores: &[Reg], factor: Option<Reg>) -> (Reg, Vec<Reg>) {
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
        let mass = self.mass.0;
        b.assign(Opcode::MulF32, mass, &[mass.into(), rescaling.into()]);
        let weight = |&score: &Reg| {
            let power = b.op(Opcode::FmaF32, &[score.into(), scale.into(), minus.into()]);
            b.op(Opcode::Ex2F32, &[power.into()])
        };
        (rescaling, scores.iter().map(weight).collect())
    }

    /// Forgets what the row has seen.
    pub fn forget(&self, b: &mut Builder) {
        b.assign(move_of(Class::F32), self.largest, &[f32::NEG_INFINITY.into()]);
        self.mass.forget(b);
    }

    /// The largest score, and the sum of the lane's weights.
    pub fn registers(&self) -> [Reg; 2] {
        [self.largest, self.mass.0]
    }

    /// Takes in another softmax of the same row. Returns by what the sums of this one, and of the other, are multiplied.
    pub fn merge(&self, b: &mut Builder, largest: Reg, mass: Reg) -> [Reg; 2] {
        let before = b.read(self.largest);
        let now = b.op(Opcode::MaxF32, &[before.into(), largest.into()]);
        let shift = b.op(Opcode::MaxF32, &[now.into(), f32::MIN.into()]);
        let [own, other] = [before, largest].map(|largest| weight_of(b, largest, shift));
        let mass = b.op(Opcode::MulF32, &[mass.into(), other.into()]);
        b.assign(move_of(Class::F32), self.largest, &[now.into()]);
        let sum = self.mass.0;
        b.assign(Opcode::FmaF32, sum, &[sum.into(), own.into(), mass.into()]);
        [own, other]
    }

    /// The final values of a row: the largest score, the sum of all weights, and 0; the latter two are NaN if there is no key.
    pub fn settled(&self, b: &mut Builder) -> [Reg; 3] {
        let mass = self.mass.total(b);
        let largest = b.read(self.largest);
        let nothing = b.op(Opcode::SubF32, &[largest.into(), largest.into()]);
        // A score that is no number is in the mass alone.
        let number = b.op(Opcode::MulF32, &[mass.into(), 0f32.into()]);
        let largest = b.op(Opcode::AddF32, &[largest.into(), number.into()]);
        let mass = b.op(Opcode::AddF32, &[mass.into(), nothing.into()]);
        [largest, mass, nothing]
    }
}

/// The largest of a lane's scores of a row, and of those of the four lanes that share it.
fn largest(b: &mut Builder, scores: &[Reg]) -> Reg {
    let mut chains = [Operand::from(f32::NEG_INFINITY); 2];
    for (pair, next) in scores.chunks(2).enumerate() {
        for (chain, &score) in chains.iter_mut().zip(next) {
            *chain = match pair {
                0 => score.into(),
                _ => b.op(Opcode::MaxF32, &[score.into(), *chain]).into(),
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
