//! The state of a row that a lane keeps beside its sums of values.

use super::mass::Mass;
use super::shape::AttentionShape;
use super::softmax::Softmax;
use super::weighting::Weighting;
use crate::lower::expression::Lowering;
use crate::ptx::{Builder, Few, Opcode, Reg};

/// A lane's state of a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    Softmax(Softmax),
    /// Scores are weights, whose sum is wanted or not.
    Score(Option<Mass>),
}

/// The weights of a block of keys.
pub(super) struct Weights {
    /// All that was summed before is multiplied by this.
    pub rescaling: Option<Reg>,
    /// The lane's weights.
    pub weights: Vec<Reg>,
}

/// The final values of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    /// The largest score, of a softmax.
    pub largest: Option<Reg>,
    /// The sum of all weights, if it is wanted; NaN if a softmax has no key.
    pub mass: Option<Reg>,
    /// 0, or NaN if a softmax has no key.
    pub nothing: Option<Reg>,
}

impl State {
    /// The state of a row that has seen nothing.
    pub fn new(lowering: &mut Lowering<'_>, shape: &AttentionShape) -> State {
        match shape.weighting {
            Weighting::Softmax => State::Softmax(Softmax::new(lowering)),
            Weighting::Score => State::Score((!shape.masses.is_empty()).then(|| Mass::new(lowering))),
        }
    }

    /// Takes in the lane's scores of a block of keys, which are to be multiplied by a positive factor.
    pub fn take_in(&self, b: &mut Builder, scores: Vec<Reg>, factor: Option<Reg>) -> Weights {
        match self {
            State::Softmax(softmax) => {
                let (rescaling, weights) = softmax.take_in(b, &scores, factor);
                Weights {
                    rescaling: Some(rescaling),
                    weights,
                }
            }
            State::Score(_) => Weights {
                rescaling: None,
                weights: scores,
            },
        }
    }

    /// Adds weights to those of the row. They are rounded first where the source does so.
    pub fn add(&self, b: &mut Builder, weights: &[Reg]) {
        match self {
            State::Softmax(softmax) => softmax.mass.add(b, weights),
            State::Score(mass) => mass.iter().for_each(|mass| mass.add(b, weights)),
        }
    }

    /// Forgets what the row has seen.
    pub fn forget(&self, b: &mut Builder) {
        match self {
            State::Softmax(softmax) => softmax.forget(b),
            State::Score(mass) => mass.iter().for_each(|mass| mass.forget(b)),
        }
    }

    /// The registers of the state, which [`State::merge`] takes of another block.
    pub fn registers(&self) -> Few<Reg> {
        match self {
            State::Softmax(softmax) => Few::from_slice(&softmax.registers()),
            State::Score(mass) => mass.iter().map(|mass| mass.0).collect(),
        }
    }

    /// Takes in the state that another block has of the same row. Returns by what the sums of this one, and of the other, are multiplied first.
    pub fn merge(&self, b: &mut Builder, other: &[Reg]) -> Option<[Reg; 2]> {
        match (self, other) {
            (State::Softmax(softmax), &[largest, mass]) => Some(softmax.merge(b, largest, mass)),
            (State::Score(Some(mass)), &[other]) => {
                b.assign(Opcode::AddF32, mass.0, &[mass.0.into(), other.into()]);
                None
            }
            _ => None,
        }
    }

    /// The final values of the row.
    pub fn settled(&self, b: &mut Builder) -> Settled {
        match self {
            State::Softmax(softmax) => {
                let [largest, mass, nothing] = softmax.settled(b).map(Some);
                Settled { largest, mass, nothing }
            }
            State::Score(mass) => Settled {
                largest: None,
                mass: mass.map(|mass| mass.total(b)),
                nothing: None,
            },
        }
    }
}
