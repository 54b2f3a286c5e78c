//! Seconds and joules of device work, **simulated** from the emulator's counts and a profile's figures.
//!
//! The model is a roofline with prices. It shares nothing with the product's estimates, so it cannot confirm their mistakes. Its figures
//! are no measurements.

use crate::profile::Profile;
use energy_kernel_emulator::Counts;

/// Seconds on the device, and joules above idle.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    pub seconds: f64,
    pub joules: f64,
}

impl Cost {
    pub fn and(self, other: Cost) -> Cost {
        Cost {
            seconds: self.seconds + other.seconds,
            joules: self.joules + other.joules,
        }
    }
}

/// Seconds of an empty kernel, and of the start of a graph.
pub const LAUNCH: f64 = 2e-6;
/// Bytes a second between host and device.
const BUS: f64 = 25e9;
/// Clocks of a dependent instruction.
const DEPENDENT: f64 = 4.0;
/// Joules a byte of device memory, of L2 and of shared memory (AccelWattch, GV100), a matrix operation and a thread's instruction
/// (assumptions of the same magnitude).
const DRAM: f64 = 30e-12;
const L2: f64 = 9e-12;
const SHARED: f64 = 1.4e-12;
const MATRIX: f64 = 0.13e-12;
const INSTRUCTION: f64 = 3e-12;

/// Returns the cost of a launch of `blocks` blocks of `threads` threads.
pub fn launch(profile: &Profile, counts: &Counts, blocks: u64, threads: u32, shared: u32) -> Cost {
    let clock = f64::from(profile.clock_mhz) * 1e6;
    let resident = (profile.threads / threads.max(1))
        .min(profile.shared / shared.max(1024))
        .clamp(1, profile.blocks);
    let at_once = u64::from(profile.multiprocessors * resident);
    // The share of the busiest multiprocessor.
    let part = blocks.div_ceil(profile.multiprocessors.into()) as f64 / blocks.max(1) as f64;
    let issued = counts.warp_instructions.total() as f64;
    let warps = (blocks * u64::from(threads.div_ceil(32))).max(1) as f64;
    let clocks = [
        issued / 4.0 * part,
        counts.shared_transactions as f64 * part,
        counts.matrix_flops as f64 / profile.matrix_rate * part,
        // The dependent instructions of one warp, once a wave.
        issued / warps * DEPENDENT * blocks.div_ceil(at_once) as f64,
    ];
    let dram = (counts.dram_read_bytes + counts.dram_write_bytes) as f64;
    let longest = clocks.into_iter().fold(0.0, f64::max) / clock;
    let sectors = counts.global_load_sectors + counts.global_store_sectors + counts.global_atomic_sectors;
    Cost {
        seconds: LAUNCH + longest.max(dram / profile.bandwidth),
        joules: dram * DRAM
            + 32.0 * sectors as f64 * L2
            + (counts.shared_load_bytes + counts.shared_store_bytes) as f64 * SHARED
            + counts.matrix_flops as f64 * MATRIX
            + counts.thread_instructions.total() as f64 * INSTRUCTION,
    }
}

/// Returns the cost of a copy between host and device.
pub fn over_the_bus(bytes: usize) -> Cost {
    Cost {
        seconds: bytes as f64 / BUS,
        joules: bytes as f64 * DRAM,
    }
}

/// Returns the cost of a copy or fill on the device that touches `bytes` bytes.
pub fn on_the_device(profile: &Profile, bytes: usize) -> Cost {
    Cost {
        seconds: bytes as f64 / profile.bandwidth,
        joules: bytes as f64 * DRAM,
    }
}
