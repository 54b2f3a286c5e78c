//! Sizes and indices as sums of registers, and what divides them.

use super::{Lowering, Reduce};
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, CompareOp, Expr, ExprId, Literal, SizeId, UnaryOp};
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

    /// The registers of sizes that are arguments.
    pub fn size_registers(&self) -> impl Iterator<Item = Reg> {
        self.sizes.iter().flat_map(|size| size.terms()).map(|&(reg, _)| reg)
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
                    return Ok(match op {
                        BinaryOp::Div => quotient,
                        _ => self.with_lanes_of(&x, remainder),
                    });
                }
                if let (true, Some(divided)) = (whole, self.divided_together(*op, &x, &y)) {
                    return Ok(divided);
                }
                let [x, y] = [x, y].map(|side| self.index_operand(&side));
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

    /// The quotient or the remainder of a value that is not negative by a size in a register, such that neighbouring lanes share a division:
    /// `(8 · a + 3) / (8 · b)` is `a / b`. None if too little is known of the size.
    fn divided_together(&mut self, op: BinaryOp, x: &Linear, divisor: &Linear) -> Option<Linear> {
        let factor = x.common_factor(self.multiple_of(divisor).into());
        if factor == 1 || x.as_constant().is_some() || divisor.as_constant().is_some() {
            return None;
        }
        let (whole, rest) = x.whole_and_rest(factor);
        let divisor = self.math.divide(&mut self.b, divisor, &Linear::constant(factor)).0;
        let [whole, divisor] = [whole, divisor].map(|side| self.index_operand(&side));
        let divided = arithmetic::binary(&mut self.b, op, whole, divisor);
        let divided = self.linear_of(divided);
        Some(match op {
            BinaryOp::Div => divided,
            _ => self.with_lanes_of(x, divided.times(factor).plus_constant(rest)),
        })
    }

    /// Notes that the register of a remainder of `x` carries the lanes that `x` has: neighbours are neighbours in it.
    fn with_lanes_of(&mut self, x: &Linear, remainder: Linear) -> Linear {
        let lanes = [self.lanes, self.across].into_iter().flatten();
        let mut carried = lanes
            .map(|lanes| lanes.register)
            .chain(self.lane_registers.keys().copied());
        if carried.any(|carrier| x.terms().iter().any(|&(reg, _)| reg == carrier)) {
            for &(reg, coefficient) in remainder.terms().iter().filter(|&&(_, coefficient)| coefficient > 1) {
                self.lane_registers.insert(reg, coefficient);
            }
        }
        remainder
    }

    /// Operands that compare as these do, and are the same for neighbouring lanes that certainly compare alike: `8 · a + 3 < 8 · b` where
    /// `8 · a < 8 · b`. None if no lanes are computed together, or if they may differ.
    pub(super) fn compared_together(&self, relation: CompareOp, x: &Linear, y: &Linear) -> Option<[Linear; 2]> {
        self.lanes?;
        let factor = i64::from(self.terms_multiple(x).min(self.terms_multiple(y)));
        let [in_x, in_y] = [x, y].map(|side| side.constant_part().rem_euclid(factor));
        let more = match relation {
            CompareOp::Lt | CompareOp::Ge if in_y > in_x => factor,
            CompareOp::Le | CompareOp::Gt if in_y < in_x => -factor,
            CompareOp::Eq | CompareOp::Ne => return None,
            _ => 0,
        };
        let fits = match y.as_constant() {
            Some(y) => self.math.wide || i32::try_from(y - in_y + more).is_ok(),
            // A size may be the largest number that there is.
            None => more == 0,
        };
        (factor > 1 && fits).then(|| [x.plus_constant(-in_x), y.plus_constant(more - in_y)])
    }

    /// `true` if an expression is made of axes, sizes and numbers alone.
    pub(super) fn is_of_coordinates(&self, expr: ExprId) -> bool {
        match *self.op().expr(expr) {
            Expr::Axis(_) | Expr::Size(_) | Expr::Literal(_) => true,
            Expr::Unary(UnaryOp::Neg, a) => self.is_of_coordinates(a),
            Expr::Binary(op, x, y) => {
                let is_arithmetic = matches!(
                    op,
                    BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem
                );
                is_arithmetic && self.is_of_coordinates(x) && self.is_of_coordinates(y)
            }
            _ => false,
        }
    }

    /// `true` if an integer expression is certainly not negative, and does not wrap: an axis, divided or a remainder.
    fn never_negative(&self, expr: ExprId) -> bool {
        match *self.op().expr(expr) {
            Expr::Axis(_) => true,
            Expr::Binary(BinaryOp::Div | BinaryOp::Rem, x, y) => {
                let divisor = self.op().expr(y);
                matches!(divisor, Expr::Literal(Literal::Int(1..)) | Expr::Size(_)) && self.never_negative(x)
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
