//! Sums that are taken into other sums group by group: `Σ_c f(c, Σ_i left · right, …)`, as of weights that share a scale in groups.
//!
//! The terms of all groups follow each other in slabs. Where a group ends, each thread computes the outer term of each of its outputs from the
//! inner sums that it holds, and adds it to a total; then the inner sums begin anew.

use super::products::{Fold, Products, Sum};
use crate::element::Type;
use crate::ir::ExprId;
use crate::size::Specialisation;

/// How groups lie in slabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Groups {
    /// A slab holds whole groups of so many terms.
    InSlab(u32),
    /// A group takes whole slabs, the last of which may have fewer terms.
    OfSlabs,
}

impl Products {
    /// How groups lie in slabs of `depth` terms, of which tensor cores multiply `step` at a time. None if no sums are folded.
    pub(crate) fn groups(&self, specialisation: &Specialisation, depth: u32, step: u32) -> Option<Groups> {
        let Fold { outer, .. } = self.fold.as_ref()?;
        let terms = self.volume_of(specialisation, &self.terms[*outer..]);
        let terms = terms
            .and_then(|terms| u32::try_from(terms).ok())
            .filter(|&terms| terms > 0);
        Some(match terms {
            Some(terms) if depth.is_multiple_of(terms) && terms.is_multiple_of(step) => Groups::InSlab(terms),
            _ => Groups::OfSlabs,
        })
    }

    /// `true` if integer sums of so large products certainly lie within ± 2²².
    pub(crate) fn are_small(&self, specialisation: &Specialisation, most: u64) -> bool {
        let terms = self.fold.as_ref().map(|fold| &self.terms[fold.outer..]);
        let terms = terms.and_then(|sizes| self.volume_of(specialisation, sizes));
        self.ty == Type::I32 && terms.is_some_and(|terms| terms.saturating_mul(most) <= 1 << 22)
    }

    /// Slabs of all terms, where their number is compiled in. `depth`: terms of one, of which `step` are multiplied at once.
    pub(crate) fn slabs(&self, specialisation: &Specialisation, [depth, step]: [u32; 2]) -> Option<u64> {
        let volume = |sizes| self.volume_of(specialisation, sizes);
        match (&self.fold, self.groups(specialisation, depth, step)) {
            (Some(fold), Some(Groups::OfSlabs)) => {
                let (groups, terms) = self.terms.split_at(fold.outer);
                let of_group = volume(terms)?.div_ceil(depth.into()).max(1);
                Some(volume(groups)?.saturating_mul(of_group))
            }
            _ => Some(volume(&self.terms)?.div_ceil(depth.into())),
        }
    }

    /// The units that parts of the terms have: groups that take whole slabs, otherwise slabs. None where their number is not compiled in.
    pub(crate) fn shares(&self, specialisation: &Specialisation, slab: [u32; 2]) -> Option<u64> {
        let [depth, step] = slab;
        match (&self.fold, self.groups(specialisation, depth, step)) {
            (Some(fold), Some(Groups::OfSlabs)) => self.volume_of(specialisation, &self.terms[..fold.outer]),
            _ => self.slabs(specialisation, slab),
        }
    }

    /// Inner sums, and totals, of an output.
    pub(crate) fn sums_held(&self) -> u32 {
        let totals = self.fold.as_ref().map_or(0, |fold| fold.sums.len());
        (self.sums.len() + totals) as u32
    }

    /// The sums that outputs are made of: where each stands.
    pub(crate) fn results(&self) -> Vec<&[ExprId]> {
        match &self.fold {
            Some(fold) => fold.sums.iter().map(|sum| sum.exprs.as_slice()).collect(),
            None => self.sums.iter().map(|sum| sum.exprs.as_slice()).collect(),
        }
    }

    /// For each of them an inner sum whose accumulators lie in registers as its own do.
    pub(crate) fn laid_out(&self) -> impl Iterator<Item = &Sum> {
        let totals = self.fold.iter().flat_map(|fold| &fold.sums);
        let totals = totals.flat_map(|_| self.sums.first());
        let sums = if self.fold.is_some() { &[] } else { &self.sums[..] };
        totals.chain(sums)
    }

    /// The type of those.
    pub(crate) fn result_ty(&self) -> Type {
        self.fold.as_ref().map_or(self.ty, |fold| fold.ty)
    }
}
