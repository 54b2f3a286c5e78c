//! `window`: neighbouring outputs by one thread, for reductions over small windows.

mod lower;
mod shape;
mod space;

pub use space::Window;

use crate::families::family::{Family, Work};
use crate::families::text::text;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::problem::Problem;

impl Family for Window {
    const NAME: &'static str = "window";
    const WORK: Work = Work::Outputs;

    fn space(problem: &Problem<'_>) -> Vec<Window> {
        space::points(problem).collect()
    }

    fn is_legal(&self, problem: &Problem<'_>) -> bool {
        space::points(problem).any(|point| point == *self)
    }

    fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Window> {
        space::default(problem, sizes)
    }

    fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Window> {
        space::starts(problem, sizes)
    }

    fn lower<'a>(&self, problem: &Problem<'a>, name: &str) -> Result<(Lowering<'a>, Grid), Error> {
        lower::lower(problem, name, self)
    }
}

text!(Window {
    threads: threads,
    rows: rows,
    columns: columns
});
