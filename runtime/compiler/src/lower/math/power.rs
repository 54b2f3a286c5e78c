//! Integer powers.

use super::logarithm;
use super::real::Real;
use crate::element::Type;
use crate::lower::arithmetic;
use crate::lower::value::{Value, class_of, mul_of};
use crate::ptx::{Builder, Class, Compare, Guard, Opcode, Operand, Turns};

/// xⁿ. Of integers it wraps, and a negative power is `1 / xⁿ` truncated: 0 unless x is 1 or −1.
///
/// - Small constant powers are products.
/// - Others of binary32 are repeated squares in binary64, whose exponents reach far enough for every partial product that matters.
/// - Others of binary64 are `powf`: squares would lose half a bit a step.
pub fn powi(b: &mut Builder, x: Value, n: Value) -> Value {
    let ty = x.ty;
    let small = |n: i64| match ty {
        Type::F32 => (-2..=4).contains(&n),
        Type::F64 => (-1..=3).contains(&n),
        _ => true,
    };
    match (n.operand, ty) {
        (Operand::Int(0), _) => Value::literal(b, crate::ir::Literal::Int(1), ty),
        (Operand::Int(n), Type::F32 | Type::F64) if small(n) => {
            let base = if n < 0 { reciprocal(b, x) } else { x };
            constant_power(b, base, n.unsigned_abs())
        }
        (Operand::Int(n), Type::F32) => {
            let wide = x.to(b, Type::F64);
            let power = constant_power(b, wide, n.unsigned_abs());
            let power = if n < 0 { reciprocal(b, power) } else { power };
            power.to(b, Type::F32)
        }
        (Operand::Int(n), Type::I32 | Type::I64) => {
            let power = constant_power(b, x, n.unsigned_abs());
            if n < 0 { unit_power(b, x, power) } else { power }
        }
        (_, Type::F64) => {
            let y = n.to(b, Type::F64);
            let r = &mut Real::new(b, ty);
            let operand = logarithm::powf(r, x.operand, y.operand);
            Value { ty, operand }
        }
        (_, Type::F32) => {
            let wide = x.to(b, Type::F64);
            let power = variable_power(b, wide, n);
            let inverse = reciprocal(b, power);
            let negative = b.compare(Compare::Lt, Class::B32, n.operand, 0.into());
            arithmetic::select(b, negative, inverse, power).to(b, Type::F32)
        }
        _ => {
            let power = variable_power(b, x, n);
            let inverse = unit_power(b, x, power);
            let negative = b.compare(Compare::Lt, Class::B32, n.operand, 0.into());
            arithmetic::select(b, negative, inverse, power)
        }
    }
}

fn reciprocal(b: &mut Builder, x: Value) -> Value {
    let opcode = if x.ty == Type::F64 {
        Opcode::RcpF64
    } else {
        Opcode::RcpF32
    };
    Value::new(x.ty, b.op(opcode, &[x.operand]))
}

/// `1 / xⁿ` of integers: xⁿ itself where x is 1 or −1, else 0. (By x, since xⁿ may have wrapped to 1.)
fn unit_power(b: &mut Builder, x: Value, power: Value) -> Value {
    let class = class_of(x.ty);
    let one = b.compare(Compare::Eq, class, x.operand, 1.into());
    let minus_one = b.compare(Compare::Eq, class, x.operand, (-1).into());
    let unit = b.op(Opcode::OrPred, &[one.into(), minus_one.into()]);
    let zero = Value::zero(b, x.ty);
    arithmetic::select(b, unit, power, zero)
}

/// xⁿ for n ≥ 1: repeated squares.
fn constant_power(b: &mut Builder, x: Value, n: u64) -> Value {
    let mut square = x.operand;
    let mut power: Option<Operand> = None;
    let mut rest = n;
    loop {
        if rest & 1 == 1 {
            power = Some(match power {
                Some(power) => b.op(mul_of(x.ty), &[power, square]).into(),
                None => square,
            });
        }
        rest >>= 1;
        match power {
            Some(operand) if rest == 0 => return Value { ty: x.ty, operand },
            _ => square = b.op(mul_of(x.ty), &[square, square]).into(),
        }
    }
}

/// x to the magnitude of n: one square a bit of it.
fn variable_power(b: &mut Builder, x: Value, n: Value) -> Value {
    let class = class_of(x.ty);
    let magnitude = b.op(Opcode::AbsS32, &[n.operand]);
    let zeros = b.op(Opcode::ClzB32, &[magnitude.into()]);
    let bits = b.op(Opcode::SubS32, &[32.into(), zeros.into()]);
    let one = Value::literal(b, crate::ir::Literal::Int(1), x.ty);
    let power = b.mutable(class, one.operand);
    let square = b.mutable(class, x.operand);
    let place = b.begin_loop(Class::B32, Turns::new(0, bits, 1));
    let mask = b.op(Opcode::ShlB32, &[1.into(), place.into()]);
    let bit = b.op(Opcode::AndB32, &[magnitude.into(), mask.into()]);
    let predicate = b.compare(Compare::Ne, Class::B32, bit.into(), 0.into());
    let guard = Guard { predicate, holds: true };
    b.assign_if(Some(guard), mul_of(x.ty), power, &[power.into(), square.into()]);
    b.assign(mul_of(x.ty), square, &[square.into(), square.into()]);
    b.end();
    Value::new(x.ty, b.read(power))
}
