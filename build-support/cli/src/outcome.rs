//! The end of a command.

use std::process::ExitCode;

/// An error of a command, and its exit code.
pub struct Failure {
    pub report: miette::Report,
    pub code: u8,
}

/// The end of a command.
pub type Outcome = Result<ExitCode, Failure>;

impl From<miette::Report> for Failure {
    fn from(report: miette::Report) -> Failure {
        Failure { report, code: 1 }
    }
}
