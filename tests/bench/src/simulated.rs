//! A simulated device whose energies hold terms that no feature shows. Simulated throughout: nothing here was measured.
//!
//! Kernels of many operators and sizes run on the emulator, which counts what they do. Latency and energy follow from the counts by the
//! published prices of [`Simulated`]. Kernels that can be emulated are small, and small kernels' energy is constant power times time, which would
//! make it easy to know: what is priced by counts is scaled so that it is half of the energy, in the median, as it is of large kernels. And then
//! - **data toggling**: an operator's data moves its bytes' energy by a factor of its own (deviation 10 %), and each kernel's layout
//!   by 1 % more;
//! - **an interaction of second order**: up to 8 % where L2 traffic and instruction issue come together;
//! - 0.7 % noise on every measurement.

use crate::random::Random;
use energy_kernel::simulate::{Counts, Profile, Shape, Simulated};
use energy_kernel_build::tune::model::device::Described;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::schedule::space;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Target;
use energy_kernel_tests::{operators, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;

pub const NOISE: f64 = 0.007;

/// An operator at a size, with its candidates.
pub struct Pair {
    pub operator: String,
    pub kernels: Vec<Described>,
    /// Joules, simulated.
    pub truth: Vec<f64>,
}

/// Free sizes of operators of the validation set.
const SIZES: [(&str, &[&[u64]]); 13] = [
    ("linear_gelu_f32", &[&[16, 96, 128], &[64, 64, 64], &[128, 48, 96]]),
    ("linear_gelu_f16", &[&[32, 64, 96], &[8, 96, 128], &[96, 96, 32]]),
    ("matvec_f16", &[&[1, 384, 192], &[1, 128, 512], &[4, 192, 128]]),
    ("matmul_transposed_f16", &[&[64, 48, 64], &[96, 32, 96]]),
    ("batched_matmul_f32", &[&[4, 32, 48, 32], &[8, 16, 64, 24]]),
    ("linear_scaled_i8", &[&[16, 96, 96], &[2, 256, 128]]),
    (
        "conv_stride_f32",
        &[&[1, 8, 20, 20, 16, 3, 3], &[2, 4, 16, 16, 8, 3, 3]],
    ),
    ("max_pool_f32", &[&[2, 8, 32, 32], &[1, 16, 48, 48]]),
    ("softmax_f32", &[&[64, 256], &[16, 1024], &[200, 100]]),
    ("softmax_bf16", &[&[64, 512], &[128, 160]]),
    ("log_softmax_f32", &[&[48, 320], &[12, 2000]]),
    ("layer_norm_f32", &[&[64, 384], &[24, 1024]]),
    ("layer_norm_f16", &[&[96, 256], &[32, 768], &[160, 128]]),
];

/// The most candidates of a pair.
const CANDIDATES: usize = 48;

/// Emulates all kernels: minutes.
///
/// # Errors
/// A kernel that cannot be emulated: a mistake.
pub fn pairs() -> Result<Vec<Pair>, String> {
    let all = operators(include_str!("../../src/operators.rs"));
    let mut random = Random::new(11);
    let mut inputs_random = StdRng::seed_from_u64(1);
    let (mut pairs, mut energies) = (Vec::new(), Vec::new());
    for (name, sizes) in SIZES {
        let (_, checked) = all
            .iter()
            .find(|(n, _)| n == name)
            .ok_or(format!("there is no operator {name}"))?;
        // The same data at all sizes.
        let toggling = (0.1 * random.normal()).exp();
        for &free in sizes {
            let sizes = checked
                .derive(free.to_vec())
                .map_err(|error| format!("{name} {free:?}: {error}"))?;
            let specialisation = Specialisation::like(&sizes);
            let inputs = random_inputs(checked, &sizes, &mut inputs_random);
            let schedules = space(checked, &specialisation, Target::Sm90);
            let mut pair = Pair {
                operator: name.to_owned(),
                kernels: Vec::new(),
                truth: Vec::new(),
            };
            for position in random.shuffled(schedules.len()).into_iter().take(CANDIDATES) {
                let kernel =
                    lower(checked, &specialisation, Target::Sm90, &schedules[position]).map_err(|e| e.to_string())?;
                let counts = run(checked, &kernel, &sizes, &inputs)?.counts;
                let shape = Shape {
                    grid: kernel.launch.grid(&sizes).map_err(|error| error.to_string())?,
                    block: kernel.launch.block,
                    dynamic_shared: kernel.launch.dynamic_shared,
                };
                let simulated = Simulated::of(Profile::Hopper, &counts, shape);
                pair.kernels.push(described(&counts, shape, simulated.latency_s));
                energies.push(Energy::of(&simulated, toggling * (0.01 * random.normal()).exp()));
            }
            pairs.push(pair);
        }
    }
    let mut shares: Vec<f64> = energies.iter().map(|energy| energy.constant / energy.counted).collect();
    shares.sort_by(f64::total_cmp);
    let scale = shares.get(shares.len() / 2).copied().unwrap_or(1.0);
    let mut energies = energies.iter();
    for pair in &mut pairs {
        let truth = energies.by_ref().take(pair.kernels.len());
        pair.truth = truth
            .map(|energy| (energy.constant + scale * energy.counted) * energy.interaction)
            .collect();
    }
    Ok(pairs)
}

/// What a kernel's energy is made of, in joules.
struct Energy {
    /// Constant power times time.
    constant: f64,
    /// Prices times counts.
    counted: f64,
    /// A factor on all of it.
    interaction: f64,
}

impl Energy {
    fn of(simulated: &Simulated, toggling: f64) -> Energy {
        let machine = Profile::Hopper.machine();
        let counts = &simulated.counts;
        let sectors = counts.global_load_sectors + counts.global_store_sectors + counts.global_atomic_sectors;
        let moved = 32.0 * sectors as f64 * machine.l2_j
            + (counts.dram_read_bytes + counts.dram_write_bytes) as f64 * machine.dram_j
            + (counts.shared_load_bytes + counts.shared_store_bytes) as f64 * machine.shared_j;
        let l2 = 32.0 * sectors as f64 / (simulated.latency_s * machine.l2_bandwidth);
        let issue = counts.warp_instructions.total() as f64
            / (simulated.latency_s * machine.clock_hz * 4.0 * f64::from(machine.multiprocessors));
        let together = (l2 / (l2 + 0.02)) * (issue / (issue + 0.02));
        let constant = machine.constant_w * simulated.latency_s;
        Energy {
            constant,
            counted: simulated.energy_j - constant + (toggling - 1.0) * moved,
            interaction: 1.0 + 0.08 * together,
        }
    }
}

/// What a tuner knows of a kernel without measuring it: exact counts by class and level, and the launch.
fn described(counts: &Counts, shape: Shape, latency: f64) -> Described {
    let thread = &counts.thread_instructions;
    let number = |count: u64| count as f64;
    let machine = Profile::Hopper.machine();
    let blocks: f64 = shape.grid.iter().map(|&n| f64::from(n)).product();
    let resident = f64::from(machine.resident_blocks(shape));
    Described {
        counts: vec![
            number(thread.total()),
            number(thread.float32_fma + thread.float32_add + thread.float32_multiply + thread.float32_other),
            number(thread.integer + thread.integer_multiply + thread.predicate),
            number(thread.special + thread.conversion),
            number(thread.load_global + thread.store_global + thread.copy),
            number(thread.load_shared + thread.store_shared),
            number(counts.flops),
            number(counts.global_load_sectors + counts.global_store_sectors),
            number(counts.dram_read_bytes + counts.dram_write_bytes),
            number(counts.shared_load_bytes + counts.shared_store_bytes),
            number(counts.barriers),
        ],
        shape: vec![
            shape.block.iter().map(|&n| f64::from(n)).product(),
            blocks,
            f64::from(shape.dynamic_shared),
            resident,
            blocks / (resident * f64::from(machine.multiprocessors)),
        ],
        latency,
    }
}
