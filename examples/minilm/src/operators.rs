//! The encoder's operators.
//!
//! Sizes: `B` sentences of `T` tokens (padded; `mask` is 1 on real ones), `D` = 384 features, `H` heads of `E` features,
//! `F` = 1536 features inside the feed-forward part. `T` is tuned for 16 and 64 tokens; any other length runs too.
//!
//! Each operator exists for weights and activations in `f32` and in `f16`. It is the same formula: arithmetic is in `f32` either way, but
//! products of `f16` run on tensor cores, since their factors have few bits by what they are.

use energy_kernel::Element;
use energy_kernel::prelude::*;

/// The element type of weights and activations: `f32` or `f16`.
pub trait Float:
    Element
    + embed::Float
    + layer_norm::Float
    + linear::Float
    + linear_gelu::Float
    + linear_residual::Float
    + attention::Float
    + attention_output::Float
    + mean_pool::Float
{
    /// The nearest value.
    fn from_f32(value: f32) -> Self;
}

impl Float for f32 {
    fn from_f32(value: f32) -> f32 {
        value
    }
}

impl Float for f16 {
    fn from_f32(value: f32) -> f16 {
        f16::from_f32(value)
    }
}

/// The sum of the embeddings of a token, its position and its kind (always the first).
#[energy_kernel(types(Float = [f32, f16]), tune(B = [1, 4], T = [16, 64], D = 384, V = 30522, P = 512, Y = 2))]
pub fn embed(
    ids: Tensor<i32, (B, T)>,
    words: Tensor<Float, (V, D)>,
    positions: Tensor<Float, (P, D)>,
    kinds: Tensor<Float, (Y, D)>,
) -> Tensor<Float, (B, T, D)> {
    |b, t, d| words[[ids[[b, t]], d]] + positions[[t, d]] + kinds[[0, d]]
}

/// Normalises each token's features to mean 0 and variance 1, then scales and shifts them.
#[energy_kernel(types(Float = [f32, f16]), tune(B = [1, 4], T = [16, 64], D = 384))]
pub fn layer_norm(
    x: Tensor<Float, (B, T, D)>,
    gain: Tensor<Float, (D,)>,
    shift: Tensor<Float, (D,)>,
    epsilon: f32,
) -> Tensor<Float, (B, T, D)> {
    let mean = |b, t| sum(|d| x[[b, t, d]]) / D as f32;
    let variance = |b, t| sum(|d| powi(x[[b, t, d]] - mean[[b, t]], 2)) / D as f32;
    |b, t, d| (x[[b, t, d]] - mean[[b, t]]) * rsqrt(variance[[b, t]] + epsilon) * gain[[d]] + shift[[d]]
}

/// `x · wᵀ + b`
#[energy_kernel(types(Float = [f32, f16]), tune(B = [1, 4], T = [16, 64], K = 384, N = 384))]
pub fn linear(
    x: Tensor<Float, (B, T, K)>,
    w: Tensor<Float, (N, K)>,
    bias: Tensor<Float, (N,)>,
) -> Tensor<Float, (B, T, N)> {
    |b, t, n| sum(|k| x[[b, t, k]] * w[[n, k]]) + bias[[n]]
}

/// `gelu(x · wᵀ + b)`
#[energy_kernel(types(Float = [f32, f16]), tune(B = [1, 4], T = [16, 64], K = 384, N = 1536))]
pub fn linear_gelu(
    x: Tensor<Float, (B, T, K)>,
    w: Tensor<Float, (N, K)>,
    bias: Tensor<Float, (N,)>,
) -> Tensor<Float, (B, T, N)> {
    |b, t, n| gelu(sum(|k| x[[b, t, k]] * w[[n, k]]) + bias[[n]])
}

/// `x · wᵀ + b + residual`
#[energy_kernel(types(Float = [f32, f16]), tune(B = [1, 4], T = [16, 64], K = 1536, N = 384))]
pub fn linear_residual(
    x: Tensor<Float, (B, T, K)>,
    w: Tensor<Float, (N, K)>,
    bias: Tensor<Float, (N,)>,
    residual: Tensor<Float, (B, T, N)>,
) -> Tensor<Float, (B, T, N)> {
    |b, t, n| sum(|k| x[[b, t, k]] * w[[n, k]]) + bias[[n]] + residual[[b, t, n]]
}

/// The values that each token attends to, padding left out: `softmax(q · kᵀ · scale) · v` in each head.
///
/// Weights are rounded to the type of the values. Tensor cores multiply both in `f16`; in `f32` nothing is lost.
#[energy_kernel(types(Float = [f32, f16]), dims(H = 12, E = D / H), tune(B = [1, 4], T = [16, 64], D = 384))]
pub fn attention(
    q: Tensor<Float, (B, T, D)>,
    k: Tensor<Float, (B, T, D)>,
    v: Tensor<Float, (B, T, D)>,
    mask: Tensor<i32, (B, T)>,
    scale: f32,
) -> Tensor<Float, (B, T, H, E)> {
    let score = |b, h: H, i, j| {
        let product = sum(|e: E| q[[b, i, h * E + e]] * k[[b, j, h * E + e]]);
        if mask[[b, j]] != 0 {
            product * scale
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |b, h, i| max(|j| score[[b, h, i, j]]);
    let weight = |b, h, i, j| exp(score[[b, h, i, j]] - peak[[b, h, i]]);
    let mass = |b, h, i| sum(|j| weight[[b, h, i, j]]);
    |b, i, h, e| sum(|j| weight[[b, h, i, j]] as Float * v[[b, j, h * E + e]]) / mass[[b, h, i]]
}

/// `linear_residual` of heads side by side.
#[energy_kernel(types(Float = [f32, f16]), tune(B = [1, 4], T = [16, 64], H = 12, E = 32, N = 384, K = 384))]
pub fn attention_output(
    x: Tensor<Float, (B, T, H, E)>,
    w: Tensor<Float, (N, K)>,
    bias: Tensor<Float, (N,)>,
    residual: Tensor<Float, (B, T, N)>,
) -> Tensor<Float, (B, T, N)> {
    |b, t, n| sum(|h, e| x[[b, t, h, e]] * w[[n, h * E + e]]) + bias[[n]] + residual[[b, t, n]]
}

/// The mean over a sentence's tokens, padding left out.
#[energy_kernel(types(Float = [f32, f16]), tune(B = [1, 4], T = [16, 64], D = 384))]
pub fn mean_pool(x: Tensor<Float, (B, T, D)>, mask: Tensor<i32, (B, T)>) -> Tensor<f32, (B, D)> {
    let tokens = |b| sum(|t| mask[[b, t]]);
    |b, d| sum(|t| x[[b, t, d]] * mask[[b, t]] as f32) / max(tokens[[b]], 1) as f32
}

/// Each row divided by its length.
#[energy_kernel(tune(B = [1, 4], D = 384))]
pub fn normalise(x: Tensor<f32, (B, D)>) -> Tensor<f32, (B, D)> {
    let length = |b| sqrt(sum(|d| x[[b, d]] * x[[b, d]]));
    |b, d| x[[b, d]] / max(length[[b]], 1e-12)
}
