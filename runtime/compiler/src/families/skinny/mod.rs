//! `skinny`: sums of few rows that share weights.

mod lower;
mod shape;
mod space;

pub use space::Skinny;

use crate::families::family::{Family, Work};
use crate::families::text::text;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::problem::Problem;

impl Family for Skinny {
    const NAME: &'static str = "skinny";
    const WORK: Work = Work::Products;

    fn space(problem: &Problem<'_>) -> Vec<Skinny> {
        space::points(problem).collect()
    }

    fn is_legal(&self, problem: &Problem<'_>) -> bool {
        space::legal(problem, self)
    }

    fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Skinny> {
        space::default(problem, sizes)
    }

    fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Skinny> {
        space::starts(problem, sizes)
    }

    fn lower<'a>(&self, problem: &Problem<'a>, name: &str) -> Result<(Lowering<'a>, Grid), Error> {
        lower::lower(problem, name, self)
    }
}

text!(Skinny {
    rows: rows,
    columns: columns,
    vector: vector,
    lanes: lanes,
    warps: warps,
    unroll: unroll,
    cache: cache
});
