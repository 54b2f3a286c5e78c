//! Files that grow by complete entries.

use std::fs::File;
use std::io::{self, Write};

/// Appends all bytes or none to a file that has no other writer. If the disk is full, a partial entry would make later ones unreadable.
pub(super) fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    // One call, so that a killed process leaves at most one partial entry.
    let written = file.write_all(bytes);
    if written.is_err() {
        // Best effort: readers ignore a partial entry at the end.
        let _ = file.set_len(before);
    }
    written
}
