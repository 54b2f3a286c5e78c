//! `plain`: one thread an output element, reductions in sequence. It accepts every operator.

mod lower;
mod space;

pub use space::Plain;

use crate::families::family::{Family, Work};
use crate::families::text::text;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::problem::Problem;

impl Family for Plain {
    const NAME: &'static str = "plain";
    const WORK: Work = Work::Outputs;

    fn space(_: &Problem<'_>) -> Vec<Plain> {
        space::points().collect()
    }

    fn is_legal(&self, _: &Problem<'_>) -> bool {
        space::points().any(|point| point == *self)
    }

    fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Plain> {
        Some(Plain::for_sizes(problem, sizes))
    }

    fn lower<'a>(&self, problem: &Problem<'a>, name: &str) -> Result<(Lowering<'a>, Grid), Error> {
        lower::lower(problem, name, self)
    }
}

text!(Plain { threads: threads });
