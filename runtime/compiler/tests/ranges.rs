//! The range proof: operators that it must accept, and operators that it must refuse.

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
    let wraps = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { |i| if i as i32 * 100000 < N { x[[i * 100000]] } else { y[[i]] } }";
    assert!(verify(wraps, &[("N", 1), ("M", 30_000)]).is_err());
    assert_eq!(verify(wraps, &[("N", 1), ("M", 100)]), Ok(()));
    let exact = wraps.replace(" as i32", "");
    assert_eq!(verify(&exact, &[("N", 1), ("M", 30_000)]), Ok(()));
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

/// An accepted body and a refused one, at sizes (N, M, P). They differ by one in an index.
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
    // Indices and index values have 64 bits if they need them.
    let scaled = "x[[(i * 100000) / 100000]] + x[[max(i * 100000, 0) / 100000]]";
    for n in [20_000, 30_000, 1 << 33] {
        assert_eq!(at(scaled, n, n, 1), Ok(()));
        assert!(at(scaled, n - 1, n, 1).is_err());
    }
    let scaled = "x[[max(i * 4000000000, 0) / 4000000000]]";
    assert_eq!(at(scaled, 2_305_843_010, 1 << 33, 1), Ok(()));
    assert!(at(scaled, 2_305_843_009, 1 << 33, 1).is_err());
    assert_eq!(at("x[[i / 2]]", 1 << 32, 1 << 33, 1), Ok(()));
    assert!(at("x[[i / 2]]", (1 << 32) - 1, 1 << 33, 1).is_err());
    // An `i32` wraps before it is widened.
    let mixed = "if i as i32 * 100000 + (j as i64) < 5 { x[[i]] } else { 0.0 }";
    assert_eq!(at(mixed, 1, 20_000, 3), Ok(()));
    assert!(at(mixed, 1, 30_000, 3).is_err());
    for long in ["i * 100000 + (j as i64)", "i as i64 * 100000 + j", "i * 100000 + j"] {
        let long = format!("if {long} < 5 {{ x[[i]] }} else {{ 0.0 }}");
        assert_eq!(at(&long, 1, 30_000, 3), Ok(()));
    }
    let byte = "if (i as i8) < 5 { x[[i]] } else { 0.0 }";
    assert_eq!(at(byte, 5, 128, 3), Ok(()));
    assert!(at(byte, 5, 129, 3).is_err());
    let clamped = "x[[min(max(i as i32 * 100000, 0), N - 1)]] + x[[max(i as i32 * 100000, 0) / 100000]]";
    assert_eq!(at(clamped, 21_475, 30_000, 3), Ok(()));
    assert!(at(clamped, 21_474, 30_000, 3).is_err());
}

/// Guards on axes of any extent are proved.
#[test]
fn guards_on_long_axes_are_proved() {
    for n in [9, (1 << 31) - 1, 1 << 31, 3_000_000_000, 1 << 40] {
        twins(
            (n, n, 4),
            "if i >= 7 { x[[i - 7]] } else { 0.0 }",
            "if i >= 6 { x[[i - 7]] } else { 0.0 }",
        );
        twins(
            (n, n, 4),
            "if i + 1 < N { x[[i + 1]] } else { 0.0 }",
            "if i < N { x[[i + 1]] } else { 0.0 }",
        );
        twins(
            (n, n, 4),
            "x[[min(max(i - 1, 0), N - 2)]]",
            "x[[min(max(i - 1, -1), N - 2)]]",
        );
        // An `i32` is compared with all 64 bits of the axis.
        twins(
            (n, n, 4),
            "if i <= j as i32 && j < 3 { x[[i]] } else { x[[N - 1]] }",
            "if i <= j as i32 && j < 3 { x[[i]] } else { x[[N]] }",
        );
    }
    let square = "if i * i < N { x[[i * i]] } else { 0.0 }";
    assert_eq!(at(square, 9, 3_000_000_000, 1), Ok(()));
    // Beyond this, the square wraps.
    assert!(at(square, 9, 1 << 32, 1).is_err());
}

/// `x` has N elements, `y` is of `i32`.
fn with_integers(result: &str, body: &str, n: u64) -> Result<(), String> {
    let source = format!(
        "fn f(x: Tensor<f32, (N,)>, y: Tensor<i32, (M,)>) -> Tensor<{result}, (M,)> {{
            let best = |m: M| argmax(|i| x[[i]]);
            |m| {body}
        }}"
    );
    verify(&source, &[("N", n), ("M", 3)])
}

/// A size, an axis or a position is never truncated silently.
#[test]
fn what_becomes_an_i32_must_fit_one() {
    let (fits, too_many) = (1 << 31, (1 << 31) + 1);
    for (result, body, refused) in [
        ("i32", "y[[m]] + argmax(|i| x[[i]])", true),
        ("i32", "argmax(|i| x[[i]])", true),
        ("i32", "best[[m]]", true),
        ("i32", "if y[[m]] > 0 { best[[m]] } else { y[[m]] }", true),
        ("i32", "y[[m]] + max(|i: N| i)", true),
        (
            "i32",
            "{ let best = argmin(|i| x[[i]]); y[[m]] + best / 2 + (best as f32) as i32 }",
            true,
        ),
        ("i32", "argmax(|i| x[[i]]) as i32", false),
        ("i32", "y[[m]] + best[[m]] as i32", false),
        ("i32", "(best[[m]] % 1000) as i32", false),
        ("i32", "(best[[m]] == y[[m]]) as i32", false),
        ("i64", "best[[m]]", false),
        ("i64", "y[[m]] + best[[m]] as i64", false),
        ("u8", "best[[m]]", false),
        ("f32", "best[[m]] as f32 + y[[m]]", false),
        ("f32", "best[[m]] * 0.5", false),
    ] {
        assert_eq!(with_integers(result, body, fits), Ok(()), "{body}");
        let verdict = with_integers(result, body, too_many);
        assert_eq!(verdict.is_err(), refused, "{body}: {verdict:?}");
        if let Err(message) = verdict {
            assert!(message.contains("reaches 2147483648"), "{message}");
            assert!(message.contains("as i64"), "{message}");
        }
    }
    assert_eq!(
        with_integers("i32", "y[[m]] + (N - 1)", fits),
        Err("size `N` reaches 2147483648, which does not fit `i32`; write `… as i64`, or return `i64`".to_owned())
    );
}

#[test]
fn operators_without_a_result_ask_for_nothing() {
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { let t = |k: N| x[[k + 1]]; |i| y[[i]] + sum(|k| t[[k]]) }";
    assert_eq!(verify(source, &[("N", 3), ("M", 0)]), Ok(()));
    assert!(verify(source, &[("N", 3), ("M", 1)]).is_err());
}

/// Conditions and branches that are used twice at each of many levels give a million paths and cases.
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

/// The front end's errors about an operator with a scalar `by`, and their positions.
fn with_scalar(element: &str, body: &str) -> Result<(), (String, usize)> {
    let source = format!(
        "fn f(x: Tensor<f32, (T,)>, y: Tensor<f32, (P,)>, ids: Tensor<i32, (T,)>, by: {element}) -> Tensor<f32, (T,)> {{
            let doubled = |p: P| y[[p]] * 2.0;
            {body}
        }}"
    );
    let parsed = lang::parse(Default::default(), source.parse().unwrap());
    parsed
        .map(|_| ())
        .map_err(|error| (error.to_string(), error.span().start().column))
}

/// A scalar's value is unknown before the launch. An index that depends on it is refused, at its span.
#[test]
fn scalars_in_indices_are_refused_unless_kept_in_range() {
    for (element, index) in [
        ("i32", "|t| x[[t]] * y[[§t + by]]"),
        ("i64", "|t| x[[t]] * y[[§by]]"),
        ("i32", "|t| x[[§(t + by) % T]]"),
        ("i32", "|t| x[[t]] * doubled[[§by - t]]"),
        ("i32", "|t| x[[§T - by]]"),
        ("i32", "|t| if t + by < T { x[[§t + by]] } else { 0.0 }"),
        ("i32", "|t| if by < T { x[[§by]] } else { 0.0 }"),
        ("i32", "|t| sum(|p: P| x[[t]] * y[[§max(p + by, 0)]])"),
    ] {
        let column = 12 + index.chars().position(|c| c == '§').unwrap();
        let (message, at) = with_scalar(element, &index.replace('§', "")).unwrap_err();
        assert_eq!(at, column, "{index}: {message}");
        assert!(message.contains(&format!("`by: Tensor<{element}, ()>`")), "{message}");
    }
    for (element, body) in [
        ("i32", "|t| x[[min(max(t + by, 0), T - 1)]]"),
        ("i32", "|t| x[[(by % T + T + t) % T]]"),
        ("i32", "|t| if by >= 0 && by < T { x[[by]] } else { 0.0 }"),
        ("i32", "|t| if 0 <= by && by < 3 && t >= 2 { x[[t - by]] } else { 0.0 }"),
        ("i64", "|t| x.or(0.0)[[t + by]]"),
        ("i32", "|t| x[[ids[[t]] + by]]"),
        ("i32", "|t| x[[t]] * by"),
        ("i32", "|t| if by > 0 { x[[t]] } else { 0.0 }"),
        // 256 elements are enough.
        ("u8", "|t| x[[t]] * y[[by]]"),
        // Not the scalar's fault.
        ("i32", "|t| x[[t + 1 + by * 0]]"),
    ] {
        assert_eq!(with_scalar(element, body), Ok(()), "{body}");
    }
}

#[test]
fn one_of_a_kind_is_singular() {
    let source = "fn f(x: Tensor<f32, (M, N)>) -> Tensor<f32, (M,)> { |m| x[[m, 3]] }";
    let operator = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
    let checked = &operator.variants[0].checked;
    let message = |shapes: &[&[u64]]| match checked.sizes_of(shapes) {
        Ok(sizes) => checked.verify(&sizes).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(message(&[&[3]]), "`x` has 1 dimension, but the operator takes 2");
    assert_eq!(message(&[]), "the operator takes 1 tensor, but 0 tensors are given");
    assert!(message(&[&[3, 1]]).ends_with("but the dimension has 1 element"));
}

/// A derived size, an index that reads `x`, their values at `(q, n, m)`, and whether the index is proved at every size.
type Derived = (
    &'static str,
    &'static str,
    fn(i64, i64) -> i64,
    fn(i64, i64, i64) -> i64,
    bool,
);

#[test]
fn derived_sizes_prove_indices_at_every_size() {
    let cases: [Derived; 12] = [
        ("M = Q - N", "m", |q, n| q - n, |_, _, m| m, true),
        ("M = Q - N", "m + N", |q, n| q - n, |_, n, m| m + n, true),
        (
            "M = Q - 2 * N",
            "N + m + N",
            |q, n| q - 2 * n,
            |_, n, m| m + 2 * n,
            true,
        ),
        ("M = Q - N", "m + N + 1", |q, n| q - n, |_, n, m| m + n + 1, false),
        ("M = Q - N + 1", "m", |q, n| q - n + 1, |_, _, m| m, false),
        (
            "H = Q / 2, M = Q - H - N",
            "m + H",
            |q, n| q - q / 2 - n,
            |q, _, m| m + q / 2,
            true,
        ),
        ("H = Q / 2, M = H", "2 * m", |q, _| q / 2, |_, _, m| 2 * m, false),
        ("M = Q - 4", "m + 4", |q, _| q - 4, |_, _, m| m + 4, true),
        ("M = Q - 4", "m + 5", |q, _| q - 4, |_, _, m| m + 5, false),
        ("M = Q - 4", "m - 1", |q, _| q - 4, |_, _, m| m - 1, false),
        ("M = N", "m", |_, n| n, |_, _, m| m, false),
        ("M = Q - 4", "Q - 1 - m", |q, _| q - 4, |q, _, m| q - 1 - m, false),
    ];
    for (dims, index, extent, value, expected) in cases {
        let source =
            format!("fn f(x: Tensor<f32, (Q,)>, like: Tensor<f32, (N,)>) -> Tensor<f32, (M,)> {{ |m| x[[{index}]] }}");
        let operator = lang::parse(format!("dims({dims})").parse().unwrap(), source.parse().unwrap()).unwrap();
        let checked = &operator.variants[0].checked;
        let mut exprs = (0..checked.op().exprs.len() as u32).map(ExprId);
        let read = exprs.find(|&expr| matches!(checked.op().expr(expr), Expr::Read { .. }));
        assert_eq!(checked.proven(read.unwrap(), 0), expected, "{dims}: {index}");
        assert!(!checked.spans(read.unwrap(), 0));
        for (q, n) in (0..12).flat_map(|q| (0..12).map(move |n| (q, n))) {
            let in_range = (0..extent(q, n)).all(|m| (0..q).contains(&value(q, n, m)));
            assert!(in_range || !expected, "{dims}: {index} at {q}, {n}");
        }
    }
}
