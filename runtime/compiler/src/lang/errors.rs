//! Errors at the user's spans.

use super::spans::Spans;
use crate::check::Diagnostic;
use proc_macro2::Span;

/// The errors found so far, reported together.
#[derive(Debug, Default)]
pub(super) struct Errors(Option<syn::Error>);

impl Errors {
    pub(super) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            none => *none = Some(error),
        }
    }

    pub(super) fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    pub(super) fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Turns diagnostics of the check into errors at the user's spans.
pub(super) fn located(diagnostics: &[Diagnostic], spans: &Spans) -> syn::Error {
    let mut errors = Errors::default();
    for diagnostic in diagnostics {
        let help = diagnostic
            .help
            .as_ref()
            .map_or(String::new(), |help| format!("\nhelp: {help}"));
        errors.at(spans.of(diagnostic.at), format!("{}{help}", diagnostic.message));
    }
    errors
        .0
        .unwrap_or_else(|| syn::Error::new(spans.whole, "the operator is not valid"))
}
