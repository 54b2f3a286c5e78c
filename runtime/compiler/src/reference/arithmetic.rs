//! Arithmetic, comparisons and conversions.

use super::evaluated::{Evaluated, in_type, rounding, unit_roundoff};
use super::functions;
use super::number::{Number, loaded, stored, wrapped};
use crate::element::{Element, Numbers, Type};
use crate::ir::{BinaryOp, CompareOp};

/// The error of rounding a quotient. A quotient by a divisor that a row shares may err by a little more than one rounding, and by half of the
/// smallest subnormal where parts of it are subnormal.
fn rounding_of_quotient(ty: Type, quotient: f64) -> f64 {
    let error = rounding(unit_roundoff(ty), quotient);
    match ty {
        Type::F32 if error > 0.0 => error * (1.0 + 1.0 / 65536.0) + 2f64.powi(-150),
        _ => error,
    }
}

pub(super) fn arithmetic(op: BinaryOp, a: Evaluated, b: Evaluated, ty: Type) -> Evaluated {
    if !ty.is_float() {
        let (x, y) = (a.value.integer(), b.value.integer());
        let value = match op {
            BinaryOp::Add => x.wrapping_add(y),
            BinaryOp::Sub => x.wrapping_sub(y),
            BinaryOp::Mul => x.wrapping_mul(y),
            BinaryOp::Div => quotient(x, y),
            BinaryOp::Rem => remainder(x, y),
            BinaryOp::Min => x.min(y),
            _ => x.max(y),
        };
        // An inexact integer may be off by its error. Products and quotients of it may be anything.
        let scales = matches!(op, BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem);
        return Evaluated {
            value: wrapped(value, ty),
            error: match a.error + b.error {
                error if error > 0.0 && scales => f64::INFINITY,
                error => error,
            },
        };
    }
    let (x, y) = (a.value.float(), b.value.float());
    let unit = unit_roundoff(ty);
    let times = |error: f64, factor: f64| {
        if error == 0.0 || (factor == 0.0 && error.is_finite()) {
            0.0
        } else {
            error * factor.abs()
        }
    };
    let (value, error) = match op {
        BinaryOp::Add => (x + y, a.error + b.error + rounding(unit, x + y)),
        BinaryOp::Sub => (x - y, a.error + b.error + rounding(unit, x - y)),
        BinaryOp::Mul => (
            x * y,
            times(a.error, y) + times(b.error, x) + times(a.error, b.error) + rounding(unit, x * y),
        ),
        // The divisor may be 0.
        BinaryOp::Div | BinaryOp::Rem if b.error > 0.0 && y.abs() <= b.error => (x / y, f64::INFINITY),
        BinaryOp::Div => (
            x / y,
            times(a.error, 1.0 / y) + times(b.error, x / (y * y)) + rounding_of_quotient(ty, x / y),
        ),
        // A remainder is exact, but discontinuous in its operands.
        BinaryOp::Rem => (x % y, if a.error + b.error > 0.0 { y.abs() } else { 0.0 }),
        BinaryOp::Min => (functions::min(x, y), a.error.max(b.error)),
        _ => (functions::max(x, y), a.error.max(b.error)),
    };
    Evaluated {
        value: Number::Float(value),
        error: in_type(error, value, ty),
    }
}

pub(super) fn compared(op: CompareOp, a: Number, b: Number) -> bool {
    let order = match (a, b) {
        (Number::Float(_), _) | (_, Number::Float(_)) => a.float().partial_cmp(&b.float()),
        _ => Some(a.integer().cmp(&b.integer())),
    };
    match op {
        CompareOp::Eq => order.is_some_and(|order| order.is_eq()),
        CompareOp::Ne => !order.is_some_and(|order| order.is_eq()),
        CompareOp::Lt => order.is_some_and(|order| order.is_lt()),
        CompareOp::Le => order.is_some_and(|order| order.is_le()),
        CompareOp::Gt => order.is_some_and(|order| order.is_gt()),
        CompareOp::Ge => order.is_some_and(|order| order.is_ge()),
    }
}

pub(super) fn quotient(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_div(b) }
}

pub(super) fn remainder(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { a.wrapping_rem(b) }
}

/// Returns `xⁿ`, wrapping. For negative `n`, returns the truncated inverse.
pub(super) fn power(x: i64, n: i64) -> i64 {
    if n < 0 {
        return match x {
            1 => 1,
            -1 => {
                if n % 2 == 0 {
                    1
                } else {
                    -1
                }
            }
            _ => 0,
        };
    }
    let (mut base, mut left, mut result) = (x, n, 1i64);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        left >>= 1;
    }
    result
}

/// Converts a value from one type to another.
pub(super) fn converted(value: Evaluated, from: Type, to: Type) -> Evaluated {
    if from == to {
        return value;
    }
    match to {
        Type::F32 | Type::F64 => {
            let exact = value.value.float();
            let narrowed = if to == Type::F32 && from != Type::F64 {
                f64::from(exact as f32)
            } else {
                exact
            };
            let rounding = if to == Type::F32 && from == Type::F64 {
                rounding(unit_roundoff(Type::F32), exact)
            } else {
                0.0
            };
            Evaluated {
                value: Number::Float(narrowed),
                error: in_type(value.error + rounding, narrowed, to),
            }
        }
        Type::I32 | Type::I64 if from.is_float() => to_integer(value, to),
        Type::I32 | Type::I64 => Evaluated {
            value: wrapped(value.value.integer(), to),
            ..value
        },
        Type::Bool => Evaluated {
            value: Number::Bool(value.value.truth()),
            ..value
        },
    }
}

/// Converts a float to an integer: truncated, and saturated.
pub(super) fn to_integer(value: Evaluated, ty: Type) -> Evaluated {
    let truncated = |value: f64| {
        if ty == Type::I64 {
            value as i64
        } else {
            i64::from(value as i32)
        }
    };
    let float = value.value.float();
    let (low, high) = (truncated(float - value.error), truncated(float + value.error));
    Evaluated {
        value: Number::Integer(truncated(float)),
        error: (high as f64 - low as f64).abs(),
    }
}

/// `value as element`
pub(super) fn cast(value: Evaluated, element: Element) -> Evaluated {
    let compute = element.compute();
    let from = match value.value {
        Number::Float(_) => Type::F64,
        Number::Integer(_) => Type::I64,
        Number::Bool(_) => Type::Bool,
    };
    if element == compute.element() {
        return converted(value, from, compute);
    }
    match element.numbers() {
        Numbers::Float(format) => Evaluated {
            value: loaded(element, &stored(element, value.value)),
            // An error may tip the rounding.
            error: match value.error {
                0.0 => 0.0,
                error => error + format.unit_in_last_place(value.value.float()),
            },
        },
        Numbers::Integer(format) if from.is_float() => {
            let integer = to_integer(value, compute);
            let clamped = integer.value.integer().clamp(format.smallest(), format.largest());
            Evaluated {
                value: Number::Integer(clamped),
                ..integer
            }
        }
        Numbers::Integer(format) => Evaluated {
            value: Number::Integer(format.wrap(value.value.integer())),
            ..value
        },
        Numbers::Truth => converted(value, from, Type::Bool),
    }
}
