//! The values of an operator that are worth storing.

use crate::check::Checked;
use crate::element::Element;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Function, LetId, SizeId, Source};
use crate::schedule::MOST_STORED;
use std::collections::{BTreeSet, HashSet};

/// The most steps of the walk over an operator. Larger operators have no values to store.
const MOST_STEPS: u32 = 1 << 14;

/// A value that a program may store.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The value.
    pub expr: ExprId,
    /// The axes of the stored tensor, slowest first.
    pub axes: Vec<AxisId>,
    /// The element type of the stored tensor. It holds the value exactly.
    pub element: Element,
    /// The intermediate tensor that is stored as a whole. `None` for a value inside a closure, which is stored over the axes that it depends on.
    pub tensor: Option<LetId>,
    /// `true` if it is pointwise work on tensors that has no reduction over the same axes.
    pub(super) computed: bool,
}

impl Value {
    /// The value's number in the operator.
    pub fn number(&self) -> u32 {
        self.expr.0
    }
}

/// Why a value is worth storing, the strongest reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// Another reduction uses it.
    Reduced,
    /// Several elements of a result use it.
    Shared,
    /// It stands beside a reduction over other terms, and no tiled family computes both.
    Beside,
    /// It is pointwise work inside a reduction, which every tile or element computes again.
    Computed,
}

/// Returns the values that are worth storing, at most [`MOST_STORED`], in the order in which they can be computed. If there are more, those
/// that other reductions use come first, then those that several elements of a result share, and pointwise work comes last.
pub fn values(checked: &Checked) -> Vec<Value> {
    let mut walk = Walk {
        checked,
        reduced: reduced(checked),
        computed: computed(checked),
        body: 0,
        scope: Vec::new(),
        steps: 0,
        seen: HashSet::new(),
        uses: Vec::new(),
    };
    if walk.all().is_none() {
        return Vec::new();
    }
    let (uses, reduced, computed) = (walk.uses, walk.reduced, walk.computed);
    let bodies = bodies(checked);
    let spread = spread(&bodies, &uses);
    let of_uses = uses.iter().filter(|used| !used.absorbed).filter_map(|used| {
        let spread = spread[used.body];
        let reason = match (used.reduced || spread.reduced, used.shared || spread.shared) {
            (true, _) => Reason::Reduced,
            (false, true) => Reason::Shared,
            (false, false) => return None,
        };
        Some((reason, used.of))
    });
    let beside = beside(checked, &reduced, &bodies, &uses);
    let beside = beside.into_iter().map(|of| (Reason::Beside, of));
    let repeated = (uses.iter()).filter(|used| !used.absorbed && used.reduced && used.shared);
    let repeated = repeated.map(|used| (Reason::Computed, used.of));
    let only_indices = only_indices(checked);
    let mut found: Vec<(Reason, Value)> = Vec::new();
    for (reason, of) in of_uses.chain(beside).chain(repeated) {
        let Some(value) = value(checked, of, reason) else {
            continue;
        };
        let has_reason = if value.computed { &computed } else { &reduced };
        if !has_reason[value.expr.index()] {
            continue;
        }
        match found.iter_mut().find(|(_, known)| known.expr == value.expr) {
            Some((known, _)) => *known = reason.min(*known),
            None => found.push((reason, value)),
        }
    }
    found.retain(|(_, value)| {
        let in_range = value.tensor.is_some() || checked.unconditional(value.expr);
        let mut own = uses.iter().filter(|used| used.is_of(value));
        own.all(|used| in_range || used.proved) && keeps_types(checked, value, &only_indices)
    });
    found.sort_by_key(|(reason, value)| (*reason, value.expr));
    found.truncate(MOST_STORED);
    found.sort_by_key(|(_, value)| value.expr);
    found.into_iter().map(|(_, value)| value).collect()
}

/// The stored form of a value. `None` for an intermediate tensor that repeats its values along an axis.
fn value(checked: &Checked, of: Of, reason: Reason) -> Option<Value> {
    let (expr, axes, tensor) = match of {
        Of::Tensor(inner) if !is_whole(checked, inner) => return None,
        Of::Tensor(inner) => {
            let entry = &checked.op().lets[inner.index()];
            (entry.body, entry.axes.clone(), Some(inner))
        }
        Of::Expr(expr) => (expr, checked.axes(expr).iter().collect(), None),
    };
    Some(Value {
        expr,
        axes,
        element: element(checked, expr),
        tensor,
        computed: reason == Reason::Computed,
    })
}

/// The element type that holds a value exactly. Index values have 64 bits.
fn element(checked: &Checked, expr: ExprId) -> Element {
    match checked.op().expr(expr) {
        _ if checked.is_index(expr) => Element::I64,
        Expr::Cast(_, element) => *element,
        _ => checked.ty(expr).element(),
    }
}

/// `true` if all axes of an intermediate tensor matter to its value.
fn is_whole(checked: &Checked, inner: LetId) -> bool {
    let entry = &checked.op().lets[inner.index()];
    entry.axes.iter().all(|&axis| checked.axes(entry.body).contains(axis))
}

/// The operand of a cast to the type that it has, which is the same value. `as T` is one where `T` is `f32`, and none where it is `f16`.
fn uncast(checked: &Checked, expr: ExprId) -> Option<ExprId> {
    match *checked.op().expr(expr) {
        Expr::Cast(operand, element) if !checked.is_index(operand) && checked.ty(operand).element() == element => {
            Some(operand)
        }
        _ => None,
    }
}

/// Pointwise work: its value at a place depends on the operands at that place only.
fn is_pointwise(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Unary(..) | Expr::Binary(..) | Expr::Compare(..) | Expr::Select { .. } | Expr::Cast(..) | Expr::Call(..)
    )
}

/// `true` if pointwise work takes many instructions.
fn is_costly_by_itself(expr: &Expr) -> bool {
    match expr {
        Expr::Call(function, _) => function.is_special(),
        Expr::Binary(operation, ..) => matches!(operation, BinaryOp::Div | BinaryOp::Rem),
        _ => false,
    }
}

/// `true` if the type of a value does not say that tensor cores multiply it exactly.
fn is_rounded(expr: &Expr) -> bool {
    matches!(expr, Expr::Call(Function::Tf32 | Function::Tf32TowardZero, _))
}

/// The axes of a read that is indexed by distinct axes alone.
fn bare_axes(checked: &Checked, index: &[ExprId]) -> Option<Vec<AxisId>> {
    let mut axes = Vec::new();
    for &at in index {
        match checked.op().expr(at) {
            Expr::Axis(axis) if !axes.contains(axis) => axes.push(*axis),
            _ => return None,
        }
    }
    Some(axes)
}

/// For each expression, `true` if it is a reduction of tensor elements, or what pointwise work makes of one over the same axes.
fn reduced(checked: &Checked) -> Vec<bool> {
    let op = checked.op();
    let (mut reads, mut reduced) = (Vec::with_capacity(op.exprs.len()), Vec::with_capacity(op.exprs.len()));
    for number in 0..op.exprs.len() {
        let id = ExprId(number as u32);
        let (mut any_read, mut any_reduced) = (false, false);
        op.operands(id, |operand| {
            any_read |= reads[operand.index()];
            any_reduced |= reduced[operand.index()] && checked.axes(operand) == checked.axes(id);
        });
        let (is_read, is_reduced) = match op.expr(id) {
            Expr::Reduce { .. } => (any_read, any_read),
            Expr::Read {
                source: Source::Let(inner),
                index,
                or,
            } => {
                let body = op.lets[inner.index()].body.index();
                let bare = or.is_none() && bare_axes(checked, index).is_some();
                (
                    any_read || reads[body],
                    bare && reduced[body] && is_whole(checked, *inner),
                )
            }
            Expr::Read { .. } => (true, false),
            expr => (any_read, is_pointwise(expr) && any_reduced),
        };
        reads.push(is_read);
        reduced.push(is_reduced);
    }
    reduced
}

/// For each expression, `true` if it is costly pointwise work, and if it reads a tensor that has an element for each of its places: more
/// places than that would be more to read. What is [`reduced`] is not.
fn computed(checked: &Checked) -> Vec<bool> {
    let op = checked.op();
    let reduced = reduced(checked);
    let (mut is_costly, mut is_dense) = (Vec::<bool>::new(), Vec::<bool>::new());
    for number in 0..op.exprs.len() {
        let id = ExprId(number as u32);
        let expr = op.expr(id);
        let bare = |index: &[ExprId]| bare_axes(checked, index).is_some();
        let (costly, dense) = match expr {
            Expr::Read {
                source: Source::Let(inner),
                index,
                or: None,
            } if bare(index) => {
                let body = op.lets[inner.index()].body.index();
                (is_costly[body], is_dense[body] && is_whole(checked, *inner))
            }
            Expr::Read {
                source: Source::Input(_),
                index,
                or: None,
            } => (false, bare(index)),
            expr if is_pointwise(expr) && !is_rounded(expr) && !checked.is_index(id) => {
                let (mut costly, mut dense) = (is_costly_by_itself(expr), false);
                op.operands(id, |operand| {
                    costly |= is_costly[operand.index()];
                    dense |= is_dense[operand.index()] && checked.axes(operand) == checked.axes(id);
                });
                (costly, dense)
            }
            _ => (false, false),
        };
        is_costly.push(costly);
        is_dense.push(dense);
    }
    let each = is_costly.iter().zip(&is_dense).zip(&reduced);
    each.map(|((costly, dense), reduced)| *costly && *dense && !reduced)
        .collect()
}

/// The parts of a value that reduce, beside parts that reduce over other extents.
fn beside(checked: &Checked, reduced: &[bool], bodies: &[Body<'_>], uses: &[Use]) -> Vec<Of> {
    let inner = uses
        .iter()
        .filter(|used| !used.absorbed)
        .filter_map(|used| match used.of {
            Of::Expr(expr) => Some(expr),
            Of::Tensor(_) => None,
        });
    let whole = bodies.iter().map(|body| body.root).chain(inner);
    let mut found = Vec::new();
    for expr in whole.filter(|expr| reduced[expr.index()]) {
        let parts = parts(checked, reduced, expr);
        let extents: BTreeSet<&Vec<SizeId>> = parts.iter().map(|(_, extents)| extents).collect();
        if extents.len() > 1 {
            found.extend(parts.into_iter().map(|(of, _)| of));
        }
    }
    found
}

/// The reductions that pointwise work makes a value of, each with its extents. An intermediate tensor stands for those inside of it.
fn parts(checked: &Checked, reduced: &[bool], value: ExprId) -> Vec<(Of, Vec<SizeId>)> {
    let op = checked.op();
    let (mut found, mut seen, mut waiting) = (Vec::new(), BTreeSet::new(), vec![(value, None)]);
    while let Some((id, tensor)) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        match op.expr(id) {
            Expr::Reduce { axes, .. } => {
                let of = tensor.map_or(Of::Expr(id), Of::Tensor);
                found.push((of, axes.iter().map(|&axis| checked.extent(axis)).collect()));
            }
            Expr::Read {
                source: Source::Let(inner),
                ..
            } => waiting.push((op.lets[inner.index()].body, tensor.or(Some(*inner)))),
            _ => op.operands(id, |operand| {
                if reduced[operand.index()] && checked.axes(operand) == checked.axes(id) {
                    waiting.push((operand, tensor));
                }
            }),
        }
    }
    found
}

/// For each expression, `true` if each of its uses is an index of a read, or a cast.
fn only_indices(checked: &Checked) -> Vec<bool> {
    let op = checked.op();
    let mut only = vec![true; op.exprs.len()];
    for expr in 0..op.exprs.len() {
        let id = ExprId(expr as u32);
        let allowed: &[ExprId] = match op.expr(id) {
            Expr::Read { index, or: None, .. } => index,
            Expr::Cast(operand, _) => std::slice::from_ref(operand),
            _ => &[],
        };
        op.operands(id, |operand| only[operand.index()] &= allowed.contains(&operand));
    }
    let inner = op.lets.iter().map(|entry| entry.body);
    let outer = op.outputs.iter().filter(|output| output.element != Element::I64);
    for body in inner.chain(outer.map(|output| output.body)) {
        only[body.index()] = false;
    }
    only
}

/// `true` if the operator means the same with an element of a tensor in the value's place. An index value is stored in 64 bits and read as an
/// `i64`, which is the same in an index and under a cast.
fn keeps_types(checked: &Checked, value: &Value, only_indices: &[bool]) -> bool {
    if !checked.is_index(value.expr) {
        return true;
    }
    let op = checked.op();
    match value.tensor {
        None => only_indices[value.expr.index()],
        Some(inner) => (0..op.exprs.len()).all(|number| match &op.exprs[number] {
            Expr::Read { source, .. } if *source == Source::Let(inner) => {
                only_indices[number] || !checked.is_index(ExprId(number as u32))
            }
            _ => true,
        }),
    }
}

/// A closure: that of an intermediate tensor, or of a result.
struct Body<'a> {
    axes: &'a [AxisId],
    root: ExprId,
    tensor: Option<LetId>,
}

impl Body<'_> {
    fn is_covered_by(&self, checked: &Checked, expr: ExprId) -> bool {
        self.axes.iter().all(|&axis| checked.axes(expr).contains(axis))
    }
}

/// All closures, in the operator's order: each reads only earlier intermediate tensors.
fn bodies(checked: &Checked) -> Vec<Body<'_>> {
    let op = checked.op();
    let inner = op.lets.iter().enumerate().map(|(number, entry)| Body {
        axes: &entry.axes,
        root: entry.body,
        tensor: Some(LetId(number as u32)),
    });
    let outer = op.outputs.iter().map(|output| Body {
        axes: &output.axes,
        root: output.body,
        tensor: None,
    });
    inner.chain(outer).collect()
}

/// The uses of a closure's values.
#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    /// `true` if a reduction uses them.
    reduced: bool,
    /// `true` if several elements use one of them.
    shared: bool,
}

/// The uses of each closure's values, also through other intermediate tensors.
fn spread(bodies: &[Body<'_>], uses: &[Use]) -> Vec<Spread> {
    let mut all = vec![Spread::default(); bodies.len()];
    for body in (0..bodies.len()).rev() {
        let Some(tensor) = bodies[body].tensor else { continue };
        for used in uses.iter().filter(|used| used.of == Of::Tensor(tensor)) {
            let outer = all[used.body];
            all[body].reduced |= used.reduced || outer.reduced;
            all[body].shared |= used.shared || outer.shared;
        }
    }
    all
}

/// What is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Tensor(LetId),
    Expr(ExprId),
}

/// A use of an intermediate tensor, or of a value inside a closure.
#[derive(Debug, Clone, Copy)]
struct Use {
    of: Of,
    /// The closure that it stands in.
    body: usize,
    /// `true` inside a reduction of that closure.
    reduced: bool,
    /// `true` if several elements of the closure share the value.
    shared: bool,
    /// `true` if it is part of a larger value over the same axes.
    absorbed: bool,
    /// `true` if the proof of a call's indices covers all places of the value.
    proved: bool,
}

impl Use {
    fn is_of(&self, value: &Value) -> bool {
        match self.of {
            Of::Tensor(inner) => value.tensor == Some(inner),
            Of::Expr(expr) => value.tensor.is_none() && value.expr == expr,
        }
    }
}

struct Walk<'a> {
    checked: &'a Checked,
    reduced: Vec<bool>,
    computed: Vec<bool>,
    /// The closure at hand.
    body: usize,
    /// The axes in scope: the closure's, then those of reductions.
    scope: Vec<AxisId>,
    steps: u32,
    seen: HashSet<(ExprId, usize, Vec<AxisId>, bool, bool)>,
    uses: Vec<Use>,
}

impl Walk<'_> {
    /// Visits every closure. `None` if the operator is too large.
    fn all(&mut self) -> Option<()> {
        let checked = self.checked;
        for (number, body) in bodies(checked).iter().enumerate() {
            self.body = number;
            self.scope = body.axes.to_vec();
            self.expr(body, body.root, None, false)?;
        }
        Some(())
    }

    fn expr(&mut self, body: &Body<'_>, id: ExprId, parent: Option<ExprId>, conditional: bool) -> Option<()> {
        let checked = self.checked;
        let op = checked.op();
        if let Some(same) = uncast(checked, id).filter(|_| id != body.root) {
            return self.expr(body, same, parent, conditional);
        }
        let absorbed = parent.is_some_and(|parent| {
            let of_value = self.reduced[id.index()] && checked.axes(parent) == checked.axes(id);
            let of_work = self.computed[parent.index()] && !body.is_covered_by(checked, parent);
            is_pointwise(op.expr(parent)) && (of_value || self.computed[id.index()] && of_work)
        });
        if !self
            .seen
            .insert((id, self.body, self.scope.clone(), absorbed, conditional))
        {
            return Some(());
        }
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return None;
        }
        self.note(body, id, absorbed, conditional);
        let inner = |walk: &mut Self, operand, conditional| walk.expr(body, operand, Some(id), conditional);
        match op.expr(id) {
            Expr::Reduce { axes, body: term, .. } => {
                let outer = self.scope.len();
                self.scope.extend(axes);
                inner(self, *term, conditional)?;
                self.scope.truncate(outer);
                Some(())
            }
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                inner(self, *condition, conditional)?;
                inner(self, *accept, true)?;
                inner(self, *reject, true)
            }
            Expr::Binary(BinaryOp::And | BinaryOp::Or, a, b) => {
                inner(self, *a, conditional)?;
                inner(self, *b, true)
            }
            _ => {
                let mut operands = Vec::new();
                op.operands(id, |operand| operands.push(operand));
                operands
                    .into_iter()
                    .try_for_each(|operand| inner(self, operand, conditional))
            }
        }
    }

    /// Notes a use of an intermediate tensor, or of a value.
    fn note(&mut self, body: &Body<'_>, id: ExprId, absorbed: bool, conditional: bool) {
        let checked = self.checked;
        let (of, shared) = match checked.op().expr(id) {
            Expr::Read {
                source: Source::Let(inner),
                index,
                ..
            } => {
                let axes = bare_axes(checked, index);
                let covers = axes.is_some_and(|axes| body.axes.iter().all(|axis| axes.contains(axis)));
                (Of::Tensor(*inner), !covers)
            }
            // A result, or an intermediate tensor as a whole, is no value inside itself.
            _ if id == body.root && body.is_covered_by(checked, id) => return,
            _ if self.reduced[id.index()] || self.computed[id.index()] => {
                (Of::Expr(id), !body.is_covered_by(checked, id))
            }
            _ => return,
        };
        // No launch happens if the only result is empty, so its axes have elements.
        let only_result = body.tensor.is_none() && checked.op().outputs.len() == 1;
        let mut others = self.scope.iter().filter(|&&axis| !checked.axes(id).contains(axis));
        self.uses.push(Use {
            of,
            body: self.body,
            reduced: self.scope.len() > body.axes.len(),
            shared,
            absorbed,
            proved: !conditional && others.all(|axis| only_result && body.axes.contains(axis)),
        });
    }
}
