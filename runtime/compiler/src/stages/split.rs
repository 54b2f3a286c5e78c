//! An operator split into stages.

use super::stored::{Stored, stored};
use super::taken::{Origin, take};
use crate::check::Checked;
use crate::ir::{Op, SizeId};
use crate::size::Specialisation;

/// An operator split into stages by what it stores.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// The stored tensors, in the order of the stages that compute them.
    pub stored: Vec<Stored>,
    /// The stages, in launch order. The last one computes the results, each other one what is stored at its position.
    pub stages: Vec<StageOp>,
}

/// A stage as an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct StageOp {
    /// The operator.
    pub checked: Checked,
    /// The origin of each of its inputs.
    pub inputs: Vec<Origin>,
    /// For each of its sizes, the size of the whole operator.
    pub sizes: Vec<SizeId>,
    /// For each of its sizes, all sizes of the whole operator that equal it at every call.
    equal: Vec<Vec<SizeId>>,
}

impl Split {
    /// Splits an operator by what it stores. `None` if these numbers are not among what it can [store](stored()).
    pub fn new(checked: &Checked, numbers: &[u32]) -> Option<Split> {
        let known = stored(checked);
        let stored = (numbers.iter())
            .map(|number| known.iter().find(|stored| stored.number() == *number).cloned())
            .collect::<Option<Vec<Stored>>>()?;
        if stored.is_empty() || !stored.is_sorted_by(|a, b| a.number() < b.number()) {
            return None;
        }
        let classes = checked.size_classes();
        let stages = (0..=stored.len())
            .map(|number| {
                let taken = take(checked, &stored, number, &classes)?;
                let equal = |rep: &SizeId| {
                    let all = (0..classes.len() as u32).map(SizeId);
                    all.filter(|size| classes[size.index()] == *rep).collect()
                };
                Some(StageOp {
                    equal: taken.sizes.iter().map(equal).collect(),
                    inputs: taken.inputs.clone(),
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
