//! The shape of an operator for `mma`.

use crate::lower::tile::multiplicand::Multiplicand;
use crate::lower::tile::products::{Products, products};
use crate::problem::Problem;
use std::sync::Arc;

/// Sums of products that tensor cores can compute as the operator is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MmaShape {
    /// The sums of products.
    pub products: Products,
    /// The types in which the sides with the rows and those with the columns are multiplied.
    pub multiplicands: [Multiplicand; 2],
}

/// The shape of a problem; none if tensor cores cannot compute it.
pub(super) fn shape(problem: &Problem<'_>) -> Arc<Option<MmaShape>> {
    problem.shape(|problem| {
        let found = products(problem);
        let products = found.as_ref().as_ref().filter(|_| !problem.specialisation.wide)?;
        if !products.are_products() {
            return None;
        }
        Some(MmaShape {
            multiplicands: Multiplicand::of(problem.checked, products)?,
            products: products.clone(),
        })
    })
}

impl MmaShape {
    /// Bytes of a multiplicand.
    pub fn bytes(&self) -> u32 {
        self.multiplicands[0].bytes()
    }
}
