//! Why an operator has no kernel.

use crate::text::counted;

/// Why an operator has no kernel for a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The schedule is not one of the operator's space.
    #[error(
        "the schedule `{0}` is not legal for this operator, these sizes and this machine; `schedule::space` lists those that are"
    )]
    Illegal(String),
    /// The specialisation was made for another operator.
    #[error("the specialisation has {}, but the operator has {}", counted(*.found as u64, "extent", "extents"), counted(*.expected as u64, "size", "sizes"))]
    Specialisation {
        /// Sizes of the operator.
        expected: usize,
        /// Extents given.
        found: usize,
    },
    /// An axis was used where it has no value: a defect of the compiler.
    #[error("an axis has no value where it is used; this is a defect of the compiler, please report the operator")]
    Unbound,
}
