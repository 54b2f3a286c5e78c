//! The mask of the scores: which keys a row sees, and what their scores are.
//!
//! A score is `if c { x } else { u }`, where u has the weight 0 (−∞ in a softmax, else 0), or x alone. A conjunct of c that compares the key with what
//! does not depend on it bounds the keys: a block walks over no others, and between the bounds of all its rows the conjunct certainly holds. Other
//! conjuncts are evaluated for every key. So are those that stand further inside of x; they may bound the keys too.

use super::loads::add_loads;
use super::weighting::Weighting;
use crate::families::bound::{Bound, Numbering, Slope, bounds};
use crate::families::formula::{Formulas, Node, NodeId, Place, Symbol};
use crate::families::guard::{stripped, vanishing};
use crate::ir::{BinaryOp, Function};

/// The keys that a row sees.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mask {
    /// The score of a key that is seen.
    pub score: Score,
    /// Conjuncts that do not bound the keys.
    pub conditions: Vec<Condition>,
    /// Conjuncts that do.
    pub bounds: Vec<MaskBound>,
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

/// A bound on the keys that a row sees.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MaskBound {
    pub bound: Bound,
    /// How it changes from each row of a block to the next.
    pub slope: Slope,
    /// The conjunct; none if the score itself has it.
    pub condition: Option<Condition>,
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
        let seen = stripped(formulas, weighting.unseen(), score, &mut conjuncts);
        let outer = conjuncts.len();
        if weighting == Weighting::Score {
            vanishing(formulas, seen, &mut conjuncts);
        }
        let rows = Numbering { lines: rows, group };
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
            loads(formulas, rows, if is_split { seen } else { score }, &mut mask.loads);
        }
        for (id, holds) in conjuncts {
            let place = formulas.places(id).first().cloned();
            let condition = match is_split {
                true => Some(Condition { place: place?, holds }),
                false => None,
            };
            let bounds = bounds(formulas, (id, holds), [rows]);
            if bounds.is_empty() {
                if is_split {
                    loads(formulas, rows, id, &mut mask.loads);
                }
                mask.conditions.extend(condition);
                continue;
            }
            mask.bounds.extend(bounds.into_iter().map(|(bound, [slope])| MaskBound {
                bound,
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

/// Adds the elements in a value that depend on the key, and are the same for all rows.
fn loads(formulas: &Formulas<'_>, rows: Numbering<'_>, id: NodeId, loads: &mut Vec<Place>) {
    let depends = |part: NodeId, symbol: Symbol| formulas.depends_on(part, symbol);
    let varies = |part: NodeId| rows.positions().any(|position| depends(part, Symbol::Output(position)));
    let suits = |part: NodeId| depends(part, Symbol::Lane(0)) && !varies(part);
    add_loads(formulas, id, suits, loads);
}
