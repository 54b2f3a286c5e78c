//! The places where results are kept.
//!
//! ```text
//!   <package>/energy-cache/            committed and published with the crate; written by `tune --ship` only
//!   <user cache>/<package>/            written by builds and by the command-line tool
//!   <user cache>/.state/<package>/     locks, journals, what is being edited: nothing a build watches
//! ```
//! Of the valid records for a bucket and device class the newest wins, wherever it lies, unless only an older one has
//! energies. A file that is not valid is reported and passed over.

use crate::scan::Found;
use energy_kernel_compiler::record::encoding::{DecodeError, FORMAT_VERSION, LIMIT, decode, encode};
use energy_kernel_compiler::record::{CacheFile, DeviceClass, Fingerprint, Record};
use energy_kernel_compiler::schedule::SPACE_VERSION;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The folder of shipped results in a package.
pub const SHIPPED: &str = "energy-cache";

/// The places of one package.
#[derive(Debug, Clone)]
pub struct Cache {
    shipped: PathBuf,
    user: Option<PathBuf>,
    state: Option<PathBuf>,
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
        // A package's name is a file name already; anything else would lead out of the cache.
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "-_".contains(c) {
                c
            } else {
                '_'
            }
        };
        let package: String = package.chars().map(plain).collect();
        Cache {
            shipped: manifest_dir.join(SHIPPED),
            user: user_cache.map(|root| root.join(&package)),
            state: user_cache.map(|root| root.join(".state").join(&package)),
        }
    }

    /// The folder of a place, whether it exists or not.
    pub fn folder(&self, place: Place) -> Option<&Path> {
        match place {
            Place::Shipped => Some(&self.shipped),
            Place::User => self.user.as_deref(),
        }
    }

    /// The folder for locks and journals.
    pub fn state(&self) -> Option<&Path> {
        self.state.as_deref()
    }

    /// Creates the user's folders, for their owner alone. A new folder's time becomes `modified`, where given.
    ///
    /// # Errors
    /// They cannot be created: a read-only home, no home.
    pub fn create(&self, modified: Option<SystemTime>) -> io::Result<()> {
        let (Some(user), Some(state)) = (&self.user, &self.state) else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is no cache folder; set ENERGY_KERNEL_CACHE_DIR",
            ));
        };
        let new = !user.exists();
        create_private(user)?;
        if new && let Some(modified) = modified {
            set_time(user, modified);
        }
        create_private(state)
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
        let entries = self.folder(place).map(std::fs::read_dir);
        let mut files: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == CacheFile::EXTENSION))
            .collect();
        files.sort();
        files
    }

    /// What lies beside the user's results and can go without loss of any: journals of tunings that were interrupted, what is noted about
    /// edits, and what interrupted writes left behind. Locks stay: another may be waiting for one.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let entries = |folder: &Option<PathBuf>| folder.as_ref().map(std::fs::read_dir);
        let mut files: Vec<PathBuf> = [&self.state, &self.user]
            .into_iter()
            .filter_map(entries)
            .flatten()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let has = |extension: &str| path.extension().is_some_and(|e| e == extension);
                path.is_file() && !has("lock") && !has(CacheFile::EXTENSION)
            })
            .collect();
        files.sort();
        files
    }

    /// Adds results to a place: under a lock, merged with what others wrote meanwhile, and in one step.
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
        let folder = self
            .folder(place)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no cache folder"))?;
        match place {
            Place::User => self.create(modified)?,
            Place::Shipped => std::fs::create_dir_all(folder)?,
        }
        let lock = self.lock("writing");
        if place == Place::User {
            lock.as_ref()
                .map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        }
        let path = folder.join(CacheFile::file_name(&file.fingerprint, &file.device));
        let mut merged = file.clone();
        match read_file(&path) {
            Ok(present) => {
                if present.fingerprint == file.fingerprint && present.device.key() == file.device.key() {
                    // What the places hold wins over equals: it may have been measured by another build meanwhile.
                    merged.merge(present, staleness(operators, file));
                }
            }
            // What cannot be read may be sound: it is not for us to replace it.
            Err(Unreadable::Io(error)) if error.kind() != io::ErrorKind::NotFound => {
                let why = format!("{} cannot be read: {error}", path.display());
                return Err(io::Error::new(error.kind(), why));
            }
            Err(_) => {}
        }
        let bytes = encode(&merged).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        write_atomically(&path, &bytes, modified)?;
        if let Some(modified) = modified {
            set_time(folder, modified);
        }
        Ok(path)
    }

    /// Waits for a lock of this package, which is held as long as the file lives.
    ///
    /// # Errors
    /// There is no place for locks.
    pub fn lock(&self, name: &str) -> io::Result<File> {
        let file = self.lock_file(name)?;
        file.lock()?;
        Ok(file)
    }

    /// Takes a lock of this package if nobody has it.
    ///
    /// # Errors
    /// There is no place for locks.
    pub fn try_lock(&self, name: &str) -> io::Result<Option<File>> {
        let file = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_file(&self, name: &str) -> io::Result<File> {
        self.create(None)?;
        let state = self.state.as_deref().ok_or(io::ErrorKind::NotFound)?;
        File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(state.join(format!("{name}.lock")))
    }
}

impl Contents {
    /// Adds a file; of two records for a bucket [the preferred](energy_kernel_compiler::record::Record::is_preferred_to)
    /// stays. Results of another space of schedules are of no use.
    pub fn add(&mut self, file: CacheFile, operators: &[Found]) {
        if file.space_version != SPACE_VERSION {
            return;
        }
        let devices = &mut self.operators.entry(file.fingerprint).or_default().devices;
        match devices.entry(file.device.key()) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(file);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let stale = staleness(operators, &file);
                entry.get_mut().merge(file, stale);
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

/// A file of a cache that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A pipe or a device, which may never end, or a folder.
    #[error("it is no file")]
    NoFile,
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no valid cache file of this version.
    #[error(transparent)]
    Content(#[from] DecodeError),
}

impl Unreadable {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Unreadable::Io(_) => "see to its permissions",
            Unreadable::Content(DecodeError::Version { found }) if *found > FORMAT_VERSION => {
                "a newer energy-kernel wrote it, and can use it"
            }
            Unreadable::NoFile | Unreadable::Content(_) => "delete it",
        }
    }
}

/// A cache file, checked.
///
/// # Errors
/// It cannot be read, or is no valid cache file.
pub fn read_file(path: &Path) -> Result<CacheFile, Unreadable> {
    if !path.is_file() {
        return Err(Unreadable::NoFile);
    }
    let mut bytes = Vec::new();
    // No more than the limit and one byte, however long the file has become.
    File::open(path)?.take(LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(decode(&bytes)?)
}

/// Writes a file so that readers see the old one or the new one, whole, whatever happens meanwhile.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], modified: Option<SystemTime>) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        if let Some(modified) = modified {
            file.set_modified(modified)?;
        }
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    });
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
