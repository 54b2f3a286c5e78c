//! The spans of an operator's parts.

use crate::check::Subject;
use proc_macro2::Span;

/// The spans of an operator's parts in the source.
#[derive(Debug, Clone)]
pub(super) struct Spans {
    pub(super) whole: Span,
    pub(super) sizes: Vec<Span>,
    pub(super) inputs: Vec<Span>,
    pub(super) axes: Vec<Span>,
    pub(super) lets: Vec<Span>,
    pub(super) outputs: Vec<Span>,
    pub(super) exprs: Vec<Span>,
}

impl Spans {
    pub(super) fn of(&self, subject: Subject) -> Span {
        let found = match subject {
            Subject::Op => None,
            Subject::Size(id) => self.sizes.get(id.index()),
            Subject::Input(id) => self.inputs.get(id.index()),
            Subject::Axis(id) => self.axes.get(id.index()),
            Subject::Let(id) => self.lets.get(id.index()),
            Subject::Output(at) => self.outputs.get(at),
            Subject::Expr(id) => self.exprs.get(id.index()),
        };
        found.copied().unwrap_or(self.whole)
    }
}
