//! The user cache: results of tuning on this machine.

use energy_kernel_compiler::file;
use energy_kernel_compiler::record::folder::{RelativeFolder, package_folder, user_cache};
use energy_kernel_compiler::record::{CacheFile, Fingerprint, encoding};
use std::path::{Path, PathBuf};

pub use energy_kernel_compiler::record::folder::FOLDER_VARIABLE;

/// The folder of the user cache. `None` if the system has no place for caches.
///
/// # Errors
/// The variable holds a relative path.
pub(crate) fn folder() -> Result<Option<PathBuf>, RelativeFolder> {
    user_cache(std::env::var_os(FOLDER_VARIABLE), || {
        directories::ProjectDirs::from("", "", "energy-kernel").map(|dirs| dirs.cache_dir().to_owned())
    })
}

/// Reads the results for an operator of a package, on any device. Skips unreadable files with a warning.
pub(crate) fn read(package: &str, fingerprint: &Fingerprint) -> Vec<CacheFile> {
    match folder() {
        Ok(Some(folder)) => read_in(&folder.join(package_folder(package)), fingerprint),
        Ok(None) => Vec::new(),
        Err(refused) => {
            tracing::warn!(%refused, "the user cache is not used");
            Vec::new()
        }
    }
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
    let bytes = file::read(path, encoding::LIMIT as u64)
        .map_err(|e| unreadable(&e))
        .ok()?;
    let file = encoding::decode::<CacheFile>(&bytes).map_err(|e| unreadable(&e)).ok()?;
    // A file's name holds only a part of the fingerprint.
    (file.fingerprint == *fingerprint).then_some(file)
}
