//! The mask of the scores: which keys a row sees, and what their scores are.
//!
//! A score is `if c { x } else { u }`, where u has the weight 0 (−∞ in a softmax, else 0), or x alone. A conjunct of c that compares the key with what
//! does not depend on it bounds the keys: a block walks over no others, and between the bounds of all its rows the conjunct certainly holds. Other
//! conjuncts are evaluated for every key. So are those that stand further inside of x; they may bound the keys too.

use super::loads::add_loads;
use super::weighting::Weighting;
use crate::element::{Element, Type};
use crate::families::formula::{Formulas, LiteralBits, Node, NodeId, Place, Symbol};
use crate::ir::{BinaryOp, CompareOp, Function, UnaryOp};

/// The keys that a row sees.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mask {
    /// The score of a key that is seen.
    pub score: Score,
    /// Conjuncts that do not bound the keys.
    pub conditions: Vec<Condition>,
    /// Conjuncts that do.
    pub bounds: Vec<Bound>,
    /// Elements that the score of a key and those conditions need, the same for all rows of a block.
    pub loads: Vec<Place>,
}

/// The score of a key, by the sum of products of query and key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Score {
    /// The sum itself.
    Product,
    /// In a softmax, the sum times a factor that is the same for all keys, or divided by it.
    Scaled {
        factor: Place,
        divides: bool,
        /// `true` if the factor is certainly not negative.
        positive: bool,
    },
    /// Anything else.
    Value(Place),
}

/// A condition, or the opposite of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub place: Place,
    pub holds: bool,
}

/// A bound on the keys that a row sees: a sum of signed values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    pub end: End,
    pub terms: Vec<(i64, Place)>,
    pub slope: Slope,
    /// The conjunct; none if the score itself has it.
    pub condition: Option<Condition>,
}

/// Which end of the keys a bound is, by the sum of its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The first key is the sum and so many.
    First(i64),
    /// The last key is before the sum and so many.
    Last(i64),
}

/// How a value changes from each row of a block to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slope {
    /// It does not.
    Flat,
    Rising,
    Falling,
    Unknown,
}

impl Mask {
    /// The mask of a score. `rows` are the output's positions that number a block's rows, slowest first, and `group` is one whose heads may be among them.
    pub fn find(
        formulas: &Formulas<'_>,
        weighting: Weighting,
        score: NodeId,
        product: NodeId,
        rows: &[usize],
        group: Option<usize>,
    ) -> Option<Mask> {
        let mut conjuncts = Vec::new();
        let seen = stripped(formulas, weighting, score, &mut conjuncts);
        let outer = conjuncts.len();
        if weighting == Weighting::Score {
            vanishing(formulas, seen, &mut conjuncts);
        }
        let rows = Positions { formulas, rows, group };
        let mut mask = Mask {
            score: Score::find(formulas, weighting, seen, product)?,
            conditions: Vec::new(),
            bounds: Vec::new(),
            loads: Vec::new(),
        };
        // A read that a condition keeps in range stays behind it. Copies compare the factors of the product with their extents.
        let is_split = conjuncts.len() == outer
            && is_free(formulas, seen, Some(product))
            && conjuncts.iter().all(|&(id, _)| is_free(formulas, id, None));
        if !is_split {
            mask.score = Score::Value(formulas.places(score).first()?.clone());
        }
        if let Score::Value(_) = mask.score {
            rows.loads(if is_split { seen } else { score }, &mut mask.loads);
        }
        for (id, holds) in conjuncts {
            let place = formulas.places(id).first().cloned();
            let condition = match is_split {
                true => Some(Condition { place: place?, holds }),
                false => None,
            };
            let bounds = rows.bounds(id, holds);
            if bounds.is_empty() {
                if is_split {
                    rows.loads(id, &mut mask.loads);
                }
                mask.conditions.extend(condition);
                continue;
            }
            mask.bounds.extend(bounds.into_iter().map(|(end, terms, slope)| Bound {
                end,
                terms,
                slope,
                condition: condition.clone(),
            }));
        }
        Some(mask)
    }
}

impl Score {
    fn find(formulas: &Formulas<'_>, weighting: Weighting, seen: NodeId, product: NodeId) -> Option<Score> {
        if seen == product {
            return Some(Score::Product);
        }
        let scaled = match *formulas.node(seen) {
            _ if weighting != Weighting::Softmax => None,
            Node::Binary(BinaryOp::Mul, a, b) if a == product => Some((b, false)),
            Node::Binary(BinaryOp::Mul, a, b) if b == product => Some((a, false)),
            Node::Binary(BinaryOp::Div, a, b) if a == product => Some((b, true)),
            _ => None,
        };
        let place = |id: NodeId| formulas.places(id).first().cloned();
        let scaled = scaled.filter(|&(factor, _)| !formulas.depends_on(factor, Symbol::Lane(0)));
        let scaled = scaled.and_then(|(factor, divides)| {
            Some(Score::Scaled {
                factor: place(factor)?,
                divides,
                positive: is_positive(formulas, factor),
            })
        });
        scaled.or_else(|| Some(Score::Value(place(seen)?)))
    }
}

/// `true` if an expression may be computed for any values of its axes, once a part of it is known.
fn is_free(formulas: &Formulas<'_>, id: NodeId, known: Option<NodeId>) -> bool {
    let mut parts = vec![id];
    let mut next = 0;
    while let Some(&part) = parts.get(next) {
        next += 1;
        let places = formulas.places(part);
        let anywhere = |place: &Place| formulas.checked.unconditional(place.expr);
        if Some(part) == known || !places.is_empty() && places.iter().all(anywhere) {
            continue;
        }
        if matches!(formulas.node(part), Node::Read(..) | Node::Opaque(..)) {
            return false;
        }
        for operand in formulas.operands(part) {
            if !parts.contains(&operand) {
                parts.push(operand);
            }
        }
    }
    true
}

/// `true` if a value is certainly not negative, if it is a number.
fn is_positive(formulas: &Formulas<'_>, id: NodeId) -> bool {
    let node = formulas.node(id);
    matches!(
        node,
        Node::Call(Function::Rsqrt | Function::Sqrt | Function::Exp | Function::Abs, _)
    )
}

/// A score without the conditions of its mask, which are noted.
fn stripped(
    formulas: &Formulas<'_>,
    weighting: Weighting,
    score: NodeId,
    conjuncts: &mut Vec<(NodeId, bool)>,
) -> NodeId {
    let mut seen = score;
    let is_unseen = |id: NodeId| weighting.is_unseen(formulas, id);
    while let Node::Select(condition, accept, reject) = *formulas.node(seen) {
        let holds = match (is_unseen(accept), is_unseen(reject)) {
            (false, true) => true,
            (true, false) => false,
            _ => break,
        };
        split(formulas, condition, holds, conjuncts);
        seen = if holds { accept } else { reject };
    }
    seen
}

/// Notes conditions inside of a value, without which it is 0.
fn vanishing(formulas: &Formulas<'_>, id: NodeId, conjuncts: &mut Vec<(NodeId, bool)>) {
    let id = stripped(formulas, Weighting::Score, id, conjuncts);
    match *formulas.node(id) {
        _ if !formulas.ty(id).is_float() => {}
        Node::Unary(UnaryOp::Neg, a) | Node::Cast(a, _) => vanishing(formulas, a, conjuncts),
        Node::Binary(BinaryOp::Mul, a, b) => {
            vanishing(formulas, a, conjuncts);
            vanishing(formulas, b, conjuncts);
        }
        Node::Call(Function::Exp, ref arguments) => {
            stripped(formulas, Weighting::Softmax, arguments[0], conjuncts);
        }
        Node::Call(Function::Relu | Function::Abs, ref arguments) => vanishing(formulas, arguments[0], conjuncts),
        Node::Call(Function::Powi, ref arguments) => {
            if matches!(*formulas.node(arguments[1]), Node::Literal(LiteralBits::Int(1..))) {
                vanishing(formulas, arguments[0], conjuncts);
            }
        }
        _ => {}
    }
}

/// The conjuncts of a condition, or of its opposite.
fn split(formulas: &Formulas<'_>, condition: NodeId, holds: bool, conjuncts: &mut Vec<(NodeId, bool)>) {
    match (formulas.node(condition), holds) {
        (&Node::Binary(BinaryOp::And, a, b), true) | (&Node::Binary(BinaryOp::Or, a, b), false) => {
            split(formulas, a, holds, conjuncts);
            split(formulas, b, holds, conjuncts);
        }
        (&Node::Unary(UnaryOp::Not, a), _) => split(formulas, a, !holds, conjuncts),
        _ => conjuncts.push((condition, holds)),
    }
}

/// The numbering of a block's rows.
struct Positions<'f, 'a> {
    formulas: &'f Formulas<'a>,
    rows: &'f [usize],
    group: Option<usize>,
}

/// An end of the keys, the terms of its sum, and how that changes along rows.
type Found = (End, Vec<(i64, Place)>, Slope);

impl Positions<'_, '_> {
    /// Adds the elements in a value that depend on the key, and are the same for all rows.
    fn loads(&self, id: NodeId, loads: &mut Vec<Place>) {
        let depends = |part: NodeId, symbol: Symbol| self.formulas.depends_on(part, symbol);
        let varies = |part: NodeId| {
            let mut own = self.rows.iter().copied().chain(self.group);
            own.any(|position| depends(part, Symbol::Output(position)))
        };
        let suits = |part: NodeId| depends(part, Symbol::Lane(0)) && !varies(part);
        add_loads(self.formulas, id, suits, loads);
    }

    /// The bounds that a conjunct, or its opposite, sets; none if it is no comparison of the key.
    fn bounds(&self, id: NodeId, holds: bool) -> Vec<Found> {
        let Node::Compare(compare, left, right) = *self.formulas.node(id) else {
            return Vec::new();
        };
        // left − right, as key · coefficient + terms.
        let (mut coefficient, mut terms) = (0, Vec::new());
        let known = self.collect(left, 1, &mut coefficient, &mut terms)
            && self.collect(right, -1, &mut coefficient, &mut terms);
        if !known || coefficient.abs() != 1 {
            return Vec::new();
        }
        // The terms on the other side of the comparison.
        let mut places = Vec::with_capacity(terms.len());
        let mut slope = Slope::Flat;
        for (sign, term) in terms {
            let sign = -coefficient * sign;
            let Some(place) = self.formulas.places(term).first() else {
                return Vec::new();
            };
            places.push((sign, place.clone()));
            slope = slope.plus(self.slope(term).times(sign));
        }
        let compare = match (holds, compare) {
            (true, compare) => compare,
            (false, compare) => opposite(compare),
        };
        let compare = if coefficient > 0 { compare } else { mirrored(compare) };
        let ends: &[End] = match compare {
            CompareOp::Lt => &[End::Last(0)],
            CompareOp::Le => &[End::Last(1)],
            CompareOp::Gt => &[End::First(1)],
            CompareOp::Ge => &[End::First(0)],
            CompareOp::Eq => &[End::First(0), End::Last(1)],
            CompareOp::Ne => &[],
        };
        ends.iter().map(|&end| (end, places.clone(), slope)).collect()
    }

    /// Adds an integer as a multiple of the key and terms without it. `false` if it is anything else. Only index values are taken apart: others wrap.
    fn collect(&self, id: NodeId, sign: i64, coefficient: &mut i64, terms: &mut Vec<(i64, NodeId)>) -> bool {
        let formulas = self.formulas;
        if !formulas.depends_on(id, Symbol::Lane(0)) {
            terms.push((sign, id));
            return matches!(formulas.ty(id), Type::I32 | Type::I64);
        }
        match *formulas.node(id) {
            Node::Axis(_) => {
                *coefficient += sign;
                true
            }
            Node::Binary(BinaryOp::Add, a, b) if formulas.is_index(id) => {
                self.collect(a, sign, coefficient, terms) && self.collect(b, sign, coefficient, terms)
            }
            Node::Binary(BinaryOp::Sub, a, b) if formulas.is_index(id) => {
                self.collect(a, sign, coefficient, terms) && self.collect(b, -sign, coefficient, terms)
            }
            Node::Cast(a, Element::I64) => self.collect(a, sign, coefficient, terms),
            _ => false,
        }
    }

    fn slope(&self, id: NodeId) -> Slope {
        let formulas = self.formulas;
        let depends = |position: usize| formulas.depends_on(id, Symbol::Output(position));
        if !self.rows.iter().copied().chain(self.group).any(depends) {
            return Slope::Flat;
        }
        match *formulas.node(id) {
            Node::Axis(Symbol::Output(position)) if self.rows.first() == Some(&position) => Slope::Rising,
            Node::Binary(BinaryOp::Add, a, b) if formulas.is_index(id) => self.slope(a).plus(self.slope(b)),
            Node::Binary(BinaryOp::Sub, a, b) if formulas.is_index(id) => self.slope(a).plus(self.slope(b).times(-1)),
            _ => Slope::Unknown,
        }
    }
}

impl Slope {
    /// That of a sum.
    fn plus(self, other: Slope) -> Slope {
        match (self, other) {
            (Slope::Flat, slope) | (slope, Slope::Flat) => slope,
            (a, b) if a == b => a,
            _ => Slope::Unknown,
        }
    }

    fn times(self, sign: i64) -> Slope {
        match self {
            Slope::Rising if sign < 0 => Slope::Falling,
            Slope::Falling if sign < 0 => Slope::Rising,
            slope => slope,
        }
    }
}

fn opposite(compare: CompareOp) -> CompareOp {
    match compare {
        CompareOp::Lt => CompareOp::Ge,
        CompareOp::Ge => CompareOp::Lt,
        CompareOp::Gt => CompareOp::Le,
        CompareOp::Le => CompareOp::Gt,
        CompareOp::Eq => CompareOp::Ne,
        CompareOp::Ne => CompareOp::Eq,
    }
}

/// The comparison of the negative numbers.
fn mirrored(compare: CompareOp) -> CompareOp {
    match compare {
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::Le => CompareOp::Ge,
        CompareOp::Ge => CompareOp::Le,
        same => same,
    }
}
