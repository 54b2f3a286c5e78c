//! A compiled kernel: PTX text and how to launch it.

use crate::ir::{InputId, SizeId};
use crate::size::{SizeExpr, SizeExprError};
use crate::target::Limits;
use bincode::{Decode, Encode};

/// A kernel as it is loaded and launched.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Kernel {
    /// The entry's name in the PTX.
    pub entry: String,
    /// The PTX module. Deterministic: the same inputs give the same text.
    pub ptx: String,
    /// How it is launched.
    pub launch: Launch,
    /// What it is passed, in order.
    pub parameters: Vec<Parameter>,
}

/// The launch of a kernel.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Launch {
    /// Blocks in x, y, z, as formulas over the operator's sizes. A launch with no block is left out.
    pub grid: [SizeExpr; 3],
    /// Threads a block in x, y, z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory. Kernels declare no other shared memory.
    pub dynamic_shared: u32,
}

/// A parameter of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Parameter {
    /// An input: a tensor's address (64 bits), or the scalar itself in its stored width (`bool` as one byte).
    Input(InputId),
    /// The address of an output, by position.
    Output(u32),
    /// A size: 32 bits, or 64 in a wide kernel.
    Size(SizeId),
    /// The address of a 32-bit word that is set to 1 when a gathered index is out of range.
    IndexErrors,
    /// The address of memory in which blocks leave sums for each other: a multiple of 16, with whatever it holds.
    Partials {
        /// Bytes for each block of the launch.
        block_bytes: u32,
    },
    /// The address of 32-bit counters of the blocks that have come to an end: 0 before a launch, and 0 again after it.
    Arrivals {
        /// Blocks that share a counter.
        blocks: u32,
    },
}

impl Parameter {
    /// Bytes of memory of its own that a launch of so many blocks needs for it; none if it stands for something else.
    pub fn scratch_bytes(self, blocks: u64) -> Option<u64> {
        match self {
            Parameter::Partials { block_bytes } => Some(blocks.saturating_mul(block_bytes.into())),
            Parameter::Arrivals { blocks: sharing } => {
                Some(blocks.div_ceil(u64::from(sharing.max(1))).saturating_mul(4))
            }
            Parameter::Input(_) | Parameter::Output(_) | Parameter::Size(_) | Parameter::IndexErrors => None,
        }
    }
}

/// The most bytes that a launch may need for what blocks leave for each other.
const MOST_SCRATCH: u64 = 256 << 20;

/// A launch needs more memory of its own than is kept for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "at these sizes its blocks leave {bytes} bytes of sums for each other, and no more than {MOST_SCRATCH} are kept for that"
)]
pub struct TooMuchScratch {
    /// What it needs.
    pub bytes: u64,
}

/// Bytes of memory of its own that a launch of a kernel with these parameters needs.
///
/// # Errors
/// They are more than 256 MiB.
pub fn scratch_bytes(parameters: &[Parameter], grid: [u32; 3]) -> Result<u64, TooMuchScratch> {
    let blocks = grid.iter().map(|&blocks| u64::from(blocks)).product();
    let each = parameters
        .iter()
        .filter_map(|parameter| parameter.scratch_bytes(blocks));
    match each.fold(0, u64::saturating_add) {
        bytes if bytes > MOST_SCRATCH => Err(TooMuchScratch { bytes }),
        bytes => Ok(bytes),
    }
}

/// A kernel's blocks are larger than a machine can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "its blocks have {threads} threads and {shared} bytes of shared memory, but this machine's may have {} and {}",
    .limits.threads_per_block,
    .limits.shared_per_block
)]
pub struct TooLarge {
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// The machine's limits.
    pub limits: Limits,
}

impl Launch {
    /// Threads of a block.
    pub fn threads(&self) -> u32 {
        self.block.iter().copied().fold(1, u32::saturating_mul)
    }

    /// Checks that the threads and the shared memory of a block are within a machine's limits.
    ///
    /// # Errors
    /// Its blocks are too large.
    pub fn fits(&self, limits: &Limits) -> Result<(), TooLarge> {
        let (threads, shared) = (self.threads(), self.dynamic_shared);
        match threads <= limits.threads_per_block && shared <= limits.shared_per_block {
            true => Ok(()),
            false => Err(TooLarge {
                threads,
                shared,
                limits: *limits,
            }),
        }
    }

    /// The grid at the given sizes (in the order of [`Op::sizes`](crate::ir::Op::sizes)).
    ///
    /// # Errors
    /// A formula without a value, or a grid beyond what a launch can have (2³¹ − 1, 65535, 65535).
    pub fn grid(&self, sizes: &[u64]) -> Result<[u32; 3], SizeExprError> {
        let mut grid = [0; 3];
        for ((blocks, formula), limit) in grid.iter_mut().zip(&self.grid).zip([i32::MAX as u32, 65535, 65535]) {
            *blocks = u32::try_from(formula.evaluate(sizes)?)
                .ok()
                .filter(|&blocks| blocks <= limit)
                .ok_or(SizeExprError::Overflow)?;
        }
        Ok(grid)
    }
}
