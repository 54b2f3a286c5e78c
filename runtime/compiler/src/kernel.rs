//! A compiled kernel: PTX text and how to launch it.

use crate::ir::{InputId, SizeId};
use crate::size::{SizeExpr, SizeExprError};
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
}

impl Launch {
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
