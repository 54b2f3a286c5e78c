//! Checks an operator, and finds out what everything after needs to know of it.
//!
//! [`Checked::new`] accepts any [`Op`], also one decoded from hostile bytes: structure first, then types, extents and
//! reads. What it returns cannot be built otherwise, and nothing after it meets a malformed operator.
//! What depends on the sizes of a call is checked at the call: [`Checked::verify`], in `range`.

mod extents;
mod range;
mod structure;
mod types;

pub use range::CallError;
pub(crate) use range::Interval;
#[cfg(feature = "syn")]
pub(crate) use structure::{call_of_another_length, result_of_another_rank};

use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, InputId, LetId, Op, SizeId, Source, UnaryOp};
use crate::size::Sizes;
use types::Types;

/// Something wrong with an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Diagnostic {
    /// Where.
    pub at: Place,
    /// What is wrong.
    pub message: String,
    /// What to do, where there is advice.
    pub help: Option<String>,
}

/// A place in an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The operator as a whole.
    Op,
    /// A size.
    Size(SizeId),
    /// A parameter.
    Input(InputId),
    /// An axis.
    Axis(AxisId),
    /// An intermediate tensor.
    Let(LetId),
    /// An output, by position.
    Output(usize),
    /// An expression.
    Expr(ExprId),
}

impl Diagnostic {
    fn new(at: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            at,
            message: message.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}

/// A set of axes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AxisSet(Vec<AxisId>);

impl AxisSet {
    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = AxisId> + '_ {
        self.0.iter().copied()
    }

    /// Whether the axis is in it.
    pub fn contains(&self, axis: AxisId) -> bool {
        self.0.binary_search(&axis).is_ok()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn insert(&mut self, axis: AxisId) {
        if let Err(at) = self.0.binary_search(&axis) {
            self.0.insert(at, axis);
        }
    }

    fn extend(&mut self, other: &AxisSet) {
        other.iter().for_each(|axis| self.insert(axis));
    }

    fn remove(&mut self, axis: AxisId) {
        if let Ok(at) = self.0.binary_search(&axis) {
            self.0.remove(at);
        }
    }
}

/// Two sizes that must be equal at the call, because one axis indexes dimensions of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Agreement {
    /// The axis.
    pub axis: AxisId,
    /// The size that is the axis's extent.
    pub extent: SizeId,
    /// The size that must equal it.
    pub other: SizeId,
}

/// An operator that has been checked, with what was found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    op: Op,
    types: Types,
    axes: Vec<AxisSet>,
    extents: Vec<SizeId>,
    agreements: Vec<Agreement>,
    reads: Vec<ReadFacts>,
    unconditional: Vec<bool>,
    affine: Vec<bool>,
}

/// What is known of a read's indices, one a dimension; empty for other expressions.
#[derive(Debug, Clone, Default, PartialEq)]
struct ReadFacts {
    proven: Vec<bool>,
    gathered: Vec<bool>,
}

impl Checked {
    /// Checks an operator.
    ///
    /// # Errors
    /// All that is wrong with it, as far as one finding does not hide another.
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

    /// The type an expression's value has; of an index value ([`Checked::is_index`]) the one it has where 32 bits do.
    pub fn ty(&self, expr: ExprId) -> Type {
        self.types.own[expr.index()].ty
    }

    /// The type in which the operands of a comparison are compared; of another expression its own type.
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

    /// Whether a read's index is in range at every size, whatever conditions surround it: a bare axis that runs over this very dimension.
    pub fn proven(&self, read: ExprId, dimension: usize) -> bool {
        self.reads[read.index()].proven.get(dimension).copied().unwrap_or(false)
    }

    /// Whether a read's index comes from a tensor, and is therefore checked where it is used.
    pub fn gathered(&self, read: ExprId, dimension: usize) -> bool {
        self.reads[read.index()]
            .gathered
            .get(dimension)
            .copied()
            .unwrap_or(false)
    }

    /// Whether an expression may be computed where nobody wants its value: no read in it is kept in range by a condition around it.
    pub fn unconditional(&self, expr: ExprId) -> bool {
        self.unconditional[expr.index()]
    }

    /// Whether an integer expression is affine in axes, with sizes and constants as coefficients.
    pub fn affine(&self, expr: ExprId) -> bool {
        self.affine[expr.index()]
    }

    fn find_affine(&mut self) {
        for position in 0..self.op.exprs.len() {
            let affine = |e: ExprId| self.affine[e.index()];
            let fixed = |e: ExprId| self.affine[e.index()] && self.axes[e.index()].is_empty();
            self.affine[position] = match &self.op.exprs[position] {
                Expr::Literal(crate::ir::Literal::Int(_)) | Expr::Size(_) | Expr::Axis(_) => true,
                Expr::Unary(UnaryOp::Neg, a) => affine(*a),
                Expr::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) => affine(*a) && affine(*b),
                Expr::Binary(BinaryOp::Mul, a, b) => affine(*a) && affine(*b) && (fixed(*a) || fixed(*b)),
                _ => false,
            };
        }
    }

    fn find_read_facts(&mut self) {
        let mut has_read = vec![false; self.op.exprs.len()];
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
                    let proven = match self.op.expr(at) {
                        Expr::Axis(axis) => self.runs_over(*axis, size),
                        _ => false,
                    };
                    let gathered = has_read[at.index()];
                    unconditional &= proven || (or.is_some() && !gathered);
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

    /// Whether an axis's extent is that size, or one that equals it at every call.
    fn runs_over(&self, axis: AxisId, size: SizeId) -> bool {
        self.extent(axis) == size || self.agreements.iter().any(|a| a.axis == axis && a.other == size)
    }

    /// The dimensions of what a read reads.
    fn source_sizes(&self, source: Source) -> Vec<SizeId> {
        match source {
            Source::Input(input) => self.op.inputs[input.index()].dims.clone().unwrap_or_default(),
            Source::Let(inner) => self.op.lets[inner.index()]
                .axes
                .iter()
                .map(|&axis| self.extent(axis))
                .collect(),
        }
    }

    // ------------------------------------------------------------------ sizes of a call

    /// All sizes in the order of [`Op::sizes`], from sizes by name.
    ///
    /// # Errors
    /// A free size is missing, a name is unknown, or a derived size has no valid value.
    pub fn bind(&self, sizes: &Sizes) -> Result<Vec<u64>, CallError> {
        if let Some((name, _)) = sizes
            .iter()
            .find(|(name, _)| !self.op.sizes.iter().any(|size| size.name == *name))
        {
            return Err(CallError::UnknownSize { name: name.to_owned() });
        }
        let mut values = Vec::with_capacity(self.op.sizes.len());
        for size in &self.op.sizes {
            if size.definition.is_some() {
                break;
            }
            let value = sizes.get(&size.name).ok_or_else(|| CallError::MissingSize {
                name: size.name.clone(),
            })?;
            values.push(value);
        }
        self.derive(values)
    }

    /// All sizes, from the free ones, which come first.
    ///
    /// # Errors
    /// A derived size has no valid value.
    pub fn derive(&self, mut values: Vec<u64>) -> Result<Vec<u64>, CallError> {
        for size in &self.op.sizes[values.len().min(self.op.sizes.len())..] {
            let Some(definition) = &size.definition else {
                return Err(CallError::MissingSize {
                    name: size.name.clone(),
                });
            };
            let value = definition.evaluate(&values).map_err(|error| CallError::Derived {
                name: size.name.clone(),
                reason: error.to_string(),
            })?;
            let value = u64::try_from(value).map_err(|_| CallError::Derived {
                name: size.name.clone(),
                reason: format!("is {value}"),
            })?;
            values.push(value);
        }
        Ok(values)
    }

    /// All sizes in the order of [`Op::sizes`], from the shapes of the tensor inputs in order.
    ///
    /// # Errors
    /// A wrong number of tensors or dimensions, a dimension that contradicts another, or a derived size without a valid value.
    pub fn sizes_of(&self, shapes: &[&[u64]]) -> Result<Vec<u64>, CallError> {
        let tensors: Vec<_> = self.op.inputs.iter().filter(|input| input.dims.is_some()).collect();
        if tensors.len() != shapes.len() {
            return Err(CallError::Tensors {
                expected: tensors.len(),
                found: shapes.len(),
            });
        }
        let mut bound: Vec<Option<(u64, &str)>> = vec![None; self.op.sizes.len()];
        for (tensor, shape) in tensors.iter().zip(shapes) {
            let dims = tensor.dims.as_deref().unwrap_or_default();
            if dims.len() != shape.len() {
                return Err(CallError::Rank {
                    tensor: tensor.name.clone(),
                    expected: dims.len(),
                    found: shape.len(),
                });
            }
            for (dimension, (size, &value)) in dims.iter().zip(*shape).enumerate() {
                match bound[size.index()] {
                    None => bound[size.index()] = Some((value, &tensor.name)),
                    Some((other, _)) if other == value => {}
                    Some((other, first)) => {
                        return Err(CallError::Shape {
                            tensor: tensor.name.clone(),
                            dimension,
                            size: self.op.sizes[size.index()].name.clone(),
                            expected: other,
                            found: value,
                            because: format!("`{first}` has it so"),
                        });
                    }
                }
            }
        }
        let free = self
            .op
            .sizes
            .iter()
            .take_while(|size| size.definition.is_none())
            .count();
        let mut values = Vec::with_capacity(self.op.sizes.len());
        for (size, value) in self.op.sizes[..free].iter().zip(&bound) {
            values.push(
                value
                    .ok_or_else(|| CallError::MissingSize {
                        name: size.name.clone(),
                    })?
                    .0,
            );
        }
        let values = self.derive(values)?;
        // A derived size that is also a dimension of an input.
        for (tensor, shape) in tensors.iter().zip(shapes) {
            for (dimension, (size, &found)) in tensor.dims.iter().flatten().zip(*shape).enumerate() {
                let expected = values[size.index()];
                if expected != found {
                    return Err(CallError::Shape {
                        tensor: tensor.name.clone(),
                        dimension,
                        size: self.op.sizes[size.index()].name.clone(),
                        expected,
                        found,
                        because: "its formula in `dims(…)` gives that".to_owned(),
                    });
                }
            }
        }
        Ok(values)
    }
}
