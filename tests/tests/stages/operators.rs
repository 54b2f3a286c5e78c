//! Operators with values that are worth storing, beside a few that look like it.

use energy_kernel::prelude::*;

#[energy_kernel]
pub fn two_layers_f16(
    x: Tensor<f16, (M, K)>,
    v: Tensor<f16, (J, K)>,
    w: Tensor<f16, (N, J)>,
    b: Tensor<f16, (J,)>,
) -> Tensor<f16, (M, N)> {
    let hidden = |m, j| relu(sum(|k| x[[m, k]] * v[[j, k]]) + b[[j]]) as f16;
    |m, n| sum(|j| hidden[[m, j]] * w[[n, j]])
}

/// The inner sum has no name, and the cast belongs to its use.
#[energy_kernel]
pub fn nested_f32(x: Tensor<f32, (M, K)>, v: Tensor<f32, (J, K)>, w: Tensor<f32, (N, J)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|j| silu(sum(|k| x[[m, k]] * v[[j, k]])) as bf16 * w[[n, j]])
}

#[energy_kernel]
pub fn adapted_f16(
    x: Tensor<f16, (M, K)>,
    w: Tensor<f16, (N, K)>,
    a: Tensor<f16, (R, K)>,
    b: Tensor<f16, (N, R)>,
) -> Tensor<f16, (M, N)> {
    let low = |m, r| sum(|k| x[[m, k]] * a[[r, k]]);
    |m, n| sum(|k| x[[m, k]] * w[[n, k]]) + sum(|r| low[[m, r]] * b[[n, r]])
}

/// The intermediate product's gate, with its cast, is one value.
#[energy_kernel]
pub fn gated_layers_f16(
    x: Tensor<f16, (M, K)>,
    g: Tensor<f16, (J, K)>,
    u: Tensor<f16, (J, K)>,
    d: Tensor<f16, (N, J)>,
) -> Tensor<f16, (M, N)> {
    let gate = |m, j| sum(|k| x[[m, k]] * g[[j, k]]);
    let up = |m, j| sum(|k| x[[m, k]] * u[[j, k]]);
    let both = |m, j| (silu(gate[[m, j]]) * up[[m, j]]) as f16;
    |m, n| sum(|j| both[[m, j]] * d[[n, j]])
}

#[energy_kernel]
pub fn likeliest_f16(x: Tensor<f16, (T, D)>, w: Tensor<f16, (V, D)>) -> (Tensor<i32, (T,)>, Tensor<f32, (T,)>) {
    let logits = |t, v| sum(|d| x[[t, d]] * w[[v, d]]);
    (|t| argmax(|v| logits[[t, v]]), |t| max(|v| logits[[t, v]]))
}

/// A position is stored in 64 bits and gathers the rows.
#[energy_kernel]
pub fn nearest_row_f32(x: Tensor<f32, (T, D)>, rows: Tensor<f32, (C, D)>) -> (Tensor<f32, (T, D)>, Tensor<i64, (T,)>) {
    let nearest = |t| argmin(|c| sum(|d| (x[[t, d]] - rows[[c, d]]) * (x[[t, d]] - rows[[c, d]])));
    (|t, d| rows[[nearest[[t]], d]], |t| nearest[[t]])
}

/// The position becomes an `i32` where it meets one.
#[energy_kernel]
pub fn offset_position(x: Tensor<f32, (T, C)>, by: Tensor<i32, (T, D)>) -> Tensor<i32, (T, D)> {
    let best = |t| argmax(|c| x[[t, c]]);
    |t, d| best[[t]] * 2 + by[[t, d]]
}

#[energy_kernel(dims(GROUP = 32, K = G * GROUP))]
pub fn grouped_f16(
    x: Tensor<f16, (M, K)>,
    w: Tensor<i8, (N, K)>,
    scale: Tensor<f32, (N, G)>,
) -> Tensor<f16, (M, N)> {
    |m, n| sum(|g| scale[[n, g]] * sum(|k: GROUP| x[[m, g * GROUP + k]] * w[[n, g * GROUP + k]]))
}

#[energy_kernel]
pub fn response_norm_f32(
    x: Tensor<f32, (B, H, W, C)>,
    gamma: Tensor<f32, (C,)>,
    beta: Tensor<f32, (C,)>,
) -> Tensor<f32, (B, H, W, C)> {
    let response = |b, c| sqrt(sum(|h, w| x[[b, h, w, c]] * x[[b, h, w, c]]));
    let mean = |b| sum(|c| response[[b, c]]) / C as f32;
    |b, h, w, c| gamma[[c]] * (x[[b, h, w, c]] * (response[[b, c]] / (mean[[b]] + 1e-6))) + beta[[c]] + x[[b, h, w, c]]
}

/// Softmax and two products, written out.
#[energy_kernel]
pub fn attended_f32(q: Tensor<f32, (T, E)>, k: Tensor<f32, (S, E)>, v: Tensor<f32, (S, D)>) -> Tensor<f32, (T, D)> {
    let scores = |t, s| sum(|e| q[[t, e]] * k[[s, e]]) * rsqrt(E as f32);
    let peak = |t| max(|s| scores[[t, s]]);
    let total = |t| sum(|s| exp(scores[[t, s]] - peak[[t]]));
    |t, d| sum(|s| exp(scores[[t, s]] - peak[[t]]) / total[[t]] * v[[s, d]])
}

/// The cast is to the type that the weights have, as `as T` is where `T` is `f32`. It is no value of its own.
#[energy_kernel]
pub fn attended_as_f32(q: Tensor<f32, (T, E)>, k: Tensor<f32, (S, E)>, v: Tensor<f32, (S, D)>) -> Tensor<f32, (T, D)> {
    let score = |t, s| sum(|e| q[[t, e]] * k[[s, e]]);
    let peak = |t| max(|s| score[[t, s]]);
    let weight = |t, s| exp(score[[t, s]] - peak[[t]]);
    let total = |t| sum(|s| weight[[t, s]]);
    |t, d| sum(|s| weight[[t, s]] as f32 * v[[s, d]]) / total[[t]]
}

/// The reads of the first layer are proved at the call only.
#[energy_kernel(dims(HO = H - R + 1, WO = W - R + 1))]
pub fn two_convolutions_f32(
    x: Tensor<f32, (C, H, W)>,
    v: Tensor<f32, (J, C, R, R)>,
    w: Tensor<f32, (O, J)>,
) -> Tensor<f32, (O, HO, WO)> {
    |o, h, u| sum(|j| relu(sum(|c, r, s| x[[c, h + r, u + s]] * v[[j, c, r, s]])) * w[[o, j]])
}

/// Neighbours of a stored row, and elements outside of it.
#[energy_kernel]
pub fn smoothed_sums_f64(x: Tensor<f64, (R, C)>) -> Tensor<f64, (R,)> {
    let total = |r| sum(|c| x[[r, c]]);
    |r| total.or(0.0)[[r - 1]] + 2.0 * total[[r]] + total.or(0.0)[[r + 1]]
}

/// `K` and `L` must be equal at a call.
#[energy_kernel]
pub fn agreeing_f32(x: Tensor<f32, (M, K)>, y: Tensor<f32, (L, J)>, w: Tensor<f32, (N, J)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|j| sum(|k| x[[m, k]] * y[[k, j]]) * w[[n, j]])
}

/// Only the second stage's input determines `N`, over which the first one computes.
#[energy_kernel]
pub fn elsewhere_f32(x: Tensor<f32, (K,)>, w: Tensor<f32, (M, N)>) -> Tensor<f32, (M,)> {
    let wave = |n: N| sum(|k| x[[k]] * cos((n * k) as f32));
    |m| sum(|n| w[[m, n]] * wave[[n]])
}

#[energy_kernel]
pub fn normalised_f32(x: Tensor<f32, (N,)>, epsilon: f32) -> (Tensor<f32, (N,)>, Tensor<bool, (N,)>) {
    let square = || sum(|n| x[[n]] * x[[n]]);
    (|n| x[[n]] * rsqrt(square[[]] + epsilon), |n| x[[n]] * x[[n]] * N as f32 > square[[]])
}

/// The inner sum is in range only where the condition holds.
#[energy_kernel(dims(HALF = N / 2))]
pub fn guarded_f32(x: Tensor<f32, (N, K)>, w: Tensor<f32, (M, N)>) -> Tensor<f32, (M,)> {
    |m| sum(|n| if n < HALF { w[[m, n]] * sum(|k| x[[n + HALF, k]]) } else { 0.0 })
}

/// Gathered rows inside the stored value.
#[energy_kernel]
pub fn looked_up_f16(
    table: Tensor<f16, (V, D)>,
    ids: Tensor<i32, (T,)>,
    v: Tensor<f16, (J, D)>,
    w: Tensor<f16, (N, J)>,
) -> Tensor<f32, (T, N)> {
    let hidden = |t, j| gelu(sum(|d| table[[ids[[t]], d]] * v[[j, d]])) as f16;
    |t, n| sum(|j| hidden[[t, j]] * w[[n, j]])
}

/// A product with gathered rows.
#[energy_kernel]
pub fn gathered_product_f16(table: Tensor<f16, (V, D)>, ids: Tensor<i32, (T,)>, v: Tensor<f16, (J, D)>) -> Tensor<f32, (T, J)> {
    |t, j| sum(|d| table[[ids[[t]], d]] * v[[j, d]])
}

/// A function of one input in a product, beside a product of others.
#[energy_kernel(dims(K = D + F))]
pub fn joined_bf16(y: Tensor<bf16, (T, D)>, z: Tensor<bf16, (T, F)>, w: Tensor<bf16, (O, K)>) -> Tensor<bf16, (T, O)> {
    |t, o| sum(|d: D| y[[t, d]] * w[[o, d]]) + sum(|f| gelu(z[[t, f]]) as bf16 * w[[o, D + f]])
}

/// The rounding for tensor cores stays in the product.
#[energy_kernel]
pub fn activated_tf32(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
    let active = |m, k| silu(x[[m, k]]);
    |m, n| sum(|k| tf32(active[[m, k]]) * tf32(w[[n, k]]))
}

/// A norm, with the next product's cast.
#[energy_kernel]
pub fn normed_product_f16(
    x: Tensor<f16, (M, K)>,
    gain: Tensor<f16, (K,)>,
    w: Tensor<f16, (N, K)>,
) -> Tensor<f16, (M, N)> {
    let scale = |m| rsqrt(sum(|k| x[[m, k]] * x[[m, k]]) / K as f32 + 1e-5);
    |m, n| sum(|k| (x[[m, k]] * scale[[m]] * gain[[k]]) as f16 * w[[n, k]])
}

/// Each input element would be stored for every tap.
#[energy_kernel(dims(WO = W - S + 1))]
pub fn activated_convolution_f16(x: Tensor<f16, (C, W)>, w: Tensor<f16, (O, C, S)>) -> Tensor<f16, (O, WO)> {
    |o, v| sum(|c, s| silu(x[[c, v + s]]) as f16 * w[[o, c, s]])
}

/// More values than a program stores.
#[energy_kernel]
pub fn deep_f32(
    x: Tensor<f32, (M, K)>,
    a: Tensor<f32, (K, K)>,
    b: Tensor<f32, (K, K)>,
    c: Tensor<f32, (K, K)>,
    d: Tensor<f32, (K, K)>,
    e: Tensor<f32, (K, K)>,
    f: Tensor<f32, (K, K)>,
) -> Tensor<f32, (M, K)> {
    let one = |m, n| sum(|k| x[[m, k]] * a[[n, k]]);
    let two = |m, n| sum(|k| one[[m, k]] * b[[n, k]]);
    let three = |m, n| sum(|k| two[[m, k]] * c[[n, k]]);
    let four = |m, n| sum(|k| three[[m, k]] * d[[n, k]]);
    let five = |m, n| sum(|k| four[[m, k]] * e[[n, k]]);
    |m, n| sum(|k| five[[m, k]] * f[[n, k]])
}

/// Queries and keys, which have fewer heads, each with its norm, and values as they are: results of different shapes.
#[energy_kernel(dims(G = 2, H = Q - 2 * G))]
pub fn apart_f16(
    qkv: Tensor<f16, (T, Q, E)>,
    gain: Tensor<f16, (E,)>,
) -> (Tensor<f16, (T, H, E)>, Tensor<f16, (T, G, E)>, Tensor<f16, (T, G, E)>) {
    let scale = |t, q: Q| rsqrt(sum(|e| qkv[[t, q, e]] * qkv[[t, q, e]]) / E as f32 + 1e-5);
    (
        |t, h, e| qkv[[t, h, e]] * scale[[t, h]] * gain[[e]],
        |t, g, e| qkv[[t, H + g, e]] * scale[[t, H + g]] * gain[[e]],
        |t, g, e| qkv[[t, H + G + g, e]],
    )
}
