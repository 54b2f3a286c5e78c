//! The necessary work of an operator.
//!
//! Each expression is computed once for each value of the axes that it depends on. The values of an intermediate tensor are computed once,
//! and only those that are read. Where a condition on axes makes a value a constant, or a term of a reduction its identity, neither is
//! computed: `if s <= t { … } else { 0.0 }` halves a sum over `s`. Conditions that depend on data are taken to hold. Index arithmetic,
//! conversions and choices are free.
//!
//! Two intermediate tensors, or two closures, of the same formula count twice.

use super::guards::{Guards, conjuncts, part};
use crate::affine::Affine;
use crate::check::Checked;
use crate::distinct;
use crate::element::Type;
use crate::features;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Function, LetId, Literal, ReduceOp, Source, UnaryOp};
use crate::lower::tile::multiplicand::Multiplicand;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};

/// The most visits to expressions. Larger operators count as less work.
const MOST_VISITS: usize = 1 << 14;

/// The work that every kernel of an operator does at some sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Work {
    /// Bytes between device memory and the chip: each sector of inputs and results once.
    pub bytes: f64,
    /// Operations of tensor cores in time of `f16`: those of `i8` count half, those of `tf32` twice.
    pub matrix: f64,
    /// Single-precision operations outside of tensor cores. A fused multiply-add is two.
    pub float32: f64,
    /// The most of these that other instructions take in: multiplications by additions, and changes of sign.
    pub fused32: f64,
    /// Double-precision operations.
    pub float64: f64,
    /// The most of these that other instructions take in.
    pub fused64: f64,
    /// Operations on integers other than indices.
    pub integer: f64,
    /// Approximate functions in single precision: exponentials, logarithms, roots, reciprocals, sines and what is made of them.
    pub special: f64,
}

impl Work {
    /// Returns the necessary work at these sizes (all of them, in the order of [`Op::sizes`](crate::ir::Op::sizes)). None if all results
    /// are empty.
    pub fn of(checked: &Checked, sizes: &[u64]) -> Work {
        let op = checked.op();
        let mut count = Counting {
            checked,
            sizes,
            demands: vec![BTreeMap::new(); op.lets.len()],
            scope: Scope::default(),
            seen: FxHashSet::default(),
            parts: FxHashMap::default(),
            otherwise: vec![None; op.exprs.len()],
            within_tensor_cores: FxHashSet::default(),
            operations: BTreeMap::new(),
        };
        let mut empty = true;
        for output in &op.outputs {
            if count.volume(&output.axes) > 0.0 {
                empty = false;
                count.scope(&output.axes, f64::INFINITY, output.body);
            }
        }
        if empty {
            return Work::default();
        }
        // Users of an intermediate tensor come after it.
        for (number, inner) in op.lets.iter().enumerate().rev() {
            let wanted = count.demand(LetId(number as u32));
            if wanted > 0.0 {
                count.scope(&inner.axes, wanted, inner.body);
            }
        }
        let mut work = Work {
            bytes: features::compulsory_bytes(checked, sizes).likely,
            ..Work::default()
        };
        work.fused32 = count.fused(Unit::Float32);
        work.fused64 = count.fused(Unit::Float64);
        for (&(_, unit), &times) in &count.operations {
            match unit {
                Unit::Matrix { bytes } => work.matrix += times * f64::from(bytes) / 2.0,
                Unit::Float32 => work.float32 += times,
                Unit::Float64 => work.float64 += times,
                Unit::Integer => work.integer += times,
                Unit::Special => work.special += times,
            }
        }
        work
    }
}

/// A unit of a multiprocessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    /// Tensor cores, by the bytes of a multiplicand.
    Matrix {
        bytes: u32,
    },
    Float32,
    Float64,
    Integer,
    Special,
}

/// The closure whose expressions are visited.
#[derive(Default)]
struct Scope {
    axes: Vec<AxisId>,
    /// The most values of the closure that are wanted.
    wanted: f64,
}

/// A constant that a value becomes where guards do not hold.
#[derive(Debug, Clone)]
struct Otherwise {
    value: f64,
    guards: Guards,
}

struct Counting<'a> {
    checked: &'a Checked,
    sizes: &'a [u64],
    /// The values of each intermediate tensor that its reads want.
    demands: Vec<BTreeMap<ExprId, f64>>,
    scope: Scope,
    seen: FxHashSet<(ExprId, Guards)>,
    /// The part of all combinations at which guards hold.
    parts: FxHashMap<Guards, f64>,
    /// The constant that each expression becomes where conditions on axes do not hold, once it was asked for.
    otherwise: Vec<Option<Option<Otherwise>>>,
    /// Products that are part of a sum on tensor cores.
    within_tensor_cores: FxHashSet<ExprId>,
    /// Operations of each expression on each unit.
    operations: BTreeMap<(ExprId, Unit), f64>,
}

impl Counting<'_> {
    fn extent(&self, axis: AxisId) -> u64 {
        let size = self.checked.extent(axis).index();
        self.sizes.get(size).copied().unwrap_or(0)
    }

    fn volume<'b>(&self, axes: impl IntoIterator<Item = &'b AxisId>) -> f64 {
        axes.into_iter().map(|&axis| self.extent(axis) as f64).product()
    }

    /// The values of an intermediate tensor that are wanted.
    fn demand(&self, tensor: LetId) -> f64 {
        let inner = &self.checked.op().lets[tensor.index()];
        let is_bare = |read: ExprId| match self.checked.op().expr(read) {
            Expr::Read { index, .. } => index
                .iter()
                .all(|&at| matches!(self.checked.op().expr(at), Expr::Axis(_))),
            _ => false,
        };
        // Reads by axes alone want the same values; others may want different ones.
        let (mut bare, mut others) = (0.0, 0.0);
        for (&read, &values) in &self.demands[tensor.index()] {
            match is_bare(read) {
                true => bare = f64::max(bare, values),
                false => others += values,
            }
        }
        (bare + others).min(self.volume(&inner.axes))
    }

    fn scope(&mut self, axes: &[AxisId], wanted: f64, body: ExprId) {
        self.scope = Scope {
            axes: axes.to_vec(),
            wanted,
        };
        self.visit(body, &Guards::new());
    }

    /// The number of combinations of axes at which guards hold and values are wanted.
    fn times(&mut self, axes: &BTreeSet<AxisId>, guards: &Guards) -> f64 {
        let inner = axes.iter().filter(|axis| !self.scope.axes.contains(axis));
        let wanted = self.scope.wanted * self.volume(inner);
        // A condition on other axes too holds for some of their values.
        let decides = |guard: &&Affine| guard.terms.iter().all(|(axis, _)| axes.contains(axis));
        let guards: Guards = guards.iter().filter(decides).cloned().collect();
        let known = self.parts.get(&guards).copied();
        let held = known.unwrap_or_else(|| part(guards.iter(), |axis| self.extent(axis)));
        self.parts.insert(guards, held);
        (self.volume(axes) * held).min(wanted)
    }

    fn axes(&self, expr: ExprId) -> BTreeSet<AxisId> {
        self.checked.axes(expr).iter().collect()
    }

    fn add(&mut self, expr: ExprId, unit: Unit, operations: f64) {
        // An expression that several others share is computed once.
        let known = self.operations.entry((expr, unit)).or_default();
        *known = known.max(operations);
    }

    fn visit(&mut self, expr: ExprId, guards: &Guards) {
        let mut guards = guards.clone();
        guards.extend(self.otherwise(expr).into_iter().flat_map(|otherwise| otherwise.guards));
        if self.seen.len() >= MOST_VISITS || !self.seen.insert((expr, guards.clone())) {
            return;
        }
        let op = self.checked.op();
        match op.expr(expr) {
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                self.visit(*condition, &guards);
                for (branch, holds) in [(*accept, true), (*reject, false)] {
                    let mut within = guards.clone();
                    conjuncts(self.checked, self.sizes, *condition, holds, &mut within);
                    self.visit(branch, &within);
                }
            }
            Expr::Reduce { op, axes, body } => self.reduction(expr, *op, axes, *body, guards),
            Expr::Read {
                source: Source::Let(inner),
                index,
                ..
            } => {
                let dims: Vec<_> = (op.lets[inner.index()].axes.iter())
                    .map(|&axis| self.checked.extent(axis))
                    .collect();
                let wanted = self.times(&self.axes(expr), &guards);
                let values = distinct::elements(self.checked, self.sizes, index, &dims).min(wanted);
                let known = self.demands[inner.index()].entry(expr).or_default();
                *known = known.max(values);
                op.operands(expr, |operand| self.visit(operand, &guards));
            }
            _ => {
                self.operation(expr, &guards);
                op.operands(expr, |operand| self.visit(operand, &guards));
            }
        }
    }

    fn reduction(&mut self, expr: ExprId, operation: ReduceOp, axes: &[AxisId], body: ExprId, mut guards: Guards) {
        let skipped = self
            .otherwise(body)
            .filter(|otherwise| otherwise.value == operation.identity());
        guards.extend(skipped.into_iter().flat_map(|otherwise| otherwise.guards));
        let mut all = self.axes(expr);
        all.extend(axes);
        let terms = self.times(&all, &guards);
        let ty = self.checked.ty(body);
        if let Some((product, bytes)) = self.on_tensor_cores(expr, operation, body) {
            self.within_tensor_cores.insert(product);
            self.add(expr, Unit::Matrix { bytes }, 2.0 * terms);
        } else if let Some(unit) = self.unit(body, ty) {
            self.add(expr, unit, terms);
        }
        self.visit(body, &guards);
    }

    /// The product in a sum that tensor cores can compute, and the bytes of a multiplicand: two factors of exact types, each of which has
    /// axes that the other has not.
    fn on_tensor_cores(&self, sum: ExprId, operation: ReduceOp, body: ExprId) -> Option<(ExprId, u32)> {
        let op = self.checked.op();
        let mut product = body;
        let (a, b) = loop {
            match op.expr(product) {
                Expr::Binary(BinaryOp::Mul, a, b) if self.checked.ty(product) == self.checked.ty(sum) => {
                    break (*a, *b);
                }
                Expr::Select { accept, reject, .. } if self.constant(*reject) == Some(0.0) => product = *accept,
                Expr::Select { accept, reject, .. } if self.constant(*accept) == Some(0.0) => product = *reject,
                Expr::Read {
                    source: Source::Let(inner),
                    or: None,
                    ..
                } => product = op.lets[inner.index()].body,
                _ => return None,
            }
        };
        let own = |a, b| self.axes(a).difference(&self.axes(b)).next().is_some();
        if operation != ReduceOp::Sum || !own(a, b) || !own(b, a) {
            return None;
        }
        let pair = Multiplicand::of_factors(self.checked, self.checked.ty(sum), [a, b])?;
        Some((product, pair[0].bytes()))
    }

    /// The unit of arithmetic in this type. None for index values and truth values, which are free.
    fn unit(&self, expr: ExprId, ty: Type) -> Option<Unit> {
        match ty {
            Type::F32 => Some(Unit::Float32),
            Type::F64 => Some(Unit::Float64),
            Type::I32 | Type::I64 if !self.checked.is_index(expr) => Some(Unit::Integer),
            Type::I32 | Type::I64 | Type::Bool => None,
        }
    }

    /// Counts an expression's own operation.
    fn operation(&mut self, expr: ExprId, guards: &Guards) {
        let Some(unit) = self.unit(expr, self.checked.operand_ty(expr)) else {
            return;
        };
        let axes = self.axes(expr);
        match self.checked.op().expr(expr) {
            Expr::Binary(BinaryOp::Mul, ..) if self.within_tensor_cores.contains(&expr) => {}
            Expr::Binary(operation, _, divisor) => {
                let times = self.times(&axes, guards);
                self.add(expr, unit, times);
                if *operation == BinaryOp::Div && unit == Unit::Float32 && self.constant(*divisor).is_none() {
                    let reciprocals = self.times(&self.axes(*divisor), guards);
                    self.add(expr, Unit::Special, reciprocals.min(times));
                }
            }
            Expr::Compare(..) if self.checked.compares_indices(expr) => {}
            Expr::Compare(..) | Expr::Unary(..) => {
                let times = self.times(&axes, guards);
                self.add(expr, unit, times);
            }
            Expr::Call(function, _) => {
                let times = self.times(&axes, guards);
                let special = function.is_special() && unit == Unit::Float32;
                let unit = if special { Unit::Special } else { unit };
                self.add(expr, unit, times);
            }
            _ => {}
        }
    }

    /// The most operations of a unit that other instructions take in.
    fn fused(&self, unit: Unit) -> f64 {
        let (mut multiplications, mut additions, mut signs) = (0.0, 0.0, 0.0);
        for (&(expr, own), &times) in &self.operations {
            let count = match self.checked.op().expr(expr) {
                _ if own != unit => continue,
                Expr::Binary(BinaryOp::Mul | BinaryOp::Div, ..) | Expr::Call(Function::Powi, _) => &mut multiplications,
                Expr::Binary(BinaryOp::Add | BinaryOp::Sub, ..) | Expr::Reduce { op: ReduceOp::Sum, .. } => {
                    &mut additions
                }
                Expr::Unary(UnaryOp::Neg, _) | Expr::Call(Function::Abs, _) => &mut signs,
                _ => continue,
            };
            *count += times;
        }
        f64::min(multiplications, additions) + signs
    }

    /// The value of an expression that is a number at these sizes.
    fn constant(&self, expr: ExprId) -> Option<f64> {
        match *self.checked.op().expr(expr) {
            Expr::Literal(Literal::Float(value)) => Some(value),
            Expr::Literal(Literal::Int(value)) => Some(value as f64),
            Expr::Size(size) => self.sizes.get(size.index()).map(|&value| value as f64),
            Expr::Unary(UnaryOp::Neg, a) => self.constant(a).map(|value| -value),
            Expr::Cast(a, _) => self.constant(a),
            _ => None,
        }
    }

    /// The constant that an expression becomes where conditions on axes do not hold.
    fn otherwise(&mut self, expr: ExprId) -> Option<Otherwise> {
        if let Some(known) = &self.otherwise[expr.index()] {
            return known.clone();
        }
        let found = self
            .find_otherwise(expr)
            .filter(|otherwise| !otherwise.guards.is_empty());
        self.otherwise[expr.index()] = Some(found.clone());
        found
    }

    fn find_otherwise(&mut self, expr: ExprId) -> Option<Otherwise> {
        let op = self.checked.op();
        match *op.expr(expr) {
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                let (branch, value, holds) = match (self.constant(accept), self.constant(reject)) {
                    (None, Some(value)) => (accept, value, true),
                    (Some(value), None) => (reject, value, false),
                    _ => return None,
                };
                let mut guards = Guards::new();
                conjuncts(self.checked, self.sizes, condition, holds, &mut guards);
                let inner = self.otherwise(branch).filter(|inner| inner.value == value);
                guards.extend(inner.into_iter().flat_map(|inner| inner.guards));
                Some(Otherwise { value, guards })
            }
            Expr::Read {
                source: Source::Let(inner),
                ref index,
                or: None,
            } => {
                let inner = &op.lets[inner.index()];
                let Otherwise { value, guards } = self.otherwise(inner.body)?;
                let value_of = |axis: AxisId| {
                    let at = inner.axes.iter().position(|&own| own == axis)?;
                    Affine::of(self.checked, self.sizes, *index.get(at)?)
                };
                let guards = guards.iter().filter_map(|guard| guard.substituted(value_of)).collect();
                Some(Otherwise { value, guards })
            }
            Expr::Cast(a, _) => self.otherwise(a),
            Expr::Unary(UnaryOp::Neg, a) => self
                .otherwise(a)
                .map(|Otherwise { value, guards }| Otherwise { value: -value, guards }),
            Expr::Binary(BinaryOp::Mul, a, b) => {
                let zeros = [a, b].map(|factor| self.otherwise(factor).filter(|factor| factor.value == 0.0));
                let guards = zeros.into_iter().flatten().flat_map(|zero| zero.guards).collect();
                Some(Otherwise { value: 0.0, guards })
            }
            Expr::Binary(BinaryOp::Div, a, _) => self.otherwise(a).filter(|a| a.value == 0.0),
            Expr::Binary(BinaryOp::Add | BinaryOp::Sub, a, _) => self.otherwise(a).filter(|a| a.value.is_infinite()),
            Expr::Call(Function::Exp, ref arguments) => {
                let Otherwise { value, guards } = self.otherwise(*arguments.first()?)?;
                Some(Otherwise {
                    value: value.exp(),
                    guards,
                })
            }
            _ => None,
        }
    }
}
