//! The family `attention`: the operators that it recognises, its kernels at the edges, and what they move and execute.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Schedule};
use energy_kernel_compiler::size::{Extent, Specialisation};
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lang, lower, tuning};
use energy_kernel_emulator::Counts;
use energy_kernel_tests::{count, first_wrong, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rayon::prelude::*;

const MACHINE: Machine = Machine::like(Target::Sm80);

/// An operator: what is in the attribute's brackets, its parameters and result, and its body.
struct Operator {
    name: &'static str,
    attribute: &'static str,
    signature: &'static str,
    body: &'static str,
    /// Free sizes, in the order of their appearance.
    sizes: &'static [&'static [u64]],
}

/// Batches of heads, B T H E S.
const HEADS: &str = "(q: Tensor<f16, (B, T, H, E)>, k: Tensor<f16, (B, S, H, E)>, v: Tensor<f16, (B, S, H, E)>) -> Tensor<f16, (B, T, H, E)>";
/// One head, T E S.
const HEAD: &str = "(q: Tensor<f16, (T, E)>, k: Tensor<f16, (S, E)>, v: Tensor<f16, (S, E)>) -> Tensor<f32, (T, E)>";
/// Packed tokens of grouped heads, T H E G.
const PACKED: &str = "(q: Tensor<bf16, (T, H, E)>, k: Tensor<bf16, (T, G, E)>, v: Tensor<bf16, (T, G, E)>, sequence: Tensor<i32, (T,)>, scale: f32)
    -> Tensor<bf16, (T, H, E)>";
/// Pages of keys: B H E N Z G P.
const PAGED: &str = "(q: Tensor<f16, (B, H, E)>, keys: Tensor<f16, (N, Z, G, E)>, values: Tensor<f16, (N, Z, G, E)>, page: Tensor<i32, (B, P)>,
    length: Tensor<i32, (B,)>, scale: f32) -> Tensor<f16, (B, H, E)>";

const ATTENTION: &[Operator] = &[
    Operator {
        name: "heads",
        attribute: "",
        signature: HEADS,
        body: "let x = |b, t, h, s| 0.25 * sum(|e| q[[b, t, h, e]] * k[[b, s, h, e]]);
            let p = |b, t, h| max(|s| x[[b, t, h, s]]);
            let w = |b, t, h, s| exp(x[[b, t, h, s]] - p[[b, t, h]]);
            |b, t, h, e| sum(|s| w[[b, t, h, s]] as f16 * v[[b, s, h, e]]) / sum(|s| w[[b, t, h, s]])",
        sizes: &[
            &[1, 5, 2, 32, 7],
            &[2, 33, 1, 64, 70],
            &[1, 20, 1, 80, 64],
            &[1, 17, 2, 96, 33],
            &[1, 16, 1, 128, 130],
            &[1, 3, 1, 256, 65],
            &[1, 1, 1, 16, 1],
        ],
    },
    Operator {
        name: "causal, no intermediate tensor of the weights, a sum without a division",
        attribute: "",
        signature: HEAD,
        body: "let x = |t, s| if s <= t { sum(|e| k[[s, e]] * q[[t, e]]) } else { f32::NEG_INFINITY };
            |t, e| sum(|s| v[[s, e]] * exp(x[[t, s]] - max(|i| x[[t, i]])) as f16)",
        sizes: &[&[40, 16, 40], &[20, 32, 70]],
    },
    Operator {
        name: "a bound that the first row does not have",
        attribute: "",
        signature: "(q: Tensor<f16, (T, E)>, k: Tensor<f16, (S, E)>, v: Tensor<f16, (S, E)>, last: Tensor<i32, (T,)>) -> Tensor<f32, (T, E)>",
        body: "let w = |t, s| if t > 0 && s <= last[[t - 1]] { 0.5 * sum(|e| q[[t, e]] * k[[s, e]]) } else { 0.0 };
            |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]])",
        sizes: &[&[40, 16, 40], &[20, 32, 70]],
    },
    Operator {
        name: "the product is the score, and the sum is of rounded weights",
        attribute: "",
        signature: HEAD,
        body: "let x = |t, s| sum(|e| q[[t, e]] * k[[s, e]]);
            let w = |t, s| exp(x[[t, s]] - max(|i| x[[t, i]])) as f16;
            |t, e| 2.0 * sum(|s| w[[t, s]] * v[[s, e]]) / sum(|s| w[[t, s]])",
        sizes: &[&[40, 16, 40], &[20, 32, 33]],
    },
    Operator {
        name: "a window that some rows see nothing in",
        attribute: "",
        signature: HEAD,
        body: "let x = |t, s| if s + 3 <= t && s + 40 > t { sum(|e| q[[t, e]] * k[[s, e]]) / 4.0 } else { f32::NEG_INFINITY };
            let p = |t| max(|s| x[[t, s]]);
            let w = |t, s| exp(x[[t, s]] - p[[t]]);
            |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]])",
        sizes: &[&[100, 16, 100], &[130, 16, 64]],
    },
    Operator {
        name: "a largest score that grows with every tile, and a mask that is nearly −∞",
        attribute: "",
        signature: HEAD,
        body: "let x = |t, s| if t == 3 || s % 7 == 1 { -3.4e38 } else { sum(|e| q[[t, e]] * k[[s, e]]) + s as f32 };
            let p = |t| max(|s| x[[t, s]]);
            let w = |t, s| exp(x[[t, s]] - p[[t]]);
            |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]])",
        sizes: &[&[10, 16, 200], &[20, 32, 129]],
    },
    Operator {
        name: "scores beyond the range of powers of two",
        attribute: "",
        signature: HEAD,
        body: "let x = |t, s| if s % 5 == t % 5 { 3.0e38 } else { sum(|e| q[[t, e]] * k[[s, e]]) };
            let p = |t| max(|s| x[[t, s]]);
            let w = |t, s| exp(x[[t, s]] - p[[t]]);
            |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]])",
        sizes: &[&[10, 16, 200]],
    },
    Operator {
        name: "grouped heads of packed sequences, causal",
        attribute: "dims(R = H / G)",
        signature: PACKED,
        body: "let x = |t, h, s| if s <= t && sequence[[s]] / 8 == sequence[[t]] / 8 { scale * sum(|e| q[[t, h, e]] * k[[s, h / R, e]]) } else { f32::NEG_INFINITY };
            let p = |t, h| max(|s| x[[t, h, s]]);
            let w = |t, h, s| exp(x[[t, h, s]] - p[[t, h]]);
            |t, h, e| sum(|s| w[[t, h, s]] as bf16 * v[[s, h / R, e]]) / sum(|s| w[[t, h, s]])",
        sizes: &[&[40, 6, 16, 2], &[20, 4, 32, 1], &[33, 3, 16, 3]],
    },
    Operator {
        name: "a group that is a constant and does not divide the heads",
        attribute: "",
        signature: PACKED,
        body: "let x = |t, h, s| scale * sum(|e| q[[t, h, e]] * k[[s, h / 3, e]]);
            let p = |t, h| max(|s| x[[t, h, s]]);
            let w = |t, h, s| exp(x[[t, h, s]] - p[[t, h]]);
            |t, h, e| sequence[[t]] as f32 + sum(|s| w[[t, h, s]] as bf16 * v[[s, h / 3, e]]) / sum(|s| w[[t, h, s]])",
        sizes: &[&[9, 5, 32, 2], &[35, 7, 16, 3]],
    },
    Operator {
        name: "paged",
        attribute: "dims(R = H / G, S = P * Z)",
        signature: PAGED,
        body: "let x = |b, h, s: S| {
                if s < length[[b]] { scale * sum(|e| q[[b, h, e]] * keys[[page[[b, s / Z]], s % Z, h / R, e]]) } else { f32::NEG_INFINITY }
            };
            let p = |b, h| max(|s| x[[b, h, s]]);
            let w = |b, h, s| exp(x[[b, h, s]] - p[[b, h]]);
            let m = |b, h| sum(|s| w[[b, h, s]]);
            |b, h, e| sum(|s| w[[b, h, s]] as f16 * values[[page[[b, s / Z]], s % Z, h / R, e]]) / m[[b, h]]",
        sizes: &[&[3, 4, 32, 10, 8, 2, 5], &[2, 3, 64, 7, 5, 1, 7]],
    },
    Operator {
        name: "a bias and a soft cap, features by heads, queries that are computed",
        attribute: "dims(H = 2, E = D / H)",
        signature: "(q: Tensor<f32, (T, D)>, k: Tensor<f16, (S, D)>, v: Tensor<f16, (S, D)>, bias: Tensor<f16, (H, T, S)>) -> Tensor<f16, (H, T, E)>",
        body: "let x = |h, t, s| 5.0 * tanh(sum(|e: E| relu(q[[t, h * E + e]] * 0.5) as f16 * k[[s, h * E + e]]) / 5.0) + bias[[h, t, s]];
            let p = |h, t| max(|s| x[[h, t, s]]);
            let w = |h, t, s| exp(x[[h, t, s]] - p[[h, t]]);
            |h, t, e| sum(|s| w[[h, t, s]] as f16 * v[[s, h * E + e]]) / sum(|s| w[[h, t, s]])",
        sizes: &[&[20, 64, 37], &[35, 96, 64]],
    },
    Operator {
        name: "keys and values of one tensor, of other widths, transposed",
        attribute: "dims(E = 48, C = 32)",
        signature: "(q: Tensor<f16, (T, E)>, cache: Tensor<f16, (E, S)>) -> Tensor<f16, (T, C)>",
        body: "let x = |t, s| sum(|e| q[[t, e]] * cache[[e, s]]);
            let p = |t| max(|s| x[[t, s]]);
            let w = |t, s| exp(x[[t, s]] - p[[t]]);
            |t, c| sum(|s| w[[t, s]] as f16 * cache[[c + 16, s]]) / sum(|s| w[[t, s]])",
        sizes: &[&[20, 37], &[70, 64]],
    },
    Operator {
        name: "keys from and to what tensors say, other than the rows' order",
        attribute: "",
        signature: "(q: Tensor<f16, (T, E)>, k: Tensor<f16, (S, E)>, v: Tensor<f16, (S, E)>, from: Tensor<i32, (T,)>, to: Tensor<i64, (T,)>) -> Tensor<f32, (T, E)>",
        body: "let x = |t, s| if !(s + 5 < from[[t]] || to[[t]] * 9 < s) { sum(|e| q[[t, e]] * k[[s, e]]) * 0.2 } else { f32::NEG_INFINITY };
            let w = |t, s| exp(x[[t, s]] - max(|i| x[[t, i]]));
            |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]])",
        sizes: &[&[100, 16, 200], &[9, 32, 128]],
    },
    Operator {
        name: "a bound that falls along rows, and one for all, beside a condition of pairs",
        attribute: "",
        signature: "(q: Tensor<f16, (T, E)>, k: Tensor<f16, (S, E)>, v: Tensor<f16, (S, E)>, last: Tensor<i32, ()>, bias: Tensor<f16, (T, S)>) -> Tensor<f16, (T, E)>",
        body: "let x = |t, s| {
                if T - t > s && (t + s) % 3 != 0 && s < 4 * last[[]] { sum(|e| q[[t, e]] * k[[s, e]]) / 3.0 - bias[[t, s]] } else { -f32::INFINITY }
            };
            let w = |t, s| exp(x[[t, s]] - max(|i| x[[t, i]]));
            |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]])",
        sizes: &[&[80, 16, 90], &[40, 32, 64]],
    },
    Operator {
        name: "the logarithm of the mass, and the largest score",
        attribute: "",
        signature: "(q: Tensor<f16, (B, T, H, E)>, k: Tensor<f16, (B, S, H, E)>, v: Tensor<f16, (B, S, H, E)>, scale: f32)
            -> (Tensor<f16, (B, T, H, E)>, Tensor<f32, (B, T, H)>, Tensor<f32, (B, T, H)>)",
        body: "let x = |b, t, h, s| sum(|e| q[[b, t, h, e]] * k[[b, s, h, e]]) / scale;
            let p = |b, t, h| max(|s| x[[b, t, h, s]]);
            let m = |b, t, h| sum(|s| exp(x[[b, t, h, s]] - p[[b, t, h]]));
            (
                |b, t, h, e| sum(|s| exp(x[[b, t, h, s]] - p[[b, t, h]]) as f16 * v[[b, s, h, e]]) / m[[b, t, h]],
                |b, t, h| p[[b, t, h]] + ln(m[[b, t, h]]),
                |b, t, h| p[[b, t, h]],
            )",
        sizes: &[&[1, 20, 2, 32, 40], &[2, 3, 1, 64, 200]],
    },
    Operator {
        name: "latent: wide keys in pages, whose first features are the values",
        attribute: "dims(S = P * Z, C = W - 64)",
        signature: "(q: Tensor<bf16, (B, H, W)>, cache: Tensor<bf16, (N, Z, W)>, page: Tensor<i32, (B, P)>, length: Tensor<i32, (B,)>, scale: f32)
            -> Tensor<bf16, (B, H, C)>",
        body: "let x = |b, h, s: S| {
                if s < length[[b]] { scale * sum(|w| q[[b, h, w]] * cache[[page[[b, s / Z]], s % Z, w]]) } else { f32::NEG_INFINITY }
            };
            let p = |b, h| max(|s| x[[b, h, s]]);
            let w = |b, h, s| exp(x[[b, h, s]] - p[[b, h]]);
            |b, h, c| sum(|s| w[[b, h, s]] as bf16 * cache[[page[[b, s / Z]], s % Z, c]]) / sum(|s| w[[b, h, s]])",
        sizes: &[&[2, 20, 576, 6, 8, 5], &[1, 3, 320, 3, 16, 3]],
    },
    Operator {
        name: "wide heads, with the mass",
        attribute: "",
        signature: "(q: Tensor<f16, (T, E)>, k: Tensor<f16, (S, E)>, v: Tensor<f16, (S, C)>) -> (Tensor<f16, (T, C)>, Tensor<f32, (T,)>)",
        body: "let x = |t, s| if s <= t { sum(|e| q[[t, e]] * k[[s, e]]) * 0.1 } else { f32::NEG_INFINITY };
            let p = |t| max(|s| x[[t, s]]);
            let w = |t, s| exp(x[[t, s]] - p[[t]]);
            (|t, c| sum(|s| w[[t, s]] as f16 * v[[s, c]]) / sum(|s| w[[t, s]]), |t| sum(|s| w[[t, s]]))",
        sizes: &[&[40, 512, 50, 64], &[20, 32, 33, 512]],
    },
    Operator {
        name: "a scale of 0",
        attribute: "",
        signature: HEAD,
        body: "let x = |t, s| if s <= t { (T - T) as f32 * sum(|e| q[[t, e]] * k[[s, e]]) } else { f32::NEG_INFINITY };
            let w = |t, s| exp(x[[t, s]] - max(|i| x[[t, i]]));
            |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]])",
        sizes: &[&[40, 16, 70]],
    },
    Operator {
        name: "retention of grouped heads: a factor that decays, 0 for later keys",
        attribute: "dims(R = H / G)",
        signature: "(q: Tensor<bf16, (T, H, E)>, k: Tensor<bf16, (T, G, E)>, v: Tensor<bf16, (T, G, C)>, rate: Tensor<f32, (H,)>) -> Tensor<bf16, (T, H, C)>",
        body: "let decay = |h, t: T, s: T| if s <= t { exp((s - t) as f32 * abs(rate[[h]])) } else { 0.0 };
            |t, h, e| sum(|s| (decay[[h, t, s]] * sum(|d| q[[t, h, d]] * k[[s, h / R, d]])) as bf16 * v[[s, h / R, e]])",
        sizes: &[&[40, 6, 16, 2, 32], &[33, 2, 48, 1, 16], &[1, 1, 16, 1, 16]],
    },
    Operator {
        name: "squares of positive scores, and their sum",
        attribute: "",
        signature: HEAD,
        body: "let w = |t, s| powi(relu(sum(|e| q[[t, e]] * k[[s, e]]) / 4.0), 2);
            |t, e| sum(|s| v[[s, e]] * w[[t, s]] as f16) / max(sum(|s| w[[t, s]]), 0.5)",
        sizes: &[&[40, 16, 40], &[20, 32, 70], &[3, 16, 200], &[70, 64, 64]],
    },
    Operator {
        name: "exponentials without a maximum, the condition inside, and the sum of rounded ones",
        attribute: "",
        signature: HEAD,
        body: "let w = |t, s| exp(if s <= t && s + 50 > t { sum(|e| q[[t, e]] * k[[s, e]]) / 4.0 } else { -f32::INFINITY }) as f16;
            |t, e| sum(|s| w[[t, s]] * v[[s, e]]) / sum(|s| w[[t, s]])",
        sizes: &[&[40, 16, 40], &[80, 32, 100], &[70, 64, 64]],
    },
    Operator {
        name: "a chunk's scan, with what the chunks before it leave",
        attribute: "dims(R = H / G)",
        signature: "(c: Tensor<bf16, (C, Q, G, N)>, b: Tensor<bf16, (C, Q, G, N)>, x: Tensor<bf16, (C, Q, H, E)>, step: Tensor<f32, (H, C, Q)>,
            state: Tensor<bf16, (C, H, E, N)>) -> Tensor<bf16, (C, Q, H, E)>",
        body: "let near = |c0, h, i: Q, j: Q| if j <= i { exp(step[[h, c0, j]] - step[[h, c0, i]]) * step[[h, c0, j]] * sum(|n| c[[c0, i, h / R, n]] * b[[c0, j, h / R, n]]) } else { 0.0 };
            |c0, i, h, e| sum(|j: Q| near[[c0, h, i, j]] as bf16 * x[[c0, j, h, e]])
                + exp(step[[h, c0, i]]) * sum(|n| c[[c0, i, h / R, n]] * state[[c0, h, e, n]]) + x[[c0, i, h, e]]",
        sizes: &[&[2, 37, 1, 32, 4, 16], &[1, 64, 2, 64, 4, 64], &[2, 130, 2, 16, 2, 32]],
    },
    Operator {
        name: "a state of features by columns that all share, and nothing else",
        attribute: "",
        signature: "(q: Tensor<f16, (T, E)>, k: Tensor<f16, (S, E)>, v: Tensor<f16, (S, C)>, state: Tensor<f16, (E, C)>) -> Tensor<f32, (T, C)>",
        body: "|t, c| sum(|s| (if s < t { sum(|e| q[[t, e]] * k[[s, e]]) } else { 0.0 }) as f16 * v[[s, c]]) - sum(|e| state[[e, c]] * q[[t, e]])",
        sizes: &[&[40, 16, 40, 32], &[5, 256, 70, 128]],
    },
    Operator {
        name: "two layers of a network whose hidden one is stored nowhere",
        attribute: "",
        signature: "(x: Tensor<f16, (T, E)>, up: Tensor<f16, (S, E)>, bias: Tensor<f16, (S,)>, down: Tensor<f16, (C, S)>) -> Tensor<f16, (T, C)>",
        body: "let hidden = |t, s| gelu(sum(|e| x[[t, e]] * up[[s, e]]) + bias[[s]]) as f16;
            |t, c| x[[t, 0]] + sum(|s| hidden[[t, s]] * down[[c, s]])",
        sizes: &[&[40, 16, 70, 48], &[20, 64, 64, 16]],
    },
    Operator {
        name: "weights rounded under a condition that keeps a read in range, of wide heads",
        attribute: "",
        signature: "(q: Tensor<f16, (T, E)>, k: Tensor<f16, (S, E)>, v: Tensor<f16, (S, C)>, bias: Tensor<f16, (S,)>) -> Tensor<f32, (T, C)>",
        body: "let w = |t, s| if s > 0 && s % 3 != 1 { (sum(|e| q[[t, e]] * k[[s, e]]) * bias[[s - 1]]) as f16 } else { 0.0 };
            |t, c| sum(|s| w[[t, s]] * v[[s, c]])",
        sizes: &[&[40, 32, 40, 512], &[20, 288, 33, 32]],
    },
];

/// Bodies of [`HEAD`] that look similar, but are left to other families.
const OTHERS: [(&str, &str); 8] = [
    (
        "the weights are not rounded, so tensor cores would have to",
        "let x = |t, s| sum(|e| q[[t, e]] * k[[s, e]]); let w = |t, s| exp(x[[t, s]] - max(|i| x[[t, i]]));
        |t, e| sum(|s| w[[t, s]] * v[[s, e]]) / sum(|s| w[[t, s]])",
    ),
    (
        "they are rounded to another type than the values have",
        "let x = |t, s| sum(|e| q[[t, e]] * k[[s, e]]); let w = |t, s| exp(x[[t, s]] - max(|i| x[[t, i]]));
        |t, e| sum(|s| w[[t, s]] as bf16 * v[[s, e]]) / sum(|s| w[[t, s]])",
    ),
    (
        "their sum is of others",
        "let x = |t, s| sum(|e| q[[t, e]] * k[[s, e]]); let w = |t, s| exp(x[[t, s]] - max(|i| x[[t, i]]));
        |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]] as bf16)",
    ),
    (
        "the largest is of other scores",
        "let x = |t, s| sum(|e| q[[t, e]] * k[[s, e]]); let w = |t, s| exp(2.0 * x[[t, s]] - max(|i| x[[t, i]]));
        |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]])",
    ),
    (
        "nothing rounds weights without a softmax",
        "|t, e| sum(|s| relu(sum(|d| q[[t, d]] * k[[s, d]])) * v[[s, e]])",
    ),
    (
        "a weight depends on the column",
        "|t, e| sum(|s| (sum(|d| q[[t, d]] * k[[s, d]]) + e as f32) as f16 * v[[s, e]])",
    ),
    (
        "the sum beside it is of a state of each row",
        "|t, e| sum(|s| sum(|d| q[[t, d]] * k[[s, d]]) as f16 * v[[s, e]]) + sum(|d| q[[t, d]] * v[[t + e, d]])",
    ),
    (
        "the scores are products of three",
        "let x = |t, s| sum(|e| q[[t, e]] * k[[s, e]] * q[[t, e]]); let w = |t, s| exp(x[[t, s]] - max(|i| x[[t, i]]));
        |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]])",
    ),
];

fn checked(attribute: &str, signature: &str, body: &str) -> Checked {
    let source = format!("fn f{signature} {{ {body} }}");
    let attribute = attribute.parse().expect("tokens");
    let operator = lang::parse(attribute, source.parse().expect("tokens"));
    let operator = operator.unwrap_or_else(|error| panic!("{error}: {source}"));
    operator.variants[0].checked.clone()
}

fn points(checked: &Checked, specialisation: &Specialisation) -> Vec<Schedule> {
    let space = schedule::space(&Problem::new(checked, specialisation, MACHINE));
    let own = |point: &Schedule| matches!(point, Schedule::Attention(_));
    space.into_iter().filter(own).collect()
}

/// Compiled in, as arguments but for what heads need, and without aligned tensors.
fn specialisations(checked: &Checked, sizes: &[u64]) -> [Specialisation; 3] {
    let untuned = tuning::untuned(checked, sizes);
    let unaligned = Specialisation {
        aligned: false,
        ..untuned.clone()
    };
    [Specialisation::exact(sizes), untuned, unaligned]
}

#[test]
fn attention_is_right_at_the_edges() {
    let calls = ATTENTION
        .iter()
        .flat_map(|operator| operator.sizes.iter().map(move |sizes| (operator, *sizes)));
    let wrong = |(number, (operator, free)): (usize, (&Operator, &[u64]))| -> Vec<String> {
        let checked = checked(operator.attribute, operator.signature, operator.body);
        let sizes = checked.derive(free.to_vec()).expect("sizes");
        let mut random = StdRng::seed_from_u64(number as u64);
        let inputs = random_inputs(&checked, &sizes, &mut random);
        let mut wrong = Vec::new();
        for specialisation in specialisations(&checked, &sizes) {
            let points = points(&checked, &specialisation);
            if points.is_empty() {
                wrong.push(format!("{} {sizes:?} is not recognised", operator.name));
            }
            let problem = Problem::new(&checked, &specialisation, MACHINE);
            for point in points.sample(&mut random, 3) {
                let kernel = lower::lower(&problem, *point).expect("a legal point");
                let first = run(&checked, &kernel, &sizes, &inputs)
                    .map(|run| first_wrong(&checked, &sizes, &inputs, &run.outputs))
                    .unwrap_or_else(Some);
                wrong.extend(
                    first.map(|first| format!("{} {:?} {point}: {first}", operator.name, specialisation.extents)),
                );
            }
        }
        wrong
    };
    let calls: Vec<_> = calls.enumerate().collect();
    let failures: Vec<String> = calls.into_par_iter().flat_map_iter(wrong).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn calls_without_a_record_use_it() {
    for operator in ATTENTION {
        let checked = checked(operator.attribute, operator.signature, operator.body);
        let sizes = checked.derive(operator.sizes[0].to_vec()).expect("sizes");
        let untuned = tuning::untuned(&checked, &sizes);
        let point = schedule::default(&Problem::new(&checked, &untuned, MACHINE), &sizes);
        assert_eq!(point.family(), "attention", "{}", operator.name);
    }
}

/// Sizes of heads are compiled in also where attention is a part of the operator, and other parts run in stages of their own.
#[test]
fn heads_of_a_part_are_compiled_in() {
    let body = "let x = |t, s| relu(sum(|e| q[[t, e]] * k[[s, e]]));
        |t, e| sum(|s| x[[t, s]] as f16 * v[[s, e]]) + sum(|i: T| q[[i, e]])";
    let checked = checked("", HEAD, body);
    let fixed = |sizes: [u64; 3]| {
        let untuned = tuning::untuned(&checked, &sizes);
        assert_eq!(points(&checked, &untuned), []);
        untuned.extents.into_iter().map(Extent::fixed).collect::<Vec<_>>()
    };
    assert_eq!(fixed([40, 32, 70]), [None, Some(32), None]);
    // No kernel has such heads.
    assert_eq!(fixed([40, 40, 70]), [None; 3]);
}

#[test]
fn others_are_told_apart() {
    let others = OTHERS.iter().map(|&(name, body)| (name, body, vec![64, 64, 64]));
    let features = "let x = |t, s| sum(|e| q[[t, e]] * k[[s, e]]); let w = |t, s| exp(x[[t, s]] - max(|i| x[[t, i]]));
        |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]])";
    let features = [40, 17, 272, 640].map(|number| ("features no fragment has", features, vec![64, number, 64]));
    for (name, body, sizes) in others.chain(features) {
        let checked = checked("", HEAD, body);
        let sizes = checked.derive(sizes).expect("sizes");
        assert_eq!(points(&checked, &Specialisation::exact(&sizes)), [], "{name}");
    }
}

/// The weight of a key is rounded to `f16`. A bound that accepted more could not tell.
#[test]
fn the_bound_is_tight() {
    let operator = &ATTENTION[0];
    let checked = checked(operator.attribute, operator.signature, operator.body);
    let sizes = checked.derive(vec![1, 4, 1, 32, 40]).expect("sizes");
    let inputs = random_inputs(&checked, &sizes, &mut StdRng::seed_from_u64(1));
    let problem = Specialisation::exact(&sizes);
    let problem = Problem::new(&checked, &problem, MACHINE);
    let kernel = lower::lower(&problem, points(&checked, problem.specialisation)[0]).expect("a legal point");
    let mut outputs = run(&checked, &kernel, &sizes, &inputs).expect("it runs").outputs;
    assert_eq!(first_wrong(&checked, &sizes, &inputs, &outputs), None);
    // 64 units in the last place.
    outputs[0][20] ^= 0x40;
    assert!(first_wrong(&checked, &sizes, &inputs, &outputs).is_some());
}

/// A kernel of an operator at compiled-in sizes, its counts on the emulator, and the bytes of inputs and outputs.
fn counted(operator: &Operator, free: &[u64], schedule: &str) -> (Counts, u64, u64) {
    let checked = checked(operator.attribute, operator.signature, operator.body);
    let sizes = checked.derive(free.to_vec()).expect("sizes");
    let inputs = random_inputs(&checked, &sizes, &mut StdRng::seed_from_u64(3));
    let specialisation = Specialisation::exact(&sizes);
    let problem = Problem::new(&checked, &specialisation, MACHINE);
    let point: Schedule = schedule.parse().expect("a schedule");
    let kernel = lower::lower(&problem, point).expect("a legal point");
    let counts = count(&checked, &kernel, &sizes, &inputs).expect("it runs");
    let tensors = checked.op().inputs.iter().zip(&inputs);
    let read = tensors.filter(|(input, _)| input.dims.is_some());
    let read = read.map(|(_, input)| input.bytes.len() as u64).sum();
    let elements: u64 = (checked.op().outputs[0].dims.iter())
        .map(|size| sizes[size.index()])
        .product();
    let written = elements * u64::from(checked.op().outputs[0].element.size());
    (counts, read, written)
}

fn operator(name: &str) -> &'static Operator {
    let named = |operator: &&Operator| operator.name == name;
    ATTENTION.iter().find(named).expect("it is among them")
}

#[test]
fn every_byte_is_read_once() {
    for schedule in [
        "attention rows=64 keys=64 warps=4 split_k=1",
        "attention rows=32 keys=32 warps=1 split_k=1",
    ] {
        let (counts, read, written) = counted(operator("heads"), &[1, 64, 2, 64, 256], schedule);
        assert_eq!(counts.dram_read_bytes, read, "{schedule}");
        assert_eq!(counts.dram_write_bytes, written, "{schedule}");
        assert_eq!(counts.shared_bank_conflicts, 0, "{schedule}");
    }
}

/// Where blocks share the keys, they read each once, and leave what they have of rows that exist and of others.
#[test]
fn blocks_that_share_keys_leave_little() {
    let schedule = "attention rows=16 keys=64 warps=1 split_k=8";
    let (counts, read, written) = counted(operator("heads"), &[1, 4, 2, 128, 2048], schedule);
    let left = 2 * 8 * 32 * 4 * (2 + 128 / 4 + 2);
    assert_eq!(
        counts.dram_read_bytes - read,
        counts.dram_write_bytes - written,
        "{counts:?}"
    );
    assert!(counts.dram_read_bytes - read <= left + 64, "{counts:?}");
    assert!(left * 12 < read);
}

/// A block visits only the tiles of keys that a row may see.
#[test]
fn masks_bound_the_keys() {
    let schedule = "attention rows=32 keys=32 warps=2 split_k=1";
    let softmax = "let x = |t, s| if MASK { sum(|e| q[[t, e]] * k[[s, e]]) } else { f32::NEG_INFINITY };
        let w = |t, s| exp(x[[t, s]] - max(|i| x[[t, i]]));
        |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]]) / sum(|s| w[[t, s]])";
    let matrix_of = |body: &str, mask: &'static str| {
        let body = Box::leak(body.replace("MASK", mask).into_boxed_str());
        let operator = Operator {
            name: mask,
            attribute: "",
            signature: HEAD,
            body,
            sizes: &[],
        };
        counted(&operator, &[256, 32, 256], schedule).0.matrix_flops
    };
    let all = matrix_of(softmax, "(s + t) % 2 < 2");
    let tiles_of = |body, mask| matrix_of(body, mask) as f64 * 64.0 / all as f64;
    let tiles = |mask| tiles_of(softmax, mask);
    // Of 8 × 8 tiles.
    assert_eq!(tiles("s <= t"), 36.0);
    assert_eq!(tiles("t >= s && s + 64 > t"), 21.0);
    assert_eq!(tiles("s < 100"), 32.0);
    assert_eq!(tiles("!(s < 32) && s % 2 == 0"), 56.0);
    // Without a softmax a condition may stand around the score, or in a factor.
    for body in [
        "let w = |t, s| if MASK { relu(sum(|e| q[[t, e]] * k[[s, e]])) } else { 0.0 };
            |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]])",
        "let w = |t, s| (if MASK { 0.5 } else { 0.0 }) * sum(|e| q[[t, e]] * k[[s, e]]);
            |t, e| sum(|s| powi(-w[[t, s]], 2) as f16 * v[[s, e]])",
        "let w = |t, s| exp(if MASK { sum(|e| q[[t, e]] * k[[s, e]]) } else { f32::NEG_INFINITY });
            |t, e| sum(|s| w[[t, s]] as f16 * v[[s, e]])",
    ] {
        assert_eq!(tiles_of(body, "s <= t"), 36.0);
        assert_eq!(tiles_of(body, "t >= s && s + 64 > t"), 21.0);
    }
}
