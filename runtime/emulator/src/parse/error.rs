//! Errors of the parser.

/// Text that the parser does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {message}")]
pub struct ParseError {
    /// The line of the text, from 1.
    pub line: u32,
    /// The mistake: what was expected, and what was found.
    pub message: String,
    /// `true` if the text may be PTX that the emulator does not know, `false` if it is invalid.
    pub unsupported: bool,
}

impl ParseError {
    pub(crate) fn new(line: u32, message: impl Into<String>) -> Self {
        ParseError {
            line,
            message: message.into(),
            unsupported: false,
        }
    }

    pub(crate) fn unsupported(line: u32, message: impl Into<String>) -> Self {
        ParseError {
            unsupported: true,
            ..ParseError::new(line, message)
        }
    }
}
