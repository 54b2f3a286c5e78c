//! Mixtures of experts: 128 experts of Qwen3-30B-A3B, of which each token takes 8.

/// The best expert of each token.
#[energy_kernel(tune(T = [16, 4096], D = 2048, X = 128))]
fn route(x: Tensor<bf16, (T, D)>, w: Tensor<bf16, (X, D)>) -> Tensor<i32, (T,)> {
    let logit = |t, e| sum(|d| x[[t, d]] * w[[e, d]]);
    |t| argmax(|e| logit[[t, e]])
}

/// The place of each choice in the list that is sorted by expert.
#[energy_kernel(tune(A = [128, 32768]))]
fn places(expert: Tensor<i32, (A,)>) -> Tensor<i32, (A,)> {
    |a| {
        sum(|c: A| {
            if expert[[c]] < expert[[a]] || (expert[[c]] == expert[[a]] && c < a) {
                1
            } else {
                0
            }
        })
    }
}

/// Both first products of the experts: row `a` is of one token and one expert.
#[energy_kernel(tune(T = 16, A = 128, D = 2048, X = 128, F = 768), tune(T = 4096, A = 32768, D = 2048, X = 128, F = 768))]
fn experts_gate_and_up(
    x: Tensor<bf16, (T, D)>,
    gate: Tensor<bf16, (X, F, D)>,
    up: Tensor<bf16, (X, F, D)>,
    token: Tensor<i32, (A,)>,
    expert: Tensor<i32, (A,)>,
) -> Tensor<bf16, (A, F)> {
    let gated = |a, f| sum(|d| x[[token[[a]], d]] * gate[[expert[[a]], f, d]]);
    let raised = |a, f| sum(|d| x[[token[[a]], d]] * up[[expert[[a]], f, d]]);
    |a, f| silu(gated[[a, f]]) * raised[[a, f]]
}

/// The last product of the experts.
#[energy_kernel(tune(A = 32768, F = 768, X = 128, D = 2048))]
fn experts_down(
    y: Tensor<bf16, (A, F)>,
    w: Tensor<bf16, (X, D, F)>,
    expert: Tensor<i32, (A,)>,
) -> Tensor<bf16, (A, D)> {
    |a, d| sum(|f| y[[a, f]] * w[[expert[[a]], d, f]])
}

/// Each token gathers the rows of its experts.
#[energy_kernel(tune(T = 4096, K = 8, A = 32768, D = 2048))]
fn combine(
    y: Tensor<bf16, (A, D)>,
    place: Tensor<i32, (T, K)>,
    weight: Tensor<f32, (T, K)>,
    residual: Tensor<bf16, (T, D)>,
) -> Tensor<bf16, (T, D)> {
    |t, d| residual[[t, d]] + sum(|k| weight[[t, k]] * y[[place[[t, k]], d]])
}
