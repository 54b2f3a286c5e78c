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

/// The score of each query with each key. Queries that share a head of keys are rows of one product with it.
#[energy_kernel(dims(R = H / G), tune(T = [1, 16], S = [16, 256], G = 2, H = 8, E = 64))]
pub fn scores(q: Tensor<f16, (T, H, E)>, k: Tensor<f16, (S, G, E)>) -> Tensor<f32, (G, R, T, S)> {
    |g, r, t, s| sum(|e| q[[t, g * R + r, e]] * k[[s, g, e]]) * rsqrt(E as f32)
}

/// The softmax over the positions that a token sees: its own and those before. Token `t` stands at position `PAST + t`.
#[energy_kernel(dims(PAST = S - T), tune(T = [1, 16], S = [16, 256], G = 2, R = 4))]
pub fn softmax(x: Tensor<f32, (G, R, T, S)>) -> Tensor<f16, (G, R, T, S)> {
    let seen = |g, r, t, s| {
        if s <= PAST + t {
            x[[g, r, t, s]]
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |g, r, t| max(|s| seen[[g, r, t, s]]);
    let total = |g, r, t| sum(|s| exp(seen[[g, r, t, s]] - peak[[g, r, t]]));
    |g, r, t, s| exp(seen[[g, r, t, s]] - peak[[g, r, t]]) / total[[g, r, t]]
}

/// The values that each head attends to.
#[energy_kernel(dims(H = G * R), tune(T = [1, 16], S = [16, 256], G = 2, R = 4, E = 64))]
pub fn values(p: Tensor<f16, (G, R, T, S)>, v: Tensor<f16, (S, G, E)>) -> Tensor<f16, (T, G, R, E)> {
    |t, g, r, e| sum(|s| p[[g, r, t, s]] * v[[s, g, e]])
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
