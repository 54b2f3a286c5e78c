//! The paths that cargo watches: the folders and files that are read, also those that do not exist yet.
//!
//! A missing path makes cargo run the script at every build. Links avoid that: in a watched folder cargo ignores links that lead
//! nowhere, and follows them once their target exists. So a folder of links, older than any build, stands for missing folders, and
//! for those whose names are not one line of UTF-8.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The paths to watch for these folders and files. `links` is the folder of links.
pub(super) fn watched(folders: &[&Path], links: &Path) -> Vec<PathBuf> {
    let can_be_named = |path: &Path| path.to_str().is_some_and(|name| !name.contains(char::is_control));
    let (named, others): (Vec<&Path>, Vec<&Path>) =
        (folders.iter().copied()).partition(|folder| folder.exists() && can_be_named(folder));
    let mut paths: Vec<PathBuf> = named.into_iter().map(Path::to_owned).collect();
    // Without links, a new folder is noticed when something else changes.
    if can_be_named(links) && link(&others, links).is_ok() {
        paths.push(links.to_owned());
    }
    paths
}

fn link(folders: &[&Path], links: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(links) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => std::fs::create_dir_all(links)?,
    }
    for (number, folder) in folders.iter().enumerate() {
        symlink(folder, &links.join(number.to_string()))?;
    }
    std::fs::File::open(links)?.set_modified(SystemTime::UNIX_EPOCH)
}

#[cfg(unix)]
fn symlink(to: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(windows)]
fn symlink(to: &Path, at: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_dir(to, at)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
