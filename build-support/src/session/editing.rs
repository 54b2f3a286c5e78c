//! Operators that are being edited. Editors run build scripts on every save, and half-written operators are not worth tuning.
//!
//! The state has one line per operator: its fingerprint, the time when that was first seen, 1 if it came soon after another, and the
//! name, which several operators may share. Lines that cannot be parsed are dropped.

use crate::cache::write_atomically;
use energy_kernel_compiler::file;
use energy_kernel_compiler::record::Fingerprint;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rest, in seconds. An operator that changed twice within this time is being edited until it has not changed for as long.
const REST: u64 = 600;

const FILE: &str = "seen";

/// The largest state, in bytes: some ten thousand operators with long names.
const LONGEST: u64 = 8 << 20;

/// When the operators of a package were first seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Editing {
    /// By name. Operators of several modules, or under several conditions, may share one.
    seen: BTreeMap<String, Vec<Seen>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    fingerprint: Fingerprint,
    first: u64,
    /// `true` if it replaced an operator first seen less than [`REST`] before.
    unsettled: bool,
}

impl Editing {
    /// Reads the state. Empty if there is none.
    pub(super) fn read(state: &Path) -> Editing {
        let text = file::read_text(&state.join(FILE), LONGEST).unwrap_or_default();
        let mut editing = Editing::default();
        for (name, seen) in text.lines().filter_map(parse) {
            editing.seen.entry(name).or_default().push(seen);
        }
        editing
    }

    /// Notes the present operators. A new one replaces those of its name that are gone.
    pub(super) fn note<'a>(&mut self, operators: impl IntoIterator<Item = (&'a str, Fingerprint)>, now: u64) {
        let mut present: BTreeMap<&str, BTreeSet<Fingerprint>> = BTreeMap::new();
        for (name, fingerprint) in operators {
            present.entry(name).or_default().insert(fingerprint);
        }
        for (name, present) in present {
            let before = self.seen.remove(name).unwrap_or_default();
            let (mut seen, gone): (Vec<Seen>, Vec<Seen>) =
                (before.into_iter()).partition(|seen| present.contains(&seen.fingerprint));
            let unsettled = gone.iter().any(|replaced| now.saturating_sub(replaced.first) < REST);
            for fingerprint in present {
                if !seen.iter().any(|known| known.fingerprint == fingerprint) {
                    seen.push(Seen {
                        fingerprint,
                        first: now,
                        unsettled,
                    });
                }
            }
            self.seen.insert(name.to_owned(), seen);
        }
    }

    /// `true` if an operator is being edited and should not be tuned yet.
    pub(super) fn is_edited(&self, name: &str, fingerprint: Fingerprint, now: u64) -> bool {
        let mut seen = self.seen.get(name).into_iter().flatten();
        seen.any(|seen| seen.fingerprint == fingerprint && seen.unsettled && now.saturating_sub(seen.first) < REST)
    }

    /// Writes the state if it has changed. If that fails, edited operators are tuned at once.
    pub(super) fn write(&self, before: &Editing, state: &Path) {
        if self == before {
            return;
        }
        let all = (self.seen.iter()).flat_map(|(name, seen)| seen.iter().map(move |seen| (name, seen)));
        let lines = all.map(|(name, seen)| {
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

    fn note(editing: &mut Editing, name: &str, fingerprint: Fingerprint, now: u64) -> bool {
        editing.note([(name, fingerprint)], now);
        editing.is_edited(name, fingerprint, now)
    }

    fn version(number: u8) -> Fingerprint {
        Fingerprint([number; 32])
    }

    #[test]
    fn an_operator_is_left_alone_while_it_changes() {
        let mut editing = Editing::default();
        assert!(!note(&mut editing, "f", version(1), 1000), "seen for the first time");
        assert!(!note(&mut editing, "f", version(1), 1001));
        assert!(note(&mut editing, "f", version(2), 1100), "changed after 100 s");
        assert!(note(&mut editing, "f", version(2), 1600));
        assert!(!note(&mut editing, "f", version(2), 1700), "rested");
        assert!(
            !note(&mut editing, "f", version(3), 1700 + REST),
            "changed after a rest"
        );
        assert!(!note(&mut editing, "g", version(4), 1701), "another operator");
    }

    #[test]
    fn the_state_survives_and_nonsense_in_it_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let mut editing = Editing::default();
        editing.note([("scale<f16>", version(1)), ("scale<f16>", version(3))], 5);
        note(&mut editing, "two words", version(2), 7);
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
        note(&mut editing, "f", version(1), 10_000);
        assert!(note(&mut editing, "f", version(2), 5));
        assert!(!note(&mut editing, "f", version(2), 20_000));
    }
}
