//! The spaces of schedules: large enough to search, every point legal, lowerable and readable back from its text.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::schedule::{self, Contract, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
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
    }
}

#[test]
fn every_point_is_legal_and_has_a_text() {
    for (source, sizes) in [
        (MATMUL, vec![1024, 512, 256]),
        (MATMUL_F16, vec![64, 512, 96]),
        (SOFTMAX, vec![64, 1000]),
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
