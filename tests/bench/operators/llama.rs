//! The decoder layer of LLaMA-3-8B at 1, 16, 256 and 4096 tokens, and what stands before and after its layers.

/// Row of the embedding of each token.
#[energy_kernel(tune(T = [1, 16, 256, 4096], V = 128256, D = 4096))]
fn embedding(token: Tensor<i32, (T,)>, table: Tensor<f16, (V, D)>) -> Tensor<f16, (T, D)> {
    |t, d| table[[token[[t]], d]]
}

/// RMS norm of the sum with the residual, and the sum.
#[energy_kernel(tune(T = [1, 16, 256, 4096], D = 4096))]
fn add_rms_norm(
    x: Tensor<f16, (T, D)>,
    residual: Tensor<f16, (T, D)>,
    gain: Tensor<f32, (D,)>,
    epsilon: f32,
) -> (Tensor<f16, (T, D)>, Tensor<f16, (T, D)>) {
    let sum_of = |t, d| x[[t, d]] + residual[[t, d]];
    let square = |t| sum(|d| sum_of[[t, d]] * sum_of[[t, d]]) / D as f32;
    (
        |t, d| sum_of[[t, d]],
        |t, d| sum_of[[t, d]] * rsqrt(square[[t]] + epsilon) * gain[[d]],
    )
}

/// Queries, keys and values in one product.
#[energy_kernel(types(W = [f16, i8]), tune(T = [1, 16, 256, 4096], K = 4096, N = 6144))]
fn project(x: Tensor<f16, (T, K)>, w: Tensor<W, (N, K)>, scale: Tensor<f32, (N,)>) -> Tensor<f16, (T, N)> {
    |t, n| sum(|k| x[[t, k]] * w[[n, k]]) * scale[[n]]
}

/// Rotary embedding: feature `e` of a head turns together with feature `e + HALF`.
#[energy_kernel(dims(HALF = E / 2), tune(T = [1, 16, 256, 4096], H = 40, E = 128, L = 8192))]
fn rotary(
    x: Tensor<f16, (T, H, E)>,
    cosine: Tensor<f32, (L, HALF)>,
    sine: Tensor<f32, (L, HALF)>,
    position: Tensor<i32, (T,)>,
) -> Tensor<f16, (T, H, E)> {
    |t, h, e| {
        let across = if e < HALF {
            -x[[t, h, e + HALF]]
        } else {
            x[[t, h, e - HALF]]
        };
        x[[t, h, e]] * cosine[[position[[t]], e % HALF]] + across * sine[[position[[t]], e % HALF]]
    }
}

/// One new token of each sequence over 4096 positions. Four query heads share a key head.
#[energy_kernel(dims(R = H / G), tune(B = [1, 16], S = 4096, H = 32, G = 8, E = 128))]
fn attend_new(
    q: Tensor<f16, (B, H, E)>,
    k: Tensor<f16, (B, S, G, E)>,
    v: Tensor<f16, (B, S, G, E)>,
) -> Tensor<f16, (B, H, E)> {
    let score = |b, h, s| sum(|e| q[[b, h, e]] * k[[b, s, h / R, e]]) * rsqrt(E as f32);
    let peak = |b, h| max(|s| score[[b, h, s]]);
    let weight = |b, h, s| exp(score[[b, h, s]] - peak[[b, h]]);
    |b, h, e| sum(|s| weight[[b, h, s]] as f16 * v[[b, s, h / R, e]]) / sum(|s| weight[[b, h, s]])
}

/// Causal attention of a prompt.
#[energy_kernel(dims(R = H / G), tune(T = [256, 2048, 4096], H = 32, G = 8, E = 128))]
fn attend_prompt(
    q: Tensor<f16, (T, H, E)>,
    k: Tensor<f16, (T, G, E)>,
    v: Tensor<f16, (T, G, E)>,
) -> Tensor<f16, (T, H, E)> {
    let score = |t, h, s: T| {
        if s <= t {
            sum(|e| q[[t, h, e]] * k[[s, h / R, e]]) * rsqrt(E as f32)
        } else {
            f32::NEG_INFINITY
        }
    };
    let peak = |t, h| max(|s| score[[t, h, s]]);
    let weight = |t, h, s| exp(score[[t, h, s]] - peak[[t, h]]);
    |t, h, e| sum(|s| weight[[t, h, s]] as f16 * v[[s, h / R, e]]) / sum(|s| weight[[t, h, s]])
}

/// Out of the attention, added to the residual.
#[energy_kernel(types(W = [f16, i8]), tune(T = [1, 16, 256, 4096], K = 4096, N = 4096))]
fn project_out(
    x: Tensor<f16, (T, K)>,
    w: Tensor<W, (N, K)>,
    scale: Tensor<f32, (N,)>,
    residual: Tensor<f16, (T, N)>,
) -> Tensor<f16, (T, N)> {
    |t, n| sum(|k| x[[t, k]] * w[[n, k]]) * scale[[n]] + residual[[t, n]]
}

/// The gated half of the MLP: two products of the same rows.
#[energy_kernel(types(W = [f16, i8]), tune(T = [1, 16, 256, 4096], K = 4096, N = 14336))]
fn gate_and_up(
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

/// The other half of the MLP, added to the residual.
#[energy_kernel(types(W = [f16, i8]), tune(T = [1, 16, 256, 4096], K = 14336, N = 4096))]
fn down(
    x: Tensor<f16, (T, K)>,
    w: Tensor<W, (N, K)>,
    scale: Tensor<f32, (N,)>,
    residual: Tensor<f16, (T, N)>,
) -> Tensor<f16, (T, N)> {
    |t, n| sum(|k| x[[t, k]] * w[[n, k]]) * scale[[n]] + residual[[t, n]]
}

/// The likeliest token, without storing logits.
#[energy_kernel(tune(T = [1, 16], D = 4096, V = 128256))]
fn likeliest(x: Tensor<f16, (T, D)>, head: Tensor<f16, (V, D)>) -> Tensor<i32, (T,)> {
    let logit = |t, v| sum(|d| x[[t, d]] * head[[v, d]]);
    |t| argmax(|v| logit[[t, v]])
}

/// The product of queries, keys and values taken apart: queries and keys with a norm of each head (Qwen3), rotated.
#[energy_kernel(dims(HALF = E / 2, G = 8, H = Q - 2 * G), tune(T = [1, 16, 4096], Q = 48, E = 128, L = 8192))]
fn norm_and_rotate(
    qkv: Tensor<bf16, (T, Q, E)>,
    query_gain: Tensor<bf16, (E,)>,
    key_gain: Tensor<bf16, (E,)>,
    cosine: Tensor<f32, (L, HALF)>,
    sine: Tensor<f32, (L, HALF)>,
    position: Tensor<i32, (T,)>,
    epsilon: f32,
) -> (Tensor<bf16, (T, H, E)>, Tensor<bf16, (T, G, E)>, Tensor<bf16, (T, G, E)>) {
    let scale = |t, q: Q| rsqrt(sum(|e| powi(qkv[[t, q, e]], 2)) / E as f32 + epsilon);
    let queries = |t, h: H, e| qkv[[t, h, e]] * scale[[t, h]] * query_gain[[e]];
    let keys = |t, g: G, e| qkv[[t, H + g, e]] * scale[[t, H + g]] * key_gain[[e]];
    (
        |t, h, e: E| {
            let across = if e < HALF {
                -queries[[t, h, e + HALF]]
            } else {
                queries[[t, h, e - HALF]]
            };
            queries[[t, h, e]] * cosine[[position[[t]], e % HALF]] + across * sine[[position[[t]], e % HALF]]
        },
        |t, g, e: E| {
            let across = if e < HALF {
                -keys[[t, g, e + HALF]]
            } else {
                keys[[t, g, e - HALF]]
            };
            keys[[t, g, e]] * cosine[[position[[t]], e % HALF]] + across * sine[[position[[t]], e % HALF]]
        },
        |t, g, e| qkv[[t, H + G + g, e]],
    )
}
