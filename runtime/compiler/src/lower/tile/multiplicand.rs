//! The types that tensor cores multiply.

use super::products::{Products, Side};
use crate::check::Checked;
use crate::element::{Element, FloatFormat, Numbers, Type};
use crate::ir::{BinaryOp, Expr, ExprId, Function, Literal, Source, UnaryOp};

/// A type that tensor cores multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Multiplicand {
    /// 8-bit integers; whether they are signed.
    Int8(bool),
    F16,
    Bf16,
    /// A binary32 of 10 explicit bits.
    Tf32,
}

impl Multiplicand {
    /// Bytes of one.
    pub(crate) const fn bytes(self) -> u32 {
        match self {
            Multiplicand::Int8(_) => 1,
            Multiplicand::F16 | Multiplicand::Bf16 => 2,
            Multiplicand::Tf32 => 4,
        }
    }

    /// Terms that tensor cores multiply at once: 32 bytes of them.
    pub(crate) const fn at_once(self) -> u32 {
        32 / self.bytes()
    }

    /// The largest magnitude of an integer one.
    pub(crate) const fn most(self) -> u64 {
        match self {
            Multiplicand::Int8(true) => 128,
            Multiplicand::Int8(false) => 255,
            _ => u64::MAX,
        }
    }

    /// The element that is stored as the multiplicand is.
    pub(crate) const fn element(self) -> Element {
        match self {
            Multiplicand::Int8(true) => Element::I8,
            Multiplicand::Int8(false) => Element::U8,
            Multiplicand::F16 => Element::F16,
            Multiplicand::Bf16 => Element::BF16,
            Multiplicand::Tf32 => Element::F32,
        }
    }

    /// Both sides', the narrowest that hold the products of an operator. None if there are none.
    pub(crate) fn of(checked: &Checked, shape: &Products) -> Option<[Multiplicand; 2]> {
        let holds = |side: &Side, multiplicand: Multiplicand| match side.factors.as_slice() {
            &[factor] => multiplicand.holds(checked, factor, 0),
            // A product of several factors has more bits.
            _ => false,
        };
        Multiplicand::pairs(shape.ty).iter().copied().find(|&[left, right]| {
            shape
                .sides
                .iter()
                .all(|side| holds(side, if side.of_rows { left } else { right }))
        })
    }

    /// The narrowest that hold two factors of a sum of this type. None if there are none.
    pub(crate) fn of_factors(checked: &Checked, ty: Type, factors: [ExprId; 2]) -> Option<[Multiplicand; 2]> {
        let mut pairs = Multiplicand::pairs(ty).iter().copied();
        pairs.find(|pair| {
            (pair.iter().zip(factors)).all(|(multiplicand, factor)| multiplicand.holds(checked, factor, 0))
        })
    }

    /// The pairs whose products tensor cores add in this type, narrowest first.
    const fn pairs(ty: Type) -> &'static [[Multiplicand; 2]] {
        match ty {
            Type::I32 => &[
                [Multiplicand::Int8(true), Multiplicand::Int8(true)],
                [Multiplicand::Int8(false), Multiplicand::Int8(false)],
                [Multiplicand::Int8(true), Multiplicand::Int8(false)],
                [Multiplicand::Int8(false), Multiplicand::Int8(true)],
            ],
            Type::F32 => &[[Multiplicand::F16; 2], [Multiplicand::Bf16; 2], [Multiplicand::Tf32; 2]],
            _ => &[],
        }
    }

    /// `true` if every value of an expression is one.
    pub(crate) fn holds_all(self, checked: &Checked, expr: ExprId) -> bool {
        self.holds(checked, expr, 0)
    }

    fn holds(self, checked: &Checked, expr: ExprId, depth: u32) -> bool {
        if depth > 16 {
            return false;
        }
        let op = checked.op();
        let holds = |expr: ExprId| self.holds(checked, expr, depth + 1);
        match *op.expr(expr) {
            Expr::Literal(literal) => self.holds_literal(literal),
            Expr::Scalar(input) => self.holds_element(op.inputs[input.index()].element),
            Expr::Read { source, or, .. } => {
                let value = match source {
                    Source::Input(input) => self.holds_element(op.inputs[input.index()].element),
                    Source::Let(inner) => holds(op.lets[inner.index()].body),
                };
                value && or.is_none_or(holds)
            }
            Expr::Cast(a, element) => {
                self.holds_element(element) || (element.compute() == Type::F32 && element.size() == 4 && holds(a))
            }
            Expr::Select { accept, reject, .. } => holds(accept) && holds(reject),
            Expr::Unary(UnaryOp::Neg, a) => !matches!(self, Multiplicand::Int8(_)) && holds(a),
            Expr::Binary(BinaryOp::Min | BinaryOp::Max, a, b) => holds(a) && holds(b),
            Expr::Call(Function::Tf32 | Function::Tf32TowardZero, _) => self == Multiplicand::Tf32,
            Expr::Call(Function::Relu, ref arguments) => arguments.iter().all(|&a| holds(a)),
            Expr::Call(Function::Abs, ref arguments) => {
                !matches!(self, Multiplicand::Int8(_)) && arguments.iter().all(|&a| holds(a))
            }
            _ => false,
        }
    }

    fn holds_element(self, element: Element) -> bool {
        match self.format() {
            Some(format) => format.holds(element.numbers()),
            None => element == self.element(),
        }
    }

    /// The format of a floating-point multiplicand.
    const fn format(self) -> Option<FloatFormat> {
        match (self, self.element().numbers()) {
            (Multiplicand::Tf32, Numbers::Float(format)) => Some(FloatFormat {
                fraction_bits: 10,
                ..format
            }),
            (_, Numbers::Float(format)) => Some(format),
            (_, Numbers::Integer(_) | Numbers::Truth) => None,
        }
    }

    fn holds_literal(self, literal: Literal) -> bool {
        let value = match literal {
            Literal::Float(value) => value,
            Literal::Int(value) => value as f64,
            Literal::Bool(value) => f64::from(u8::from(value)),
        };
        match self {
            Multiplicand::Int8(true) => value.fract() == 0.0 && (-128.0..=127.0).contains(&value),
            Multiplicand::Int8(false) => value.fract() == 0.0 && (0.0..=255.0).contains(&value),
            Multiplicand::F16 => f64::from(half::f16::from_f64(value)) == value,
            Multiplicand::Bf16 => f64::from(half::bf16::from_f64(value)) == value,
            // The binary32 numbers whose lowest 13 bits are 0.
            Multiplicand::Tf32 => f64::from(value as f32) == value && (value as f32).to_bits() & 0x1FFF == 0,
        }
    }
}
