//! `mma`: tiles of sums of products on tensor cores, by `mma.sync`.

mod lower;
mod shape;
mod space;

pub use space::Mma;

use crate::families::family::{Family, Work};
use crate::families::text::text;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::problem::Problem;

impl Family for Mma {
    const NAME: &'static str = "mma";
    const WORK: Work = Work::Products;

    fn space(problem: &Problem<'_>) -> Vec<Mma> {
        space::points(problem)
    }

    fn is_legal(&self, problem: &Problem<'_>) -> bool {
        space::legal(problem, self)
    }

    fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Mma> {
        space::default(problem, sizes)
    }

    fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Mma> {
        space::starts(problem, sizes)
    }

    fn wave_bytes(&self, problem: &Problem<'_>, sizes: &[u64], at_once: u64) -> Option<f64> {
        let shape = shape::shape(problem);
        let shape = &shape.as_ref().as_ref()?.products;
        Some(self.block().wave_bytes(problem.checked, shape, sizes, at_once))
    }

    fn leaves_out(&self, problem: &Problem<'_>) -> bool {
        let shape = shape::shape(problem);
        shape
            .as_ref()
            .as_ref()
            .is_some_and(|shape| !shape.products.bounds.is_empty())
    }

    fn lower<'a>(&self, problem: &Problem<'a>, name: &str) -> Result<(Lowering<'a>, Grid), Error> {
        lower::lower(problem, name, self)
    }
}

text!(Mma {
   block: block_rows x block_columns x block_depth,
   warp: warp_rows x warp_columns,
   slice_k: slice_k,
   stages: stages,
   group: group,
   blocks: blocks,
   split_k: split_k,
});
