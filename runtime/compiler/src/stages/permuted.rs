//! Inputs that are worth storing with their dimensions in another order.
//!
//! A product walks over its terms in slabs, and reads fastest what is contiguous along them. Some operators have such an order for all their
//! inputs but not the inputs themselves: a convolution of images with channels first, or a product whose rows are too short for vectors.

use crate::check::Checked;
use crate::ir::InputId;
use crate::lower::tile::products;
use crate::problem::Problem;
use std::ops::Range;

/// An input with its dimensions permuted.
#[derive(Debug, Clone, PartialEq)]
pub struct Permuted {
    /// The input.
    pub input: InputId,
    /// The input's dimension at each position of the stored tensor, slowest first.
    pub order: Vec<usize>,
    /// The number among what the operator can store.
    number: u32,
}

impl Permuted {
    /// The number among what the operator can store: inputs come after all expressions.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Puts items of the input's dimensions in the order of the stored tensor's.
    pub(super) fn permute<T: Copy>(&self, of_input: &[T]) -> Vec<T> {
        let each = self.order.iter().filter_map(|&dimension| of_input.get(dimension));
        each.copied().collect()
    }
}

/// Returns the inputs that have to be permuted for all factors of a sum of products to be contiguous along the same term. None if that is not
/// possible, or if they are so already.
pub(super) fn permuted(checked: &Checked) -> Vec<Permuted> {
    let op = checked.op();
    let first = numbers(checked).start as u32;
    let moved = products::moved_dimensions(checked).unwrap_or_default();
    let each = moved.into_iter().map(|(input, dimension)| {
        let rank = op.inputs[input.index()].dims.as_ref().map_or(0, Vec::len);
        let others = (0..rank).filter(|&other| other != dimension);
        Permuted {
            input,
            order: others.chain([dimension]).collect(),
            number: first + input.0,
        }
    });
    each.collect()
}

/// The numbers of inputs among what the operator can store.
pub(super) fn numbers(checked: &Checked) -> Range<usize> {
    let first = checked.op().exprs.len();
    first..first + checked.op().inputs.len()
}

/// `true` if a permuted input is among what has these numbers.
pub(super) fn among(checked: &Checked, stored: &[u32]) -> bool {
    let inputs = numbers(checked);
    stored.iter().any(|&number| inputs.contains(&(number as usize)))
}

/// `true` if permuted inputs may pay: the operator reads some of them in less than whole vectors.
pub(super) fn may_pay(problem: &Problem<'_>) -> bool {
    let products = products::products(problem);
    let products = products.as_ref().as_ref();
    products.is_some_and(|products| !products.reads_whole_vectors(problem))
}
