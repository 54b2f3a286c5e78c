//! The checked operator, and the facts that hold at all sizes.

use super::axis_set::AxisSet;
use super::diagnostic::Diagnostic;
use super::extents::{self, Agreement};
use super::structure;
use super::types::{self, Types};
use super::within::Sizes;
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Literal, Op, SizeId, Source, UnaryOp};
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// A valid operator, with the facts that the check derived.
#[derive(Debug, Clone)]
pub struct Checked {
    op: Op,
    types: Types,
    axes: Vec<AxisSet>,
    extents: Vec<SizeId>,
    agreements: Vec<Agreement>,
    reads: Vec<ReadFacts>,
    unconditional: Vec<bool>,
    affine: Vec<bool>,
    derived: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// All facts follow from the operator.
impl PartialEq for Checked {
    fn eq(&self, other: &Checked) -> bool {
        self.op == other.op
    }
}

/// Facts about the index of each dimension of a read; empty for other expressions.
#[derive(Debug, Clone, Default, PartialEq)]
struct ReadFacts {
    spans: Vec<bool>,
    proven: Vec<bool>,
    gathered: Vec<bool>,
}

impl Checked {
    /// Checks an operator.
    ///
    /// # Errors
    /// All errors that are not hidden by earlier ones.
    pub fn new(op: Op) -> Result<Checked, Vec<Diagnostic>> {
        let axes = structure::check(&op)?;
        let types = types::check(&op)?;
        let (extents, agreements) = extents::check(&op)?;
        let mut checked = Checked {
            types,
            axes,
            extents,
            agreements,
            reads: vec![ReadFacts::default(); op.exprs.len()],
            unconditional: vec![true; op.exprs.len()],
            affine: vec![false; op.exprs.len()],
            derived: OnceLock::new(),
            op,
        };
        checked.find_affine();
        checked.find_read_facts();
        Ok(checked)
    }

    /// The operator.
    pub fn op(&self) -> &Op {
        &self.op
    }

    /// The type of an expression's value. For an index value ([`Checked::is_index`]), its type in kernels with 32-bit indices.
    pub fn ty(&self, expr: ExprId) -> Type {
        self.types.own[expr.index()].ty
    }

    /// For a comparison, the type in which its operands are compared; for other expressions, their own type.
    pub fn operand_ty(&self, expr: ExprId) -> Type {
        self.types.operands[expr.index()].ty
    }

    /// `true` for an index value: an integer made of sizes, axes, positions and literals, which is computed in the type of index registers.
    /// In a call for which [`is_wide`](crate::tuning::is_wide) is false it fits 32 bits.
    pub fn is_index(&self, expr: ExprId) -> bool {
        self.types.own[expr.index()].index
    }

    /// `true` for a comparison whose operands are compared as index values.
    pub fn compares_indices(&self, expr: ExprId) -> bool {
        self.types.operands[expr.index()].index
    }

    /// The index values that become an `i32` without an `as`.
    pub(super) fn narrowed(&self) -> &[ExprId] {
        &self.types.narrowed
    }

    /// The axes an expression's value depends on.
    pub fn axes(&self, expr: ExprId) -> &AxisSet {
        &self.axes[expr.index()]
    }

    /// The extent of an axis.
    pub fn extent(&self, axis: AxisId) -> SizeId {
        self.extents[axis.index()]
    }

    /// Sizes that must be equal at a call.
    pub fn agreements(&self) -> &[Agreement] {
        &self.agreements
    }

    /// `true` if a read's index is an axis that runs over exactly this dimension.
    pub fn spans(&self, read: ExprId, dimension: usize) -> bool {
        self.reads[read.index()].spans.get(dimension).copied().unwrap_or(false)
    }

    /// `true` if a read's index is in range at every size and under every condition.
    pub fn proven(&self, read: ExprId, dimension: usize) -> bool {
        self.reads[read.index()].proven.get(dimension).copied().unwrap_or(false)
    }

    /// `true` if a read's index depends on tensor elements, so that the kernel must check it.
    pub fn gathered(&self, read: ExprId, dimension: usize) -> bool {
        self.reads[read.index()]
            .gathered
            .get(dimension)
            .copied()
            .unwrap_or(false)
    }

    /// `true` if an expression may be computed even where its value is unused: no read in it needs a surrounding condition to be in range.
    pub fn unconditional(&self, expr: ExprId) -> bool {
        self.unconditional[expr.index()]
    }

    /// `true` if an integer expression is affine in axes, with sizes and constants as coefficients.
    pub fn affine(&self, expr: ExprId) -> bool {
        self.affine[expr.index()]
    }

    /// For each size, the first of those that equal it at every call.
    pub(crate) fn size_classes(&self) -> Vec<SizeId> {
        let mut first: Vec<SizeId> = (0..self.op.sizes.len() as u32).map(SizeId).collect();
        for agreement in &self.agreements {
            let (a, b) = (first[agreement.extent.index()], first[agreement.other.index()]);
            let (low, high) = (a.min(b), a.max(b));
            for size in &mut first {
                if *size == high {
                    *size = low;
                }
            }
        }
        first
    }

    /// Derives a fact from the whole operator once, and returns it. None if a fact of another type was derived before.
    pub(super) fn derived<T: Send + Sync + 'static>(&self, derive: impl FnOnce(&Checked) -> T) -> Option<&T> {
        self.derived.get_or_init(|| Arc::new(derive(self))).downcast_ref()
    }

    fn find_affine(&mut self) {
        for position in 0..self.op.exprs.len() {
            let affine = |e: ExprId| self.affine[e.index()];
            let fixed = |e: ExprId| self.affine[e.index()] && self.axes[e.index()].is_empty();
            self.affine[position] = match &self.op.exprs[position] {
                Expr::Literal(Literal::Int(_)) | Expr::Size(_) | Expr::Axis(_) => true,
                Expr::Unary(UnaryOp::Neg, a) => affine(*a),
                Expr::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) => affine(*a) && affine(*b),
                Expr::Binary(BinaryOp::Mul, a, b) => affine(*a) && affine(*b) && (fixed(*a) || fixed(*b)),
                _ => false,
            };
        }
    }

    fn find_read_facts(&mut self) {
        let mut has_read = vec![false; self.op.exprs.len()];
        let classes = self.size_classes();
        let known = Sizes::new(&self.op, &self.extents, &classes);
        for position in 0..self.op.exprs.len() {
            let id = ExprId(position as u32);
            let (mut reads, mut unconditional) = (false, true);
            self.op.operands(id, |operand| {
                reads |= has_read[operand.index()];
                unconditional &= self.unconditional[operand.index()];
            });
            if let Expr::Read { source, index, or } = &self.op.exprs[position] {
                let sizes = self.source_sizes(*source);
                let mut facts = ReadFacts::default();
                for (&at, &size) in index.iter().zip(&sizes) {
                    let spans = match self.op.expr(at) {
                        Expr::Axis(axis) => self.runs_over(*axis, size),
                        _ => false,
                    };
                    let proven = spans || known.are_within(at, size);
                    let gathered = has_read[at.index()];
                    unconditional &= proven || (or.is_some() && !gathered);
                    facts.spans.push(spans);
                    facts.proven.push(proven);
                    facts.gathered.push(gathered);
                }
                if let Source::Let(inner) = source {
                    unconditional &= self.unconditional[self.op.lets[inner.index()].body.index()];
                }
                self.reads[position] = facts;
                reads = true;
            }
            has_read[position] = reads;
            self.unconditional[position] = unconditional;
        }
    }

    /// `true` if an axis's extent is that size, or one that equals it at every call.
    fn runs_over(&self, axis: AxisId, size: SizeId) -> bool {
        self.extent(axis) == size || self.agreements.iter().any(|a| a.axis == axis && a.other == size)
    }

    /// The dimensions of the tensor that a read accesses.
    pub(super) fn source_sizes(&self, source: Source) -> Vec<SizeId> {
        match source {
            Source::Input(input) => self.op.inputs[input.index()].dims.clone().unwrap_or_default(),
            Source::Let(inner) => self.op.lets[inner.index()]
                .axes
                .iter()
                .map(|&axis| self.extent(axis))
                .collect(),
        }
    }
}
