//! `reduce`: threads along the outputs and along what is reduced, for reductions of axes that are not last, and for rows that blocks share.

mod lower;
mod shape;
mod space;
mod split;
mod team;
mod walk;

pub use space::Reduce;

use crate::families::family::{Family, Work};
use crate::families::text::text;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::problem::Problem;

impl Family for Reduce {
    const NAME: &'static str = "reduce";
    const WORK: Work = Work::Rows;

    fn space(problem: &Problem<'_>) -> Vec<Reduce> {
        space::points(problem).collect()
    }

    fn is_legal(&self, problem: &Problem<'_>) -> bool {
        space::legal(problem, self)
    }

    fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Reduce> {
        space::default(problem, sizes)
    }

    fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Reduce> {
        space::starts(problem, sizes)
    }

    fn lower<'a>(&self, problem: &Problem<'a>, name: &str) -> Result<(Lowering<'a>, Grid), Error> {
        lower::lower(problem, name, self)
    }
}

text!(Reduce {
    threads: threads,
    lanes: lanes,
    vector: vector,
    keep: keep,
    unroll: unroll,
    split_k: split_k
});
