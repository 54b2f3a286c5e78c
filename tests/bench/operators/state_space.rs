//! Mamba-2, prefill of 2048 tokens in chunks of 256.

/// Causal convolution over the last 4 tokens, with the state before the first.
#[energy_kernel(dims(W1 = W - 1), tune(T = 2048, C = 4352, W = 4))]
fn causal_conv(
    x: Tensor<bf16, (T, C)>,
    state: Tensor<bf16, (C, W1)>,
    w: Tensor<bf16, (C, W)>,
    bias: Tensor<bf16, (C,)>,
) -> Tensor<bf16, (T, C)> {
    |t, c| {
        silu(
            bias[[c]]
                + sum(|i| {
                    w[[c, i]]
                        * if t + i < W1 {
                            state[[c, t + i]]
                        } else {
                            x[[t + i - W1, c]]
                        }
                }),
        )
    }
}

/// The contribution of each chunk to the state.
#[energy_kernel(dims(R = H / G), tune(C = 8, Q = 256, G = 1, N = 128, H = 64, E = 64))]
fn chunk_state(
    b: Tensor<bf16, (C, Q, G, N)>,
    x: Tensor<bf16, (C, Q, H, E)>,
    step: Tensor<f32, (H, C, Q)>,
    total: Tensor<f32, (H, C, Q)>,
) -> Tensor<f32, (C, H, E, N)> {
    |c, h, e, n| {
        sum(|q| {
            (x[[c, q, h, e]] * step[[h, c, q]] * exp(total[[h, c, Q - 1]] - total[[h, c, q]])) as bf16
                * b[[c, q, h / R, n]]
        })
    }
}

/// The results: from inside the chunk, and from the state before it.
#[energy_kernel(dims(R = H / G), tune(C = 8, Q = 256, G = 1, N = 128, H = 64, E = 64))]
fn chunk_scan(
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

/// Norm of gated values, in groups.
#[energy_kernel(tune(T = 2048, G = 8, D = 512))]
fn gated_norm(
    y: Tensor<bf16, (T, G, D)>,
    z: Tensor<bf16, (T, G, D)>,
    gain: Tensor<bf16, (G, D)>,
    epsilon: f32,
) -> Tensor<bf16, (T, G, D)> {
    let gated = |t, g, d| y[[t, g, d]] * silu(z[[t, g, d]]);
    |t, g, d| gated[[t, g, d]] * rsqrt(sum(|e| powi(gated[[t, g, e]], 2)) / D as f32 + epsilon) * gain[[g, d]]
}
