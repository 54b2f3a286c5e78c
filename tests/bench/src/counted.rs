//! The counts of the compiler's features in the form that the simulation takes from the emulator. Bounded numbers have their likely value.

use energy_kernel::simulate::{ByClass, Counts, LaunchConfig};
use energy_kernel_compiler::features::{self, Count, Features, InstructionClass};

fn likely(count: Count) -> u64 {
    count.likely.round() as u64
}

fn by_class(counts: &features::ByClass) -> ByClass {
    let of = |class| likely(counts[class]);
    ByClass {
        float32_fma: of(InstructionClass::Float32Fma),
        float32_add: of(InstructionClass::Float32Add),
        float32_multiply: of(InstructionClass::Float32Multiply),
        float32_other: of(InstructionClass::Float32Other),
        float64: of(InstructionClass::Float64),
        float16: of(InstructionClass::Float16),
        integer: of(InstructionClass::Integer),
        integer_multiply: of(InstructionClass::IntegerMultiply),
        special: of(InstructionClass::Special),
        conversion: of(InstructionClass::Conversion),
        predicate: of(InstructionClass::Predicate),
        moves: of(InstructionClass::Move),
        load_global: of(InstructionClass::LoadGlobal),
        store_global: of(InstructionClass::StoreGlobal),
        load_shared: of(InstructionClass::LoadShared),
        store_shared: of(InstructionClass::StoreShared),
        // Kernels of this compiler have no local memory.
        local: 0,
        constant: of(InstructionClass::Constant),
        atomic: of(InstructionClass::Atomic),
        shuffle: of(InstructionClass::Shuffle),
        barrier: of(InstructionClass::Barrier),
        control: of(InstructionClass::Control),
        matrix: of(InstructionClass::Matrix),
        copy: of(InstructionClass::Copy),
    }
}

/// The numbers that the simulation makes latency and energy of. The others are 0.
pub fn counts(features: &Features) -> Counts {
    let counted = &features.counts;
    let warps = &counted.warp_instructions;
    // Each copy group is committed once and waited for once.
    let copies = warps[InstructionClass::Copy].likely - 2.0 * counted.copy_waits.likely;
    Counts {
        thread_instructions: by_class(&counted.thread_instructions),
        warp_instructions: by_class(warps),
        warp_instructions_skipped: likely(counted.warp_instructions_skipped),
        flops: likely(counted.flops),
        matrix_flops: likely(counted.matrix_flops),
        global_load_requests: (warps[InstructionClass::LoadGlobal].likely + copies.max(0.0)).round() as u64,
        global_load_sectors: likely(counted.global_load_sectors),
        global_store_sectors: likely(counted.global_store_sectors),
        global_atomic_sectors: likely(counted.global_atomic_sectors),
        dram_read_bytes: likely(features.dram_read_bytes),
        dram_write_bytes: likely(features.dram_write_bytes),
        shared_load_bytes: likely(counted.shared_load_bytes),
        shared_store_bytes: likely(counted.shared_store_bytes),
        shared_transactions: likely(counted.shared_transactions()),
        barriers: likely(counted.barriers),
        threads: u64::from(features.threads) * features.blocks,
        blocks: features.blocks,
        ..Counts::default()
    }
}

/// The launch. The simulation asks for the numbers of blocks and threads, not for their arrangement.
pub fn config(features: &Features) -> LaunchConfig {
    LaunchConfig {
        grid: [u32::try_from(features.blocks).unwrap_or(u32::MAX), 1, 1],
        block: [features.threads, 1, 1],
        dynamic_shared: features.shared_bytes,
    }
}

/// `true` if all that energy and latency are made of is known, not only bounded.
pub fn is_exact(features: &Features) -> bool {
    let counted = &features.counts;
    let classes = [counted.thread_instructions.total(), counted.warp_instructions.total()];
    let memory = [
        features.dram_bytes(),
        features.l2_bytes(),
        features.shared_bytes_moved(),
    ];
    let others = [counted.flops, counted.matrix_flops, counted.shared_transactions()];
    classes
        .iter()
        .chain(&memory)
        .chain(&others)
        .all(|count| count.is_exact())
}

#[cfg(test)]
mod tests {
    use super::*;
    use energy_kernel::simulate::{Profile, Simulated};
    use energy_kernel_compiler::problem::Problem;
    use energy_kernel_compiler::schedule::space;
    use energy_kernel_compiler::size::Specialisation;
    use energy_kernel_compiler::target::{Machine, Target};
    use energy_kernel_compiler::{features, lower};
    use energy_kernel_tests::{OPERATORS, count, families, operators, random_inputs};
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;

    #[test]
    fn a_simulation_by_features_is_one_by_what_the_emulator_counts() {
        let machine = Machine::like(Target::Sm90);
        let mut random = StdRng::seed_from_u64(5);
        let all = operators(OPERATORS);
        let mut exact = 0;
        for (name, free) in [
            ("linear_gelu_f32", &[16, 96, 128][..]),
            ("linear_gelu_f16", &[32, 64, 96]),
            ("matvec_f16", &[1, 384, 192]),
            ("conv_stride_f32", &[1, 8, 20, 20, 16, 3, 3]),
            ("max_pool_f32", &[1, 4, 32, 32]),
            ("layer_norm_f16", &[32, 768]),
            ("softmax_f32", &[16, 1024]),
            ("silu_product_f16", &[16, 256]),
        ] {
            let (_, checked) = all.iter().find(|(own, _)| own == name).unwrap();
            let sizes = checked.derive(free.to_vec()).unwrap();
            let specialisation = Specialisation::exact(&sizes);
            let inputs = random_inputs(checked, &sizes, &mut random);
            for points in families(&space(&Problem::new(checked, &specialisation, machine))) {
                for point in points.sample(&mut random, 3) {
                    let features =
                        features::of(&Problem::new(checked, &specialisation, machine), point, &sizes).unwrap();
                    let kernel = lower::lower(&Problem::new(checked, &specialisation, machine), point).unwrap();
                    let counted = count(checked, &kernel, &sizes, &inputs).unwrap();
                    let [launch] = kernel.launches.as_slice() else {
                        panic!("{point}: more than one launch")
                    };
                    let launched = LaunchConfig {
                        grid: launch.grid(&sizes).unwrap(),
                        block: launch.block,
                        dynamic_shared: launch.dynamic_shared,
                    };
                    let expected = Simulated::of(Profile::Hopper, &counted, launched);
                    let found = Simulated::of(Profile::Hopper, &counts(&features), config(&features));
                    let error = (found.latency_s / expected.latency_s - 1.0)
                        .abs()
                        .max((found.energy_j / expected.energy_j - 1.0).abs());
                    // Commits of copy groups are not counted, and a bounded number may be any between its bounds.
                    let known = is_exact(&features) && counted.warp_instructions.copy == 0;
                    let most = if known { 1e-9 } else { 0.1 };
                    assert!(error < most, "{name} {free:?} {point}: {error}");
                    exact += usize::from(known);
                }
            }
        }
        assert!(exact > 60, "{exact}");
    }
}
