//! The energy cost model.

pub mod boosting;
mod columns;
pub mod gaussian;
mod matrix;

pub use columns::Columns;
