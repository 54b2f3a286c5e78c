//! Quotients of binary32 by a divisor that many dividends share.
//!
//! `div.rn.f32` takes a dozen instructions and a branch. Of a shared divisor the reciprocal is computed once, as the sum of a number below it
//! and the rest, to 2⁻⁴³ of its value. A quotient then takes three instructions, and its error exceeds half a unit in the last place by less than
//! a 2¹⁶th of it. Both parts have the divisor's sign and neither is 0, so zeros and infinities come out as of `div`.
//! A power of two keeps divisors away from the ends of the exponent range, where a reciprocal or its rest would not be normal.

use super::value::Value;
use crate::element::Type;
use crate::ptx::{Builder, Class, Compare, Opcode, Operand};

/// `x / y`, of binary32. What depends on the divisor alone leaves the loops that the divisor does not depend on.
pub(crate) fn by_shared(b: &mut Builder, x: Value, y: Value) -> Value {
    let Divisor { scale, below, rest } = Divisor::of(b, y.operand);
    let x = b.op(Opcode::MulF32, &[x.operand, scale]);
    let small = b.op(Opcode::MulF32, &[x.into(), rest]);
    let quotient = b.op(Opcode::FmaF32, &[x.into(), below, small.into()]);
    Value::new(Type::F32, quotient)
}

/// A divisor times `scale`, whose reciprocal is `below + rest`.
struct Divisor {
    scale: Operand,
    below: Operand,
    rest: Operand,
}

impl Divisor {
    fn of(b: &mut Builder, divisor: Operand) -> Divisor {
        let (up, down) = (64f32.exp2(), (-64f32).exp2());
        let magnitude = b.op(Opcode::AbsF32, &[divisor]).into();
        let large = b.compare(Compare::Gt, Class::F32, magnitude, up.into());
        let small = b.compare(Compare::Lt, Class::F32, magnitude, down.into());
        let scale = b.op(Opcode::SelF32, &[down.into(), 1.0f32.into(), large.into()]);
        let scale = b.op(Opcode::SelF32, &[up.into(), scale.into(), small.into()]);
        let scaled = b.op(Opcode::MulF32, &[divisor, scale.into()]);
        let near: Operand = b.op(Opcode::RcpApproxF32, &[scaled.into()]).into();
        // The approximation errs by one unit in the last place: four less are certainly below.
        let bits = b.op(Opcode::BitsF32, &[near]);
        let bits = b.op(Opcode::SubS32, &[bits.into(), 4.into()]);
        let below = b.op(Opcode::F32Bits, &[bits.into()]);
        let minus = b.op(Opcode::NegF32, &[scaled.into()]);
        let residual = b.op(Opcode::FmaF32, &[minus.into(), below.into(), 1.0f32.into()]);
        let rest = b.op(Opcode::MulF32, &[residual.into(), near]);
        // Of 0, infinities and NaN the approximation is exact, and there is no residual.
        let ordinary = b.compare(Compare::Lt, Class::F32, residual.into(), 0.5f32.into());
        let below = b.op(Opcode::SelF32, &[below.into(), near, ordinary.into()]);
        let rest = b.op(Opcode::SelF32, &[rest.into(), near, ordinary.into()]);
        Divisor {
            scale: scale.into(),
            below: below.into(),
            rest: rest.into(),
        }
    }
}
