//! Operators of the language on values.

use super::math::remainder;
use super::value::{Value, add_of, by_type, class_of, mul_of, select_of};
use crate::element::Type;
use crate::ir::{BinaryOp, UnaryOp};
use crate::ptx::{Builder, Class, Compare, Opcode, Operand, Reg};

/// `-a`, `!a`
pub fn unary(b: &mut Builder, op: UnaryOp, a: Value) -> Value {
    let opcode = match (op, a.ty) {
        (UnaryOp::Not, Type::Bool) => Opcode::NotPred,
        (UnaryOp::Not, Type::I64) => Opcode::NotB64,
        (UnaryOp::Not, _) => Opcode::NotB32,
        (UnaryOp::Neg, ty) => by_type(ty, Opcode::NegS32, Opcode::NegS64, Opcode::NegF32, Opcode::NegF64),
    };
    Value::new(a.ty, b.op(opcode, &[a.operand]))
}

/// An operator of two values of one type. `And`, `Or` of truth values: both are known.
pub fn binary(b: &mut Builder, op: BinaryOp, x: Value, y: Value) -> Value {
    let ty = x.ty;
    if let (BinaryOp::Div, Some(reciprocal)) = (op, exact_reciprocal(y.operand)) {
        return Value::new(ty, b.op(mul_of(ty), &[x.operand, reciprocal]));
    }
    let opcode = match op {
        BinaryOp::Add => add_of(ty),
        BinaryOp::Mul => mul_of(ty),
        BinaryOp::Sub => by_type(ty, Opcode::SubS32, Opcode::SubS64, Opcode::SubF32, Opcode::SubF64),
        BinaryOp::Div if ty.is_integer() => return integer_division(b, op, x, y),
        BinaryOp::Div => by_type(ty, Opcode::DivS32, Opcode::DivS64, Opcode::DivF32, Opcode::DivF64),
        BinaryOp::Rem if ty.is_integer() => return integer_division(b, op, x, y),
        BinaryOp::Rem => return remainder(b, x, y),
        BinaryOp::Min | BinaryOp::Max if ty == Type::F64 => return extreme_f64(b, op, x, y),
        BinaryOp::Min => by_type(ty, Opcode::MinS32, Opcode::MinS64, Opcode::MinNanF32, Opcode::MinF64),
        BinaryOp::Max => by_type(ty, Opcode::MaxS32, Opcode::MaxS64, Opcode::MaxNanF32, Opcode::MaxF64),
        BinaryOp::And => Opcode::AndPred,
        BinaryOp::Or => Opcode::OrPred,
    };
    Value::new(ty, b.op(opcode, &[x.operand, y.operand]))
}

/// The reciprocal of a power of two, if it is a normal number: multiplying by it rounds as dividing does.
fn exact_reciprocal(operand: Operand) -> Option<Operand> {
    match operand {
        Operand::F32(bits) => {
            let reciprocal = f32::from_bits(bits).recip();
            (bits << 9 == 0 && reciprocal.is_normal()).then(|| reciprocal.into())
        }
        Operand::F64(bits) => {
            let reciprocal = f64::from_bits(bits).recip();
            (bits << 12 == 0 && reciprocal.is_normal()).then(|| reciprocal.into())
        }
        _ => None,
    }
}

/// Binary64 has no NaN-propagating minimum: a NaN operand is taken as it is.
fn extreme_f64(b: &mut Builder, op: BinaryOp, x: Value, y: Value) -> Value {
    let opcode = if op == BinaryOp::Min {
        Opcode::MinF64
    } else {
        Opcode::MaxF64
    };
    let plain = b.op(opcode, &[x.operand, y.operand]);
    let ordered_x = b.compare(Compare::Eq, Class::F64, x.operand, x.operand);
    let ordered_y = b.compare(Compare::Eq, Class::F64, y.operand, y.operand);
    let unless_y = b.op(Opcode::SelF64, &[plain.into(), y.operand, ordered_y.into()]);
    Value::new(
        Type::F64,
        b.op(Opcode::SelF64, &[unless_y.into(), x.operand, ordered_x.into()]),
    )
}

/// Truncating division: `x / 0` is 0, `x % 0` is `x`. A constant divisor needs no care.
fn integer_division(b: &mut Builder, op: BinaryOp, x: Value, y: Value) -> Value {
    let ty = x.ty;
    let (divide, remain) = if ty == Type::I64 {
        (Opcode::DivS64, Opcode::RemS64)
    } else {
        (Opcode::DivS32, Opcode::RemS32)
    };
    let opcode = if op == BinaryOp::Div { divide } else { remain };
    let of_zero = if op == BinaryOp::Div {
        Operand::Int(0)
    } else {
        x.operand
    };
    match y.operand {
        Operand::Int(0) => Value { ty, operand: of_zero },
        // The most negative value by −1 wraps; the instruction leaves it open.
        Operand::Int(-1) if op == BinaryOp::Div => unary(b, UnaryOp::Neg, x),
        Operand::Int(-1) => Value::zero(b, ty),
        Operand::Int(_) => Value::new(ty, b.op(opcode, &[x.operand, y.operand])),
        divisor => {
            let class = class_of(ty);
            let zero = b.compare(Compare::Eq, class, divisor, 0.into());
            let minus_one = b.compare(Compare::Eq, class, divisor, (-1).into());
            let special = b.op(Opcode::OrPred, &[zero.into(), minus_one.into()]);
            let safe = b.op(select_of(ty), &[1.into(), divisor, special.into()]);
            let result = b.op(opcode, &[x.operand, safe.into()]);
            let of_minus_one = match op {
                BinaryOp::Div => unary(b, UnaryOp::Neg, x).operand,
                _ => Operand::Int(0),
            };
            let result = b.op(select_of(ty), &[of_minus_one, result.into(), minus_one.into()]);
            Value::new(ty, b.op(select_of(ty), &[of_zero, result.into(), zero.into()]))
        }
    }
}

/// `condition ? accept : reject`, of one type.
pub fn select(b: &mut Builder, condition: Reg, accept: Value, reject: Value) -> Value {
    if accept == reject {
        return accept;
    }
    if accept.ty != Type::Bool {
        let sources = [accept.operand, reject.operand, condition.into()];
        return Value::new(accept.ty, b.op(select_of(accept.ty), &sources));
    }
    let not = b.op(Opcode::NotPred, &[condition.into()]);
    let first = b.op(Opcode::AndPred, &[condition.into(), accept.operand]);
    let second = b.op(Opcode::AndPred, &[not.into(), reject.operand]);
    Value::new(Type::Bool, b.op(Opcode::OrPred, &[first.into(), second.into()]))
}
