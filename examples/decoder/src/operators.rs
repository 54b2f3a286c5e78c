//! The layer's operators.
//!
//! Sizes: `T` tokens at once, many when a prompt is read and one when the next is decoded; `S` positions in the cache, the new tokens' among
//! them; `D` = 512 features, `H` heads of `E` = 64 features, `G` heads of keys and values, each for `R` heads of queries; products from `K` features to `N`.
//!
//! The weights of products are rows of `W`, `f16` or `i8`, each with a scale; rows that are stored as they are have the scale 1.

use energy_kernel::prelude::*;

/// Divides each token by the root of its features' mean square, then scales the features.
#[energy_kernel(tune(T = [1, 16], D = 512))]
pub fn rms_norm(x: Tensor<f16, (T, D)>, gain: Tensor<f16, (D,)>, epsilon: f32) -> Tensor<f16, (T, D)> {
    let square = |t| sum(|d| powi(x[[t, d]], 2)) / D as f32;
    |t, d| x[[t, d]] * rsqrt(square[[t]] + epsilon) * gain[[d]]
}

/// `x · wᵀ`
#[energy_kernel(types(W = [f16, i8]), tune(T = [1, 16], K = 512, N = [128, 512]))]
pub fn linear(x: Tensor<f16, (T, K)>, w: Tensor<W, (N, K)>, scale: Tensor<f32, (N,)>) -> Tensor<f16, (T, N)> {
    |t, n| sum(|k| x[[t, k]] * w[[n, k]]) * scale[[n]]
}

/// Turns feature `e` of each head, together with feature `e + HALF`, by the angle of the token's position.
#[energy_kernel(dims(HALF = E / 2), tune(T = [1, 16], H = [2, 8], E = 64))]
pub fn rotary(
    x: Tensor<f16, (T, H, E)>,
    cosine: Tensor<f32, (T, HALF)>,
    sine: Tensor<f32, (T, HALF)>,
) -> Tensor<f16, (T, H, E)> {
    |t, h, e| {
        let across = if e < HALF {
            -x[[t, h, e + HALF]]
        } else {
            x[[t, h, e - HALF]]
        };
        x[[t, h, e]] * cosine[[t, e % HALF]] + across * sine[[t, e % HALF]]
    }
}

/// Attention of each token to the positions that it sees: its own and those before. Token `t` stands at position `PAST + t`.
///
/// Weights are rounded to `f16`, the type of the values, so that tensor cores multiply them. Their sum is of `f32`.
#[energy_kernel(dims(R = H / G, PAST = S - T), tune(T = [1, 16], S = [16, 256], G = 2, H = 8, E = 64))]
pub fn attention(
    q: Tensor<f16, (T, H, E)>,
    k: Tensor<f16, (S, G, E)>,
    v: Tensor<f16, (S, G, E)>,
) -> Tensor<f16, (T, H, E)> {
    let score = |t, h, s| {
        if s <= PAST + t {
            sum(|e| q[[t, h, e]] * k[[s, h / R, e]]) * rsqrt(E as f32)
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |t, h| max(|s| score[[t, h, s]]);
    let weight = |t, h, s| exp(score[[t, h, s]] - peak[[t, h]]);
    let mass = |t, h| sum(|s| weight[[t, h, s]]);
    |t, h, e| sum(|s| weight[[t, h, s]] as f16 * v[[s, h / R, e]]) / mass[[t, h]]
}

/// `x · wᵀ + residual`, out of the attention.
#[energy_kernel(types(W = [f16, i8]), tune(T = [1, 16], K = 512, N = 512))]
pub fn output(
    x: Tensor<f16, (T, K)>,
    w: Tensor<W, (N, K)>,
    scale: Tensor<f32, (N,)>,
    residual: Tensor<f16, (T, N)>,
) -> Tensor<f16, (T, N)> {
    |t, n| sum(|k| x[[t, k]] * w[[n, k]]) * scale[[n]] + residual[[t, n]]
}

/// `silu(x · gateᵀ) * (x · upᵀ)`: both products in one kernel, which reads `x` once.
#[energy_kernel(types(W = [f16, i8]), tune(T = [1, 16], K = 512, N = 1408))]
pub fn gated(
    x: Tensor<f16, (T, K)>,
    gate: Tensor<W, (N, K)>,
    gate_scale: Tensor<f32, (N,)>,
    up: Tensor<W, (N, K)>,
    up_scale: Tensor<f32, (N,)>,
) -> Tensor<f16, (T, N)> {
    let gated = |t, n| sum(|k| x[[t, k]] * gate[[n, k]]) * gate_scale[[n]];
    let raised = |t, n| sum(|k| x[[t, k]] * up[[n, k]]) * up_scale[[n]];
    |t, n| silu(gated[[t, n]]) * raised[[t, n]]
}

/// `x · wᵀ + residual`, out of the feed-forward part.
#[energy_kernel(types(W = [f16, i8]), tune(T = [1, 16], K = 1408, N = 512))]
pub fn down(
    x: Tensor<f16, (T, K)>,
    w: Tensor<W, (N, K)>,
    scale: Tensor<f32, (N,)>,
    residual: Tensor<f16, (T, N)>,
) -> Tensor<f16, (T, N)> {
    |t, n| sum(|k| x[[t, k]] * w[[n, k]]) * scale[[n]] + residual[[t, n]]
}
