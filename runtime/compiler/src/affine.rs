//! Integer expressions as sums of axes with coefficients, at concrete sizes.

use crate::check::Checked;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Literal, UnaryOp};

/// `Σ coefficient · axis + constant`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Affine {
    /// Axes in ascending order, with coefficients other than 0.
    pub terms: Vec<(AxisId, i64)>,
    pub constant: i64,
}

impl Affine {
    /// Returns an integer expression at these sizes. `None` if it is not affine in axes, or overflows.
    pub fn of(checked: &Checked, sizes: &[u64], expr: ExprId) -> Option<Affine> {
        let of = |expr| Affine::of(checked, sizes, expr);
        match *checked.op().expr(expr) {
            Expr::Literal(Literal::Int(value)) => Some(Affine::constant(value)),
            Expr::Size(size) => {
                let value = i64::try_from(*sizes.get(size.index())?).ok()?;
                Some(Affine::constant(value))
            }
            Expr::Axis(axis) => Some(Affine {
                terms: vec![(axis, 1)],
                constant: 0,
            }),
            Expr::Unary(UnaryOp::Neg, a) => of(a)?.times(-1),
            Expr::Binary(BinaryOp::Add, a, b) => of(a)?.plus(&of(b)?),
            Expr::Binary(BinaryOp::Sub, a, b) => of(a)?.plus(&of(b)?.times(-1)?),
            Expr::Binary(BinaryOp::Mul, a, b) => {
                let (a, b) = (of(a)?, of(b)?);
                match (a.terms.is_empty(), b.terms.is_empty()) {
                    (true, _) => b.times(a.constant),
                    (_, true) => a.times(b.constant),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    pub fn constant(constant: i64) -> Affine {
        Affine {
            terms: Vec::new(),
            constant,
        }
    }

    pub fn times(mut self, factor: i64) -> Option<Affine> {
        for (_, coefficient) in &mut self.terms {
            *coefficient = coefficient.checked_mul(factor)?;
        }
        self.terms.retain(|&(_, coefficient)| coefficient != 0);
        self.constant = self.constant.checked_mul(factor)?;
        Some(self)
    }

    pub fn plus(mut self, other: &Affine) -> Option<Affine> {
        for &(axis, coefficient) in &other.terms {
            match self.terms.binary_search_by_key(&axis, |&(axis, _)| axis) {
                Ok(at) => self.terms[at].1 = self.terms[at].1.checked_add(coefficient)?,
                Err(at) => self.terms.insert(at, (axis, coefficient)),
            }
        }
        self.terms.retain(|&(_, coefficient)| coefficient != 0);
        self.constant = self.constant.checked_add(other.constant)?;
        Some(self)
    }

    /// Replaces axes by what they stand for. `None` if one has no affine value, or the result overflows.
    pub fn substituted(&self, value_of: impl Fn(AxisId) -> Option<Affine>) -> Option<Affine> {
        let mut result = Affine::constant(self.constant);
        for &(axis, coefficient) in &self.terms {
            result = result.plus(&value_of(axis)?.times(coefficient)?)?;
        }
        Some(result)
    }
}
