//! The sanitizer's findings.

use std::collections::HashMap;
use std::fmt;

/// A kind of mistake that the sanitizer finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// An access outside of all allocations and variables.
    OutOfBounds,
    /// An access to freed memory.
    UseAfterFree,
    /// An address that is not a multiple of the access size.
    Misaligned,
    /// A read of memory that was never written.
    UninitialisedMemory,
    /// A read of a register that was never written.
    UninitialisedRegister,
    /// Two accesses to the same shared memory, at least one of them a write, that nothing orders.
    SharedRace,
    /// A barrier that some threads skipped by exiting, or that the threads of a warp did not reach together.
    BarrierDivergence,
    /// A warp-wide instruction whose mask names a lane that did not take part, or omits one that did.
    InactiveLanes,
    /// Integer division by zero.
    DivisionByZero,
    /// A use of the result or the target of an asynchronous operation that was not waited for, or a copy that was never
    /// waited for.
    MissingWait,
    /// An mbarrier that is initialised twice, gets more arrivals than it expects, or is accessed as ordinary memory.
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

/// A mistake of a program, with its first occurrence and the number of occurrences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The kind of mistake.
    pub kind: FindingKind,
    /// Line of the PTX text, from 1.
    pub line: u32,
    /// The instruction as it is written.
    pub instruction: String,
    /// The index of the block with the first occurrence.
    pub block: [u32; 3],
    /// The thread's index in that block.
    pub thread: [u32; 3],
    /// The address, if memory is involved.
    pub address: Option<u64>,
    /// The size of the access in bytes, 0 if no memory is involved.
    pub size: u32,
    /// The mistake in a sentence, with its values.
    pub message: String,
    /// The number of occurrences in the launch.
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

/// The most findings of a launch.
const MOST_FINDINGS: usize = 256;

/// The findings of one host thread, one for each line and kind. The first block in launch order wins, so that reports
/// do not depend on how blocks were spread over host threads.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: HashMap<(u32, FindingKind), (u64, Finding)>,
}

impl Findings {
    /// Notes an occurrence in the block of that number. Calls `describe` if it is the first of its line and kind.
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

    /// All findings, sorted by line.
    pub fn into_sorted(self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.found.into_values().map(|(_, finding)| finding).collect();
        findings.sort_by_key(|finding| (finding.line, finding.kind as u8));
        findings.truncate(MOST_FINDINGS);
        findings
    }
}
