//! The front end: from an annotated function, as Rust tokens, to operators.
//!
//! [`parse`] reads the attribute and the function, builds one [`Op`](crate::ir::Op) for each combination of element types, and checks
//! each one, the tuned sizes included. Every error points to the user's code.

mod attribute;
mod body;
mod constants;
mod errors;
mod expand;
mod groups;
mod interface;
mod parse;
mod remedies;
mod signature;
mod sizes;
mod spans;
mod stub;
mod tune;

pub use expand::{Environment, expand};
pub use parse::{Operator, Variant, parse};
pub use signature::{ElementType, Parameter, TensorType};
