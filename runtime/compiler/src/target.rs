//! The instruction set of kernels, and the machine that runs them.

use bincode::{Decode, Encode};
use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

/// An instruction set: an architecture, with or without the features that only its own GPUs have.
///
/// Targets are partially ordered: `a <= b` if every GPU that runs kernels for `b` runs kernels for `a`. A target does not imply any limits:
/// those are the machine's ([`Limits`]).
///
/// ```
/// use energy_kernel_compiler::target::Target;
/// assert!(Target::Sm80 < Target::Sm90 && Target::Sm90 < Target::Sm90a);
/// assert!(Target::Sm90a.runs_on(9, 0) && !Target::Sm90a.runs_on(10, 0) && Target::Sm90.runs_on(12, 0));
/// assert_eq!(Target::Sm90a.partial_cmp(&Target::Sm100), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[non_exhaustive]
pub enum Target {
    /// A100 and later: the baseline.
    Sm80,
    /// GeForce 30 and RTX A series, and later.
    Sm86,
    /// Ada and later.
    Sm89,
    /// Hopper and later.
    Sm90,
    /// Hopper alone: `wgmma`, tensor maps with multicast.
    Sm90a,
    /// Data-centre Blackwell and later.
    Sm100,
    /// Data-centre Blackwell alone: `tcgen05`.
    Sm100a,
    /// GeForce 50 and RTX PRO Blackwell, and later.
    Sm120,
}

impl Target {
    /// Every target.
    pub const ALL: [Target; 8] = [
        Target::Sm80,
        Target::Sm86,
        Target::Sm89,
        Target::Sm90,
        Target::Sm90a,
        Target::Sm100,
        Target::Sm100a,
        Target::Sm120,
    ];

    /// The targets of portable kernels. Sm100 and Sm120 are not among them: they add no instruction that portable kernels use,
    /// and would require a newer driver.
    const PORTABLE: [Target; 4] = [Target::Sm80, Target::Sm86, Target::Sm89, Target::Sm90];

    /// Returns the best target of portable kernels for a GPU of that compute capability. `None` below 8.0.
    pub fn for_capability(major: u32, minor: u32) -> Option<Target> {
        let portable = Target::PORTABLE.into_iter().rev();
        portable.into_iter().find(|target| target.runs_on(major, minor))
    }

    /// `true` if GPUs of that compute capability run kernels for this target.
    pub const fn runs_on(self, major: u32, minor: u32) -> bool {
        match self.is_specific() {
            true => major == self.number() / 10,
            false => self.number() <= major * 10 + minor,
        }
    }

    /// The architecture: 80, 86, …
    pub const fn number(self) -> u32 {
        match self {
            Target::Sm80 => 80,
            Target::Sm86 => 86,
            Target::Sm89 => 89,
            Target::Sm90 | Target::Sm90a => 90,
            Target::Sm100 | Target::Sm100a => 100,
            Target::Sm120 => 120,
        }
    }

    /// `true` if only GPUs of this architecture run its kernels.
    pub const fn is_specific(self) -> bool {
        matches!(self, Target::Sm90a | Target::Sm100a)
    }

    /// The lowest PTX version that knows the target.
    pub const fn ptx_version(self) -> &'static str {
        match self {
            Target::Sm80 => "7.0",
            Target::Sm86 => "7.1",
            Target::Sm89 | Target::Sm90 => "7.8",
            Target::Sm90a => "8.0",
            Target::Sm100 | Target::Sm100a => "8.6",
            Target::Sm120 => "8.7",
        }
    }
}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Target) -> Option<Ordering> {
        let below = |a: Target, b: Target| a == b || (!a.is_specific() && a.number() <= b.number());
        match (below(*self, *other), below(*other, *self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        }
    }
}

impl Display for Target {
    /// As PTX spells it: `sm_90a`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}{}", self.number(), if self.is_specific() { "a" } else { "" })
    }
}

/// The limits of a block and of a multiprocessor. The driver reports them for a GPU; [`Limits::documented`] is for
/// builds without the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Limits {
    /// Threads of a block.
    pub threads_per_block: u32,
    /// Bytes of shared memory of a block, including the opt-in beyond 48 KiB.
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
    /// Returns the limits of a compute capability, by the table of technical specifications in the CUDA programming guide. A capability
    /// that is not in the table has the limits of the next lower one.
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

    /// Returns the number of resident blocks of a multiprocessor, for blocks of so many threads, registers a thread and bytes of shared memory.
    /// 0 if such a block cannot run.
    pub fn resident_blocks(&self, threads: u32, registers: u32, shared: u32) -> u32 {
        let warps = threads.max(1).div_ceil(32);
        // Registers are allocated in units of 8 for each thread of a warp, from the warp's quarter of the register file.
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

    /// The most resident warps of a multiprocessor.
    pub const fn resident_warps(&self) -> u32 {
        self.threads_per_multiprocessor / 32
    }
}

/// The properties of a GPU that kernels depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Machine {
    /// The instruction set of kernels.
    pub target: Target,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// The limits of blocks and multiprocessors.
    pub limits: Limits,
}

impl Machine {
    /// Returns the largest GPU of a target's own compute capability, by NVIDIA's data sheets: A100, RTX A6000, RTX 6000 Ada, H100 SXM, B200,
    /// RTX 5090.
    pub const fn like(target: Target) -> Machine {
        let multiprocessors = match target {
            Target::Sm80 => 108,
            Target::Sm86 => 84,
            Target::Sm89 => 142,
            Target::Sm90 | Target::Sm90a => 132,
            Target::Sm100 | Target::Sm100a => 148,
            Target::Sm120 => 170,
        };
        Machine {
            target,
            multiprocessors,
            limits: Limits::documented(target.number() / 10, target.number() % 10),
        }
    }

    /// Returns a GPU of a compute capability, with the documented limits. `None` below 8.0.
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

    /// Returns the number of blocks for `.minnctapersm`, from an estimate of the registers of a thread. The estimate is
    /// increased first, because ptxas spills rather than fit fewer blocks.
    pub(crate) fn minimum_blocks(&self, threads: u32, registers: u32, shared: u32) -> u32 {
        let most = (registers + REGISTERS_BESIDE_AN_ESTIMATE).min(REGISTERS_PER_THREAD);
        self.resident_blocks(threads, most, shared).max(1)
    }
}

/// Registers added to an estimate. With fewer, a few of some 10,000 assembled kernels spilled.
const REGISTERS_BESIDE_AN_ESTIMATE: u32 = 32;
/// The most registers that a thread can have.
const REGISTERS_PER_THREAD: u32 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    /// The order is the inclusion of the sets of GPUs.
    #[test]
    fn targets_are_ordered_by_the_gpus_that_run_them() {
        let capabilities = [
            (8, 0),
            (8, 6),
            (8, 7),
            (8, 9),
            (9, 0),
            (10, 0),
            (10, 3),
            (11, 0),
            (12, 0),
            (12, 1),
        ];
        for a in Target::ALL {
            for b in Target::ALL {
                let includes = capabilities
                    .iter()
                    .all(|&(major, minor)| !b.runs_on(major, minor) || a.runs_on(major, minor));
                assert_eq!(a <= b, includes, "{a} {b}");
            }
        }
    }

    #[test]
    fn portable_targets_suit_every_capability() {
        assert_eq!(Target::for_capability(7, 5), None);
        for (capability, target) in [
            ((8, 0), Target::Sm80),
            ((8, 7), Target::Sm86),
            ((8, 9), Target::Sm89),
            ((9, 0), Target::Sm90),
            ((10, 0), Target::Sm90),
            ((12, 0), Target::Sm90),
        ] {
            assert_eq!(Target::for_capability(capability.0, capability.1), Some(target));
        }
        assert_eq!(Target::Sm90a.to_string(), "sm_90a");
    }
}
