//! An operator split into stages.

use super::results::results;
use super::stored::{Stored, stored};
use super::taken::{Origin, Part, take};
use crate::check::Checked;
use crate::ir::{Op, SizeId};
use crate::size::Specialisation;

/// An operator split into stages by what it stores.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// The stored tensors, in the order of the stages that compute them.
    pub stored: Vec<Stored>,
    /// The stages, in launch order: one for each stored tensor, in the same order, then one for each group of results.
    pub stages: Vec<StageOp>,
}

/// A stage as an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct StageOp {
    /// The operator.
    pub checked: Checked,
    /// The origin of each of its inputs.
    pub inputs: Vec<Origin>,
    /// For each of its outputs, the position among those of the whole operator; empty if the stage stores a tensor.
    pub results: Vec<usize>,
    /// For each of its sizes, the size of the whole operator.
    pub sizes: Vec<SizeId>,
    /// For each of its sizes, all sizes of the whole operator that equal it at every call.
    equal: Vec<Vec<SizeId>>,
}

impl Split {
    /// Splits an operator by the numbers of a program. `None` if they are not those of what it can [store](stored()) or of
    /// [`results`], ascending.
    pub fn new(checked: &Checked, numbers: &[u32]) -> Option<Split> {
        if numbers.is_empty() || !numbers.is_sorted_by(|a, b| a < b) {
            return None;
        }
        let has = |number: u32| numbers.contains(&number);
        let stored: Vec<Stored> = (stored(checked).into_iter())
            .filter(|stored| has(stored.number()))
            .collect();
        let separate = results(checked).into_iter().filter(|results| has(results.number()));
        let mut groups: Vec<Vec<usize>> = separate.map(|results| results.outputs).collect();
        if stored.len() + groups.len() != numbers.len() {
            return None;
        }
        let others = (0..checked.op().outputs.len()).filter(|output| !groups.iter().flatten().any(|own| own == output));
        groups.push(others.collect());
        let classes = checked.size_classes();
        let parts = (0..stored.len()).map(Part::Stored);
        let stages = (parts.chain(groups.into_iter().map(Part::Results)))
            .map(|part| {
                let taken = take(checked, &stored, &part, &classes)?;
                let equal = |rep: &SizeId| {
                    let all = (0..classes.len() as u32).map(SizeId);
                    all.filter(|size| classes[size.index()] == *rep).collect()
                };
                Some(StageOp {
                    equal: taken.sizes.iter().map(equal).collect(),
                    inputs: taken.inputs.clone(),
                    results: part.results(),
                    sizes: taken.sizes.clone(),
                    checked: taken.check()?,
                })
            })
            .collect::<Option<_>>()?;
        Some(Split { stored, stages })
    }
}

impl StageOp {
    /// The stage as an operator.
    pub fn op(&self) -> &Op {
        self.checked.op()
    }

    /// The positions of the inputs that earlier stages stored, ascending.
    pub fn stored_inputs(&self) -> Vec<u32> {
        let stored = |origin: &Origin| matches!(origin, Origin::Stored(_));
        let numbered = (0..).zip(&self.inputs);
        numbered
            .filter(|(_, origin)| stored(origin))
            .map(|(position, _)| position)
            .collect()
    }

    /// The stage's sizes at sizes of the whole operator.
    pub fn sizes_at(&self, sizes: &[u64]) -> Vec<u64> {
        let value = |size: &SizeId| sizes.get(size.index()).copied().unwrap_or(0);
        self.sizes.iter().map(value).collect()
    }

    /// What a specialisation of the whole operator states about the stage's sizes.
    pub fn specialisation(&self, whole: &Specialisation) -> Specialisation {
        let extents = self.equal.iter().map(|equal| whole.stated(equal.iter().copied()));
        Specialisation {
            extents: extents.collect(),
            ..whole.clone()
        }
    }
}
