//! `contract`: tiles of sums of products, or of other pointwise work on two sides, by arithmetic in registers.

mod lower;
mod space;

pub use space::Contract;

use crate::families::family::{Family, Work};
use crate::families::text::text;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::lower::tile::products::products;
use crate::problem::Problem;

impl Family for Contract {
    const NAME: &'static str = "contract";
    const WORK: Work = Work::Products;

    fn space(problem: &Problem<'_>) -> Vec<Contract> {
        space::points(problem).collect()
    }

    fn is_legal(&self, problem: &Problem<'_>) -> bool {
        space::legal(problem, self)
    }

    fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Contract> {
        space::default(problem, sizes)
    }

    fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Contract> {
        space::starts(problem, sizes)
    }

    fn wave_bytes(&self, problem: &Problem<'_>, sizes: &[u64], at_once: u64) -> Option<f64> {
        let shape = products(problem);
        let shape = shape.as_ref().as_ref()?;
        Some(self.block().wave_bytes(problem.checked, shape, sizes, at_once))
    }

    fn leaves_out(&self, problem: &Problem<'_>) -> bool {
        let shape = products(problem);
        shape.as_ref().as_ref().is_some_and(|shape| !shape.bounds.is_empty())
    }

    fn lower<'a>(&self, problem: &Problem<'a>, name: &str) -> Result<(Lowering<'a>, Grid), Error> {
        lower::lower(problem, name, self)
    }
}

text!(Contract {
   block: block_rows x block_columns x block_depth,
   thread: thread_rows x thread_columns,
   stages: stages,
   blocks: blocks,
   split_k: split_k,
});
