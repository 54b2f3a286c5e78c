//! Opens and reads regular files up to a length limit. A cache, a state folder or a source folder may contain anything: a pipe without a
//! writer, a device, a sparse file of terabytes.
//!
//! The compiler itself reads no files. This module is here because the attribute, the runtime and the build script share no other crate.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// The reason that a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A folder, a pipe, a socket or a device.
    #[error("it is not a regular file")]
    NotRegular,
    /// It is longer than the caller's limit.
    #[error("it is longer than {}", length(*limit))]
    TooLong {
        /// The most bytes that are read.
        limit: u64,
    },
    /// The system failed to open or read it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Formats a length: `32 MiB`.
fn length(bytes: u64) -> String {
    match bytes % (1 << 20) {
        0 => format!("{} MiB", bytes >> 20),
        _ => format!("{bytes} bytes"),
    }
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> io::Error {
        let kind = match error {
            FileError::Io(error) => return error,
            FileError::NotRegular => io::ErrorKind::InvalidInput,
            FileError::TooLong { .. } => io::ErrorKind::FileTooLarge,
        };
        io::Error::new(kind, error)
    }
}

/// Opens a regular file, or creates one if the options say so. Never blocks, and never opens a device.
///
/// # Errors
/// It is not a regular file, or cannot be opened.
pub fn open(path: &Path, options: &mut OpenOptions) -> Result<File, FileError> {
    // Check first: opening a device may have side effects.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(FileError::NotRegular);
    }
    // A pipe may have replaced the file since the check, and opening one would block.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(FileError::NotRegular),
    }
}

/// Reads the bytes of a regular file.
///
/// # Errors
/// It is not a regular file, has more than `limit` bytes, or cannot be read.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path, File::options().read(true))?;
    let length = file.metadata()?.len();
    if length > limit {
        return Err(FileError::TooLong { limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // The file may have grown since the check.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(FileError::TooLong { limit }),
        false => Ok(bytes),
    }
}

/// Reads the text of a regular file.
///
/// # Errors
/// Those of [`read`], or the text is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    let bytes = read(path, limit)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error).into())
}
