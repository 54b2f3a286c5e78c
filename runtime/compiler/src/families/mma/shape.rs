//! The shape of an operator for `mma`.

use crate::element::Type;
use crate::lower::tile::lines::paired;
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
        let multiplicands = Multiplicand::of(problem.checked, products)?;
        if products.fold.is_some() && !can_fold(products, multiplicands[0].bytes()) {
            return None;
        }
        Some(MmaShape {
            multiplicands,
            products: products.clone(),
        })
    })
}

/// `true` if the fragments of all inner sums have the same elements, and outer ones fit in their registers.
fn can_fold(products: &Products, bytes: u32) -> bool {
    let mut layouts = products.sums.iter().map(|sum| paired(products, sum, bytes));
    let first = layouts.next();
    layouts.all(|other| Some(other) == first) && matches!(products.result_ty(), Type::F32 | Type::I32)
}

impl MmaShape {
    /// Bytes of a multiplicand.
    pub fn bytes(&self) -> u32 {
        self.multiplicands[0].bytes()
    }
}
