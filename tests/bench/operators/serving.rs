//! What engines launch around the layers of language models: paged caches, sampling, quantisation, losses.

/// One new token of each sequence over a paged cache.
#[energy_kernel(dims(R = H / G, S = P * Z), tune(B = 8, H = 32, G = 8, E = 128, N = 4096, Z = 16, P = 256))]
fn attend_pages(
    q: Tensor<f16, (B, H, E)>,
    keys: Tensor<f16, (N, Z, G, E)>,
    values: Tensor<f16, (N, Z, G, E)>,
    page: Tensor<i32, (B, P)>,
    length: Tensor<i32, (B,)>,
    scale: f32,
) -> Tensor<f16, (B, H, E)> {
    let score = |b, h, s: S| {
        if s < length[[b]] {
            scale * sum(|e| q[[b, h, e]] * keys[[page[[b, s / Z]], s % Z, h / R, e]])
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |b, h| max(|s| score[[b, h, s]]);
    let weight = |b, h, s| exp(score[[b, h, s]] - peak[[b, h]]);
    |b, h, e| {
        sum(|s| weight[[b, h, s]] as f16 * values[[page[[b, s / Z]], s % Z, h / R, e]]) / sum(|s| weight[[b, h, s]])
    }
}

/// Prompts of several sequences, packed, over a paged cache.
#[energy_kernel(dims(R = H / G, S = P * Z), tune(T = 2048, B = 4, H = 32, G = 8, E = 128, N = 1024, Z = 16, P = 128))]
fn attend_packed_pages(
    q: Tensor<f16, (T, H, E)>,
    keys: Tensor<f16, (N, Z, G, E)>,
    values: Tensor<f16, (N, Z, G, E)>,
    page: Tensor<i32, (B, P)>,
    sequence: Tensor<i32, (T,)>,
    position: Tensor<i32, (T,)>,
    scale: f32,
) -> Tensor<f16, (T, H, E)> {
    let score = |t, h, s: S| {
        if s <= position[[t]] {
            scale * sum(|e| q[[t, h, e]] * keys[[page[[sequence[[t]], s / Z]], s % Z, h / R, e]])
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |t, h| max(|s| score[[t, h, s]]);
    let weight = |t, h, s| exp(score[[t, h, s]] - peak[[t, h]]);
    |t, h, e| {
        sum(|s| weight[[t, h, s]] as f16 * values[[page[[sequence[[t]], s / Z]], s % Z, h / R, e]])
            / sum(|s| weight[[t, h, s]])
    }
}

/// A sliding window and capped scores, over a paged cache.
#[energy_kernel(dims(R = H / G, S = P * Z), tune(T = 1024, B = 2, H = 8, G = 4, E = 256, N = 512, Z = 16, P = 128))]
fn attend_window(
    q: Tensor<bf16, (T, H, E)>,
    keys: Tensor<bf16, (N, Z, G, E)>,
    values: Tensor<bf16, (N, Z, G, E)>,
    page: Tensor<i32, (B, P)>,
    sequence: Tensor<i32, (T,)>,
    position: Tensor<i32, (T,)>,
    scale: f32,
    cap: f32,
    window: i32,
) -> Tensor<bf16, (T, H, E)> {
    let score = |t, h, s: S| {
        if s <= position[[t]] && s > position[[t]] - window {
            cap * tanh(scale / cap * sum(|e| q[[t, h, e]] * keys[[page[[sequence[[t]], s / Z]], s % Z, h / R, e]]))
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |t, h| max(|s| score[[t, h, s]]);
    let weight = |t, h, s| exp(score[[t, h, s]] - peak[[t, h]]);
    |t, h, e| {
        sum(|s| weight[[t, h, s]] as bf16 * values[[page[[sequence[[t]], s / Z]], s % Z, h / R, e]])
            / sum(|s| weight[[t, h, s]])
    }
}

/// Latent attention: the values are the first features of the keys.
#[energy_kernel(dims(S = P * Z, C = W - 64), tune(B = 8, H = 128, W = 576, N = 1024, Z = 64, P = 64))]
fn attend_latent(
    q: Tensor<bf16, (B, H, W)>,
    cache: Tensor<bf16, (N, Z, W)>,
    page: Tensor<i32, (B, P)>,
    length: Tensor<i32, (B,)>,
    scale: f32,
) -> Tensor<bf16, (B, H, C)> {
    let score = |b, h, s: S| {
        if s < length[[b]] {
            scale * sum(|w| q[[b, h, w]] * cache[[page[[b, s / Z]], s % Z, w]])
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |b, h| max(|s| score[[b, h, s]]);
    let weight = |b, h, s| exp(score[[b, h, s]] - peak[[b, h]]);
    |b, h, c| sum(|s| weight[[b, h, s]] as bf16 * cache[[page[[b, s / Z]], s % Z, c]]) / sum(|s| weight[[b, h, s]])
}

/// Queries of each head into the latent space.
#[energy_kernel(tune(T = 8, H = 128, E = 128, C = 512))]
fn absorb(q: Tensor<bf16, (T, H, E)>, w: Tensor<bf16, (H, E, C)>) -> Tensor<bf16, (T, H, C)> {
    |t, h, c| sum(|e| q[[t, h, e]] * w[[h, e, c]])
}

/// Logits less penalties for tokens that have occurred.
#[energy_kernel(tune(B = 32, V = 128256))]
fn penalise(
    logit: Tensor<f32, (B, V)>,
    count: Tensor<i32, (B, V)>,
    repeat: f32,
    presence: f32,
    frequency: f32,
    temperature: f32,
) -> Tensor<f32, (B, V)> {
    |b, v| {
        let l = logit[[b, v]];
        let scaled = if l > 0.0 { l / repeat } else { l * repeat };
        let once = if count[[b, v]] > 0 { scaled - presence } else { l };
        (once - frequency * count[[b, v]] as f32) / temperature
    }
}

/// The largest of the logits that are allowed.
#[energy_kernel(tune(B = [1, 32], V = 51866))]
fn allowed_argmax(logit: Tensor<f32, (B, V)>, allowed: Tensor<bool, (V,)>) -> Tensor<i32, (B,)> {
    |b| argmax(|v| if allowed[[v]] { logit[[b, v]] } else { f32::NEG_INFINITY })
}

/// Logits between -cap and cap.
#[energy_kernel(tune(T = 16, D = 2304, V = 256000))]
fn capped_logits(x: Tensor<bf16, (T, D)>, head: Tensor<bf16, (V, D)>, cap: f32) -> Tensor<f32, (T, V)> {
    |t, v| cap * tanh(sum(|d| x[[t, d]] * head[[v, d]]) / cap)
}

/// The loss of each token.
#[energy_kernel(tune(T = [8, 2048], V = 128256))]
fn cross_entropy(logit: Tensor<f32, (T, V)>, label: Tensor<i64, (T,)>) -> Tensor<f32, (T,)> {
    let peak = |t| max(|v| logit[[t, v]]);
    let mass = |t| sum(|v| exp(logit[[t, v]] - peak[[t]]));
    |t| {
        if label[[t]] == -100 {
            0.0
        } else {
            ln(mass[[t]]) + peak[[t]] - logit[[t, label[[t]]]]
        }
    }
}

/// Groups of 32 as integers, with their scales and sums.
#[energy_kernel(dims(C = K / 32, I = 32), tune(T = 512, K = 4096))]
fn quantise_groups(x: Tensor<f16, (T, K)>) -> (Tensor<i8, (T, C, I)>, Tensor<f32, (T, C)>, Tensor<f32, (T, C)>) {
    let step = |t, c: C| max(|i: I| abs(x[[t, c * 32 + i]])) / 127.0;
    (
        |t, c, i| {
            if step[[t, c]] == 0.0 {
                0
            } else {
                round(x[[t, c * 32 + i]] / step[[t, c]]) as i8
            }
        },
        |t, c| step[[t, c]],
        |t, c| sum(|i: I| x[[t, c * 32 + i]]),
    )
}

/// A product of weights in groups of 32 that have a scale each.
#[energy_kernel(tune(T = [1, 256], C = 128, I = 32, O = 4096))]
fn group_scales(
    x: Tensor<i8, (T, C, I)>,
    x_scale: Tensor<f32, (T, C)>,
    w: Tensor<i8, (O, C, I)>,
    w_scale: Tensor<f32, (O, C)>,
) -> Tensor<f16, (T, O)> {
    |t, o| sum(|c| x_scale[[t, c]] * w_scale[[o, c]] * sum(|i| x[[t, c, i]] * w[[o, c, i]]) as f32)
}

/// A linear layer and its low-rank correction.
#[energy_kernel(tune(T = [1, 256], K = 4096, N = 4096, R = 16))]
fn lora(
    x: Tensor<f16, (T, K)>,
    w: Tensor<f16, (N, K)>,
    a: Tensor<f16, (R, K)>,
    b: Tensor<f16, (N, R)>,
) -> Tensor<f16, (T, N)> {
    let low = |t, r| sum(|k| x[[t, k]] * a[[r, k]]) as f16;
    |t, n| sum(|k| x[[t, k]] * w[[n, k]]) + sum(|r| low[[t, r]] * b[[n, r]])
}

/// The norm rounds before its gain, which is stored less one.
#[energy_kernel(tune(T = 2048, D = 2304))]
fn rounded_norm(x: Tensor<bf16, (T, D)>, gain: Tensor<bf16, (D,)>, epsilon: f32) -> Tensor<bf16, (T, D)> {
    let scale = |t| rsqrt(sum(|d| powi(x[[t, d]], 2)) / D as f32 + epsilon);
    |t, d| (x[[t, d]] * scale[[t]]) as bf16 * (1.0 + gain[[d]])
}

/// Norm, residual, and norm again.
#[energy_kernel(tune(T = 2048, D = 2304))]
fn norm_add_norm(
    x: Tensor<bf16, (T, D)>,
    residual: Tensor<bf16, (T, D)>,
    after: Tensor<bf16, (D,)>,
    before: Tensor<bf16, (D,)>,
    epsilon: f32,
) -> (Tensor<bf16, (T, D)>, Tensor<bf16, (T, D)>) {
    let first = |t| rsqrt(sum(|d| powi(x[[t, d]], 2)) / D as f32 + epsilon);
    let total = |t, d| residual[[t, d]] + x[[t, d]] * first[[t]] * (1.0 + after[[d]]);
    let second = |t| rsqrt(sum(|d| powi(total[[t, d]], 2)) / D as f32 + epsilon);
    (
        |t, d| total[[t, d]],
        |t, d| total[[t, d]] * second[[t]] * (1.0 + before[[d]]),
    )
}
