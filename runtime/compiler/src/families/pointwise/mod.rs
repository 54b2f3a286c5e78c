//! `pointwise`: neighbouring outputs by one thread, for operators without reductions; transposes go through shared memory.

mod lower;
mod runs;
mod shape;
mod space;
mod tiles;

pub use space::Pointwise;

use crate::families::family::{Family, Work};
use crate::families::text::text;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::problem::Problem;

impl Family for Pointwise {
    const NAME: &'static str = "pointwise";
    const WORK: Work = Work::Outputs;

    fn space(problem: &Problem<'_>) -> Vec<Pointwise> {
        space::points(problem).collect()
    }

    fn is_legal(&self, problem: &Problem<'_>) -> bool {
        space::legal(problem, self)
    }

    fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Pointwise> {
        space::default(problem, sizes)
    }

    fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Pointwise> {
        space::starts(problem, sizes)
    }

    fn lower<'a>(&self, problem: &Problem<'a>, name: &str) -> Result<(Lowering<'a>, Grid), Error> {
        lower::lower(problem, name, self)
    }
}

text!(Pointwise {
    threads: threads,
    vector: vector,
    unroll: unroll,
    cache: cache,
    tile: tile,
    blocks: blocks
});
