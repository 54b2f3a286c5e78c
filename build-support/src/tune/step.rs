//! The steps of a tuner, for progress displays.

use energy_kernel_compiler::record::Rejected;
use energy_kernel_compiler::schedule::Program;

/// A step of a tuner.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// The tuner begins to tune a stage as an operator of its own.
    Stage {
        /// The stage's number, from 0.
        number: usize,
        /// The number of stages.
        of: usize,
    },
    /// The tuner has tuned all stages and begins with the whole operator.
    Whole,
    /// The tuner compiles, checks and times a candidate.
    Candidate {
        /// The candidate's number, from 0.
        number: usize,
        /// The number of candidates.
        of: usize,
        /// The candidate.
        program: &'a Program,
    },
    /// The tuner measures a candidate's energy.
    Energy {
        /// The measurement's number, from 0.
        number: usize,
        /// The most measurements.
        of: usize,
        /// The candidate.
        program: &'a Program,
    },
    /// Candidates run in this process, where a fault of one ends the tuning of all.
    NoWorker {
        /// The reason.
        why: &'a str,
    },
    /// Energy cannot be measured at all.
    NoEnergy {
        /// The reason.
        why: &'a str,
    },
    /// A candidate was rejected.
    Rejected {
        /// The candidate and the reason.
        rejected: &'a Rejected,
    },
    /// A candidate's latency has been measured.
    Timed {
        /// Seconds per launch.
        seconds: f64,
    },
    /// A candidate's energy has been measured.
    Measured {
        /// Seconds per launch.
        seconds: f64,
        /// Joules per launch.
        joules: f64,
    },
    /// A measurement was written to the journal or the trace. An interrupted tuning resumes after it.
    Kept,
    /// An event could not be written to the journal.
    NotKept {
        /// The error.
        why: &'a str,
    },
}
