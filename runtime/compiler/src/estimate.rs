//! An estimate of a kernel's latency from its features. Nothing here is measured.
//!
//! ```text
//! latency  = launch + Σ waves: max( issue, pipes, shared memory, L2 port    of one multiprocessor with the wave's blocks,
//!                                   critical path of one warp               which no parallelism hides,
//!                                   L2, device memory                       of the whole chip )
//! ```
//!
//! The critical path of a warp includes the memory latency that its other instructions do not hide. By Little's law, bytes in flight are
//! limited to the loads that all resident warps wait for, so a wave lasts at least as many memory latencies as a warp waits for in sequence.
//! All waves but the last are full. The last wave's blocks are spread over the multiprocessors. Every block does an equal part of the work.
//!
//! The estimate ranks schedules before anything is measured. It ignores the power limit, the order in which blocks reach L2,
//! instructions that ptxas merges, and operand latencies beyond four clocks.

use crate::check::Checked;
use crate::features::{self, Features, InstructionClass};
use crate::problem::Problem;
use crate::schedule::{self, Schedule};
use crate::size::Specialisation;
use crate::target::{Machine, Target};

/// The published figures of a GPU. Rates are per multiprocessor and clock, from the table of arithmetic throughput
/// in the CUDA programming guide unless stated otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Datasheet {
    /// Streaming multiprocessors. From the architecture's white paper.
    pub multiprocessors: u32,
    /// Boost clock in Hz. From the data sheet.
    pub clock_hz: f64,
    /// Single-precision results. `f16` arithmetic outside matrix instructions counts as equally fast.
    pub float32_rate: f64,
    /// Double-precision results.
    pub float64_rate: f64,
    /// Integer additions, comparisons and bit operations.
    pub integer_rate: f64,
    /// Matrix floating-point operations, dense `f16` with sums in `f32`. From the data sheet: peak ÷ (clock · multiprocessors).
    pub matrix_rate: f64,
    /// Bytes between a multiprocessor and L2. 64 on all of them (Ampere and Hopper tuning guides, microbenchmarks).
    pub l2_port: f64,
    /// Bytes a second between L2 and all multiprocessors. From published microbenchmarks if no data sheet states it.
    pub l2_bandwidth: f64,
    /// Bytes a second of device memory: 90 % of the data sheet's figure, about what copies reach.
    pub dram_bandwidth: f64,
    /// Clocks until a load from device memory arrives. From published microbenchmarks.
    pub memory_latency: f64,
    /// Seconds of an empty kernel: an assumption.
    pub launch_s: f64,
}

impl Datasheet {
    /// A100 SXM, 80 GB: 312 TFLOP/s `f16`, 2039 GB/s.
    pub const A100: Datasheet = Datasheet {
        multiprocessors: 108,
        clock_hz: 1.41e9,
        float32_rate: 64.0,
        float64_rate: 32.0,
        integer_rate: 64.0,
        matrix_rate: 2048.0,
        l2_port: 64.0,
        l2_bandwidth: 4.0e12,
        dram_bandwidth: 0.9 * 2.039e12,
        memory_latency: 500.0,
        launch_s: 2.5e-6,
    };
    /// GeForce RTX 3090: 71 TFLOP/s `f16` with sums in `f32`, 936 GB/s.
    pub const RTX_3090: Datasheet = Datasheet {
        multiprocessors: 82,
        clock_hz: 1.695e9,
        float32_rate: 128.0,
        float64_rate: 2.0,
        integer_rate: 64.0,
        matrix_rate: 512.0,
        l2_port: 64.0,
        l2_bandwidth: 2.5e12,
        dram_bandwidth: 0.9 * 0.936e12,
        memory_latency: 500.0,
        launch_s: 2.5e-6,
    };
    /// GeForce RTX 4090: 165 TFLOP/s `f16` with sums in `f32`, 1008 GB/s.
    pub const RTX_4090: Datasheet = Datasheet {
        multiprocessors: 128,
        clock_hz: 2.52e9,
        float32_rate: 128.0,
        float64_rate: 2.0,
        integer_rate: 64.0,
        matrix_rate: 512.0,
        l2_port: 64.0,
        l2_bandwidth: 5.0e12,
        dram_bandwidth: 0.9 * 1.008e12,
        memory_latency: 550.0,
        launch_s: 2.5e-6,
    };
    /// H100 SXM: 989 TFLOP/s `f16`, 3350 GB/s.
    pub const H100: Datasheet = Datasheet {
        multiprocessors: 132,
        clock_hz: 1.83e9,
        float32_rate: 128.0,
        float64_rate: 64.0,
        integer_rate: 64.0,
        // Published measurements: `mma.sync` reaches 63 % of the throughput of `wgmma`.
        matrix_rate: 0.63 * 4096.0,
        l2_port: 64.0,
        l2_bandwidth: 5.5e12,
        dram_bandwidth: 0.9 * 3.35e12,
        memory_latency: 600.0,
        launch_s: 2.0e-6,
    };

    /// Returns the figures of a GPU with the machine's target, scaled to the machine's multiprocessors: bandwidths grow with them.
    pub fn like(machine: Machine) -> Datasheet {
        let known = match machine.target {
            Target::Sm80 => Datasheet::A100,
            Target::Sm86 => Datasheet::RTX_3090,
            Target::Sm89 => Datasheet::RTX_4090,
            Target::Sm90 | Target::Sm90a | Target::Sm100 | Target::Sm100a | Target::Sm120 => Datasheet::H100,
        };
        let part = f64::from(machine.multiprocessors.max(1)) / f64::from(known.multiprocessors);
        Datasheet {
            multiprocessors: machine.multiprocessors.max(1),
            l2_bandwidth: known.l2_bandwidth * part,
            dram_bandwidth: known.dram_bandwidth * part,
            ..known
        }
    }
}

/// Warp instructions that a multiprocessor issues per clock: one for each of its four schedulers.
const ISSUE: f64 = 4.0;
/// Conversions per clock, in lanes: the lowest rate of the table for 32-bit types.
const CONVERSIONS: f64 = 16.0;
/// Approximate functions per clock, in lanes.
const SPECIALS: f64 = 16.0;
/// Lanes per clock of shuffles and memory accesses.
const MEMORY_LANES: f64 = 32.0;
/// Clocks between dependent instructions, which a lone warp takes for each instruction. Independent instructions take less, and operands from
/// shared memory take more. The emulated devices assume the same.
const DEPENDENT: f64 = 4.0;
/// Clocks of a barrier.
const BARRIER: f64 = 30.0;
/// Operations of an `f16` matrix instruction. Instructions of other element types have more or fewer operations but take equally long,
/// because all read the same number of bits.
const MATRIX: f64 = 4096.0;

/// The load of one block on each unit, in clocks of a multiprocessor that runs nothing else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Issuing all instructions, four a clock.
    pub issue: f64,
    /// The busiest pipe: single precision, double precision, integers, special functions, conversions, or memory instructions.
    pub pipes: f64,
    /// The tensor cores.
    pub matrix: f64,
    /// Passes over the banks of shared memory, one a clock.
    pub shared: f64,
    /// Sectors to and from L2 through the multiprocessor's port.
    pub l2_port: f64,
    /// The critical path of one warp: its instructions in sequence or the copies that overlap them, its waits for loads, and its barriers.
    pub alone: f64,
}

impl Terms {
    /// Returns the terms of an average block, with [`Terms::alone`] of an average warp.
    pub fn of_block(features: &Features, sheet: &Datasheet) -> Terms {
        let counts = &features.counts;
        let blocks = features.blocks.max(1) as f64;
        let warps = blocks * f64::from(features.threads.div_ceil(32).max(1));
        let sum = |classes: &[InstructionClass]| -> f64 {
            classes
                .iter()
                .map(|&class| counts.warp_instructions[class].likely)
                .sum()
        };
        let all = counts.warp_instructions.total().likely + counts.warp_instructions_skipped.likely;
        let lanes = |instructions: f64, rate: f64| instructions * 32.0 / rate;
        let float32 = [
            InstructionClass::Float32Fma,
            InstructionClass::Float32Add,
            InstructionClass::Float32Multiply,
            InstructionClass::Float32Other,
            InstructionClass::Float16,
        ];
        let memory = [
            InstructionClass::LoadGlobal,
            InstructionClass::StoreGlobal,
            InstructionClass::LoadShared,
            InstructionClass::StoreShared,
            InstructionClass::Copy,
            InstructionClass::Atomic,
            InstructionClass::Shuffle,
        ];
        let pipes = [
            lanes(sum(&float32), sheet.float32_rate),
            lanes(sum(&[InstructionClass::Float64]), sheet.float64_rate),
            lanes(
                sum(&[
                    InstructionClass::Integer,
                    InstructionClass::IntegerMultiply,
                    InstructionClass::Predicate,
                ]),
                sheet.integer_rate,
            ),
            lanes(sum(&[InstructionClass::Special]), SPECIALS),
            lanes(sum(&[InstructionClass::Conversion]), CONVERSIONS),
            lanes(sum(&memory), MEMORY_LANES),
        ];
        // A warp uses the tensor core of its scheduler alone.
        let products = sum(&[InstructionClass::Matrix]);
        let own = (all - products) * DEPENDENT + products * (ISSUE * MATRIX / sheet.matrix_rate).max(DEPENDENT);
        // Asynchronous copies overlap arithmetic.
        let copies = counts.copy_waits.likely / features.copies_in_flight().max(1.0) * sheet.memory_latency;
        // Instructions between a load and its use hide part of the latency.
        let hidden = counts.wait_distance.likely * DEPENDENT;
        let waits = (counts.memory_waits.likely * sheet.memory_latency - hidden).max(0.0);
        let alone = own.max(copies) + waits + counts.barriers.likely * BARRIER;
        Terms {
            issue: all / ISSUE / blocks,
            pipes: pipes.into_iter().fold(0.0, f64::max) / blocks,
            matrix: products * MATRIX / sheet.matrix_rate / blocks,
            shared: counts.shared_transactions().likely / blocks,
            l2_port: features.l2_bytes().likely / sheet.l2_port / blocks,
            alone: alone / warps,
        }
    }

    /// Returns the clocks of a multiprocessor with so many resident blocks.
    fn clocks(&self, blocks: f64) -> f64 {
        let busy = [self.issue, self.pipes, self.matrix, self.shared, self.l2_port];
        (busy.into_iter().fold(0.0, f64::max) * blocks).max(self.alone)
    }
}

/// Returns the estimated seconds of a launch.
pub fn latency(features: &Features, sheet: &Datasheet) -> f64 {
    if features.blocks == 0 {
        return 0.0;
    }
    let terms = Terms::of_block(features, sheet);
    let multiprocessors = f64::from(sheet.multiprocessors);
    let blocks = features.blocks as f64;
    let resident = f64::from(features.resident_blocks.max(1));
    let full = (blocks / (multiprocessors * resident)).floor();
    let last = blocks - full * multiprocessors * resident;
    let clocks = full * terms.clocks(resident)
        + if last > 0.0 {
            terms.clocks((last / multiprocessors).ceil())
        } else {
            0.0
        };
    let l2 = features.l2_bytes().likely / sheet.l2_bandwidth;
    let dram = features.dram_bytes().likely / sheet.dram_bandwidth;
    sheet.launch_s + (clocks / sheet.clock_hz).max(l2).max(dram)
}

/// Returns the legal schedules with their estimated latencies in seconds, fastest first.
///
/// Each schedule is lowered and its features are counted. The benchmark `compile` measures the cost. `schedules` may be a sample of a space.
pub fn ranked(problem: &Problem<'_>, sizes: &[u64], schedules: &[Schedule]) -> Vec<(Schedule, f64)> {
    let sheet = Datasheet::like(problem.machine);
    let estimate = |schedule: &Schedule| {
        let features = features::of(problem, schedule, sizes).ok()?;
        Some((*schedule, latency(&features, &sheet)))
    };
    let mut all: Vec<(Schedule, f64)> = schedules.iter().filter_map(estimate).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    all
}

/// Returns rounded sizes that represent sizes near them, so that a choice for them serves many calls. Each is at most 1.5 times as large. The
/// specialisation accepts them if it accepts the given sizes.
pub fn near(checked: &Checked, specialisation: &Specialisation, sizes: &[u64]) -> Vec<u64> {
    let rounded = |size: u64| match size.checked_ilog2() {
        // A multiple of 16, the largest alignment of a specialisation.
        Some(bits @ 5..) if size < 1 << 40 => size.next_multiple_of(1 << (bits - 1)),
        _ => size,
    };
    let all = checked.op().sizes.iter().zip(sizes);
    let free = all.take_while(|(size, _)| size.definition.is_none());
    let near = checked.derive(free.map(|(_, &size)| rounded(size)).collect());
    near.ok()
        .filter(|near| specialisation.accepts(near) && checked.verify(near).is_ok())
        .unwrap_or_else(|| sizes.to_vec())
}

/// Returns the schedule for untuned sizes: the fastest of [`schedule::starts`] by the estimate.
pub fn default(problem: &Problem<'_>, sizes: &[u64]) -> Schedule {
    let starts = schedule::starts(problem, sizes);
    match starts.as_slice() {
        [only] => *only,
        starts => {
            let ranked = ranked(problem, sizes, starts);
            ranked.first().map_or(starts[0], |&(schedule, _)| schedule)
        }
    }
}
