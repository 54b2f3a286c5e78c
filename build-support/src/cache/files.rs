//! Cache files and folders on disk.

use energy_kernel_compiler::file::{self, FileError};
use energy_kernel_compiler::record::CacheFile;
use energy_kernel_compiler::record::encoding::{DecodeError, FORMAT_VERSION, LIMIT, decode};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The reason that a cache file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not a readable regular file of a cache file's size.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not a valid cache file of this version.
    #[error(transparent)]
    Content(#[from] DecodeError),
}

impl Unreadable {
    /// The remedy, as an imperative.
    pub fn remedy(&self) -> &'static str {
        match self {
            Unreadable::File(FileError::Io(_)) => "fix its permissions",
            Unreadable::Content(DecodeError::Version { found }) if *found > FORMAT_VERSION => {
                "a newer energy-kernel wrote it and can use it"
            }
            Unreadable::File(_) | Unreadable::Content(_) => "delete it",
        }
    }
}

/// Reads and checks a cache file.
///
/// # Errors
/// It cannot be read, or is not a valid cache file.
pub fn read_file(path: &Path) -> Result<CacheFile, Unreadable> {
    Ok(decode(&file::read(path, LIMIT as u64)?)?)
}

/// The path to write results to, and the results of the same operator and device class that are there.
pub(super) fn present(folder: &Path, file: &CacheFile) -> io::Result<(PathBuf, Option<CacheFile>)> {
    let names = [
        CacheFile::file_name(&file.fingerprint, &file.device),
        CacheFile::file_name_beside(&file.fingerprint, &file.device),
    ];
    for path in names.map(|name| folder.join(name)) {
        match read_file(&path) {
            Ok(present) => {
                let same = present.fingerprint == file.fingerprint && present.device.key() == file.device.key();
                return Ok((path, same.then_some(present)));
            }
            // A newer version wrote it and can use it.
            Err(Unreadable::Content(DecodeError::Version { found })) if found > FORMAT_VERSION => {}
            // Keep files we cannot read: they may be valid, just unreadable to this user.
            Err(Unreadable::File(FileError::Io(error))) if error.kind() != io::ErrorKind::NotFound => {
                let why = format!("{} cannot be read: {error}", path.display());
                return Err(io::Error::new(error.kind(), why));
            }
            Err(_) => return Ok((path, None)),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "a newer energy-kernel has written all files of this operator",
    ))
}

/// The entries of a folder in a fixed order. Empty if it does not exist.
pub(super) fn entries(folder: Option<&Path>) -> Vec<PathBuf> {
    let entries = folder.map(std::fs::read_dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Replaces a file atomically: readers see the old file or the new one, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], modified: Option<SystemTime>) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // An unpredictable name, so that nobody can have put a link or a pipe there.
    let random = RandomState::new().hash_one(std::process::id());
    let temporary = folder.join(format!(".{name}.{random:016x}.tmp"));
    let mut file = File::options().write(true).create_new(true).open(&temporary)?;
    let written = (|| {
        file.write_all(bytes)?;
        if let Some(modified) = modified {
            file.set_modified(modified)?;
        }
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Sets a folder's time. If that fails, the next build runs the script once more.
pub(super) fn set_time(folder: &Path, modified: SystemTime) {
    let _ = File::open(folder).and_then(|folder| folder.set_modified(modified));
}

/// Creates a folder and its parents, for their owner only.
pub(super) fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
