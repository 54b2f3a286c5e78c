//! The shape of an operator for `attention`: whatever its intermediate tensors are called, it is
//!
//! ```text
//! score  = f(Σ query · key)            f: pointwise, a mask among it
//! weight = exp(score − max score)      rounded to f16 or bf16 by the source
//! result = g(Σ weight · value, Σ weight, max score)
//! ```
//!
//! where the last two sums and the maximum run over the keys. A second output may have one number a row, of the same but the values: the
//! logarithm of the mass.

use super::mask::Mask;
use crate::check::Checked;
use crate::element::{Element, Type};
use crate::families::analysis::conditional;
use crate::families::formula::{Formulas, LiteralBits, Node, NodeId, Place, Symbol};
use crate::ir::{BinaryOp, Expr, ExprId, Function, ReduceOp, SizeId, Source};
use crate::lower::tile::multiplicand::Multiplicand;
use crate::problem::Problem;
use std::sync::Arc;

/// An operator as attention. Dimensions of its first output are named by their positions. A second output has all of them but the column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AttentionShape {
    /// A factor of the scores: of rows and features.
    pub query: Place,
    /// The other one: of keys and features, and an element of a tensor.
    pub key: Place,
    /// The factor of the weights: of keys and the column, and an element of a tensor.
    pub value: Place,
    /// The scores, by the sums of products, and which of them a row sees.
    pub mask: Mask,
    /// The sum of products of query and key.
    pub product: ExprId,
    /// The expressions of the weighted sums of values.
    pub results: Vec<ExprId>,
    /// The expressions of the sums of weights.
    pub masses: Vec<ExprId>,
    /// The expressions of the largest scores, which an output may have too.
    pub peaks: Vec<ExprId>,
    /// `true` if the weights are rounded before they are summed by themselves.
    pub rounded_mass: bool,
    /// The types in which queries and keys, and weights and values, are multiplied.
    pub multiplicands: [Multiplicand; 2],
    /// The number of terms of a score.
    pub features: SizeId,
    /// The number of keys.
    pub keys: SizeId,
    /// The position that only values have: the last.
    pub column: usize,
    /// Positions that keys and values have.
    pub batch: Vec<usize>,
    /// Positions that keys and values have not: all rows of them share those.
    pub rows: Vec<usize>,
    /// A position of which keys and values have only the quotient: heads that share keys.
    pub group: Option<Group>,
    /// `true` if a condition may be all that keeps a read of a factor in range, so that it is compared with its extent.
    pub compared: bool,
    /// `true` if a factor has an index that is read from a tensor.
    pub gathers: bool,
}

/// Neighbours along a position of the output that share keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Group {
    /// The position.
    pub position: usize,
    /// Their number.
    pub size: GroupSize,
}

/// The number of heads that share keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupSize {
    Literal(i64),
    Size(SizeId),
}

/// The shape of a problem; none if it is no attention that tensor cores compute as it is written.
pub(crate) fn shape(problem: &Problem<'_>) -> Arc<Option<AttentionShape>> {
    problem.shape(|problem| {
        let specialisation = problem.specialisation;
        let found = find(problem.checked)?;
        // An index that was read is reported where it is wrong; copies do not report.
        let reports = specialisation.check_indices && found.gathers;
        (!specialisation.wide && !reports).then_some(found)
    })
}

/// The sizes whose values decide what attention's kernels hold in registers: features of a key, and of a value, and the number of heads that
/// share keys. None if the operator is no attention.
pub(crate) fn head_sizes(checked: &Checked) -> Option<Vec<SizeId>> {
    let found = find(checked)?;
    let output = checked.op().outputs.first()?;
    let mut sizes = vec![found.features, output.dims[found.column]];
    if let Some(GroupSize::Size(size)) = found.group.map(|group| group.size) {
        sizes.push(size);
    }
    Some(sizes)
}

fn find(checked: &Checked) -> Option<AttentionShape> {
    let op = checked.op();
    let output = op.outputs.first()?;
    let column = output.dims.len().checked_sub(1)?;
    // Any other output has one number a row.
    let others = op.outputs.get(1..)?;
    if others.iter().any(|other| other.dims[..] != output.dims[..column]) {
        return None;
    }
    let formulas = Formulas::anywhere(checked, output.dims.len())?;
    let sums = Sums::find(&formulas)?;
    let scores = Scores::find(&formulas, sums.score)?;
    let of_values = |&other: &NodeId| formulas.facts(other).reductions >> sums.result & 1 == 1;
    if !all_found(&formulas, &sums, scores.product) || formulas.outputs[1..].iter().any(of_values) {
        return None;
    }
    let is_column = |id: NodeId| formulas.depends_on(id, Symbol::Output(column));
    let of_keys = |id: NodeId| formulas.depends_on(id, Symbol::Lane(0));
    let others = [scores.query, scores.key, sums.score];
    if others.into_iter().any(is_column) || !is_column(sums.value) || !of_keys(sums.value) {
        return None;
    }
    let (batch, rows, group) = roles(&formulas, [scores.key, sums.value], column)?;
    let heads = group.map(|group| group.position);
    let mask = Mask::find(&formulas, sums.score, scores.sum, &rows, heads)?;
    let place = |id: NodeId| formulas.places(id).first().cloned();
    let (query, key, value) = (place(scores.query)?, place(scores.key)?, place(sums.value)?);
    let element = |place: &Place| stored_element(checked, place.expr);
    let multiplicands = [multiplicand(element(&key)?)?, multiplicand(sums.rounded)?];
    if !multiplicands[0].holds_all(checked, query.expr) || element(&value)? != sums.rounded {
        return None;
    }
    let exprs = |number: usize| -> Vec<ExprId> {
        let places = formulas.places(formulas.reductions[number].node);
        places.iter().map(|place| place.expr).collect()
    };
    let conditional = conditional(checked);
    let results = exprs(sums.result);
    let unwanted = |sum: ExprId| conditional[sum.index()] && !checked.unconditional(sum);
    let compared = unwanted(scores.product) || results.iter().copied().any(unwanted);
    Some(AttentionShape {
        compared,
        gathers: [&query, &key, &value].iter().any(|place| gathers(checked, place.expr)),
        query,
        key,
        value,
        mask,
        product: scores.product,
        results,
        masses: sums.mass.map(exprs).unwrap_or_default(),
        peaks: exprs(sums.peak),
        rounded_mass: sums.rounded_mass,
        multiplicands,
        features: scores.features,
        keys: sums.keys,
        column,
        batch,
        rows,
        group,
    })
}

/// The reductions over the keys.
struct Sums {
    keys: SizeId,
    score: NodeId,
    /// The maximum, by its number among the reductions.
    peak: usize,
    value: NodeId,
    /// The element that the weights of the values are rounded to.
    rounded: Element,
    /// The weighted sum, by its number among the reductions.
    result: usize,
    /// The sum of the weights.
    mass: Option<usize>,
    rounded_mass: bool,
}

impl Sums {
    fn find(formulas: &Formulas<'_>) -> Option<Sums> {
        let reductions = &formulas.reductions;
        let peak = reductions.iter().position(|reduction| reduction.op == ReduceOp::Max)?;
        let [keys] = reductions[peak].extents[..] else {
            return None;
        };
        let score = reductions[peak].body;
        let is_peak = |id: NodeId| *formulas.node(id) == Node::Row(peak);
        let exponential = |id: NodeId| match formulas.node(id) {
            Node::Call(Function::Exp, arguments) => match *formulas.node(arguments[0]) {
                Node::Binary(BinaryOp::Sub, a, b) => a == score && is_peak(b),
                _ => false,
            },
            _ => false,
        };
        // A weight, and what it is rounded to.
        let weight = |id: NodeId| match *formulas.node(id) {
            Node::Cast(a, element @ (Element::F16 | Element::BF16)) if exponential(a) => Some(Some(element)),
            _ => exponential(id).then_some(None),
        };
        let (mut weighted, mut mass) = (None, None);
        for (number, reduction) in reductions.iter().enumerate().filter(|&(number, _)| number != peak) {
            if reduction.op != ReduceOp::Sum || reduction.extents != [keys] || formulas.ty(reduction.body) != Type::F32
            {
                return None;
            }
            let second = match *formulas.node(reduction.body) {
                Node::Binary(BinaryOp::Mul, a, b) => {
                    let factors = weight(a).map(|rounded| (rounded, b));
                    let (rounded, value) = factors.or_else(|| Some((weight(b)?, a)))?;
                    weighted.replace((number, rounded?, value)).is_some()
                }
                _ => mass
                    .replace((number, weight(reduction.body)?.map(|_| reduction.body)))
                    .is_some(),
            };
            if second {
                return None;
            }
        }
        let (result, rounded, value) = weighted?;
        // A sum of weights that are rounded otherwise than those of the values would need another rounding.
        let rounded_mass = match mass {
            Some((_, Some(weights))) => match *formulas.node(weights) {
                Node::Cast(_, element) if element == rounded => true,
                _ => return None,
            },
            _ => false,
        };
        Some(Sums {
            keys,
            score,
            peak,
            value,
            rounded,
            result,
            mass: mass.map(|(number, _)| number),
            rounded_mass,
        })
    }
}

/// The sum of products that a score is made of.
struct Scores {
    query: NodeId,
    key: NodeId,
    sum: NodeId,
    product: ExprId,
    features: SizeId,
}

impl Scores {
    fn find(formulas: &Formulas<'_>, score: NodeId) -> Option<Scores> {
        if formulas.facts(score).reductions != 0 || formulas.ty(score) != Type::F32 {
            return None;
        }
        let checked = formulas.checked;
        let is_opaque = |&id: &NodeId| matches!(formulas.node(id), Node::Opaque(..));
        let opaque: Vec<NodeId> = formulas.parts(score).into_iter().filter(is_opaque).collect();
        let [sum] = opaque[..] else { return None };
        let Node::Opaque(product, ref body) = *formulas.node(sum) else {
            return None;
        };
        let Expr::Reduce {
            op: ReduceOp::Sum,
            ref axes,
            ..
        } = *checked.op().expr(product)
        else {
            return None;
        };
        let [feature] = axes[..] else { return None };
        let Node::Binary(BinaryOp::Mul, a, b) = *formulas.node(*body.first()?) else {
            return None;
        };
        let of_keys = |id: NodeId| formulas.depends_on(id, Symbol::Lane(0));
        let of_features = |id: NodeId| formulas.depends_on(id, Symbol::Inner(feature));
        let (query, key) = match (of_keys(a), of_keys(b)) {
            (false, true) => (a, b),
            (true, false) => (b, a),
            _ => return None,
        };
        (formulas.ty(sum) == Type::F32 && of_features(query) && of_features(key)).then_some(Scores {
            query,
            key,
            sum,
            product,
            features: checked.extent(feature),
        })
    }
}

/// `true` if the operator has no reductions but these. Any other would be computed by each thread for itself.
fn all_found(formulas: &Formulas<'_>, sums: &Sums, product: ExprId) -> bool {
    let op = formulas.checked.op();
    let numbers = [Some(sums.result), sums.mass, Some(sums.peak)];
    let known = |expr: ExprId| {
        let is_of = |number: usize| {
            let places = formulas.places(formulas.reductions[number].node);
            places.iter().any(|place| place.expr == expr)
        };
        expr == product || numbers.into_iter().flatten().any(is_of)
    };
    let exprs = (0..op.exprs.len() as u32).map(ExprId);
    let mut reductions = exprs.filter(|&expr| matches!(op.expr(expr), Expr::Reduce { .. }));
    reductions.all(known)
}

/// The positions that keys and values have, those that only rows have, and the one of which they have the quotient. None if there are
/// several of the last kind.
fn roles(
    formulas: &Formulas<'_>,
    factors: [NodeId; 2],
    column: usize,
) -> Option<(Vec<usize>, Vec<usize>, Option<Group>)> {
    let (mut batch, mut rows, mut group) = (Vec::new(), Vec::new(), None);
    for position in 0..column {
        let mut uses = Uses::default();
        factors.iter().for_each(|&factor| uses.find(formulas, factor, position));
        match (uses.whole, &uses.quotients[..]) {
            (false, []) => rows.push(position),
            (false, &[size]) if group.is_none() => group = Some(Group { position, size }),
            (false, [_]) => return None,
            _ => batch.push(position),
        }
    }
    Some((batch, rows, group))
}

/// The ways in which factors depend on an output position.
#[derive(Default)]
struct Uses {
    /// `true` if on its value.
    whole: bool,
    /// The divisors whose quotient of it they depend on, each once.
    quotients: Vec<GroupSize>,
}

impl Uses {
    fn find(&mut self, formulas: &Formulas<'_>, id: NodeId, position: usize) {
        let is_axis = |id: NodeId| *formulas.node(id) == Node::Axis(Symbol::Output(position));
        if is_axis(id) {
            self.whole = true;
            return;
        }
        if let Node::Binary(BinaryOp::Div, a, b) = *formulas.node(id)
            && is_axis(a)
        {
            let size = match *formulas.node(b) {
                Node::Size(size) => Some(GroupSize::Size(size)),
                Node::Literal(LiteralBits::Int(value)) if value > 0 => Some(GroupSize::Literal(value)),
                _ => None,
            };
            match size {
                Some(size) if self.quotients.contains(&size) => {}
                Some(size) => self.quotients.push(size),
                None => self.whole = true,
            }
            return;
        }
        for operand in formulas.operands(id) {
            self.find(formulas, operand, position);
        }
    }
}

fn multiplicand(element: Element) -> Option<Multiplicand> {
    match element {
        Element::F16 => Some(Multiplicand::F16),
        Element::BF16 => Some(Multiplicand::Bf16),
        _ => None,
    }
}

/// The element of a tensor that an expression is; none if it is anything else.
fn stored_element(checked: &Checked, expr: ExprId) -> Option<Element> {
    match *checked.op().expr(expr) {
        Expr::Read {
            source: Source::Input(input),
            or: None,
            ..
        } => Some(checked.op().inputs[input.index()].element),
        _ => None,
    }
}

/// `true` if an index of a read is read from a tensor.
fn gathers(checked: &Checked, expr: ExprId) -> bool {
    let op = checked.op();
    let own = match op.expr(expr) {
        Expr::Read { index, .. } => (0..index.len()).any(|dimension| checked.gathered(expr, dimension)),
        _ => false,
    };
    let mut inside = false;
    op.operands(expr, |operand| inside = inside || gathers(checked, operand));
    own || inside
}
