//! What kernels are made for: an instruction set, and the machine that runs it.

use bincode::{Decode, Encode};

/// An instruction set: kernels for it run on GPUs of this compute capability and later ones. It does not imply any limits: those are the
/// machine's ([`Limits`]).
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
}

/// The most that a block may have and that a multiprocessor holds at once. The driver states it of a GPU; [`Limits::documented`] is for
/// builds without the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Limits {
    /// Threads of a block.
    pub threads_per_block: u32,
    /// Bytes of shared memory of a block, with the opt-in for more than 48 KiB.
    pub shared_per_block: u32,
    /// Bytes of shared memory that the system reserves for each block.
    pub shared_reserved: u32,
    /// 32-bit registers of a block.
    pub registers_per_block: u32,
    /// Resident threads of a multiprocessor.
    pub threads_per_multiprocessor: u32,
    /// Resident blocks of a multiprocessor.
    pub blocks_per_multiprocessor: u32,
    /// Bytes of shared memory of a multiprocessor.
    pub shared_per_multiprocessor: u32,
    /// 32-bit registers of a multiprocessor.
    pub registers_per_multiprocessor: u32,
}

impl Limits {
    /// The limits of GPUs of a compute capability, by the table of technical specifications in CUDA's programming guide. One that is not in
    /// the table counts as the next lower one that is.
    pub const fn documented(major: u32, minor: u32) -> Limits {
        let (threads, blocks, shared_kib) = match (major, minor) {
            (..=7, _) | (8, ..=5) => (2048, 32, 164),
            (8, 7) => (1536, 16, 164),
            (8, 6 | 8) => (1536, 16, 100),
            (8, _) => (1536, 24, 100),
            (9 | 10, _) => (2048, 32, 228),
            (11, _) => (1536, 24, 228),
            (12.., _) => (1536, 24, 100),
        };
        Limits {
            threads_per_block: 1024,
            shared_per_block: (shared_kib - 1) * 1024,
            shared_reserved: 1024,
            registers_per_block: 65536,
            threads_per_multiprocessor: threads,
            blocks_per_multiprocessor: blocks,
            shared_per_multiprocessor: shared_kib * 1024,
            registers_per_multiprocessor: 65536,
        }
    }

    /// Blocks of that many threads, registers a thread and bytes of shared memory that a multiprocessor holds at once. 0: such a block
    /// cannot run.
    pub fn resident_blocks(&self, threads: u32, registers: u32, shared: u32) -> u32 {
        let warps = threads.max(1).div_ceil(32);
        // Registers are given out 8 at a time to each thread of a warp, from the quarter that the warp belongs to.
        let of_warp = 32 * registers.max(1).next_multiple_of(8);
        if registers > REGISTERS_PER_THREAD
            || threads > self.threads_per_block
            || shared > self.shared_per_block
            || warps.saturating_mul(of_warp) > self.registers_per_block
        {
            return 0;
        }
        let by_registers = 4 * (self.registers_per_multiprocessor / 4 / of_warp) / warps;
        let by_shared = self.shared_per_multiprocessor / shared.saturating_add(self.shared_reserved).max(1);
        self.blocks_per_multiprocessor
            .min(self.threads_per_multiprocessor / threads.max(1))
            .min(by_registers)
            .min(by_shared)
    }

    /// Warps that a multiprocessor holds at once, at most.
    pub const fn resident_warps(&self) -> u32 {
        self.threads_per_multiprocessor / 32
    }
}

/// The properties of a GPU that kernels depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Machine {
    /// The instruction set that kernels are made for.
    pub target: Target,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Its limits.
    pub limits: Limits,
}

impl Machine {
    /// The largest GPU of a target's own compute capability, by NVIDIA's data sheets: A100, RTX A6000, RTX 6000 Ada, H100 SXM.
    pub const fn like(target: Target) -> Machine {
        let multiprocessors = match target {
            Target::Sm80 => 108,
            Target::Sm86 => 84,
            Target::Sm89 => 142,
            Target::Sm90 => 132,
        };
        Machine {
            target,
            multiprocessors,
            limits: Limits::documented(target.number() / 10, target.number() % 10),
        }
    }

    /// A GPU of a compute capability, with the documented limits; none below 8.0.
    pub fn documented((major, minor): (u32, u32), multiprocessors: u32) -> Option<Machine> {
        Some(Machine {
            target: Target::for_capability(major, minor)?,
            multiprocessors,
            limits: Limits::documented(major, minor),
        })
    }

    /// [`Limits::resident_blocks`].
    pub fn resident_blocks(&self, threads: u32, registers: u32, shared: u32) -> u32 {
        self.limits.resident_blocks(threads, registers, shared)
    }

    /// The blocks that the assembler is told to fit on a multiprocessor, by an estimate of a thread's registers: none that
    /// only a good estimate allows. It spills rather than fit fewer, and takes no more registers than it needs.
    pub(crate) fn minimum_blocks(&self, threads: u32, registers: u32, shared: u32) -> u32 {
        let most = (registers + REGISTERS_BESIDE_AN_ESTIMATE).min(REGISTERS_PER_THREAD);
        self.resident_blocks(threads, most, shared).max(1)
    }
}

/// By how many an estimate may be short. Of some 10,000 kernels assembled with less room, a few spilled.
const REGISTERS_BESIDE_AN_ESTIMATE: u32 = 32;
/// The most registers that a thread can have.
const REGISTERS_PER_THREAD: u32 = 255;
