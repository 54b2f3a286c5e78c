//! Errors in the sizes of a call.

use crate::ir::ExprId;
use crate::text::{counted, given};

/// The reason that an operator cannot be called with the given sizes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// A size was not given.
    #[error("size `{name}` is missing")]
    MissingSize {
        /// Its name.
        name: String,
    },
    /// A name that is not a size of the operator.
    #[error("the operator has no size `{name}`")]
    UnknownSize {
        /// The name.
        name: String,
    },
    /// A derived size that has no value, or a negative one.
    #[error("size `{name}` {reason}")]
    Derived {
        /// Its name.
        name: String,
        /// A predicate for the message: `divides by zero`.
        reason: String,
    },
    /// A wrong number of tensors.
    #[error("the operator takes {}, but {}", counted(*.expected as u64, "tensor", "tensors"), given(*.found as u64, "tensor", "tensors"))]
    Tensors {
        /// Tensors of the operator.
        expected: usize,
        /// Tensors given.
        found: usize,
    },
    /// A tensor with a wrong number of dimensions.
    #[error("`{tensor}` has {}, but the operator takes {expected}", counted(*.found as u64, "dimension", "dimensions"))]
    Rank {
        /// The parameter's name.
        tensor: String,
        /// Dimensions of the parameter.
        expected: usize,
        /// Dimensions of the argument.
        found: usize,
    },
    /// A dimension that contradicts another.
    #[error("dimension {dimension} of `{tensor}` is {found}, but {size} = {expected} {because}")]
    Shape {
        /// The parameter's name.
        tensor: String,
        /// The dimension, from 0.
        dimension: usize,
        /// The size's name.
        size: String,
        /// The size's value.
        expected: u64,
        /// The dimension found.
        found: u64,
        /// The source of the expected value, for the message.
        because: String,
    },
    /// Two sizes that one axis runs over, with different values.
    #[error("axis `{axis}` runs over both {first} = {first_value} and {second} = {second_value}, which must be equal")]
    Disagreement {
        /// The axis's name.
        axis: String,
        /// A size.
        first: String,
        /// Its value.
        first_value: u64,
        /// Another.
        second: String,
        /// Its value.
        second_value: u64,
    },
    /// Too many combinations of sizes to tune for.
    #[error("the `tune(…)` clauses give more than {most} combinations of sizes; tune for fewer")]
    Buckets {
        /// The most there may be.
        most: usize,
    },
    /// A size, an axis or a position that becomes an `i32` but does not fit.
    #[error("{what} reaches {value}, which does not fit `i32`; write `… as i64`, or return `i64`")]
    Narrow {
        /// The expression in words.
        what: String,
        /// The value that does not fit.
        value: String,
        /// The expression.
        at: ExprId,
    },
    /// An index that leaves its dimension.
    #[error(
        "index {dimension} of `{tensor}` may range from {low} to {high}, but the dimension has {}", counted(*.extent, "element", "elements")
    )]
    Range {
        /// The tensor's name.
        tensor: String,
        /// The dimension, from 0.
        dimension: usize,
        /// The smallest value that could not be excluded.
        low: String,
        /// The largest.
        high: String,
        /// The dimension's extent.
        extent: u64,
        /// The read.
        read: ExprId,
    },
}
