//! The user's cache: results of tuning on this machine.

use energy_kernel_compiler::record::{CacheFile, Fingerprint, encoding};
use std::path::{Path, PathBuf};

/// The environment variable that replaces the cache's folder.
pub const FOLDER_VARIABLE: &str = "ENERGY_KERNEL_CACHE_DIR";

/// The user's cache; none where the system has no such place.
pub fn folder() -> Option<PathBuf> {
    match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) if !folder.is_empty() => Some(folder.into()),
        _ => directories::ProjectDirs::from("", "", "energy-kernel").map(|dirs| dirs.cache_dir().to_owned()),
    }
}

/// What is known of an operator of a package, on any device. What cannot be read is left out, with a warning.
pub(crate) fn read(package: &str, fingerprint: &Fingerprint) -> Vec<CacheFile> {
    folder().map_or_else(Vec::new, |folder| read_in(&folder.join(package), fingerprint))
}

fn read_in(folder: &Path, fingerprint: &Fingerprint) -> Vec<CacheFile> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let prefix = format!("{}-", fingerprint.short());
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == CacheFile::EXTENSION))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(&prefix))
        })
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| read_file(path, fingerprint)).collect()
}

fn read_file(path: &Path, fingerprint: &Fingerprint) -> Option<CacheFile> {
    let unreadable = |reason: &dyn std::fmt::Display| {
        tracing::warn!(path = %path.display(), %reason, "a file of the cache is ignored");
    };
    let metadata = std::fs::metadata(path).map_err(|e| unreadable(&e)).ok()?;
    if !metadata.is_file() {
        // A device or a pipe may have no end.
        unreadable(&"it is no regular file");
        return None;
    }
    let length = metadata.len();
    if length > encoding::LIMIT as u64 {
        unreadable(&format_args!("it has {length} bytes"));
        return None;
    }
    let bytes = std::fs::read(path).map_err(|e| unreadable(&e)).ok()?;
    let file = encoding::decode::<CacheFile>(&bytes).map_err(|e| unreadable(&e)).ok()?;
    // Names of files hold a part of the fingerprint only.
    (file.fingerprint == *fingerprint && file.space_version == energy_kernel_compiler::schedule::SPACE_VERSION)
        .then_some(file)
}
