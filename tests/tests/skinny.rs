//! `skinny` reads weights once and in whole sectors, and is right for any number of rows and any reduction dimension.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Schedule, Skinny};
use energy_kernel_compiler::size::{Extent, Specialisation};
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_tests::{Run, first_wrong, of_validation_set, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// The number of schedules for each operator and specialisation.
const SAMPLES: usize = 3;

/// Random `skinny` schedules of an operator.
fn sample(checked: &Checked, specialisation: &Specialisation, random: &mut StdRng) -> Vec<Skinny> {
    let space = schedule::space(&Problem::new(checked, specialisation, Machine::like(Target::Sm80)));
    let points: Vec<Skinny> = space
        .into_iter()
        .filter_map(|point| match point {
            Schedule::Skinny(skinny) => Some(skinny),
            _ => None,
        })
        .collect();
    assert!(!points.is_empty(), "{} is not skinny", checked.op().name);
    points.sample(random, SAMPLES).copied().collect()
}

/// Runs a kernel and asserts that its results are right. Returns the run and the bytes of each input.
fn right(
    checked: &Checked,
    specialisation: &Specialisation,
    sizes: &[u64],
    point: Skinny,
    random: &mut StdRng,
) -> (Run, Vec<usize>) {
    let name = &checked.op().name;
    let point = Schedule::Skinny(point);
    let inputs = random_inputs(checked, sizes, random);
    let kernel = lower::lower(
        &Problem::new(checked, specialisation, Machine::like(Target::Sm80)),
        point,
    )
    .expect("the point is legal");
    let run =
        run(checked, &kernel, sizes, &inputs).unwrap_or_else(|wrong| panic!("{name} {sizes:?}: {point}: {wrong}"));
    let wrong = first_wrong(checked, sizes, &inputs, &run.outputs);
    assert_eq!(wrong, None, "{name} {sizes:?}: {point}");
    (run, inputs.iter().map(|input| input.bytes.len()).collect())
}

#[test]
fn weights_are_read_once_in_whole_sectors() {
    let mut random = StdRng::seed_from_u64(21);
    // Rows, terms and columns; which inputs are weights; bytes that a column's (or output's) epilogue reads.
    let cases: [(&str, [u64; 3], &[usize], u64); 8] = [
        ("matvec_f16", [1, 2048, 64], &[1], 0),
        ("linear_gelu_f32", [4, 512, 64], &[1], 4),
        ("linear_bf16", [3, 1024, 64], &[1], 2),
        ("linear_scaled_i8", [2, 2048, 64], &[1], 4),
        ("gated_f16", [2, 512, 64], &[1, 2], 0),
        ("gated_columns_bf16", [2, 64, 512], &[1, 2], 0),
        ("norm_linear_f16", [2, 512, 64], &[1], 2),
        ("matmul_f64", [2, 64, 256], &[1], 0),
    ];
    for (name, [rows, terms, columns], weights, epilogue) in cases {
        let checked = of_validation_set(name);
        let sizes = checked.derive(vec![rows, terms, columns]).expect("three sizes");
        let specialisation = Specialisation::exact(&sizes);
        let along_depth = !matches!(name, "gated_columns_bf16" | "matmul_f64");
        for point in sample(&checked, &specialisation, &mut random) {
            let (run, bytes) = right(&checked, &specialisation, &sizes, point, &mut random);
            let name = format!("{name} {point:?}");
            assert_eq!(point.rows, rows as u32, "{name}");
            let weight_bytes: u64 = weights.iter().map(|&input| bytes[input] as u64).sum();
            let of_thread = u64::from(point.columns * if along_depth { 1 } else { point.vector });
            // A thread reads the factors that its columns share once.
            let shared_bytes = bytes[0] as u64 * columns / of_thread;
            let counts = &run.counts;
            assert_eq!(
                counts.global_load_bytes,
                weight_bytes + shared_bytes + epilogue * rows * columns,
                "{name}"
            );
            // Wide factors beside narrow weights take several vectors, each of which reads a part of the sectors.
            let parts = if name.contains("i8") { 2 } else { 1 };
            assert!(
                32 * counts.global_load_sectors <= weight_bytes + parts * shared_bytes + 32 * epilogue * rows * columns,
                "{name}: {} sectors of {weight_bytes} and {shared_bytes} bytes",
                counts.global_load_sectors
            );
            assert_eq!(counts.dram_read_bytes, bytes.iter().sum::<usize>() as u64, "{name}");
            let written: usize = run.outputs.iter().map(Vec::len).sum();
            assert_eq!(counts.dram_write_bytes, written as u64, "{name}");
            assert_eq!(counts.global_store_bytes, written as u64, "{name}");
        }
    }
}

/// Reductions of many iterations and a remainder, odd numbers of columns, and rows that are an argument.
#[test]
fn results_are_right_at_any_size() {
    let mut random = StdRng::seed_from_u64(22);
    let cases: [(&str, &[u64]); 11] = [
        ("matvec_f16", &[5, 1000, 17]),
        ("matvec_f32", &[2051, 37]),
        ("linear_scaled_i8", &[3, 1040, 13]),
        ("linear_grouped_i8", &[2, 1072, 11]),
        ("gated_f16", &[9, 520, 9]),
        ("gated_columns_bf16", &[7, 101, 72]),
        ("norm_linear_f16", &[17, 264, 10]),
        ("matmul_transposed_f16", &[600, 11, 13]),
        ("batched_matmul_f32", &[3, 2, 150, 36]),
        ("decoded_scores_f16", &[3, 136, 37]),
        ("decoded_values_f16", &[3, 150, 40]),
    ];
    for (name, free) in cases {
        let checked = of_validation_set(name);
        let sizes = checked.derive(free.to_vec()).expect("all free sizes");
        let exact = Specialisation::exact(&sizes);
        let mut open = exact.clone();
        let rows = checked.op().sizes.iter().position(|size| size.name == "M");
        if let Some(rows) = rows {
            open.extents[rows] = Extent::Any { multiple_of: 1 };
        }
        let unaligned = Specialisation {
            aligned: false,
            wide: true,
            ..Specialisation::like(&sizes)
        };
        let all = [exact, open, Specialisation::like(&sizes), unaligned];
        for specialisation in all.iter().filter(|specialisation| {
            rows.is_none_or(|rows| specialisation.extents[rows].fixed().is_none_or(|rows| rows <= 16))
        }) {
            for point in sample(&checked, specialisation, &mut random) {
                right(&checked, specialisation, &sizes, point, &mut random);
            }
        }
    }
}
