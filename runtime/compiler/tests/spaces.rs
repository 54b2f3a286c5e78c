//! The spaces of schedules: large enough to search, every point legal, lowerable and readable back from its text.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::schedule::{self, Contract, Keep, Pass, Schedule};
use energy_kernel_compiler::size::{Extent, Specialisation};
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::tuning::is_wide;
use energy_kernel_compiler::{lang, lower};

const MATMUL: &str = "fn matmul(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[k, n]])
}";
const MATMUL_F16: &str = "fn matmul(a: Tensor<f16, (M, K)>, b: Tensor<f16, (K, N)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[k, n]])
}";
const SOFTMAX: &str = "fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}";
const GROUPED: &str =
    "fn grouped(x: Tensor<f16, (M, K)>, w: Tensor<i8, (N, K)>, s: Tensor<f32, (N, G)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * (w[[n, k]] as f32 * s[[n, k / 32]]))
}";
const DEPTHWISE: &str = "fn depthwise(x: Tensor<f16, (C, H, W)>, w: Tensor<f16, (C, R, S)>) -> Tensor<f16, (C, H, W)> {
    |c, h, v| sum(|r, s| x.or(0.0)[[c, h + r - 1, v + s - 1]] * w[[c, r, s]])
}";

fn checked(source: &str) -> Checked {
    let tokens = source.parse().expect("tokens");
    let operator = lang::parse(Default::default(), tokens).expect("a valid operator");
    operator.variants[0].checked.clone()
}

fn points(space: &[Schedule], family: &str) -> Vec<Schedule> {
    space.iter().filter(|point| point.family() == family).copied().collect()
}

#[test]
fn spaces_are_worth_a_search() {
    let (matmul, softmax) = (checked(MATMUL), checked(SOFTMAX));
    for target in Target::ALL {
        let sizes = matmul.derive(vec![1024; 3]).unwrap();
        for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
            let found = points(&schedule::space(&matmul, &specialisation, target), "contract").len();
            assert!(found >= 200, "{found} for {target:?}");
        }
        let sizes = softmax.derive(vec![4096; 2]).unwrap();
        let found = points(
            &schedule::space(&softmax, &Specialisation::exact(&sizes), target),
            "row",
        )
        .len();
        assert!(found >= 30, "{found} for {target:?}");
        // Rows that are a kernel argument are taken in tiles of several sizes.
        let grouped = checked(GROUPED);
        let sizes = grouped.derive(vec![1, 4096, 4096, 128]).unwrap();
        let mut specialisation = Specialisation::exact(&sizes);
        let one = points(&schedule::space(&grouped, &specialisation, target), "skinny").len();
        specialisation.extents[0] = Extent::Any { multiple_of: 1 };
        let any = points(&schedule::space(&grouped, &specialisation, target), "skinny").len();
        assert!(
            (100..500).contains(&one) && (2 * one..2000).contains(&any),
            "{one} and {any}"
        );
        let depthwise = checked(DEPTHWISE);
        let sizes = depthwise.derive(vec![64, 56, 56, 3, 3]).unwrap();
        let space = schedule::space(&depthwise, &Specialisation::exact(&sizes), target);
        let found = points(&space, "window").len();
        assert!((30..100).contains(&found), "{found} for {target:?}");
    }
}

/// From many short rows to few long ones: a read or two, and loads of 32 KiB in flight on each multiprocessor that has work.
#[test]
fn default_rows_keep_memory_busy() {
    let softmax = checked(SOFTMAX);
    for (rows, columns, walks) in [(65536, 16, 1), (4096, 4096, 1), (64, 1 << 20, 2)] {
        let sizes = softmax.derive(vec![rows, columns]).unwrap();
        for target in Target::ALL {
            let machine = Machine {
                target,
                multiprocessors: 108,
            };
            let point = schedule::default(&softmax, &Specialisation::exact(&sizes), &sizes, machine);
            let Schedule::Row(row) = point else {
                panic!("{rows} x {columns}: {point}");
            };
            let expected = if walks == 1 { Keep::Registers } else { Keep::Reload };
            assert_eq!((row.keep, row.pass == Pass::One), (expected, walks == 2), "{point}");
            let in_flight = match row.keep {
                Keep::Registers => columns as u32 / row.threads,
                _ => row.vector * row.unroll,
            };
            let threads = row.threads * row.rows;
            // As many blocks as registers allow, at 32 besides what is in flight.
            let blocks = target.resident_blocks(threads, 32 + in_flight, 0);
            assert!(4 * in_flight * threads * blocks >= 32 << 10, "{point}");
        }
    }
}

#[test]
fn what_a_family_is_not_for_is_not_in_its_space() {
    let family = |source: &str, sizes: &[u64], family: &str| {
        let checked = checked(source);
        let sizes = checked.derive(sizes.to_vec()).unwrap();
        points(
            &schedule::space(&checked, &Specialisation::exact(&sizes), Target::Sm80),
            family,
        )
        .len()
    };
    // Rows: 17 are no few, columns may be the few.
    assert!(family(MATMUL, &[16, 64, 512], "skinny") > 0);
    assert!(family(MATMUL, &[512, 64, 16], "skinny") > 0);
    assert_eq!(family(MATMUL, &[17, 64, 512], "skinny"), 0);
    // Nothing that rows or columns share; a sum in a sum; sums over different terms; sums that only a condition keeps in range.
    let bodies = [
        "|m, n| sum(|k| w[[k, m, n]])",
        "|m, n| sum(|k| x[[k, m]] * y[[k, n]] * sum(|j: K| x[[j, m]]))",
        "|m, n| sum(|k| x[[k, m]] * y[[k, n]]) + sum(|j: M| x[[0, j]])",
        "|m, n| if n > 0 { sum(|k| x[[k, m]] * y[[k, n - 1]]) } else { 0.0 }",
    ];
    for body in bodies {
        let parameters = "w: Tensor<f32, (K, M, N)>, x: Tensor<f32, (K, M)>, y: Tensor<f32, (K, N)>";
        let source = format!("fn f({parameters}) -> Tensor<f32, (M, N)> {{ {body} }}");
        assert_eq!(family(&source, &[64, 4, 64], "skinny"), 0, "{body}");
    }
    // Windows: not of 72 taps, and not where nothing slides.
    assert!(family(DEPTHWISE, &[4, 16, 64, 7, 7], "window") > 0);
    assert_eq!(family(DEPTHWISE, &[4, 16, 64, 8, 9], "window"), 0);
    assert_eq!(family(MATMUL, &[64, 8, 64], "window"), 0);
}

/// Sums of products of one operator are taken together, whoever writes them how.
#[test]
fn several_sums_share_their_tiles() {
    let points_of = |body: &str| {
        let parameters = "x: Tensor<f16, (M, K)>, y: Tensor<f16, (M, L)>, v: Tensor<f16, (N, K)>, w: Tensor<f16, (N, K)>, u: Tensor<f16, (N, L)>";
        let checked = checked(&format!("fn f({parameters}) -> Tensor<f16, (M, N)> {{ {body} }}"));
        let sizes = checked.derive(vec![256, 512, 128, 512]).unwrap();
        let space = schedule::space(&checked, &Specialisation::exact(&sizes), Target::Sm80);
        ["contract", "mma"].map(|family| points(&space, family).len())
    };
    let one = points_of("|m, n| sum(|k| x[[m, k]] * v[[n, k]])");
    let gated = points_of("|m, n| silu(sum(|k| x[[m, k]] * v[[n, k]])) * sum(|j| w[[n, j]] * x[[m, j]])");
    assert!(
        (0..2).all(|family| 300 <= gated[family] && gated[family] < one[family]),
        "{gated:?} of {one:?}"
    );
    // The same sum twice is one sum.
    let twice = "let p = |m, n| sum(|k| x[[m, k]] * v[[n, k]]); |m, n| p[[m, n]] + sum(|j| x[[m, j]] * v[[n, j]])";
    assert_eq!(points_of(twice), one);
    // Wanted under a condition, or in range only there.
    let conditional = [
        "|m, n| if n > m { sum(|k| x[[m, k]] * v[[n, k]]) } else { 0.0 }",
        "|m, n| if n > 0 { sum(|k| x[[m, k]] * v[[n - 1, k]]) } else { 0.0 }",
    ];
    for body in conditional {
        assert_eq!(points_of(body), one, "{body}");
    }
    // Not over other terms, and not beside what is reduced otherwise.
    let others = [
        "|m, n| sum(|k| x[[m, k]] * v[[n, k]]) + sum(|l| y[[m, l]] * u[[n, l]])",
        "|m, n| sum(|k| x[[m, k]] * v[[n, k]]) + max(|k| x[[m, k]])",
        "|m, n| sum(|k| x[[m, k]] * v[[n, k]]) + sum(|k| x[[m, k]])",
    ];
    for body in others {
        assert_eq!(points_of(body), [0, 0], "{body}");
    }
}

#[test]
fn every_point_is_legal_and_has_a_text() {
    for (source, sizes) in [
        (MATMUL, vec![1024, 512, 256]),
        (MATMUL_F16, vec![64, 512, 96]),
        (SOFTMAX, vec![64, 1000]),
        (MATMUL, vec![4, 512, 256]),
        (GROUPED, vec![3, 1024, 50, 32]),
        (DEPTHWISE, vec![8, 14, 14, 3, 3]),
    ] {
        let checked = checked(source);
        let sizes = checked.derive(sizes).unwrap();
        for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
            let space = schedule::space(&checked, &specialisation, Target::Sm86);
            for (number, point) in space.iter().enumerate() {
                assert!(
                    schedule::legal(&checked, &specialisation, Target::Sm86, point),
                    "{point}"
                );
                assert_eq!(point.to_string().parse::<Schedule>().as_ref(), Ok(point));
                assert!(!space[..number].contains(point), "{point} stands there twice");
            }
            let machine = Machine {
                target: Target::Sm86,
                multiprocessors: 84,
            };
            let default = schedule::default(&checked, &specialisation, &sizes, machine);
            assert!(space.contains(&default), "{default}");
        }
    }
}

#[test]
fn what_is_not_in_the_space_is_refused() {
    let checked = checked(MATMUL);
    let sizes = checked.derive(vec![1024; 3]).unwrap();
    let specialisation = Specialisation::exact(&sizes);
    let point = Contract {
        block_rows: 64,
        block_columns: 64,
        block_depth: 16,
        thread_rows: 4,
        thread_columns: 4,
        stages: 2,
        blocks: 0,
        parts: 1,
    };
    let legal = |point: Contract| {
        let lowered = lower::lower(&checked, &specialisation, Target::Sm80, &Schedule::Contract(point));
        assert_eq!(
            lowered.is_ok(),
            schedule::legal(&checked, &specialisation, Target::Sm80, &Schedule::Contract(point))
        );
        lowered.is_ok()
    };
    assert!(legal(point));
    assert!(legal(Contract { blocks: 108, ..point }));
    let large = Contract {
        block_columns: 128,
        thread_columns: 8,
        block_rows: 128,
        ..point
    };
    assert!(legal(large) && legal(Contract { parts: 4, ..large }));
    let wrong = [
        Contract { block_rows: 0, ..point },
        Contract {
            thread_rows: 0,
            ..point
        },
        Contract {
            thread_columns: 3,
            ..point
        },
        Contract {
            block_depth: u32::MAX,
            ..point
        },
        Contract {
            block_columns: 1 << 31,
            ..point
        },
        Contract { stages: 9, ..point },
        // More blocks than tiles, and no number of a machine's.
        Contract {
            block_rows: 256,
            block_columns: 128,
            thread_rows: 8,
            thread_columns: 8,
            blocks: 108,
            ..point
        },
        Contract { blocks: 7, ..point },
        // Parts where there are enough tiles without them, and a number that none of the choices is.
        Contract { parts: 2, ..point },
        Contract { parts: 3, ..point },
        // More threads than a block has, and fewer than are worth one.
        Contract {
            block_rows: 256,
            block_columns: 256,
            ..point
        },
        Contract {
            block_rows: 16,
            block_columns: 16,
            ..point
        },
        // More registers than there are.
        Contract {
            block_rows: 256,
            block_columns: 128,
            block_depth: 32,
            thread_rows: 8,
            thread_columns: 8,
            stages: 1,
            blocks: 0,
            parts: 1,
        },
    ];
    for point in wrong {
        assert!(!legal(point), "{point:?}");
    }
}

/// Tensor cores multiply what has few bits by what it is, and nothing that they would have to round.
#[test]
fn tensor_cores_never_round() {
    for (left, right, product, accepted) in [
        ("f16", "f16", "x[[m, k]] * w[[n, k]]", true),
        ("bf16", "bf16", "x[[m, k]] * w[[n, k]]", true),
        ("f16", "bf16", "x[[m, k]] * w[[n, k]]", true),
        ("f16", "i8", "x[[m, k]] * w[[n, k]]", true),
        ("f16", "i8", "x[[m, k]] * (w[[n, k]] as f32)", true),
        ("f32", "f32", "tf32(x[[m, k]]) * tf32(w[[n, k]])", true),
        ("f32", "f32", "(x[[m, k]] as f16) * (w[[n, k]] as f16)", true),
        ("f16", "f16", "relu(x[[m, k]]) * max(w[[n, k]], -0.5)", true),
        ("f16", "f16", "x.or(1.0)[[m - 1, k]] * w[[n, k]]", true),
        ("i8", "u8", "x[[m, k]] * w[[n, k]]", true),
        ("f32", "f32", "x[[m, k]] * w[[n, k]]", false),
        ("f32", "f16", "x[[m, k]] * w[[n, k]]", false),
        ("f32", "f32", "tf32(x[[m, k]]) * w[[n, k]]", false),
        ("f16", "f16", "(x[[m, k]] + 1.0) * w[[n, k]]", false),
        ("f16", "f16", "max(x[[m, k]], 0.1) * w[[n, k]]", false),
        ("f16", "f16", "x.or(0.1)[[m - 1, k]] * w[[n, k]]", false),
        ("f16", "i32", "x[[m, k]] * w[[n, k]]", false),
        ("i8", "i8", "-x[[m, k]] * w[[n, k]]", false),
        ("f64", "f64", "x[[m, k]] * w[[n, k]]", false),
    ] {
        let element = match left {
            "i8" => "i32",
            "f64" => "f64",
            _ => "f32",
        };
        let source = format!(
            "fn f(x: Tensor<{left}, (M, K)>, w: Tensor<{right}, (N, K)>) -> Tensor<{element}, (M, N)> {{
                |m, n| sum(|k| {product})
            }}"
        );
        let checked = checked(&source);
        let sizes = checked.derive(vec![128, 128, 128]).unwrap();
        let space = schedule::space(&checked, &Specialisation::exact(&sizes), Target::Sm80);
        assert_eq!(!points(&space, "mma").is_empty(), accepted, "{left} {right}: {product}");
    }
}

/// Multiplied out, the index would have 2⁴⁰ terms.
#[test]
fn a_product_of_many_sums_in_an_index_is_not_multiplied_out() {
    let factors = ["(M + N)"; 40].join(" * ");
    let checked = checked(&format!(
        "fn f(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {{
            |m, n| sum(|k| x[[m, (k + {factors}) % K]] * w[[n, k]])
        }}"
    ));
    let sizes = checked.derive(vec![64, 64, 64]).unwrap();
    let space = schedule::space(&checked, &Specialisation::like(&sizes), Target::Sm80);
    assert!(!points(&space, "contract").is_empty());
}

/// Counters of 32 bits reach no further than 2³¹ terms, however small the tensors are.
#[test]
fn a_sum_of_many_terms_is_wide() {
    let checked = checked(
        "fn f(x: Tensor<f32, (M, I)>, w: Tensor<f32, (N, J)>) -> Tensor<f32, (M, N)> {
        |m, n| sum(|i, j| x[[m, i]] * w[[n, j]])
    }",
    );
    let sizes = |i: u64, j: u64| checked.derive(vec![16, i, 16, j]).unwrap();
    assert!(!is_wide(&checked, &sizes(1 << 15, (1 << 16) - 1)));
    assert!(is_wide(&checked, &sizes(1 << 15, 1 << 16)));
    // A loop over them would step past 2³¹.
    assert!(is_wide(&checked, &sizes(1, (1 << 31) - 100)));
}

/// Values of sizes and axes need 64 bits where they pass 2³¹, and only there.
#[test]
fn large_values_of_sizes_and_axes_are_wide() {
    for (body, most) in [
        ("x[[i]] * (N * N) as f32", 46_340),
        ("if i * i < 100 { x[[i]] } else { 0.0 }", 46_341),
        ("x[[i]] + sum(|j: N| j) as f32", 46_341),
        ("x[[i * 100000 / 100000]]", 21_475),
        ("x[[i]] + powi(i, 3) as f32", 1291),
        ("x[[i]] + argmax(|j| x[[j]]) as f32", 1 << 20),
        ("if i >= 7 { x[[i - 7]] } else { N as f32 }", 1 << 20),
    ] {
        let checked = checked(&format!(
            "fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {{ |i| {body} }}"
        ));
        assert!(!is_wide(&checked, &[most]), "{body}");
        assert_eq!(is_wide(&checked, &[most + 1]), most < 1 << 20, "{body}");
    }
    // An `i32` wraps, as it is told to.
    let checked = checked("fn f(x: Tensor<i32, (N,)>) -> Tensor<i32, (N,)> { |i| x[[i]] + i * 1103515245 }");
    assert!(!is_wide(&checked, &[1 << 20]));
}
