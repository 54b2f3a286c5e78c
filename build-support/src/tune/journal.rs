//! What has been measured so far, so that a tuning that was interrupted resumes: a file to which each outcome is appended
//! as it comes. What was cut off at the end is passed over.

use super::append::append;
use energy_kernel_compiler::file::{self, FileError};
use energy_kernel_compiler::record::encoding::{Document, Invalid, Validate, decode_all, encode};
use energy_kernel_compiler::record::{Fingerprint, Point, Reason};
use energy_kernel_compiler::schedule::Program;
use std::fs::File;
use std::io;
use std::path::Path;

/// The most bytes of a journal. No tuning fills it.
const LONGEST: u64 = 64 << 20;

/// A candidate of a problem on a device.
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) struct Subject {
    /// The operator.
    pub fingerprint: Fingerprint,
    /// The device class's key.
    pub device: String,
    /// The sizes.
    pub sizes: Vec<u64>,
    /// The candidate.
    pub program: Program,
    /// Tells its kernel from others.
    pub kernel_hash: [u8; 32],
}

/// An event of a candidate.
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) enum Event {
    /// It is about to run for the first time. Without another event after it, the tuner ended meanwhile.
    Started,
    /// Its latency was measured, or its energy.
    Measured(Box<Point>),
    /// It does not compete.
    Rejected {
        /// The kind of failure.
        reason: Reason,
        /// The error.
        detail: String,
    },
}

impl Event {
    /// `true` if a resumed tuning takes it over.
    pub(crate) fn lasts(&self) -> bool {
        match self {
            Event::Started => false,
            Event::Measured(_) => true,
            Event::Rejected { reason, .. } => !reason.is_transient(),
        }
    }
}

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) struct Entry {
    /// The candidate.
    pub subject: Subject,
    /// What happened to it.
    pub event: Event,
}

impl Document for Entry {
    const KIND: [u8; 4] = *b"JRNL";
}

impl Validate for Entry {
    fn validate(&self) -> Result<(), Invalid> {
        match &self.event {
            Event::Measured(point) => point.validate(),
            Event::Started | Event::Rejected { .. } => Ok(()),
        }
    }
}

/// The entries of a journal, and how long it is without what is damaged at its end.
pub(crate) fn read(path: &Path) -> (Vec<Entry>, Option<u64>) {
    let bytes = match file::read(path, LONGEST) {
        Ok(bytes) => bytes,
        // Entries appended to it would never be read: begin anew.
        Err(FileError::TooLong { .. }) => return (Vec::new(), Some(0)),
        Err(_) => Vec::new(),
    };
    let (entries, whole) = decode_all::<Entry>(&bytes);
    (entries, (whole < bytes.len()).then_some(whole as u64))
}

/// A journal; without a place to write it to, it only remembers.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// None if no journal is asked for; an error if it cannot be opened.
    file: Option<io::Result<File>>,
    entries: Vec<Entry>,
}

impl Journal {
    /// Opens a journal, with what it holds already. Without one, or with one that cannot be read, it begins empty.
    pub(crate) fn open(path: Option<&Path>) -> Journal {
        let Some(path) = path else { return Journal::default() };
        let (entries, damaged) = read(path);
        let open = || {
            let file = file::open(path, File::options().create(true).append(true))?;
            // Entries after a damaged one would never be read: cut it off.
            if let Some(whole) = damaged {
                file.set_len(whole)?;
            }
            Ok(file)
        };
        Journal {
            file: Some(open()),
            entries,
        }
    }

    /// What is known of a candidate.
    pub(crate) fn find(&self, subject: &Subject) -> Known {
        let mut known = Known::Nothing;
        for event in self
            .entries
            .iter()
            .filter(|entry| entry.subject == *subject)
            .map(|entry| &entry.event)
        {
            known = match (event, known) {
                (Event::Started, Known::Started(times)) => Known::Started(times + 1),
                (Event::Started, _) => Known::Started(1),
                (Event::Measured(point), Known::Measured { first, .. }) => Known::Measured {
                    first,
                    last: point.clone(),
                },
                (Event::Measured(point), _) => Known::Measured {
                    first: point.latency.mean,
                    last: point.clone(),
                },
                (Event::Rejected { reason, detail }, _) if event.lasts() => Known::Rejected(*reason, detail.clone()),
                (Event::Rejected { .. }, _) => Known::Nothing,
            };
        }
        known
    }

    /// Notes an event. Returns `true` if the journal has a file.
    ///
    /// # Errors
    /// It cannot be written; it is remembered nevertheless.
    pub(crate) fn note(&mut self, entry: Entry) -> io::Result<bool> {
        let bytes = encode(&entry).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        self.entries.push(entry);
        match &mut self.file {
            Some(Ok(file)) => append(file, &bytes?).map(|()| true),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Ok(false),
        }
    }
}

/// What a journal knows of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// Nothing that holds.
    Nothing,
    /// The tuner has ended so many times while the candidate ran.
    Started(usize),
    /// It was measured.
    Measured {
        /// Seconds a launch, as it was first timed.
        first: f64,
        /// The last figures.
        last: Box<Point>,
    },
    /// It does not compete.
    Rejected(Reason, String),
}
