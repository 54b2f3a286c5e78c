//! Arithmetic of one floating-point type: the notation in which the functions are written.

use crate::element::Type;
use crate::lower::value::{class_of, select_of};
use crate::ptx::{Builder, Compare, Opcode, Operand, Reg};

/// Emits arithmetic of one floating-point type.
pub struct Real<'b> {
    pub b: &'b mut Builder,
    ty: Type,
}

impl<'b> Real<'b> {
    pub fn new(b: &'b mut Builder, ty: Type) -> Real<'b> {
        debug_assert!(ty.is_float());
        Real { b, ty }
    }

    /// `true` if the type is binary64.
    pub fn wide(&self) -> bool {
        self.ty == Type::F64
    }

    /// A constant, rounded to the type.
    pub fn constant(&self, value: f64) -> Operand {
        if self.wide() {
            value.into()
        } else {
            (value as f32).into()
        }
    }

    /// The instruction of the type, of any sources.
    pub fn op(&mut self, narrow: Opcode, wide: Opcode, sources: &[Operand]) -> Operand {
        let opcode = if self.wide() { wide } else { narrow };
        self.b.op(opcode, sources).into()
    }

    pub fn add(&mut self, x: Operand, y: Operand) -> Operand {
        self.op(Opcode::AddF32, Opcode::AddF64, &[x, y])
    }

    pub fn sub(&mut self, x: Operand, y: Operand) -> Operand {
        self.op(Opcode::SubF32, Opcode::SubF64, &[x, y])
    }

    pub fn mul(&mut self, x: Operand, y: Operand) -> Operand {
        self.op(Opcode::MulF32, Opcode::MulF64, &[x, y])
    }

    /// `x · y + z`, rounded once.
    pub fn fma(&mut self, x: Operand, y: Operand, z: Operand) -> Operand {
        self.op(Opcode::FmaF32, Opcode::FmaF64, &[x, y, z])
    }

    /// `x · y + z` with a constant factor.
    pub fn fma_by(&mut self, x: Operand, y: f64, z: Operand) -> Operand {
        let y = self.constant(y);
        self.fma(x, y, z)
    }

    pub fn neg(&mut self, x: Operand) -> Operand {
        self.op(Opcode::NegF32, Opcode::NegF64, &[x])
    }

    pub fn abs(&mut self, x: Operand) -> Operand {
        self.op(Opcode::AbsF32, Opcode::AbsF64, &[x])
    }

    pub fn trunc(&mut self, x: Operand) -> Operand {
        self.op(Opcode::TruncF32, Opcode::TruncF64, &[x])
    }

    /// The magnitude of one value with the sign of another.
    pub fn with_sign(&mut self, magnitude: Operand, sign: Operand) -> Operand {
        self.op(Opcode::CopysignF32, Opcode::CopysignF64, &[sign, magnitude])
    }

    pub fn compare(&mut self, compare: Compare, x: Operand, y: Operand) -> Reg {
        self.b.compare(compare, class_of(self.ty), x, y)
    }

    /// `true` if `x` compares with a constant.
    pub fn is(&mut self, x: Operand, compare: Compare, value: f64) -> Reg {
        let value = self.constant(value);
        self.compare(compare, x, value)
    }

    /// `condition ? accept : reject`
    pub fn select(&mut self, condition: Reg, accept: Operand, reject: Operand) -> Operand {
        self.b
            .op(select_of(self.ty), &[accept, reject, condition.into()])
            .into()
    }

    /// The value, but not beyond a bound; NaN stays NaN.
    pub fn at_most(&mut self, x: Operand, bound: f64) -> Operand {
        let limit = self.constant(bound);
        if self.wide() {
            let beyond = self.compare(Compare::Gt, x, limit);
            self.select(beyond, limit, x)
        } else {
            self.b.op(Opcode::MinNanF32, &[x, limit]).into()
        }
    }

    /// The value, but not below a bound; NaN stays NaN.
    pub fn at_least(&mut self, x: Operand, bound: f64) -> Operand {
        let limit = self.constant(bound);
        if self.wide() {
            let beyond = self.compare(Compare::Lt, x, limit);
            self.select(beyond, limit, x)
        } else {
            self.b.op(Opcode::MaxNanF32, &[x, limit]).into()
        }
    }

    /// `1 / x` for `1 ≤ x`, or wherever a flushed subnormal result is no harm.
    pub fn reciprocal(&mut self, x: Operand) -> Operand {
        self.op(Opcode::RcpApproxF32, Opcode::RcpF64, &[x])
    }

    /// A polynomial in `x`, lowest coefficient first.
    pub fn polynomial(&mut self, x: Operand, coefficients: &[f64]) -> Operand {
        let mut rest = coefficients
            .iter()
            .rev()
            .map(|&c| self.constant(c))
            .collect::<Vec<_>>()
            .into_iter();
        let mut total = rest.next().unwrap_or(self.constant(0.0));
        for coefficient in rest {
            total = self.fma(total, x, coefficient);
        }
        total
    }
}
