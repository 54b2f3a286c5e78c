//! Reductions of a row in one walk, though some depend on others: online softmax, one-pass variance.
//!
//! [`waves`] finds which reductions can share a walk; [`sums`] lowers those that depend on others of the walk. A family provides the walk
//! ([`sums::Walker`]).

pub(crate) mod step;
pub(crate) mod sums;
pub(crate) mod waves;
