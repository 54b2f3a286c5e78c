//! Source files as text.

use energy_kernel_compiler::file;
use std::io;
use std::path::Path;

/// The largest source file that is read, in bytes.
pub(super) const LONGEST: u64 = 32 << 20;

/// Reads a source file or a manifest.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    Ok(file::read_text(path, LONGEST)?)
}
