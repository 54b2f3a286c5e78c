//! The energy cost model, on high-level features of kernels.
//!
//! ```text
//!   other problems' measurements ──▶ device: prices (physical) + weighted boosted trees ──▶ expected ln power ─┐
//!                                                                                          what is left over   ▼
//!   this problem's few measurements ───────────────────────────────────────────────▶ Gaussian process ──▶ belief
//! ```
//! Trees need dozens of measurements before they say anything, and prices alone miss what is particular to a problem; a
//! Gaussian process learns from half a dozen, and knows how little it knows. `tests/bench` compares them, alone and together.

pub mod boosting;
mod columns;
pub mod device;
pub mod gaussian;
mod matrix;
pub mod memory;
pub mod physical;

pub use columns::Columns;
