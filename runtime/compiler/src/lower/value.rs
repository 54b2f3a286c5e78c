//! Values of the language in registers: conversions and the arithmetic that is one or a few instructions.

use crate::element::{Element, Type};
use crate::ir::{CompareOp, Literal};
use crate::ptx::{Builder, Class, Compare, Opcode, Operand, Reg, Width};

/// A value: what it is computed in, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value {
    /// Its type.
    pub ty: Type,
    /// A register of the type's class, or a constant. Truth values are always registers.
    pub operand: Operand,
}

/// The class of registers that hold a type.
pub const fn class_of(ty: Type) -> Class {
    match ty {
        Type::Bool => Class::Pred,
        Type::I32 => Class::B32,
        Type::I64 => Class::B64,
        Type::F32 => Class::F32,
        Type::F64 => Class::F64,
    }
}

/// The width of a value of a type in shared memory.
pub const fn width_in_shared(ty: Type) -> Width {
    match ty {
        Type::Bool | Type::I32 => Width::B32,
        Type::I64 => Width::B64,
        Type::F32 => Width::F32,
        Type::F64 => Width::F64,
    }
}

/// The instruction for a type: 32-bit integer, 64-bit integer, binary32, binary64.
pub(super) const fn by_type(ty: Type, i32: Opcode, i64: Opcode, f32: Opcode, f64: Opcode) -> Opcode {
    match ty {
        Type::Bool | Type::I32 => i32,
        Type::I64 => i64,
        Type::F32 => f32,
        Type::F64 => f64,
    }
}

/// The addition of a type.
pub const fn add_of(ty: Type) -> Opcode {
    by_type(ty, Opcode::AddS32, Opcode::AddS64, Opcode::AddF32, Opcode::AddF64)
}

/// The multiplication of a type.
pub const fn mul_of(ty: Type) -> Opcode {
    by_type(ty, Opcode::MulS32, Opcode::MulS64, Opcode::MulF32, Opcode::MulF64)
}

/// `a · b + c` of a type, rounded once.
pub const fn fma_of(ty: Type) -> Opcode {
    by_type(ty, Opcode::MadS32, Opcode::MadS64, Opcode::FmaF32, Opcode::FmaF64)
}

/// The selection of a type; not for truth values.
pub const fn select_of(ty: Type) -> Opcode {
    by_type(ty, Opcode::SelB32, Opcode::SelB64, Opcode::SelF32, Opcode::SelF64)
}

impl Value {
    /// A value in a register.
    pub fn new(ty: Type, reg: Reg) -> Value {
        Value {
            ty,
            operand: reg.into(),
        }
    }

    /// A binary32 constant.
    pub fn f32(value: f32) -> Value {
        Value {
            ty: Type::F32,
            operand: value.into(),
        }
    }

    /// A binary64 constant.
    pub fn f64(value: f64) -> Value {
        Value {
            ty: Type::F64,
            operand: value.into(),
        }
    }

    /// An `i32` constant.
    pub fn i32(value: i32) -> Value {
        Value {
            ty: Type::I32,
            operand: i64::from(value).into(),
        }
    }

    /// An `i64` constant.
    pub fn i64(value: i64) -> Value {
        Value {
            ty: Type::I64,
            operand: value.into(),
        }
    }

    /// The zero of a type.
    pub fn zero(b: &mut Builder, ty: Type) -> Value {
        Value::literal(b, Literal::Int(0), ty)
    }

    /// A literal as a value of a type, rounded once.
    pub fn literal(b: &mut Builder, literal: Literal, ty: Type) -> Value {
        let (float, int) = match literal {
            Literal::Float(value) => (value, value as i64),
            Literal::Int(value) => (value as f64, value),
            Literal::Bool(value) => (f64::from(u8::from(value)), i64::from(value)),
        };
        match ty {
            Type::F32 => match literal {
                Literal::Float(value) => Value::f32(value as f32),
                _ => Value::f32(int as f32),
            },
            Type::F64 => Value::f64(float),
            Type::I32 => Value::i32(int as i32),
            Type::I64 => Value::i64(int),
            Type::Bool => {
                let reg = b.compare(Compare::Ne, Class::B32, int.into(), 0.into());
                Value::new(Type::Bool, reg)
            }
        }
    }

    /// The value in a register.
    pub fn reg(self, b: &mut Builder) -> Reg {
        match self.operand {
            Operand::Reg(reg) => reg,
            constant => b.constant(class_of(self.ty), constant),
        }
    }

    /// The value in another type: promotion, or `as`.
    pub fn to(self, b: &mut Builder, ty: Type) -> Value {
        if self.ty == ty {
            return self;
        }
        if let Some(constant) = self.constant_to(ty) {
            return constant;
        }
        let opcode = match (self.ty, ty) {
            (Type::I32, Type::I64) => Opcode::CvtS64S32,
            (Type::I32, Type::F32) => Opcode::CvtF32S32,
            (Type::I32, Type::F64) => Opcode::CvtF64S32,
            (Type::I64, Type::I32) => Opcode::CvtU32U64,
            (Type::I64, Type::F32) => Opcode::CvtF32S64,
            (Type::I64, Type::F64) => Opcode::CvtF64S64,
            (Type::F32, Type::I32) => return float_to_integer(b, self, Opcode::CvtS32F32, Type::I32),
            (Type::F32, Type::I64) => return float_to_integer(b, self, Opcode::CvtS64F32, Type::I64),
            (Type::F32, Type::F64) => Opcode::CvtF64F32,
            (Type::F64, Type::I32) => return float_to_integer(b, self, Opcode::CvtS32F64, Type::I32),
            (Type::F64, Type::I64) => return float_to_integer(b, self, Opcode::CvtS64F64, Type::I64),
            (Type::F64, Type::F32) => Opcode::CvtF32F64,
            (Type::Bool, _) => {
                let (one, zero) = (
                    Value::literal(b, Literal::Int(1), ty),
                    Value::literal(b, Literal::Int(0), ty),
                );
                return Value::new(ty, b.op(select_of(ty), &[one.operand, zero.operand, self.operand]));
            }
            (_, Type::Bool) => {
                let zero = Value::zero(b, self.ty);
                let reg = compare(b, CompareOp::Ne, self, zero);
                return Value::new(Type::Bool, reg);
            }
            _ => return self,
        };
        Value::new(ty, b.op(opcode, &[self.operand]))
    }

    fn constant_to(self, ty: Type) -> Option<Value> {
        let value = match (self.operand, ty) {
            (Operand::Int(v), Type::I32) => Value::i32(v as i32),
            (Operand::Int(v), Type::I64) => Value::i64(v),
            (Operand::Int(v), Type::F32) => Value::f32(v as f32),
            (Operand::Int(v), Type::F64) => Value::f64(v as f64),
            (Operand::F32(bits), Type::F64) => Value::f64(f64::from(f32::from_bits(bits))),
            (Operand::F32(bits), Type::I32) => Value::i32(f32::from_bits(bits) as i32),
            (Operand::F32(bits), Type::I64) => Value::i64(f32::from_bits(bits) as i64),
            (Operand::F64(bits), Type::F32) => Value::f32(f64::from_bits(bits) as f32),
            (Operand::F64(bits), Type::I32) => Value::i32(f64::from_bits(bits) as i32),
            (Operand::F64(bits), Type::I64) => Value::i64(f64::from_bits(bits) as i64),
            _ => return None,
        };
        Some(value)
    }
}

/// Rust's `as`: towards zero, saturating; NaN is 0 (the instruction leaves that open for 64-bit integers).
fn float_to_integer(b: &mut Builder, value: Value, opcode: Opcode, ty: Type) -> Value {
    let converted = b.op(opcode, &[value.operand]);
    let number = b.compare(Compare::Eq, class_of(value.ty), value.operand, value.operand);
    let zero = Operand::Int(0);
    Value::new(ty, b.op(select_of(ty), &[converted.into(), zero, number.into()]))
}

/// Stored bits as a value.
pub fn from_storage(b: &mut Builder, element: Element, stored: Reg) -> Value {
    let ty = element.compute();
    let reg = match element {
        Element::F32 | Element::F64 | Element::I32 | Element::I64 | Element::I8 | Element::U8 => stored,
        Element::F16 => b.op(Opcode::CvtF32F16, &[stored.into()]),
        Element::BF16 => {
            let bits = b.op(Opcode::CvtU32U16, &[stored.into()]);
            let high = b.op(Opcode::ShlB32, &[bits.into(), 16.into()]);
            b.op(Opcode::F32Bits, &[high.into()])
        }
        Element::Bool => b.compare(Compare::Ne, Class::B32, stored.into(), 0.into()),
    };
    Value::new(ty, reg)
}

/// A value as the bits that are stored: converted to the element's compute type, then rounded once or wrapped.
pub fn to_storage(b: &mut Builder, element: Element, value: Value) -> Operand {
    match element {
        Element::F16 if value.ty == Type::F64 => b.op(Opcode::CvtF16F64, &[value.operand]).into(),
        Element::BF16 if value.ty == Type::F64 => {
            let odd = round_to_odd(b, value);
            b.op(Opcode::CvtBf16F32, &[odd.into()]).into()
        }
        Element::F16 => {
            let value = value.to(b, Type::F32);
            b.op(Opcode::CvtF16F32, &[value.operand]).into()
        }
        Element::BF16 => {
            let value = value.to(b, Type::F32);
            b.op(Opcode::CvtBf16F32, &[value.operand]).into()
        }
        Element::Bool => value.to(b, Type::I32).operand,
        // Stores of bytes take the low ones.
        Element::F32 | Element::F64 | Element::I32 | Element::I64 | Element::I8 | Element::U8 => {
            value.to(b, element.compute()).operand
        }
    }
}

/// A binary64 as a binary32 that a further rounding treats like the original: truncated, the last bit set where that lost something.
fn round_to_odd(b: &mut Builder, value: Value) -> Reg {
    let truncated = b.op(Opcode::CvtRzF32F64, &[value.operand]);
    let back = b.op(Opcode::CvtF64F32, &[truncated.into()]);
    let inexact = b.compare(Compare::Ne, Class::F64, back.into(), value.operand);
    let bits = b.op(Opcode::BitsF32, &[truncated.into()]);
    let odd = b.op(Opcode::OrB32, &[bits.into(), 1.into()]);
    let bits = b.op(Opcode::SelB32, &[odd.into(), bits.into(), inexact.into()]);
    b.op(Opcode::F32Bits, &[bits.into()])
}

/// `value as element`: rounded or wrapped as storage would, then back in the compute type.
pub fn cast(b: &mut Builder, value: Value, element: Element) -> Value {
    match element {
        Element::F16 | Element::BF16 => {
            let stored = to_storage(b, element, value);
            match stored {
                Operand::Reg(reg) => from_storage(b, element, reg),
                _ => value.to(b, Type::F32),
            }
        }
        Element::I8 | Element::U8 => {
            let (low, high) = if element == Element::I8 { (-128, 127) } else { (0, 255) };
            let wide = value.to(b, Type::I32);
            if value.ty.is_float() {
                let reg = b.op(Opcode::MaxS32, &[wide.operand, low.into()]);
                let reg = b.op(Opcode::MinS32, &[reg.into(), high.into()]);
                return Value::new(Type::I32, reg);
            }
            let reg = if element == Element::I8 {
                let up = b.op(Opcode::ShlB32, &[wide.operand, 24.into()]);
                b.op(Opcode::ShrS32, &[up.into(), 24.into()])
            } else {
                b.op(Opcode::AndB32, &[wide.operand, 255.into()])
            };
            Value::new(Type::I32, reg)
        }
        Element::F32 | Element::F64 | Element::I32 | Element::I64 | Element::Bool => value.to(b, element.compute()),
    }
}

/// A comparison of two values of one type, as a predicate.
pub fn compare(b: &mut Builder, op: CompareOp, x: Value, y: Value) -> Reg {
    if x.ty == Type::Bool {
        return compare_truth(b, op, x, y);
    }
    b.compare(relation(op, x.ty), class_of(x.ty), x.operand, y.operand)
}

/// The relation of a comparison of values of a type, which are no truth values.
pub(super) fn relation(op: CompareOp, ty: Type) -> Compare {
    match op {
        CompareOp::Eq => Compare::Eq,
        CompareOp::Ne if ty.is_float() => Compare::NeU,
        CompareOp::Ne => Compare::Ne,
        CompareOp::Lt => Compare::Lt,
        CompareOp::Le => Compare::Le,
        CompareOp::Gt => Compare::Gt,
        CompareOp::Ge => Compare::Ge,
    }
}

fn compare_truth(b: &mut Builder, op: CompareOp, x: Value, y: Value) -> Reg {
    match op {
        CompareOp::Ne => b.op(Opcode::XorPred, &[x.operand, y.operand]),
        CompareOp::Eq => {
            let differ = b.op(Opcode::XorPred, &[x.operand, y.operand]);
            b.op(Opcode::NotPred, &[differ.into()])
        }
        _ => {
            let (x, y) = (x.to(b, Type::I32), y.to(b, Type::I32));
            compare(b, op, x, y)
        }
    }
}
