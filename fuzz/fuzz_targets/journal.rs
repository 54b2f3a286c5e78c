//! The journal of a tuning that was interrupted: read, and cut off where it is damaged.

#![no_main]

use energy_kernel_build::tune::journaled;
use energy_kernel_fuzz::framed;
use std::fs::write;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = tempfile::NamedTempFile::new() else {
        return;
    };
    let count = |bytes: &[u8]| write(file.path(), bytes).map(|()| journaled(file.path())).unwrap_or(0);
    // As it is: the header and its hash stop nearly all.
    let entries = count(bytes);
    // An entry that was cut off changes nothing about those before it.
    assert_eq!(count(&[bytes, b"\x89EKERN\r\nJRNL"].concat()), entries);
    // As the payload of an entry: what is accepted is so a second time, and before what is damaged.
    let entry = framed(*b"JRNL", bytes);
    let accepted = count(&entry);
    assert_eq!(
        count(&[&entry, &entry[..], &entry[..entry.len() - 1]].concat()),
        2 * accepted
    );
});
