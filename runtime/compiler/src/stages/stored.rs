//! The tensors that an operator can store between stages.

use super::permuted::{Permuted, permuted};
use super::results::results;
use super::values::{Value, values};
use crate::check::Checked;
use crate::element::Element;
use crate::ir::SizeId;
use crate::schedule::MOST_STORED;

/// A tensor that a stage stores for later ones.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    /// A value.
    Value(Value),
    /// An input with its dimensions permuted.
    Permuted(Permuted),
}

impl Stored {
    /// The number in the operator.
    pub fn number(&self) -> u32 {
        match self {
            Stored::Value(value) => value.number(),
            Stored::Permuted(permuted) => permuted.number(),
        }
    }

    /// The extents of the stored tensor, slowest first.
    pub fn dims(&self, checked: &Checked) -> Vec<SizeId> {
        match self {
            Stored::Value(value) => value.axes.iter().map(|&axis| checked.extent(axis)).collect(),
            Stored::Permuted(permuted) => {
                let dims = checked.op().inputs[permuted.input.index()].dims.as_deref();
                permuted.permute(dims.unwrap_or_default())
            }
        }
    }

    /// The element type of the stored tensor. It holds the values exactly.
    pub fn element(&self, checked: &Checked) -> Element {
        match self {
            Stored::Value(value) => value.element,
            Stored::Permuted(permuted) => checked.op().inputs[permuted.input.index()].element,
        }
    }
}

/// Returns what an operator can store, at most [`MOST_STORED`], ascending by number: its [`values()`], and the inputs that are worth permuting if all of
/// them fit beside the values that reduce.
pub fn stored(checked: &Checked) -> Vec<Stored> {
    let mut values = values(checked);
    let permuted = permuted(checked);
    if values.len() + permuted.len() > MOST_STORED && !permuted.is_empty() {
        values.retain(|value| !value.computed);
    }
    let mut stored: Vec<Stored> = values.into_iter().map(Stored::Value).collect();
    if stored.len() + permuted.len() <= MOST_STORED {
        stored.extend(permuted.into_iter().map(Stored::Permuted));
    }
    stored
}

/// Returns the sets of numbers that a program may store, each ascending and at most [`MOST_STORED`] long, the smallest first. The empty set is
/// not among them. Inputs are permuted together or not at all; so are [`results`] given stages of their own.
pub fn sets(checked: &Checked) -> Vec<Vec<u32>> {
    let mut choices: Vec<Vec<u32>> = Vec::new();
    let mut permuted = Vec::new();
    for stored in stored(checked) {
        match stored {
            Stored::Value(value) => choices.push(vec![value.number()]),
            Stored::Permuted(input) => permuted.push(input.number()),
        }
    }
    let results = results(checked).iter().map(|results| results.number()).collect();
    choices.extend([permuted, results].into_iter().filter(|numbers| !numbers.is_empty()));
    let chosen = |set: u32| -> Vec<u32> {
        let chosen = choices.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1);
        chosen.flat_map(|(_, numbers)| numbers).copied().collect()
    };
    let sets = (1..1 << choices.len()).map(chosen);
    let mut sets: Vec<Vec<u32>> = sets.filter(|set| set.len() <= MOST_STORED).collect();
    sets.sort_by_key(Vec::len);
    sets
}
