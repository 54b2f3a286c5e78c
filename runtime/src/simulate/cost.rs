//! The latency and energy of a launch, simulated from counted events.

use super::profile::Profile;
use energy_kernel_compiler::datasheet::Datasheet;
use energy_kernel_compiler::estimate::Work;
use energy_kernel_compiler::features::REGISTERS_BESIDE;
use energy_kernel_emulator::Counts;

/// The execution configuration of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchConfig {
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads per block in x, y, z.
    pub block: [u32; 3],
    /// 32-bit values of a thread that are live at once.
    pub live_registers: u32,
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

/// Loads in flight per warp: an assumption, since counts do not tell when a loaded value is used.
const LOADS_IN_FLIGHT: f64 = 4.0;

impl Simulated {
    /// Simulates a launch with these counted events.
    pub fn of(profile: Profile, counts: &Counts, config: LaunchConfig) -> Simulated {
        let sheet = profile.datasheet();
        let work = work(&sheet, counts, config);
        // A grid without threads is launched all the same.
        let latency_s = work.seconds(&sheet).max(sheet.launch_s);
        Simulated {
            latency_s,
            energy_j: work.joules(&sheet, latency_s),
            counts: *counts,
        }
    }

    /// The costs of a launch that follows another one of its program: the gap between them takes the place of a launch.
    #[must_use]
    pub fn after_another(self, profile: Profile) -> Simulated {
        let sheet = profile.datasheet();
        let saved = sheet.launch_s - sheet.gap_s;
        Simulated {
            latency_s: self.latency_s - saved,
            energy_j: self.energy_j - sheet.constant_w * saved,
            ..self
        }
    }
}

/// The work of a launch with these counted events.
fn work(sheet: &Datasheet, counts: &Counts, config: LaunchConfig) -> Work {
    let threads = config.block.iter().product::<u32>().max(1);
    let blocks: f64 = config.grid.iter().map(|&blocks| f64::from(blocks)).product();
    let warps = f64::from(threads.div_ceil(32));
    let registers = config.live_registers + REGISTERS_BESIDE;
    let resident = sheet
        .limits()
        .resident_blocks(threads, registers, config.dynamic_shared);
    let sum = |counts: &[u64]| counts.iter().map(|&count| count as f64).sum::<f64>();
    let warp = &counts.warp_instructions;
    let float32 = sum(&[
        warp.float32_fma,
        warp.float32_add,
        warp.float32_multiply,
        warp.float32_other,
        warp.float16,
    ]);
    let float64 = sum(&[warp.float64]);
    let integer = sum(&[warp.integer, warp.integer_multiply, warp.predicate]);
    let special = sum(&[warp.special]);
    let conversion = sum(&[warp.conversion]);
    let memory = sum(&[
        warp.load_global,
        warp.store_global,
        warp.load_shared,
        warp.store_shared,
        warp.local,
        warp.copy,
        warp.atomic,
        warp.shuffle,
    ]);
    let all = sum(&[warp.total(), counts.warp_instructions_skipped]);
    let flops64 = 2.0 * counts.thread_instructions.float64 as f64;
    let loads = warp.load_global as f64 / (blocks * warps).max(1.0);
    Work {
        blocks,
        warps,
        resident_blocks: f64::from(resident.max(1)),
        float32,
        float64,
        integer,
        special,
        conversion,
        memory,
        other: all - (float32 + float64 + integer + special + conversion + memory + sum(&[warp.matrix])),
        matrix_flops: sum(&[counts.matrix_f16_flops]),
        shared_passes: sum(&[counts.shared_transactions]),
        shared_bytes: sum(&[counts.shared_load_bytes, counts.shared_store_bytes]),
        l1_clocks: Work::l1_clocks(sum(&[counts.global_load_sectors]), sum(&[counts.global_load_bytes])),
        l2_bytes: 32.0
            * sum(&[
                counts.l2_load_sectors,
                counts.global_store_sectors,
                counts.global_atomic_sectors,
            ]),
        dram_read_bytes: sum(&[counts.dram_read_bytes]),
        // Counts do not tell which blocks run at once.
        wave_read_bytes: sum(&[counts.dram_read_bytes]),
        dram_write_bytes: sum(&[counts.dram_write_bytes]),
        load_waits: (loads / LOADS_IN_FLIGHT).ceil() * blocks * warps,
        wait_distance: 0.0,
        copy_waits: sum(&[counts.copy_waits]),
        // As kernels of the compiler do: the next group starts before the one that has arrived is used.
        copy_stages: counts.copy_groups as f64 / counts.copy_waits.max(1) as f64 + 1.0,
        copied_bytes: sum(&[counts.global_to_shared_bytes]),
        barriers: sum(&[counts.barriers]),
        thread_instructions: sum(&[counts.thread_instructions.total()]),
        flops32: (counts.flops as f64 - flops64).max(0.0),
        flops64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use energy_kernel_emulator::ByClass;

    const CONFIG: LaunchConfig = LaunchConfig {
        grid: [1 << 14, 1, 1],
        block: [256, 1, 1],
        live_registers: 22,
        dynamic_shared: 0,
    };

    #[test]
    fn a_large_copy_runs_at_the_bandwidth_of_memory() {
        let bytes = 1u64 << 30;
        let requests = bytes / 512;
        let counts = Counts {
            warp_instructions: ByClass {
                load_global: requests,
                store_global: requests,
                ..ByClass::default()
            },
            global_load_requests: requests,
            global_store_requests: requests,
            global_load_bytes: bytes,
            global_load_sectors: bytes / 32,
            l2_load_sectors: bytes / 32,
            global_store_sectors: bytes / 32,
            dram_read_bytes: bytes,
            dram_write_bytes: bytes,
            ..Counts::default()
        };
        let copied = Simulated::of(Profile::Hopper, &counts, CONFIG);
        let bandwidth = 2.0 * bytes as f64 / copied.latency_s;
        let assumed = 0.9 * Profile::Hopper.datasheet().dram_bandwidth;
        assert!((0.95..=1.0).contains(&(bandwidth / assumed)), "{bandwidth:e}");
        // 2 GiB at 30 pJ, as much again at 9 pJ, and 170 W over the time.
        let expected = 2.0 * bytes as f64 * 39.0e-12 + 170.0 * copied.latency_s;
        assert!((copied.energy_j / expected - 1.0).abs() < 0.01, "{}", copied.energy_j);
    }

    #[test]
    fn registers_limit_the_blocks_at_once() {
        let sheet = Profile::Hopper.datasheet();
        let resident = |registers| {
            let config = LaunchConfig {
                live_registers: registers - REGISTERS_BESIDE,
                ..CONFIG
            };
            work(&sheet, &Counts::default(), config).resident_blocks
        };
        assert_eq!([32, 64, 128, 255].map(resident), [8.0, 4.0, 2.0, 1.0]);
    }

    #[test]
    fn an_empty_kernel_takes_the_launch() {
        let nothing = Simulated::of(Profile::Ampere, &Counts::default(), CONFIG);
        let sheet = Profile::Ampere.datasheet();
        assert_eq!(nothing.latency_s, sheet.launch_s);
        assert!((nothing.energy_j - sheet.constant_w * sheet.launch_s).abs() < 1e-12);
        let later = nothing.after_another(Profile::Ampere);
        assert!((later.latency_s - sheet.gap_s).abs() < 1e-15);
        assert!((later.energy_j - sheet.constant_w * sheet.gap_s).abs() < 1e-12);
    }
}
