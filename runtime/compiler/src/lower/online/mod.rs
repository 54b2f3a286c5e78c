//! Reductions of a row in one walk, though some depend on others: online softmax, one-pass variance.
//!
//! [`waves`] finds which reductions can share a walk; [`sums`] lowers those that depend on others of the walk. A family says which threads
//! [`walk`] and where.

pub(crate) mod partial;
pub(crate) mod step;
pub(crate) mod sums;
pub(crate) mod walk;
pub(crate) mod waves;
