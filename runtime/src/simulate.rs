//! Latency and energy of emulated launches: **simulated**, from counted events, published prices and a simple model.
//!
//! ```text
//! latency = launch + max( issue · arithmetic · shared memory      on the busiest multiprocessor,
//!                         L2 bytes, DRAM bytes                    over the whole chip,
//!                         dependent work of one warp × waves      what no parallelism hides )
//! energy  = constant power × latency + Σ price × count
//! ```
//!
//! The numbers rank kernels in tests and examples on machines without a GPU. They are no measurement of anything: wherever
//! they are shown or stored they are labelled simulated, under the emulated device's own name.

pub use energy_kernel_emulator::{ByClass, Class, Counts};

/// The GPU that an emulated device stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// Like an H100 SXM.
    #[default]
    Hopper,
    /// Like an A100 SXM.
    Ampere,
}

/// What a profile assumes. Rates are those of the vendor's data sheets and programming guide (results a clock and
/// multiprocessor); prices are published ones where a source is named, else assumptions of the same magnitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Bytes of device memory.
    pub memory_bytes: u64,
    /// Clock in Hz.
    pub clock_hz: f64,
    /// Results of single-precision instructions a clock and multiprocessor (the table of arithmetic throughput in CUDA's programming
    /// guide); those of halves are taken to be as fast.
    pub float32_rate: f64,
    /// Double-precision results a clock and multiprocessor.
    pub float64_rate: f64,
    /// Matrix floating-point operations a clock and multiprocessor, dense f16.
    pub matrix_rate: f64,
    /// Bytes of shared memory of a multiprocessor.
    pub shared_bytes: u32,
    /// Bytes a second between L2 and the multiprocessors.
    pub l2_bandwidth: f64,
    /// Bytes a second of device memory: 90 % of the data sheet's.
    pub dram_bandwidth: f64,
    /// Clocks until a load from device memory arrives.
    pub memory_latency: f64,
    /// Seconds of the smallest kernel.
    pub launch_s: f64,
    /// Watts that are drawn however little is done.
    pub constant_w: f64,
    /// Joules a byte of device memory. HBM2 31.5 pJ (AccelWattch, GV100); about 30 on later stacks.
    pub dram_j: f64,
    /// Joules a byte between L2 and a multiprocessor. 9 pJ (AccelWattch).
    pub l2_j: f64,
    /// Joules a byte of shared memory. 1.4 pJ (AccelWattch).
    pub shared_j: f64,
    /// Joules a matrix floating-point operation. 0.13 pJ (differential measurement on an RTX 3090).
    pub matrix_j: f64,
    /// Joules a thread instruction: fetch, decode and operands. 30 pJ at 45 nm (Dally, Hot Chips 2023), scaled by a tenth: an assumption.
    pub instruction_j: f64,
    /// Joules a floating-point operation of single precision on top: an assumption; double precision costs four times it.
    pub float_j: f64,
}

impl Profile {
    /// Its name: `hopper`, `ampere`.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Hopper => "hopper",
            Profile::Ampere => "ampere",
        }
    }

    /// The profile of that name.
    pub fn from_name(name: &str) -> Option<Profile> {
        [Profile::Hopper, Profile::Ampere]
            .into_iter()
            .find(|profile| profile.name() == name)
    }

    /// What it assumes.
    pub const fn machine(self) -> Machine {
        match self {
            Profile::Hopper => Machine {
                multiprocessors: 132,
                capability: (9, 0),
                memory_bytes: 80 << 30,
                clock_hz: 1.755e9,
                float32_rate: 128.0,
                float64_rate: 64.0,
                matrix_rate: 4096.0,
                shared_bytes: 228 << 10,
                l2_bandwidth: 5.5e12,
                dram_bandwidth: 0.9 * 3.35e12,
                memory_latency: 600.0,
                launch_s: 2.0e-6,
                // Clocks up, nothing to do: one public reading.
                constant_w: 170.0,
                dram_j: 30.0e-12,
                l2_j: 9.0e-12,
                shared_j: 1.4e-12,
                matrix_j: 0.13e-12,
                instruction_j: 3.0e-12,
                float_j: 0.5e-12,
            },
            Profile::Ampere => Machine {
                multiprocessors: 108,
                capability: (8, 0),
                memory_bytes: 80 << 30,
                clock_hz: 1.41e9,
                float32_rate: 64.0,
                float64_rate: 32.0,
                matrix_rate: 2048.0,
                shared_bytes: 164 << 10,
                l2_bandwidth: 4.0e12,
                dram_bandwidth: 0.9 * 2.039e12,
                memory_latency: 500.0,
                launch_s: 2.5e-6,
                // 32 W constant (AccelWattch, GV100) and 60 W static, an assumption.
                constant_w: 92.0,
                dram_j: 31.5e-12,
                l2_j: 9.0e-12,
                shared_j: 1.4e-12,
                matrix_j: 0.13e-12,
                instruction_j: 3.0e-12,
                float_j: 0.5e-12,
            },
        }
    }
}

/// How a kernel was launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory of a block.
    pub dynamic_shared: u32,
}

/// Simulated latency and energy of one launch, or of several in sequence.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Simulated {
    /// Seconds. Simulated.
    pub latency_s: f64,
    /// Joules. Simulated.
    pub energy_j: f64,
    /// What was counted; exact.
    pub counts: Counts,
}

/// Registers a thread that occupancy is computed with; the real number is known to the driver's compiler alone.
const REGISTERS: u32 = 64;
/// Clocks between an instruction and one that needs its result.
const DEPENDENT: f64 = 4.0;
/// Clocks of a barrier.
const BARRIER: f64 = 30.0;
/// Loads that a warp has in flight at once.
const LOADS_IN_FLIGHT: f64 = 4.0;
/// Bytes a clock between a multiprocessor and L2.
const L2_PORT: f64 = 64.0;

impl Simulated {
    /// Simulates a launch from what it did.
    pub fn of(profile: Profile, counts: &Counts, shape: Shape) -> Simulated {
        let machine = profile.machine();
        Simulated {
            latency_s: machine.launch_s + machine.busy_s(counts, shape),
            energy_j: 0.0,
            counts: *counts,
        }
        .with_energy(&machine)
    }

    fn with_energy(mut self, machine: &Machine) -> Simulated {
        let counts = &self.counts;
        let double = 2 * counts.thread_instructions.float64;
        let single = counts.flops.saturating_sub(double);
        let dynamic = [
            (counts.dram_read_bytes + counts.dram_write_bytes, machine.dram_j),
            (l2_bytes(counts), machine.l2_j),
            (counts.shared_load_bytes + counts.shared_store_bytes, machine.shared_j),
            (counts.matrix_flops, machine.matrix_j),
            (counts.thread_instructions.total(), machine.instruction_j),
            (single, machine.float_j),
            (double, 4.0 * machine.float_j),
        ];
        self.energy_j = machine.constant_w * self.latency_s
            + dynamic.iter().map(|&(count, price)| count as f64 * price).sum::<f64>();
        self
    }
}

/// Bytes between L2 and the multiprocessors: whole sectors.
fn l2_bytes(counts: &Counts) -> u64 {
    32 * (counts.global_load_sectors + counts.global_store_sectors + counts.global_atomic_sectors)
}

impl Machine {
    /// Blocks that a multiprocessor holds at once.
    pub fn resident_blocks(&self, shape: Shape) -> u32 {
        let threads = shape.block.iter().product::<u32>().max(1).next_multiple_of(32);
        let by_shared = self.shared_bytes / (shape.dynamic_shared + 1024);
        (2048 / threads)
            .min(65536 / (REGISTERS * threads))
            .min(by_shared)
            .clamp(1, 32)
    }

    /// Seconds that the longest of the concurrent activities takes.
    fn busy_s(&self, counts: &Counts, shape: Shape) -> f64 {
        let blocks = shape.grid.iter().map(|&n| u64::from(n)).product::<u64>().max(1);
        let multiprocessors = u64::from(self.multiprocessors);
        let active = blocks.min(multiprocessors) as f64;
        let resident = u64::from(self.resident_blocks(shape));
        // The busiest multiprocessor's part of all work: where the tail is.
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

    fn shape(blocks: u32) -> Shape {
        Shape {
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
        Simulated::of(Profile::Hopper, &counts, shape(blocks))
    }

    #[test]
    fn a_large_copy_runs_at_the_bandwidth_of_memory() {
        let bytes = 1u64 << 30;
        let copied = copy(bytes, 1 << 14);
        let bandwidth = 2.0 * bytes as f64 / copied.latency_s;
        let assumed = Profile::Hopper.machine().dram_bandwidth;
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
        let nothing = Simulated::of(Profile::Ampere, &Counts::default(), shape(1));
        assert_eq!(nothing.latency_s, Profile::Ampere.machine().launch_s);
        assert!((nothing.energy_j - 92.0 * 2.5e-6).abs() < 1e-12);
    }
}
