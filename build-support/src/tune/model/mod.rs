//! The energy cost model, on high-level features of kernels.
//!
//! ```text
//!   other problems' measurements ──▶ device: prices (physical) + weighted boosted trees ──▶ prior of ln power ─┐
//!                                                                                            residual          ▼
//!   this problem's few measurements ───────────────────────────────────────────────▶ Gaussian process ──▶ belief
//! ```
//! Trees need dozens of measurements before they predict anything, and prices alone miss the particulars of a problem. A Gaussian
//! process learns from half a dozen measurements and estimates its uncertainty. `tests/bench` compares them, alone and combined.

pub mod boosting;
mod columns;
pub mod device;
pub mod gaussian;
mod matrix;
pub mod memory;
pub mod physical;

pub use columns::Columns;
