//! `row`: a group of threads a row, for reductions that many outputs share.

mod encoding;
mod group;
mod kept;
mod lower;
mod one_pass;
mod shape;
mod space;

pub use space::{Keep, Pass, Row};

use crate::families::family::{Family, Work};
use crate::families::text::{text, words};
use crate::ir::SizeId;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::problem::Problem;

impl Family for Row {
    const NAME: &'static str = "row";
    const WORK: Work = Work::Rows;

    fn space(problem: &Problem<'_>) -> Vec<Row> {
        space::points(problem).collect()
    }

    fn is_legal(&self, problem: &Problem<'_>) -> bool {
        space::legal(problem, self)
    }

    fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Row> {
        space::default(problem, sizes)
    }

    fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Row> {
        space::starts(problem, sizes)
    }

    fn bounded(&self, problem: &Problem<'_>) -> Vec<SizeId> {
        space::bounded(problem, self)
    }

    fn lower<'a>(&self, problem: &Problem<'a>, name: &str) -> Result<(Lowering<'a>, Grid), Error> {
        lower::lower(problem, name, self)
    }
}

text!(Row {
    threads: threads,
    rows: rows,
    vector: vector,
    keep: keep,
    unroll: unroll,
    pass: pass,
    blocks: blocks or 0
});

words!(Keep: "`registers`, `shared` or `reload`" { Registers = "registers", Shared = "shared", Reload = "reload" });
words!(Pass: "`one` or `several`" { One = "one", Several = "several" });
