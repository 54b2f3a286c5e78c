//! Locks between processes. The system releases a lock when the process that holds it ends.
//!
//! A process that needs several takes them in this order: package, device, writing. This prevents deadlocks.

use energy_kernel_compiler::file;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A lock that one process at a time can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock<'a> {
    /// Held while operators of the package are tuned, so that no operator is tuned twice. All checkouts of the package share it.
    Tuning,
    /// Held while any package measures on the device of this name: simultaneous measurements disturb each other.
    Device(&'a str),
    /// Held while results of the package are written.
    Writing,
}

/// The interval at which a waiting process tries again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The folder of all locks.
pub(crate) fn folder(states: &Path) -> PathBuf {
    states.join("locks")
}

/// Waits for a lock until `until`. `None` if another process still has it.
///
/// # Errors
/// The file of the lock cannot be opened, or the file system has no locks.
pub(crate) fn take(states: &Path, package: &str, lock: Lock<'_>, until: Instant) -> io::Result<Option<File>> {
    let name = match lock {
        Lock::Tuning => format!("{package}.tuning.lock"),
        Lock::Writing => format!("{package}.writing.lock"),
        Lock::Device(device) => format!("device.{}.lock", plain(device)),
    };
    let path = folder(states).join(name);
    let file = file::open(&path, File::options().write(true).create(true).truncate(false))
        .map_err(|error| named(&path, error.into()))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(named(&path, error)),
            Err(TryLockError::WouldBlock) => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        std::thread::sleep(left.min(POLL_INTERVAL));
    }
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A device's name as a part of a file name.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().map(plain).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(folder: &Path, package: &str, lock: Lock<'_>) -> Option<File> {
        super::take(folder, package, lock, Instant::now()).unwrap()
    }

    #[test]
    fn packages_have_their_own_locks_and_share_those_of_devices() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder(root.path())).unwrap();
        let held = [Lock::Tuning, Lock::Writing, Lock::Device("GPU-1/é")].map(|lock| take(root.path(), "a", lock));
        assert!(held.iter().all(Option::is_some));
        assert!(take(root.path(), "a", Lock::Tuning).is_none());
        assert!(take(root.path(), "b", Lock::Tuning).is_some());
        assert!(take(root.path(), "b", Lock::Device("GPU-1/é")).is_none());
        assert!(take(root.path(), "b", Lock::Device("GPU-2")).is_some());
        drop(held);
        assert!(take(root.path(), "b", Lock::Device("GPU-1/é")).is_some());
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_in_a_locks_place_is_an_error_and_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder(root.path())).unwrap();
        let path = folder(root.path()).join("a.tuning.lock");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
        assert!(super::take(root.path(), "a", Lock::Tuning, Instant::now()).is_err());
    }
}
