//! Operators that are being edited: editors run build scripts on every save, and half-written operators are not worth
//! tuning.
//!
//! The state is one line an operator: its fingerprint, when that was first seen, whether it came soon after another, and
//! the name. Lines that are not understood are dropped.

use crate::cache::write_atomically;
use energy_kernel_compiler::record::Fingerprint;
use std::collections::BTreeMap;
use std::path::Path;

/// An operator that has changed twice within this time is being edited, until it has rested for as long. Seconds.
const REST: u64 = 600;

const FILE: &str = "seen";

/// When the operators of a package were first seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Editing {
    /// By name.
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    fingerprint: Fingerprint,
    first: u64,
    /// Whether it replaced one that was young.
    unsettled: bool,
}

impl Editing {
    /// Reads the state; none is no error.
    pub(crate) fn read(state: &Path) -> Editing {
        let text = std::fs::read_to_string(state.join(FILE)).unwrap_or_default();
        Editing {
            seen: text.lines().filter_map(parse).collect(),
        }
    }

    /// Notes what an operator is now. Whether it should be left alone for a while.
    pub(crate) fn note(&mut self, name: &str, fingerprint: Fingerprint, now: u64) -> bool {
        let fresh = |unsettled| Seen {
            fingerprint,
            first: now,
            unsettled,
        };
        let seen = match self.seen.get(name) {
            None => fresh(false),
            Some(seen) if seen.fingerprint == fingerprint => *seen,
            Some(replaced) => fresh(now.saturating_sub(replaced.first) < REST),
        };
        self.seen.insert(name.to_owned(), seen);
        seen.unsettled && now.saturating_sub(seen.first) < REST
    }

    /// Writes the state if it differs from what was read. Best effort: without it operators are tuned at once.
    pub(crate) fn write(&self, before: &Editing, state: &Path) {
        if self == before {
            return;
        }
        let lines = self.seen.iter().map(|(name, seen)| {
            format!(
                "{} {} {} {name}\n",
                seen.fingerprint,
                seen.first,
                u8::from(seen.unsettled)
            )
        });
        let _ = write_atomically(&state.join(FILE), lines.collect::<String>().as_bytes(), None);
    }
}

fn parse(line: &str) -> Option<(String, Seen)> {
    let mut words = line.splitn(4, ' ');
    let seen = Seen {
        fingerprint: words.next()?.parse().ok()?,
        first: words.next()?.parse().ok()?,
        unsettled: words.next()? == "1",
    };
    Some((words.next()?.to_owned(), seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u8) -> Fingerprint {
        Fingerprint([number; 32])
    }

    #[test]
    fn an_operator_is_left_alone_while_it_changes() {
        let mut editing = Editing::default();
        assert!(!editing.note("f", version(1), 1000), "seen for the first time");
        assert!(!editing.note("f", version(1), 1001));
        assert!(editing.note("f", version(2), 1100), "changed after 100 s");
        assert!(editing.note("f", version(2), 1600));
        assert!(!editing.note("f", version(2), 1700), "rested");
        assert!(!editing.note("f", version(3), 1700 + REST), "changed after a rest");
        assert!(!editing.note("g", version(4), 1701), "another operator");
    }

    #[test]
    fn the_state_survives_and_nonsense_in_it_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let mut editing = Editing::default();
        editing.note("scale<f16>", version(1), 5);
        editing.note("two words", version(2), 7);
        editing.write(&Editing::default(), folder.path());
        assert_eq!(Editing::read(folder.path()), editing);
        let file = folder.path().join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("nonsense\n\nzz 1 0 f\n{text}")).unwrap();
        assert_eq!(Editing::read(folder.path()), editing);
        std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
        assert_eq!(Editing::read(folder.path()), Editing::default());
    }

    #[test]
    fn a_clock_set_back_does_no_harm() {
        let mut editing = Editing::default();
        editing.note("f", version(1), 10_000);
        assert!(editing.note("f", version(2), 5));
        assert!(!editing.note("f", version(2), 20_000));
    }
}
