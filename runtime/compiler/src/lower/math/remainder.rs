//! The remainder of floating-point numbers.

use super::hoist::hoisted;
use super::real::Real;
use crate::element::Type;
use crate::lower::value::Value;
use crate::ptx::Builder;
use crate::ptx::{Class, Compare, Opcode, Operand, Turns};

/// `x % y` of floating-point numbers as in Rust: exact, with the sign of `x`.
pub fn remainder(b: &mut Builder, x: Value, y: Value) -> Value {
    hoisted(b, &[x, y], |b| long_division(b, x, y))
}

/// Long division of the mantissas, as many places a turn as 64 bits hold.
fn long_division(b: &mut Builder, x: Value, y: Value) -> Value {
    let ty = x.ty;
    let (x, y) = (Operand::from(x.reg(b)), Operand::from(y.reg(b)));
    let form = if ty == Type::F64 { &BINARY64 } else { &BINARY32 };
    let (x_mantissa, x_exponent) = split(b, form, x);
    let (y_mantissa, y_exponent) = split(b, form, y);
    // No division by zero; its result is replaced below.
    let zero = b.compare(Compare::Eq, Class::B64, y_mantissa, 0.into());
    let divisor: Operand = b.op(Opcode::SelB64, &[1.into(), y_mantissa, zero.into()]).into();

    let first = b.op(Opcode::RemU64, &[x_mantissa, divisor]);
    let rest = b.mutable(Class::B64, first.into());
    let places = b.op(Opcode::SubS32, &[x_exponent, y_exponent]);
    let turn = 64 - form.precision;
    let done = b.begin_loop(Class::B32, Turns::new(0, places, turn));
    let left = b.op(Opcode::SubS32, &[places.into(), done.into()]);
    let left = b.op(Opcode::MinS32, &[left.into(), turn.into()]);
    b.assign(Opcode::ShlB64, rest, &[rest.into(), left.into()]);
    b.assign(Opcode::RemU64, rest, &[rest.into(), divisor]);
    b.end();
    let rest = b.read(rest);

    // rest · 2^(exponent of y's last place), in two exact steps: the first may not be subnormal, the second may.
    let magnitude: Operand = match ty {
        Type::F64 => b.op(Opcode::CvtF64S64, &[rest.into()]),
        _ => b.op(Opcode::CvtF32S64, &[rest.into()]),
    }
    .into();
    let shifted = b.op(Opcode::ShlB32, &[y_exponent, form.exponent_place.into()]);
    let unit: Operand = match ty {
        Type::F64 => b.op(Opcode::F64Halves, &[0.into(), shifted.into()]),
        _ => b.op(Opcode::F32Bits, &[shifted.into()]),
    }
    .into();
    let r = &mut Real::new(b, ty);
    let last_place = r.constant(form.last_place);
    let magnitude = r.mul(magnitude, last_place);
    let magnitude = r.mul(magnitude, unit);

    let (x_size, y_size) = (r.abs(x), r.abs(y));
    let smaller = r.compare(Compare::Lt, x_size, y_size);
    let result = r.select(smaller, x_size, magnitude);
    let finite = r.is(x_size, Compare::Lt, f64::INFINITY);
    let divides = r.is(y_size, Compare::Gt, 0.0);
    let defined = r.b.op(Opcode::AndPred, &[finite.into(), divides.into()]);
    let nan = r.constant(f64::NAN);
    let result = r.select(defined, result, nan);
    let operand = r.with_sign(result, x);
    Value { ty, operand }
}

/// The layout of a floating-point type.
struct Form {
    /// Bits of a mantissa, with the leading one.
    precision: i64,
    /// Where the exponent begins in the word that holds it.
    exponent_place: i64,
    /// The largest exponent field.
    exponent_mask: i64,
    /// The last place of a mantissa in [1, 2).
    last_place: f64,
}

const BINARY32: Form = Form {
    precision: 24,
    exponent_place: 23,
    exponent_mask: 0xff,
    last_place: f32::EPSILON as f64,
};

const BINARY64: Form = Form {
    precision: 53,
    exponent_place: 20,
    exponent_mask: 0x7ff,
    last_place: f64::EPSILON,
};

/// The mantissa as a 64-bit integer and the exponent field, 1 for subnormal numbers as well.
fn split(b: &mut Builder, form: &Form, x: Operand) -> (Operand, Operand) {
    let wide = form.precision == 53;
    let (bits, high) = if wide {
        let high = b.ops(Opcode::HalvesF64, &[x])[1];
        (b.op(Opcode::BitsF64, &[x]), high)
    } else {
        let bits = b.op(Opcode::BitsF32, &[x]);
        (b.op(Opcode::CvtU64U32, &[bits.into()]), bits)
    };
    let field = b.op(Opcode::ShrU32, &[high.into(), form.exponent_place.into()]);
    let field = b.op(Opcode::AndB32, &[field.into(), form.exponent_mask.into()]);
    let leading = 1i64 << (form.precision - 1);
    let fraction = b.op(Opcode::AndB64, &[bits.into(), (leading - 1).into()]);
    let normal = b.op(Opcode::OrB64, &[fraction.into(), leading.into()]);
    let subnormal = b.compare(Compare::Eq, Class::B32, field.into(), 0.into());
    let mantissa = b.op(Opcode::SelB64, &[fraction.into(), normal.into(), subnormal.into()]);
    let exponent = b.op(Opcode::SelB32, &[1.into(), field.into(), subnormal.into()]);
    (mantissa.into(), exponent.into())
}
