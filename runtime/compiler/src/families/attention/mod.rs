//! `attention`: rows of queries walk over keys, and sum values by weights of scores, with an online softmax or without, on tensor cores.

mod keys;
mod loads;
mod lower;
mod mask;
mod mass;
mod merge;
mod packing;
mod rows;
mod scores;
mod shape;
mod slab;
mod slices;
mod softmax;
mod space;
mod span;
mod state;
mod tile;
mod weighting;

pub use space::Attention;
pub(crate) use space::head_sizes;

use crate::families::family::{Family, Work};
use crate::families::text::text;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::problem::Problem;

impl Family for Attention {
    const NAME: &'static str = "attention";
    const WORK: Work = Work::Attention;

    fn space(problem: &Problem<'_>) -> Vec<Attention> {
        space::points(problem)
    }

    fn is_legal(&self, problem: &Problem<'_>) -> bool {
        space::legal(problem, self)
    }

    fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Attention> {
        space::default(problem, sizes)
    }

    fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Attention> {
        space::starts(problem, sizes)
    }

    fn leaves_out(&self, _: &Problem<'_>) -> bool {
        true
    }

    fn lower<'a>(&self, problem: &Problem<'a>, name: &str) -> Result<(Lowering<'a>, Grid), Error> {
        lower::lower(problem, name, self)
    }
}

text!(Attention {
    rows: rows,
    keys: keys,
    warps: warps,
    split_k: split_k
});
