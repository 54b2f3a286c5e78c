//! Features: the work of a kernel at given sizes, counted from its instructions without running it.
//!
//! ```text
//!   Stage ──── walk ──▶ Counts ─┐
//!     │   (sets of warps with   ├──▶ Features ──▶ estimate, cost model
//!     │    identical work)      │
//!   Checked ── compulsory ──────┘
//! ```
//!
//! `walk` follows one warp through the tree of instructions. It evaluates the integers that determine addresses, conditions and loops,
//! for all lanes, as functions of the warp, the block and the iterations of the open loops (`form`). It loads
//! nothing and computes no floating-point numbers. Warps that would branch or count differently are set aside and walked
//! separately: edge blocks, or a last iteration. So a launch of any size
//! takes one walk for each kind of warp, and each count is exact. Counts that depend on data
//! are bounded. So are the counts of the remaining warps if there are too many kinds.
//!
//! Addresses may differ between the warps of a walk: the walk counts how often each residue modulo the sector size occurs.
//!
//! To add an instruction, give its class in `class`. If it computes indices, give its function in `arithmetic`. A new
//! `ptx::Action` needs its class in `program` and its memory accesses in `walk`.
//!
//! # The features
//!
//! Counts are per launch unless a row says otherwise. The sources are:
//!
//! - *Walk*: counted from the instructions, with the emulator's definitions. A count is exact ([`Count::is_exact`]) unless it depends on
//!   data (gathered addresses, conditions on elements), on the pipeline stage of a slab, or on more kinds of warps than the effort allows.
//!   Then it is bounded: `low ≤ number ≤ high`, with `likely`, which models use, between them.
//! - *Launch*: exact.
//! - *Operator*: exact if each tensor is certainly read as a whole or not at all, otherwise bounded.
//! - *Estimate*: neither exact nor bounded.
//!
//! | feature | unit | source |
//! |---|---|---|
//! | `float32_fma`, `float32_add`, `float32_multiply`, `float32_other`, `float64`, `float16`, `integer`, `integer_multiply`, `special`, `division`, `division64`, `integer_division`, `integer_division64`, `conversion`, `predicate`, `moves`, `names`, `load_global`, `store_global`, `load_shared`, `store_shared`, `constant`, `shuffle`, `atomic`, `barrier`, `control`, `matrix`, `copy` | instructions of warps, by [`InstructionClass`] | walk |
//! | `warp_instructions`, `thread_instructions` | instructions of warps, of threads | walk |
//! | `warp_instructions_skipped` | instructions of warps whose threads are all predicated off | walk |
//! | `flops`, `matrix_flops` | operations | walk |
//! | `global_load_bytes`, `global_store_bytes`, `global_to_shared_bytes` | bytes that threads request | walk |
//! | `global_atomic_bytes` | bytes that atomic operations touch | walk |
//! | `global_load_sectors`, `global_store_sectors`, `global_atomic_sectors` | sectors of 32 bytes, summed over the accesses of warps | walk |
//! | `l2_load_sectors` | the part of `global_load_sectors` that L1 does not hold | walk; bounded |
//! | `l2_bytes` | bytes of those sectors, and of stores and atomic operations | walk; bounded |
//! | `shared_load_bytes`, `shared_store_bytes` | bytes | walk |
//! | `shared_load_transactions`, `shared_store_transactions`, `matrix_load_transactions`, `copy_transactions`, `shared_transactions` | passes over the banks; the sum | walk |
//! | `shared_load_bank_conflicts`, `shared_store_bank_conflicts`, `matrix_load_bank_conflicts`, `copy_bank_conflicts`, `shared_bank_conflicts` | passes beyond the minimum; the sum | walk |
//! | `divergent_branches` | branches of warps | walk |
//! | `barriers` | block barriers, once for each warp | walk |
//! | `memory_waits` | waits of warps for loads, in text order; the emulator does not count them | walk |
//! | `wait_distance` | instructions between a load and the wait for it, at most 128 each, in text order | walk |
//! | `copy_waits`, `copy_groups` | waits of warps for groups of copies; groups in flight at those waits | walk |
//! | `dram_read_bytes`, `dram_write_bytes` | bytes in whole sectors, each sector once, including split-K partials | operator, launch |
//! | `wave_read_bytes` | the same for reads, but once for each wave of blocks | estimate: tiles, registers |
//! | `arithmetic_intensity` | operations per byte of device memory | walk, operator |
//! | `threads`, `blocks`, `shared_bytes` | threads of a block, blocks, bytes of shared memory of a block | launch |
//! | `registers` | 32-bit registers of a thread | estimate: live values |
//! | `resident_blocks`, `occupancy` | blocks of a multiprocessor; resident warps ÷ the maximum | launch, estimate of registers |
//! | `waves`, `tail`, `active_multiprocessors` | blocks ÷ the blocks that fit at once; idle fraction of all waves; multiprocessors with a block | launch, estimate of registers |
//! | `loads_in_flight`, `copies_in_flight` | loads of a warp in flight when it waits; groups of copies | walk |
//! | `bytes_in_flight` | bytes in flight to a multiprocessor | walk, estimate of registers |

mod arithmetic;
mod class;
mod compulsory;
mod count;
mod displacement;
mod form;
mod mask;
mod memory;
mod nonlinear;
mod program;
mod progression;
mod reuse;
mod symbols;
mod walk;

pub use class::InstructionClass;
pub use count::{ByClass, Count, Counts};
pub use walk::{KnownArgument, count};

use crate::check::Checked;
use crate::families;
use crate::kernel::ParameterValue;
use crate::lower::{self, Stage};
use crate::problem::Problem;
use crate::schedule::Schedule;
use crate::size::SizeExprError;

/// The reason that a schedule has no features.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The schedule cannot be lowered.
    #[error(transparent)]
    Lower(#[from] lower::Error),
    /// The kernel does not accept these sizes.
    #[error("the specialisation does not accept the sizes {0:?}; pass sizes that it accepts")]
    Sizes(Vec<u64>),
    /// The grid has no value at these sizes.
    #[error("the formula of the grid {0} at these sizes")]
    Grid(SizeExprError),
}

impl From<SizeExprError> for Error {
    fn from(error: SizeExprError) -> Error {
        Error::Grid(error)
    }
}

/// The work of a kernel at given sizes, and its occupancy of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Instructions and traffic of the launch, before ptxas merges or unrolls instructions.
    pub counts: Counts,
    /// Bytes read from device memory, if each sector is read once: the inputs, which are compulsory, and split-K partials,
    /// as if none of them stayed in L2. From the operator and the launch.
    pub dram_read_bytes: Count,
    /// Bytes read from device memory, likewise, but once for each wave of blocks, as if L2 kept nothing from one wave to the next. At most
    /// what passes between L2 and the multiprocessors. The same as `dram_read_bytes` where waves share nothing.
    pub wave_read_bytes: f64,
    /// Bytes written to device memory: whole sectors of the outputs, which are compulsory, and of split-K partials. From
    /// the operator and the launch.
    pub dram_write_bytes: Count,
    /// Threads of a block. From the launch.
    pub threads: u32,
    /// Blocks. From the launch.
    pub blocks: u64,
    /// Registers of a thread: an estimate from the live values, within the limit that the kernel sets for ptxas.
    pub registers: u32,
    /// Bytes of shared memory of a block. From the launch.
    pub shared_bytes: u32,
    /// Resident blocks of a multiprocessor, at least 1. From threads, registers and shared memory.
    pub resident_blocks: u32,
    /// Resident warps of a multiprocessor ÷ its maximum: 0 to 1.
    pub occupancy: f64,
    /// Blocks ÷ resident blocks of the machine.
    pub waves: f64,
    /// The idle fraction of all waves together, 0 to 1, because the last wave is not full.
    pub tail: f64,
    /// Multiprocessors with at least one block.
    pub active_multiprocessors: u32,
}

impl Features {
    /// Compulsory traffic of device memory, in bytes.
    pub fn dram_bytes(&self) -> Count {
        self.dram_read_bytes.plus(self.dram_write_bytes)
    }

    /// Bytes between L2 and the multiprocessors, in whole sectors.
    pub fn l2_bytes(&self) -> Count {
        let counts = &self.counts;
        let sectors = counts.l2_load_sectors.plus(counts.global_store_sectors);
        sectors.plus(counts.global_atomic_sectors).times(Count::exactly(32))
    }

    /// Bytes to and from shared memory.
    pub fn shared_bytes_moved(&self) -> Count {
        self.counts.shared_load_bytes.plus(self.counts.shared_store_bytes)
    }

    /// Floating-point operations, and all operations of matrix instructions.
    pub fn flops(&self) -> Count {
        self.counts.flops.plus(self.counts.matrix_flops)
    }

    /// Operations of matrix instructions, in those of `f16` that take as long: all matrix instructions read the same number of bits.
    pub fn matrix_f16_flops(&self) -> Count {
        let f16 = 2 * 16 * 8 * 16;
        self.counts.warp_instructions[InstructionClass::Matrix].times(Count::exactly(f16))
    }

    /// Floating-point operations per byte of device memory.
    pub fn arithmetic_intensity(&self) -> f64 {
        self.flops().likely / self.dram_bytes().likely.max(1.0)
    }

    /// Average number of global loads of a warp in flight.
    pub fn loads_in_flight(&self) -> f64 {
        self.counts.warp_instructions[InstructionClass::LoadGlobal].likely / self.counts.memory_waits.likely.max(1.0)
    }

    /// Average number of groups of asynchronous copies in flight when a warp waits for one; 0 without copies.
    pub fn copies_in_flight(&self) -> f64 {
        self.counts.copy_groups.likely / self.counts.copy_waits.likely.max(1.0)
    }

    /// Latencies of global memory that each warp waits for in sequence, summed over the warps. Groups of copies in flight
    /// share a latency.
    pub fn memory_latencies(&self) -> f64 {
        self.counts.memory_waits.likely + self.counts.copy_waits.likely / self.copies_in_flight().max(1.0)
    }

    /// Bytes in flight from global memory to a multiprocessor when all its warps wait.
    pub fn bytes_in_flight(&self) -> f64 {
        let warps = f64::from(self.resident_blocks * self.threads.div_ceil(32));
        warps * self.counts.global_load_bytes.likely / self.memory_latencies().max(1.0)
    }

    /// Names and values for models. The names and their order never vary. A bounded count has its likely value.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let counts = &self.counts;
        let classes = InstructionClass::ALL.iter();
        let mut all: Vec<(&'static str, f64)> = classes
            .map(|&class| (class.name(), counts.warp_instructions[class].likely))
            .collect();
        all.extend(counts.events().map(|(name, count)| (name, count.likely)));
        all.extend([
            ("thread_instructions", counts.thread_instructions.total().likely),
            ("warp_instructions", counts.warp_instructions.total().likely),
            ("shared_transactions", counts.shared_transactions().likely),
            ("shared_bank_conflicts", counts.shared_bank_conflicts().likely),
            ("dram_read_bytes", self.dram_read_bytes.likely),
            ("wave_read_bytes", self.wave_read_bytes),
            ("dram_write_bytes", self.dram_write_bytes.likely),
            ("l2_bytes", self.l2_bytes().likely),
            ("arithmetic_intensity", self.arithmetic_intensity()),
            ("threads", self.threads.into()),
            ("blocks", self.blocks as f64),
            ("registers", self.registers.into()),
            ("shared_bytes", self.shared_bytes.into()),
            ("resident_blocks", self.resident_blocks.into()),
            ("occupancy", self.occupancy),
            ("waves", self.waves),
            ("tail", self.tail),
            ("active_multiprocessors", self.active_multiprocessors.into()),
            ("loads_in_flight", self.loads_in_flight()),
            ("copies_in_flight", self.copies_in_flight()),
            ("bytes_in_flight", self.bytes_in_flight()),
        ]);
        all
    }

    /// The names of [`Features::vector`].
    pub fn names(&self) -> Vec<&'static str> {
        self.named().into_iter().map(|(name, _)| name).collect()
    }

    /// The values of [`Features::named`].
    pub fn vector(&self) -> Vec<f64> {
        self.named().into_iter().map(|(_, value)| value).collect()
    }
}

/// Returns the features of a schedule at concrete sizes (in the order of [`Op::sizes`](crate::ir::Op::sizes)).
///
/// # Errors
/// The schedule is not legal, the specialisation does not accept the sizes, or the grid is too large.
pub fn of(problem: &Problem<'_>, schedule: &Schedule, sizes: &[u64]) -> Result<Features, Error> {
    let stage = lower::stage(problem, schedule)?;
    of_stage(problem, schedule, &stage, sizes)
}

/// Returns the features of a stage that was lowered from this schedule; see [`of`].
///
/// # Errors
/// The specialisation does not accept the sizes, or the grid is too large.
pub fn of_stage(problem: &Problem<'_>, schedule: &Schedule, stage: &Stage, sizes: &[u64]) -> Result<Features, Error> {
    let (checked, machine) = (problem.checked, problem.machine);
    if !problem.specialisation.accepts(sizes) {
        return Err(Error::Sizes(sizes.to_vec()));
    }
    let grid = stage.launch.grid(sizes)?;
    let blocks = grid.iter().map(|&blocks| u64::from(blocks)).product::<u64>();
    let arguments: Vec<KnownArgument> = (stage.launch.parameters.iter())
        .map(|parameter| match parameter.value {
            ParameterValue::Input(input) if checked.op().inputs[input.index()].dims.is_none() => KnownArgument::Unknown,
            ParameterValue::Size(size) => KnownArgument::Integer(sizes[size.index()] as i64),
            ParameterValue::Reciprocal { .. } => KnownArgument::Unknown,
            ParameterValue::Input(_)
            | ParameterValue::Output(_)
            | ParameterValue::IndexErrors
            | ParameterValue::Scratch(_) => KnownArgument::Pointer,
        })
        .collect();
    let runs = blocks > 0;
    let counts = if runs {
        count(&stage.entry, grid, &arguments)
    } else {
        Counts::default()
    };
    // Split-K partials are written and read in full sectors.
    let left = stage.scratch.iter().map(|content| content.bytes(blocks, sizes));
    let left = Count::exactly(left.map(|bytes| bytes.next_multiple_of(32)).sum());
    let compulsory = |count: Count| if runs { count.plus(left) } else { Count::default() };
    let threads = stage.launch.threads();
    let registers = registers(stage, threads);
    let shared_bytes = stage.launch.dynamic_shared;
    let resident_blocks = machine.resident_blocks(threads, registers, shared_bytes).max(1);
    let at_once = u64::from(machine.multiprocessors.max(1)) * u64::from(resident_blocks);
    let waves = blocks as f64 / at_once as f64;
    let reads = compulsory::reads(checked, sizes);
    let dram_read_bytes = compulsory(match families::leaves_out(problem, schedule) {
        true => Count { low: 0, ..reads },
        false => reads,
    });
    let sectors = counts.global_load_sectors.likely * 32.0;
    let by_waves = families::wave_bytes(problem, schedule, sizes, at_once).filter(|_| runs);
    let most = (dram_read_bytes.likely * waves.ceil()).min(sectors);
    Ok(Features {
        counts,
        dram_read_bytes,
        wave_read_bytes: by_waves
            .map_or(0.0, |bytes| bytes.min(most))
            .max(dram_read_bytes.likely),
        dram_write_bytes: compulsory(compulsory::writes(checked, sizes)),
        threads,
        blocks,
        registers,
        shared_bytes,
        resident_blocks,
        occupancy: f64::from(resident_blocks * threads.div_ceil(32)) / f64::from(machine.limits.resident_warps()),
        waves,
        tail: if runs { 1.0 - waves / waves.ceil() } else { 0.0 },
        active_multiprocessors: blocks.min(machine.multiprocessors.into()) as u32,
    })
}

/// Returns the compulsory bytes of device memory: every sector of the inputs that a call reads, and of its results, once.
pub(crate) fn compulsory_bytes(checked: &Checked, sizes: &[u64]) -> Count {
    compulsory::reads(checked, sizes).plus(compulsory::writes(checked, sizes))
}

/// The registers of a thread that ptxas needs beyond the values that are live at once: for addresses and moves.
pub const REGISTERS_BESIDE: u32 = 10;

/// Returns the estimated registers of a thread: the live values, within the limit that `.minnctapersm` implies.
fn registers(stage: &Stage, threads: u32) -> u32 {
    let blocks = stage.entry.minimum_blocks.unwrap_or(1).max(1);
    let warps = blocks * threads.div_ceil(32).max(1);
    let most = (65536 / (32 * warps) / 8 * 8).clamp(16, 255);
    (stage.entry.pressure() + REGISTERS_BESIDE).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Machine, Target};

    /// The table at the top of this file names every feature, once.
    #[test]
    fn every_feature_is_in_the_table() {
        let table = include_str!("mod.rs").lines().filter(|line| line.starts_with("//! | "));
        let first = table.filter_map(|line| line.split(" | ").nth(1));
        let mut told: Vec<&str> = first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        told.sort_unstable();
        let features = Features {
            counts: Counts::default(),
            dram_read_bytes: Count::default(),
            wave_read_bytes: 0.0,
            dram_write_bytes: Count::default(),
            threads: 32,
            blocks: 1,
            registers: 16,
            shared_bytes: 0,
            resident_blocks: Machine::like(Target::Sm80).resident_blocks(32, 16, 0),
            occupancy: 0.5,
            waves: 1.0,
            tail: 0.0,
            active_multiprocessors: 1,
        };
        let mut names = features.names();
        names.sort_unstable();
        assert_eq!(names, told);
    }
}
