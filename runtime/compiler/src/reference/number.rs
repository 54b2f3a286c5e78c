//! Numbers, and their storage.

use crate::element::{Element, Type};
use crate::ir::Literal;
use half::{bf16, f16};

/// A number of the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A float, whatever its type, not rounded.
    Float(f64),
    /// An integer.
    Integer(i64),
    /// A truth value.
    Bool(bool),
}

impl Number {
    /// Converts to a float.
    pub fn float(self) -> f64 {
        match self {
            Number::Float(value) => value,
            Number::Integer(value) => value as f64,
            Number::Bool(value) => f64::from(u8::from(value)),
        }
    }

    /// Converts to an integer. A float saturates, like with Rust's `as`.
    pub fn integer(self) -> i64 {
        match self {
            Number::Float(value) => value as i64,
            Number::Integer(value) => value,
            Number::Bool(value) => i64::from(value),
        }
    }

    pub(super) fn truth(self) -> bool {
        self.integer() != 0
    }
}

/// Returns the stored bytes of a number: rounded to nearest even, or wrapped.
pub fn stored(element: Element, value: Number) -> Vec<u8> {
    let float = value.float();
    let integer = value.integer();
    match element {
        Element::F32 => (float as f32).to_le_bytes().to_vec(),
        Element::F16 => f16::from_f64(float).to_le_bytes().to_vec(),
        Element::BF16 => bf16_from(float).to_le_bytes().to_vec(),
        Element::F64 => float.to_le_bytes().to_vec(),
        Element::I8 | Element::U8 => vec![integer as u8],
        Element::I32 => (integer as i32).to_le_bytes().to_vec(),
        Element::I64 => integer.to_le_bytes().to_vec(),
        Element::Bool => vec![u8::from(integer != 0)],
    }
}

/// Rounds correctly in two steps: to binary32 with rounding to odd, then to bfloat16.
fn bf16_from(value: f64) -> bf16 {
    let mut narrow = value as f32;
    if narrow.is_finite() && f64::from(narrow) != value {
        if f64::from(narrow).abs() > value.abs() {
            narrow = f32::from_bits(narrow.to_bits() - 1);
        }
        narrow = f32::from_bits(narrow.to_bits() | 1);
    }
    bf16::from_f32(narrow)
}

/// Returns a stored element as a number. `bytes` has at least the element's size.
pub fn loaded(element: Element, bytes: &[u8]) -> Number {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0))
    }
    match element {
        Element::F32 => Number::Float(f64::from(f32::from_le_bytes(array(bytes)))),
        Element::F16 => Number::Float(f16::from_le_bytes(array(bytes)).to_f64()),
        Element::BF16 => Number::Float(bf16::from_le_bytes(array(bytes)).to_f64()),
        Element::F64 => Number::Float(f64::from_le_bytes(array(bytes))),
        Element::I8 => Number::Integer(i64::from(i8::from_le_bytes(array(bytes)))),
        Element::U8 => Number::Integer(i64::from(bytes[0])),
        Element::I32 => Number::Integer(i64::from(i32::from_le_bytes(array(bytes)))),
        Element::I64 => Number::Integer(i64::from_le_bytes(array(bytes))),
        Element::Bool => Number::Bool(bytes[0] != 0),
    }
}

/// A literal as a number of a type.
pub(super) fn constant(literal: Literal, ty: Type) -> Number {
    match ty {
        Type::F32 => match literal {
            Literal::Float(value) => Number::Float(f64::from(value as f32)),
            Literal::Int(value) => Number::Float(f64::from(value as f32)),
            Literal::Bool(value) => Number::Bool(value),
        },
        Type::F64 => match literal {
            Literal::Float(value) => Number::Float(value),
            Literal::Int(value) => Number::Float(value as f64),
            Literal::Bool(value) => Number::Bool(value),
        },
        Type::Bool => Number::Bool(matches!(literal, Literal::Bool(true))),
        Type::I32 | Type::I64 => match literal {
            Literal::Float(value) => wrapped(value as i64, ty),
            Literal::Int(value) => wrapped(value, ty),
            Literal::Bool(value) => Number::Bool(value),
        },
    }
}

/// An integer with the lowest bits that its type holds.
pub(super) fn wrapped(value: i64, ty: Type) -> Number {
    Number::Integer(match ty {
        Type::I64 => value,
        Type::I32 | Type::Bool | Type::F32 | Type::F64 => i64::from(value as i32),
    })
}
