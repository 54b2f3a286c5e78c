//! BERT, ModernBERT, ViT and SigLIP.

/// The sum of three embeddings, normed.
#[energy_kernel(tune(T = 4096, V = 30522, Y = 2, L = 512, D = 768))]
fn embed_norm(
    token: Tensor<i32, (T,)>,
    kind: Tensor<i32, (T,)>,
    position: Tensor<i32, (T,)>,
    words: Tensor<f16, (V, D)>,
    kinds: Tensor<f16, (Y, D)>,
    positions: Tensor<f16, (L, D)>,
    gain: Tensor<f16, (D,)>,
    shift: Tensor<f16, (D,)>,
    epsilon: f32,
) -> Tensor<f16, (T, D)> {
    let x = |t, d| words[[token[[t]], d]] + kinds[[kind[[t]], d]] + positions[[position[[t]], d]];
    let mean = |t| sum(|d| x[[t, d]]) / D as f32;
    let variance = |t| sum(|d| powi(x[[t, d]] - mean[[t]], 2)) / D as f32;
    |t, d| (x[[t, d]] - mean[[t]]) * rsqrt(variance[[t]] + epsilon) * gain[[d]] + shift[[d]]
}

/// Attention within packed sentences, and within reach.
#[energy_kernel(dims(THREE = 3), tune(T = 4096, H = 12, E = 64))]
fn attend_packed(
    qkv: Tensor<f16, (T, THREE, H, E)>,
    first: Tensor<i32, (T,)>,
    last: Tensor<i32, (T,)>,
    reach: i32,
) -> Tensor<f16, (T, H, E)> {
    let score = |t, h, s: T| {
        if s >= first[[t]] && s < last[[t]] && s - t <= reach && t - s <= reach {
            sum(|e| qkv[[t, 0, h, e]] * qkv[[s, 1, h, e]]) * rsqrt(E as f32)
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |t, h| max(|s| score[[t, h, s]]);
    let weight = |t, h, s| exp(score[[t, h, s]] - peak[[t, h]]);
    |t, h, e| sum(|s| weight[[t, h, s]] as f16 * qkv[[s, 2, h, e]]) / sum(|s| weight[[t, h, s]])
}

/// GELU of one half of a product times the other.
#[energy_kernel(dims(F = W / 2), tune(T = 4096, D = 768, W = 2304))]
fn geglu(x: Tensor<f16, (T, D)>, w: Tensor<f16, (W, D)>) -> Tensor<f16, (T, F)> {
    |t, f| gelu(sum(|d| x[[t, d]] * w[[f, d]])) * sum(|d| x[[t, d]] * w[[f + F, d]])
}

/// The mean of each packed sentence.
#[energy_kernel(tune(T = 4096, D = 768, B = 32))]
fn packed_mean(x: Tensor<f16, (T, D)>, first: Tensor<i32, (B,)>, last: Tensor<i32, (B,)>) -> Tensor<f32, (B, D)> {
    |b, d| {
        sum(|t: T| {
            if t >= first[[b]] && t < last[[b]] {
                x[[t, d]]
            } else {
                0.0
            }
        }) / max(last[[b]] - first[[b]], 1) as f32
    }
}

/// Bytes of an image to features of patches, with their positions.
#[energy_kernel(dims(HO = H / 16, WO = W / 16, TAPS = 16, THREE = 3), tune(H = 384, W = 384, O = 1024))]
fn patch_embed(
    x: Tensor<u8, (H, W, THREE)>,
    mean: Tensor<f32, (THREE,)>,
    inverse: Tensor<f32, (THREE,)>,
    w: Tensor<f16, (O, THREE, TAPS, TAPS)>,
    bias: Tensor<f16, (O,)>,
    position: Tensor<f16, (HO, WO, O)>,
) -> Tensor<f16, (HO, WO, O)> {
    let pixel = |h: H, v: W, c: THREE| ((x[[h, v, c]] as f32 / 255.0 - mean[[c]]) * inverse[[c]]) as f16;
    |h, v, o| sum(|c, r, s| pixel[[h * 16 + r, v * 16 + s, c]] * w[[o, c, r, s]]) + bias[[o]] + position[[h, v, o]]
}

#[energy_kernel(tune(T = [577, 36928], D = 1024))]
fn layer_norm(
    x: Tensor<f16, (T, D)>,
    gain: Tensor<f16, (D,)>,
    shift: Tensor<f16, (D,)>,
    epsilon: f32,
) -> Tensor<f16, (T, D)> {
    let mean = |t| sum(|d| x[[t, d]]) / D as f32;
    let variance = |t| sum(|d| powi(x[[t, d]] - mean[[t]], 2)) / D as f32;
    |t, d| (x[[t, d]] - mean[[t]]) * rsqrt(variance[[t]] + epsilon) * gain[[d]] + shift[[d]]
}

/// The class token before the patches.
#[energy_kernel(dims(T1 = T + 1), tune(B = 64, T = 576, D = 1024))]
fn with_class(x: Tensor<f16, (B, T, D)>, class: Tensor<f16, (D,)>) -> Tensor<f16, (B, T1, D)> {
    |b, t, d| if t == 0 { class[[d]] } else { x[[b, t - 1, d]] }
}
