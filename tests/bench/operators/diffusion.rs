//! Stable Diffusion and Flux.

/// Group norm and SiLU of 320 channels in 32 groups, channels first.
#[energy_kernel(tune(B = 2, G = 32, C = 10, S = 4096))]
fn group_norm(
    x: Tensor<f16, (B, G, C, S)>,
    gain: Tensor<f16, (G, C)>,
    shift: Tensor<f16, (G, C)>,
    epsilon: f32,
) -> Tensor<f16, (B, G, C, S)> {
    let mean = |b, g| sum(|c, s| x[[b, g, c, s]]) / (C * S) as f32;
    let variance = |b, g| sum(|c, s| powi(x[[b, g, c, s]] - mean[[b, g]], 2)) / (C * S) as f32;
    |b, g, c, s| {
        silu((x[[b, g, c, s]] - mean[[b, g]]) * rsqrt(variance[[b, g]] + epsilon) * gain[[g, c]] + shift[[g, c]])
    }
}

/// The same, channels last.
#[energy_kernel(tune(B = 2, S = 4096, G = 32, C = 10))]
fn group_norm_last(
    x: Tensor<f16, (B, S, G, C)>,
    gain: Tensor<f16, (G, C)>,
    shift: Tensor<f16, (G, C)>,
    epsilon: f32,
) -> Tensor<f16, (B, S, G, C)> {
    let mean = |b, g| sum(|s, c| x[[b, s, g, c]]) / (C * S) as f32;
    let variance = |b, g| sum(|s, c| powi(x[[b, s, g, c]] - mean[[b, g]], 2)) / (C * S) as f32;
    |b, s, g, c| {
        silu((x[[b, s, g, c]] - mean[[b, g]]) * rsqrt(variance[[b, g]] + epsilon) * gain[[g, c]] + shift[[g, c]])
    }
}

/// A convolution of an image that is twice as large, by nearest neighbours.
#[energy_kernel(dims(HO = 2 * H, WO = 2 * W, TAPS = 3), tune(B = 2, C = 320, H = 64, W = 64, O = 320))]
fn upsample_conv(
    x: Tensor<f16, (B, C, H, W)>,
    w: Tensor<f16, (O, C, TAPS, TAPS)>,
    bias: Tensor<f16, (O,)>,
    time: Tensor<f16, (B, O)>,
) -> Tensor<f16, (B, O, HO, WO)> {
    |b, o, h, v| {
        sum(|c, r, s| {
            if h + r >= 1 && h + r <= 2 * H && v + s >= 1 && v + s <= 2 * W {
                x[[b, c, (h + r - 1) / 2, (v + s - 1) / 2]] * w[[o, c, r, s]]
            } else {
                0.0
            }
        }) + bias[[o]]
            + time[[b, o]]
    }
}

/// Layer norm with the shift and scale of a step.
#[energy_kernel(tune(B = 1, T = 4608, D = 3072))]
fn modulated_norm(
    x: Tensor<bf16, (B, T, D)>,
    shift: Tensor<bf16, (B, D)>,
    scale: Tensor<bf16, (B, D)>,
    epsilon: f32,
) -> Tensor<bf16, (B, T, D)> {
    let mean = |b, t| sum(|d| x[[b, t, d]]) / D as f32;
    let variance = |b, t| sum(|d| powi(x[[b, t, d]] - mean[[b, t]], 2)) / D as f32;
    |b, t, d| (x[[b, t, d]] - mean[[b, t]]) * rsqrt(variance[[b, t]] + epsilon) * (1.0 + scale[[b, d]]) + shift[[b, d]]
}

/// A projection, gated and added.
#[energy_kernel(tune(B = 1, T = 4608, K = 3072, O = 3072))]
fn gated_residual(
    x: Tensor<bf16, (B, T, K)>,
    w: Tensor<bf16, (O, K)>,
    bias: Tensor<bf16, (O,)>,
    gate: Tensor<bf16, (B, O)>,
    residual: Tensor<bf16, (B, T, O)>,
) -> Tensor<bf16, (B, T, O)> {
    |b, t, o| residual[[b, t, o]] + gate[[b, o]] * (sum(|k| x[[b, t, k]] * w[[o, k]]) + bias[[o]])
}

/// The attention's output and GELU of the other part, multiplied by one matrix.
#[energy_kernel(dims(K = D + F), tune(T = 4608, D = 3072, F = 12288, O = 3072))]
fn joint_product(y: Tensor<bf16, (T, D)>, z: Tensor<bf16, (T, F)>, w: Tensor<bf16, (O, K)>) -> Tensor<bf16, (T, O)> {
    |t, o| sum(|d: D| y[[t, d]] * w[[o, d]]) + sum(|f| gelu(z[[t, f]]) as bf16 * w[[o, D + f]])
}

/// The angles of a step.
#[energy_kernel(dims(D = 2 * HALF), tune(B = 4, HALF = 128))]
fn time_embedding(time: Tensor<f32, (B,)>, like: Tensor<f32, (HALF,)>) -> Tensor<f16, (B, D)> {
    |b, d| {
        let angle = 1000.0 * time[[b]] * exp(-9.210340371976184 * (d % HALF) as f32 / HALF as f32);
        if d < HALF { cos(angle) } else { sin(angle) }
    }
}
