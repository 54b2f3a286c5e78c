//! A library that ships the results of its tuning.
//!
//! `energy-cache/` holds one file for each operator and device class. They are committed and published like the source; a build embeds the
//! kernels that they choose. On a machine with a GPU the author makes them with
//!
//! ```text
//! cargo energy-kernel tune --ship
//! cargo energy-kernel check          # in CI: fails when an operator has no result
//! ```
//!
//! The files here are of the emulated device: what they say of time and energy is **simulated**, and they are used on that device
//! alone. `user/` is a program that depends on this crate; `tests/tests/shipped.rs` packages the one and builds the other from the package.

use energy_kernel::prelude::*;

/// The softmax of each row.
#[energy_kernel(tune(R = [16, 64], C = 512))]
pub fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

/// A linear layer: `x · wᵀ`.
#[energy_kernel(tune(M = [16, 64], N = 128, K = 64))]
pub fn linear(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]])
}
