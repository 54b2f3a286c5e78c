//! The operators that first light tunes: one bound by weights, one by rows, one by tensor cores.

#![allow(deprecated, reason = "the command tunes these operators; no build script does")]

use energy_kernel::prelude::*;

/// One token by a matrix of weights, as in decoding.
#[energy_kernel(tune(M = 1, N = 4096, K = 4096))]
pub fn decode(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]])
}

/// The exponentials of each row by their sum.
#[energy_kernel(tune(R = 4096, C = 4096))]
pub fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

/// A product of two matrices.
#[energy_kernel(tune(M = 2048, N = 2048, K = 2048))]
pub fn product(a: Tensor<f16, (M, K)>, b: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[n, k]])
}
