//! The latency and energy of a launch, simulated from counted events.

use super::profile::{MachineModel, Profile};
use energy_kernel_emulator::Counts;

/// The execution configuration of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchConfig {
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads per block in x, y, z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory per block.
    pub dynamic_shared: u32,
}

/// Simulated latency and energy of one launch, or of several in sequence.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Simulated {
    /// Seconds. Simulated.
    pub latency_s: f64,
    /// Joules. Simulated.
    pub energy_j: f64,
    /// The counted events, which are exact.
    pub counts: Counts,
}

/// The assumed registers per thread. Only the driver's compiler knows the real number.
const REGISTERS: u32 = 64;
/// Latency of an arithmetic instruction, in clocks.
const DEPENDENT: f64 = 4.0;
/// Latency of a barrier, in clocks.
const BARRIER: f64 = 30.0;
/// Loads in flight per warp.
const LOADS_IN_FLIGHT: f64 = 4.0;
/// Bytes per clock between a multiprocessor and L2.
const L2_PORT: f64 = 64.0;

impl Simulated {
    /// Simulates a launch with these counted events.
    pub fn of(profile: Profile, counts: &Counts, config: LaunchConfig) -> Simulated {
        let model = profile.model();
        Simulated {
            latency_s: model.launch_s + model.busy_s(counts, config),
            energy_j: 0.0,
            counts: *counts,
        }
        .with_energy(&model)
    }

    fn with_energy(mut self, model: &MachineModel) -> Simulated {
        let counts = &self.counts;
        let double = 2 * counts.thread_instructions.float64;
        let single = counts.flops.saturating_sub(double);
        let dynamic = [
            (counts.dram_read_bytes + counts.dram_write_bytes, model.dram_j),
            (l2_bytes(counts), model.l2_j),
            (counts.shared_load_bytes + counts.shared_store_bytes, model.shared_j),
            (counts.matrix_flops, model.matrix_j),
            (counts.thread_instructions.total(), model.instruction_j),
            (single, model.float_j),
            (double, 4.0 * model.float_j),
        ];
        self.energy_j =
            model.constant_w * self.latency_s + dynamic.iter().map(|&(count, price)| count as f64 * price).sum::<f64>();
        self
    }
}

/// Bytes between L2 and the multiprocessors, in whole sectors.
fn l2_bytes(counts: &Counts) -> u64 {
    32 * (counts.global_load_sectors + counts.global_store_sectors + counts.global_atomic_sectors)
}

impl MachineModel {
    /// The number of blocks resident on a multiprocessor.
    pub fn resident_blocks(&self, config: LaunchConfig) -> u32 {
        let threads = config.block.iter().product::<u32>().max(1).next_multiple_of(32);
        let by_shared = self.shared_bytes / (config.dynamic_shared + 1024);
        (2048 / threads)
            .min(65536 / (REGISTERS * threads))
            .min(by_shared)
            .clamp(1, 32)
    }

    /// The duration of the longest concurrent activity, in seconds.
    fn busy_s(&self, counts: &Counts, config: LaunchConfig) -> f64 {
        let blocks = config.grid.iter().map(|&n| u64::from(n)).product::<u64>().max(1);
        let multiprocessors = u64::from(self.multiprocessors);
        let active = blocks.min(multiprocessors) as f64;
        let resident = u64::from(self.resident_blocks(config));
        // The busiest multiprocessor's part of all work determines the tail.
        let part = blocks.div_ceil(multiprocessors) as f64 / blocks as f64;
        let waves = blocks.div_ceil(multiprocessors * resident) as f64;
        let warps = (counts.threads as f64 / 32.0).max(1.0);

        let warp = &counts.warp_instructions;
        let rate = |instructions: u64, lanes: f64| instructions as f64 * 32.0 / lanes;
        let float32 = warp.float32_fma + warp.float32_add + warp.float32_multiply + warp.float32_other;
        let memory = warp.load_global + warp.store_global + warp.local + warp.atomic + warp.copy;
        let on_one = [
            rate(warp.total() + counts.warp_instructions_skipped, 128.0),
            rate(float32 + warp.float16, self.float32_rate),
            rate(warp.float64, self.float64_rate),
            rate(warp.integer + warp.integer_multiply + warp.predicate, 64.0),
            rate(warp.special, 16.0),
            rate(warp.conversion, 64.0),
            rate(memory, 32.0),
            counts.shared_transactions as f64,
            counts.matrix_flops as f64 / self.matrix_rate,
            l2_bytes(counts) as f64 / L2_PORT,
        ];
        let busiest = on_one.into_iter().fold(0.0, f64::max) * part / self.clock_hz;

        let alone = warp.total() as f64 / warps * DEPENDENT
            + counts.barriers as f64 / warps * BARRIER
            + (counts.global_load_requests as f64 / warps / LOADS_IN_FLIGHT).ceil() * self.memory_latency;
        let latency = alone * waves / self.clock_hz;

        let l2 = l2_bytes(counts) as f64 / self.l2_bandwidth;
        let dram = (counts.dram_read_bytes + counts.dram_write_bytes) as f64;
        // One multiprocessor alone cannot keep the memory busy.
        let reach = (active / (0.5 * self.multiprocessors as f64)).min(1.0);
        let dram = dram / (self.dram_bandwidth * reach);
        busiest.max(latency).max(l2).max(dram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use energy_kernel_emulator::ByClass;

    fn config(blocks: u32) -> LaunchConfig {
        LaunchConfig {
            grid: [blocks, 1, 1],
            block: [256, 1, 1],
            dynamic_shared: 0,
        }
    }

    /// A copy of that many bytes by that many blocks.
    fn copy(bytes: u64, blocks: u32) -> Simulated {
        let threads = u64::from(blocks) * 256;
        let requests = bytes / 512;
        let counts = Counts {
            warp_instructions: ByClass {
                load_global: requests,
                store_global: requests,
                ..ByClass::default()
            },
            global_load_requests: requests,
            global_store_requests: requests,
            global_load_sectors: bytes / 32,
            global_store_sectors: bytes / 32,
            dram_read_bytes: bytes,
            dram_write_bytes: bytes,
            threads,
            blocks: u64::from(blocks),
            ..Counts::default()
        };
        Simulated::of(Profile::Hopper, &counts, config(blocks))
    }

    #[test]
    fn a_large_copy_runs_at_the_bandwidth_of_memory() {
        let bytes = 1u64 << 30;
        let copied = copy(bytes, 1 << 14);
        let bandwidth = 2.0 * bytes as f64 / copied.latency_s;
        let assumed = Profile::Hopper.model().dram_bandwidth;
        assert!((0.95..=1.0).contains(&(bandwidth / assumed)), "{bandwidth:e}");
        // 2 GiB at 30 pJ, as much again at 9 pJ, and 170 W over the time.
        let expected = 2.0 * bytes as f64 * 39.0e-12 + 170.0 * copied.latency_s;
        assert!((copied.energy_j / expected - 1.0).abs() < 0.01, "{}", copied.energy_j);
    }

    #[test]
    fn few_blocks_are_slower_and_cost_more_of_constant_power() {
        let (few, many) = (copy(1 << 26, 8), copy(1 << 26, 1 << 10));
        assert!(few.latency_s > 2.0 * many.latency_s);
        assert!(few.energy_j > many.energy_j);
    }

    #[test]
    fn an_empty_kernel_takes_the_launch() {
        let nothing = Simulated::of(Profile::Ampere, &Counts::default(), config(1));
        assert_eq!(nothing.latency_s, Profile::Ampere.model().launch_s);
        assert!((nothing.energy_j - 92.0 * 2.5e-6).abs() < 1e-12);
    }
}
