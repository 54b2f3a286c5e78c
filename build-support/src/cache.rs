//! The places where results are kept.
//!
//! ```text
//!   <package>/energy-cache/                    committed and published with the crate; written by `tune --ship` only
//!   <user cache>/<package>/                    written by builds and by the command; shared by all checkouts of the package
//!   <user cache>/.state/<package>-<checkout>/  of one manifest folder: journals, edits, the operators that it uses
//!   <user cache>/.state/locks/                 locks of packages and devices
//! ```
//! Builds watch the first two. For a bucket and device class the valid record with the best [standing](Standing) wins, wherever it
//! lies. An invalid file is reported and passed over.

use crate::checkout;
use crate::locks::{self, Lock};
use crate::scan::Found;
use energy_kernel_compiler::file::{self, FileError};
use energy_kernel_compiler::record::encoding::{DecodeError, FORMAT_VERSION, LIMIT, decode, encode};
use energy_kernel_compiler::record::folder::{RelativeFolder, absolute, package_folder};
use energy_kernel_compiler::record::{Advantage, CacheFile, DeviceClass, Fingerprint, Record, Standing};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// Which of the two places a file lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `energy-cache/` of the package.
    Shipped,
    /// The user's cache.
    User,
}

/// What is known of one operator, per device class.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// By the class's key.
    pub devices: BTreeMap<String, CacheFile>,
}

/// Everything that the places hold.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// By operator.
    pub operators: BTreeMap<Fingerprint, Known>,
    /// What was passed over, and why.
    pub warnings: Vec<String>,
}

impl Cache {
    /// The places of a package. Without a user cache nothing is written but shipped results.
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

    /// The folder of a place, whether it exists or not.
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

    /// The relative path that is refused as the user's cache; none if there is no such path.
    pub fn refused(&self) -> Option<&RelativeFolder> {
        match &self.user {
            Err(NoUserCache::Relative(folder)) => Some(folder),
            _ => None,
        }
    }

    fn user(&self) -> io::Result<&User> {
        self.user.as_ref().map_err(|none| none.clone().into())
    }

    /// Creates the user's folders, for their owner alone. A new folder's time becomes `modified`, where given.
    ///
    /// # Errors
    /// They cannot be created: a read-only home, no home, a relative path.
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

    /// Reads all places; what the operators compile to tells which of two records is stale.
    pub fn read(&self, operators: &[Found]) -> Contents {
        let mut contents = Contents::default();
        for place in [Place::Shipped, Place::User] {
            for path in self.files(place) {
                match read_file(&path) {
                    Ok(file) => contents.add(file, operators),
                    // Nobody has to know what an earlier version left behind; `cargo energy-kernel clean` takes it away.
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

    /// What lies beside the user's results and can go without loss of any: journals of tunings that were interrupted, what is noted about
    /// edits, what interrupted writes left behind, and the state of checkouts that are gone. Locks stay: another may be waiting for one.
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

    /// Notes the operators of this manifest folder, so that `clean` in another checkout of the package keeps their results. Best
    /// effort: if it fails, they may have to be measured again.
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

    /// Adds results to a place: under a lock, merged with what others wrote meanwhile, and in one step. A file of a newer format
    /// stays, and the results are written beside it.
    ///
    /// What the operators compile to tells which of two records is stale. The file's time becomes `modified`, where given,
    /// so that the build that writes it does not see it as a change.
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

    /// Adds results that the user asked for although there were some. They replace those in the place, unless one of these is not stale and was
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

    /// Writes results to a place. `combine` adds what the place holds of the same operator and device class.
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

    /// The advantage of the record that is used instead of this one; none if this one is used.
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

    /// Takes a lock if no other process has it. The lock is held as long as the file lives.
    ///
    /// # Errors
    /// There is no place for locks.
    pub fn try_lock(&self, lock: Lock<'_>) -> io::Result<Option<File>> {
        self.lock_until(lock, Instant::now())
    }

    /// Waits for a lock until `until`; none if another process still has it.
    ///
    /// # Errors
    /// There is no place for locks.
    pub fn lock_until(&self, lock: Lock<'_>, until: Instant) -> io::Result<Option<File>> {
        self.create(None)?;
        let user = self.user()?;
        locks::take(&user.states, &user.package, lock, until)
    }
}

impl Contents {
    /// Adds a file; of two records for a bucket the one that [prevails](Record::prevails_over) stays.
    pub fn add(&mut self, file: CacheFile, operators: &[Found]) {
        let devices = &mut self.operators.entry(file.fingerprint).or_default().devices;
        match devices.entry(file.device.key()) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(file);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let stale = staleness(operators, &file);
                entry.get_mut().merge(file, now(), stale);
            }
        }
    }

    /// What is known of an operator on a device class.
    pub fn get(&self, fingerprint: &Fingerprint, device: &DeviceClass) -> Option<&CacheFile> {
        self.operators.get(fingerprint)?.devices.get(&device.key())
    }
}

/// Which records of a file's operator and device are stale; none, where the operator is not among these.
fn staleness<'a>(operators: &'a [Found], file: &CacheFile) -> impl Fn(&Record) -> bool + use<'a> {
    let found = operators.iter().find(|found| found.fingerprint == file.fingerprint);
    let device = file.device.clone();
    move |record| found.is_some_and(|found| found.is_stale(&device, record))
}

/// Seconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| time.as_secs())
}

/// A file of a cache that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not a readable regular file of a cache file's size.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no valid cache file of this version.
    #[error(transparent)]
    Content(#[from] DecodeError),
}

impl Unreadable {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Unreadable::File(FileError::Io(_)) => "see to its permissions",
            Unreadable::Content(DecodeError::Version { found }) if *found > FORMAT_VERSION => {
                "a newer energy-kernel wrote it, and can use it"
            }
            Unreadable::File(_) | Unreadable::Content(_) => "delete it",
        }
    }
}

/// A cache file, checked.
///
/// # Errors
/// It cannot be read, or is no valid cache file.
pub fn read_file(path: &Path) -> Result<CacheFile, Unreadable> {
    Ok(decode(&file::read(path, LIMIT as u64)?)?)
}

/// The path to write results to, and the results of the same operator and device class that it holds.
fn present(folder: &Path, file: &CacheFile) -> io::Result<(PathBuf, Option<CacheFile>)> {
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

/// The entries of a folder, in a fixed order; none if it does not exist.
fn entries(folder: Option<&Path>) -> Vec<PathBuf> {
    let entries = folder.map(std::fs::read_dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Writes a file so that readers see the old one or the new one, whole, whatever happens meanwhile.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], modified: Option<SystemTime>) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // A name that nobody can have put something at: a link would lead elsewhere, a pipe would block.
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

/// Best effort: where a folder's time cannot be set, the next build runs the script once more.
fn set_time(folder: &Path, modified: SystemTime) {
    let _ = File::open(folder).and_then(|folder| folder.set_modified(modified));
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
