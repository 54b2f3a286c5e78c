//! Rejected candidates, and the reasons.

use super::encoding::{Invalid, Validate, ensure_text};
use crate::schedule::Program;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;
use std::fmt;

/// The longest detail, in bytes.
const LONGEST_DETAIL: usize = 256;

/// A candidate that the tuner rejected.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rejected {
    /// The candidate.
    pub program: Program,
    /// The kind of failure.
    pub reason: Reason,
    /// The error or difference as text: one line of at most 256 bytes.
    pub detail: String,
}

/// The reason for a rejection. In the order in which a candidate can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Reason {
    /// The compiler could not lower it.
    NotLowered,
    /// The driver could not load its PTX.
    NotLoaded,
    /// Registers spill to local memory.
    Spills,
    /// It cannot be launched, or its memory cannot be allocated.
    NotLaunched,
    /// The GPU faulted while it ran, for example at an illegal address.
    Faulted,
    /// It exceeded its time limit and was killed.
    Hung,
    /// The process that ran it died.
    Crashed,
    /// The deadline interrupted the emulated device.
    Late,
    /// Its results differ from the reference.
    Wrong,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 9] = [
        Reason::NotLowered,
        Reason::NotLoaded,
        Reason::Spills,
        Reason::NotLaunched,
        Reason::Faulted,
        Reason::Hung,
        Reason::Crashed,
        Reason::Late,
        Reason::Wrong,
    ];

    /// `true` if the failure is a defect of this project, which its users should report.
    pub const fn is_defect(self) -> bool {
        matches!(
            self,
            Reason::NotLowered | Reason::Faulted | Reason::Hung | Reason::Crashed | Reason::Wrong
        )
    }

    /// `true` if another attempt may succeed.
    pub const fn is_transient(self) -> bool {
        matches!(self, Reason::NotLaunched | Reason::Late)
    }

    /// The key of this reason in JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Reason::NotLowered => "not_lowered",
            Reason::NotLoaded => "not_loaded",
            Reason::Spills => "spills",
            Reason::NotLaunched => "not_launched",
            Reason::Faulted => "faulted",
            Reason::Hung => "hung",
            Reason::Crashed => "crashed",
            Reason::Late => "late",
            Reason::Wrong => "wrong",
        }
    }
}

impl fmt::Display for Reason {
    /// The adjective in counts: "3 *wrong*, 1 *hung*".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NotLowered => "not lowered",
            Reason::NotLoaded => "not loaded",
            Reason::Spills => "spilling",
            Reason::NotLaunched => "not launched",
            Reason::Faulted => "faulted",
            Reason::Hung => "hung",
            Reason::Crashed => "crashed",
            Reason::Late => "late",
            Reason::Wrong => "wrong",
        })
    }
}

impl Rejected {
    /// Creates a rejected candidate. The detail is truncated to one line of 256 bytes.
    pub fn new(program: impl Into<Program>, reason: Reason, detail: &str) -> Rejected {
        let mut detail: String = detail.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if detail.len() > LONGEST_DETAIL {
            const MORE: &str = "…";
            let most = LONGEST_DETAIL - MORE.len();
            let end = (0..=most).rev().find(|&end| detail.is_char_boundary(end));
            detail.truncate(end.unwrap_or(0));
            detail.push_str(MORE);
        }
        Rejected {
            program: program.into(),
            reason,
            detail,
        }
    }

    /// Returns the warning for a defect ([`Reason::is_defect`]), with what to do.
    pub fn complaint(&self, operator: &str, sizes: &str) -> String {
        let Rejected {
            program,
            reason,
            detail,
        } = self;
        format!(
            "{operator} ({sizes}): candidate `{program}` rejected ({reason}): {detail}. Please report this message at {}/issues",
            env!("CARGO_PKG_REPOSITORY")
        )
    }

    /// The number of rejected candidates by reason.
    pub fn count<'a>(all: impl IntoIterator<Item = &'a Rejected>) -> BTreeMap<Reason, usize> {
        let mut counts = BTreeMap::new();
        for rejected in all {
            *counts.entry(rejected.reason).or_default() += 1;
        }
        counts
    }

    /// Returns the counts as text: `2 spilling, 1 wrong`. Empty if none was rejected.
    pub fn summary<'a>(all: impl IntoIterator<Item = &'a Rejected>) -> String {
        let counts = Rejected::count(all).into_iter();
        let words: Vec<String> = counts.map(|(reason, count)| format!("{count} {reason}")).collect();
        words.join(", ")
    }
}

impl Validate for Rejected {
    fn validate(&self) -> Result<(), Invalid> {
        ensure_text(&self.detail, "the detail of a rejection")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Plain, Schedule};

    fn rejected(reason: Reason, detail: &str) -> Rejected {
        Rejected::new(Schedule::Plain(Plain { threads: 64 }), reason, detail)
    }

    #[test]
    fn details_are_one_short_line() {
        let long = rejected(Reason::Wrong, &"é\n".repeat(300));
        assert!(
            long.detail.len() <= LONGEST_DETAIL && long.detail.ends_with('…'),
            "{long:?}"
        );
        assert_eq!(long.validate(), Ok(()));
        assert_eq!(rejected(Reason::Wrong, "two\nlines").detail, "two lines");
    }

    #[test]
    fn a_complaint_names_all_that_a_report_needs() {
        let complaint = rejected(Reason::Wrong, "3 of 9 elements are wrong").complaint("softmax", "R = 4");
        for part in ["softmax (R = 4)", "plain threads=64", "wrong", "3 of 9", "https://"] {
            assert!(complaint.contains(part), "{complaint}");
        }
    }

    #[test]
    fn counts_go_by_reason() {
        let all = [Reason::Wrong, Reason::Spills, Reason::Wrong].map(|reason| rejected(reason, ""));
        assert_eq!(Rejected::summary(&all), "1 spilling, 2 wrong");
        assert_eq!(Rejected::summary(&[]), "");
    }

    #[test]
    fn keys_are_distinct() {
        let keys: std::collections::BTreeSet<_> = Reason::ALL.map(Reason::key).into();
        assert_eq!(keys.len(), Reason::ALL.len());
    }
}
