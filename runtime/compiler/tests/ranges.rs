//! The range proof: what it must accept, what it must not.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::ir::{BinaryOp, Expr, ExprId, Op};
use energy_kernel_compiler::lang;
use energy_kernel_compiler::size::Sizes;

fn verify(source: &str, sizes: &[(&str, u64)]) -> Result<(), String> {
    let operator = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
    let checked: &Checked = &operator.variants[0].checked;
    let sizes: Sizes = sizes.iter().copied().collect();
    let sizes = checked.bind(&sizes).map_err(|error| error.to_string())?;
    checked.verify(&sizes).map_err(|error| error.to_string())
}

#[test]
fn conditions_narrow() {
    let guarded = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { |i| if i < N { x[[i]] } else { y[[i]] } }";
    assert_eq!(verify(guarded, &[("N", 3), ("M", 10)]), Ok(()));
    let pair = "fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N, N)> { |i, j| if j <= i { x[[i - j]] } else { 0.0 } }";
    assert_eq!(verify(pair, &[("N", 5)]), Ok(()));
    let open = "fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N, N)> { |i, j| x[[i - j]] }";
    assert!(verify(open, &[("N", 5)]).unwrap_err().contains("from -4 to 4"));
}

#[test]
fn a_condition_that_may_wrap_says_nothing() {
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { |i| if i * 100000 < N { x[[i * 100000]] } else { y[[i]] } }";
    assert!(verify(source, &[("N", 1), ("M", 30_000)]).is_err());
    assert_eq!(verify(source, &[("N", 1), ("M", 100)]), Ok(()));
}

#[test]
fn conditions_on_remainders_end() {
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, ()> { sum(|i: M, j: M| if i - i % 3 < 3 + j { x[[i % 2 - N]] } else { y[[j]] }) }";
    assert!(verify(source, &[("N", 2), ("M", 7)]).is_err());
}

#[test]
fn an_axis_that_never_runs_asks_for_nothing() {
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { |i| x[[i + 7]] + y[[i]] }";
    assert_eq!(verify(source, &[("N", 1), ("M", 0)]), Ok(()));
    assert!(verify(source, &[("N", 1), ("M", 1)]).is_err());
}

/// `x` has N elements, the axes `i` and `j` run over M and P; `y` makes the sizes known.
fn at(body: &str, n: u64, m: u64, p: u64) -> Result<(), String> {
    let source = format!(
        "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M, P)>) -> Tensor<f32, (M, P)> {{ |i, j| {body} + y[[i, j]] }}"
    );
    verify(&source, &[("N", n), ("M", m), ("P", p)])
}

/// Accepted and refused, at sizes (N, M, P). The refused twin is off by one.
#[track_caller]
fn twins(sizes: (u64, u64, u64), accepted: &str, refused: &str) {
    let (n, m, p) = sizes;
    assert_eq!(at(accepted, n, m, p), Ok(()), "{accepted}");
    assert!(at(refused, n, m, p).is_err(), "{refused}");
}

#[test]
fn inequality_cuts_an_end_off() {
    let n = (9, 9, 4);
    twins(
        n,
        "if i != 0 { x[[i - 1]] } else { 0.0 }",
        "if i != 0 { x[[i - 2]] } else { 0.0 }",
    );
    twins(
        n,
        "if i == 0 { 0.0 } else { x[[i - 1]] }",
        "if i == 1 { 0.0 } else { x[[i - 1]] }",
    );
    twins(
        n,
        "if i == N - 1 { 0.0 } else { x[[i + 1]] }",
        "if i == N - 2 { 0.0 } else { x[[i + 1]] }",
    );
    twins(
        n,
        "if i != j && i >= j { x[[i - j - 1]] } else { 0.0 }",
        "if i != j && i >= j { x[[i - j - 2]] } else { 0.0 }",
    );
    twins(
        n,
        "if i != 0 && i != 1 { x[[i - 2]] } else { 0.0 }",
        "if i != 0 && i != 2 { x[[i - 2]] } else { 0.0 }",
    );
    twins(
        n,
        "if i < 2 || i == 5 { x[[i + 3]] } else { 0.0 }",
        "if i < 2 || i == 6 { x[[i + 3]] } else { 0.0 }",
    );
}

#[test]
fn quotients_and_remainders_make_the_whole() {
    let n = (10, 10, 4);
    twins(n, "x[[i / 3 * 3 + i % 3]]", "x[[i / 3 * 3 + i % 3 + 1]]");
    twins(n, "x[[i % 3 + (i / 3) * 3]]", "x[[i % 3 + (i / 3) * 4]]");
    twins(n, "x[[i - i % 3]]", "x[[i - i % 3 - 1]]");
    twins(n, "x[[i / 3 * 3]]", "x[[i / 3 * 3 + 1]]");
    twins(
        (7, 10, 4),
        "x[[i / 4 * 3 + i % 4 - i / 8]]",
        "x[[i / 4 * 3 + i % 4 - i / 10]]",
    );
    twins(
        (12, 3, 4),
        "x[[(i * 4 + j) / 4 * 4 + j]]",
        "x[[(i * 4 + j + 1) / 4 * 4 + j]]",
    );
    twins((5, 9, 9), "x[[(i - j) % 3 + 2]]", "x[[(i - j) % 3 + 1]]");
}

#[test]
fn branches_of_an_index_count_each_under_its_condition() {
    let n = (5, 12, 4);
    twins(
        n,
        "x[[if i < N { i } else { N - 1 }]]",
        "x[[if i <= N { i } else { N - 1 }]]",
    );
    twins(
        n,
        "x[[if i < N { i } else { N - 1 }]]",
        "x[[if i < N { i } else { N }]]",
    );
    twins(
        n,
        "x[[if i >= N { i % N } else if i > 0 { i - 1 } else { 0 }]]",
        "x[[if i >= N { i % N } else if i > 0 { i - 1 } else { 0 - 1 }]]",
    );
    twins(n, "x[[(i < 3) as i32 + 3]]", "x[[(i < 3) as i32 + 4]]");
    twins(
        n,
        "if i < 6 { x[[i - (i == 5) as i32]] } else { 0.0 }",
        "if i < 6 { x[[i - (i == 4) as i32]] } else { 0.0 }",
    );
}

#[test]
fn conditions_on_sizes_alone_decide() {
    let n = (3, 4, 4);
    twins(
        n,
        "if N > 3 { x[[3]] } else { 0.0 }",
        "if N >= 3 { x[[3]] } else { 0.0 }",
    );
    twins(
        n,
        "if N > 3 && i < 2 { x[[i + 3]] } else { 0.0 }",
        "if N > 3 || i < 2 { x[[i + 3]] } else { 0.0 }",
    );
    twins(
        n,
        "if N > 3 || M == 5 { x[[3]] } else { 0.0 }",
        "if N > 3 || M == 4 { x[[3]] } else { 0.0 }",
    );
    twins(
        n,
        "if !(N > 3) { 0.0 } else { x[[i + j]] }",
        "if N > 3 { 0.0 } else { x[[i + j]] }",
    );
}

#[test]
fn scaled_conditions_are_understood() {
    let n = (7, 12, 3);
    twins(
        n,
        "if 2 * i < N { x[[2 * i]] } else { 0.0 }",
        "if 2 * i < N { x[[2 * i + 1]] } else { 0.0 }",
    );
    twins(
        (8, 12, 3),
        "if 2 * i < N { x[[2 * i + 1]] } else { 0.0 }",
        "if 2 * i <= N { x[[2 * i + 1]] } else { 0.0 }",
    );
    twins(
        n,
        "if i * 2 + 1 < N { x[[i]] } else { 0.0 }",
        "if i * 2 + 1 < N { x[[3 * i + 1]] } else { 0.0 }",
    );
    twins(
        n,
        "if i * 2 + 1 < N { x[[3 * i]] } else { 0.0 }",
        "if i * 2 < N { x[[3 * i]] } else { 0.0 }",
    );
    twins(
        n,
        "if 3 * i + j < N { x[[3 * i + j]] } else { 0.0 }",
        "if 3 * i + j <= N { x[[3 * i + j]] } else { 0.0 }",
    );
    twins(
        n,
        "if 3 * i < N - j { x[[2 * i + j]] } else { 0.0 }",
        "if 2 * i < N - j { x[[3 * i + j]] } else { 0.0 }",
    );
    twins(
        n,
        "if i + j < 5 && i - j < 4 { x[[i + 2]] } else { 0.0 }",
        "if i + j < 6 && i - j < 4 { x[[i + 3]] } else { 0.0 }",
    );
}

#[test]
fn clamps_bound_from_both_sides() {
    let n = (6, 9, 3);
    twins(n, "x[[max(0, min(i - 1, N - 1))]]", "x[[max(0, min(i - 1, N))]]");
    twins(
        n,
        "x[[min(max(i - 1, 0), N - 1)]]",
        "x[[min(max(i - 1, 0 - 1), N - 1)]]",
    );
    twins(
        n,
        "if i < N { x[[i - min(i, j)]] } else { 0.0 }",
        "if i < N { x[[i - min(i, j) - 1]] } else { 0.0 }",
    );
    twins(
        n,
        "if i < N { x[[max(i, j) - i]] } else { 0.0 }",
        "if i < N { x[[max(i, j) - i - 1]] } else { 0.0 }",
    );
    twins(
        (10, 9, 3),
        "x[[max(i, j) + min(i, j) - j]]",
        "x[[max(i, j) + min(i, j) - j - 1]]",
    );
    twins((9, 9, 3), "x[[abs(i - 4) * 2]]", "x[[abs(i - 3) * 2]]");
    twins((9, 9, 3), "x[[relu(i - 1)]]", "x[[relu(i + 1)]]");
}

#[test]
fn an_empty_axis_around_asks_for_nothing() {
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>, z: Tensor<f32, (P,)>) -> Tensor<f32, (P,)> { |i| z[[i]] + sum(|j: M| x[[7]] * y[[j]]) }";
    assert_eq!(verify(source, &[("N", 7), ("M", 0), ("P", 3)]), Ok(()));
    assert_eq!(verify(source, &[("N", 7), ("M", 3), ("P", 0)]), Ok(()));
    assert!(verify(source, &[("N", 7), ("M", 3), ("P", 3)]).is_err());
    assert_eq!(verify(source, &[("N", 8), ("M", 3), ("P", 3)]), Ok(()));
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>, z: Tensor<f32, (P,)>) -> Tensor<f32, (P,)> { let t = |j: M| x[[7]] * y[[j]]; |i| z[[i]] + sum(|j| t[[j]]) }";
    assert_eq!(verify(source, &[("N", 7), ("M", 0), ("P", 3)]), Ok(()));
    assert!(verify(source, &[("N", 7), ("M", 1), ("P", 3)]).is_err());
}

#[test]
fn arithmetic_that_may_wrap_is_not_trusted() {
    // Index registers have 32 bits unless a tensor has 2³¹ elements.
    let scaled = "x[[(i * 100000) / 100000]]";
    assert_eq!(at(scaled, 20_000, 20_000, 1), Ok(()));
    assert!(at(scaled, 30_000, 30_000, 1).is_err());
    assert_eq!(at(scaled, 1 << 33, 1 << 33, 1), Ok(()));
    assert_eq!(at("x[[i / 2]]", 1 << 32, 1 << 33, 1), Ok(()));
    assert!(at("x[[i / 2]]", (1 << 32) - 1, 1 << 33, 1).is_err());
    // A value has wrapped before it becomes a longer one.
    let mixed = "if i * 100000 + (j as i64) < 5 { x[[i]] } else { 0.0 }";
    assert_eq!(at(mixed, 1, 20_000, 3), Ok(()));
    assert!(at(mixed, 1, 30_000, 3).is_err());
    let long = "if (i as i64) * 100000 + j < 5 { x[[i]] } else { 0.0 }";
    assert_eq!(at(long, 1, 30_000, 3), Ok(()));
    let byte = "if (i as i8) < 5 { x[[i]] } else { 0.0 }";
    assert_eq!(at(byte, 5, 128, 3), Ok(()));
    assert!(at(byte, 5, 129, 3).is_err());
    let clamped = "x[[min(max(i * 100000, 0), N - 1)]] + x[[max(i * 100000, 0) / 100000]]";
    assert_eq!(at(clamped, 21_475, 30_000, 3), Ok(()));
    assert!(at(clamped, 21_474, 30_000, 3).is_err());
}

#[test]
fn operators_without_a_result_ask_for_nothing() {
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { let t = |k: N| x[[k + 1]]; |i| y[[i]] + sum(|k| t[[k]]) }";
    assert_eq!(verify(source, &[("N", 3), ("M", 0)]), Ok(()));
    assert!(verify(source, &[("N", 3), ("M", 1)]).is_err());
}

/// Conditions and branches that are used twice at each of many levels: a million ways through, and no end of cases.
#[test]
fn hostile_operators_end() {
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { |i| if i != 3 { x[[i]] } else { 0.0 } }";
    let operator = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
    let op = operator.variants[0].checked.op();
    let twice = |both: &dyn Fn(ExprId) -> Expr, body: ExprId, op: &mut Op| {
        (0..18).fold(body, |body, _| {
            op.exprs.push(both(body));
            ExprId(op.exprs.len() as u32 - 1)
        })
    };
    let condition = op.exprs.iter().position(|expr| matches!(expr, Expr::Compare(..)));
    let condition = ExprId(condition.unwrap() as u32);

    let mut branches = op.clone();
    let select = |body| Expr::Select {
        condition,
        accept: body,
        reject: body,
    };
    branches.outputs[0].body = twice(&select, op.outputs[0].body, &mut branches);

    let mut conditions = op.clone();
    let either = |body| Expr::Binary(BinaryOp::Or, body, body);
    let condition = twice(&either, condition, &mut conditions);
    conditions.exprs.push(Expr::Select {
        condition,
        accept: op.outputs[0].body,
        reject: op.outputs[0].body,
    });
    conditions.outputs[0].body = ExprId(conditions.exprs.len() as u32 - 1);

    for op in [branches, conditions] {
        let checked = Checked::new(op).unwrap();
        for (n, m) in [(10, 10), (u64::MAX, u64::MAX), (5, 0)] {
            assert_eq!(checked.verify(&[n, m]), Ok(()), "{n} {m}");
        }
        for (n, m) in [(9, 10), (3, u64::MAX), (0, 5)] {
            assert!(checked.verify(&[n, m]).is_err(), "{n} {m}");
        }
        assert!(checked.verify(&[3]).is_err());
    }
}
