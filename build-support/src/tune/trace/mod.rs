//! Measured sweeps, to tune on without a device and to judge strategies by.
//!
//! ```text
//!   CSV ─────────────┐
//!   Kernel Tuner ────┴─▶ Table ── Mapping ──▶ Sweep: one problem's candidates, with latency and energy
//!                                               ▲
//!   our own ──▶ Trace: what a record needs ─────┘
//! ```
//! Files are untrusted: an error names the problem and its line, and nothing panics.

mod error;
mod file;
mod json;
mod kernel_tuner;
mod mapping;
mod read;
mod recorded;
mod sweep;
mod table;
mod writer;

pub use error::TraceError;
pub use file::{MOST_BYTES, read_text};
pub use mapping::Mapping;
pub use read::read;
pub use recorded::{Recorded, RecordedProblem, Recording, Trace, VERSION};
pub use sweep::{Sweep, SweepPoint};
pub use table::Table;
pub use writer::Recorder;
