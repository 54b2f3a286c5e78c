//! Checks at the sizes of a call: sizes that must be equal, and the proof that indices are in range.
//!
//! [`Checked::verify`] visits every read together with the conditions around it. `prover` turns expressions and conditions into
//! linear inequalities, `system` solves them, and `form` is their arithmetic.

mod form;
mod prover;
mod scalars;
mod system;

use super::call_error::CallError;
use super::checked::Checked;
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, ReduceOp, SizeId, Source};
pub(crate) use form::Interval;
use prover::{Context, Prover};
use std::collections::{HashMap, HashSet};

impl Checked {
    /// Checks the sizes of a call (all of them, in the order of [`Op::sizes`](crate::ir::Op::sizes)).
    ///
    /// # Errors
    /// The first violation: two sizes that must be equal and are not, an index value that does not fit `i32`, or an index out of range.
    pub fn verify(&self, sizes: &[u64]) -> Result<(), CallError> {
        let name = |size: SizeId| self.op().sizes[size.index()].name.clone();
        let value = |size: SizeId| {
            sizes
                .get(size.index())
                .copied()
                .ok_or_else(|| CallError::MissingSize { name: name(size) })
        };
        for agreement in self.agreements() {
            let (first, second) = (value(agreement.extent)?, value(agreement.other)?);
            if first != second {
                return Err(CallError::Disagreement {
                    axis: self.op().axes[agreement.axis.index()].name.clone(),
                    first: name(agreement.extent),
                    first_value: first,
                    second: name(agreement.other),
                    second_value: second,
                });
            }
        }
        for size in 0..self.op().sizes.len() {
            value(SizeId(size as u32))?;
        }
        let empty = |size: &SizeId| sizes[size.index()] == 0;
        if self.op().outputs.iter().all(|output| output.dims.iter().any(empty)) {
            return Ok(());
        }
        let mut prover = Prover::new(self, sizes);
        for &at in self.narrowed() {
            self.fits_i32(&mut prover, at)?;
        }
        Walk::new(self, sizes, prover).all()
    }

    /// `true` if every index value fits 32 bits at these sizes.
    pub(crate) fn index_values_fit(&self, sizes: &[u64]) -> bool {
        let mut prover = Prover::new(self, sizes);
        let mut exprs = (0..self.op().exprs.len() as u32).map(ExprId);
        exprs.all(|expr| !self.is_index(expr) || prover.interval(expr).within(Interval::of(Type::I32)))
    }

    /// Checks that an index value that becomes an `i32` without an `as` fits.
    fn fits_i32(&self, prover: &mut Prover<'_>, at: ExprId) -> Result<(), CallError> {
        let value = prover.interval_before(at);
        if value.within(Interval::of(Type::I32)) {
            return Ok(());
        }
        let end = [value.high, value.low]
            .into_iter()
            .find(|&end| !end.is_some_and(|end| Interval::new(end, end).within(Interval::of(Type::I32))));
        let what = match self.op().expr(at) {
            Expr::Size(size) => format!("size `{}`", self.op().sizes[size.index()].name),
            Expr::Axis(axis) => format!("axis `{}`", self.op().axes[axis.index()].name),
            Expr::Reduce {
                op: ReduceOp::ArgMax, ..
            } => "the position that `argmax` finds".to_owned(),
            Expr::Reduce {
                op: ReduceOp::ArgMin, ..
            } => "the position that `argmin` finds".to_owned(),
            Expr::Read {
                source: Source::Let(inner),
                ..
            } => format!("`{}`", self.op().lets[inner.index()].name),
            _ => "a value of sizes and axes".to_owned(),
        };
        Err(CallError::Narrow {
            what,
            value: end
                .flatten()
                .map_or("a value beyond 64 bits".to_owned(), |end| end.to_string()),
            at,
        })
    }
}

/// Visits the reads of an operator with the conditions around them.
struct Walk<'a> {
    checked: &'a Checked,
    sizes: &'a [u64],
    prover: Prover<'a>,
    context: Context,
    /// Expressions already proved without conditions.
    proven: HashSet<ExprId>,
    /// The verdict on every index. `None` if the walk ends at the first unproved index.
    verdicts: Option<Verdicts>,
}

/// For each read and dimension, `true` if the index is proved at all its uses.
pub(super) type Verdicts = HashMap<(ExprId, usize), bool>;

impl<'a> Walk<'a> {
    pub(super) fn new(checked: &'a Checked, sizes: &'a [u64], prover: Prover<'a>) -> Walk<'a> {
        Walk {
            checked,
            sizes,
            prover,
            context: Context::default(),
            proven: HashSet::new(),
            verdicts: None,
        }
    }

    /// Returns the verdicts on all indices that are used.
    pub(super) fn verdicts(mut self) -> Verdicts {
        self.verdicts = Some(Verdicts::new());
        // A walk that collects verdicts never fails.
        let _ = self.all();
        self.verdicts.unwrap_or_default()
    }

    fn all(&mut self) -> Result<(), CallError> {
        let op = self.checked.op();
        for entry in &op.lets {
            self.over(&entry.axes, entry.body)?;
        }
        for output in &op.outputs {
            self.over(&output.axes, output.body)?;
        }
        Ok(())
    }

    /// Visits an expression over axes. An expression over an empty axis never runs and needs no proof.
    fn over(&mut self, axes: &[AxisId], body: ExprId) -> Result<(), CallError> {
        let runs = axes
            .iter()
            .all(|&axis| self.sizes[self.checked.extent(axis).index()] > 0);
        if runs { self.expr(body) } else { Ok(()) }
    }

    fn expr(&mut self, id: ExprId) -> Result<(), CallError> {
        if self.checked.unconditional(id) {
            return Ok(());
        }
        if self.context.is_empty() {
            if !self.proven.insert(id) {
                return Ok(());
            }
        } else if !self.prover.step() {
            // Under conditions, an expression is visited once for each use. After too many visits it is proved without conditions,
            // once.
            let context = std::mem::take(&mut self.context);
            let done = self.expr(id);
            self.context = context;
            return done;
        }
        let op = self.checked.op();
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
            Expr::Reduce { axes, body, .. } => self.over(axes, *body),
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

    /// Visits an expression that is used only where `condition` equals `holds`.
    fn under(&mut self, condition: ExprId, holds: bool, expr: ExprId) -> Result<(), CallError> {
        if self.checked.unconditional(expr) {
            return Ok(());
        }
        let outer = self.context.mark();
        self.prover.assume(&mut self.context, condition, holds);
        let done = if self.context.impossible {
            Ok(())
        } else {
            self.expr(expr)
        };
        self.context.reset(outer);
        done
    }

    fn index(&mut self, read: ExprId, source: Source, dimension: usize, at: ExprId) -> Result<(), CallError> {
        if self.checked.proven(read, dimension) || self.checked.gathered(read, dimension) {
            return Ok(());
        }
        let size = self.checked.source_sizes(source)[dimension];
        let extent = self.sizes[size.index()];
        let wanted = Interval::new(0, i128::from(extent) - 1);
        let found = self.prover.bounds(&self.context, at, wanted);
        let unproved = found.filter(|found| !found.within(wanted));
        if let Some(verdicts) = &mut self.verdicts {
            *verdicts.entry((read, dimension)).or_insert(true) &= unproved.is_none();
            return Ok(());
        }
        let Some(found) = unproved else { return Ok(()) };
        let op = self.checked.op();
        let text = |end: Option<i128>, open: &str| end.map_or(open.to_owned(), |end| end.to_string());
        Err(CallError::Range {
            tensor: match source {
                Source::Input(input) => op.inputs[input.index()].name.clone(),
                Source::Let(inner) => op.lets[inner.index()].name.clone(),
            },
            dimension,
            low: text(found.low, "-∞"),
            high: text(found.high, "∞"),
            extent,
            read,
        })
    }
}
