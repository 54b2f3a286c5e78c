//! Rooflines against work counted by hand.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::datasheet::Datasheet;
use energy_kernel_compiler::lang;
use energy_kernel_compiler::roofline::{Bound, Roofline, Work};

const SHEET: Datasheet = Datasheet::H100;

fn checked(attribute: &str, source: &str) -> Checked {
    let operator = lang::parse(attribute.parse().unwrap(), source.parse().unwrap());
    let operator = operator.unwrap_or_else(|error| panic!("{error}: {source}"));
    operator.variants[0].checked.clone()
}

fn work_of(attribute: &str, source: &str, free: &[u64]) -> Work {
    let checked = checked(attribute, source);
    let sizes = checked.derive(free.to_vec()).unwrap();
    Work::of(&checked, &sizes)
}

/// Bytes, and operations of tensor cores, single precision, integers and special functions.
fn counts(work: &Work) -> [f64; 5] {
    assert_eq!(work.float64, 0.0);
    [work.bytes, work.matrix, work.float32, work.integer, work.special]
}

fn matmul(element: &str, result: &str) -> Work {
    let source = format!(
        "fn f(x: Tensor<{element}, (M, K)>, w: Tensor<{element}, (N, K)>) -> Tensor<{result}, (M, N)> {{ |m, n| sum(|k| x[[m, k]] * w[[n, k]]) }}"
    );
    // M, K, N: in the order of their first appearance.
    work_of("", &source, &[512, 256, 1024])
}

#[test]
fn a_copy_moves_bytes() {
    let copy = checked("", "fn f(x: Tensor<f16, (N,)>) -> Tensor<f16, (N,)> { |n| x[[n]] }");
    assert_eq!(
        counts(&Work::of(&copy, &[1 << 26])),
        [f64::from(4 << 26), 0.0, 0.0, 0.0, 0.0]
    );
    let roofline = Roofline::of(&copy, &[1 << 26], &SHEET);
    assert_eq!(roofline.bound, Bound::Memory);
    assert_eq!(roofline.seconds, 2e-6 + f64::from(4 << 26) / 3.35e12);
    assert_eq!(Roofline::of(&copy, &[64], &SHEET).bound, Bound::Launch);
}

#[test]
fn a_dimension_of_0_takes_no_time() {
    let copy = checked(
        "",
        "fn f(x: Tensor<f16, (N, M)>) -> Tensor<f32, (N,)> { |n| sum(|m| x[[n, m]]) }",
    );
    assert_eq!(Work::of(&copy, &[0, 64]), Work::default());
    let roofline = Roofline::of(&copy, &[0, 64], &SHEET);
    assert_eq!((roofline.seconds, roofline.bound), (0.0, Bound::Launch));
    // An empty sum is stored.
    assert_eq!(counts(&Work::of(&copy, &[64, 0])), [256.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn products_run_on_the_units_that_their_types_allow() {
    let (m, n, k) = (512.0, 1024.0, 256.0);
    let flops = 2.0 * m * n * k;
    let bytes = |element: f64, result: f64| element * (m + n) * k + result * m * n;
    assert_eq!(counts(&matmul("f16", "f16")), [bytes(2.0, 2.0), flops, 0.0, 0.0, 0.0]);
    assert_eq!(counts(&matmul("bf16", "f32")), [bytes(2.0, 4.0), flops, 0.0, 0.0, 0.0]);
    assert_eq!(
        counts(&matmul("i8", "i32")),
        [bytes(1.0, 4.0), flops / 2.0, 0.0, 0.0, 0.0]
    );
    assert_eq!(counts(&matmul("f32", "f32")), [bytes(4.0, 4.0), 0.0, flops, 0.0, 0.0]);
    let double = matmul("f64", "f64");
    assert_eq!(
        (double.bytes, double.float64, double.float32),
        (bytes(8.0, 8.0), flops, 0.0)
    );

    let seconds = |work: &Work| work.roofline(&SHEET).seconds - SHEET.launch_s;
    let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a} {b}");
    let large = |source: &str| work_of("", source, &[8192, 8192, 8192]);
    let f16 = large(
        "fn f(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> { |m, n| sum(|k| x[[m, k]] * w[[n, k]]) }",
    );
    near(seconds(&f16), 2.0 * 8192f64.powi(3) / (0.63 * 4096.0 * 132.0 * 1.83e9));
    assert_eq!(f16.roofline(&SHEET).bound, Bound::TensorCores);
    let f32 = large(
        "fn f(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> { |m, n| sum(|k| x[[m, k]] * w[[n, k]]) }",
    );
    near(seconds(&f32), 2.0 * 8192f64.powi(3) / (2.0 * 128.0 * 132.0 * 1.83e9));
    assert_eq!(f32.roofline(&SHEET).bound, Bound::Arithmetic);
    let tf32 = large(
        "fn f(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> { |m, n| sum(|k| tf32(x[[m, k]]) * tf32(w[[n, k]])) }",
    );
    assert_eq!(tf32.matrix, 2.0 * f16.matrix);
    assert_eq!(tf32.float32, 2.0 * 8192.0 * 8192.0, "each conversion once");
    // Nothing else shares the elements of a vector, so tensor cores would multiply by zeros.
    let elementwise = work_of(
        "",
        "fn f(x: Tensor<f16, (M, K)>, y: Tensor<f16, (M, K)>) -> Tensor<f32, (M,)> { |m| sum(|k| x[[m, k]] * y[[m, k]]) }",
        &[64, 32],
    );
    assert_eq!(counts(&elementwise)[1..], [0.0, 2.0 * 64.0 * 32.0, 0.0, 0.0]);
}

#[test]
fn an_addition_takes_in_one_multiplication() {
    let distance = |term: &str| {
        let source = format!(
            "fn f(x: Tensor<f32, (M, K)>, y: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {{ |m, n| sum(|k| {term}) }}"
        );
        let work = work_of("", &source, &[64, 32, 16]);
        [work.float32, work.fused32].map(|operations| operations / (64.0 * 32.0 * 16.0))
    };
    assert_eq!(distance("x[[m, k]] * y[[n, k]]"), [2.0, 1.0]);
    // Two additions, and a square.
    assert_eq!(distance("powi(x[[m, k]] - y[[n, k]], 2)"), [3.0, 1.0]);
    assert_eq!(distance("max(x[[m, k]], y[[n, k]])"), [2.0, 0.0]);
    // Three multiplications and an addition.
    assert_eq!(distance("x[[m, k]] * y[[n, k]] * x[[m, k]] * y[[n, k]]"), [4.0, 1.0]);
    // Signs and magnitudes are read on the way.
    assert_eq!(distance("abs(x[[m, k]] - y[[n, k]])"), [3.0, 1.0]);
}

#[test]
fn softmax_counts_each_expression_once_for_each_value() {
    let source = "fn f(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
        let peak = |r| max(|c| x[[r, c]]);
        let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
        |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
    }";
    let (r, c) = (64.0, 1024.0);
    let work = work_of("", source, &[64, 1024]);
    // A comparison, a subtraction and an addition; a subtraction and a product with the reciprocal.
    let float32 = 5.0 * r * c;
    // Both exponentials, and a reciprocal for each row.
    let special = 2.0 * r * c + r;
    assert_eq!(counts(&work), [8.0 * r * c, 0.0, float32, 0.0, special]);
}

/// Attention of 4 heads of 64, 256 tokens. `score` is an expression of `t` and `s`.
fn attention(score: &str, rest: &str) -> Work {
    let source = format!(
        "fn f(q: Tensor<f16, (T, H, E)>, k: Tensor<f16, (S, H, E)>, v: Tensor<f16, (S, H, E)>, length: Tensor<i32, (T,)>) -> Tensor<f16, (T, H, E)> {{
            let score = |t, h, s| {score};
            let peak = |t, h| max(|s| score[[t, h, s]]);
            let weight = |t, h, s| exp(score[[t, h, s]] - peak[[t, h]]);
            {rest}
        }}"
    );
    work_of("", &source, &[256, 4, 64, 256])
}

const DIVIDED: &str = "|t, h, e| sum(|s| weight[[t, h, s]] as f16 * v[[s, h, e]]) / sum(|s| weight[[t, h, s]])";
const DOT: &str = "sum(|e| q[[t, h, e]] * k[[s, h, e]])";

#[test]
fn guards_bound_the_sums_of_causal_attention() {
    let (t, h, e) = (256.0, 4.0, 64.0);
    let all = h * t * t;
    let causal = h * t * (t + 1.0) / 2.0;
    // Subtraction, comparison, addition; a product with the reciprocal of the sum.
    let expected = |pairs: f64| {
        [
            4.0 * t * h * e * 2.0,
            2.0 * 2.0 * pairs * e,
            3.0 * pairs + t * h * e,
            0.0,
            pairs + t * h,
        ]
    };
    assert_eq!(counts(&attention(DOT, DIVIDED)), expected(all));
    let guarded = |condition: &str| format!("if {condition} {{ {DOT} }} else {{ f32::NEG_INFINITY }}");
    assert_eq!(counts(&attention(&guarded("s <= t"), DIVIDED)), expected(causal));
    assert_eq!(
        counts(&attention(
            &format!("if s > t {{ f32::NEG_INFINITY }} else {{ {DOT} }}"),
            DIVIDED
        )),
        expected(causal)
    );
    let window = h * (1.0 + 2.0 + 3.0 * (t - 2.0));
    assert_eq!(
        counts(&attention(&guarded("s <= t && s > t - 3"), DIVIDED)),
        expected(window)
    );
    // Data decides: all of it may be needed, and a comparison is.
    let mut masked = expected(all);
    masked[0] += 256.0 * 4.0;
    masked[3] = 0.0;
    let lengths = attention(&guarded("s < length[[t]]"), DIVIDED);
    assert_eq!(counts(&lengths), masked);

    // The guard stands where the products are used.
    let summed = "|t, h, e| sum(|s| if s <= t { score[[t, h, s]] as f16 * v[[s, h, e]] } else { 0.0 })";
    let work = attention(DOT, summed);
    assert_eq!(work.matrix, 2.0 * 2.0 * causal * e);
}

#[test]
fn gathers_read_what_they_select() {
    let source = "fn f(token: Tensor<i32, (T,)>, table: Tensor<f16, (V, D)>) -> Tensor<f16, (T, D)> { |t, d| table[[token[[t]], d]] }";
    assert_eq!(
        counts(&work_of("", source, &[16, 32000, 1024]))[0],
        16.0 * 4.0 + 2.0 * 16.0 * 1024.0 * 2.0
    );
    // More rows than the table has.
    assert_eq!(
        counts(&work_of("", source, &[64, 8, 1024]))[0],
        64.0 * 4.0 + 8.0 * 1024.0 * 2.0 + 64.0 * 1024.0 * 2.0
    );
    // An element from each sector.
    let source = "fn f(at: Tensor<i32, (T,)>, x: Tensor<f16, (V,)>) -> Tensor<f16, (T,)> { |t| x[[at[[t]]]] }";
    assert_eq!(counts(&work_of("", source, &[16, 32000]))[0], 64.0 + 16.0 * 32.0 + 32.0);
    // Pages of a cache: each position of a sequence once, whatever the number of query heads.
    let source = "fn f(q: Tensor<f16, (B, H, E)>, keys: Tensor<f16, (N, Z, G, E)>, page: Tensor<i32, (B, P)>) -> Tensor<f32, (B, H, S)> {
        |b, h, s| sum(|e| q[[b, h, e]] * keys[[page[[b, s / Z]], s % Z, h / R, e]])
    }";
    let (b, h, e, n, z, g, p) = (2, 8, 64, 1000, 16, 2, 4);
    let work = work_of("dims(R = H / G, S = P * Z)", source, &[b, h, e, n, z, g, p]);
    let bytes = b * h * e * 2 + b * p * z * g * e * 2 + (b * p * 4).next_multiple_of(32) + b * h * p * z * 4;
    assert_eq!(work.bytes, bytes as f64);
}

#[test]
fn only_values_that_are_read_are_computed() {
    let parameters = "x: Tensor<f16, (T, D)>, w: Tensor<f16, (X, F, D)>, choice: Tensor<i32, (T,)>";
    let chosen = "let y = |t, e, f| sum(|d| x[[t, d]] * w[[e, f, d]]); |t, f| y[[t, choice[[t]], f]]";
    let source = format!("fn f({parameters}) -> Tensor<f16, (T, F)> {{ {chosen} }}");
    let work = work_of("", &source, &[64, 32, 8, 128]);
    assert_eq!(work.matrix, 2.0 * 64.0 * 128.0 * 32.0, "one expert of each token");

    let gated = "let y = |t, g| sum(|d| x[[t, d]] * w[[g, d]]); |t, f| relu(y[[t, f]]) * y[[t, f + F]]";
    let source = format!("fn f(x: Tensor<f16, (T, D)>, w: Tensor<f16, (G, D)>) -> Tensor<f16, (T, F)> {{ {gated} }}");
    let work = work_of("dims(F = G / 2)", &source, &[64, 32, 256]);
    assert_eq!(work.matrix, 2.0 * 64.0 * 256.0 * 32.0, "both halves");
}

#[test]
fn a_convolution_counts_its_padding() {
    let source = "fn f(x: Tensor<f16, (B, C, H, W)>, w: Tensor<f16, (O, C, R, S)>) -> Tensor<f16, (B, O, H, W)> {
        |b, o, h, v| sum(|c, r, s| x.or(0.0)[[b, c, h + r - 1, v + s - 1]] * w[[o, c, r, s]])
    }";
    let work = work_of("", source, &[2, 64, 28, 28, 128, 3, 3]);
    let outputs = 2.0 * 128.0 * 28.0 * 28.0;
    let bytes = 2.0 * (2.0 * 64.0 * 28.0 * 28.0 + 128.0 * 64.0 * 9.0 + outputs);
    assert_eq!(counts(&work), [bytes, 2.0 * outputs * 64.0 * 9.0, 0.0, 0.0, 0.0]);
    // A channel of its own: no tile of channels for tensor cores.
    let source = "fn f(x: Tensor<f16, (B, C, H, W)>, w: Tensor<f16, (C, R, S)>) -> Tensor<f16, (B, C, H, W)> {
        |b, c, h, v| sum(|r, s| x.or(0.0)[[b, c, h + r - 1, v + s - 1]] * w[[c, r, s]])
    }";
    let work = work_of("", source, &[2, 64, 28, 28, 3, 3]);
    assert_eq!(counts(&work)[1..3], [0.0, 2.0 * 2.0 * 64.0 * 28.0 * 28.0 * 9.0]);
}

#[test]
fn hostile_operators_end() {
    let mut body = "let t0 = |m| if m < 3 { x[[m]] } else { 0.0 };".to_owned();
    for level in 1..20 {
        let before = level - 1;
        body += &format!("let t{level} = |m: M| t{before}[[m]] * t{before}[[m]];");
    }
    let source = format!("fn f(x: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> {{ {body} |m| t19[[m]] }}");
    assert_eq!(work_of("", &source, &[64]).float32, 19.0 * 3.0);
    let huge = work_of(
        "",
        "fn f(x: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { |m| x[[m]] + 1.0 }",
        &[1 << 62],
    );
    assert!(huge.roofline(&SHEET).seconds.is_finite());
}
