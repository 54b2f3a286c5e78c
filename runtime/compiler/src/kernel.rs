//! A compiled program: one PTX module, and the launches that run it in order.

use crate::ir::{InputId, SizeId};
use crate::size::{SizeExpr, SizeExprError};
use crate::target::Limits;
use bincode::{Decode, Encode};
use smallvec::SmallVec;

/// A PTX module and its launches, in the order in which a stream runs them.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Kernel {
    /// The PTX module. Deterministic: the same inputs give the same text.
    pub ptx: String,
    /// The launches; at least one.
    pub launches: Vec<Launch>,
    /// Device memory that the launches need besides tensors.
    pub scratch: Vec<Scratch>,
}

/// A launch of an entry of the module.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Launch {
    /// The entry's name in the PTX.
    pub entry: String,
    /// Blocks in x, y, z, as formulas over the operator's sizes. A grid without blocks is not launched.
    pub grid: [SizeExpr; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Blocks of a cluster in x, y, z.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory. Kernels declare no other shared memory.
    pub dynamic_shared: u32,
    /// The parameters, in order.
    pub parameters: Vec<Parameter>,
}

/// A parameter of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Parameter {
    /// The value that it is bound to.
    pub value: ParameterValue,
    /// Bytes in the parameter space: 1, 2, 4 or 8.
    pub bytes: u8,
}

/// The value that a parameter is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ParameterValue {
    /// An input: a tensor's address, or the scalar itself in its stored width (`bool` as one byte).
    Input(InputId),
    /// The address of an output, by position.
    Output(u32),
    /// A size.
    Size(SizeId),
    /// The address of a 32-bit word that the kernel sets to 1 when a gathered index is out of range.
    IndexErrors,
    /// The address of [`Kernel::scratch`] at this position.
    Scratch(u32),
    /// The reciprocal of `size ≫ shift`: a word that makes a division of indices a multiplication.
    Reciprocal {
        /// The size.
        size: SizeId,
        /// Bits by which the divisor lies below it: a size in vectors of `2^shift` elements.
        shift: u8,
    },
}

/// Device memory of a program's own. Launches of one stream run one after the other and share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Scratch {
    /// The position of the launch that writes it. The launch's grid determines the size of split-K memory.
    pub launch: u32,
    /// Its use.
    pub content: ScratchContent,
}

/// The use of scratch memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ScratchContent {
    /// Split-K partial sums. Any content before a launch; the address is a multiple of 16.
    Partials {
        /// Bytes for each block of the launch.
        block_bytes: u32,
    },
    /// Split-K arrival counters of 32 bits: 0 before a launch, and 0 again after it.
    Arrivals {
        /// Blocks that share a counter.
        blocks: u32,
    },
    /// A tensor that one stage writes and later ones read. Any content before the first launch; the address is a multiple of 16.
    Tensor {
        /// Its elements, by a formula over the operator's sizes.
        elements: SizeExpr,
        /// Bytes of an element.
        element_bytes: u32,
    },
}

/// The most bytes of workspace of a call, unless the caller sets another limit.
pub const MOST_WORKSPACE: u64 = 256 << 20;

/// The alignment of each scratch memory in a workspace, in bytes.
pub const SCRATCH_ALIGNMENT: u64 = 256;

/// The most elements of a stored tensor, so that stages index it with 32 bits.
const MOST_ELEMENTS: u64 = (1 << 31) - (1 << 14);

/// A program needs more workspace than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it needs {bytes} bytes of workspace at these sizes; at most {most} are kept")]
pub struct TooMuchScratch {
    /// The bytes it needs.
    pub bytes: u64,
    /// The most that are kept.
    pub most: u64,
}

/// A kernel's blocks exceed a machine's limits.
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

/// Blocks of each launch of a program in x, y, z.
pub type Grids = SmallVec<[[u32; 3]; 4]>;

impl Kernel {
    /// The name of the first entry, for messages.
    pub fn name(&self) -> &str {
        self.launches.first().map_or("", |launch| &launch.entry)
    }

    /// The grids at the given sizes (in the order of [`Op::sizes`](crate::ir::Op::sizes)).
    ///
    /// # Errors
    /// Those of [`Launch::grid`].
    pub fn grids(&self, sizes: &[u64]) -> Result<Grids, SizeExprError> {
        self.launches.iter().map(|launch| launch.grid(sizes)).collect()
    }

    /// The bytes of each scratch memory for these grids and sizes (in the order of [`Op::sizes`](crate::ir::Op::sizes)).
    ///
    /// # Errors
    /// All of them, each at a multiple of [`SCRATCH_ALIGNMENT`], need more than `most` bytes, or a stored tensor needs 64-bit indices.
    pub fn scratch_bytes(
        &self,
        grids: &[[u32; 3]],
        sizes: &[u64],
        most: u64,
    ) -> Result<SmallVec<[u64; 4]>, TooMuchScratch> {
        let blocks = |scratch: &Scratch| {
            let grid = grids.get(scratch.launch as usize).copied().unwrap_or_default();
            grid.into_iter().map(u64::from).product::<u64>()
        };
        let each: SmallVec<[u64; 4]> = (self.scratch.iter())
            .map(|own| own.content.bytes(blocks(own), sizes))
            .collect();
        let aligned = each
            .iter()
            .map(|bytes| bytes.checked_next_multiple_of(SCRATCH_ALIGNMENT).unwrap_or(u64::MAX));
        match aligned.fold(0, u64::saturating_add) {
            bytes if bytes > most || bytes == u64::MAX => Err(TooMuchScratch { bytes, most }),
            _ => Ok(each),
        }
    }

    /// `true` if a call at these sizes needs at most so many bytes of workspace. Without a grid it is not launched.
    pub fn fits_workspace(&self, sizes: &[u64], most: u64) -> bool {
        match self.grids(sizes) {
            Ok(grids) => self.scratch_bytes(&grids, sizes, most).is_ok(),
            Err(_) => true,
        }
    }

    /// Checks that each launch is within a machine's limits.
    ///
    /// # Errors
    /// The blocks of a launch are too large.
    pub fn fits(&self, limits: &Limits) -> Result<(), TooLarge> {
        self.launches.iter().try_for_each(|launch| launch.fits(limits))
    }
}

impl ScratchContent {
    /// The bytes for a launch of so many blocks at these sizes; `u64::MAX` if they are beyond any limit.
    pub fn bytes(&self, blocks: u64, sizes: &[u64]) -> u64 {
        match self {
            ScratchContent::Partials { block_bytes } => blocks.saturating_mul(u64::from(*block_bytes)),
            ScratchContent::Arrivals { blocks: sharing } => {
                blocks.div_ceil(u64::from((*sharing).max(1))).saturating_mul(4)
            }
            ScratchContent::Tensor {
                elements,
                element_bytes,
            } => match elements
                .evaluate(sizes)
                .ok()
                .and_then(|elements| u64::try_from(elements).ok())
            {
                Some(elements) if elements < MOST_ELEMENTS => elements.saturating_mul(u64::from(*element_bytes)),
                _ => u64::MAX,
            },
        }
    }

    /// `true` if it must be 0 before a launch, and is 0 after it.
    pub const fn is_zeroed(&self) -> bool {
        matches!(self, ScratchContent::Arrivals { .. })
    }
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
    /// A formula has no value, or the grid exceeds the limits of a launch (2³¹ − 1, 65535, 65535).
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
