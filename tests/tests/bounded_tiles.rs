//! Guards bound the loops over slabs of tiled products: no tile takes in slabs that a guard leaves out, and all are right wherever the bounds lie.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::features::{self, InstructionClass};
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lang, lower};
use energy_kernel_emulator::Counts;
use energy_kernel_tests::{Input, first_wrong, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;

const MACHINE: Machine = Machine::like(Target::Sm80);

const CAUSAL: &str = "fn f(w: Tensor<f16, (T, T)>, v: Tensor<f16, (B, T, D)>) -> Tensor<f32, (B, T, D)> {
    let before = |t, s| if s <= t { w[[t, s]] } else { 0.0 };
    |b, t, d| sum(|s| before[[t, s]] * v[[b, s, d]])
}";
const WHOLE: &str = "fn f(w: Tensor<f16, (T, T)>, v: Tensor<f16, (B, T, D)>) -> Tensor<f32, (B, T, D)> {
    |b, t, d| sum(|s| w[[t, s]] * v[[b, s, d]])
}";
const BAND: &str = "fn f(w: Tensor<f16, (T, T)>, v: Tensor<f16, (B, T, D)>) -> Tensor<f32, (B, T, D)> {
    let near = |t, s| if s <= t && s > t - 10 { w[[t, s]] } else { 0.0 };
    |b, t, d| sum(|s| near[[t, s]] * v[[b, s, d]])
}";
/// The condition is that of a column, and around the product.
const TRIANGLE: &str = "fn f(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| if k >= n { a[[m, k]] * b[[k, n]] } else { 0.0 })
}";
/// Two sums with one bound, and one with another.
const TWO: &str =
    "fn f(a: Tensor<f16, (M, K)>, b: Tensor<f16, (N, K)>, c: Tensor<f16, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| (if k <= m { a[[m, k]] } else { 0.0 }) * b[[n, k]])
        + sum(|k| (if k <= m && k > 3 { a[[m, k]] } else { 0.0 }) * c[[n, k]])
}";
/// Parts of packed sequences, by their ends.
const PARTS: &str = "fn f(x: Tensor<f16, (B, S, M)>, y: Tensor<f16, (B, S, N)>, first: Tensor<i32, (B,)>, last: Tensor<i64, (B,)>) -> Tensor<f32, (B, M, N)> {
    let inside = |b, s, m| if s >= first[[b]] && last[[b]] > s { x[[b, s, m]] } else { 0.0 };
    |b, m, n| sum(|s| inside[[b, s, m]] * y[[b, s, n]])
}";
/// Bounds inside and outside of an axis of 300, and in the wrong order.
const ENDS: [(i32, i64); 8] = [
    (100, 117),
    (0, 3),
    (-5, 1),
    (i32::MIN, 2),
    (280, i64::MAX),
    (40, 30),
    (299, 300),
    (7, i64::MIN),
];

const SCHEDULES: [&str; 10] = [
    "mma block=32x32x32 warp=16x16 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
    "mma block=32x64x64 warp=32x16 slice_k=2 stages=2 group=1 blocks=0 split_k=1",
    "mma block=64x32x32 warp=32x16 slice_k=1 stages=4 group=1 blocks=0 split_k=4",
    "mma block=32x32x64 warp=16x16 slice_k=1 stages=3 group=1 blocks=0 split_k=2",
    "mma block=32x32x32 warp=16x16 slice_k=1 stages=3 group=8 blocks=3 split_k=1",
    "contract block=32x32x8 thread=2x4 stages=1 blocks=0 split_k=1",
    "contract block=32x32x16 thread=2x4 stages=2 blocks=0 split_k=1",
    "contract block=16x64x32 thread=4x4 stages=2 blocks=0 split_k=4",
    "contract block=32x32x16 thread=2x4 stages=2 blocks=3 split_k=1",
    "contract block=32x32x8 thread=2x4 stages=2 blocks=0 split_k=8",
];

fn operator(source: &str) -> Checked {
    let parsed = lang::parse(Default::default(), source.parse().expect("tokens")).expect("a valid operator");
    parsed.variants[0].checked.clone()
}

/// The counts of a right run. None if the schedule is not legal.
fn counts(checked: &Checked, sizes: &[u64], exact: bool, schedule: &str, inputs: &[Input]) -> Option<Counts> {
    let specialisation = match exact {
        true => Specialisation::exact(sizes),
        false => Specialisation::like(sizes),
    };
    let point: Schedule = schedule.parse().expect(schedule);
    let problem = Problem::new(checked, &specialisation, MACHINE);
    let kernel = lower::lower(&problem, point).ok()?;
    let case = format!("{schedule} {sizes:?} exact={exact}");
    let done = run(checked, &kernel, sizes, inputs).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
    assert_eq!(first_wrong(checked, sizes, inputs, &done.outputs), None, "{case}");
    Some(done.counts)
}

/// Multiplications: instructions of tensor cores, and fused multiply-adds.
fn multiplications(counts: &Counts) -> u64 {
    use energy_kernel_emulator::Class;
    let of = |class| counts.warp_instructions.get(class);
    of(Class::Matrix) + of(Class::Float32Fma)
}

#[test]
fn products_are_right_wherever_bounds_lie() {
    let mut random = StdRng::seed_from_u64(41);
    let mut kernels = 0;
    for (source, all_sizes) in [
        (CAUSAL, [[2, 33, 1], [1, 100, 72], [3, 192, 40]]),
        (BAND, [[2, 33, 1], [1, 100, 72], [3, 192, 40]]),
        (TRIANGLE, [[33, 1, 40], [40, 100, 130], [72, 192, 40]]),
        (TWO, [[33, 65, 40], [40, 192, 33], [72, 63, 40]]),
    ] {
        let checked = operator(source);
        let names: Vec<&str> = checked.op().sizes.iter().map(|size| size.name.as_str()).collect();
        for sizes in all_sizes {
            // In the order of the operators' own names.
            let order: &[&str] = match names.contains(&"T") {
                true => &["B", "T", "D"],
                false => &["M", "K", "N"],
            };
            let of = |name: &&str| sizes[order.iter().position(|own| own == name).expect("a size")];
            let sizes: Vec<u64> = names.iter().map(of).collect();
            let inputs = random_inputs(&checked, &sizes, &mut random);
            for exact in [true, false] {
                for schedule in SCHEDULES {
                    kernels += u32::from(counts(&checked, &sizes, exact, schedule, &inputs).is_some());
                }
            }
        }
    }
    assert!(kernels > 150, "{kernels} kernels");
}

#[test]
fn causal_products_take_in_half_of_the_slabs() {
    let (causal, whole) = (operator(CAUSAL), operator(WHOLE));
    let (causal_names, whole_names) = (&causal.op().sizes, &whole.op().sizes);
    assert!(
        causal_names
            .iter()
            .map(|size| &size.name)
            .eq(whole_names.iter().map(|size| &size.name))
    );
    let size = |name: &str| match name {
        "T" => 256,
        "D" => 32,
        _ => 2,
    };
    let sizes: Vec<u64> = causal_names.iter().map(|of| size(&of.name)).collect();
    let mut random = StdRng::seed_from_u64(42);
    let inputs = random_inputs(&causal, &sizes, &mut random);
    for schedule in [
        "mma block=32x32x32 warp=16x16 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        "mma block=32x32x32 warp=16x16 slice_k=1 stages=3 group=1 blocks=0 split_k=2",
        "contract block=32x32x32 thread=2x4 stages=2 blocks=0 split_k=1",
    ] {
        for exact in [true, false] {
            let of = |checked| multiplications(&counts(checked, &sizes, exact, schedule, &inputs).expect("legal"));
            // The first of 8 rows of tiles takes in one slab of 8, the last all.
            assert_eq!(of(&causal) * 64, of(&whole) * 36, "{schedule} exact={exact}");
            let specialisation = Specialisation::exact(&sizes);
            let problem = Problem::new(&causal, &specialisation, MACHINE);
            let features = features::of(&problem, &schedule.parse().expect("a schedule"), &sizes).expect("legal");
            let matrix = features.counts.warp_instructions[InstructionClass::Matrix];
            let fma = features.counts.warp_instructions[InstructionClass::Float32Fma];
            let is_exact = matrix.is_exact() && fma.is_exact();
            assert!(
                is_exact || !schedule.ends_with("split_k=1"),
                "{schedule}: {matrix:?} {fma:?}"
            );
            assert_eq!(matrix.likely + fma.likely, of(&causal) as f64, "{schedule}");
        }
    }
}

#[test]
fn loops_end_where_tensors_say() {
    let checked = operator(PARTS);
    let size = |name: &str| match name {
        "B" => 8,
        "S" => 300,
        _ => 33,
    };
    let sizes: Vec<u64> = checked.op().sizes.iter().map(|of| size(&of.name)).collect();
    let mut random = StdRng::seed_from_u64(43);
    let mut inputs = random_inputs(&checked, &sizes, &mut random);
    for exact in [true, false] {
        for schedule in SCHEDULES {
            let mut multiplied = |ends: [(i32, i64); 8]| {
                inputs[2].bytes = ends.iter().flat_map(|ends| ends.0.to_le_bytes()).collect();
                inputs[3].bytes = ends.iter().flat_map(|ends| ends.1.to_le_bytes()).collect();
                counts(&checked, &sizes, exact, schedule, &inputs).map(|counts| multiplications(&counts))
            };
            let (narrow, all) = (multiplied(ENDS), multiplied([(-1, 300); 8]));
            let (narrow, all) = (narrow.expect("legal"), all.expect("legal"));
            assert!(2 * narrow < all, "{schedule}: {narrow} of {all}");
        }
    }
}
