//! The journal of a tuning: a file to which each event is appended as it comes, so that an interrupted tuning resumes. An entry that is
//! cut off at the end is ignored.

use super::append::append;
use energy_kernel_compiler::file::{self, FileError};
use energy_kernel_compiler::record::encoding::{Document, Invalid, Validate, decode_all, encode};
use energy_kernel_compiler::record::{Fingerprint, Point, Reason};
use energy_kernel_compiler::schedule::Program;
use std::fs::File;
use std::io;
use std::path::Path;

/// The largest journal, in bytes. No tuning reaches it.
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
    /// The hash of its kernel.
    pub kernel_hash: [u8; 32],
}

/// An event of a candidate.
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) enum Event {
    /// It is about to run for the first time. If no other event follows, the tuner ended during the run.
    Started,
    /// Its latency was measured, or its energy.
    Measured(Box<Point>),
    /// It was rejected.
    Rejected {
        /// The kind of failure.
        reason: Reason,
        /// The error.
        detail: String,
    },
}

impl Event {
    /// `true` if a resumed tuning uses the event.
    pub(crate) fn lasts(&self) -> bool {
        match self {
            Event::Started => false,
            Event::Measured(_) => true,
            Event::Rejected { reason, .. } => !reason.is_transient(),
        }
    }
}

/// An entry of a journal.
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) struct Entry {
    /// The candidate.
    pub subject: Subject,
    /// The candidate's event.
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

/// The entries of a journal. If its end is damaged, also the length of the intact part in bytes.
pub(crate) fn read(path: &Path) -> (Vec<Entry>, Option<u64>) {
    let bytes = match file::read(path, LONGEST) {
        Ok(bytes) => bytes,
        // Entries appended to it would never be read, so it begins again.
        Err(FileError::TooLong { .. }) => return (Vec::new(), Some(0)),
        Err(_) => Vec::new(),
    };
    let (entries, whole) = decode_all::<Entry>(&bytes);
    (entries, (whole < bytes.len()).then_some(whole as u64))
}

/// A journal, in memory and in a file if there is one.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// `None` for no file. An error if the file cannot be opened.
    file: Option<io::Result<File>>,
    entries: Vec<Entry>,
}

impl Journal {
    /// Opens a journal with its entries. It is empty if there is none, or if it cannot be read.
    pub(crate) fn open(path: Option<&Path>) -> Journal {
        let Some(path) = path else { return Journal::default() };
        let (entries, damaged) = read(path);
        let open = || {
            let file = file::open(path, File::options().create(true).append(true))?;
            // Entries after a damaged one would never be read, so cut that off.
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

    /// The state of a candidate.
    pub(crate) fn find(&self, subject: &Subject) -> History {
        let mut history = History::Nothing;
        for event in self
            .entries
            .iter()
            .filter(|entry| entry.subject == *subject)
            .map(|entry| &entry.event)
        {
            history = match (event, history) {
                (Event::Started, History::Started(times)) => History::Started(times + 1),
                (Event::Started, _) => History::Started(1),
                (Event::Measured(point), History::Measured { first, .. }) => History::Measured {
                    first,
                    last: point.clone(),
                },
                (Event::Measured(point), _) => History::Measured {
                    first: point.latency.mean,
                    last: point.clone(),
                },
                (Event::Rejected { reason, detail }, _) if event.lasts() => History::Rejected(*reason, detail.clone()),
                (Event::Rejected { .. }, _) => History::Nothing,
            };
        }
        history
    }

    /// Notes an event. Returns `true` if the journal has a file.
    ///
    /// # Errors
    /// The event cannot be written. The journal in memory has it nevertheless.
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

/// The state of a candidate in a journal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum History {
    /// No event that lasts.
    Nothing,
    /// The tuner has ended this many times while the candidate ran.
    Started(usize),
    /// It was measured.
    Measured {
        /// Seconds per launch, as first timed.
        first: f64,
        /// The latest figures.
        last: Box<Point>,
    },
    /// It was rejected.
    Rejected(Reason, String),
}

/// The number of lasting events in the journal at this path. 0 if there is no journal.
pub fn journaled(path: &Path) -> usize {
    let (entries, _) = read(path);
    entries.iter().filter(|entry| entry.event.lasts()).count()
}
