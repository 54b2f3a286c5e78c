//! The family `plain`.

use crate::check::Checked;
use crate::target::Machine;
use bincode::{Decode, Encode};

/// One thread an output element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Plain {
    /// Threads a block.
    pub threads: u32,
}

/// Every operator has all of them. More threads could not have the registers that an unrolled reduction takes.
pub(super) fn points() -> impl Iterator<Item = Plain> {
    [64, 128, 256].into_iter().map(|threads| Plain { threads })
}

/// Blocks of 128, or of 64 where the outputs would not reach all multiprocessors.
pub(super) fn default(checked: &Checked, sizes: &[u64], machine: Machine) -> Plain {
    let outputs: u64 = super::output_elements(checked, sizes);
    let threads = if outputs < 128 * u64::from(machine.multiprocessors) {
        64
    } else {
        128
    };
    Plain { threads }
}
