//! The features of a kernel that the cost model uses.
//!
//! The compiler counts them without running the kernel; `energy_kernel_compiler::features` has the table of all features, with units.
//! The evaluation in `tests/bench` compared models on this selection: counts that may have a price, and the shape of the launch, which
//! has none.

use super::model::device::Described;
use energy_kernel_compiler::features::{Features, InstructionClass};

/// The counts, over all threads.
const COUNTS: [&str; 12] = [
    "thread_instructions",
    "float32",
    "integer",
    "special",
    "global_accesses",
    "shared_accesses",
    "flops",
    "matrix_flops",
    "global_sectors",
    "dram_bytes",
    "shared_bytes",
    "barriers",
];

/// The shape of the launch.
const SHAPE: [&str; 5] = [
    "threads",
    "blocks",
    "shared_bytes_per_block",
    "resident_blocks",
    "waves",
];

/// The names of the features, in the order of [`vector`].
pub fn names() -> Vec<String> {
    COUNTS.iter().chain(&SHAPE).map(|&name| name.to_owned()).collect()
}

/// The input of the device model for a program, with the latency in seconds. Counts are those of all stages, the shape is that of the stage with
/// the most instructions. All are 0 without stages.
pub fn described(stages: &[Features], latency: f64) -> Described {
    let mut sum = vec![0.0; COUNTS.len()];
    for stage in stages {
        sum.iter_mut().zip(counts(stage)).for_each(|(sum, count)| *sum += count);
    }
    let instructions = |stage: &Features| stage.counts.thread_instructions.machine_instructions();
    let largest = stages.iter().max_by(|a, b| instructions(a).total_cmp(&instructions(b)));
    Described {
        counts: sum,
        shape: largest.map_or([0.0; SHAPE.len()], shape).to_vec(),
        latency,
    }
}

/// The features of a kernel without its latency, in the order of [`names`].
pub fn vector(described: &Described) -> Vec<f64> {
    described.counts.iter().chain(&described.shape).copied().collect()
}

fn counts(features: &Features) -> [f64; COUNTS.len()] {
    let counts = &features.counts;
    let of = |classes: &[InstructionClass]| {
        classes
            .iter()
            .map(|&class| counts.thread_instructions[class].likely * f64::from(class.machine_instructions()))
            .sum()
    };
    [
        counts.thread_instructions.machine_instructions(),
        of(&[
            InstructionClass::Float32Fma,
            InstructionClass::Float32Add,
            InstructionClass::Float32Multiply,
            InstructionClass::Float32Other,
            InstructionClass::Division,
        ]),
        of(&[
            InstructionClass::Integer,
            InstructionClass::IntegerMultiply,
            InstructionClass::IntegerDivision,
            InstructionClass::IntegerDivision64,
            InstructionClass::Predicate,
        ]),
        of(&[InstructionClass::Special, InstructionClass::Conversion]),
        of(&[
            InstructionClass::LoadGlobal,
            InstructionClass::StoreGlobal,
            InstructionClass::Copy,
        ]),
        of(&[InstructionClass::LoadShared, InstructionClass::StoreShared]),
        counts.flops.likely,
        counts.matrix_flops.likely,
        counts.global_load_sectors.likely + counts.global_store_sectors.likely,
        features.dram_bytes().likely,
        features.shared_bytes_moved().likely,
        counts.barriers.likely,
    ]
}

fn shape(features: &Features) -> [f64; SHAPE.len()] {
    [
        features.threads.into(),
        features.blocks as f64,
        features.shared_bytes.into(),
        features.resident_blocks.into(),
        features.waves,
    ]
}
