//! The reference: evaluates an operator on the CPU in `f64`, with a bound on the error of a correct kernel.
//!
//! Floats are computed in `f64`, and integers exactly, wrapping in their compute type. Each value carries a bound on the
//! absolute error of a correct kernel, by a first-order running error analysis. An
//! `f32` operation has an error of 2⁻²⁴ of its result, a function 4 units in the last place (`f64`: 2), and a sum of K
//! terms 2·K·2⁻²⁴ of the sum of their magnitudes, in any order of additions. If a small error may change a decision
//! (a comparison, a conversion to an integer), the bound covers the other decision. A weight `exp(x − max …)` that the source rounds inside a sum
//! is rounded before or after a factor common to all weights: it gets two roundings.

mod arithmetic;
mod call;
mod evaluated;
mod evaluator;
mod functions;
mod inputs;
mod number;
mod rescaled;
mod total;

pub use evaluated::Evaluated;
pub use evaluator::{Evaluator, coordinates};
pub use inputs::{Error, Reference};
pub use number::{Number, loaded, stored};
