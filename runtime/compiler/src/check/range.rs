//! What depends on the sizes of a call: sizes that must agree, and the proof that indices are in range.
//!
//! At concrete sizes an index is a linear form over axes, each of which runs over an interval. Conditions around a read
//! are linear forms that are not negative there. A bound of a form is that of its interval, or, if better, of what is left when
//! multiples of such conditions are taken away.

use super::Checked;
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, CompareOp, Expr, ExprId, Literal, Source, UnaryOp};
use std::collections::{BTreeMap, HashSet};

/// Why an operator cannot be called with these sizes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// A size was not given.
    #[error("size `{name}` is missing")]
    MissingSize {
        /// Its name.
        name: String,
    },
    /// A name that is no size of the operator.
    #[error("the operator has no size `{name}`")]
    UnknownSize {
        /// The name.
        name: String,
    },
    /// A derived size that has no value, or a negative one.
    #[error("size `{name}` {reason}")]
    Derived {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A wrong number of tensors.
    #[error("the operator takes {expected} tensors, but {found} are given")]
    Tensors {
        /// Tensors of the operator.
        expected: usize,
        /// Tensors given.
        found: usize,
    },
    /// A tensor with a wrong number of dimensions.
    #[error("`{tensor}` has {found} dimensions, but the operator takes {expected}")]
    Rank {
        /// The parameter's name.
        tensor: String,
        /// Dimensions of the parameter.
        expected: usize,
        /// Dimensions of what was given.
        found: usize,
    },
    /// A dimension that contradicts another.
    #[error("dimension {dimension} of `{tensor}` is {found}, but {size} = {expected}: {because}")]
    Shape {
        /// The parameter's name.
        tensor: String,
        /// The dimension, from 0.
        dimension: usize,
        /// The size's name.
        size: String,
        /// The size's value.
        expected: u64,
        /// The dimension found.
        found: u64,
        /// Where the value comes from.
        because: String,
    },
    /// Two sizes that one axis runs over, with different values.
    #[error("axis `{axis}` runs over both {first} = {first_value} and {second} = {second_value}, which must be equal")]
    Disagreement {
        /// The axis's name.
        axis: String,
        /// A size.
        first: String,
        /// Its value.
        first_value: u64,
        /// Another.
        second: String,
        /// Its value.
        second_value: u64,
    },
    /// Too many combinations of sizes to tune for.
    #[error("the `tune(…)` clauses multiply out to more than {most} combinations of sizes")]
    Buckets {
        /// The most there may be.
        most: usize,
    },
    /// An index that leaves its dimension.
    #[error(
        "index {dimension} of `{tensor}` can be anything from {low} to {high}, but the dimension has {extent} elements"
    )]
    Range {
        /// The tensor's name.
        tensor: String,
        /// The dimension, from 0.
        dimension: usize,
        /// The smallest value that could not be excluded.
        low: String,
        /// The largest.
        high: String,
        /// The dimension's extent.
        extent: u64,
        /// The read.
        read: ExprId,
    },
}

impl Checked {
    /// Checks the sizes of a call (all of them, in the order of [`Op::sizes`](crate::ir::Op::sizes)): sizes that must agree do, and no index leaves its tensor.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn verify(&self, sizes: &[u64]) -> Result<(), CallError> {
        let name = |size: crate::ir::SizeId| self.op.sizes[size.index()].name.clone();
        let value = |size: crate::ir::SizeId| {
            sizes
                .get(size.index())
                .copied()
                .ok_or_else(|| CallError::MissingSize { name: name(size) })
        };
        for agreement in &self.agreements {
            let (first, second) = (value(agreement.extent)?, value(agreement.other)?);
            if first != second {
                return Err(CallError::Disagreement {
                    axis: self.op.axes[agreement.axis.index()].name.clone(),
                    first: name(agreement.extent),
                    first_value: first,
                    second: name(agreement.other),
                    second_value: second,
                });
            }
        }
        let mut extents = Vec::with_capacity(self.extents.len());
        for &size in &self.extents {
            extents.push(i128::from(value(size)?));
        }
        let mut prover = Prover {
            checked: self,
            sizes,
            extents,
            conditions: Vec::new(),
            seen: HashSet::new(),
        };
        for entry in &self.op.lets {
            prover.expr(entry.body)?;
        }
        for output in &self.op.outputs {
            prover.expr(output.body)?;
        }
        Ok(())
    }
}

/// `Σ coefficient · atom + constant`, where an atom is an axis or an expression of which only an interval is known.
#[derive(Debug, Clone, Default, PartialEq)]
struct Form {
    terms: BTreeMap<Atom, i128>,
    constant: i128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Atom {
    Axis(AxisId),
    Other(ExprId),
}

/// Values beyond this are as good as unknown.
const FAR: i128 = 1 << 100;

#[derive(Debug, Clone, Copy)]
struct Interval {
    low: i128,
    high: i128,
}

const ANYTHING: Interval = Interval { low: -FAR, high: FAR };

impl Form {
    fn constant(value: i128) -> Form {
        Form {
            terms: BTreeMap::new(),
            constant: value,
        }
    }

    fn atom(atom: Atom) -> Form {
        Form {
            terms: BTreeMap::from([(atom, 1)]),
            constant: 0,
        }
    }

    fn plus(&self, other: &Form, factor: i128) -> Form {
        let mut sum = self.clone();
        sum.constant = sum.constant.saturating_add(other.constant.saturating_mul(factor));
        for (&atom, &coefficient) in &other.terms {
            let entry = sum.terms.entry(atom).or_insert(0);
            *entry = entry.saturating_add(coefficient.saturating_mul(factor));
        }
        sum.terms.retain(|_, coefficient| *coefficient != 0);
        sum
    }

    fn times(&self, factor: i128) -> Form {
        Form::default().plus(self, factor)
    }
}

struct Prover<'a> {
    checked: &'a Checked,
    sizes: &'a [u64],
    extents: Vec<i128>,
    /// Forms that are not negative where the expression at hand is wanted.
    conditions: Vec<Form>,
    /// Expressions already proven without conditions.
    seen: HashSet<ExprId>,
}

impl Prover<'_> {
    fn expr(&mut self, id: ExprId) -> Result<(), CallError> {
        if self.checked.unconditional(id) || (self.conditions.is_empty() && !self.seen.insert(id)) {
            return Ok(());
        }
        let op = &self.checked.op;
        match op.expr(id) {
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                self.expr(*condition)?;
                self.under(*condition, true, *accept)?;
                self.under(*condition, false, *reject)
            }
            Expr::Binary(binary @ (BinaryOp::And | BinaryOp::Or), a, b) => {
                self.expr(*a)?;
                self.under(*a, *binary == BinaryOp::And, *b)
            }
            Expr::Read { source, index, or } => {
                for &at in index.iter().chain(or) {
                    self.expr(at)?;
                }
                if or.is_none() {
                    for (dimension, &at) in index.iter().enumerate() {
                        self.index(id, *source, dimension, at)?;
                    }
                }
                Ok(())
            }
            _ => {
                let mut operands = Vec::new();
                op.operands(id, |operand| operands.push(operand));
                operands.into_iter().try_for_each(|operand| self.expr(operand))
            }
        }
    }

    /// An expression that is wanted only where `condition` has the value `holds`.
    fn under(&mut self, condition: ExprId, holds: bool, expr: ExprId) -> Result<(), CallError> {
        let before = self.conditions.len();
        self.assume(condition, holds);
        let done = self.expr(expr);
        self.conditions.truncate(before);
        done
    }

    fn assume(&mut self, condition: ExprId, holds: bool) {
        let op = &self.checked.op;
        match op.expr(condition) {
            Expr::Unary(UnaryOp::Not, a) => self.assume(*a, !holds),
            Expr::Binary(BinaryOp::And, a, b) if holds => {
                self.assume(*a, true);
                self.assume(*b, true);
            }
            Expr::Binary(BinaryOp::Or, a, b) if !holds => {
                self.assume(*a, false);
                self.assume(*b, false);
            }
            Expr::Compare(compare, a, b) if self.checked.operand_ty(condition).is_integer() => {
                let ty = self.checked.operand_ty(condition);
                let (a, b) = (self.form(*a), self.form(*b));
                // Values wrap: a comparison of values that may have wrapped says nothing.
                if !self.never_wraps(&a, ty) || !self.never_wraps(&b, ty) {
                    return;
                }
                let less = |x: &Form, y: &Form, margin: i128| {
                    let mut form = y.plus(x, -1);
                    form.constant -= margin;
                    form
                };
                let compare = match (compare, holds) {
                    (CompareOp::Eq, true) | (CompareOp::Ne, false) => {
                        self.conditions.push(less(&a, &b, 0));
                        self.conditions.push(less(&b, &a, 0));
                        return;
                    }
                    (CompareOp::Eq, false) | (CompareOp::Ne, true) => return,
                    (CompareOp::Lt, true) | (CompareOp::Ge, false) => less(&a, &b, 1),
                    (CompareOp::Le, true) | (CompareOp::Gt, false) => less(&a, &b, 0),
                    (CompareOp::Gt, true) | (CompareOp::Le, false) => less(&b, &a, 1),
                    (CompareOp::Ge, true) | (CompareOp::Lt, false) => less(&b, &a, 0),
                };
                self.conditions.push(compare);
            }
            _ => {}
        }
    }

    fn index(&self, read: ExprId, source: Source, dimension: usize, at: ExprId) -> Result<(), CallError> {
        if self.checked.proven(read, dimension) || self.checked.gathered(read, dimension) {
            return Ok(());
        }
        // An axis that never runs asks for nothing.
        if self.checked.axes(at).iter().any(|axis| self.extents[axis.index()] == 0) {
            return Ok(());
        }
        let size = self.checked.source_sizes(source)[dimension];
        let extent = self.sizes[size.index()];
        let form = self.form(at);
        let low = self.lower_bound(&form, 0);
        let high = -self.lower_bound(&form.times(-1), 0);
        // Conditions that contradict each other leave nothing.
        if low > high || (low >= 0 && high < i128::from(extent)) {
            return Ok(());
        }
        let op = &self.checked.op;
        let text = |value: i128| {
            if value.abs() >= FAR / 2 {
                "anything".to_owned()
            } else {
                value.to_string()
            }
        };
        Err(CallError::Range {
            tensor: match source {
                Source::Input(input) => op.inputs[input.index()].name.clone(),
                Source::Let(inner) => op.lets[inner.index()].name.clone(),
            },
            dimension,
            low: text(low),
            high: text(high),
            extent,
            read,
        })
    }

    /// The best lower bound found. Two steps of taking conditions away are enough for what people write.
    fn lower_bound(&self, form: &Form, depth: u32) -> i128 {
        let mut best = self.interval(form, depth).low;
        if depth >= 2 {
            return best;
        }
        for condition in &self.conditions {
            for (atom, &coefficient) in &form.terms {
                let Some(&other) = condition.terms.get(atom) else {
                    continue;
                };
                if other == 0 || coefficient % other != 0 || coefficient / other <= 0 {
                    continue;
                }
                let rest = form.plus(condition, -(coefficient / other));
                best = best.max(self.lower_bound(&rest, depth + 1));
            }
        }
        best
    }

    /// Whether a form, and whatever is divided inside it, certainly fits the type it is computed in.
    fn never_wraps(&self, form: &Form, ty: Type) -> bool {
        let (low, high) = match ty {
            Type::I64 => (i128::from(i64::MIN), i128::from(i64::MAX)),
            _ => (i128::from(i32::MIN), i128::from(i32::MAX)),
        };
        let interval = self.interval(form, 2);
        interval.low >= low
            && interval.high <= high
            && form.terms.keys().all(|atom| match atom {
                Atom::Axis(_) => true,
                Atom::Other(expr) => match self.checked.op.expr(*expr) {
                    Expr::Binary(_, a, b) => {
                        self.never_wraps(&self.form(*a), ty) && self.never_wraps(&self.form(*b), ty)
                    }
                    // Nothing is known of it, and nothing is computed of it here.
                    _ => true,
                },
            })
    }

    /// The interval of a form. `depth` counts the steps of [`Prover::lower_bound`] that led here.
    fn interval(&self, form: &Form, depth: u32) -> Interval {
        let mut sum = Interval {
            low: form.constant,
            high: form.constant,
        };
        for (&atom, &coefficient) in &form.terms {
            let of = match atom {
                Atom::Axis(axis) => Interval {
                    low: 0,
                    high: self.extents[axis.index()] - 1,
                },
                Atom::Other(expr) => self.opaque(expr, depth),
            };
            let (x, y) = (of.low.saturating_mul(coefficient), of.high.saturating_mul(coefficient));
            sum.low = sum.low.saturating_add(x.min(y)).clamp(-FAR, FAR);
            sum.high = sum.high.saturating_add(x.max(y)).clamp(-FAR, FAR);
        }
        sum
    }

    /// An integer expression as a form.
    fn form(&self, expr: ExprId) -> Form {
        let op = &self.checked.op;
        match op.expr(expr) {
            Expr::Literal(Literal::Int(value)) => Form::constant(i128::from(*value)),
            Expr::Size(size) => Form::constant(i128::from(self.sizes[size.index()])),
            Expr::Axis(axis) => Form::atom(Atom::Axis(*axis)),
            Expr::Unary(UnaryOp::Neg, a) => self.form(*a).times(-1),
            Expr::Binary(BinaryOp::Add, a, b) => self.form(*a).plus(&self.form(*b), 1),
            Expr::Binary(BinaryOp::Sub, a, b) => self.form(*a).plus(&self.form(*b), -1),
            Expr::Binary(BinaryOp::Mul, a, b) => {
                let (a, b) = (self.form(*a), self.form(*b));
                match (a.terms.is_empty(), b.terms.is_empty()) {
                    (true, _) => b.times(a.constant),
                    (_, true) => a.times(b.constant),
                    _ => Form::atom(Atom::Other(expr)),
                }
            }
            _ => Form::atom(Atom::Other(expr)),
        }
    }

    /// The interval of an expression that is no linear form.
    fn opaque(&self, expr: ExprId, depth: u32) -> Interval {
        let Expr::Binary(binary, a, b) = *self.checked.op.expr(expr) else {
            return ANYTHING;
        };
        let (a, b) = (self.form(a), self.form(b));
        let x = Interval {
            low: self.lower_bound(&a, depth + 1),
            high: -self.lower_bound(&a.times(-1), depth + 1),
        };
        let y = self.interval(&b, 2);
        let constant = b.terms.is_empty() && b.constant > 0;
        match binary {
            BinaryOp::Div if constant => Interval {
                low: x.low / b.constant,
                high: x.high / b.constant,
            },
            BinaryOp::Rem if constant => Interval {
                low: if x.low < 0 { (1 - b.constant).max(x.low) } else { 0 },
                high: if x.high > 0 { (b.constant - 1).min(x.high) } else { 0 },
            },
            BinaryOp::Min => Interval {
                low: x.low.min(y.low),
                high: x.high.min(y.high),
            },
            BinaryOp::Max => Interval {
                low: x.low.max(y.low),
                high: x.high.max(y.high),
            },
            BinaryOp::Mul => {
                let corners = [
                    x.low.saturating_mul(y.low),
                    x.low.saturating_mul(y.high),
                    x.high.saturating_mul(y.low),
                    x.high.saturating_mul(y.high),
                ];
                Interval {
                    low: corners.into_iter().fold(FAR, i128::min),
                    high: corners.into_iter().fold(-FAR, i128::max),
                }
            }
            _ => ANYTHING,
        }
    }
}
