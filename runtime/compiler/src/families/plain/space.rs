//! The points of `plain`.

use crate::families::analysis::output_elements;
use crate::problem::Problem;
use bincode::{Decode, Encode};

/// One thread an output element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Plain {
    /// Threads of a block.
    pub threads: u32,
}

impl Plain {
    /// Blocks of 128, or of 64 where larger ones would leave multiprocessors without work.
    pub(crate) fn for_sizes(problem: &Problem<'_>, sizes: &[u64]) -> Plain {
        let outputs = output_elements(problem.checked, sizes);
        let few = outputs < 128 * u64::from(problem.machine.multiprocessors);
        Plain {
            threads: if few { 64 } else { 128 },
        }
    }
}

/// Every operator has all of them. Larger blocks could not have the registers that an unrolled reduction takes.
pub(super) fn points() -> impl Iterator<Item = Plain> {
    [64, 128, 256].into_iter().map(|threads| Plain { threads })
}
