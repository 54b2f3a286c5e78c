//! Measured sweeps, to tune on without a device and to judge strategies by.
//!
//! ```text
//!   CSV ─────────────┐
//!   Kernel Tuner ────┴─▶ Table ── Mapping ──▶ Sweep: one problem's candidates, with latency and energy
//!                                               ▲
//!   our own ──▶ Trace: what a record needs ─────┘
//! ```
//! All of it comes from anywhere: what is wrong with a file is said, with its line, and nothing panics on it.

mod file;
mod json;
mod kernel_tuner;
mod mapping;
mod recorded;
mod table;
mod writer;

pub use file::{MOST_BYTES, read_text};
pub use mapping::Mapping;
pub use recorded::{Problem, Recorded, Recording, Trace, VERSION};
pub use table::Table;
pub use writer::Recorder;

use std::path::Path;

/// What is wrong with a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// A line of it, or the whole (line 0), is not what its format says.
    #[error("line {line}: {problem}")]
    Malformed {
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// It lacks what was asked for.
    #[error("{0}")]
    Lacking(String),
}

/// One problem's candidates, all measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sweep {
    /// What was computed, on what.
    pub problem: String,
    /// The names of the features.
    pub columns: Vec<String>,
    /// The candidates.
    pub points: Vec<SweepPoint>,
}

/// A measured candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepPoint {
    /// What tells it from others, for people.
    pub label: String,
    /// One for each column of the sweep.
    pub features: Vec<f64>,
    /// Seconds.
    pub latency: f64,
    /// Joules.
    pub energy: f64,
}

/// Reads a trace of any kind, packed or not; a foreign one by this mapping.
///
/// # Errors
/// What is wrong with it.
pub fn read(path: &Path, mapping: &Mapping) -> Result<Vec<Sweep>, TraceError> {
    let text = read_text(path)?;
    if Trace::is_meant(&text) {
        return Ok(Trace::parse(&text)?.recordings.iter().map(Recording::sweep).collect());
    }
    // Some editors begin a text with a mark.
    let text = text.trim_start_matches('\u{feff}');
    let table = if text.trim_start().starts_with('{') {
        kernel_tuner::parse(text)?
    } else {
        Table::parse_csv(text)?
    };
    mapping.sweeps(&table)
}
