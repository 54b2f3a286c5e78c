//! The shape of an operator for `attention`: whatever its intermediate tensors are called, it is
//!
//! ```text
//! score  = f(Σ query · key)            f: pointwise, a mask among it
//! weight = exp(score − max score)      or the score itself; rounded to f16 or bf16 by the source
//! result = g(Σ weight · value, Σ weight, max score, Σ query · state)
//! ```
//!
//! where the sums of weights and the maximum run over the keys. The state is what linear attention carries from one block of keys to the next. A
//! second output may have one number a row, of the same but values and state: the logarithm of the mass.

use super::loads::add_loads;
use super::mask::Mask;
use super::weighting::Weighting;
use crate::check::Checked;
use crate::element::{Element, Type};
use crate::families::analysis::conditional;
use crate::families::formula::{Formulas, LiteralBits, Node, NodeId, Place, Symbol};
use crate::families::guard::is_number;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Function, ReduceOp, SizeId, Source};
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
    pub weighting: Weighting,
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
    /// The product of the queries and a state.
    pub carried: Option<Carried>,
    /// Elements of tensors that a result needs besides, each of a row and the column.
    pub loads: Vec<Place>,
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

/// Sums of products of queries and a state, over the features.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Carried {
    /// The state: of features, which are its lanes, and the column, and an element of a tensor.
    pub state: Place,
    /// The expressions of the sums.
    pub results: Vec<ExprId>,
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
        let found = find(problem.checked).filter(|found| found.has_all(problem.checked))?;
        // An index that was read is reported where it is wrong; copies do not report.
        let reports = specialisation.check_indices && found.gathers;
        (!specialisation.wide && !reports).then_some(found)
    })
}

impl AttentionShape {
    /// `true` if the operator has no reductions but these. Any other would be computed by each thread for itself.
    fn has_all(&self, checked: &Checked) -> bool {
        let op = checked.op();
        let carried = self.carried.iter().flat_map(|carried| &carried.results);
        let known = self
            .results
            .iter()
            .chain(&self.masses)
            .chain(&self.peaks)
            .chain(carried);
        let known: Vec<ExprId> = known.copied().chain([self.product]).collect();
        let exprs = (0..op.exprs.len() as u32).map(ExprId);
        let mut reductions = exprs.filter(|&expr| matches!(op.expr(expr), Expr::Reduce { .. }));
        reductions.all(|expr| known.contains(&expr))
    }
}

/// The attention in an operator, which may have other reductions.
pub(super) fn find(checked: &Checked) -> Option<AttentionShape> {
    let op = checked.op();
    let output = op.outputs.first()?;
    let column = output.dims.len().checked_sub(1)?;
    // Any other output has one number a row.
    let others = op.outputs.get(1..)?;
    if others.iter().any(|other| other.dims[..] != output.dims[..column]) {
        return None;
    }
    let formulas = Formulas::anywhere(checked, output.dims.len())?;
    let reductions = 0..formulas.reductions.len();
    let (sums, scores) = reductions.clone().find_map(|result| {
        let sums = Sums::find(&formulas, result)?;
        let scores = Scores::find(&formulas, sums.score)?;
        Some((sums, scores))
    })?;
    let is_column = |id: NodeId| formulas.depends_on(id, Symbol::Output(column));
    let of_keys = |id: NodeId| formulas.depends_on(id, Symbol::Lane(0));
    let others = [scores.query, scores.key, sums.score];
    if others.into_iter().any(is_column) || !is_column(sums.value) || !of_keys(sums.value) {
        return None;
    }
    let place = |id: NodeId| formulas.places(id).first().cloned();
    let (query, key, value) = (place(scores.query)?, place(scores.key)?, place(sums.value)?);
    let element = |place: &Place| stored_element(checked, place.expr);
    let multiplicands = [multiplicand(element(&key)?)?, multiplicand(sums.rounded)?];
    if !multiplicands[0].holds_all(checked, query.expr) || element(&value)? != sums.rounded {
        return None;
    }
    let roles = Roles::of(&formulas, &[scores.key, sums.value], column)?;
    let carried = reductions.into_iter().find_map(|number| {
        let state = scores.state(&formulas, number).filter(|&state| is_column(state))?;
        // All rows share it, as they do keys and values.
        let of_all = Roles::of(&formulas, &[scores.key, sums.value, state], column)?;
        let place = place(state).filter(|place| of_all == roles && element(place) == element(&key))?;
        Some((number, place))
    });
    let of_columns = |&other: &NodeId| {
        let sums = [Some(sums.result), carried.as_ref().map(|&(number, _)| number)];
        let reductions = formulas.facts(other).reductions;
        sums.into_iter().flatten().any(|number| reductions >> number & 1 == 1)
    };
    if formulas.outputs[1..].iter().any(of_columns) {
        return None;
    }
    let heads = roles.group.map(|group| group.position);
    let mask = Mask::find(&formulas, sums.weighting, sums.score, scores.sum, &roles.rows, heads)?;
    let exprs = |number: usize| -> Vec<ExprId> {
        let places = formulas.places(formulas.reductions[number].node);
        places.iter().map(|place| place.expr).collect()
    };
    let results = exprs(sums.result);
    let carried = carried.map(|(number, state)| Carried {
        state,
        results: exprs(number),
    });
    let mut loads = Vec::new();
    add_loads(&formulas, formulas.outputs[0], is_column, &mut loads);
    let conditional = conditional(checked);
    let unwanted = |sum: &ExprId| conditional[sum.index()] && !checked.unconditional(*sum);
    let of_state = carried.iter().flat_map(|carried| &carried.results);
    let compared = unwanted(&scores.product) || results.iter().chain(of_state).any(unwanted);
    let of_carried = carried.as_ref().map(|carried| &carried.state);
    let gathers = [&query, &key, &value]
        .into_iter()
        .chain(of_carried)
        .any(|place| gathers(checked, place.expr));
    Some(AttentionShape {
        compared,
        gathers,
        query,
        key,
        value,
        weighting: sums.weighting,
        mask,
        product: scores.product,
        results,
        masses: sums.mass.map(exprs).unwrap_or_default(),
        peaks: sums.peak.map(exprs).unwrap_or_default(),
        carried,
        loads,
        rounded_mass: sums.rounded_mass,
        multiplicands,
        features: scores.features,
        keys: sums.keys,
        column,
        batch: roles.batch,
        rows: roles.rows,
        group: roles.group,
    })
}

/// The reductions over the keys.
struct Sums {
    keys: SizeId,
    weighting: Weighting,
    score: NodeId,
    /// The maximum of a softmax, by its number among the reductions.
    peak: Option<usize>,
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
    /// The reductions that belong to a weighted sum of values.
    fn find(formulas: &Formulas<'_>, result: usize) -> Option<Sums> {
        let [keys] = formulas.reductions[result].extents[..] else {
            return None;
        };
        let sum = |number: usize| {
            let reduction = &formulas.reductions[number];
            let suits = reduction.op == ReduceOp::Sum && reduction.extents == [keys];
            (suits && formulas.ty(reduction.body) == Type::F32).then_some(reduction.body)
        };
        let Node::Binary(BinaryOp::Mul, a, b) = *formulas.node(sum(result)?) else {
            return None;
        };
        let factors = rounded(formulas, a).map(|weight| (weight, b));
        let ((weight, element), value) = factors.or_else(|| Some((rounded(formulas, b)?, a)))?;
        let softmax = softmax(formulas, weight, keys);
        let (weighting, score, peak) = match softmax {
            Some((score, peak)) => (Weighting::Softmax, score, Some(peak)),
            None => (Weighting::Score, weight, None),
        };
        // The mass sums the weights that multiply the values, before or after they are rounded. Other weights would need another rounding.
        let is_rounded = |id: NodeId| *formulas.node(id) == Node::Cast(weight, element);
        let mass = (0..formulas.reductions.len()).find_map(|number| {
            let summed = sum(number)?;
            (summed == weight || is_rounded(summed)).then_some((number, is_rounded(summed)))
        });
        Some(Sums {
            keys,
            weighting,
            score,
            peak,
            value,
            rounded: element,
            result,
            mass: mass.map(|(number, _)| number),
            rounded_mass: mass.is_some_and(|(_, rounded)| rounded),
        })
    }
}

/// A weight that is rounded, before that if it is so as a whole, and the element that it is rounded to.
fn rounded(formulas: &Formulas<'_>, id: NodeId) -> Option<(NodeId, Element)> {
    let is_zero = |id: NodeId| is_number(formulas, id, 0.0);
    match *formulas.node(id) {
        Node::Cast(a, element @ (Element::F16 | Element::BF16)) => Some((a, element)),
        Node::Select(_, a, b) if is_zero(b) => rounded(formulas, a).map(|(_, element)| (id, element)),
        Node::Select(_, a, b) if is_zero(a) => rounded(formulas, b).map(|(_, element)| (id, element)),
        _ => None,
    }
}

/// The score of a weight `exp(score − max score)`, and the number of the maximum, which runs over the keys.
fn softmax(formulas: &Formulas<'_>, weight: NodeId, keys: SizeId) -> Option<(NodeId, usize)> {
    let Node::Call(Function::Exp, ref arguments) = *formulas.node(weight) else {
        return None;
    };
    let Node::Binary(BinaryOp::Sub, score, largest) = *formulas.node(arguments[0]) else {
        return None;
    };
    let Node::Row(peak) = *formulas.node(largest) else {
        return None;
    };
    let reduction = &formulas.reductions[peak];
    let is_peak = reduction.op == ReduceOp::Max && reduction.extents == [keys] && reduction.body == score;
    is_peak.then_some((score, peak))
}

/// The sum of products that a score is made of.
struct Scores {
    query: NodeId,
    key: NodeId,
    sum: NodeId,
    product: ExprId,
    feature: AxisId,
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
            feature,
            features: checked.extent(feature),
        })
    }

    /// The other factor of a reduction that sums products of the queries over their features.
    fn state(&self, formulas: &Formulas<'_>, number: usize) -> Option<NodeId> {
        let reduction = &formulas.reductions[number];
        let Node::Binary(BinaryOp::Mul, a, b) = *formulas.node(reduction.body) else {
            return None;
        };
        let suits = reduction.op == ReduceOp::Sum && reduction.extents == [self.features];
        let (query, state) = if self.is_query(formulas, a) { (a, b) } else { (b, a) };
        let is_state = suits && self.is_query(formulas, query) && formulas.depends_on(state, Symbol::Lane(0));
        (is_state && formulas.ty(reduction.body) == Type::F32).then_some(state)
    }

    /// `true` if a value is the query where the feature is the lane of a reduction.
    fn is_query(&self, formulas: &Formulas<'_>, id: NodeId) -> bool {
        let (Node::Read(a, own, None), Node::Read(b, others, None)) = (formulas.node(self.query), formulas.node(id))
        else {
            return false;
        };
        let is = |id: NodeId, symbol: Symbol| *formulas.node(id) == Node::Axis(symbol);
        let same = |(&own, &other): (&NodeId, &NodeId)| match is(own, Symbol::Inner(self.feature)) {
            true => is(other, Symbol::Lane(0)),
            false => own == other && !formulas.depends_on(own, Symbol::Inner(self.feature)),
        };
        a == b && own.iter().zip(others).all(same)
    }
}

/// The parts that positions of the output have.
#[derive(PartialEq)]
struct Roles {
    /// Positions that keys and values have.
    batch: Vec<usize>,
    /// Positions that they have not.
    rows: Vec<usize>,
    /// A position of which they have only the quotient.
    group: Option<Group>,
}

impl Roles {
    /// The roles of all positions but the column's, by the factors that all rows share. None if these have quotients of several positions.
    fn of(formulas: &Formulas<'_>, factors: &[NodeId], column: usize) -> Option<Roles> {
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
        Some(Roles { batch, rows, group })
    }
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
