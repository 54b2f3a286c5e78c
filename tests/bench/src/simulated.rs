//! A simulated device whose energies hold terms that no feature shows. Simulated throughout: nothing here was measured.
//!
//! Kernels of many operators, at sizes as they come in inference, are counted by the compiler's features, without running them: what is
//! only bounded counts with its likely value, which is then the truth by definition. Latency and energy follow from the counts by the published
//! prices of a [`Datasheet`]; on the one like an H100 what is priced by counts is 24 % of the energy in the
//! median, and up to 59 %, the rest constant power times time; on the one like an A100 31 %, and up to 60 %. And then
//! - **data toggling**: an operator's data moves its bytes' energy by a factor of its own (deviation 10 %), and each kernel's layout
//!   by 1 % more;
//! - **an interaction of second order**: up to 8 % where L2 traffic and instruction issue come together;
//! - 0.7 % noise on every measurement.
//!
//! Kernels are described as the product describes them.

use crate::random::Random;
use energy_kernel::simulate::{Datasheet, Profile};
use energy_kernel_build::tune::describe::described;
use energy_kernel_build::tune::model::device::Described;
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::estimate::{Unit, Work, latency};
use energy_kernel_compiler::features::{self, Features};
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{Schedule, space};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Machine;
use energy_kernel_tests::{OPERATORS, operators};

pub const NOISE: f64 = 0.007;

/// An operator at a size, with its candidates.
pub struct Pair {
    pub operator: String,
    pub kernels: Vec<Described>,
    /// Joules, simulated.
    pub truth: Vec<f64>,
    /// The same without what each kernel's own layout does, which nothing tells of one that was not measured.
    pub knowable: Vec<f64>,
    /// The share of each kernel's energy that is priced by counts.
    pub counted: Vec<f64>,
    /// Kernels of which everything that has a price is counted exactly.
    pub exact: usize,
}

/// Free sizes of operators of the validation set, as they come in inference.
const SIZES: [(&str, &[&[u64]]); 26] = [
    (
        "linear_gelu_f32",
        &[&[64, 1024, 1024], &[197, 384, 1536], &[1024, 1024, 1024]],
    ),
    (
        "linear_gelu_f16",
        &[
            &[16, 4096, 4096],
            &[128, 1024, 1024],
            &[512, 768, 3072],
            &[2048, 1024, 4096],
        ],
    ),
    ("linear_bf16", &[&[8, 768, 768], &[256, 2048, 512]]),
    ("matvec_f16", &[&[1, 4096, 4096], &[4, 1024, 4096]]),
    ("linear_scaled_i8", &[&[1, 4096, 4096], &[16, 2048, 2048]]),
    ("matmul_i8", &[&[256, 1024, 1024]]),
    ("matmul_tf32", &[&[512, 1024, 512]]),
    ("matmul_transposed_f16", &[&[512, 384, 1024]]),
    ("gated_columns_bf16", &[&[64, 2048, 1024]]),
    ("batched_matmul_f16", &[&[16, 128, 64, 128], &[12, 197, 197, 64]]),
    ("batched_matmul_f32", &[&[12, 128, 64, 128]]),
    (
        "conv_stride_f16",
        &[
            &[1, 64, 56, 56, 128, 3, 3],
            &[16, 64, 56, 56, 128, 3, 3],
            &[8, 3, 224, 224, 64, 7, 7],
        ],
    ),
    ("conv_stride_f32", &[&[1, 64, 56, 56, 128, 3, 3]]),
    ("conv_depthwise_f16", &[&[1, 256, 56, 56, 3, 3]]),
    ("max_pool_f32", &[&[8, 64, 112, 112]]),
    ("average_pool_f16", &[&[8, 64, 56, 56]]),
    ("softmax_f32", &[&[1024, 1024], &[32, 32768], &[65536, 64]]),
    ("softmax_bf16", &[&[4096, 512]]),
    ("log_softmax_f32", &[&[8, 32000]]),
    ("layer_norm_f32", &[&[512, 768], &[197, 384]]),
    ("layer_norm_f16", &[&[512, 768], &[16, 4096]]),
    ("rms_norm_bf16", &[&[1, 4096], &[512, 4096]]),
    ("causal_softmax_f32", &[&[16, 512]]),
    ("silu_product_f16", &[&[512, 4096]]),
    ("transpose_f16", &[&[8, 512, 512]]),
    ("rotary_f16", &[&[512, 32, 64, 32]]),
];

/// The most candidates of a pair.
const CANDIDATES: usize = 200;

/// The machine that a profile stands for, as the compiler sees it.
fn machine(profile: Profile) -> Machine {
    let sheet = profile.datasheet();
    Machine::documented(sheet.capability, sheet.multiprocessors).expect("a profile of 8.0 or later")
}

/// Counts all kernels: a quarter of a minute.
///
/// # Errors
/// An operator that there is not, or not at these sizes: a mistake.
pub fn pairs(profile: Profile) -> Result<Vec<Pair>, String> {
    let all = operators(OPERATORS);
    let mut random = Random::new(11);
    let mut pairs = Vec::new();
    for (name, sizes) in SIZES {
        let known = all.iter().find(|(own, _)| own == name);
        let (_, checked) = known.ok_or(format!("there is no operator {name}"))?;
        // The same data at all sizes.
        let toggling = (0.1 * random.normal()).exp();
        for free in sizes {
            let wrong = |error: &dyn std::fmt::Display| format!("{name} {free:?}: {error}");
            let sizes = checked.derive(free.to_vec()).map_err(|error| wrong(&error))?;
            checked.verify(&sizes).map_err(|error| wrong(&error))?;
            let mut pair = Pair {
                operator: name.to_owned(),
                kernels: Vec::new(),
                truth: Vec::new(),
                knowable: Vec::new(),
                counted: Vec::new(),
                exact: 0,
            };
            for features in candidates(checked, &sizes, machine(profile), &mut random) {
                let (sheet, work) = (profile.datasheet(), Work::of(&features));
                let energy = Energy::of(&sheet, &work, toggling * (0.01 * random.normal()).exp());
                pair.kernels
                    .push(described(std::slice::from_ref(&features), work.seconds(&sheet)));
                pair.truth.push(energy.joules());
                pair.knowable.push(Energy::of(&sheet, &work, toggling).joules());
                pair.counted.push(energy.counted / (energy.constant + energy.counted));
                pair.exact += usize::from(is_exact(&features));
            }
            pairs.push(pair);
        }
    }
    Ok(pairs)
}

/// Of twice as many schedules, drawn at random from the space for exactly these sizes, those that the compiler's estimate finds
/// fastest, and as many others: the tuner tries both, too.
fn candidates(checked: &Checked, sizes: &[u64], machine: Machine, random: &mut Random) -> Vec<Features> {
    let specialisation = Specialisation::exact(sizes);
    let space = space(&Problem::new(checked, &specialisation, machine));
    let counted =
        |schedule: &Schedule| features::of(&Problem::new(checked, &specialisation, machine), schedule, sizes).ok();
    let drawn = random.shuffled(space.len()).into_iter().take(2 * CANDIDATES);
    let drawn: Vec<Features> = drawn.filter_map(|number| counted(&space[number])).collect();
    // Beyond the first half of the wanted ones the order of the draw stays.
    let sheet = Datasheet::like(machine);
    let mut order: Vec<usize> = (0..drawn.len()).collect();
    order.sort_by(|&a, &b| latency(&drawn[a], &sheet).total_cmp(&latency(&drawn[b], &sheet)));
    if let Some(others) = order.get_mut(CANDIDATES / 2..) {
        others.sort_unstable();
    }
    order.truncate(CANDIDATES);
    order.into_iter().map(|number| drawn[number].clone()).collect()
}

/// The parts of a kernel's energy, in joules.
struct Energy {
    /// Constant power times time.
    constant: f64,
    /// Prices times counts.
    counted: f64,
    /// A factor on all of it.
    interaction: f64,
}

impl Energy {
    fn joules(&self) -> f64 {
        (self.constant + self.counted) * self.interaction
    }

    fn of(sheet: &Datasheet, work: &Work, toggling: f64) -> Energy {
        let seconds = work.seconds(sheet);
        let moved =
            work.l2_bytes * sheet.l2_j + work.dram_bytes(sheet) * sheet.dram_j + work.shared_bytes * sheet.shared_j;
        let busy = |wanted: Unit| {
            let each = work.busy(sheet).into_iter();
            each.filter(|(unit, _)| *unit == wanted)
                .map(|(_, busy)| busy / seconds)
                .sum::<f64>()
        };
        let (l2, issue) = (busy(Unit::L2), busy(Unit::Issue));
        let together = (l2 / (l2 + 0.02)) * (issue / (issue + 0.02));
        let constant = sheet.constant_w * seconds;
        Energy {
            constant,
            counted: work.joules(sheet, seconds) - constant + (toggling - 1.0) * moved,
            interaction: 1.0 + 0.08 * together,
        }
    }
}

/// `true` if all that energy and latency are made of is known, not only bounded.
fn is_exact(features: &Features) -> bool {
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
