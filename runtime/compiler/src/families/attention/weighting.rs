//! The weights of keys, by their scores.

use crate::families::formula::{Formulas, LiteralBits, Node, NodeId};
use crate::ir::UnaryOp;

/// The weight of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weighting {
    /// `exp(score − max score)`
    Softmax,
    /// The score itself.
    Score,
}

impl Weighting {
    /// The score whose weight is 0: that of a key that a row does not see.
    pub const fn unseen(self) -> f32 {
        match self {
            Weighting::Softmax => f32::NEG_INFINITY,
            Weighting::Score => 0.0,
        }
    }

    /// `true` if a value is certainly the score of a key that a row does not see.
    pub fn is_unseen(self, formulas: &Formulas<'_>, id: NodeId) -> bool {
        constant(formulas, id) == Some(self.unseen().into())
    }
}

fn constant(formulas: &Formulas<'_>, id: NodeId) -> Option<f64> {
    match *formulas.node(id) {
        Node::Literal(LiteralBits::Float(bits)) => Some(f64::from_bits(bits)),
        Node::Literal(LiteralBits::Int(value)) => Some(value as f64),
        Node::Unary(UnaryOp::Neg, a) => constant(formulas, a).map(|value| -value),
        _ => None,
    }
}
