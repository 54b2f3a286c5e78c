//! What kernels are made for: an instruction set, and the machine behind it.

use bincode::{Decode, Encode};

/// An instruction set: kernels for it run on GPUs of this compute capability and later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Target {
    /// A100 and later: the baseline.
    Sm80,
    /// GeForce 30 and RTX A series.
    Sm86,
    /// Ada.
    Sm89,
    /// Hopper.
    Sm90,
}

impl Target {
    /// Every target, lowest first.
    pub const ALL: [Target; 4] = [Target::Sm80, Target::Sm86, Target::Sm89, Target::Sm90];

    /// The best target for a GPU of that compute capability; none below 8.0.
    pub fn for_capability(major: u32, minor: u32) -> Option<Target> {
        Target::ALL
            .into_iter()
            .rev()
            .find(|target| target.number() <= major * 10 + minor)
    }

    /// 80, 86, …
    pub const fn number(self) -> u32 {
        match self {
            Target::Sm80 => 80,
            Target::Sm86 => 86,
            Target::Sm89 => 89,
            Target::Sm90 => 90,
        }
    }

    /// Bytes of shared memory that one block can have, with the opt-in for more than 48 KiB.
    pub const fn shared_per_block(self) -> u32 {
        match self {
            Target::Sm80 => 163 * 1024,
            Target::Sm86 | Target::Sm89 => 99 * 1024,
            Target::Sm90 => 227 * 1024,
        }
    }
}

/// The machine that a default schedule is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Machine {
    /// Its instruction set.
    pub target: Target,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
}
