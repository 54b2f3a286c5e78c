//! Work that one launch repeats.

use energy_kernel_compiler::lang;
use energy_kernel_compiler::repeated::{Repeated, repeated};

const PARAMETERS: &str = "x: Tensor<f32, (M, K)>, v: Tensor<f32, (H, K)>, w: Tensor<f32, (N, H)>";

/// The body's repeated work at M = 8, K = 64, H = 256, N = 32.
fn of(result: &str, body: &str) -> Option<Repeated> {
    let source = format!("fn f({PARAMETERS}) -> Tensor<f32, {result}> {{ {body} }}");
    let operator = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
    let checked = &operator.variants[0].checked;
    repeated(checked, &[8, 64, 256, 32])
}

const HIDDEN: &str = "let hidden = |m, h| relu(sum(|k| x[[m, k]] * v[[h, k]]));";

#[test]
fn each_value_once_is_not_repeated() {
    for (result, body) in [
        ("(M, H)", format!("{HIDDEN} |m, h| hidden[[m, h]]")),
        // Two reductions in sequence, and an inner one that depends on no axis of the outer one.
        (
            "(M, K)",
            "let peak = |m| max(|k| x[[m, k]]); let total = |m| sum(|k| exp(x[[m, k]] - peak[[m]]));
             |m, k| exp(x[[m, k]] - peak[[m]]) / total[[m]]"
                .to_owned(),
        ),
        ("(M,)", "|m| sum(|k, h| x[[m, k]] * v[[h, k]])".to_owned()),
        (
            "(M,)",
            "|m| sum(|k| x[[m, k]] * sum(|h| v[[h, k]]))".to_owned() + " * 1.0",
        ),
    ] {
        let found = of(result, &body);
        // The last one sums `v` again for each `m`.
        assert_eq!(found.is_some(), body.ends_with("1.0"), "{body}: {found:?}");
    }
}

#[test]
fn what_a_sum_does_not_depend_on_repeats_it() {
    let found = of(
        "(M, N)",
        &format!("{HIDDEN} |m, n| sum(|h| hidden[[m, h]] * w[[n, h]])"),
    )
    .unwrap();
    assert_eq!(found.name.as_deref(), Some("hidden"));
    assert_eq!((found.times, found.over), (32.0, vec!["n".to_owned()]));
    let necessary = 256.0 + 8.0 * 32.0 * 256.0 + 8.0 * 256.0 * 64.0;
    let total = 256.0 + 8.0 * 32.0 * 256.0 + 32.0 * 8.0 * 256.0 * 64.0;
    assert!((found.factor - total / necessary).abs() < 1e-9, "{}", found.factor);

    // Greedy decoding: each logit once.
    assert_eq!(of("(M,)", &format!("{HIDDEN} |m| max(|h| hidden[[m, h]])")), None);
    // Their norm is a separate reduction, shared by all `h`.
    let norm = format!("{HIDDEN} let norm = |m| sum(|h| hidden[[m, h]]); |m, h| hidden[[m, h]] / norm[[m]]");
    assert_eq!(of("(M, H)", &norm), None);
    // Three levels: the innermost depends only on the axis of the middle one.
    let deep = "let columns = |k| sum(|h| v[[h, k]]); let rows = |m| sum(|k| x[[m, k]] * columns[[k]]); |m, n| rows[[m]] * sum(|h| w[[n, h]])";
    let found = of("(M, N)", deep).unwrap();
    assert_eq!((found.name.as_deref(), found.times), (Some("columns"), 8.0));
    assert!(
        found
            .to_string()
            .starts_with("each value of `columns` is computed 8 times, once for each `m`: ")
    );
}

#[test]
fn hostile_operators_end() {
    // Each intermediate tensor reads the one before it twice.
    let mut body = "let t0 = |m| sum(|k| x[[m, k]]);".to_owned();
    for level in 1..20 {
        let before = level - 1;
        body += &format!("let t{level} = |m: M| t{before}[[m]] + t{before}[[m]] * 2.0;");
    }
    assert_eq!(of("(M,)", &format!("{body} |m| t19[[m]]")), None);
    assert_eq!(of("(M, N)", "|m, n| x[[m, 0]] * w[[n, 0]]"), None);
}
