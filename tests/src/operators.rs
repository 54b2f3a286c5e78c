//! The operators of the validation set. All but the last few have vectors made by numpy (`../vectors`).

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

/// Of the whole population: divided by C. The mean is about 3, so the square of the mean must not be
/// subtracted from the mean of the squares.
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

/// D is 2 E; element d turns with element d + E.
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

/// NaN goes through both.
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

/// Two tensors behind each other.
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

/// Numbers of both kinds are numbers of 10 bits.
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
