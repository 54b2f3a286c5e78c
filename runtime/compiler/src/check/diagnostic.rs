//! Errors in an operator, and the places they point to.

use crate::ir::{AxisId, ExprId, InputId, LetId, SizeId};

/// An error in an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Diagnostic {
    /// The part of the operator that is wrong.
    pub at: Subject,
    /// What is wrong.
    pub message: String,
    /// What to do, if there is advice.
    pub help: Option<String>,
}

/// A part of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The operator as a whole.
    Op,
    /// A size.
    Size(SizeId),
    /// A parameter.
    Input(InputId),
    /// An axis.
    Axis(AxisId),
    /// An intermediate tensor.
    Let(LetId),
    /// An output, by position.
    Output(usize),
    /// An expression.
    Expr(ExprId),
}

impl Diagnostic {
    pub(super) fn new(at: Subject, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            at,
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}
