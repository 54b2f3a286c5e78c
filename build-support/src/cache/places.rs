//! The folders and locks of one package.

use super::checkout;
use super::contents::{Contents, now, staleness};
use super::files::{Unreadable, create_private, entries, present, read_file, set_time, write_atomically};
use super::locks::{self, Lock};
use crate::source::scan::Found;
use energy_kernel_compiler::record::encoding::{DecodeError, FORMAT_VERSION, encode};
use energy_kernel_compiler::record::folder::{RelativeFolder, absolute, package_folder};
use energy_kernel_compiler::record::{Advantage, CacheFile, DeviceClass, Fingerprint, Record, Standing};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The folder of shipped results in a package.
pub const SHIPPED: &str = "energy-cache";

/// The longest wait for another process that writes a result. Writing takes milliseconds.
const WRITING_PATIENCE: Duration = Duration::from_secs(10);

/// The places of one package.
#[derive(Debug, Clone)]
pub struct Cache {
    shipped: PathBuf,
    user: Result<User, NoUserCache>,
}

/// The folders of a package in the user's cache.
#[derive(Debug, Clone)]
struct User {
    /// The name of the package's folder, and of its locks.
    package: String,
    results: PathBuf,
    /// The folder of all states and locks.
    states: PathBuf,
    /// The state of this manifest folder.
    state: PathBuf,
    manifest_dir: PathBuf,
}

/// The reason that there is no user's cache.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoUserCache {
    /// The system has no place for caches.
    #[error("there is no cache folder; set ENERGY_KERNEL_CACHE_DIR")]
    Nowhere,
    /// The path to it is relative.
    #[error(transparent)]
    Relative(RelativeFolder),
}

impl From<NoUserCache> for io::Error {
    fn from(error: NoUserCache) -> io::Error {
        let kind = match error {
            NoUserCache::Nowhere => io::ErrorKind::NotFound,
            NoUserCache::Relative(_) => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

/// One of the two places for results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `energy-cache/` of the package.
    Shipped,
    /// The user's cache.
    User,
}

impl Cache {
    /// The places of a package. Without a user's cache only shipped results can be written.
    pub fn of(manifest_dir: &Path, package: &str, user_cache: Option<&Path>) -> Cache {
        let package = package_folder(package);
        let root = user_cache.ok_or(NoUserCache::Nowhere);
        let root = root.and_then(|root| absolute(root.to_owned()).map_err(NoUserCache::Relative));
        let shipped = manifest_dir.join(SHIPPED);
        let manifest_dir = (manifest_dir.canonicalize()).unwrap_or_else(|_| manifest_dir.to_owned());
        Cache {
            shipped,
            user: root.map(|root| User {
                results: root.join(&package),
                states: root.join(".state"),
                state: root.join(".state").join(checkout::folder_name(&package, &manifest_dir)),
                package,
                manifest_dir,
            }),
        }
    }

    /// The folder of a place. It may not exist.
    pub fn folder(&self, place: Place) -> Option<&Path> {
        match place {
            Place::Shipped => Some(&self.shipped),
            Place::User => self.user.as_ref().ok().map(|user| user.results.as_path()),
        }
    }

    /// The folder for the state of this manifest folder: journals, edits.
    pub fn state(&self) -> Option<&Path> {
        self.user.as_ref().ok().map(|user| user.state.as_path())
    }

    /// The relative path that is refused as the user's cache. `None` if there is no such path.
    pub fn refused(&self) -> Option<&RelativeFolder> {
        match &self.user {
            Err(NoUserCache::Relative(folder)) => Some(folder),
            _ => None,
        }
    }

    fn user(&self) -> io::Result<&User> {
        self.user.as_ref().map_err(|none| none.clone().into())
    }

    /// Creates the user's folders, readable by their owner only. A new folder's time becomes `modified` if that is given.
    ///
    /// # Errors
    /// The folders cannot be created: the home is read-only, there is none, or the path is relative.
    pub fn create(&self, modified: Option<SystemTime>) -> io::Result<()> {
        let user = self.user()?;
        let new = !user.results.exists();
        create_private(&user.results)?;
        if new && let Some(modified) = modified {
            set_time(&user.results, modified);
        }
        create_private(&user.state)?;
        create_private(&locks::folder(&user.states))
    }

    /// Reads all places. A record is stale if its operator now compiles to another kernel.
    pub fn read(&self, operators: &[Found]) -> Contents {
        let mut contents = Contents::default();
        for place in [Place::Shipped, Place::User] {
            for path in self.files(place) {
                match read_file(&path) {
                    Ok(file) => contents.add(file, operators),
                    // Files of earlier versions are harmless; `cargo energy-kernel clean` deletes them.
                    Err(Unreadable::Content(DecodeError::Version { found }))
                        if place == Place::User && found < FORMAT_VERSION => {}
                    Err(problem) => contents.warnings.push(format!(
                        "{} is not used: {problem}; {}",
                        path.display(),
                        problem.remedy()
                    )),
                }
            }
        }
        contents
    }

    /// The cache files of a place, in a fixed order.
    pub fn files(&self, place: Place) -> Vec<PathBuf> {
        let mut files = entries(self.folder(place));
        files.retain(|path| path.extension().is_some_and(|e| e == CacheFile::EXTENSION));
        files
    }

    /// Files beside the user's results that can be deleted without losing a result: journals of interrupted tunings, notes about edits,
    /// temporary files of interrupted writes, and the state of checkouts that no longer exist. Locks are not listed: another process may
    /// be waiting for one.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let Ok(user) = &self.user else { return Vec::new() };
        let mut folders = vec![user.state.clone(), user.results.clone()];
        folders.extend(checkout::vanished(&user.states, &user.package));
        let mut files: Vec<PathBuf> = folders.iter().flat_map(|folder| entries(Some(folder))).collect();
        let own = user.state.join(checkout::FILE);
        files.retain(|path| {
            path.is_file() && *path != own && path.extension().is_none_or(|e| e != CacheFile::EXTENSION)
        });
        files.sort();
        files
    }

    /// Notes the operators of this manifest folder, so that `clean` in another checkout of the package keeps their results. If that
    /// fails, they may have to be measured again.
    pub fn note(&self, operators: &[Found]) {
        if let Ok(user) = &self.user {
            let used = operators.iter().map(|found| found.fingerprint).collect();
            let _ = checkout::note(&user.state, &user.manifest_dir, &used);
        }
    }

    /// The operators that other checkouts of the package have.
    pub fn used_elsewhere(&self) -> BTreeSet<Fingerprint> {
        let others = self.user.as_ref().map(|user| {
            let all = checkout::present(&user.states, &user.package);
            all.into_iter().filter(|(state, _)| *state != user.state)
        });
        others.into_iter().flatten().flat_map(|(_, used)| used).collect()
    }

    /// Adds results to a place. It takes the lock, merges them with what other processes wrote, and replaces the file atomically. A file
    /// of a newer format stays, and the results are written beside it.
    ///
    /// A record is stale if its operator now compiles to another kernel. The file's time becomes `modified` if that is given, so that
    /// the build that writes the file does not see it as a change.
    ///
    /// # Errors
    /// The place cannot be written.
    pub fn store(
        &self,
        place: Place,
        file: &CacheFile,
        operators: &[Found],
        modified: Option<SystemTime>,
    ) -> io::Result<PathBuf> {
        self.write(place, file, modified, |merged, present| {
            merged.merge(present, now(), staleness(operators, file));
        })
    }

    /// Adds results that the user asked to measure again. They replace those in the place, unless an old one is not stale and was
    /// measured later, or has energies that the new one lacks.
    ///
    /// # Errors
    /// The place cannot be written.
    pub fn replace(&self, place: Place, file: &CacheFile, operators: &[Found]) -> io::Result<PathBuf> {
        let stale = staleness(operators, file);
        self.write(place, file, None, |merged, present| {
            let now = now();
            let knows_more = |present: &Record, new: &Record| {
                let (present, new) = (present.merits(now), new.merits(now));
                present.energies() > new.energies() || present.measured_at() > new.measured_at()
            };
            for record in present.records {
                let new = merged.record(&record.sizes, &record.specialisation);
                if new.is_none_or(|new| knows_more(&record, new) && !stale(&record)) {
                    merged.replace(record);
                }
            }
        })
    }

    /// Writes results to a place. `combine` merges them with those of the same operator and device class that the place holds.
    fn write(
        &self,
        place: Place,
        file: &CacheFile,
        modified: Option<SystemTime>,
        combine: impl FnOnce(&mut CacheFile, CacheFile),
    ) -> io::Result<PathBuf> {
        let folder = match place {
            Place::Shipped => self.shipped.as_path(),
            Place::User => self.user()?.results.as_path(),
        };
        match place {
            Place::User => self.create(modified)?,
            Place::Shipped => std::fs::create_dir_all(folder)?,
        }
        let lock = match self.lock_until(Lock::Writing, Instant::now() + WRITING_PATIENCE) {
            Ok(Some(lock)) => Some(lock),
            Ok(None) => {
                let why = format!("another process has been writing for {} s", WRITING_PATIENCE.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Err(error) if place == Place::User => return Err(error),
            Err(_) => None,
        };
        let (path, present) = present(folder, file)?;
        let mut merged = file.clone();
        if let Some(present) = present {
            combine(&mut merged, present);
        }
        let bytes = encode(&merged).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        write_atomically(&path, &bytes, modified)?;
        if let Some(modified) = modified {
            set_time(folder, modified);
        }
        drop(lock);
        Ok(path)
    }

    /// The advantage of the record that is used instead of this one. `None` if this one is used.
    pub fn preferred_to(&self, record: &Record, found: &Found, device: &DeviceClass) -> Option<Advantage> {
        let contents = self.read(std::slice::from_ref(found));
        let file = contents.get(&found.fingerprint, device)?;
        let used = file.record(&record.sizes, &record.specialisation)?;
        let now = now();
        let standing = |record: &Record| Standing {
            fresh: !found.is_stale(device, record),
            merits: record.merits(now),
        };
        standing(used).advantage_over(&standing(record))
    }

    /// Takes a lock if no other process has it. Dropping the file releases it.
    ///
    /// # Errors
    /// There is no place for locks.
    pub fn try_lock(&self, lock: Lock<'_>) -> io::Result<Option<File>> {
        self.lock_until(lock, Instant::now())
    }

    /// Waits for a lock until `until`. `None` if another process still has it.
    ///
    /// # Errors
    /// There is no place for locks.
    pub fn lock_until(&self, lock: Lock<'_>, until: Instant) -> io::Result<Option<File>> {
        self.create(None)?;
        let user = self.user()?;
        locks::take(&user.states, &user.package, lock, until)
    }
}
