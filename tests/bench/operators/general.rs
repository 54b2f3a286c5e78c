//! Operators of no model in particular.

#[energy_kernel(tune(N = [1048576, 268435456]))]
fn copy(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| x[[n]]
}

#[energy_kernel(tune(N = 67108864))]
fn silu_product(x: Tensor<f16, (N,)>, y: Tensor<f16, (N,)>) -> Tensor<f16, (N,)> {
    |n| silu(x[[n]]) * y[[n]]
}

#[energy_kernel(types(T = [f16, f32, i8]), tune(M = 8192, N = 8192))]
fn transpose(x: Tensor<T, (M, N)>) -> Tensor<T, (N, M)> {
    |n, m| x[[m, n]]
}

#[energy_kernel(tune(B = 16, S = 2048, H = 32, E = 128))]
fn swap_heads(x: Tensor<f16, (B, S, H, E)>) -> Tensor<f16, (B, H, S, E)> {
    |b, h, s, e| x[[b, s, h, e]]
}

/// One number out of many.
#[energy_kernel(tune(N = 268435456))]
fn sum_all(x: Tensor<f32, (N,)>) -> Tensor<f32, ()> {
    sum(|n| x[[n]])
}

#[energy_kernel(tune(N = 16777216))]
fn argmax_all(x: Tensor<f32, (N,)>) -> Tensor<i32, ()> {
    argmax(|n| x[[n]])
}

#[energy_kernel(tune(R = 64, C = 1048576))]
fn sum_rows(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> {
    |r| sum(|c| x[[r, c]])
}

#[energy_kernel(tune(R = 65536, C = 4096))]
fn sum_columns(x: Tensor<f16, (R, C)>) -> Tensor<f32, (C,)> {
    |c| sum(|r| x[[r, c]])
}

#[energy_kernel(tune(R = [8, 4096], C = 32768))]
fn softmax(x: Tensor<f16, (R, C)>) -> Tensor<f16, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

/// Down columns.
#[energy_kernel(tune(R = 4096, C = 4096))]
fn softmax_columns(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |c| max(|r| x[[r, c]]);
    let total = |c| sum(|r| exp(x[[r, c]] - peak[[c]]));
    |r, c| exp(x[[r, c]] - peak[[c]]) / total[[c]]
}

/// The spatial gate of a causal gMLP: each token mixes those up to itself.
#[energy_kernel(tune(B = 8, T = 1024, D = 1536))]
fn spatial_gate(
    u: Tensor<f16, (B, T, D)>,
    v: Tensor<f16, (B, T, D)>,
    w: Tensor<f16, (T, T)>,
    bias: Tensor<f16, (T,)>,
) -> Tensor<f16, (B, T, D)> {
    let past = |t, s| if s <= t { w[[t, s]] } else { 0.0 };
    |b, t, d| u[[b, t, d]] * (sum(|s| past[[t, s]] * v[[b, s, d]]) + bias[[t]])
}

/// The gradients of a layer norm: of its input, its gain and its shift.
#[energy_kernel(tune(T = 4096, D = 1024))]
fn layer_norm_gradient(
    x: Tensor<f16, (T, D)>,
    dy: Tensor<f16, (T, D)>,
    gain: Tensor<f32, (D,)>,
    mean: Tensor<f32, (T,)>,
    inverse: Tensor<f32, (T,)>,
) -> Tensor<f16, (T, D)> {
    let normal = |t, d| (x[[t, d]] - mean[[t]]) * inverse[[t]];
    let g = |t, d| dy[[t, d]] * gain[[d]];
    let along = |t| sum(|d| g[[t, d]] * normal[[t, d]]) / D as f32;
    let offset = |t| sum(|d| g[[t, d]]) / D as f32;
    |t, d| (g[[t, d]] - offset[[t]] - normal[[t, d]] * along[[t]]) * inverse[[t]]
}

/// The gradient of the gain of a layer norm.
#[energy_kernel(tune(T = 16384, D = 1024))]
fn layer_norm_gain_gradient(
    x: Tensor<f16, (T, D)>,
    dy: Tensor<f16, (T, D)>,
    mean: Tensor<f32, (T,)>,
    inverse: Tensor<f32, (T,)>,
) -> Tensor<f32, (D,)> {
    |d| sum(|t| dy[[t, d]] * (x[[t, d]] - mean[[t]]) * inverse[[t]])
}

/// The nearest of 65536 vectors to each query.
#[energy_kernel(tune(Q = 1024, N = 65536, D = 128))]
fn nearest(x: Tensor<f32, (Q, D)>, y: Tensor<f32, (N, D)>) -> Tensor<i32, (Q,)> {
    |q| argmin(|n| sum(|d| powi(x[[q, d]] - y[[n, d]], 2)))
}

#[energy_kernel(types(T = [f16, f32]), tune(M = 4096, N = 4096, K = 4096))]
fn matmul(a: Tensor<T, (M, K)>, b: Tensor<T, (K, N)>) -> Tensor<T, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[k, n]])
}

#[energy_kernel(tune(M = 4096, N = 4096, K = 4096))]
fn matmul_i8(a: Tensor<i8, (M, K)>, b: Tensor<i8, (N, K)>) -> Tensor<i32, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[n, k]])
}

#[energy_kernel(tune(M = 2048, N = 2048, K = 2048))]
fn matmul_tf32(a: Tensor<f32, (M, K)>, b: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| tf32(a[[m, k]]) * tf32(b[[n, k]]))
}

#[energy_kernel(tune(M = 2048, N = 2048, K = 2048))]
fn matmul_f64(a: Tensor<f64, (M, K)>, b: Tensor<f64, (K, N)>) -> Tensor<f64, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[k, n]])
}

/// Few columns and many terms.
#[energy_kernel(tune(M = 64, N = 64, K = 262144))]
fn matmul_deep(a: Tensor<f16, (M, K)>, b: Tensor<f16, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[n, k]])
}

#[energy_kernel(tune(B = 512, M = 128, N = 128, K = 64))]
fn matmul_batched(a: Tensor<f16, (B, M, K)>, b: Tensor<f16, (B, K, N)>) -> Tensor<f16, (B, M, N)> {
    |i, m, n| sum(|k| a[[i, m, k]] * b[[i, k, n]])
}

/// Adds to the gradient of an embedding: each word sums the tokens that are it.
#[energy_kernel(tune(T = 2048, V = 32000, D = 512))]
fn embedding_gradient(
    token: Tensor<i32, (T,)>,
    dy: Tensor<f16, (T, D)>,
    before: Tensor<f32, (V, D)>,
) -> Tensor<f32, (V, D)> {
    |v, d| before[[v, d]] + sum(|t| if token[[t]] == v { dy[[t, d]] } else { 0.0 })
}

/// Two products in one: every value of the first is needed by each column of the second.
#[energy_kernel(tune(T = 256, D = 1024, F = 4096))]
fn two_products(
    x: Tensor<f16, (T, D)>,
    first: Tensor<f16, (F, D)>,
    second: Tensor<f16, (D, F)>,
) -> Tensor<f16, (T, D)> {
    let hidden = |t, f| gelu(sum(|d| x[[t, d]] * first[[f, d]])) as f16;
    |t, d| sum(|f| hidden[[t, f]] * second[[d, f]])
}
