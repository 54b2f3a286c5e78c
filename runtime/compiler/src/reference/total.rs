//! Reductions under way.

use super::arithmetic::arithmetic;
use super::evaluated::{Evaluated, largest, rounding, unit_roundoff};
use super::number::{Number, wrapped};
use crate::element::{Numbers, Type};
use crate::ir::{BinaryOp, ReduceOp};

/// The state of a reduction.
pub(super) struct Total {
    op: ReduceOp,
    ty: Type,
    best: Number,
    position: u64,
    error: f64,
    /// The sum of the terms' magnitudes, or the product of the magnitudes above 1.
    magnitude: f64,
    /// For `argmax` and `argmin`: the smallest distance between the best term and another, less their errors.
    lead: f64,
    seen: bool,
}

impl Total {
    pub(super) fn new(op: ReduceOp, ty: Type) -> Total {
        let [zero, one, lowest, highest] = match ty.element().numbers() {
            Numbers::Float(_) => [0.0, 1.0, f64::NEG_INFINITY, f64::INFINITY].map(Number::Float),
            Numbers::Integer(format) => [0, 1, format.smallest(), format.largest()].map(Number::Integer),
            Numbers::Truth => [0, 1, 0, 1].map(Number::Integer),
        };
        let best = match op {
            ReduceOp::Sum => zero,
            ReduceOp::Prod => one,
            ReduceOp::Max | ReduceOp::ArgMax => lowest,
            ReduceOp::Min | ReduceOp::ArgMin => highest,
        };
        Total {
            op,
            ty,
            best,
            position: 0,
            error: 0.0,
            magnitude: if op == ReduceOp::Prod { 1.0 } else { 0.0 },
            lead: f64::INFINITY,
            seen: false,
        }
    }

    pub(super) fn add(&mut self, term: Evaluated, position: u64) {
        match self.op {
            ReduceOp::Sum => {
                self.error += term.error;
                self.magnitude += term.value.float().abs();
                self.best = match (self.best, term.value) {
                    (Number::Float(a), b) => Number::Float(a + b.float()),
                    (a, b) => wrapped(a.integer().wrapping_add(b.integer()), self.ty),
                };
            }
            ReduceOp::Prod => {
                let so_far = Evaluated {
                    value: self.best,
                    error: self.error,
                };
                let product = arithmetic(BinaryOp::Mul, so_far, term, self.ty);
                (self.best, self.error) = (product.value, product.error);
                self.magnitude *= term.value.float().abs().max(1.0);
            }
            ReduceOp::Max | ReduceOp::Min => {
                let op = if self.op == ReduceOp::Max {
                    BinaryOp::Max
                } else {
                    BinaryOp::Min
                };
                let so_far = Evaluated {
                    value: self.best,
                    error: self.error,
                };
                let error = self.error.max(term.error);
                self.best = arithmetic(op, so_far, term, self.ty).value;
                self.error = error;
            }
            ReduceOp::ArgMax | ReduceOp::ArgMin => self.add_position(term, position),
        }
        self.seen = true;
    }

    fn add_position(&mut self, term: Evaluated, position: u64) {
        let sign = if self.op == ReduceOp::ArgMax { 1.0 } else { -1.0 };
        let (best, new) = (self.best.float(), term.value.float());
        let better = match (self.best, term.value) {
            (Number::Integer(a), Number::Integer(b)) => {
                if sign > 0.0 {
                    b > a
                } else {
                    b < a
                }
            }
            _ => !best.is_nan() && (new.is_nan() || sign * new > sign * best),
        };
        // Within the errors, either term may win.
        if self.seen && self.error + term.error > 0.0 {
            self.lead = self.lead.min((new - best).abs() - self.error - term.error);
        }
        if better {
            self.best = term.value;
            self.position = position;
        }
        self.error = self.error.max(term.error);
    }

    /// `true` if finite terms may exceed the largest number of their type.
    fn overflows(&self) -> bool {
        self.magnitude.is_finite() && self.magnitude > largest(self.ty)
    }

    /// Returns the result after so many terms, as a value of a type.
    pub(super) fn result(self, terms: u64, ty: Type) -> Evaluated {
        match self.op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => Evaluated {
                value: wrapped(self.position as i64, ty),
                error: if self.lead <= 0.0 { f64::INFINITY } else { 0.0 },
            },
            // In some order of operations, a partial result may overflow.
            ReduceOp::Sum | ReduceOp::Prod if self.ty.is_float() && self.overflows() => Evaluated {
                value: self.best,
                error: f64::INFINITY,
            },
            ReduceOp::Sum => Evaluated {
                value: self.best,
                error: self.error + rounding(2.0 * terms as f64 * unit_roundoff(self.ty), self.magnitude),
            },
            ReduceOp::Prod if self.ty == Type::F32 && self.best.float().abs() < 2f64.powi(-126) * self.magnitude => {
                Evaluated {
                    value: self.best,
                    error: self.error + 2f64.powi(-148) * self.magnitude,
                }
            }
            _ => Evaluated {
                value: self.best,
                error: self.error,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_have_64_bits() {
        let mut total = Total::new(ReduceOp::ArgMax, Type::F32);
        total.add(Evaluated::exact(Number::Float(0.0)), 0);
        total.add(Evaluated::exact(Number::Float(1.0)), 4_899_999_999);
        let found = total.result(4_900_000_000, Type::I64);
        assert_eq!(found, Evaluated::exact(Number::Integer(4_899_999_999)));
    }
}
