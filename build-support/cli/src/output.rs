//! Printing that does not panic where nobody reads any more, as the macros of the standard library do.

use energy_kernel_compiler::record::Rejected;
use serde_json::{Value, json};
use std::fmt::Arguments;
use std::io::Write;

/// A line to the standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::write(std::io::stdout(), format_args!($($text)*)) };
}

/// A line to the standard error.
macro_rules! complain {
    ($($text:tt)*) => { $crate::output::write(std::io::stderr(), format_args!($($text)*)) };
}

pub fn write(mut to: impl Write, text: Arguments<'_>) {
    let _ = writeln!(to, "{text}");
}

/// Rejected candidates in JSON, each with its reason.
pub fn rejected(all: &[Rejected]) -> Value {
    let each = |one: &Rejected| {
        json!({
            "schedule": one.schedule.to_string(), "reason": one.reason.key(), "detail": one.detail,
        })
    };
    all.iter().map(each).collect()
}
