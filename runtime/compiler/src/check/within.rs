//! Indices that are in range at every size, by what derived sizes are made of: with `H = Q - 2 * G`, an axis of `H` elements and `H + g` are
//! within `Q`.

use crate::ir::{BinaryOp, Expr, ExprId, Literal, Op, SizeId};
use crate::size::{SizeExpr, SizeOp};
use std::collections::BTreeMap;

/// An operator's sizes as sums of those that are no sums of others.
pub(super) struct Sizes<'a> {
    op: &'a Op,
    /// For each axis its extent.
    extents: &'a [SizeId],
    sums: Vec<Sum>,
}

/// `Σ coefficient · size + constant`. Sizes are not negative.
#[derive(Debug, Clone, Default)]
struct Sum {
    terms: BTreeMap<SizeId, i64>,
    constant: i64,
}

impl<'a> Sizes<'a> {
    /// `classes` has for each size the first of those that equal it at every call.
    pub fn new(op: &'a Op, extents: &'a [SizeId], classes: &[SizeId]) -> Sizes<'a> {
        let mut sums: Vec<Sum> = Vec::with_capacity(op.sizes.len());
        for (number, class) in classes.iter().enumerate() {
            let sum = match (sums.get(class.index()), &op.sizes[number].definition) {
                (Some(first), _) => Some(first.clone()),
                (None, Some(definition)) => formula(definition, &sums),
                (None, None) => None,
            };
            sums.push(sum.unwrap_or_else(|| Sum::size(*class)));
        }
        Sizes { op, extents, sums }
    }

    /// `true` if an index is within a dimension wherever its axes have elements. An index without axes is none.
    pub fn are_within(&self, index: ExprId, dimension: SizeId) -> bool {
        let room = || {
            let (most, extent) = (self.most(index)?, self.sums[dimension.index()].clone());
            extent.plus(&Sum::constant(-1))?.plus(&most.times(-1)?)
        };
        room().is_some_and(|room| room.is_never_negative()) && self.has_axis(index)
    }

    /// The largest value of an index that is never negative. None if it may be negative, or is no sum of axes and sizes.
    fn most(&self, index: ExprId) -> Option<Sum> {
        match *self.op.expr(index) {
            Expr::Literal(Literal::Int(value)) => (value >= 0).then(|| Sum::constant(value)),
            Expr::Size(size) => Some(self.sums[size.index()].clone()),
            Expr::Axis(axis) => {
                let extent = self.extents[axis.index()];
                self.sums[extent.index()].clone().plus(&Sum::constant(-1))
            }
            Expr::Binary(BinaryOp::Add, a, b) => self.most(a)?.plus(&self.most(b)?),
            Expr::Binary(BinaryOp::Mul, a, b) => match (self.op.expr(a), self.op.expr(b)) {
                (&Expr::Literal(Literal::Int(factor)), _) if factor >= 0 => self.most(b)?.times(factor),
                (_, &Expr::Literal(Literal::Int(factor))) if factor >= 0 => self.most(a)?.times(factor),
                _ => None,
            },
            _ => None,
        }
    }

    fn has_axis(&self, index: ExprId) -> bool {
        let mut found = matches!(self.op.expr(index), Expr::Axis(_));
        self.op
            .operands(index, |operand| found = found || self.has_axis(operand));
        found
    }
}

/// A formula as a sum, if it is one. These are the sums of the sizes before it.
fn formula(of: &SizeExpr, sums: &[Sum]) -> Option<Sum> {
    match of {
        SizeExpr::Const(value) => Some(Sum::constant(*value)),
        SizeExpr::Size(size) => sums.get(size.index()).cloned(),
        SizeExpr::Binary(op, a, b) => {
            let (a, b) = (formula(a, sums)?, formula(b, sums)?);
            match op {
                SizeOp::Add => a.plus(&b),
                SizeOp::Sub => a.plus(&b.times(-1)?),
                SizeOp::Mul if a.terms.is_empty() => b.times(a.constant),
                SizeOp::Mul if b.terms.is_empty() => a.times(b.constant),
                _ => None,
            }
        }
    }
}

impl Sum {
    fn constant(constant: i64) -> Sum {
        Sum {
            terms: BTreeMap::new(),
            constant,
        }
    }

    fn size(size: SizeId) -> Sum {
        Sum {
            terms: BTreeMap::from([(size, 1)]),
            constant: 0,
        }
    }

    fn plus(mut self, other: &Sum) -> Option<Sum> {
        for (&size, &coefficient) in &other.terms {
            let own = self.terms.entry(size).or_default();
            *own = own.checked_add(coefficient)?;
        }
        self.constant = self.constant.checked_add(other.constant)?;
        Some(self)
    }

    fn times(mut self, factor: i64) -> Option<Sum> {
        for coefficient in self.terms.values_mut() {
            *coefficient = coefficient.checked_mul(factor)?;
        }
        self.constant = self.constant.checked_mul(factor)?;
        Some(self)
    }

    fn is_never_negative(&self) -> bool {
        self.constant >= 0 && self.terms.values().all(|&coefficient| coefficient >= 0)
    }
}
