//! Sizes and indices as sums of registers, and what divides them.

use super::{Lowering, Reduce};
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Literal, SizeId, UnaryOp};
use crate::lower::Error;
use crate::lower::arithmetic;
use crate::lower::index::Linear;
use crate::lower::value::Value;
use crate::ptx::{Operand, Reg};

impl Lowering<'_> {
    /// A size: compiled in, or the kernel argument.
    pub fn size(&self, size: SizeId) -> Linear {
        self.sizes[size.index()].clone()
    }

    /// A power of two up to 16 that divides the size.
    pub fn size_multiple(&self, size: SizeId) -> u32 {
        self.specialisation.extents[size.index()].multiple_of()
    }

    /// The extent of an axis.
    pub fn extent(&self, axis: AxisId) -> Linear {
        self.size(self.checked.extent(axis))
    }

    /// The product of extents.
    pub fn volume(&mut self, sizes: &[SizeId]) -> Linear {
        let mut volume = Linear::constant(1);
        for &size in sizes {
            volume = self.product(&volume, &self.size(size));
        }
        volume
    }

    /// A product, remembering what divides it.
    pub(super) fn product(&mut self, x: &Linear, y: &Linear) -> Linear {
        let product = self.math.product(&mut self.b, x, y);
        // A constant is a coefficient, which tells by itself.
        if let (None, None, &[(reg, _)]) = (x.as_constant(), y.as_constant(), product.terms()) {
            let multiple = self.multiple_of(x).saturating_mul(self.multiple_of(y)).min(16);
            self.multiples.entry(reg).or_insert(multiple);
        }
        product
    }

    /// A power of two up to 16 that divides the value, constants included.
    fn multiple_of(&self, value: &Linear) -> u32 {
        let constant = crate::size::Extent::alignment(value.constant_part().unsigned_abs());
        self.terms_multiple(value).min(constant)
    }

    pub(super) fn terms_multiple(&self, value: &Linear) -> u32 {
        value
            .terms()
            .iter()
            .map(|(reg, coefficient)| {
                let of_register = self.multiples.get(reg).copied().unwrap_or(1);
                crate::size::Extent::alignment(coefficient.unsigned_abs())
                    .saturating_mul(of_register)
                    .min(16)
            })
            .min()
            .unwrap_or(16)
    }

    /// Notes that a power of two divides a register.
    pub fn note_multiple(&mut self, reg: Reg, multiple: u32) {
        self.multiples.insert(reg, multiple);
    }

    /// An integer expression as an index.
    ///
    /// # Errors
    /// As of lowering.
    pub fn index(&mut self, expr: ExprId, family: &mut dyn Reduce) -> Result<Linear, Error> {
        Ok(match self.op().expr(expr) {
            Expr::Literal(Literal::Int(value)) => Linear::constant(*value),
            Expr::Size(size) => self.size(*size),
            Expr::Axis(axis) => self.binding(*axis)?.value,
            Expr::Unary(UnaryOp::Neg, a) => self.index(*a, family)?.times(-1),
            Expr::Binary(BinaryOp::Add, x, y) => {
                let (x, y) = (self.index(*x, family)?, self.index(*y, family)?);
                x.plus(&y)
            }
            Expr::Binary(BinaryOp::Sub, x, y) => {
                let (x, y) = (self.index(*x, family)?, self.index(*y, family)?);
                x.plus(&y.times(-1))
            }
            Expr::Binary(BinaryOp::Mul, x, y) => {
                let (x, y) = (self.index(*x, family)?, self.index(*y, family)?);
                self.product(&x, &y)
            }
            Expr::Binary(op @ (BinaryOp::Div | BinaryOp::Rem), x, y) => {
                let whole = self.never_negative(*x);
                let (x, y) = (self.index(*x, family)?, self.index(*y, family)?);
                if whole && y.as_constant().is_some_and(|divisor| divisor > 0) {
                    let (quotient, remainder) = self.math.divide(&mut self.b, &x, &y);
                    return Ok(if *op == BinaryOp::Div { quotient } else { remainder });
                }
                let ty = self.index_type();
                let x = Value {
                    ty,
                    operand: self.math.operand(&mut self.b, &x),
                };
                let y = Value {
                    ty,
                    operand: self.math.operand(&mut self.b, &y),
                };
                let value = arithmetic::binary(&mut self.b, *op, x, y);
                self.linear_of(value)
            }
            _ => {
                let ty = self.index_type();
                let value = self.value_as(expr, ty, family)?;
                self.linear_of(value)
            }
        })
    }

    /// `true` if an integer expression is certainly not negative, and does not wrap: an axis, divided or a remainder.
    fn never_negative(&self, expr: ExprId) -> bool {
        match *self.op().expr(expr) {
            Expr::Axis(_) => true,
            Expr::Binary(BinaryOp::Div | BinaryOp::Rem, x, y) => {
                let divisor = self.op().expr(y);
                matches!(divisor, Expr::Literal(Literal::Int(1..))) && self.never_negative(x)
            }
            _ => false,
        }
    }

    pub(super) fn index_type(&self) -> Type {
        if self.math.wide { Type::I64 } else { Type::I32 }
    }

    pub(super) fn linear_of(&mut self, value: Value) -> Linear {
        match value.operand {
            Operand::Int(value) => Linear::constant(value),
            _ => Linear::register(value.reg(&mut self.b)),
        }
    }
}
