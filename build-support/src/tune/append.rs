//! Files that grow by whole entries.

use std::fs::File;
use std::io::{self, Write};

/// Appends to a file that nobody else writes to: all of it, or nothing. A disk that is full in the middle leaves a part, and whatever
/// came behind that, once there is room again, would not be read.
pub(super) fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    // One call, so that a killed process leaves one entry that is cut off, and no more.
    let written = file.write_all(bytes);
    if written.is_err() {
        // Best effort: a part at the end is passed over by who reads.
        let _ = file.set_len(before);
    }
    written
}
