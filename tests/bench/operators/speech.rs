//! Whisper large: spectrogram, encoder and decoder.

/// The power of each frequency in windows of 400 samples.
#[energy_kernel(dims(A = (L - N) / 160 + 1), tune(L = 480240, N = 400, Q = 201))]
fn power(x: Tensor<f32, (L,)>, cosine: Tensor<f32, (Q, N)>, sine: Tensor<f32, (Q, N)>) -> Tensor<f32, (A, Q)> {
    |a, q| powi(sum(|n| x[[a * 160 + n]] * cosine[[q, n]]), 2) + powi(sum(|n| x[[a * 160 + n]] * sine[[q, n]]), 2)
}

/// Within 8 of the largest, scaled.
#[energy_kernel(tune(M = 128, A = 3000))]
fn clamp_to_peak(x: Tensor<f32, (M, A)>) -> Tensor<f32, (M, A)> {
    let peak = max(|m, a| x[[m, a]]);
    |m, a| max(x[[m, a]], peak - 8.0) / 4.0 + 1.0
}

/// The second convolution over time, with the positions.
#[energy_kernel(dims(TO = (T - 1) / 2 + 1), tune(C = 1280, T = 3000, O = 1280, Y = 3))]
fn conv_time(
    x: Tensor<f16, (C, T)>,
    w: Tensor<f16, (O, C, Y)>,
    bias: Tensor<f16, (O,)>,
    position: Tensor<f16, (TO, O)>,
) -> Tensor<f16, (TO, O)> {
    |t, o| gelu(sum(|c, y| x.or(0.0)[[c, 2 * t + y - 1]] * w[[o, c, y]]) + bias[[o]]) + position[[t, o]]
}

/// The encoder's attention, and the decoder's over the encoder.
#[energy_kernel(tune(B = 1, T = [1, 1500], S = 1500, H = 20, E = 64))]
fn attend_all(
    q: Tensor<f16, (B, T, H, E)>,
    k: Tensor<f16, (B, S, H, E)>,
    v: Tensor<f16, (B, S, H, E)>,
) -> Tensor<f16, (B, T, H, E)> {
    let score = |b, h, t, s| sum(|e| q[[b, t, h, e]] * k[[b, s, h, e]]) * rsqrt(E as f32);
    let peak = |b, h, t| max(|s| score[[b, h, t, s]]);
    let weight = |b, h, t, s| exp(score[[b, h, t, s]] - peak[[b, h, t]]);
    |b, t, h, e| sum(|s| weight[[b, h, t, s]] as f16 * v[[b, s, h, e]]) / sum(|s| weight[[b, h, t, s]])
}
