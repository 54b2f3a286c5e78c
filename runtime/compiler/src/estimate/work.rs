//! The work of a launch, as the formulas of latency and energy see it.

use crate::features::{Features, InstructionClass};

/// The work of a launch. Numbers are sums over the launch unless they say otherwise; instructions are those of warps.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// Blocks.
    pub blocks: f64,
    /// Warps of a block.
    pub warps: f64,
    /// Blocks that fit a multiprocessor at once: at least 1.
    pub resident_blocks: f64,
    /// Instructions of single and half precision.
    pub float32: f64,
    /// Instructions of double precision.
    pub float64: f64,
    /// Instructions on integers, comparisons and selections.
    pub integer: f64,
    /// Instructions of the unit of approximate functions.
    pub special: f64,
    /// Conversions between types that this unit does not do.
    pub conversion: f64,
    /// Loads, stores, copies, atomic operations and shuffles.
    pub memory: f64,
    /// All other instructions but those of tensor cores, and instructions of warps whose threads are all predicated off.
    pub other: f64,
    /// Operations of tensor cores, as the number of `f16` operations that take equally long.
    pub matrix_flops: f64,
    /// Passes over the banks of shared memory.
    pub shared_passes: f64,
    /// Bytes to and from shared memory.
    pub shared_bytes: f64,
    /// Clocks of L1 for loads: [`Work::l1_clocks`].
    pub l1_clocks: f64,
    /// Bytes between L2 and the multiprocessors, in whole sectors.
    pub l2_bytes: f64,
    /// Bytes read from device memory, each sector once.
    pub dram_read_bytes: f64,
    /// Bytes read from device memory if each wave of blocks reads its sectors again, because L2 does not hold them until the next one.
    pub wave_read_bytes: f64,
    /// Bytes written to device memory.
    pub dram_write_bytes: f64,
    /// Waits of warps for loads.
    pub load_waits: f64,
    /// Instructions between loads and the waits for them.
    pub wait_distance: f64,
    /// Waits of warps for groups of asynchronous copies.
    pub copy_waits: f64,
    /// Groups of copies that a block has in flight or in use: 1 if it does nothing else while a group is on its way.
    pub copy_stages: f64,
    /// Bytes of asynchronous copies.
    pub copied_bytes: f64,
    /// Barriers, once for each warp.
    pub barriers: f64,
    /// Instructions of machine code of threads.
    pub thread_instructions: f64,
    /// Floating-point operations of single and half precision, outside of tensor cores.
    pub flops32: f64,
    /// Floating-point operations of double precision.
    pub flops64: f64,
}

impl Work {
    /// Returns the work of a launch with these features. Bounded counts have their likely value.
    pub fn of(features: &Features) -> Work {
        let counts = &features.counts;
        let of_threads = |class: InstructionClass| counts.thread_instructions[class].likely;
        let flops64 = 2.0 * of_threads(InstructionClass::Float64) + of_threads(InstructionClass::Division64);
        let mut work = Work {
            blocks: features.blocks as f64,
            warps: f64::from(features.threads.div_ceil(32).max(1)),
            resident_blocks: f64::from(features.resident_blocks.max(1)),
            matrix_flops: features.matrix_f16_flops().likely,
            shared_passes: counts.shared_transactions().likely,
            shared_bytes: features.shared_bytes_moved().likely,
            l1_clocks: Work::l1_clocks(counts.global_load_sectors.likely, counts.global_load_bytes.likely),
            l2_bytes: features.l2_bytes().likely,
            dram_read_bytes: features.dram_read_bytes.likely,
            wave_read_bytes: features.wave_read_bytes,
            dram_write_bytes: features.dram_write_bytes.likely,
            load_waits: counts.memory_waits.likely,
            wait_distance: counts.wait_distance.likely,
            copy_waits: counts.copy_waits.likely,
            // Kernels of this compiler start the next group before they use the one that has arrived.
            copy_stages: features.copies_in_flight() + 1.0,
            copied_bytes: counts.global_to_shared_bytes.likely,
            barriers: counts.barriers.likely,
            thread_instructions: counts.thread_instructions.machine_instructions(),
            flops32: (counts.flops.likely - flops64).max(0.0),
            flops64,
            other: counts.warp_instructions_skipped.likely,
            ..Work::default()
        };
        for &class in InstructionClass::ALL {
            work.issue(class, counts.warp_instructions[class].likely);
        }
        work
    }

    /// Adds instructions of warps, of one class, to those of the units that execute them. [`Work::matrix_flops`] counts those of tensor cores.
    pub fn issue(&mut self, class: InstructionClass, instructions: f64) {
        // A division's machine code begins with a guess of the unit of approximate functions, and compares exponents.
        let [special, integer] = match class {
            InstructionClass::Division => [2.0, 2.0],
            InstructionClass::Division64 => [1.0, 4.0],
            InstructionClass::IntegerDivision | InstructionClass::IntegerDivision64 => [3.0, 0.0],
            _ => [0.0, 0.0],
        };
        self.special += special * instructions;
        self.integer += integer * instructions;
        let instructions = (f64::from(class.machine_instructions()) - special - integer) * instructions;
        let of_unit = match class {
            InstructionClass::Float32Fma
            | InstructionClass::Float32Add
            | InstructionClass::Float32Multiply
            | InstructionClass::Float32Other
            | InstructionClass::Float16
            | InstructionClass::Division => &mut self.float32,
            InstructionClass::Float64 | InstructionClass::Division64 => &mut self.float64,
            InstructionClass::Integer
            | InstructionClass::IntegerMultiply
            | InstructionClass::IntegerDivision
            | InstructionClass::IntegerDivision64
            | InstructionClass::Predicate => &mut self.integer,
            InstructionClass::Special => &mut self.special,
            InstructionClass::Conversion => &mut self.conversion,
            InstructionClass::LoadGlobal
            | InstructionClass::StoreGlobal
            | InstructionClass::LoadShared
            | InstructionClass::StoreShared
            | InstructionClass::Copy
            | InstructionClass::Atomic
            | InstructionClass::Shuffle => &mut self.memory,
            InstructionClass::Matrix | InstructionClass::Name => return,
            InstructionClass::Move
            | InstructionClass::Constant
            | InstructionClass::Barrier
            | InstructionClass::Control => &mut self.other,
        };
        *of_unit += instructions;
    }

    /// Returns the clocks of L1 for loads of that many bytes, which touch so many sectors: L1 reads a line of 128 bytes a clock, so four sectors
    /// that are used whole, but one of those that lie apart.
    pub fn l1_clocks(sectors: f64, bytes: f64) -> f64 {
        let whole = (bytes / 32.0).min(sectors);
        sectors - whole + whole / 4.0
    }

    /// Instructions of warps outside of tensor cores.
    pub fn instructions(&self) -> f64 {
        self.float32 + self.float64 + self.integer + self.special + self.conversion + self.memory + self.other
    }
}
