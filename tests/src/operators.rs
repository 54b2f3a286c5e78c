//! The operators of the validation set. Most have vectors made by numpy (`../vectors`).

use energy_kernel::prelude::*;

#[energy_kernel]
pub fn linear_gelu_f32(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>, b: Tensor<f32, (N,)>) -> Tensor<f32, (M, N)> {
    |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
}

#[energy_kernel]
pub fn linear_gelu_f16(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: Tensor<f16, (N,)>) -> Tensor<f16, (M, N)> {
    |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
}

#[energy_kernel]
pub fn linear_bf16(x: Tensor<bf16, (M, K)>, w: Tensor<bf16, (N, K)>, b: Tensor<bf16, (N,)>) -> Tensor<bf16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]]
}

/// One row: a matrix-vector product.
#[energy_kernel]
pub fn matvec_f16(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]])
}

#[energy_kernel]
pub fn matmul_f64(a: Tensor<f64, (M, K)>, b: Tensor<f64, (K, N)>) -> Tensor<f64, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[k, n]])
}

/// Both operands transposed, and a wider result.
#[energy_kernel]
pub fn matmul_transposed_f16(a: Tensor<f16, (K, M)>, b: Tensor<f16, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| a[[k, m]] * b[[n, k]])
}

#[energy_kernel]
pub fn batched_matmul_f32(a: Tensor<f32, (B, M, K)>, b: Tensor<f32, (B, K, N)>) -> Tensor<f32, (B, M, N)> {
    |i, m, n| sum(|k| a[[i, m, k]] * b[[i, k, n]])
}

#[energy_kernel]
pub fn batched_matmul_f16(a: Tensor<f16, (B, M, K)>, b: Tensor<f16, (B, K, N)>) -> Tensor<f16, (B, M, N)> {
    |i, m, n| sum(|k| a[[i, m, k]] * b[[i, k, n]])
}

#[energy_kernel]
pub fn matmul_i8(a: Tensor<i8, (M, K)>, b: Tensor<i8, (N, K)>) -> Tensor<i32, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[n, k]])
}

/// Weights in i8 with one scale a row.
#[energy_kernel]
pub fn linear_scaled_i8(
    x: Tensor<f16, (M, K)>,
    w: Tensor<i8, (N, K)>,
    scale: Tensor<f32, (N,)>,
) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]]) * scale[[n]]
}

#[energy_kernel(dims(HO = (H + 2 - R) / 2 + 1, WO = (W + 2 - S) / 2 + 1))]
pub fn conv_stride_f32(x: Tensor<f32, (B, C, H, W)>, w: Tensor<f32, (O, C, R, S)>) -> Tensor<f32, (B, O, HO, WO)> {
    |b, o, h, v| sum(|c, r, s| x.or(0.0)[[b, c, h * 2 + r - 1, v * 2 + s - 1]] * w[[o, c, r, s]])
}

#[energy_kernel(dims(HO = (H + 2 - R) / 2 + 1, WO = (W + 2 - S) / 2 + 1))]
pub fn conv_stride_f16(x: Tensor<f16, (B, C, H, W)>, w: Tensor<f16, (O, C, R, S)>) -> Tensor<f16, (B, O, HO, WO)> {
    |b, o, h, v| sum(|c, r, s| x.or(0.0)[[b, c, h * 2 + r - 1, v * 2 + s - 1]] * w[[o, c, r, s]])
}

/// Dilation 2, padding 2, groups as an axis of their own.
#[energy_kernel(dims(HO = H + 4 - 2 * (R - 1), WO = W + 4 - 2 * (S - 1)))]
pub fn conv_grouped_f32(
    x: Tensor<f32, (B, G, C, H, W)>,
    w: Tensor<f32, (G, O, C, R, S)>,
) -> Tensor<f32, (B, G, O, HO, WO)> {
    |b, g, o, h, v| sum(|c, r, s| x.or(0.0)[[b, g, c, h + 2 * r - 2, v + 2 * s - 2]] * w[[g, o, c, r, s]])
}

/// One filter a channel, 5×3, padding 2 and 1.
#[energy_kernel(dims(HO = H + 4 - R + 1, WO = W + 2 - S + 1))]
pub fn conv_depthwise_f16(x: Tensor<f16, (B, C, H, W)>, w: Tensor<f16, (C, R, S)>) -> Tensor<f16, (B, C, HO, WO)> {
    |b, c, h, v| sum(|r, s| x.or(0.0)[[b, c, h + r - 2, v + s - 1]] * w[[c, r, s]])
}

/// 3×3, stride 2, padding 1.
#[energy_kernel(dims(TAPS = 3, HO = (H + 2 - TAPS) / 2 + 1, WO = (W + 2 - TAPS) / 2 + 1))]
pub fn max_pool_f32(x: Tensor<f32, (B, C, H, W)>) -> Tensor<f32, (B, C, HO, WO)> {
    |b, c, h, v| max(|r: TAPS, s: TAPS| x.or(f32::NEG_INFINITY)[[b, c, h * 2 + r - 1, v * 2 + s - 1]])
}

/// The mean over the positions whose mask is 1; every row has one.
#[energy_kernel]
pub fn mean_pool_masked_f32(x: Tensor<f32, (B, T, D)>, mask: Tensor<i32, (B, T)>) -> Tensor<f32, (B, D)> {
    let count = |b| sum(|t| mask[[b, t]]);
    |b, d| sum(|t| x[[b, t, d]] * mask[[b, t]]) / count[[b]] as f32
}

#[energy_kernel]
pub fn softmax_f32(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

#[energy_kernel]
pub fn softmax_bf16(x: Tensor<bf16, (R, C)>) -> Tensor<bf16, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

#[energy_kernel]
pub fn log_softmax_f32(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| x[[r, c]] - peak[[r]] - ln(total[[r]])
}

#[energy_kernel]
pub fn layer_norm_f32(
    x: Tensor<f32, (R, C)>,
    weight: Tensor<f32, (C,)>,
    bias: Tensor<f32, (C,)>,
) -> Tensor<f32, (R, C)> {
    let mean = |r| sum(|c| x[[r, c]]) / C as f32;
    let variance = |r| sum(|c| (x[[r, c]] - mean[[r]]) * (x[[r, c]] - mean[[r]])) / C as f32;
    |r, c| (x[[r, c]] - mean[[r]]) * rsqrt(variance[[r]] + 1e-5) * weight[[c]] + bias[[c]]
}

#[energy_kernel]
pub fn layer_norm_f16(
    x: Tensor<f16, (R, C)>,
    weight: Tensor<f16, (C,)>,
    bias: Tensor<f16, (C,)>,
) -> Tensor<f16, (R, C)> {
    let mean = |r| sum(|c| x[[r, c]]) / C as f32;
    let variance = |r| sum(|c| (x[[r, c]] - mean[[r]]) * (x[[r, c]] - mean[[r]])) / C as f32;
    |r, c| (x[[r, c]] - mean[[r]]) * rsqrt(variance[[r]] + 1e-5) * weight[[c]] + bias[[c]]
}

#[energy_kernel]
pub fn rms_norm_bf16(x: Tensor<bf16, (R, C)>, weight: Tensor<bf16, (C,)>) -> Tensor<bf16, (R, C)> {
    let square = |r| sum(|c| x[[r, c]] * x[[r, c]]) / C as f32;
    |r, c| x[[r, c]] * rsqrt(square[[r]] + 1e-6) * weight[[c]]
}

#[energy_kernel]
pub fn l2_normalise_f32(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let square = |r| sum(|c| x[[r, c]] * x[[r, c]]);
    |r, c| x[[r, c]] / sqrt(square[[r]])
}

/// The population variance, divided by C. The mean is about 3, so the mean of squares less the square of the mean would cancel.
#[energy_kernel]
pub fn variance_f32(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> {
    let mean = |r| sum(|c| x[[r, c]]) / C as f32;
    |r| sum(|c| (x[[r, c]] - mean[[r]]) * (x[[r, c]] - mean[[r]])) / C as f32
}

/// Rows with ties, with NaN, and one of -∞ alone.
#[energy_kernel]
pub fn argmax_f32(x: Tensor<f32, (R, C)>) -> Tensor<i32, (R,)> {
    |r| argmax(|c| x[[r, c]])
}

/// Three results.
#[energy_kernel]
pub fn extremes_i32(x: Tensor<i32, (R, C)>) -> (Tensor<i32, (R,)>, Tensor<i32, (R,)>, Tensor<i32, (R,)>) {
    (
        |r| min(|c| x[[r, c]]),
        |r| max(|c| x[[r, c]]),
        |r| argmin(|c| x[[r, c]]),
    )
}

/// Reduces the leading axis.
#[energy_kernel]
pub fn column_sum_f16(x: Tensor<f16, (R, C)>) -> Tensor<f32, (C,)> {
    |c| sum(|r| x[[r, c]])
}

/// Softmax down columns.
#[energy_kernel]
pub fn softmax_columns_f32(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |c| max(|r| x[[r, c]]);
    let total = |c| sum(|r| exp(x[[r, c]] - peak[[c]]));
    |r, c| exp(x[[r, c]] - peak[[c]]) / total[[c]]
}

/// Layer norm, channels first.
#[energy_kernel]
pub fn layer_norm_first_f16(
    x: Tensor<f16, (B, C, S)>,
    gain: Tensor<f16, (C,)>,
    shift: Tensor<f16, (C,)>,
) -> Tensor<f16, (B, C, S)> {
    let mean = |b, s| sum(|c| x[[b, c, s]]) / C as f32;
    let variance = |b, s| sum(|c| powi(x[[b, c, s]] - mean[[b, s]], 2)) / C as f32;
    |b, c, s| (x[[b, c, s]] - mean[[b, s]]) * rsqrt(variance[[b, s]] + 1e-5) * gain[[c]] + shift[[c]]
}

/// Group norm, channels last: each group's channels side by side.
#[energy_kernel]
pub fn group_norm_last_bf16(
    x: Tensor<bf16, (B, S, G, C)>,
    gain: Tensor<bf16, (G, C)>,
    shift: Tensor<bf16, (G, C)>,
) -> Tensor<bf16, (B, S, G, C)> {
    let mean = |b, g| sum(|s, c| x[[b, s, g, c]]) / (C * S) as f32;
    let variance = |b, g| sum(|s, c| powi(x[[b, s, g, c]] - mean[[b, g]], 2)) / (C * S) as f32;
    |b, s, g, c| (x[[b, s, g, c]] - mean[[b, g]]) * rsqrt(variance[[b, g]] + 1e-5) * gain[[g, c]] + shift[[g, c]]
}

/// The gradients of layer norm's gain and shift.
#[energy_kernel]
pub fn norm_gradients_f16(
    x: Tensor<f16, (R, C)>,
    grad: Tensor<f16, (R, C)>,
    mean: Tensor<f32, (R,)>,
    scale: Tensor<f32, (R,)>,
) -> (Tensor<f32, (C,)>, Tensor<f32, (C,)>) {
    (
        |c| sum(|r| grad[[r, c]] * (x[[r, c]] - mean[[r]]) * scale[[r]]),
        |c| sum(|r| grad[[r, c]]),
    )
}

/// Sums over the sentences that lie one behind the other.
#[energy_kernel]
pub fn packed_sum_f32(
    x: Tensor<f32, (T, D)>,
    first: Tensor<i32, (B,)>,
    last: Tensor<i32, (B,)>,
) -> Tensor<f32, (B, D)> {
    |b, d| {
        sum(|t| {
            if t >= first[[b]] && t < last[[b]] {
                x[[t, d]]
            } else {
                0.0
            }
        })
    }
}

/// The largest element so far.
#[energy_kernel]
pub fn running_max_f32(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    |r, c| max(|j: C| if j <= c { x[[r, j]] } else { f32::NEG_INFINITY })
}

/// The place of each column's largest element, and the smallest of each column.
#[energy_kernel]
pub fn column_extremes_f32(x: Tensor<f32, (B, R, C)>) -> (Tensor<i32, (B, C)>, Tensor<f32, (B, C)>) {
    (|b, c| argmax(|r| x[[b, r, c]]), |b, c| min(|r| x[[b, r, c]]))
}

/// Rank 0.
#[energy_kernel]
pub fn total_f32(x: Tensor<f32, (R, C)>) -> Tensor<f32, ()> {
    || sum(|r, c| x[[r, c]])
}

/// K is 0: every sum is empty.
#[energy_kernel]
pub fn empty_sum_f32(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[k, n]])
}

/// Some indices are out of range and read 0.
#[energy_kernel]
pub fn embedding_f16(table: Tensor<f16, (V, D)>, ids: Tensor<i32, (T,)>) -> Tensor<f16, (T, D)> {
    |t, d| table[[ids[[t]], d]]
}

/// D is 2 E. Elements d and d + E rotate together.
#[energy_kernel]
pub fn rotary_f32(
    x: Tensor<f32, (T, H, D)>,
    cosine: Tensor<f32, (T, E)>,
    sine: Tensor<f32, (T, E)>,
) -> Tensor<f32, (T, H, D)> {
    |t, h, d| {
        if d < E {
            x[[t, h, d]] * cosine[[t, d]] - x[[t, h, d + E]] * sine[[t, d]]
        } else {
            x[[t, h, d]] * cosine[[t, d - E]] + x[[t, h, d - E]] * sine[[t, d - E]]
        }
    }
}

#[energy_kernel]
pub fn rotary_f16(
    x: Tensor<f16, (T, H, D)>,
    cosine: Tensor<f16, (T, E)>,
    sine: Tensor<f16, (T, E)>,
) -> Tensor<f16, (T, H, D)> {
    |t, h, d| {
        if d < E {
            x[[t, h, d]] * cosine[[t, d]] - x[[t, h, d + E]] * sine[[t, d]]
        } else {
            x[[t, h, d]] * cosine[[t, d - E]] + x[[t, h, d - E]] * sine[[t, d - E]]
        }
    }
}

#[energy_kernel]
pub fn silu_product_f16(gate: Tensor<f16, (R, C)>, up: Tensor<f16, (R, C)>) -> Tensor<f16, (R, C)> {
    |r, c| silu(gate[[r, c]]) * up[[r, c]]
}

#[energy_kernel]
pub fn silu_product_bf16(gate: Tensor<bf16, (R, C)>, up: Tensor<bf16, (R, C)>) -> Tensor<bf16, (R, C)> {
    |r, c| silu(gate[[r, c]]) * up[[r, c]]
}

/// -∞ above the diagonal.
#[energy_kernel]
pub fn causal_scores_f16(q: Tensor<f16, (H, T, D)>, k: Tensor<f16, (H, T, D)>) -> Tensor<f32, (H, T, T)> {
    |h, i, j| {
        if j <= i {
            sum(|d| q[[h, i, d]] * k[[h, j, d]]) * rsqrt(D as f32)
        } else {
            f32::NEG_INFINITY
        }
    }
}

/// Exactly 0 above the diagonal.
#[energy_kernel]
pub fn causal_softmax_f32(x: Tensor<f32, (H, T, T)>) -> Tensor<f32, (H, T, T)> {
    let peak = |h, i| max(|j| if j <= i { x[[h, i, j]] } else { f32::NEG_INFINITY });
    let total = |h, i| sum(|j| if j <= i { exp(x[[h, i, j]] - peak[[h, i]]) } else { 0.0 });
    |h, i, j| {
        if j <= i {
            exp(x[[h, i, j]] - peak[[h, i]]) / total[[h, i]]
        } else {
            0.0
        }
    }
}

#[energy_kernel]
pub fn transpose_f16(x: Tensor<f16, (B, R, C)>) -> Tensor<f16, (B, C, R)> {
    |b, c, r| x[[b, r, c]]
}

/// Images from channels first to channels last.
#[energy_kernel]
pub fn channels_last_f16(x: Tensor<f16, (B, C, H, W)>) -> Tensor<f16, (B, H, W, C)> {
    |b, h, v, c| x[[b, c, h, v]]
}

/// Weights of a convolution with the terms of each tap side by side.
#[energy_kernel(dims(TAPS = 3))]
pub fn weights_last_f16(w: Tensor<f16, (O, C, TAPS, TAPS)>) -> Tensor<f16, (O, TAPS, TAPS, C)> {
    |o, r, s, c| w[[o, c, r, s]]
}

/// Short rows of two element types, transposed and added.
#[energy_kernel(dims(FIVE = 5))]
pub fn short_rows_f32(
    x: Tensor<f32, (B, C, FIVE)>,
    y: Tensor<i8, (B, C, FIVE)>,
    scale: Tensor<f32, (C,)>,
) -> Tensor<f32, (B, FIVE, C)> {
    |b, i, c| x[[b, c, i]] * scale[[c]] + y[[b, c, i]] as f32
}

/// A pointwise convolution of images with a residual, whose rows and columns are one axis.
#[energy_kernel]
pub fn pointwise_conv_f16(
    x: Tensor<f16, (B, C, H, W)>,
    w: Tensor<f16, (O, C)>,
    bias: Tensor<f32, (O,)>,
    residual: Tensor<f16, (B, O, H, W)>,
) -> Tensor<f16, (B, O, H, W)> {
    |b, o, h, v| relu(sum(|c| x[[b, c, h, v]] * w[[o, c]]) + bias[[o]] + residual[[b, o, h, v]])
}

/// Depthwise 7 × 7: a window that is taken a row at a time.
#[energy_kernel(dims(TAPS = 7))]
pub fn depthwise_7x7_f16(
    x: Tensor<f16, (B, C, H, W)>,
    w: Tensor<f16, (C, TAPS, TAPS)>,
    bias: Tensor<f16, (C,)>,
) -> Tensor<f16, (B, C, H, W)> {
    |b, c, h, v| sum(|r, s| x.or(0.0)[[b, c, h + r - 3, v + s - 3]] * w[[c, r, s]]) + bias[[c]]
}

/// The largest of 7 × 7 integers, and its place.
#[energy_kernel(dims(TAPS = 7, HO = H - 6, WO = W - 6))]
pub fn largest_of_49_i8(x: Tensor<i8, (C, H, W)>) -> (Tensor<i8, (C, HO, WO)>, Tensor<i32, (C, HO, WO)>) {
    (
        |c, h, v| max(|r: TAPS, s: TAPS| x[[c, h + r, v + s]]) as i8,
        |c, h, v| argmax(|r: TAPS, s: TAPS| x[[c, h + r, v + s]]),
    )
}

#[energy_kernel]
pub fn functions_f32(
    x: Tensor<f32, (N,)>,
    y: Tensor<f32, (N,)>,
) -> (
    Tensor<f32, (N,)>,
    Tensor<f32, (N,)>,
    Tensor<f32, (N,)>,
    Tensor<f32, (N,)>,
    Tensor<f32, (N,)>,
    Tensor<f32, (N,)>,
    Tensor<f32, (N,)>,
    Tensor<f32, (N,)>,
    Tensor<f32, (N,)>,
) {
    (
        |i| exp(x[[i]]),
        |i| ln(y[[i]]),
        |i| tanh(x[[i]]),
        |i| erf(x[[i]]),
        |i| sin(x[[i]]),
        |i| cos(x[[i]]),
        |i| powf(y[[i]], x[[i]]),
        |i| rsqrt(y[[i]]),
        |i| sigmoid(x[[i]]),
    )
}

#[energy_kernel]
pub fn functions_f64(
    x: Tensor<f64, (N,)>,
    y: Tensor<f64, (N,)>,
) -> (
    Tensor<f64, (N,)>,
    Tensor<f64, (N,)>,
    Tensor<f64, (N,)>,
    Tensor<f64, (N,)>,
    Tensor<f64, (N,)>,
    Tensor<f64, (N,)>,
    Tensor<f64, (N,)>,
    Tensor<f64, (N,)>,
    Tensor<f64, (N,)>,
) {
    (
        |i| exp(x[[i]]),
        |i| ln(y[[i]]),
        |i| tanh(x[[i]]),
        |i| erf(x[[i]]),
        |i| sin(x[[i]]),
        |i| cos(x[[i]]),
        |i| powf(y[[i]], x[[i]]),
        |i| rsqrt(y[[i]]),
        |i| sigmoid(x[[i]]),
    )
}

#[energy_kernel]
pub fn axpby_f32(x: Tensor<f32, (N,)>, y: Tensor<f32, (N,)>, a: f32, b: f32) -> Tensor<f32, (N,)> {
    |i| a * x[[i]] + b * y[[i]]
}

/// `round` is half away from zero; `as i32` saturates, and NaN becomes 0.
#[energy_kernel]
pub fn rounded_f32(
    x: Tensor<f32, (N,)>,
) -> (
    Tensor<f32, (N,)>,
    Tensor<f32, (N,)>,
    Tensor<f32, (N,)>,
    Tensor<i32, (N,)>,
) {
    (
        |i| round(x[[i]]),
        |i| floor(x[[i]]),
        |i| ceil(x[[i]]),
        |i| x[[i]] as i32,
    )
}

/// Wrapping; `a / 0` is 0 and `a % 0` is `a`.
#[energy_kernel]
pub fn integers_i32(
    a: Tensor<i32, (N,)>,
    b: Tensor<i32, (N,)>,
) -> (Tensor<i32, (N,)>, Tensor<i32, (N,)>, Tensor<i32, (N,)>) {
    (|i| a[[i]] * b[[i]] + 7, |i| a[[i]] / b[[i]], |i| a[[i]] % b[[i]])
}

/// False for NaN.
#[energy_kernel]
pub fn between_f32(x: Tensor<f32, (N,)>, low: f32, high: f32) -> Tensor<bool, (N,)> {
    |i| x[[i]] >= low && x[[i]] < high
}

/// NaN propagates through both.
#[energy_kernel]
pub fn relu_nan_f16(x: Tensor<f16, (R, C)>) -> (Tensor<f16, (R, C)>, Tensor<f16, (R,)>) {
    (|r, c| relu(x[[r, c]]), |r| max(|c| x[[r, c]]))
}

// Without vectors: against the reference alone.

/// Two products in one expression.
#[energy_kernel]
pub fn gated_f16(x: Tensor<f16, (M, K)>, v: Tensor<f16, (N, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> {
    |m, n| silu(sum(|k| x[[m, k]] * v[[n, k]])) * sum(|k| x[[m, k]] * w[[n, k]])
}

#[energy_kernel(dims(LO = L - 2 * (T - 1)))]
pub fn conv_dilated_bf16(x: Tensor<bf16, (B, C, L)>, w: Tensor<bf16, (O, C, T)>) -> Tensor<bf16, (B, O, LO)> {
    |b, o, l| sum(|c, t| x[[b, c, l + 2 * t]] * w[[o, c, t]])
}

/// Two tensors, concatenated.
#[energy_kernel(dims(BOTH = N + M))]
pub fn concatenated_f32(x: Tensor<f32, (R, N)>, y: Tensor<f32, (R, M)>) -> Tensor<f32, (R, BOTH)> {
    |r, i| if i < N { x[[r, i]] } else { y[[r, i - N]] }
}

/// The nearest neighbour, twice as large.
#[energy_kernel(dims(HO = 2 * H, WO = 2 * W))]
pub fn upsampled_u8(x: Tensor<u8, (H, W)>) -> Tensor<u8, (HO, WO)> {
    |h, w| x[[h / 2, w / 2]]
}

#[energy_kernel]
pub fn cumulative_sum_f32(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    |r, c| sum(|d: C| if d <= c { x[[r, d]] } else { 0.0 })
}

/// The loss of each row, whose label is an index.
#[energy_kernel]
pub fn cross_entropy_f32(x: Tensor<f32, (R, C)>, label: Tensor<i64, (R,)>) -> Tensor<f32, (R,)> {
    let peak = |r| max(|c| x[[r, c]]);
    |r| ln(sum(|c| exp(x[[r, c]] - peak[[r]]))) + peak[[r]] - x[[r, label[[r]]]]
}

#[energy_kernel]
pub fn inner_f64(x: Tensor<f64, (N,)>, y: Tensor<f64, (N,)>) -> Tensor<f64, ()> {
    sum(|n| x[[n]] * y[[n]])
}

#[energy_kernel]
pub fn least_i64(x: Tensor<i64, (R, C)>) -> (Tensor<i64, (R,)>, Tensor<i32, (R,)>, Tensor<i64, (R,)>) {
    (
        |r| min(|c| x[[r, c]]),
        |r| argmin(|c| x[[r, c]]),
        |r| prod(|c| x[[r, c]] % 3),
    )
}

#[energy_kernel]
pub fn masked_bool(x: Tensor<f32, (N,)>, mask: Tensor<bool, (N,)>) -> (Tensor<f32, (N,)>, Tensor<bool, (N,)>) {
    (
        |n| if mask[[n]] { x[[n]] } else { f32::NEG_INFINITY },
        |n| mask[[n]] && !(x[[n]] > 0.0),
    )
}

/// Multiplied as tensor cores multiply `f32`.
#[energy_kernel]
pub fn matmul_tf32(a: Tensor<f32, (M, K)>, b: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| tf32(a[[m, k]]) * tf32(b[[n, k]]))
}

/// Factors of two element types on tensor cores.
#[energy_kernel]
pub fn matmul_mixed(a: Tensor<f16, (M, K)>, b: Tensor<bf16, (K, N)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[k, n]])
}

#[energy_kernel]
pub fn matmul_u8(a: Tensor<u8, (M, K)>, b: Tensor<i8, (K, N)>) -> Tensor<i32, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[k, n]])
}

/// Both sides are contiguous along their own axes.
#[energy_kernel]
pub fn matmul_outer_bf16(a: Tensor<bf16, (K, M)>, b: Tensor<bf16, (K, N)>) -> Tensor<bf16, (M, N)> {
    |m, n| sum(|k| a[[k, m]] * b[[k, n]])
}

#[energy_kernel]
pub fn log_sum_exp_f32(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> {
    let peak = |r| max(|c| x[[r, c]]);
    |r| ln(sum(|c| exp(x[[r, c]] - peak[[r]]))) + peak[[r]]
}

/// The mean of `y`, with larger weights for smaller `x`.
#[energy_kernel]
pub fn soft_minimum_f64(x: Tensor<f64, (R, C)>, y: Tensor<f32, (R, C)>) -> Tensor<f64, (R,)> {
    let least = |r| min(|c| 0.5 * x[[r, c]]);
    let weight = |r, c| exp((least[[r]] - x[[r, c]] * 0.5) * rsqrt(C as f64));
    |r| sum(|c| weight[[r, c]] * y[[r, c]]) / sum(|c| weight[[r, c]])
}

/// The position of the largest element, its value, and its probability.
#[energy_kernel]
pub fn argmax_softmax_f16(x: Tensor<f16, (R, C)>) -> (Tensor<i32, (R,)>, Tensor<f16, (R,)>, Tensor<f32, (R,)>) {
    let peak = |r| max(|c| x[[r, c]]);
    (
        |r| argmax(|c| x[[r, c]]),
        |r| peak[[r]],
        |r| 1.0 / sum(|c| exp(x[[r, c]] - peak[[r]])),
    )
}

#[energy_kernel]
pub fn covariance_f32(x: Tensor<f32, (R, C)>, y: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> {
    let centre = |r| sum(|c| x[[r, c]]) / C as f32;
    let other = |r| sum(|c| y[[r, c]]) / C as f32;
    |r| sum(|c| (x[[r, c]] - centre[[r]]) * (other[[r]] - y[[r, c]])) / C as f32
}

/// The sum, which the next layer adds to, and its norm.
#[energy_kernel]
pub fn residual_norm_bf16(
    x: Tensor<bf16, (R, C)>,
    residual: Tensor<bf16, (R, C)>,
    weight: Tensor<bf16, (C,)>,
) -> (Tensor<bf16, (R, C)>, Tensor<bf16, (R, C)>) {
    let total = |r, c| x[[r, c]] + residual[[r, c]];
    let mean = |r| sum(|c| total[[r, c]]) / C as f32;
    let variance = |r| sum(|c| powi(total[[r, c]] - mean[[r]], 2)) / C as f32;
    (
        |r, c| total[[r, c]],
        |r, c| (total[[r, c]] - mean[[r]]) * rsqrt(variance[[r]] + 1e-5) * weight[[c]],
    )
}

/// Rows of two axes, the last of them short.
#[energy_kernel]
pub fn softmax_two_axes_f32(x: Tensor<f32, (R, C, D)>) -> Tensor<f32, (R, C, D)> {
    let peak = |r| max(|c, d| x[[r, c, d]]);
    let total = |r| sum(|c, d| exp(x[[r, c, d]] - peak[[r]]));
    |r, c, d| exp(x[[r, c, d]] - peak[[r]]) / total[[r]]
}

/// Channels from last to first, scaled, plus a tensor with its channels first.
#[energy_kernel]
pub fn channels_first_f32(
    x: Tensor<f32, (B, H, W, C)>,
    scale: Tensor<f32, (C,)>,
    y: Tensor<f16, (B, C, H, W)>,
) -> Tensor<f16, (B, C, H, W)> {
    let scaled = |b, h, w, c| x[[b, h, w, c]] * scale[[c]];
    |b, c, h, w| scaled[[b, h, w, c]] + y[[b, c, h, w]]
}

#[energy_kernel]
pub fn planes_u8(x: Tensor<u8, (H, W, C)>) -> Tensor<u8, (C, H, W)> {
    |c, h, w| 255 - x[[h, w, c]]
}

/// Two inputs of different widths, and two results.
#[energy_kernel]
pub fn symmetric_f64(
    x: Tensor<f64, (R, C)>,
    y: Tensor<f16, (R, C)>,
    z: Tensor<f32, (C, R)>,
) -> (Tensor<f64, (C, R)>, Tensor<f32, (C, R)>) {
    (|c, r| x[[r, c]] + z[[c, r]], |c, r| y[[r, c]] - z[[c, r]])
}

/// All axes in reverse order.
#[energy_kernel]
pub fn reversed_bf16(x: Tensor<bf16, (A, B, C, D)>) -> Tensor<bf16, (D, C, B, A)> {
    |d, c, b, a| x[[a, b, c, d]]
}

/// Weights in i8 with one scale for each 32 terms.
#[energy_kernel(dims(G = (K + 31) / 32))]
pub fn linear_grouped_i8(
    x: Tensor<f16, (M, K)>,
    w: Tensor<i8, (N, K)>,
    scale: Tensor<f32, (N, G)>,
) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * (w[[n, k]] as f32 * scale[[n, k / 32]]))
}

/// A matrix-vector product, the vector of one dimension.
#[energy_kernel]
pub fn matvec_f32(x: Tensor<f32, (K,)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (N,)> {
    |n| sum(|k| x[[k]] * w[[n, k]])
}

/// Weights contiguous along columns, two products through intermediate tensors.
#[energy_kernel]
pub fn gated_columns_bf16(
    x: Tensor<bf16, (M, K)>,
    v: Tensor<bf16, (K, N)>,
    w: Tensor<bf16, (K, N)>,
) -> Tensor<bf16, (M, N)> {
    let gate = |m, n| sum(|k| x[[m, k]] * v[[k, n]]);
    let up = |m, n| sum(|k| x[[m, k]] * w[[k, n]]);
    |m, n| silu(gate[[m, n]]) * up[[m, n]]
}

/// A row's norm, and its product with weights.
#[energy_kernel]
pub fn norm_linear_f16(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: Tensor<f16, (N,)>) -> Tensor<f16, (M, N)> {
    let scale = |m| rsqrt(sum(|k| x[[m, k]] * x[[m, k]]) / K as f32 + 1e-5);
    |m, n| scale[[m]] * sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]]
}

/// One token against all keys: two results.
#[energy_kernel]
pub fn decoded_scores_f16(
    q: Tensor<f16, (H, D)>,
    k: Tensor<f16, (H, T, D)>,
) -> (Tensor<f32, (H, T)>, Tensor<i32, (H, T)>) {
    (
        |h, t| sum(|d| q[[h, d]] * k[[h, t, d]]) * rsqrt(D as f32),
        |h, t| max(|d| q[[h, d]] * k[[h, t, d]]) as i32,
    )
}

/// All values by their weights, for one token.
#[energy_kernel]
pub fn decoded_values_f16(p: Tensor<f32, (H, T)>, v: Tensor<f16, (H, T, D)>) -> Tensor<f16, (H, D)> {
    |h, d| sum(|t| p[[h, t]] * v[[h, t, d]])
}

/// 2×2, stride 2. Drops the last row or column of an odd size.
#[energy_kernel(dims(TAPS = 2, HO = H / 2, WO = W / 2))]
pub fn average_pool_f16(x: Tensor<f16, (B, C, H, W)>) -> Tensor<f16, (B, C, HO, WO)> {
    |b, c, h, v| sum(|r: TAPS, s: TAPS| x[[b, c, h * 2 + r, v * 2 + s]]) / 4.0
}

/// 3×3, stride 2, padding 1, with an epilogue.
#[energy_kernel(dims(TAPS = 3, HO = (H + 2 - TAPS) / 2 + 1, WO = (W + 2 - TAPS) / 2 + 1))]
pub fn conv_depthwise_stride_f32(
    x: Tensor<f32, (B, C, H, W)>,
    w: Tensor<f32, (C, TAPS, TAPS)>,
    bias: Tensor<f32, (C,)>,
) -> Tensor<f32, (B, C, HO, WO)> {
    |b, c, h, v| relu(sum(|r, s| x.or(0.0)[[b, c, h * 2 + r - 1, v * 2 + s - 1]] * w[[c, r, s]]) + bias[[c]])
}

/// 3×3, padding 1, the channels last.
#[energy_kernel(dims(TAPS = 3))]
pub fn conv_depthwise_last_bf16(
    x: Tensor<bf16, (B, H, W, C)>,
    w: Tensor<bf16, (TAPS, TAPS, C)>,
) -> Tensor<bf16, (B, H, W, C)> {
    |b, h, v, c| sum(|r, s| x.or(0.0)[[b, h + r - 1, v + s - 1, c]] * w[[r, s, c]])
}

/// Each channel over its last four positions.
#[energy_kernel(dims(TAPS = 4))]
pub fn conv_causal_f16(x: Tensor<f16, (B, C, L)>, w: Tensor<f16, (C, TAPS)>) -> Tensor<f16, (B, C, L)> {
    |b, c, l| silu(sum(|t| x.or(0.0)[[b, c, l + t - 3]] * w[[c, t]]))
}

/// Two products without a common factor, and two results of both.
#[energy_kernel]
pub fn recurrent_f32(
    x: Tensor<f32, (M, K)>,
    state: Tensor<f32, (M, K)>,
    w: Tensor<f32, (N, K)>,
    u: Tensor<f32, (K, N)>,
) -> (Tensor<f32, (M, N)>, Tensor<f16, (M, N)>) {
    let new = |m, n| sum(|k| x[[m, k]] * w[[n, k]]);
    let old = |m, n| sum(|k| state[[m, k]] * u[[k, n]]);
    (|m, n| tanh(new[[m, n]] + old[[m, n]]), |m, n| new[[m, n]] - old[[m, n]])
}

/// Three products of one input, which the third scales along K.
#[energy_kernel]
pub fn attention_inputs_f16(
    x: Tensor<f16, (M, K)>,
    scale: Tensor<f16, (K,)>,
    q: Tensor<f16, (N, K)>,
    k: Tensor<f16, (N, K)>,
    v: Tensor<f16, (K, N)>,
) -> (Tensor<f16, (M, N)>, Tensor<f16, (M, N)>, Tensor<f16, (M, N)>) {
    (
        |m, n| sum(|d| x[[m, d]] * q[[n, d]]),
        |m, n| sum(|d| x[[m, d]] * k[[n, d]]),
        |m, n| sum(|d| x[[m, d]] * scale[[d]] * v[[d, n]]),
    )
}

/// Heads side by side, and a mask. The sum is computed for masked outputs as well.
#[energy_kernel(dims(H = 2, E = D / H))]
pub fn masked_scores_f16(
    q: Tensor<f16, (B, T, D)>,
    k: Tensor<f16, (B, S, D)>,
    mask: Tensor<bool, (B, S)>,
) -> Tensor<f16, (B, H, T, S)> {
    |b, h, i, j| {
        let score = sum(|e: E| q[[b, i, h * E + e]] * k[[b, j, h * E + e]]);
        if mask[[b, j]] { score } else { f32::NEG_INFINITY }
    }
}

/// The second factor is in range only under the condition.
#[energy_kernel]
pub fn matmul_behind_f32(x: Tensor<f32, (M, K)>, y: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| if n > 0 { sum(|k| x[[m, k]] * y[[n - 1, k]]) } else { 0.5 }
}

/// Flattened rows. The product of an id and a size may pass 2³¹.
#[energy_kernel]
pub fn flattened_rows_f16(
    table: Tensor<f16, (L,)>,
    ids: Tensor<i32, (T,)>,
    y: Tensor<f16, (T, D)>,
) -> Tensor<f16, (T, D)> {
    |t, d| table[[ids[[t]] * D + d]] + y[[t, d]]
}

/// Sizes, axes and positions as values.
#[energy_kernel]
pub fn index_values(
    x: Tensor<f32, (R, C)>,
) -> (
    Tensor<i64, (R,)>,
    Tensor<f32, (R, C)>,
    Tensor<i32, (R,)>,
    Tensor<i64, (R,)>,
) {
    (
        |r| sum(|c: C| c * R + r),
        |r, c| x[[r, c]] * (r * C + c) as f32 / (R * C) as f32,
        |r| argmax(|c| x[[r, c]]) + argmin(|c| x[[r, c]]) / 2,
        |r| max(|c: C| c * c - r) * argmax(|c| x[[r, c]]),
    )
}

/// No padding. Only the sizes of a call prove that the index is in range.
#[energy_kernel(dims(HO = H - R + 1, WO = W - S + 1))]
pub fn conv_valid_bf16(x: Tensor<bf16, (C, H, W)>, w: Tensor<bf16, (O, C, R, S)>) -> Tensor<bf16, (O, HO, WO)> {
    |o, h, v| sum(|c, r, s| x[[c, h + r, v + s]] * w[[o, c, r, s]])
}

/// Rows of a table by their numbers, as in a mixture of experts.
#[energy_kernel]
pub fn linear_gathered_f16(
    x: Tensor<f16, (V, K)>,
    token: Tensor<i32, (T,)>,
    w: Tensor<f16, (N, K)>,
) -> Tensor<f16, (T, N)> {
    |t, n| sum(|k| x[[token[[t]], k]] * w[[n, k]])
}

/// Attention with grouped heads, as a decoder's first tokens see each other: their own position and those before.
#[energy_kernel(dims(E = 32, R = H / G))]
pub fn attention_f16(
    q: Tensor<f16, (T, H, E)>,
    k: Tensor<f16, (S, G, E)>,
    v: Tensor<f16, (S, G, E)>,
    scale: f32,
) -> Tensor<f16, (T, H, E)> {
    let score = |t, h, s| {
        if s <= t {
            scale * sum(|e| q[[t, h, e]] * k[[s, h / R, e]])
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |t, h| max(|s| score[[t, h, s]]);
    let weight = |t, h, s| exp(score[[t, h, s]] - peak[[t, h]]);
    |t, h, e| sum(|s| weight[[t, h, s]] as f16 * v[[s, h / R, e]]) / sum(|s| weight[[t, h, s]])
}

/// Attention of packed tokens to a window, with a soft cap and a bias. Rows of keys of a sequence begin at `first`.
#[energy_kernel(dims(E = 16, W = 12))]
pub fn attention_window_bf16(
    q: Tensor<bf16, (T, E)>,
    k: Tensor<bf16, (S, E)>,
    v: Tensor<bf16, (S, E)>,
    bias: Tensor<f32, (S,)>,
    first: Tensor<i32, (T,)>,
    position: Tensor<i64, (T,)>,
) -> Tensor<f32, (T, E)> {
    let cap = |t, s| 4.0 * tanh(sum(|e| q[[t, e]] * k[[s, e]]) / 4.0) + bias[[s]];
    let score = |t, s| {
        let seen = s >= first[[t]] && s <= position[[t]] && position[[t]] - W < s;
        if seen { cap[[t, s]] } else { f32::NEG_INFINITY }
    };
    let weight = |t, s| exp(score[[t, s]] - max(|j| score[[t, j]]));
    |t, e| sum(|s| weight[[t, s]] as bf16 * v[[s, e]])
}

/// Attention of one token a sequence to pages of keys.
#[energy_kernel(dims(E = 32, R = H / G, S = P * Z))]
pub fn attention_paged_f16(
    q: Tensor<f16, (B, H, E)>,
    keys: Tensor<f16, (N, Z, G, E)>,
    values: Tensor<f16, (N, Z, G, E)>,
    page: Tensor<i32, (B, P)>,
    length: Tensor<i32, (B,)>,
) -> Tensor<f16, (B, H, E)> {
    let score = |b, h, s: S| {
        if s < length[[b]] {
            sum(|e| q[[b, h, e]] * keys[[page[[b, s / Z]], s % Z, h / R, e]]) * rsqrt(E as f32)
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |b, h| max(|s| score[[b, h, s]]);
    let weight = |b, h, s| exp(score[[b, h, s]] - peak[[b, h]]);
    |b, h, e| {
        let context = sum(|s| weight[[b, h, s]] as f16 * values[[page[[b, s / Z]], s % Z, h / R, e]]);
        context / sum(|s| weight[[b, h, s]])
    }
}

/// Attention of one token a sequence to a cache whose first features are the values. Heads are wide, so warps share their rows.
#[energy_kernel(dims(W = 576, C = 512))]
pub fn attention_latent_bf16(
    q: Tensor<bf16, (B, H, W)>,
    cache: Tensor<bf16, (N, S, W)>,
    slot: Tensor<i32, (B,)>,
    length: Tensor<i32, (B,)>,
    scale: f32,
) -> Tensor<bf16, (B, H, C)> {
    let score = |b, h, s| {
        if s < length[[b]] {
            scale * sum(|w| q[[b, h, w]] * cache[[slot[[b]], s, w]])
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |b, h| max(|s| score[[b, h, s]]);
    let weight = |b, h, s| exp(score[[b, h, s]] - peak[[b, h]]);
    |b, h, c| sum(|s| weight[[b, h, s]] as bf16 * cache[[slot[[b]], s, c]]) / sum(|s| weight[[b, h, s]])
}

/// Terms that are no products.
#[energy_kernel]
pub fn squared_distance_f32(x: Tensor<f32, (M, K)>, y: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| powi(x[[m, k]] - y[[n, k]], 2))
}

/// The sum of those rows whose number is the word's.
#[energy_kernel]
pub fn token_sums_f16(
    token: Tensor<i32, (T,)>,
    dy: Tensor<f16, (T, D)>,
    before: Tensor<f32, (V, D)>,
) -> Tensor<f32, (V, D)> {
    |v, d| before[[v, d]] + sum(|t| if token[[t]] == v { dy[[t, d]] } else { 0.0 })
}

#[energy_kernel]
pub fn differences_i8(a: Tensor<i8, (M, K)>, b: Tensor<i8, (K, N)>) -> Tensor<i32, (M, N)> {
    |m, n| sum(|k| abs(a[[m, k]] - b[[k, n]]))
}

#[energy_kernel]
pub fn unlike_bool(a: Tensor<bool, (M, K)>, b: Tensor<bool, (N, K)>) -> (Tensor<i32, (M, N)>, Tensor<i32, (M, N)>) {
    (
        |m, n| sum(|k| (a[[m, k]] != b[[n, k]]) as i32),
        |m, n| sum(|k| if a[[m, k]] || b[[n, k]] { k + m } else { 0 }),
    )
}

/// A batch, sums over two axes, intermediate tensors, a scalar, and two sums of which one is of products.
#[energy_kernel]
pub fn margins_f64(
    a: Tensor<f64, (B, M, C, K)>,
    b: Tensor<f64, (B, N, C, K)>,
    weight: Tensor<f64, (B, M)>,
    margin: f64,
) -> Tensor<f64, (B, M, N)> {
    let gap = |i, m, n, c, k| abs(a[[i, m, c, k]] - b[[i, n, c, k]]) - margin;
    |i, m, n| {
        let beyond = sum(|c, k| {
            if gap[[i, m, n, c, k]] > 0.0 {
                gap[[i, m, n, c, k]] * weight[[i, m]]
            } else {
                0.0
            }
        });
        beyond - sum(|c, k| a[[i, m, c, k]] * b[[i, n, c, k]])
    }
}

/// A condition keeps an operand in range.
#[energy_kernel]
pub fn shifted_difference_f32(x: Tensor<f32, (M, K)>, y: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| {
        sum(|k| {
            if k + 2 < K {
                min(x[[m, k + 2]], y[[n, k]]) - 1.0
            } else {
                0.0
            }
        })
    }
}

/// The scan of a state-space model: from inside a chunk, without a softmax, and from the state before it.
#[energy_kernel(dims(N = 16, E = 64, R = H / G))]
pub fn chunk_scan_bf16(
    c_in: Tensor<bf16, (C, Q, G, N)>,
    b: Tensor<bf16, (C, Q, G, N)>,
    x: Tensor<bf16, (C, Q, H, E)>,
    step: Tensor<f32, (H, C, Q)>,
    total: Tensor<f32, (H, C, Q)>,
    state: Tensor<bf16, (C, H, E, N)>,
    skip: Tensor<f32, (H,)>,
) -> Tensor<bf16, (C, Q, H, E)> {
    let near = |c, h, i: Q, j: Q| {
        if j <= i {
            exp(total[[h, c, i]] - total[[h, c, j]])
                * step[[h, c, j]]
                * sum(|n| c_in[[c, i, h / R, n]] * b[[c, j, h / R, n]])
        } else {
            0.0
        }
    };
    |c, i, h, e| {
        sum(|j: Q| near[[c, h, i, j]] as bf16 * x[[c, j, h, e]])
            + exp(total[[h, c, i]]) * sum(|n| c_in[[c, i, h / R, n]] * state[[c, h, e, n]])
            + skip[[h]] * x[[c, i, h, e]]
    }
}

/// Retention of grouped heads: a score decays with the distance. The sum of the weights divides.
#[energy_kernel(dims(E = 32, R = H / G))]
pub fn retention_f16(
    q: Tensor<f16, (T, H, E)>,
    k: Tensor<f16, (T, G, E)>,
    v: Tensor<f16, (T, G, E)>,
    rate: Tensor<f32, (H,)>,
) -> Tensor<f16, (T, H, E)> {
    let decay = |h, t: T, s: T| {
        if s <= t {
            exp((s - t) as f32 * abs(rate[[h]]))
        } else {
            0.0
        }
    };
    let weight = |h, t, s| decay[[h, t, s]] * sum(|e| q[[t, h, e]] * k[[s, h / R, e]]);
    |t, h, e| sum(|s| weight[[h, t, s]] as f16 * v[[s, h / R, e]]) / max(abs(sum(|s| weight[[h, t, s]])), 1.0)
}

/// Squares of positive scores as weights, of a window, with a residual.
#[energy_kernel(dims(E = 48, W = 20))]
pub fn squared_relu_attention_bf16(
    q: Tensor<bf16, (T, E)>,
    k: Tensor<bf16, (S, E)>,
    v: Tensor<bf16, (S, E)>,
    x: Tensor<bf16, (T, E)>,
) -> Tensor<bf16, (T, E)> {
    let weight = |t, s| {
        if s + W > t {
            powi(relu(sum(|e| q[[t, e]] * k[[s, e]]) / E as f32), 2)
        } else {
            0.0
        }
    };
    |t, e| x[[t, e]] + sum(|s| weight[[t, s]] as bf16 * v[[s, e]])
}

/// The place of each number in ascending order; equal ones keep their order. All outputs read the same.
#[energy_kernel]
pub fn places_i32(x: Tensor<i32, (A,)>) -> Tensor<i32, (A,)> {
    |a| {
        sum(|c: A| {
            if x[[c]] < x[[a]] || (x[[c]] == x[[a]] && c < a) {
                1
            } else {
                0
            }
        })
    }
}

/// Kernel density, and the nearest sample: sums, a maximum and its position over samples that all points share.
#[energy_kernel]
pub fn density_f32(x: Tensor<f32, (N,)>, at: Tensor<f32, (M,)>) -> (Tensor<f32, (M,)>, Tensor<f32, (M,)>) {
    (
        |m| sum(|n| exp(-powi(x[[n]] - at[[m]], 2))),
        |m| max(|n| -abs(x[[n]] - at[[m]])),
    )
}

/// A causal product: each token mixes those before it.
#[energy_kernel]
pub fn causal_product_bf16(w: Tensor<bf16, (T, T)>, v: Tensor<bf16, (B, T, D)>) -> Tensor<f32, (B, T, D)> {
    let before = |t, s| if s <= t { w[[t, s]] } else { 0.0 };
    |b, t, d| sum(|s| before[[t, s]] * v[[b, s, d]])
}

/// A product of the first part of each sequence.
#[energy_kernel]
pub fn ragged_product_f16(
    x: Tensor<f16, (B, S, M)>,
    y: Tensor<f16, (B, S, N)>,
    length: Tensor<i32, (B,)>,
) -> Tensor<f32, (B, M, N)> {
    let inside = |b, s, m| if s < length[[b]] { x[[b, s, m]] } else { 0.0 };
    |b, m, n| sum(|s| inside[[b, s, m]] * y[[b, s, n]])
}

/// A product with a band of a matrix.
#[energy_kernel]
pub fn banded_product_f32(a: Tensor<f32, (T, T)>, x: Tensor<f32, (T, N)>) -> Tensor<f32, (T, N)> {
    let near = |t, s| if s <= t + 1 && t - s < 9 { a[[t, s]] } else { 0.0 };
    |t, n| sum(|s| near[[t, s]] * x[[s, n]])
}

/// A product with a triangle of the right matrix, whose condition no factor has.
#[energy_kernel]
pub fn triangle_product_f32(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| if n < k { a[[m, k]] * b[[k, n]] } else { 0.0 })
}

/// Weights and rows in groups that have a scale each, as integers.
#[energy_kernel]
pub fn group_scales_i8(
    x: Tensor<i8, (M, C, I)>,
    x_scale: Tensor<f32, (M, C)>,
    w: Tensor<i8, (N, C, I)>,
    w_scale: Tensor<f32, (N, C)>,
) -> Tensor<f32, (M, N)> {
    |m, n| sum(|c| x_scale[[m, c]] * w_scale[[n, c]] * sum(|i| x[[m, c, i]] * w[[n, c, i]]) as f32)
}

/// Weights contiguous along columns, in groups with a scale and a bound of their own; two results of the same sums.
#[energy_kernel]
pub fn group_scales_columns_f16(
    x: Tensor<f16, (B, M, C, I)>,
    w: Tensor<f16, (C, I, N)>,
    scale: Tensor<f16, (C, N)>,
    most: f32,
) -> (Tensor<f32, (B, M, N)>, Tensor<bf16, (B, M, N)>) {
    let group = |b, m, n, c| sum(|i| x[[b, m, c, i]] * w[[c, i, n]]);
    (
        |b, m, n| sum(|c| group[[b, m, n, c]] * scale[[c, n]]),
        |b, m, n| sum(|c| min(group[[b, m, n, c]], most)) * 0.5,
    )
}

/// Groups of several dimensions on both sides, with bytes that lie along rows and along columns.
#[energy_kernel]
pub fn group_scales_bytes_u8(
    x: Tensor<u8, (C, D, I, M)>,
    w: Tensor<i8, (C, D, I, N)>,
    zero: Tensor<i8, (C, D, N)>,
) -> Tensor<i32, (M, N)> {
    |m, n| sum(|c, d| sum(|i| x[[c, d, i, m]] * w[[c, d, i, n]]) * zero[[c, d, n]])
}
