//! The report of a process: the library writes it at exit, and the test reads it.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};

/// The calls of a process, its leaks and its mistakes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The number of calls of each function.
    pub calls: BTreeMap<String, u64>,
    /// The objects that still existed at exit, counted by kind: `memory`, `streams`, `events`, `modules`, `graphs`, `executables`,
    /// `captures`, `contexts`. Kinds without objects are absent.
    pub left: BTreeMap<String, u64>,
    /// The number of queued items that nothing waited for.
    pub queued: u64,
    /// The number of kernels that the emulator ran.
    pub executed: u64,
    /// The number of injected faults.
    pub injected: u64,
    /// Mistakes of the program, such as memory used after it was freed, or a launch after its module was unloaded.
    pub problems: Vec<String>,
}

impl Report {
    /// Returns the number of calls of a function.
    pub fn calls(&self, function: &str) -> u64 {
        self.calls.get(function).copied().unwrap_or(0)
    }

    /// Parses a report.
    ///
    /// # Errors
    /// The text is no report, or is truncated.
    pub fn parse(text: &str) -> Result<Report, String> {
        let mut report = Report::default();
        for line in text.lines() {
            let unknown = || format!("`{line}` is no line of a report");
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let number = |text: &str| text.parse::<u64>().map_err(|_| unknown());
            let named = || {
                let (name, count) = value.split_once(' ').ok_or_else(unknown)?;
                Ok::<_, String>((name.to_owned(), number(count)?))
            };
            match key {
                "call" => report.calls.extend([named()?]),
                "left" => report.left.extend([named()?]),
                "queued" => report.queued = number(value)?,
                "executed" => report.executed = number(value)?,
                "injected" => report.injected = number(value)?,
                "problem" => report.problems.push(value.to_owned()),
                "end" => return Ok(report),
                _ => return Err(unknown()),
            }
        }
        Err("the report is cut off".to_owned())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (function, calls) in &self.calls {
            writeln!(f, "call {function} {calls}")?;
        }
        for (kind, count) in &self.left {
            writeln!(f, "left {kind} {count}")?;
        }
        writeln!(f, "queued {}", self.queued)?;
        writeln!(f, "executed {}", self.executed)?;
        writeln!(f, "injected {}", self.injected)?;
        for problem in &self.problems {
            writeln!(f, "problem {}", problem.replace('\n', " "))?;
        }
        writeln!(f, "end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = Report {
            calls: [("cuInit".to_owned(), 2)].into(),
            left: [("memory".to_owned(), 3)].into(),
            queued: 1,
            executed: 7,
            injected: 1,
            problems: vec!["a kernel used freed memory".to_owned()],
        };
        assert_eq!(Report::parse(&report.to_string()), Ok(report.clone()));
        assert!(Report::parse(report.to_string().trim_end_matches("end\n")).is_err());
        assert!(Report::parse("leak 3\nend\n").is_err());
    }
}
