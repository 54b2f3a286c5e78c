//! Features: what a kernel does at given sizes, counted from its instructions without running it.
//!
//! ```text
//!   Stage ──── walk ──▶ Counts ─┐
//!     │   (sets of warps that   ├──▶ Features ──▶ estimate, cost model
//!     │    do the same)         │
//!   Checked ── compulsory ──────┘
//! ```
//!
//! `walk` follows one warp through the tree of instructions. Integers that addresses, conditions and loops depend on are
//! evaluated for all its lanes, as functions of the warp, the block and the turns of the open loops (`form`); nothing is
//! loaded, and no floating-point number is computed. Wherever the way goes on or what is counted would be another for other
//! warps, these are left out, and walked for themselves: interior blocks, edges, a last turn. So a launch of any size
//! takes as many walks as it has kinds of warps, and each number is exact. What depends on data
//! is bounded; so is what is left where the kinds are too many.
//!
//! Addresses need not be the same: over the warps that are alike, their remainders by the size of a sector are counted.
//!
//! To add an instruction, say its kind in `class`; if indices are computed with it, what it computes in `arithmetic`. An
//! action of its own (`ptx::Action`) has its kind in `program` and its accesses in `walk`.
//!
//! # What there is
//!
//! Numbers are of one launch unless a row says otherwise. *Walk*: counted from the instructions, as the emulator counts them: exact
//! ([`Count::is_exact`]), but for what depends on data (gathered addresses, conditions on elements), on which stage of a
//! ring a slab lies in (whether the register goes back to the first one), and on warps of more kinds than the walk has effort for. These
//! are bounded: `low ≤ number ≤ high`, and `likely`, which models are given, lies between. *Launch*: exact. *Operator*:
//! exact where each tensor is certainly read whole or not at all, else bounded. *Estimate*: neither.
//!
//! | feature | unit | source |
//! |---|---|---|
//! | `float32_fma`, `float32_add`, `float32_multiply`, `float32_other`, `float64`, `float16`, `integer`, `integer_multiply`, `special`, `conversion`, `predicate`, `moves`, `load_global`, `store_global`, `load_shared`, `store_shared`, `constant`, `shuffle`, `atomic`, `barrier`, `control`, `matrix`, `copy` | instructions of warps, by [`InstructionClass`] | walk |
//! | `warp_instructions`, `thread_instructions` | instructions of warps, of threads | walk |
//! | `warp_instructions_skipped` | instructions of warps whose threads are all predicated off | walk |
//! | `flops`, `matrix_flops` | operations | walk |
//! | `global_load_bytes`, `global_store_bytes`, `global_to_shared_bytes` | bytes that threads ask for | walk |
//! | `global_atomic_bytes` | bytes that atomic operations touch | walk |
//! | `global_load_sectors`, `global_store_sectors`, `global_atomic_sectors` | sectors of 32 bytes, each access of a warp for itself | walk |
//! | `l2_bytes` | bytes: those sectors | walk |
//! | `shared_load_bytes`, `shared_store_bytes` | bytes | walk |
//! | `shared_load_transactions`, `shared_store_transactions`, `matrix_load_transactions`, `copy_transactions`, `shared_transactions` | passes over the banks; the sum | walk |
//! | `shared_load_bank_conflicts`, `shared_store_bank_conflicts`, `matrix_load_bank_conflicts`, `copy_bank_conflicts`, `shared_bank_conflicts` | passes beyond the least; the sum | walk |
//! | `divergent_branches` | branches of warps | walk |
//! | `barriers` | barriers of blocks, for each warp | walk |
//! | `memory_waits` | latencies that warps wait for loads, by the order of the text; the emulator has no such number | walk |
//! | `wait_distance` | instructions between a load and the wait for it, at most 128 each, by the order of the text | walk |
//! | `copy_waits`, `copy_groups` | waits of warps for groups of copies; groups that may be on their way then | walk |
//! | `dram_read_bytes`, `dram_write_bytes` | bytes: whole sectors of what is read and written, once; what blocks leave for each other among them | operator, launch |
//! | `arithmetic_intensity` | operations a byte of device memory | walk, operator |
//! | `threads`, `blocks`, `shared_bytes` | threads of a block, blocks, bytes of shared memory of a block | launch |
//! | `registers` | 32-bit registers of a thread | estimate: values that are live at once |
//! | `resident_blocks`, `occupancy` | blocks of a multiprocessor; of its places for warps, 0 to 1 | launch, estimate of registers |
//! | `waves`, `tail`, `active_multiprocessors` | blocks ÷ places; empty places of all waves, 0 to 1; multiprocessors with a block | launch, estimate of registers |
//! | `loads_in_flight`, `copies_in_flight` | loads of a warp under way when it waits, groups of copies | walk |
//! | `bytes_in_flight` | bytes under way to a multiprocessor | walk, estimate of registers |

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
mod symbols;
mod walk;

pub use class::InstructionClass;
pub use count::{ByClass, Count, Counts};
pub use walk::{KnownArgument, count};

use crate::kernel::ParameterValue;
use crate::lower::{self, Stage};
use crate::problem::Problem;
use crate::schedule::Schedule;
use crate::size::SizeExprError;

/// Why a schedule has no features.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has no kernel.
    #[error(transparent)]
    Lower(#[from] lower::Error),
    /// The kernel is not one for these sizes.
    #[error("the specialisation does not accept the sizes {0:?}; make it for these, or count at sizes that it accepts")]
    Sizes(Vec<u64>),
    /// The grid has no value at these sizes.
    #[error("the grid at these sizes: {0}")]
    Grid(SizeExprError),
}

impl From<SizeExprError> for Error {
    fn from(error: SizeExprError) -> Error {
        Error::Grid(error)
    }
}

/// What a kernel does at given sizes, and how it fills a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Instructions and traffic of the launch. Of the kernel's instructions; the assembler may merge or unroll some.
    pub counts: Counts,
    /// Reads of device memory, in bytes, if each sector is read once: those of the inputs, which are compulsory, and of what blocks leave for
    /// each other, as if L2 kept nothing of it. From the operator and the launch.
    pub dram_read_bytes: Count,
    /// Writes of device memory, in bytes: whole sectors of the outputs, which are compulsory, and of what blocks leave for each other. From
    /// the operator and the launch.
    pub dram_write_bytes: Count,
    /// Threads of a block. From the launch.
    pub threads: u32,
    /// Blocks. From the launch.
    pub blocks: u64,
    /// Registers of a thread: an estimate from the values that are live at once, within what the assembler is told.
    pub registers: u32,
    /// Bytes of shared memory of a block. From the launch.
    pub shared_bytes: u32,
    /// Blocks that a multiprocessor holds at once, at least 1. From threads, registers and shared memory.
    pub resident_blocks: u32,
    /// Warps that a multiprocessor holds, of the most that it can: 0 to 1.
    pub occupancy: f64,
    /// Blocks ÷ those that the machine holds at once.
    pub waves: f64,
    /// The part of the places for blocks that stays empty in all waves together, 0 to 1: what the last wave leaves.
    pub tail: f64,
    /// Multiprocessors that have a block.
    pub active_multiprocessors: u32,
}

impl Features {
    /// Compulsory traffic of device memory, in bytes.
    pub fn dram_bytes(&self) -> Count {
        self.dram_read_bytes.plus(self.dram_write_bytes)
    }

    /// Bytes between L2 and the multiprocessors: whole sectors of all accesses, as if nothing were found in L1.
    pub fn l2_bytes(&self) -> Count {
        let counts = &self.counts;
        let sectors = counts.global_load_sectors.plus(counts.global_store_sectors);
        sectors.plus(counts.global_atomic_sectors).times(Count::exactly(32))
    }

    /// Bytes to and from shared memory.
    pub fn shared_bytes_moved(&self) -> Count {
        self.counts.shared_load_bytes.plus(self.counts.shared_store_bytes)
    }

    /// Arithmetic operations, those of matrix instructions among them, and not those of integers elsewhere.
    pub fn flops(&self) -> Count {
        self.counts.flops.plus(self.counts.matrix_flops)
    }

    /// Floating-point operations a byte of device memory.
    pub fn arithmetic_intensity(&self) -> f64 {
        self.flops().likely / self.dram_bytes().likely.max(1.0)
    }

    /// Loads from global memory that a warp has under way at once, on average.
    pub fn loads_in_flight(&self) -> f64 {
        self.counts.warp_instructions[InstructionClass::LoadGlobal].likely / self.counts.memory_waits.likely.max(1.0)
    }

    /// Groups of asynchronous copies that a warp has under way when it waits for one, on average; 0 if it copies none.
    pub fn copies_in_flight(&self) -> f64 {
        self.counts.copy_groups.likely / self.counts.copy_waits.likely.max(1.0)
    }

    /// Latencies of global memory that the warps wait for one after the other, summed over the warps: while one group of copies is
    /// waited for, those behind it come nearer.
    pub fn memory_latencies(&self) -> f64 {
        self.counts.memory_waits.likely + self.counts.copy_waits.likely / self.copies_in_flight().max(1.0)
    }

    /// Bytes that all warps of a multiprocessor have under way from global memory when each waits.
    pub fn bytes_in_flight(&self) -> f64 {
        let warps = f64::from(self.resident_blocks * self.threads.div_ceil(32));
        warps * self.counts.global_load_bytes.likely / self.memory_latencies().max(1.0)
    }

    /// Names and values for models, always the same names in the same order. Numbers that are bounded have their likely value.
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

/// The features of a schedule at concrete sizes (in the order of [`Op::sizes`](crate::ir::Op::sizes)) on a machine.
///
/// # Errors
/// The schedule is not legal, the specialisation belongs to another operator or to other sizes, or the grid is too large.
pub fn of(problem: &Problem<'_>, schedule: &Schedule, sizes: &[u64]) -> Result<Features, Error> {
    let stage = lower::stage(problem, schedule)?;
    of_stage(problem, &stage, sizes)
}

/// The features of a lowered stage; see [`of`].
///
/// # Errors
/// The stage is not lowered for these sizes, or the grid is too large.
pub fn of_stage(problem: &Problem<'_>, stage: &Stage, sizes: &[u64]) -> Result<Features, Error> {
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
    let left = stage.scratch.iter().map(|content| content.bytes(blocks));
    let left = Count::exactly(left.map(|bytes| bytes.next_multiple_of(32)).sum());
    let compulsory = |count: Count| if runs { count.plus(left) } else { Count::default() };
    let threads = stage.launch.threads();
    let registers = registers(stage, threads);
    let shared_bytes = stage.launch.dynamic_shared;
    let resident_blocks = machine.resident_blocks(threads, registers, shared_bytes).max(1);
    let places = f64::from(machine.multiprocessors.max(1)) * f64::from(resident_blocks);
    let waves = blocks as f64 / places;
    Ok(Features {
        counts,
        dram_read_bytes: compulsory(compulsory::reads(checked, sizes)),
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

/// Registers that the assembler takes beyond what is live at once: addresses that it keeps, values that it moves.
const REGISTERS_BESIDE: u32 = 10;

/// Registers of a thread: what is live, but no more than the blocks that the assembler is asked to make room for leave.
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
