//! A family of kernels: what the table in the parent module asks of each.

use crate::ir::SizeId;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::problem::Problem;

/// A point of a family is one way to compute an operator.
pub(crate) trait Family: Copy + Sized {
    /// The name in texts and in entries' names.
    const NAME: &'static str;

    /// The kind of work.
    const WORK: Work;

    /// The legal points that are worth trying, in a fixed order.
    fn space(problem: &Problem<'_>) -> Vec<Self>;

    /// `true` if the point's kernel is right for the problem and fits the machine's limits.
    fn is_legal(&self, problem: &Problem<'_>) -> bool;

    /// A good point for these sizes, chosen by formula. None if the family does not suit the operator or the sizes.
    fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Self>;

    /// A few good points for these sizes, for the estimate to choose from.
    fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Self> {
        let _ = (problem, sizes);
        Vec::new()
    }

    /// Bytes of inputs that the blocks read if so many run at once and each wave of them reads a sector once. None if no wave reads what
    /// another one does, or nothing is known of it.
    fn wave_bytes(&self, problem: &Problem<'_>, sizes: &[u64], at_once: u64) -> Option<f64> {
        let _ = (problem, sizes, at_once);
        None
    }

    /// `true` if the kernel leaves out what it would multiply by 0, so that it may read less than the operator names.
    fn leaves_out(&self, problem: &Problem<'_>) -> bool {
        let _ = problem;
        false
    }

    /// The sizes whose largest values, if known, would make points legal that may be better than this one.
    fn bounded(&self, problem: &Problem<'_>) -> Vec<SizeId> {
        let _ = problem;
        Vec::new()
    }

    /// Lowers the operator to an entry with this name.
    ///
    /// # Errors
    /// As of lowering.
    fn lower<'a>(&self, problem: &Problem<'a>, name: &str) -> Result<(Lowering<'a>, Grid), Error>;
}

/// Families of one kind of work are compared by the estimate where one of them is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Sums of products.
    Products,
    /// Reductions along rows.
    Rows,
    /// Sums weighted by scores.
    Attention,
    /// One output after the other.
    Outputs,
}

/// The most blocks that a point may name. No machine holds more at once, and counters of 32 bits reach beyond them.
pub(crate) const MOST_BLOCKS: u32 = 1 << 22;

/// The most points of a family that the estimate chooses among without a search: each is lowered, which takes a millisecond or so.
pub(crate) const MOST_STARTS: usize = 8;

/// Block limits that are tried: none (0), half of all resident blocks, all of them.
pub(crate) fn block_counts(all: u32) -> impl Iterator<Item = u32> + Clone {
    // Half of one is none.
    let some = [all / 2, all].into_iter().filter(|&blocks| blocks > 0);
    std::iter::once(0).chain(some)
}

/// The first point of each kind.
pub(crate) fn first_of_each<P, K: PartialEq>(points: impl IntoIterator<Item = P>, kind: impl Fn(&P) -> K) -> Vec<P> {
    let mut first: Vec<P> = Vec::new();
    for point in points {
        if !first.iter().any(|other| kind(other) == kind(&point)) {
            first.push(point);
        }
    }
    first
}
