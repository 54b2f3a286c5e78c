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

    /// Streaming multiprocessors of the largest GPU of the target, by NVIDIA's data sheets: A100, RTX A6000, RTX 6000 Ada, H100 SXM.
    pub const fn multiprocessors(self) -> u32 {
        match self {
            Target::Sm80 => 108,
            Target::Sm86 => 84,
            Target::Sm89 => 142,
            Target::Sm90 => 132,
        }
    }

    /// Warps that a multiprocessor holds at once, at most.
    pub const fn resident_warps(self) -> u32 {
        match self {
            Target::Sm80 | Target::Sm90 => 64,
            Target::Sm86 | Target::Sm89 => 48,
        }
    }

    /// How many blocks of that many threads, registers a thread and bytes of shared memory a multiprocessor holds at
    /// once, by the table of technical specifications in CUDA's programming guide. 0: such a block cannot run.
    pub fn resident_blocks(self, threads: u32, registers: u32, shared: u32) -> u32 {
        let most_threads = 32 * self.resident_warps();
        let most_blocks = match self {
            Target::Sm80 | Target::Sm90 => 32,
            Target::Sm86 => 16,
            Target::Sm89 => 24,
        };
        if registers > REGISTERS_PER_THREAD || shared > self.shared_per_block() {
            return 0;
        }
        // Registers are given out 8 at a time to each thread of a warp, from the quarter that the warp belongs to; a block
        // takes 1 KiB of shared memory for itself.
        let warps = 4 * (REGISTERS / 4 / (32 * registers.max(1).next_multiple_of(8)));
        let by_registers = warps / threads.max(1).div_ceil(32);
        let by_shared = (self.shared_per_block() + 1024) / (shared + 1024);
        most_blocks
            .min(most_threads / threads.max(1))
            .min(by_registers)
            .min(by_shared)
    }
}

impl Target {
    /// The blocks that the assembler is told to fit on a multiprocessor, by an estimate of a thread's registers: none that
    /// only a good estimate allows. It spills rather than fit fewer, and takes no more registers than it needs.
    pub(crate) fn minimum_blocks(self, threads: u32, registers: u32, shared: u32) -> u32 {
        let most = (registers + REGISTERS_BESIDE_AN_ESTIMATE).min(REGISTERS_PER_THREAD);
        self.resident_blocks(threads, most, shared).max(1)
    }
}

/// By how many an estimate may be short. Of some 10,000 kernels assembled with less room, a few spilled.
const REGISTERS_BESIDE_AN_ESTIMATE: u32 = 32;
/// The most registers that a thread can have.
const REGISTERS_PER_THREAD: u32 = 255;
/// 32-bit registers of a multiprocessor.
const REGISTERS: u32 = 65536;

/// The machine that a default schedule is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Machine {
    /// Its instruction set.
    pub target: Target,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
}
