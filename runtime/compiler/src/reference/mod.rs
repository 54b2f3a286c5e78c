//! The reference: an operator evaluated on the CPU, in `f64`, with a bound on how far a right kernel may be from it.
//!
//! Values are computed in `f64` (floats) or exactly (integers, wrapping in their compute type). With each comes the
//! absolute error that a kernel may have made computing it: a running error analysis, first order, in which an
//! operation of `f32` errs by 2⁻²⁴ of its result, a function by 4 units in the last place (`f64`: 2), and a sum of K
//! terms by 2·K·2⁻²⁴ of the sum of their magnitudes, in whatever order it is added. Where a small error changes what
//! is computed (a comparison, a conversion to an integer), the error is that of the wrong decision.

mod arithmetic;
mod call;
mod evaluated;
mod evaluator;
mod functions;
mod inputs;
mod number;
mod total;

pub use evaluated::Evaluated;
pub use evaluator::{Evaluator, coordinates};
pub use inputs::{Error, Reference};
pub use number::{Number, loaded, stored};
