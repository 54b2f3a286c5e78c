//! Published figures of GPUs: the one table that roofline, estimate and simulation read.
//!
//! Clocks, multiprocessors, memory, bandwidth and the rate of tensor cores are the vendor's data sheets'. Rates of other units are the
//! table of arithmetic throughput in the CUDA programming guide. What no data sheet states is measured by others where a source is named,
//! and an assumption elsewhere.

use crate::target::{Limits, Machine, Target};

/// The published figures of a GPU.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Datasheet {
    /// The name, as it stands in the driver's name of the device: `H100`, `RTX 4090`.
    pub name: &'static str,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of device memory.
    pub memory_bytes: u64,
    /// Bytes of L2.
    pub l2_bytes: u64,
    /// Boost clock in Hz.
    pub clock_hz: f64,
    /// Single-precision results per clock and multiprocessor. `f16` arithmetic outside of tensor cores counts as equally fast.
    pub float32_rate: f64,
    /// Double-precision results per clock and multiprocessor.
    pub float64_rate: f64,
    /// Integer additions, comparisons and bit operations per clock and multiprocessor.
    pub integer_rate: f64,
    /// Operations of tensor cores per clock and multiprocessor, dense `f16` with sums in `f32`.
    pub matrix_rate: f64,
    /// The part of [`matrix_rate`](Datasheet::matrix_rate) that `mma.sync` reaches. 1 before Hopper; 0.63 on Hopper, where only `wgmma`
    /// reaches all of it (published measurements).
    pub mma_share: f64,
    /// Bytes between L2 and a multiprocessor per clock, if all multiprocessors load.
    pub l2_rate: f64,
    /// Bytes of device memory per second.
    pub dram_bandwidth: f64,
    /// Clocks until a load from device memory arrives. From published microbenchmarks.
    pub memory_latency: f64,
    /// Seconds of an empty kernel: an assumption.
    pub launch_s: f64,
    /// Seconds between the end of a launch and the start of the next one in its stream: an assumption.
    pub gap_s: f64,
    /// Watts that do not depend on the work, at [`clock_hz`](Datasheet::clock_hz).
    pub constant_w: f64,
    /// Joules per byte of device memory.
    pub dram_j: f64,
    /// Joules per byte between L2 and a multiprocessor.
    pub l2_j: f64,
    /// Joules per byte of shared memory.
    pub shared_j: f64,
    /// Joules per operation of tensor cores. 0.13 pJ: a differential measurement on an RTX 3090.
    pub matrix_j: f64,
    /// Joules per instruction of a thread: fetch, decode and operands.
    pub instruction_j: f64,
    /// Further joules per single-precision operation: an assumption. Double precision costs four times as much.
    pub float_j: f64,
}

const GB: f64 = 1e9;
const TB: f64 = 1e12;
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const PJ: f64 = 1e-12;

/// The figures that all these GPUs share.
const COMMON: Datasheet = Datasheet {
    name: "",
    capability: (8, 0),
    multiprocessors: 1,
    memory_bytes: GIB,
    l2_bytes: MIB,
    clock_hz: GB,
    float32_rate: 128.0,
    float64_rate: 2.0,
    integer_rate: 64.0,
    matrix_rate: 1024.0,
    mma_share: 1.0,
    l2_rate: 17.2,
    dram_bandwidth: GB,
    memory_latency: 500.0,
    launch_s: 2.5e-6,
    gap_s: 1.0e-6,
    constant_w: 50.0,
    dram_j: 54.0 * PJ,
    l2_j: 9.0 * PJ,
    shared_j: 1.4 * PJ,
    matrix_j: 0.13 * PJ,
    // A tenth of 30 pJ at 45 nm (Dally, Hot Chips 2023).
    instruction_j: 3.0 * PJ,
    float_j: 0.5 * PJ,
};

/// GPUs with stacked memory. Prices of HBM2 and L2: AccelWattch, GV100.
const DATA_CENTRE: Datasheet = Datasheet {
    float64_rate: 64.0,
    memory_latency: 600.0,
    launch_s: 2.0e-6,
    dram_j: 30.0 * PJ,
    ..COMMON
};

/// Ada. L2's rate and the prices are fitted to the 340 kernels that `tests/bench` has of an RTX 4000 Ada with GDDR6.
const ADA: Datasheet = Datasheet {
    capability: (8, 9),
    memory_latency: 550.0,
    l2_rate: 17.2,
    l2_j: 13.5 * PJ,
    shared_j: 6.5 * PJ,
    instruction_j: 3.8 * PJ,
    ..COMMON
};

impl Datasheet {
    /// A100 SXM, 80 GB: 312 TFLOP/s `f16`, 2039 GB/s.
    pub const A100: Datasheet = Datasheet {
        name: "A100",
        multiprocessors: 108,
        memory_bytes: 80 * GIB,
        l2_bytes: 40 * MIB,
        clock_hz: 1.41 * GB,
        float32_rate: 64.0,
        float64_rate: 32.0,
        matrix_rate: 2048.0,
        // 4 TB/s by published microbenchmarks.
        l2_rate: 26.3,
        dram_bandwidth: 2.039 * TB,
        memory_latency: 500.0,
        launch_s: 2.5e-6,
        // 32 W constant (AccelWattch, GV100) and 60 W static, an assumption.
        constant_w: 92.0,
        dram_j: 31.5 * PJ,
        ..DATA_CENTRE
    };
    /// GeForce RTX 3090: 71 TFLOP/s `f16` with sums in `f32`, 936 GB/s.
    pub const RTX_3090: Datasheet = Datasheet {
        name: "RTX 3090",
        capability: (8, 6),
        multiprocessors: 82,
        memory_bytes: 24 * GIB,
        l2_bytes: 6 * MIB,
        clock_hz: 1.695 * GB,
        matrix_rate: 512.0,
        // 2.5 TB/s by published microbenchmarks.
        l2_rate: 18.0,
        dram_bandwidth: 936.0 * GB,
        constant_w: 90.0,
        ..COMMON
    };
    /// RTX A6000: 155 TFLOP/s `f16`, 768 GB/s.
    pub const RTX_A6000: Datasheet = Datasheet {
        name: "RTX A6000",
        multiprocessors: 84,
        memory_bytes: 48 * GIB,
        clock_hz: 1.8 * GB,
        matrix_rate: 1024.0,
        dram_bandwidth: 768.0 * GB,
        constant_w: 75.0,
        ..Datasheet::RTX_3090
    };
    /// GeForce RTX 4090: 165 TFLOP/s `f16` with sums in `f32`, 1008 GB/s.
    pub const RTX_4090: Datasheet = Datasheet {
        name: "RTX 4090",
        multiprocessors: 128,
        memory_bytes: 24 * GIB,
        l2_bytes: 72 * MIB,
        clock_hz: 2.52 * GB,
        matrix_rate: 512.0,
        dram_bandwidth: 1008.0 * GB,
        constant_w: 100.0,
        ..ADA
    };
    /// RTX 4000 Ada: 360 GB/s. Its tensor cores were measured at 923 of 1024 operations.
    pub const RTX_4000_ADA: Datasheet = Datasheet {
        name: "RTX 4000 Ada",
        multiprocessors: 48,
        memory_bytes: 20 * GIB,
        l2_bytes: 48 * MIB,
        clock_hz: 2.175 * GB,
        dram_bandwidth: 360.0 * GB,
        constant_w: 50.0,
        ..ADA
    };
    /// L4: 121 TFLOP/s `f16`, 300 GB/s.
    pub const L4: Datasheet = Datasheet {
        name: "L4",
        multiprocessors: 58,
        memory_bytes: 24 * GIB,
        l2_bytes: 48 * MIB,
        clock_hz: 2.04 * GB,
        dram_bandwidth: 300.0 * GB,
        constant_w: 30.0,
        ..ADA
    };
    /// L40S: 362 TFLOP/s `f16`, 864 GB/s.
    pub const L40S: Datasheet = Datasheet {
        name: "L40S",
        multiprocessors: 142,
        memory_bytes: 48 * GIB,
        l2_bytes: 96 * MIB,
        clock_hz: 2.52 * GB,
        dram_bandwidth: 864.0 * GB,
        constant_w: 100.0,
        ..ADA
    };
    /// H100 SXM: 989 TFLOP/s `f16`, 3350 GB/s.
    pub const H100: Datasheet = Datasheet {
        name: "H100",
        capability: (9, 0),
        multiprocessors: 132,
        memory_bytes: 80 * GIB,
        l2_bytes: 50 * MIB,
        // The clock of the data sheet's 989 TFLOP/s.
        clock_hz: 1.83 * GB,
        matrix_rate: 4096.0,
        mma_share: 0.63,
        // A public product with tiles of 128 × 256 moves 12.9 GB in 1.41 ms.
        l2_rate: 39.0,
        dram_bandwidth: 3.35 * TB,
        // One public reading of an idle board with raised clocks.
        constant_w: 170.0,
        ..DATA_CENTRE
    };
    /// H200 SXM: 989 TFLOP/s `f16`, 4800 GB/s.
    pub const H200: Datasheet = Datasheet {
        name: "H200",
        memory_bytes: 141 * GIB,
        dram_bandwidth: 4.8 * TB,
        ..Datasheet::H100
    };
    /// RTX PRO 6000 Blackwell: 500 TFLOP/s `f16`, 1792 GB/s.
    pub const RTX_PRO_6000: Datasheet = Datasheet {
        name: "RTX PRO 6000",
        capability: (12, 0),
        multiprocessors: 188,
        memory_bytes: 96 * GIB,
        l2_bytes: 128 * MIB,
        clock_hz: 2.617 * GB,
        dram_bandwidth: 1.792 * TB,
        constant_w: 120.0,
        ..ADA
    };
    /// B200: 2250 TFLOP/s `f16`, 8 TB/s. The share of `mma.sync` and the rate of L2 are assumptions: as many operations and bytes as on
    /// Hopper.
    pub const B200: Datasheet = Datasheet {
        name: "B200",
        capability: (10, 0),
        multiprocessors: 148,
        memory_bytes: 180 * GIB,
        l2_bytes: 126 * MIB,
        clock_hz: 1.85 * GB,
        matrix_rate: 8192.0,
        mma_share: 0.315,
        dram_bandwidth: 8.0 * TB,
        constant_w: 200.0,
        ..Datasheet::H100
    };

    /// Every GPU of the table.
    pub const ALL: [Datasheet; 11] = [
        Datasheet::A100,
        Datasheet::RTX_3090,
        Datasheet::RTX_A6000,
        Datasheet::RTX_4090,
        Datasheet::RTX_4000_ADA,
        Datasheet::L4,
        Datasheet::L40S,
        Datasheet::H100,
        Datasheet::H200,
        Datasheet::RTX_PRO_6000,
        Datasheet::B200,
    ];

    /// Returns the row whose name is part of a driver's name of a device.
    ///
    /// ```
    /// use energy_kernel_compiler::datasheet::Datasheet;
    /// assert_eq!(Datasheet::named("NVIDIA H200"), Some(Datasheet::H200));
    /// assert_eq!(Datasheet::named("NVIDIA L40S").unwrap().multiprocessors, 142);
    /// assert_eq!(Datasheet::named("Tesla V100"), None);
    /// ```
    pub fn named(device: &str) -> Option<Datasheet> {
        let rows = Datasheet::ALL.into_iter().filter(|row| device.contains(row.name));
        // "L40S" contains "L4".
        rows.max_by_key(|row| row.name.len())
    }

    /// Returns the figures of a GPU with the machine's target and limits: those of the row with the nearest number of multiprocessors,
    /// whose bandwidth is scaled to the machine's.
    pub fn like(machine: Machine) -> Datasheet {
        let portable = |(major, minor)| Target::for_capability(major, minor);
        let number = machine.target.number();
        let target = portable((number / 10, number % 10));
        let key = |row: &Datasheet| {
            (
                portable(row.capability) != target,
                row.limits() != machine.limits,
                row.multiprocessors.abs_diff(machine.multiprocessors),
            )
        };
        let known = Datasheet::ALL.into_iter().min_by_key(key).unwrap_or(Datasheet::H100);
        let multiprocessors = machine.multiprocessors.max(1);
        let part = f64::from(multiprocessors) / f64::from(known.multiprocessors);
        Datasheet {
            multiprocessors,
            dram_bandwidth: known.dram_bandwidth * part,
            ..known
        }
    }

    /// The documented limits of the compute capability.
    pub const fn limits(&self) -> Limits {
        Limits::documented(self.capability.0, self.capability.1)
    }

    /// Bytes per second between L2 and all multiprocessors.
    pub fn l2_bandwidth(&self) -> f64 {
        self.l2_rate * f64::from(self.multiprocessors) * self.clock_hz
    }

    /// Operations per second of all tensor cores with `mma.sync`, `f16` with sums in `f32`.
    pub fn mma_flops(&self) -> f64 {
        self.matrix_rate * self.mma_share * f64::from(self.multiprocessors) * self.clock_hz
    }

    /// Returns the figures at another clock. Constant power grows with its power of 1.5, and the prices of what the multiprocessors do
    /// with the clock itself, as fitted to the RTX 4000 Ada from 1485 to 1815 MHz.
    #[must_use]
    pub fn at_clock(self, clock_hz: f64) -> Datasheet {
        let ratio = clock_hz / self.clock_hz;
        Datasheet {
            clock_hz,
            constant_w: self.constant_w * ratio.powf(1.5),
            l2_j: self.l2_j * ratio,
            shared_j: self.shared_j * ratio,
            instruction_j: self.instruction_j * ratio,
            float_j: self.float_j * ratio,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row is what a machine like it is given, apart from GPUs that differ in their memory alone.
    #[test]
    fn machines_find_their_own_row() {
        for row in Datasheet::ALL {
            let machine = Machine::documented(row.capability, row.multiprocessors).unwrap();
            let found = Datasheet::like(machine);
            let expected = if row.name == "H200" { Datasheet::H100 } else { row };
            assert_eq!(found, expected, "{}", row.name);
            assert_eq!(Datasheet::named(&format!("NVIDIA {} 80GB", row.name)), Some(row));
        }
    }

    #[test]
    fn peaks_are_those_of_data_sheets() {
        for (row, teraflops) in [
            (Datasheet::A100, 312.0),
            (Datasheet::RTX_3090, 71.0),
            (Datasheet::RTX_A6000, 154.8),
            (Datasheet::RTX_4090, 165.2),
            (Datasheet::L4, 121.0),
            (Datasheet::L40S, 362.0),
            (Datasheet::H100, 989.0),
            (Datasheet::RTX_PRO_6000, 500.0),
            (Datasheet::B200, 2250.0),
        ] {
            let peak = row.mma_flops() / row.mma_share / 1e12;
            assert!((peak / teraflops - 1.0).abs() < 0.02, "{}: {peak}", row.name);
        }
    }
}
