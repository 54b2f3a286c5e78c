//! Printing that does not panic where nobody reads any more, as the macros of the standard library do.

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
