//! Conditions without which a value is another one, as 0: `if c { x } else { 0 }`.

use super::formula::{Formulas, LiteralBits, Node, NodeId};
use crate::ir::{BinaryOp, Function, UnaryOp};

/// A condition, and `true` if it has to hold, `false` if its opposite has to.
pub(crate) type Conjunct = (NodeId, bool);

/// `true` if a value is certainly that number.
pub(crate) fn is_number(formulas: &Formulas<'_>, id: NodeId, number: f32) -> bool {
    constant(formulas, id) == Some(number.into())
}

fn constant(formulas: &Formulas<'_>, id: NodeId) -> Option<f64> {
    match *formulas.node(id) {
        Node::Literal(LiteralBits::Float(bits)) => Some(f64::from_bits(bits)),
        Node::Literal(LiteralBits::Int(value)) => Some(value as f64),
        Node::Unary(UnaryOp::Neg, a) => constant(formulas, a).map(|value| -value),
        _ => None,
    }
}

/// A value without the conditions around it, which are noted. Where they do not hold it is `otherwise`.
pub(crate) fn stripped(
    formulas: &Formulas<'_>,
    otherwise: f32,
    value: NodeId,
    conjuncts: &mut Vec<Conjunct>,
) -> NodeId {
    let mut inside = value;
    let is_otherwise = |id: NodeId| is_number(formulas, id, otherwise);
    while let Node::Select(condition, accept, reject) = *formulas.node(inside) {
        let holds = match (is_otherwise(accept), is_otherwise(reject)) {
            (false, true) => true,
            (true, false) => false,
            _ => break,
        };
        split(formulas, condition, holds, conjuncts);
        inside = if holds { accept } else { reject };
    }
    inside
}

/// Notes conditions around and inside of a value, without which it is 0.
pub(crate) fn vanishing(formulas: &Formulas<'_>, id: NodeId, conjuncts: &mut Vec<Conjunct>) {
    let id = stripped(formulas, 0.0, id, conjuncts);
    match *formulas.node(id) {
        _ if !formulas.ty(id).is_float() => {}
        Node::Unary(UnaryOp::Neg, a) | Node::Cast(a, _) => vanishing(formulas, a, conjuncts),
        Node::Binary(BinaryOp::Mul, a, b) => {
            vanishing(formulas, a, conjuncts);
            vanishing(formulas, b, conjuncts);
        }
        Node::Call(Function::Exp, ref arguments) => {
            stripped(formulas, f32::NEG_INFINITY, arguments[0], conjuncts);
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
fn split(formulas: &Formulas<'_>, condition: NodeId, holds: bool, conjuncts: &mut Vec<Conjunct>) {
    match (formulas.node(condition), holds) {
        (&Node::Binary(BinaryOp::And, a, b), true) | (&Node::Binary(BinaryOp::Or, a, b), false) => {
            split(formulas, a, holds, conjuncts);
            split(formulas, b, holds, conjuncts);
        }
        (&Node::Unary(UnaryOp::Not, a), _) => split(formulas, a, !holds, conjuncts),
        _ => conjuncts.push((condition, holds)),
    }
}
