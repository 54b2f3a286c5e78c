//! Tensor core kernels over several slabs and tiles are right, and load fragments without bank conflicts.
//! Persistent blocks are right, with tensor cores and without.

use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{Mma, Schedule};
use energy_kernel_compiler::size::{SizeExpr, Specialisation};
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lower, schedule};
use energy_kernel_tests::split_k::has_small_tiles;
use energy_kernel_tests::{first_wrong, operators, parameter, random_inputs, run, with_parameter};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Every layout of the factors, every multiplicand, and several sums. `true` if `cp.async` copies both factors unchanged.
const OPERATORS: [(&str, bool); 11] = [
    ("linear_gelu_f16", true),
    ("linear_bf16", true),
    ("matmul_transposed_f16", true),
    ("matmul_outer_bf16", true),
    ("matmul_i8", true),
    ("linear_scaled_i8", false),
    ("matmul_tf32", false),
    ("matmul_mixed", false),
    ("matmul_u8", false),
    ("gated_f16", true),
    ("gated_columns_bf16", true),
];
/// The last sizes leave edges everywhere and align nothing.
const SIZES: [[u64; 3]; 3] = [[128, 256, 192], [72, 136, 200], [33, 129, 65]];
/// The number of schedules for each operator and size.
const SAMPLES: usize = 4;

#[test]
fn slabs_and_tiles() {
    let mut random = StdRng::seed_from_u64(11);
    let operators = operators(energy_kernel_tests::OPERATORS);
    for (name, as_stored) in OPERATORS {
        let (_, checked) = operators
            .iter()
            .find(|(of, _)| of == name)
            .expect("the operator exists");
        for sizes in SIZES {
            let sizes = checked.derive(sizes.to_vec()).expect("three sizes");
            let inputs = random_inputs(checked, &sizes, &mut random);
            let exact = Specialisation::exact(&sizes);
            let space = schedule::space(&Problem::new(checked, &exact, Machine::like(Target::Sm80)));
            let points: Vec<_> = space.iter().filter(|point| matches!(point, Schedule::Mma(_))).collect();
            assert!(points.len() >= 200, "{name}: {} points", points.len());
            for &point in points.sample(&mut random, SAMPLES) {
                let case = format!("{name} {sizes:?} {point}");
                let kernel = lower::lower(&Problem::new(checked, &exact, Machine::like(Target::Sm80)), point)
                    .expect("the point is legal");
                let run = run(checked, &kernel, &sizes, &inputs).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
                assert_eq!(first_wrong(checked, &sizes, &inputs, &run.outputs), None, "{case}");
                let counts = run.counts;
                assert_eq!(counts.matrix_load_bank_conflicts, 0, "{case}");
                assert_eq!(counts.copy_bank_conflicts, 0, "{case}");
                let aligned = sizes[..3].iter().all(|size| size % 64 == 0);
                // Loads of split-K partial sums count as well.
                let alone = matches!(point, Schedule::Mma(point) if point.split_k == 1);
                if as_stored && aligned && alone {
                    // Only the epilogue's operands are loaded; all else is copied.
                    assert!(
                        counts.global_to_shared_bytes * 10 >= counts.global_load_bytes * 8,
                        "{case}: {counts:?}"
                    );
                    assert!(counts.load_efficiency() >= 1.0, "{case}: {counts:?}");
                    assert!(counts.store_efficiency() >= 1.0, "{case}: {counts:?}");
                }
            }
        }
    }
}

/// Three persistent blocks compute more than three tiles, and reuse their shared memory from tile to tile.
#[test]
fn few_blocks_compute_all_tiles() {
    let mut random = StdRng::seed_from_u64(12);
    let operators = operators(energy_kernel_tests::OPERATORS);
    for name in ["linear_gelu_f16", "gated_columns_bf16", "matmul_tf32", "recurrent_f32"] {
        let (_, checked) = operators
            .iter()
            .find(|(of, _)| of == name)
            .expect("the operator exists");
        let sizes = checked.derive(vec![200, 104, 136]).expect("three sizes");
        let inputs = random_inputs(checked, &sizes, &mut random);
        // The number of tiles is unknown, so the space has every number of blocks.
        let like = Specialisation::like(&sizes);
        let space = schedule::space(&Problem::new(checked, &like, Machine::like(Target::Sm80)));
        let small = |point: &&Schedule| has_few_blocks(point) && has_small_tiles(point);
        let points: Vec<_> = space.iter().filter(small).collect();
        for &point in points.sample(&mut random, SAMPLES) {
            let mut kernel = lower::lower(&Problem::new(checked, &like, Machine::like(Target::Sm80)), point)
                .expect("the point is legal");
            kernel.launches[0].grid[0] = SizeExpr::Const(3);
            let case = format!("{name} {point}");
            let run = run(checked, &kernel, &sizes, &inputs).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
            assert_eq!(first_wrong(checked, &sizes, &inputs, &run.outputs), None, "{case}");
        }
        assert!(points.len() >= SAMPLES, "{name}: {} points", points.len());
    }
}

/// Heads side by side are copied in the largest pieces that they allow, without compiled-in sizes: a divisor of `E` also divides the start of
/// each head.
#[test]
fn heads_side_by_side_are_copied_in_large_pieces() {
    let source = "#[energy_kernel(dims(H = 4, E = D / H))]
        fn scores(q: Tensor<f16, (B, T, D)>, k: Tensor<f16, (B, S, D)>) -> Tensor<f16, (B, H, T, S)> {
            |b, h, i, j| sum(|e: E| q[[b, i, h * E + e]] * k[[b, j, h * E + e]])
        }";
    let mut random = StdRng::seed_from_u64(14);
    let (_, checked) = operators(source).remove(0);
    // Heads of 64 numbers; and of 20, of which 4 can be copied together, and which end in the middle of a slab.
    for (width, vector) in [(256, 8), (80, 4)] {
        let sizes = checked.derive(vec![2, 72, width, 40]).expect("sizes of the operator");
        let inputs = random_inputs(&checked, &sizes, &mut random);
        let like = Specialisation::like(&sizes);
        let space = schedule::space(&Problem::new(&checked, &like, Machine::like(Target::Sm80)));
        // Where a thread has enough of each side.
        let of_a_thread = |point: &Mma| point.block_rows.min(point.block_columns) * point.block_depth / point.threads();
        let points: Vec<_> = (space.iter())
            .filter(|point| matches!(point, Schedule::Mma(point) if of_a_thread(point) >= vector))
            .collect();
        assert!(points.len() >= 100, "{} points", points.len());
        for &point in points.sample(&mut random, 2 * SAMPLES) {
            let case = format!("{width} {point}");
            let kernel = lower::lower(&Problem::new(&checked, &like, Machine::like(Target::Sm80)), point)
                .expect("the point is legal");
            let copies = kernel.ptx.lines().filter(|line| line.contains(".shared.global"));
            let of_bytes = format!("], {}", 2 * vector);
            assert!(copies.clone().count() > 0, "{case}: no copies");
            assert!(
                copies.clone().all(|copy| copy.contains(&of_bytes)),
                "{case}: {:?}",
                copies.collect::<Vec<_>>()
            );
            let run = run(&checked, &kernel, &sizes, &inputs).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
            assert_eq!(first_wrong(&checked, &sizes, &inputs, &run.outputs), None, "{case}");
        }
    }
}

/// Values that each tile can recompute stay in the loop over tiles. Hoisted out of it, they would occupy registers in the main loop.
#[test]
fn few_blocks_hold_little_from_tile_to_tile() {
    /// 32-bit registers: the number of the tile, how many there are, bases of tensors, sizes that are not compiled in.
    const HELD: u32 = 12;
    const CASES: [(&str, &[u64]); 4] = [
        ("linear_gelu_f16", &[1024, 1024, 1024]),
        ("matmul_transposed_f16", &[1024, 1024, 1024]),
        ("conv_dilated_bf16", &[16, 64, 256, 256, 3]),
        ("conv_stride_f32", &[8, 32, 65, 65, 64, 3, 3]),
    ];
    let operators = operators(energy_kernel_tests::OPERATORS);
    for (name, sizes) in CASES {
        let found = operators.iter().find(|(of, _)| of == name);
        let (_, checked) = found.expect("the operator exists");
        let sizes = checked.derive(sizes.to_vec()).expect("sizes of the operator");
        for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
            let space = schedule::space(&Problem::new(checked, &specialisation, Machine::like(Target::Sm80)));
            let held_at_once = |point: &Schedule| {
                let lowered = lower::stage(
                    &Problem::new(checked, &specialisation, Machine::like(Target::Sm80)),
                    point,
                );
                lowered.expect("the point is legal").entry.pressure()
            };
            let few: Vec<_> = (space.iter())
                .filter_map(|&point| Some((point, a_block_each(point)?)))
                .collect();
            assert!(few.len() >= 100, "{name}: {} points", few.len());
            for (few, many) in few.iter().step_by(17) {
                let (few_hold, many_hold) = (held_at_once(few), held_at_once(many));
                assert!(few_hold <= many_hold + HELD, "{name} {few}: {few_hold} and {many_hold}");
            }
        }
    }
}

/// A persistent point without its block limit. None for other points.
fn a_block_each(point: Schedule) -> Option<Schedule> {
    with_parameter(&point, "blocks", 0).filter(|_| has_few_blocks(&point))
}

/// `true` if the blocks are persistent.
fn has_few_blocks(point: &Schedule) -> bool {
    parameter(point, "blocks").is_some_and(|blocks| blocks[0] > 0)
}

/// Multiplicands of 1 and 4 bytes in all four layouts: stores to shared memory and loads of fragments have no bank conflicts, and global loads
/// fill whole sectors. `ldmatrix` transposes only units of 2 bytes, so these take another way.
#[test]
fn slabs_of_every_layout_pass_without_conflicts() {
    let kinds = [
        ("i8", "i8", "i32", "{}"),
        ("u8", "u8", "i32", "{}"),
        ("tf32", "f32", "f32", "tf32({})"),
        ("cut", "f32", "f32", "tf32_toward_zero({})"),
        ("positive", "i8", "i32", "relu({})"),
    ];
    let mut source = String::new();
    for (name, element, result, factor) in kinds {
        for (left, x, a) in [("rows", "(M, K)", "x[[m, k]]"), ("columns", "(K, M)", "x[[k, m]]")] {
            for (right, w, b) in [("rows", "(N, K)", "w[[n, k]]"), ("columns", "(K, N)", "w[[k, n]]")] {
                let (a, b) = (factor.replace("{}", a), factor.replace("{}", b));
                source += &format!(
                    "#[energy_kernel] fn {name}_{left}_{right}(x: Tensor<{element}, {x}>, w: Tensor<{element}, {w}>) \
                     -> Tensor<{result}, (M, N)> {{ |m, n| sum(|k| {a} * {b}) }}\n"
                );
            }
        }
    }
    let mut random = StdRng::seed_from_u64(13);
    for (name, checked) in operators(&source) {
        for sizes in SIZES {
            let sizes = checked.derive(sizes.to_vec()).expect("three sizes");
            let inputs = random_inputs(&checked, &sizes, &mut random);
            let exact = Specialisation::exact(&sizes);
            let space = schedule::space(&Problem::new(&checked, &exact, Machine::like(Target::Sm80)));
            let points: Vec<_> = space.iter().filter(|point| matches!(point, Schedule::Mma(_))).collect();
            for &point in points.sample(&mut random, SAMPLES) {
                let case = format!("{name} {sizes:?} {point}");
                let kernel = lower::lower(&Problem::new(&checked, &exact, Machine::like(Target::Sm80)), point)
                    .expect("the point is legal");
                let run = run(&checked, &kernel, &sizes, &inputs).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
                assert_eq!(first_wrong(&checked, &sizes, &inputs, &run.outputs), None, "{case}");
                // All other loads from shared memory follow the main loop.
                let conflicts = run.counts.shared_bank_conflicts - run.counts.shared_load_bank_conflicts;
                assert_eq!(conflicts, 0, "{case}: {:?}", run.counts);
                let aligned = sizes[..3].iter().all(|size| size % 64 == 0);
                assert!(
                    !aligned || run.counts.load_efficiency() >= 1.0,
                    "{case}: {:?}",
                    run.counts
                );
            }
        }
    }
}
