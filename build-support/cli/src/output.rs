//! The output of the command. Nothing panics when the reader is gone, and control characters of outside text are escaped.

use energy_kernel_compiler::record::Rejected;
use energy_kernel_compiler::slow::Slow;
use serde_json::Value;
use std::fmt::{Arguments, Display};
use std::io::Write;

/// Prints a line to the standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::write(std::io::stdout(), format_args!($($text)*)) };
}

/// Prints a line to the standard error.
macro_rules! complain {
    ($($text:tt)*) => { $crate::output::write(std::io::stderr(), format_args!($($text)*)) };
}

pub fn write(mut to: impl Write, text: Arguments<'_>) {
    // Our own texts may contain line ends and tabs.
    let _ = writeln!(
        to,
        "{}",
        escaped(&text.to_string(), "\n\t", |c| c.escape_default().to_string())
    );
}

/// Prints a JSON document to the standard output, on one line.
pub fn json(value: &Value) {
    let _ = writeln!(std::io::stdout(), "{}", json_text(value));
}

/// Only strings hold characters to escape, so JSON's escapes are right.
fn json_text(value: &Value) -> String {
    let units = |c: char| {
        c.encode_utf16(&mut [0; 2])
            .iter()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect()
    };
    escaped(&value.to_string(), "", units)
}

/// Escapes outside text to one line: names of files, devices and operators, and a driver's errors.
pub fn plain(text: impl Display) -> String {
    escaped(&text.to_string(), "", |c| c.escape_default().to_string())
}

fn escaped(text: &str, kept: &str, escape: impl Fn(char) -> String) -> String {
    let mut all = String::with_capacity(text.len());
    for c in text.chars() {
        match is_unseen(c) && !kept.contains(c) {
            true => all.push_str(&escape(c)),
            false => all.push(c),
        }
    }
    all
}

/// `true` if a character moves the cursor, changes colours, reorders text or is invisible.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Rejected candidates in JSON, with their reasons.
pub fn rejected(all: &[Rejected]) -> Value {
    let each = |one: &Rejected| {
        serde_json::json!({
            "schedule": one.program.to_string(), "reason": one.reason.key(), "detail": one.detail,
        })
    };
    all.iter().map(each).collect()
}

/// A verdict of slowness in JSON.
pub fn slow(slow: &Slow) -> Value {
    serde_json::json!({
        "estimate_seconds": slow.seconds,
        "roofline_seconds": slow.roofline.seconds,
        "bound": slow.roofline.bound.to_string(),
        "remedy": slow.remedy.as_ref().map(ToString::to_string),
        "remedy_seconds": slow.remedy.as_ref().map(|remedy| remedy.seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[31m\r\n\u{7}\u{9b}2J\u{202e}b\u{200b}\u{e0041}é µ";

    #[test]
    fn outside_text_is_one_line_without_control_characters() {
        let seen = r"a\u{1b}[31m\r\n\u{7}\u{9b}2J\u{202e}b\u{200b}\u{e0041}é µ";
        assert_eq!(plain(HOSTILE), seen);
        let mut printed = Vec::new();
        write(&mut printed, format_args!("one\n\ttwo {HOSTILE}"));
        let printed = String::from_utf8(printed).unwrap();
        assert_eq!(printed, format!("one\n\ttwo {}\n", seen.replace("\\n", "\n")));
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({ "name": HOSTILE });
        let text = json_text(&value);
        assert!(!text.chars().any(is_unseen), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
