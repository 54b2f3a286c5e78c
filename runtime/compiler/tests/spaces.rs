//! The schedule spaces: large enough to search, and every point is legal, can be lowered, and parses from its text.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Contract, Keep, Pass, Schedule};
use energy_kernel_compiler::size::{Extent, Specialisation};
use energy_kernel_compiler::target::{Limits, Machine, Target};
use energy_kernel_compiler::tuning::is_wide;
use energy_kernel_compiler::{lang, lower};
use std::collections::{BTreeMap, BTreeSet};

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
const ATTENTION: &str = "fn f(q: Tensor<f16, (H, T, E)>, k: Tensor<f16, (H, S, E)>, v: Tensor<f16, (H, S, E)>) -> Tensor<f16, (H, T, E)> { \
     let score = |h, t, s| sum(|e| q[[h, t, e]] * k[[h, s, e]]); \
     let peak = |h, t| max(|s| score[[h, t, s]]); \
     let weight = |h, t, s| exp(score[[h, t, s]] - peak[[h, t]]); \
     |h, t, e| sum(|s| weight[[h, t, s]] as f16 * v[[h, s, e]]) / sum(|s| weight[[h, t, s]]) }";
const TRANSPOSE: &str = "fn transpose(x: Tensor<f32, (R, C)>) -> Tensor<f32, (C, R)> { |c, r| x[[r, c]] }";

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
    for machine in Target::ALL.map(Machine::like) {
        let sizes = matmul.derive(vec![1024; 3]).unwrap();
        for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
            let found = points(
                &schedule::space(&Problem::new(&matmul, &specialisation, machine)),
                "contract",
            )
            .len();
            assert!(found >= 200, "{found} for {machine:?}");
        }
        let sizes = softmax.derive(vec![4096; 2]).unwrap();
        let found = points(
            &schedule::space(&Problem::new(&softmax, &Specialisation::exact(&sizes), machine)),
            "row",
        )
        .len();
        assert!(found >= 30, "{found} for {machine:?}");
        // If the number of rows is a kernel argument, there are tiles of several sizes.
        let grouped = checked(GROUPED);
        let sizes = grouped.derive(vec![1, 4096, 4096, 128]).unwrap();
        let mut specialisation = Specialisation::exact(&sizes);
        let one = points(
            &schedule::space(&Problem::new(&grouped, &specialisation, machine)),
            "skinny",
        )
        .len();
        specialisation.extents[0] = Extent::Any { multiple_of: 1 };
        let any = points(
            &schedule::space(&Problem::new(&grouped, &specialisation, machine)),
            "skinny",
        )
        .len();
        assert!(
            (100..500).contains(&one) && (2 * one..2000).contains(&any),
            "{one} and {any}"
        );
        let depthwise = checked(DEPTHWISE);
        let sizes = depthwise.derive(vec![64, 56, 56, 3, 3]).unwrap();
        let space = schedule::space(&Problem::new(&depthwise, &Specialisation::exact(&sizes), machine));
        let found = points(&space, "window").len();
        assert!((30..100).contains(&found), "{found} for {machine:?}");
    }
}

/// From many short rows to few long ones: rows are read once or twice, with 32 KiB in flight on each active multiprocessor.
#[test]
fn default_rows_keep_memory_busy() {
    let softmax = checked(SOFTMAX);
    for (rows, columns, walks) in [(65536, 16, 1), (4096, 4096, 1), (64, 1 << 20, 2)] {
        let sizes = softmax.derive(vec![rows, columns]).unwrap();
        for machine in Target::ALL.map(Machine::like) {
            let point = schedule::default(&Problem::new(&softmax, &Specialisation::exact(&sizes), machine), &sizes);
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
            let blocks = machine.resident_blocks(threads, 32 + in_flight, 0);
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
            &schedule::space(&Problem::new(
                &checked,
                &Specialisation::exact(&sizes),
                Machine::like(Target::Sm80),
            )),
            family,
        )
        .len()
    };
    // 17 rows are too many, but the few may be columns.
    assert!(family(MATMUL, &[16, 64, 512], "skinny") > 0);
    assert!(family(MATMUL, &[512, 64, 16], "skinny") > 0);
    assert_eq!(family(MATMUL, &[17, 64, 512], "skinny"), 0);
    // No operand shared by rows or columns; nested sums; sums over different axes; sums that are in range only under a condition.
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
    // Windows: not of 72 taps, and not without a sliding axis.
    assert!(family(DEPTHWISE, &[4, 16, 64, 7, 7], "window") > 0);
    assert_eq!(family(DEPTHWISE, &[4, 16, 64, 8, 9], "window"), 0);
    assert_eq!(family(MATMUL, &[64, 8, 64], "window"), 0);
}

/// Several sums of products of one operator share their tiles, however they are written.
#[test]
fn several_sums_share_their_tiles() {
    // The number of points in each family that computes block tiles.
    let points_of = |body: &str| -> BTreeMap<&str, usize> {
        let parameters = "x: Tensor<f16, (M, K)>, y: Tensor<f16, (M, L)>, v: Tensor<f16, (N, K)>, w: Tensor<f16, (N, K)>, u: Tensor<f16, (N, L)>";
        let checked = checked(&format!("fn f({parameters}) -> Tensor<f16, (M, N)> {{ {body} }}"));
        let sizes = checked.derive(vec![256, 512, 128, 512]).unwrap();
        let space = schedule::space(&Problem::new(
            &checked,
            &Specialisation::exact(&sizes),
            Machine::like(Target::Sm80),
        ));
        let mut counts = BTreeMap::new();
        for point in space.iter().filter(|point| point.to_string().contains(" block=")) {
            *counts.entry(point.family()).or_default() += 1;
        }
        counts
    };
    let one = points_of("|m, n| sum(|k| x[[m, k]] * v[[n, k]])");
    let gated = points_of("|m, n| silu(sum(|k| x[[m, k]] * v[[n, k]])) * sum(|j| w[[n, j]] * x[[m, j]])");
    assert!(one.len() >= 2 && gated.keys().eq(one.keys()), "{gated:?} of {one:?}");
    let fewer = |family: &&str| 300 <= gated[family] && gated[family] < one[family];
    assert!(one.keys().all(fewer), "{gated:?} of {one:?}");
    // The same sum twice counts as one.
    let twice = "let p = |m, n| sum(|k| x[[m, k]] * v[[n, k]]); |m, n| p[[m, n]] + sum(|j| x[[m, j]] * v[[n, j]])";
    assert_eq!(points_of(twice), one);
    // Used under a condition, or in range only there.
    let conditional = [
        "|m, n| if n > m { sum(|k| x[[m, k]] * v[[n, k]]) } else { 0.0 }",
        "|m, n| if n > 0 { sum(|k| x[[m, k]] * v[[n - 1, k]]) } else { 0.0 }",
    ];
    for body in conditional {
        assert_eq!(points_of(body), one, "{body}");
    }
    // Not over other axes, and not beside other reductions.
    let others = [
        "|m, n| sum(|k| x[[m, k]] * v[[n, k]]) + sum(|l| y[[m, l]] * u[[n, l]])",
        "|m, n| sum(|k| x[[m, k]] * v[[n, k]]) + max(|k| x[[m, k]])",
        "|m, n| sum(|k| x[[m, k]] * v[[n, k]]) + sum(|k| x[[m, k]])",
    ];
    for body in others {
        assert_eq!(points_of(body), BTreeMap::new(), "{body}");
    }
}

#[test]
fn every_point_is_legal_and_has_a_text() {
    let mut families = BTreeSet::new();
    for (source, sizes) in [
        (MATMUL, vec![1024, 512, 256]),
        (MATMUL_F16, vec![64, 512, 96]),
        (SOFTMAX, vec![64, 1000]),
        (MATMUL, vec![4, 512, 256]),
        (GROUPED, vec![3, 1024, 50, 32]),
        (DEPTHWISE, vec![8, 14, 14, 3, 3]),
        (TRANSPOSE, vec![128, 64]),
        (ATTENTION, vec![2, 64, 64, 128]),
    ] {
        let checked = checked(source);
        let sizes = checked.derive(sizes).unwrap();
        for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
            let machine = Machine::like(Target::Sm86);
            let space = schedule::space(&Problem::new(&checked, &specialisation, machine));
            for (number, point) in space.iter().enumerate() {
                assert!(
                    schedule::legal(&Problem::new(&checked, &specialisation, machine), point),
                    "{point}"
                );
                assert_eq!(point.to_string().parse::<Schedule>().as_ref(), Ok(point));
                assert!(!space[..number].contains(point), "{point} stands there twice");
            }
            families.extend(space.iter().map(Schedule::family));
            let default = schedule::default(&Problem::new(&checked, &specialisation, machine), &sizes);
            assert!(space.contains(&default), "{default}");
        }
    }
    assert_eq!(families, BTreeSet::from_iter(Schedule::FAMILIES.iter().copied()));
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
        split_k: 1,
    };
    let machine = Machine::like(Target::Sm80);
    let legal = |point: Contract| {
        let point = Schedule::Contract(point);
        let lowered = lower::lower(&Problem::new(&checked, &specialisation, machine), point);
        assert_eq!(
            lowered.is_ok(),
            schedule::legal(&Problem::new(&checked, &specialisation, machine), &point)
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
    assert!(legal(large) && legal(Contract { split_k: 4, ..large }));
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
        // More blocks than tiles, and more than any machine holds.
        Contract {
            block_rows: 256,
            block_columns: 128,
            thread_rows: 8,
            thread_columns: 8,
            blocks: 108,
            ..point
        },
        Contract {
            blocks: u32::MAX,
            ..point
        },
        // A number of parts that none of the choices is.
        Contract { split_k: 3, ..point },
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
        // More registers than a thread can have.
        Contract {
            block_rows: 256,
            block_columns: 128,
            block_depth: 32,
            thread_rows: 8,
            thread_columns: 8,
            stages: 1,
            blocks: 0,
            split_k: 1,
        },
    ];
    for point in wrong {
        assert!(!legal(point), "{point:?}");
    }
}

/// Limits that drivers report: bytes of shared memory of a block and of a multiprocessor, resident threads and blocks.
const DRIVERS: [((u32, u32), [u32; 4]); 8] = [
    ((8, 0), [166_912, 167_936, 2048, 32]),
    ((8, 6), [101_376, 102_400, 1536, 16]),
    ((8, 7), [166_912, 167_936, 1536, 16]),
    ((8, 9), [101_376, 102_400, 1536, 24]),
    ((9, 0), [232_448, 233_472, 2048, 32]),
    ((10, 0), [232_448, 233_472, 2048, 32]),
    ((12, 0), [101_376, 102_400, 1536, 24]),
    ((12, 1), [101_376, 102_400, 1536, 24]),
];

#[test]
fn documented_limits_are_those_of_drivers() {
    for ((major, minor), expected) in DRIVERS {
        let limits = Limits::documented(major, minor);
        let found = [
            limits.shared_per_block,
            limits.shared_per_multiprocessor,
            limits.threads_per_multiprocessor,
            limits.blocks_per_multiprocessor,
        ];
        assert_eq!(found, expected, "{major}.{minor}");
        assert_eq!(
            limits.resident_blocks(1024, 32, 0),
            limits.threads_per_multiprocessor / 1024
        );
        assert_eq!(limits.resident_blocks(32, 32, expected[0]), 1);
        assert_eq!(limits.resident_blocks(32, 32, expected[0] + 1), 0);
        assert_eq!(limits.resident_blocks(1025, 16, 0), 0);
        assert_eq!(limits.resident_blocks(512, 129, 0), 0);
        assert_eq!(limits.resident_blocks(32, 256, 0), 0);
    }
    assert_eq!(Machine::documented((7, 5), 40), None);
    assert_eq!(
        Machine::documented((12, 0), 170).map(|machine| machine.target),
        Some(Target::Sm90)
    );
}

/// A schedule that fits one machine is illegal on another with the same instruction set and smaller limits.
#[test]
fn legality_is_a_matter_of_limits() {
    let checked = checked(MATMUL_F16);
    let sizes = checked.derive(vec![2048; 3]).unwrap();
    let specialisation = Specialisation::exact(&sizes);
    let hopper = Machine::like(Target::Sm90);
    let small = Machine {
        limits: Limits::documented(12, 0),
        ..hopper
    };
    let [large_space, small_space] =
        [hopper, small].map(|machine| schedule::space(&Problem::new(&checked, &specialisation, machine)));
    assert!(small_space.len() < large_space.len());
    let mut refused = 0;
    for point in &large_space {
        let kernel = lower::lower(&Problem::new(&checked, &specialisation, hopper), point).expect("legal there");
        let legal = schedule::legal(&Problem::new(&checked, &specialisation, small), point);
        assert_eq!(
            lower::lower(&Problem::new(&checked, &specialisation, small), point).is_ok(),
            legal,
            "{point}"
        );
        assert!(!legal || kernel.launches[0].dynamic_shared <= 101_376, "{point}");
        refused += usize::from(!legal);
    }
    assert!(refused > 100, "{refused}");
}

/// Persistent blocks fill the given machine. Schedules for other numbers of multiprocessors stay legal.
#[test]
fn the_space_knows_the_multiprocessors() {
    let pointwise = checked("fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] + 1.0 }");
    for (checked, sizes) in [
        (checked(MATMUL), vec![2048; 3]),
        (checked(MATMUL_F16), vec![2048; 3]),
        (pointwise, vec![1 << 24]),
    ] {
        let specialisation = Specialisation::exact(&checked.derive(sizes).unwrap());
        let l4 = Machine::documented((8, 9), 58).unwrap();
        let blocks = |machine: Machine| -> BTreeSet<u32> {
            let space = schedule::space(&Problem::new(&checked, &specialisation, machine));
            let blocks = space.iter().map(block_limit);
            for point in &space {
                assert!(
                    schedule::legal(&Problem::new(&checked, &specialisation, l4), point),
                    "{point}"
                );
            }
            blocks.collect()
        };
        let found = blocks(l4);
        let whole = |blocks: &u32| blocks.is_multiple_of(29);
        assert!(found.len() > 2 && found.iter().all(whole), "{found:?}");
        assert!(!blocks(Machine::like(Target::Sm89)).iter().all(whole));
        let one = Machine {
            multiprocessors: 1,
            ..l4
        };
        let space = schedule::space(&Problem::new(&checked, &specialisation, one));
        let different: BTreeSet<Schedule> = space.iter().copied().collect();
        assert_eq!(different.len(), space.len());
    }
}

/// The block limit of a schedule; 0 where the family has none.
fn block_limit(point: &Schedule) -> u32 {
    let text = point.to_string();
    let value = text.split(' ').find_map(|word| word.strip_prefix("blocks="));
    value.map_or(0, |blocks| blocks.parse().expect("a number"))
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
        let space = schedule::space(&Problem::new(
            &checked,
            &Specialisation::exact(&sizes),
            Machine::like(Target::Sm80),
        ));
        assert_eq!(!points(&space, "mma").is_empty(), accepted, "{left} {right}: {product}");
    }
}

/// The expanded index would have 2⁴⁰ terms.
#[test]
fn a_product_of_many_sums_in_an_index_is_not_multiplied_out() {
    let factors = ["(M + N)"; 40].join(" * ");
    let checked = checked(&format!(
        "fn f(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {{
            |m, n| sum(|k| x[[m, (k + {factors}) % K]] * w[[n, k]])
        }}"
    ));
    let sizes = checked.derive(vec![64, 64, 64]).unwrap();
    let space = schedule::space(&Problem::new(
        &checked,
        &Specialisation::like(&sizes),
        Machine::like(Target::Sm80),
    ));
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

/// Index values need 64 bits only if they reach 2³¹.
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
    // An `i32` wraps.
    let checked = checked("fn f(x: Tensor<i32, (N,)>) -> Tensor<i32, (N,)> { |i| x[[i]] + i * 1103515245 }");
    assert!(!is_wide(&checked, &[1 << 20]));
}
