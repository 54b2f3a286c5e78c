//! The bounds that guards set to a reduction's axis.
//!
//! Where a reduction's body is `if c { … } else { identity }`, a part of `c` that compares the axis with what does not depend on it says which
//! elements count, and loops need not visit others. The guard stays in the body: vectors reach beyond bounds, and reads rely on it.

use super::{Binding, Lowering, Reduce};
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, CompareOp, Expr, ExprId, Literal, ReduceOp, Source, UnaryOp};
use crate::lower::Error;
use crate::lower::arithmetic;
use crate::lower::index::Linear;
use crate::lower::value::Value;

/// The values of an axis that count: from `start`, else 0, up to and without `end`, else the extent. Neither is below 0 or above the extent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The first value.
    pub start: Option<Linear>,
    /// The value after the last one.
    pub end: Option<Linear>,
}

impl Lowering<'_> {
    /// The bounds of `axis` in a reduction of `body`. `unbound` are the axes that have no value yet, the axis among them.
    ///
    /// # Errors
    /// As of lowering.
    pub fn bounds(
        &mut self,
        reduction: ReduceOp,
        axis: AxisId,
        unbound: &[AxisId],
        body: ExprId,
        family: &mut dyn Reduce,
    ) -> Result<Bounds, Error> {
        let mut bounds = Bounds::default();
        let mut search = Search {
            reduction,
            axis,
            unbound: unbound.to_vec(),
            bounds: &mut bounds,
        };
        search.body(self, body, family)?;
        Ok(bounds)
    }

    /// The bounds that hold for all of several.
    pub fn widest(&mut self, all: impl IntoIterator<Item = Bounds>) -> Bounds {
        let mut all = all.into_iter();
        let first = all.next().unwrap_or_default();
        all.fold(first, |a, b| Bounds {
            start: a.start.zip(b.start).map(|(a, b)| self.extreme(BinaryOp::Min, a, b)),
            end: a.end.zip(b.end).map(|(a, b)| self.extreme(BinaryOp::Max, a, b)),
        })
    }

    /// The chunks of a walk that `bounds` of its slowest axis leave out at its beginning, and the chunk after the last. `extents` are those of
    /// the axes, the last one in chunks of `vector` elements.
    pub fn bounded_chunks(
        &mut self,
        bounds: &Bounds,
        extents: &[Linear],
        chunks: &Linear,
        vector: u32,
    ) -> (Linear, Linear) {
        let mut inner = Linear::constant(1);
        for extent in extents.iter().skip(1) {
            inner = self.math.product(&mut self.b, &inner, extent);
        }
        let vector = if extents.len() == 1 { vector } else { 1 };
        let skipped = bounds.start.as_ref().map(|start| {
            let start = self.math.divide(&mut self.b, start, &Linear::constant(vector.into())).0;
            self.math.product(&mut self.b, &start, &inner)
        });
        let end = bounds.end.as_ref().map(|end| {
            let end = self.divided_up(end, vector);
            self.math.product(&mut self.b, &end, &inner)
        });
        (skipped.unwrap_or_default(), end.unwrap_or_else(|| chunks.clone()))
    }

    fn extreme(&mut self, op: BinaryOp, a: Linear, b: Linear) -> Linear {
        if a == b {
            return a;
        }
        let ty = self.index_type();
        let [a, b] = [a, b].map(|value| self.index_value(&value, ty));
        let extreme = arithmetic::binary(&mut self.b, op, a, b);
        self.linear_of(extreme)
    }

    /// `value`, within 0 and the extent of an axis, and the number after it.
    fn limit(&mut self, axis: AxisId, value: Value, after: bool) -> Linear {
        let ty = if self.math.wide || value.ty == Type::I64 {
            Type::I64
        } else {
            Type::I32
        };
        let literal =
            |lowering: &mut Lowering<'_>, value: i64| Value::literal(&mut lowering.b, Literal::Int(value), ty);
        let extent = self.extent(axis).plus_constant(-i64::from(after));
        let (lowest, highest) = (literal(self, -i64::from(after)), self.index_value(&extent, ty));
        let value = value.to(&mut self.b, ty);
        let value = arithmetic::binary(&mut self.b, BinaryOp::Max, value, lowest);
        let value = arithmetic::binary(&mut self.b, BinaryOp::Min, value, highest);
        let own = self.index_type();
        let value = value.to(&mut self.b, own);
        self.linear_of(value).plus_constant(i64::from(after))
    }
}

/// A search for the bounds of an axis.
struct Search<'a> {
    reduction: ReduceOp,
    /// The axis, by the name it has where the search is.
    axis: AxisId,
    unbound: Vec<AxisId>,
    bounds: &'a mut Bounds,
}

impl Search<'_> {
    fn body(&mut self, lowering: &mut Lowering<'_>, body: ExprId, family: &mut dyn Reduce) -> Result<(), Error> {
        match *lowering.op().expr(body) {
            Expr::Select {
                condition,
                accept,
                reject,
            } if self.is_identity(lowering, reject) => {
                self.condition(lowering, condition, family)?;
                self.body(lowering, accept, family)
            }
            Expr::Read {
                source: Source::Let(inner),
                ref index,
                or: None,
            } if (0..index.len()).all(|dimension| lowering.checked.proven(body, dimension)) => {
                let entry = &lowering.op().lets[inner.index()];
                let is_axis = |&&at: &&ExprId| *lowering.op().expr(at) == Expr::Axis(self.axis);
                if index.iter().filter(is_axis).count() != 1 {
                    return Ok(());
                }
                let saved: Vec<Option<Binding>> = entry
                    .axes
                    .iter()
                    .map(|axis| lowering.bindings.get(axis).cloned())
                    .collect();
                let outer = (self.axis, self.unbound.len());
                for (&own, &at) in entry.axes.iter().zip(index) {
                    if *lowering.op().expr(at) == Expr::Axis(outer.0) {
                        self.axis = own;
                    }
                    if self.is_bound(lowering, at) {
                        let value = lowering.index(at, family)?;
                        lowering.bind(own, Binding::of(value));
                    } else {
                        self.unbound.push(own);
                    }
                }
                let found = self.body(lowering, entry.body, family);
                self.axis = outer.0;
                self.unbound.truncate(outer.1);
                for (&axis, binding) in entry.axes.iter().zip(saved) {
                    match binding {
                        Some(binding) => lowering.bind(axis, binding),
                        None => drop(lowering.bindings.remove(&axis)),
                    }
                }
                found
            }
            _ => Ok(()),
        }
    }

    /// Takes in what a condition says.
    fn condition(
        &mut self,
        lowering: &mut Lowering<'_>,
        condition: ExprId,
        family: &mut dyn Reduce,
    ) -> Result<(), Error> {
        match *lowering.op().expr(condition) {
            Expr::Binary(BinaryOp::And, a, b) => {
                self.condition(lowering, a, family)?;
                self.condition(lowering, b, family)
            }
            Expr::Compare(op, a, b) => {
                let is_axis = |side: ExprId| *lowering.op().expr(side) == Expr::Axis(self.axis);
                let (op, limit) = match (is_axis(a), is_axis(b)) {
                    (true, false) => (op, b),
                    (false, true) => (mirrored(op), a),
                    _ => return Ok(()),
                };
                let ty = lowering.operand_ty(condition);
                if !ty.is_integer() || !lowering.checked.unconditional(limit) || !self.is_bound(lowering, limit) {
                    return Ok(());
                }
                let value = lowering.value_as(limit, ty, family)?;
                if let CompareOp::Lt | CompareOp::Le | CompareOp::Eq = op {
                    let end = lowering.limit(self.axis, value, op != CompareOp::Lt);
                    self.bounds.end = Some(match self.bounds.end.take() {
                        Some(other) => lowering.extreme(BinaryOp::Min, other, end),
                        None => end,
                    });
                }
                if let CompareOp::Gt | CompareOp::Ge | CompareOp::Eq = op {
                    let start = lowering.limit(self.axis, value, op == CompareOp::Gt);
                    self.bounds.start = Some(match self.bounds.start.take() {
                        Some(other) => lowering.extreme(BinaryOp::Max, other, start),
                        None => start,
                    });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// `true` if all that an expression depends on has a value.
    fn is_bound(&self, lowering: &Lowering<'_>, expr: ExprId) -> bool {
        let mut axes = lowering.checked.axes(expr).iter();
        axes.all(|axis| {
            let binding = lowering.bindings.get(&axis);
            !self.unbound.contains(&axis) && binding.is_some_and(|binding| binding.guard.is_none())
        })
    }

    fn is_identity(&self, lowering: &Lowering<'_>, expr: ExprId) -> bool {
        match (lowering.op().expr(expr), self.reduction) {
            (Expr::Literal(Literal::Int(0)), ReduceOp::Sum) => true,
            (Expr::Literal(Literal::Int(1)), ReduceOp::Prod) => true,
            (Expr::Literal(Literal::Float(value)), reduction) => match reduction {
                ReduceOp::Sum => *value == 0.0,
                ReduceOp::Prod => *value == 1.0,
                ReduceOp::Max | ReduceOp::ArgMax => *value == f64::NEG_INFINITY,
                ReduceOp::Min | ReduceOp::ArgMin => *value == f64::INFINITY,
            },
            (&Expr::Unary(UnaryOp::Neg, inner), ReduceOp::Max | ReduceOp::ArgMax) => {
                *lowering.op().expr(inner) == Expr::Literal(Literal::Float(f64::INFINITY))
            }
            _ => false,
        }
    }
}

/// The comparison with its sides exchanged.
fn mirrored(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::Le => CompareOp::Ge,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::Ge => CompareOp::Le,
        CompareOp::Eq | CompareOp::Ne => op,
    }
}
