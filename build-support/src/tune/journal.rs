//! What has been measured so far, so that a tuning that was interrupted resumes: a file to which each outcome is appended
//! as it comes. What was cut off at the end is passed over.

use super::append::append;
use energy_kernel_compiler::record::encoding::{Document, Invalid, Validate, decode_all, encode};
use energy_kernel_compiler::record::{Fingerprint, Point};
use energy_kernel_compiler::schedule::Schedule;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// No more of a journal is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) struct Entry {
    /// The operator.
    pub fingerprint: Fingerprint,
    /// The device class's key.
    pub device: String,
    /// The sizes.
    pub sizes: Vec<u64>,
    /// The candidate.
    pub schedule: Schedule,
    /// What tells its kernel from others.
    pub kernel_hash: [u8; 32],
    /// What was measured; none if it does not compete.
    pub point: Option<Point>,
    /// Whether it gave wrong results.
    pub wrong: bool,
}

impl Entry {
    /// Whether both are about the same candidate of the same problem.
    fn is_about(&self, like: &Entry) -> bool {
        (self.fingerprint, &self.device, &self.sizes) == (like.fingerprint, &like.device, &like.sizes)
            && (self.schedule, self.kernel_hash) == (like.schedule, like.kernel_hash)
    }
}

impl Document for Entry {
    const KIND: [u8; 4] = *b"JRNL";
}

impl Validate for Entry {
    fn validate(&self) -> Result<(), Invalid> {
        self.point.as_ref().map_or(Ok(()), Validate::validate)
    }
}

/// The entries of a journal, and how long it is without what is damaged at its end.
pub(crate) fn read(path: &Path) -> (Vec<Entry>, Option<u64>) {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    let (entries, whole) = decode_all::<Entry>(&bytes);
    let damaged = read.is_ok() && whole < bytes.len();
    (entries, damaged.then_some(whole as u64))
}

/// A journal; without a place to write it to, it only remembers.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    file: Option<File>,
    entries: Vec<Entry>,
}

impl Journal {
    /// Opens a journal, with what it holds already. Without one, or with one that cannot be read, it begins empty.
    pub(crate) fn open(path: Option<&Path>) -> Journal {
        let Some(path) = path else { return Journal::default() };
        let (entries, damaged) = read(path);
        let options = File::options().create(true).append(true).open(path);
        // What follows a damaged entry would never be read again: cut it off.
        let file = options.and_then(|file| {
            if let Some(whole) = damaged {
                file.set_len(whole)?;
            }
            Ok(file)
        });
        Journal {
            file: file.ok(),
            entries,
        }
    }

    /// The last that was noted about a candidate.
    pub(crate) fn find(&self, like: &Entry) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.is_about(like))
    }

    /// Seconds of a candidate as it was first timed.
    pub(crate) fn timed(&self, like: &Entry) -> Option<f64> {
        let about = self.entries.iter().filter(|entry| entry.is_about(like));
        let mut points = about.filter_map(|entry| entry.point.as_ref());
        points.next().map(|point| point.latency.mean)
    }

    /// Notes an outcome.
    ///
    /// # Errors
    /// It cannot be written; it is remembered nevertheless.
    pub(crate) fn note(&mut self, entry: Entry) -> io::Result<()> {
        let bytes = encode(&entry).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        self.entries.push(entry);
        match &mut self.file {
            Some(file) => append(file, &bytes?),
            None => Ok(()),
        }
    }
}
