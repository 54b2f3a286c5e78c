//! ResNet-50 at batch 1 and 32, and ConvNeXt.

/// The first convolution.
#[energy_kernel(dims(HO = (H - 1) / 2 + 1, WO = (W - 1) / 2 + 1, TAPS = 7), tune(B = [1, 32], C = 3, H = 224, W = 224, O = 64))]
fn conv_stem(
    x: Tensor<f16, (B, C, H, W)>,
    w: Tensor<f16, (O, C, TAPS, TAPS)>,
    bias: Tensor<f32, (O,)>,
) -> Tensor<f16, (B, O, HO, WO)> {
    |b, o, h, v| relu(sum(|c, r, s| x.or(0.0)[[b, c, 2 * h + r - 3, 2 * v + s - 3]] * w[[o, c, r, s]]) + bias[[o]])
}

#[energy_kernel(dims(TAPS = 3, HO = (H - 1) / 2 + 1, WO = (W - 1) / 2 + 1), tune(B = [1, 32], C = 64, H = 112, W = 112))]
fn max_pool(x: Tensor<f16, (B, C, H, W)>) -> Tensor<f16, (B, C, HO, WO)> {
    |b, c, h, v| max(|r: TAPS, s: TAPS| x.or(f32::NEG_INFINITY)[[b, c, 2 * h + r - 1, 2 * v + s - 1]])
}

/// Pointwise convolutions.
#[energy_kernel(
    tune(B = [1, 32], C = 64, O = [64, 256], H = 56, W = 56),
    tune(B = [1, 32], C = 256, O = [64, 128], H = 56, W = 56),
    tune(B = [1, 32], C = 128, O = 512, H = 28, W = 28),
    tune(B = [1, 32], C = 512, O = [128, 256], H = 28, W = 28),
    tune(B = [1, 32], C = 256, O = 1024, H = 14, W = 14),
    tune(B = [1, 32], C = 1024, O = [256, 512], H = 14, W = 14),
    tune(B = [1, 32], C = 512, O = 2048, H = 7, W = 7),
    tune(B = [1, 32], C = 2048, O = 512, H = 7, W = 7)
)]
fn conv_1x1(
    x: Tensor<f16, (B, C, H, W)>,
    w: Tensor<f16, (O, C)>,
    bias: Tensor<f32, (O,)>,
) -> Tensor<f16, (B, O, H, W)> {
    |b, o, h, v| relu(sum(|c| x[[b, c, h, v]] * w[[o, c]]) + bias[[o]])
}

/// Convolutions of 3 × 3.
#[energy_kernel(
    dims(TAPS = 3),
    tune(B = [1, 32], C = 64, O = 64, H = 56, W = 56),
    tune(B = [1, 32], C = 128, O = 128, H = 28, W = 28),
    tune(B = [1, 32], C = 256, O = 256, H = 14, W = 14),
    tune(B = [1, 32], C = 512, O = 512, H = 7, W = 7)
)]
fn conv_3x3(
    x: Tensor<f16, (B, C, H, W)>,
    w: Tensor<f16, (O, C, TAPS, TAPS)>,
    bias: Tensor<f32, (O,)>,
) -> Tensor<f16, (B, O, H, W)> {
    |b, o, h, v| relu(sum(|c, r, s| x.or(0.0)[[b, c, h + r - 1, v + s - 1]] * w[[o, c, r, s]]) + bias[[o]])
}

/// Pointwise convolutions of every other pixel, beside those that halve the image.
#[energy_kernel(
    dims(HO = (H - 1) / 2 + 1, WO = (W - 1) / 2 + 1),
    tune(B = [1, 32], C = 256, O = 512, H = 56, W = 56),
    tune(B = [1, 32], C = 512, O = 1024, H = 28, W = 28),
    tune(B = [1, 32], C = 1024, O = 2048, H = 14, W = 14)
)]
fn conv_1x1_halving(
    x: Tensor<f16, (B, C, H, W)>,
    w: Tensor<f16, (O, C)>,
    bias: Tensor<f32, (O,)>,
) -> Tensor<f16, (B, O, HO, WO)> {
    |b, o, h, v| sum(|c| x[[b, c, 2 * h, 2 * v]] * w[[o, c]]) + bias[[o]]
}

/// Convolutions of 3 × 3 that halve the image.
#[energy_kernel(
    dims(HO = (H - 1) / 2 + 1, WO = (W - 1) / 2 + 1, TAPS = 3),
    tune(B = [1, 32], C = 128, O = 128, H = 56, W = 56),
    tune(B = [1, 32], C = 256, O = 256, H = 28, W = 28),
    tune(B = [1, 32], C = 512, O = 512, H = 14, W = 14)
)]
fn conv_3x3_halving(
    x: Tensor<f16, (B, C, H, W)>,
    w: Tensor<f16, (O, C, TAPS, TAPS)>,
    bias: Tensor<f32, (O,)>,
) -> Tensor<f16, (B, O, HO, WO)> {
    |b, o, h, v| {
        relu(sum(|c, r, s| x.or(0.0)[[b, c, 2 * h + r - 1, 2 * v + s - 1]] * w[[o, c, r, s]]) + bias[[o]])
    }
}

/// A convolution of 3 × 3 that halves the image, added to a residual.
#[energy_kernel(
    dims(HO = (H - 1) / 2 + 1, WO = (W - 1) / 2 + 1, TAPS = 3),
    tune(B = 32, C = 128, O = 128, H = 56, W = 56)
)]
fn conv_residual(
    x: Tensor<f16, (B, C, H, W)>,
    w: Tensor<f16, (O, C, TAPS, TAPS)>,
    bias: Tensor<f32, (O,)>,
    residual: Tensor<f16, (B, O, HO, WO)>,
) -> Tensor<f16, (B, O, HO, WO)> {
    |b, o, h, v| {
        relu(
            sum(|c, r, s| x.or(0.0)[[b, c, 2 * h + r - 1, 2 * v + s - 1]] * w[[o, c, r, s]])
                + bias[[o]]
                + residual[[b, o, h, v]],
        )
    }
}

/// Channels last.
#[energy_kernel(dims(TAPS = 3), tune(B = 32, C = 128, O = 128, H = 28, W = 28))]
fn conv_channels_last(
    x: Tensor<f16, (B, H, W, C)>,
    w: Tensor<f16, (O, TAPS, TAPS, C)>,
    bias: Tensor<f32, (O,)>,
) -> Tensor<f16, (B, H, W, O)> {
    |b, h, v, o| relu(sum(|r, s, c| x.or(0.0)[[b, h + r - 1, v + s - 1, c]] * w[[o, r, s, c]]) + bias[[o]])
}

#[energy_kernel(tune(B = [1, 32], C = 2048, H = 7, W = 7))]
fn global_mean(x: Tensor<f16, (B, C, H, W)>) -> Tensor<f16, (B, C)> {
    |b, c| sum(|h, v| x[[b, c, h, v]]) / (H * W) as f32
}

/// Depthwise 7 × 7.
#[energy_kernel(dims(TAPS = 7), tune(B = 8, C = 96, H = 56, W = 56))]
fn depthwise(
    x: Tensor<f16, (B, C, H, W)>,
    w: Tensor<f16, (C, TAPS, TAPS)>,
    bias: Tensor<f16, (C,)>,
) -> Tensor<f16, (B, C, H, W)> {
    |b, c, h, v| sum(|r, s| x.or(0.0)[[b, c, h + r - 3, v + s - 3]] * w[[c, r, s]]) + bias[[c]]
}

/// Depthwise 7 × 7 and layer norm over channels, channels last.
#[energy_kernel(dims(TAPS = 7), tune(B = 1, H = 56, W = 56, C = 96))]
fn depthwise_norm(
    x: Tensor<f16, (B, H, W, C)>,
    w: Tensor<f16, (TAPS, TAPS, C)>,
    bias: Tensor<f16, (C,)>,
    gain: Tensor<f16, (C,)>,
    shift: Tensor<f16, (C,)>,
    epsilon: f32,
) -> Tensor<f16, (B, H, W, C)> {
    let y = |b: B, h: H, v: W, c| sum(|r, s| x.or(0.0)[[b, h + r - 3, v + s - 3, c]] * w[[r, s, c]]) + bias[[c]];
    let mean = |b, h, v| sum(|c| y[[b, h, v, c]]) / C as f32;
    let variance = |b, h, v| sum(|c| powi(y[[b, h, v, c]] - mean[[b, h, v]], 2)) / C as f32;
    |b, h, v, c| (y[[b, h, v, c]] - mean[[b, h, v]]) * rsqrt(variance[[b, h, v]] + epsilon) * gain[[c]] + shift[[c]]
}

/// Layer norm over channels that are not last.
#[energy_kernel(tune(B = 8, C = 96, S = 3136))]
fn layer_norm_first(
    x: Tensor<f16, (B, C, S)>,
    gain: Tensor<f16, (C,)>,
    shift: Tensor<f16, (C,)>,
    epsilon: f32,
) -> Tensor<f16, (B, C, S)> {
    let mean = |b, s| sum(|c| x[[b, c, s]]) / C as f32;
    let variance = |b, s| sum(|c| powi(x[[b, c, s]] - mean[[b, s]], 2)) / C as f32;
    |b, c, s| (x[[b, c, s]] - mean[[b, s]]) * rsqrt(variance[[b, s]] + epsilon) * gain[[c]] + shift[[c]]
}

/// Each channel by its length over the image.
#[energy_kernel(tune(B = 8, S = 3136, C = 384))]
fn response_norm(
    x: Tensor<f16, (B, S, C)>,
    gain: Tensor<f32, (C,)>,
    shift: Tensor<f32, (C,)>,
) -> Tensor<f16, (B, S, C)> {
    let length = |b, c| sqrt(sum(|s| powi(x[[b, s, c]], 2)));
    let mean = |b| sum(|c| length[[b, c]]) / C as f32;
    |b, s, c| x[[b, s, c]] * (1.0 + gain[[c]] * length[[b, c]] / (mean[[b]] + 1e-6)) + shift[[c]]
}

/// The last product of a block, scaled and added.
#[energy_kernel(tune(T = 25088, F = 384, D = 96))]
fn scaled_residual(
    x: Tensor<f16, (T, F)>,
    w: Tensor<f16, (D, F)>,
    bias: Tensor<f16, (D,)>,
    gamma: Tensor<f16, (D,)>,
    residual: Tensor<f16, (T, D)>,
) -> Tensor<f16, (T, D)> {
    |t, d| residual[[t, d]] + gamma[[d]] * (sum(|f| x[[t, f]] * w[[d, f]]) + bias[[d]])
}
