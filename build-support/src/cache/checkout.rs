//! Checkouts: manifest folders that hold packages of the same name. They share results, which are found by an operator's fingerprint,
//! and nothing else.
//!
//! Each checkout has a state folder. A file in it names the manifest folder, then the fingerprints of its operators, one per line. Lines
//! that cannot be parsed are ignored.

use super::files::write_atomically;
use energy_kernel_compiler::file;
use energy_kernel_compiler::record::Fingerprint;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file in the state folder.
pub(crate) const FILE: &str = "checkout";

/// The most bytes of a note: some hundred thousand operators.
const LONGEST: u64 = 8 << 20;

/// The number of digits in a folder's name that identify the checkout.
const DIGITS: usize = 16;

/// The name of the state folder of a package in a manifest folder, given by its canonical path.
pub(crate) fn folder_name(package: &str, manifest_dir: &Path) -> String {
    let digest = Sha256::digest(manifest_dir.as_os_str().as_encoded_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{package}-{}", &digits[..DIGITS])
}

/// Notes the operators of a manifest folder in its state.
pub(crate) fn note(state: &Path, manifest_dir: &Path, used: &BTreeSet<Fingerprint>) -> io::Result<()> {
    let path = state.join(FILE);
    // A path that is not one line of text is left out. Such a checkout always counts as present.
    let name = manifest_dir.to_str().filter(|name| !name.contains(char::is_control));
    let mut text = format!("{}\n", name.unwrap_or_default());
    used.iter()
        .for_each(|fingerprint| text.push_str(&format!("{fingerprint}\n")));
    if file::read_text(&path, LONGEST).is_ok_and(|noted| noted == text) {
        return Ok(());
    }
    write_atomically(&path, text.as_bytes(), None)
}

/// The state folders of a package's checkouts that exist, with the operators of each.
pub(crate) fn present(states: &Path, package: &str) -> Vec<(PathBuf, BTreeSet<Fingerprint>)> {
    let all = all(states, package).into_iter();
    let present = all.filter(|(_, manifest_dir, _)| manifest_dir.as_ref().is_none_or(|folder| exists(folder)));
    present.map(|(state, _, used)| (state, used)).collect()
}

/// The state folders of a package's checkouts that no longer exist.
pub(crate) fn vanished(states: &Path, package: &str) -> Vec<PathBuf> {
    let all = all(states, package).into_iter();
    let vanished = all.filter(|(_, manifest_dir, _)| manifest_dir.as_ref().is_some_and(|folder| !exists(folder)));
    vanished.map(|(state, _, _)| state).collect()
}

fn exists(manifest_dir: &Path) -> bool {
    manifest_dir.join("Cargo.toml").exists()
}

/// All noted checkouts of a package: the state folder, the manifest folder if it was noted, the operators.
fn all(states: &Path, package: &str) -> Vec<(PathBuf, Option<PathBuf>, BTreeSet<Fingerprint>)> {
    let is_state = |name: &str| {
        let digits = name.strip_prefix(package).and_then(|rest| rest.strip_prefix('-'));
        digits.is_some_and(|digits| digits.len() == DIGITS && digits.chars().all(|c| c.is_ascii_hexdigit()))
    };
    let entries = std::fs::read_dir(states).into_iter().flatten().flatten();
    let states = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_state));
    let noted = states.filter_map(|entry| {
        let text = file::read_text(&entry.path().join(FILE), LONGEST).ok()?;
        let mut lines = text.lines();
        let manifest_dir = lines.next().filter(|name| !name.is_empty()).map(PathBuf::from);
        let used = lines.filter_map(|line| line.parse().ok()).collect();
        Some((entry.path(), manifest_dir, used))
    });
    noted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkouts_are_told_apart_and_what_is_gone_is_known() {
        let root = tempfile::tempdir().unwrap();
        let states = root.path().join("states");
        let used = |byte: u8| BTreeSet::from([Fingerprint([byte; 32]), Fingerprint([9; 32])]);
        for (number, (package, folder)) in [("p", "one"), ("p", "two"), ("p-q", "one")].into_iter().enumerate() {
            let manifest_dir = root.path().join(folder);
            std::fs::create_dir_all(&manifest_dir).unwrap();
            std::fs::write(manifest_dir.join("Cargo.toml"), "").unwrap();
            let state = states.join(folder_name(package, &manifest_dir));
            std::fs::create_dir_all(&state).unwrap();
            note(&state, &manifest_dir, &used(number as u8)).unwrap();
        }
        let operators = |package| {
            present(&states, package)
                .into_iter()
                .map(|(_, used)| used)
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(operators("p"), BTreeSet::from([used(0), used(1)]));
        assert_eq!(operators("p-q"), BTreeSet::from([used(2)]));
        assert_eq!(vanished(&states, "p"), Vec::<PathBuf>::new());
        std::fs::remove_dir_all(root.path().join("two")).unwrap();
        assert_eq!(operators("p"), BTreeSet::from([used(0)]));
        let gone = states.join(folder_name("p", &root.path().join("two")));
        assert_eq!(vanished(&states, "p"), std::slice::from_ref(&gone));
        // A folder whose name is not one line of text always counts as present, and invalid lines are ignored.
        std::fs::write(gone.join(FILE), format!("\nnonsense\n{}\n", Fingerprint([9; 32]))).unwrap();
        assert_eq!(operators("p").len(), 2);
        assert_eq!(vanished(&states, "p"), Vec::<PathBuf>::new());
    }
}
