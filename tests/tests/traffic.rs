//! Compares the bytes that kernels move, by the emulator's counts, with the least they must move.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{Keep, Pass, Pointwise, Program, Row, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lower, schedule, stages};
use energy_kernel_emulator::Counts;
use energy_kernel_tests::{Input, first_wrong, operators, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// An operator at sizes that are compiled in.
struct Case<'a> {
    name: &'a str,
    checked: &'a Checked,
    sizes: Vec<u64>,
    inputs: Vec<Input>,
}

impl Case<'_> {
    fn new<'a>(name: &'a str, checked: &'a Checked, free: &[u64], random: &mut StdRng) -> Case<'a> {
        let sizes = checked.derive(free.to_vec()).expect("sizes");
        let inputs = random_inputs(checked, &sizes, random);
        Case {
            name,
            checked,
            sizes,
            inputs,
        }
    }

    /// The counts of a program, whose result must be right.
    fn counts(&self, program: impl Into<Program>) -> Counts {
        let (name, program) = (self.name, program.into());
        let specialisation = Specialisation::exact(&self.sizes);
        let problem = Problem::new(self.checked, &specialisation, Machine::like(Target::Sm80));
        let kernel = lower::lower(&problem, program.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let run = run(self.checked, &kernel, &self.sizes, &self.inputs)
            .unwrap_or_else(|wrong| panic!("{name}: {program}: {wrong}"));
        let wrong = first_wrong(self.checked, &self.sizes, &self.inputs, &run.outputs);
        assert_eq!(wrong, None, "{name}: {program}");
        run.counts
    }

    fn output_bytes(&self) -> u64 {
        let op = self.checked.op();
        let bytes = |output: &energy_kernel_compiler::ir::Output| {
            let elements: u64 = output.dims.iter().map(|size| self.sizes[size.index()]).product();
            elements * u64::from(output.element.size())
        };
        op.outputs.iter().map(bytes).sum()
    }
}

/// Rows kept in registers or shared memory are read once. Others are read once for each reduction and for the outputs, or twice if one pass
/// computes all reductions. What all rows share is read once for each row, or for each group of threads of persistent blocks.
#[test]
fn rows_are_read_as_often_as_they_must() {
    let mut random = StdRng::seed_from_u64(5);
    for (name, checked) in operators(energy_kernel_tests::OPERATORS) {
        // Reads of a row: one pass for each reduction and one for the outputs, or one for all reductions.
        let (several, one) = match name.as_str() {
            "softmax_f32" | "softmax_bf16" | "log_softmax_f32" => (3, Some(2)),
            "layer_norm_f32" | "layer_norm_f16" | "residual_norm_bf16" => (3, Some(2)),
            "argmax_softmax_f16" => (3, Some(1)),
            "log_sum_exp_f32" | "variance_f32" | "covariance_f32" => (2, Some(1)),
            "rms_norm_bf16" | "l2_normalise_f32" => (2, None),
            _ => continue,
        };
        let case = Case::new(&name, &checked, &[8, 2048], &mut random);
        let rows_of =
            |input: &energy_kernel_compiler::ir::Input| input.dims.as_ref().is_some_and(|dims| dims.len() == 2);
        let bytes = |rows: bool| -> u64 {
            let inputs = checked.op().inputs.iter().zip(&case.inputs);
            let chosen = inputs.filter(|(input, _)| rows_of(input) == rows);
            chosen.map(|(_, given)| given.bytes.len() as u64).sum()
        };
        let (row_bytes, others) = (bytes(true), 8 * bytes(false));
        let writes = case.output_bytes();
        for (rows, vector, unroll) in [(1, 1, 2), (1, 4, 1), (2, 4, 4), (4, 2, 1)] {
            let counts = |keep, pass, blocks| {
                let unroll = if keep == Keep::Registers { 1 } else { unroll };
                let counts = case.counts(Schedule::Row(Row {
                    threads: 64,
                    rows,
                    vector,
                    keep,
                    unroll,
                    pass,
                    blocks,
                }));
                assert_eq!(counts.global_store_bytes, writes, "{name}");
                // Outputs of one element a row fill no sectors.
                if checked.op().outputs.iter().all(|output| output.dims.len() == 2) {
                    assert_eq!(counts.global_store_bytes, 32 * counts.global_store_sectors, "{name}");
                }
                if vector > 1 {
                    assert_eq!(counts.global_load_bytes, 32 * counts.global_load_sectors, "{name}");
                }
                assert_eq!(counts.dram_read_bytes, row_bytes + others / 8, "{name}");
                counts
            };
            let registers = counts(Keep::Registers, Pass::Several, 0);
            assert_eq!(registers.global_load_bytes, row_bytes + others, "{name} in registers");
            // Each group of threads in persistent blocks reads once what all rows share.
            let persistent = counts(Keep::Registers, Pass::Several, 2);
            let groups = u64::from(2 * rows);
            assert_eq!(
                persistent.global_load_bytes,
                row_bytes + groups * others / 8,
                "{name} in persistent blocks"
            );
            let mut walks = vec![(several, Pass::Several)];
            walks.extend(one.map(|one| (one, Pass::One)));
            for (walks, pass) in walks {
                let again = counts(Keep::Reload, pass, 0);
                assert_eq!(again.global_load_bytes, walks * row_bytes + others, "{name} again");
                if pass == Pass::One && walks == 1 {
                    continue;
                }
                let shared = counts(Keep::Shared, pass, 0);
                assert_eq!(shared.global_load_bytes, row_bytes + others, "{name} in shared memory");
                // Stored once, and loaded by each later pass. Warps also exchange partial results.
                let exchanged = 8 * 64 * 4 * 5;
                assert!(
                    (row_bytes..row_bytes + exchanged).contains(&shared.shared_store_bytes),
                    "{name}"
                );
                let fetched = (walks - 1) * row_bytes;
                assert!(
                    (fetched..fetched + exchanged).contains(&shared.shared_load_bytes),
                    "{name}"
                );
            }
        }
    }
}

/// Transposes read and write whole sectors, once, and pass shared memory without bank conflicts.
#[test]
fn transposes_move_whole_sectors() {
    let mut random = StdRng::seed_from_u64(6);
    for (name, checked) in operators(energy_kernel_tests::OPERATORS) {
        let (free, staged): (&[u64], u64) = match name.as_str() {
            "transpose_f16" => (&[2, 256, 128], 2),
            "channels_first_f32" => (&[2, 16, 32, 128], 4),
            "planes_u8" => (&[8, 64, 256], 1),
            "symmetric_f64" => (&[256, 128], 10),
            "reversed_bf16" => (&[64, 2, 4, 128], 2),
            _ => continue,
        };
        let case = Case::new(&name, &checked, free, &mut random);
        let specialisation = Specialisation::exact(&case.sizes);
        let space = schedule::space(&Problem::new(&checked, &specialisation, Machine::like(Target::Sm80)));
        let tiled = |point: &&Schedule| matches!(point, Schedule::Pointwise(Pointwise { tile, .. }) if *tile > 0);
        let points: Vec<&Schedule> = space.iter().filter(tiled).collect();
        assert!(points.len() >= 10, "{name}: {}", points.len());
        let elements: u64 = checked.op().outputs[0]
            .dims
            .iter()
            .map(|size| case.sizes[size.index()])
            .product();
        let reads: u64 = case.inputs.iter().map(|input| input.bytes.len() as u64).sum();
        for point in points.sample(&mut random, 12) {
            let counts = case.counts(**point);
            assert_eq!(counts.shared_bank_conflicts, 0, "{name}: {point}");
            assert_eq!(counts.shared_store_bytes, staged * elements, "{name}: {point}");
            assert_eq!(counts.shared_load_bytes, staged * elements, "{name}: {point}");
            assert_eq!(counts.dram_read_bytes, reads, "{name}: {point}");
            assert_eq!(counts.global_store_bytes, case.output_bytes(), "{name}: {point}");
            assert_eq!(
                counts.global_store_bytes,
                32 * counts.global_store_sectors,
                "{name}: {point}"
            );
            // The scale of a channel is one element for many outputs.
            if name != "channels_first_f32" {
                assert_eq!(counts.global_load_bytes, reads, "{name}: {point}");
                assert_eq!(
                    counts.global_load_bytes,
                    32 * counts.global_load_sectors,
                    "{name}: {point}"
                );
            }
        }
    }
}

/// Elementwise kernels move each byte once and in whole sectors, at any schedule.
#[test]
fn elementwise_moves_what_it_must() {
    let mut random = StdRng::seed_from_u64(8);
    for (name, checked) in operators(energy_kernel_tests::OPERATORS) {
        let free: &[u64] = match name.as_str() {
            "silu_product_f16" => &[24, 512],
            "axpby_f32" => &[40_000],
            "masked_bool" => &[8192],
            _ => continue,
        };
        let case = Case::new(&name, &checked, free, &mut random);
        let tensors = checked
            .op()
            .inputs
            .iter()
            .zip(&case.inputs)
            .filter(|(input, _)| input.dims.is_some());
        let reads: u64 = tensors.map(|(_, given)| given.bytes.len() as u64).sum();
        let space = schedule::space(&Problem::new(
            &checked,
            &Specialisation::exact(&case.sizes),
            Machine::like(Target::Sm80),
        ));
        let points: Vec<&Schedule> = space.iter().filter(|point| point.family() == "pointwise").collect();
        for point in points.sample(&mut random, 10) {
            let counts = case.counts(**point);
            assert_eq!(counts.global_load_bytes, reads, "{name}: {point}");
            assert_eq!(counts.dram_read_bytes, reads, "{name}: {point}");
            assert_eq!(counts.global_store_bytes, case.output_bytes(), "{name}: {point}");
            assert_eq!(counts.dram_write_bytes, case.output_bytes(), "{name}: {point}");
            // A vector of more than 16 bytes of the widest element takes several accesses, each of which leaves gaps.
            let widest = checked.op().inputs.iter().map(|input| input.element.size()).max();
            let gaps = matches!(point, Schedule::Pointwise(point) if point.vector * widest.unwrap_or(1) > 16);
            if !gaps {
                assert_eq!(
                    counts.global_load_bytes,
                    32 * counts.global_load_sectors,
                    "{name}: {point}"
                );
                assert_eq!(
                    counts.global_store_bytes,
                    32 * counts.global_store_sectors,
                    "{name}: {point}"
                );
            }
        }
    }
}

/// One stage writes a stored value and the next one reads it, once each. Nothing else moves more often than in one stage.
#[test]
fn stored_values_are_written_and_read_once() {
    let all = operators(include_str!("stages/operators.rs"));
    let (name, checked) = all
        .iter()
        .find(|(name, _)| name == "two_layers_f16")
        .expect("an operator");
    // M, K, J, N.
    let case = Case::new(name, checked, &[64, 128, 192, 64], &mut StdRng::seed_from_u64(9));
    let stored = 2 * 64 * 192;
    let reads: u64 = case.inputs.iter().map(|input| input.bytes.len() as u64).sum();
    for schedule in [
        "mma block=32x64x32 warp=16x32 slice_k=1 stages=3 group=1 blocks=0 split_k=1",
        "mma block=64x64x64 warp=32x32 slice_k=1 stages=2 group=8 blocks=0 split_k=1",
    ] {
        let counts = case.counts(Program {
            stored: stages::values(checked).iter().map(stages::Value::number).collect(),
            stages: vec![schedule.parse().expect("a schedule"); 2],
        });
        assert_eq!(counts.dram_read_bytes, reads + stored, "{schedule}");
        assert_eq!(counts.dram_write_bytes, case.output_bytes() + stored, "{schedule}");
    }
}
