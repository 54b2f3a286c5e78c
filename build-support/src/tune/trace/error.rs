//! The errors of traces.

/// The reason that a trace cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It violates its format.
    #[error("line {line}: {problem}")]
    Malformed {
        /// The line, from 1. 0 stands for the whole file.
        line: usize,
        /// The problem.
        problem: String,
    },
    /// It lacks something that was asked for.
    #[error("{0}")]
    Lacking(String),
}
