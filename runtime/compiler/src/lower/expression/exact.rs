//! The indices that need 64 bits although index registers have 32.
//!
//! Indices are integers that do not wrap. In a kernel of 32-bit registers those of sizes and axes alone fit
//! ([`is_wide`](crate::tuning::is_wide)); what is read from a tensor may be anything, and so is what is computed with it. 32-bit
//! arithmetic then gives the index modulo 2³², which is enough as long as no index outside a dimension looks like one inside.

use super::{Lowering, Reduce};
use crate::check::Interval;
use crate::element::Type;
use crate::ir::{BinaryOp, Expr, ExprId, Literal, ReduceOp, SizeId, Source, UnaryOp};
use crate::lower::Error;
use crate::lower::arithmetic;
use crate::lower::value::Value;

/// What 32-bit arithmetic preserves of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Narrow {
    /// Something else.
    Wrong,
    /// The index, if it is in range.
    Modulo,
    /// The index, and outside the dimension something that is outside too.
    Exact,
}

impl Lowering<'_> {
    /// `true` if an index must be computed in 64 bits though registers have 32, or compared so though they have 64.
    pub(super) fn needs_64(&self, at: ExprId, size: SizeId, gathered: bool, compared: bool) -> bool {
        if !gathered && (self.math.wide || self.checked.is_index(at)) {
            return false;
        }
        match self.narrow(at, size) {
            Narrow::Exact => false,
            Narrow::Modulo => compared,
            Narrow::Wrong => true,
        }
    }

    fn narrow(&self, at: ExprId, size: SizeId) -> Narrow {
        let Some(range) = self.modulo(at) else {
            return Narrow::Wrong;
        };
        // Compared as an unsigned number: a negative index looks like one 2³² above it.
        let extent = self.largest(size);
        let apart = Interval::new(extent - (1 << 32), (1 << 32) - 1);
        if extent < 1 << 31 && range.within(apart) {
            Narrow::Exact
        } else {
            Narrow::Modulo
        }
    }

    /// The values of an integer in an index, if 32-bit arithmetic gives them modulo 2³².
    fn modulo(&self, expr: ExprId) -> Option<Interval> {
        let i32s = Interval::of(Type::I32);
        let range = match *self.op().expr(expr) {
            Expr::Literal(Literal::Int(value)) => Some(Interval::new(value.into(), value.into())),
            Expr::Size(size) => match self.specialisation.extents[size.index()].fixed() {
                Some(value) => Some(Interval::new(value.into(), value.into())),
                None => Some(Interval::new(0, self.largest(size))),
            },
            Expr::Axis(axis) => Some(Interval::new(0, self.largest(self.checked.extent(axis)) - 1)),
            Expr::Unary(UnaryOp::Neg, a) => self.modulo(a).map(|a| a.times(-1)),
            Expr::Binary(BinaryOp::Add, a, b) => self.modulo(a).zip(self.modulo(b)).map(|(a, b)| a.plus(b)),
            Expr::Binary(BinaryOp::Sub, a, b) => self.modulo(a).zip(self.modulo(b)).map(|(a, b)| a.plus(b.times(-1))),
            Expr::Binary(BinaryOp::Mul, a, b) => self.modulo(a).zip(self.modulo(b)).map(|(a, b)| a.product(b)),
            Expr::Binary(op @ (BinaryOp::Div | BinaryOp::Rem), a, b) => {
                let operands = self.modulo(a).zip(self.modulo(b));
                // A quotient needs both operands exactly, not modulo 2³².
                let known = operands.filter(|(a, b)| a.within(i32s) && b.within(Interval::new(0, i32::MAX.into())));
                known.map(|(a, b)| match op {
                    BinaryOp::Div => a.quotient(b.low.unwrap_or(0).max(1)).hull(Interval::new(0, 0)),
                    _ => a.remainder(b.high.filter(|_| b.low >= Some(1))),
                })
            }
            _ => self.value_range(expr),
        };
        if self.checked.is_index(expr) && !self.math.wide {
            return Some(range.map_or(i32s, |range| range.narrowed(i32s)));
        }
        range
    }

    /// The values of what index arithmetic looks into no further, if they are an `i32`'s.
    fn value_range(&self, expr: ExprId) -> Option<Interval> {
        let op = self.op();
        let element = match op.expr(expr) {
            Expr::Read {
                source: Source::Input(input),
                or: None,
                ..
            } => op.inputs[input.index()].element,
            Expr::Cast(_, element) => *element,
            Expr::Reduce {
                op: ReduceOp::ArgMax | ReduceOp::ArgMin,
                axes,
                ..
            } => {
                let extents = axes.iter().map(|&axis| self.largest(self.checked.extent(axis)));
                let terms = extents.fold(1i128, i128::saturating_mul);
                let range = Interval::new(0, (terms - 1).max(0));
                return Some(range).filter(|range| range.within(Interval::of(Type::I32)));
            }
            _ => self.ty(expr).element(),
        };
        match self.ty(expr) {
            Type::I32 => Some(Interval::of_element(element)),
            _ => None,
        }
    }

    /// The largest value of a size.
    fn largest(&self, size: SizeId) -> i128 {
        match self.specialisation.extents[size.index()].fixed() {
            Some(value) => value.into(),
            None if self.math.wide => i64::MAX.into(),
            None => i32::MAX.into(),
        }
    }

    /// An index as a 64-bit value, whatever registers have.
    pub(super) fn index_in_64(&mut self, at: ExprId, family: &mut dyn Reduce) -> Result<Value, Error> {
        Ok(match *self.op().expr(at) {
            Expr::Unary(UnaryOp::Neg, a) => {
                let a = self.index_in_64(a, family)?;
                arithmetic::unary(&mut self.b, UnaryOp::Neg, a)
            }
            Expr::Binary(
                op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem),
                x,
                y,
            ) => {
                let (x, y) = (self.index_in_64(x, family)?, self.index_in_64(y, family)?);
                arithmetic::binary(&mut self.b, op, x, y)
            }
            _ => self.value_as(at, Type::I64, family)?,
        })
    }
}
