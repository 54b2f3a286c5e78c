//! Findings: what a program did that no program should.

use std::collections::HashMap;
use std::fmt;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// An access outside every allocation or variable.
    OutOfBounds,
    /// An access to memory that was freed.
    UseAfterFree,
    /// An address that is not a multiple of the access size.
    Misaligned,
    /// A read of memory that nothing has written.
    UninitialisedMemory,
    /// A read of a register that nothing has written.
    UninitialisedRegister,
    /// Two threads touched the same shared memory, one of them writing, and nothing orders them.
    SharedRace,
    /// A barrier that some threads skipped by exiting, or that threads of a warp reached apart.
    BarrierDivergence,
    /// A warp-wide instruction whose mask names lanes that did not take part, or leaves out one that did.
    InactiveLanes,
    /// Integer division by zero.
    DivisionByZero,
    /// The result of something asynchronous used, or its target reused, before it was waited for; or a copy that was
    /// never waited for.
    MissingWait,
    /// An mbarrier that is initialised twice, that more threads arrive at than it expects, or that is touched as
    /// ordinary memory.
    BarrierMisuse,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FindingKind::OutOfBounds => "out-of-bounds access",
            FindingKind::UseAfterFree => "use after free",
            FindingKind::Misaligned => "misaligned access",
            FindingKind::UninitialisedMemory => "read of uninitialised memory",
            FindingKind::UninitialisedRegister => "read of an uninitialised register",
            FindingKind::SharedRace => "shared-memory race",
            FindingKind::BarrierDivergence => "barrier divergence",
            FindingKind::InactiveLanes => "warp instruction with inactive lanes",
            FindingKind::DivisionByZero => "integer division by zero",
            FindingKind::MissingWait => "missing wait",
            FindingKind::BarrierMisuse => "misuse of an mbarrier",
        })
    }
}

/// Something wrong that a launch did, where it happened first and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// Line of the PTX text, from 1.
    pub line: u32,
    /// The instruction as written.
    pub instruction: String,
    /// Index of the block of the first occurrence.
    pub block: [u32; 3],
    /// Index of the thread in that block.
    pub thread: [u32; 3],
    /// The address, where one is involved.
    pub address: Option<u64>,
    /// Bytes accessed, where memory is involved.
    pub size: u32,
    /// One sentence with the particulars.
    pub message: String,
    /// How often it was noted in the launch.
    pub occurrences: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PTX line {}: {}: {} (`{}`, block {:?}, thread {:?}, {} occurrences)",
            self.line, self.kind, self.message, self.instruction, self.block, self.thread, self.occurrences
        )
    }
}

/// At most this many distinct (line, kind) pairs are kept.
const MOST_FINDINGS: usize = 256;

/// The findings of one host thread, keyed by what is deduplicated; the first block in launch order wins, so
/// that reports do not depend on scheduling.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: HashMap<(u32, FindingKind), (u64, Finding)>,
}

impl Findings {
    /// Notes an occurrence in the block of that index; `describe` is called when it is the first of its kind.
    pub fn note(&mut self, line: u32, kind: FindingKind, block: u64, describe: impl FnOnce() -> Finding) {
        if let Some((_, finding)) = self.found.get_mut(&(line, kind)) {
            finding.occurrences += 1;
        } else if self.found.len() < MOST_FINDINGS * 4 {
            self.found.insert((line, kind), (block, describe()));
        }
    }

    pub fn merge(&mut self, other: Findings) {
        for (key, (block, finding)) in other.found {
            match self.found.get_mut(&key) {
                None => {
                    self.found.insert(key, (block, finding));
                }
                Some((known_block, known)) => {
                    let occurrences = known.occurrences + finding.occurrences;
                    if block < *known_block {
                        (*known_block, *known) = (block, finding);
                    }
                    known.occurrences = occurrences;
                }
            }
        }
    }

    /// All, by line.
    pub fn into_sorted(self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.found.into_values().map(|(_, finding)| finding).collect();
        findings.sort_by_key(|finding| (finding.line, finding.kind as u8));
        findings.truncate(MOST_FINDINGS);
        findings
    }
}
