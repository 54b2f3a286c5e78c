//! Latency and energy of a launch, from its work and a GPU's published figures.
//!
//! ```text
//! latency = launch + ‖ Σ waves ‖ units of one multiprocessor with the wave's blocks, ‖ , L2, device memory of the whole chip ‖
//!                              ‖ critical path of one block                           ‖
//! energy  = constant power × latency + Σ price × count
//! ```
//!
//! `‖ … ‖` is a smooth maximum ([`smooth_maximum`]): units that are busy at once slow each other down. All waves but the last are full;
//! the last one's blocks are spread over the multiprocessors. Every block does an equal part of the work.
//!
//! No parallelism hides the critical path of a block: its instructions, which take turns with those of the other warps of a scheduler; its
//! products; its waits for loads, less the instructions between a load and its use; its barriers. Asynchronous copies run beside it if a
//! block has room for more than one group, else after it.
//!
//! The constants were fitted to 340 kernels of one board, measured by others (`tests/bench`, `reality`). The formulas ignore the
//! power limit and instructions that ptxas merges.

use super::work::Work;
use crate::datasheet::Datasheet;

/// The part of the data sheet's bandwidth of device memory that copies reach.
pub(super) const DRAM_REACHED: f64 = 0.9;
/// Bytes between a multiprocessor and L2 per clock, if it is alone (tuning guides of Ampere and Hopper).
const L2_PORT: f64 = 64.0;
/// Results per clock and multiprocessor of the unit of approximate functions.
const SPECIALS: f64 = 16.0;
/// Conversions per clock and multiprocessor.
const CONVERSIONS: f64 = 64.0;
/// Lanes per clock and multiprocessor of loads, stores and shuffles.
const MEMORY_LANES: f64 = 32.0;
/// Schedulers of a multiprocessor. Each issues one instruction per clock.
const SCHEDULERS: f64 = 4.0;
/// Clocks of a scheduler for an instruction outside of single precision, whose unit has fewer lanes than a warp.
const TURN: f64 = 1.5;
/// Clocks between the instructions of a lone warp: 4 if they depend on each other, less as some do not.
const DEPENDENT: f64 = 3.0;
/// Clocks of a barrier.
const BARRIER: f64 = 30.0;
/// Clocks until the first bytes of a copy arrive, mostly from L2.
const COPY_LATENCY: f64 = 300.0;
/// Bytes of one group of copies that arrive per clock.
const COPY_RATE: f64 = 32.0;
/// The exponent of the smooth maximum.
const SMOOTHNESS: f64 = 6.0;

/// A unit of the GPU that limits a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// The schedulers, without instructions of tensor cores.
    Issue,
    /// Arithmetic of single precision.
    Float32,
    /// Arithmetic of double precision.
    Float64,
    /// Arithmetic of integers.
    Integer,
    /// Approximate functions.
    Special,
    /// Conversions.
    Conversion,
    /// Instructions that load, store or shuffle.
    LoadStore,
    /// Tensor cores, by `mma.sync`.
    Matrix,
    /// The banks of shared memory.
    Shared,
    /// L1, which loads look into.
    L1,
    /// L2.
    L2,
    /// Device memory.
    Dram,
}

impl Unit {
    /// The name: `issue`, `tensor cores`, `device memory`, …
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Issue => "issue",
            Unit::Float32 => "single precision",
            Unit::Float64 => "double precision",
            Unit::Integer => "integers",
            Unit::Special => "approximate functions",
            Unit::Conversion => "conversions",
            Unit::LoadStore => "load and store instructions",
            Unit::Matrix => "tensor cores",
            Unit::Shared => "shared memory",
            Unit::L1 => "L1",
            Unit::L2 => "L2",
            Unit::Dram => "device memory",
        }
    }
}

impl Work {
    /// Returns the estimated latency of the launch in seconds; 0 without blocks.
    pub fn seconds(&self, sheet: &Datasheet) -> f64 {
        if self.blocks < 1.0 {
            return 0.0;
        }
        let multiprocessors = f64::from(sheet.multiprocessors);
        let at_once = multiprocessors * self.resident_blocks;
        let full = (self.blocks / at_once).floor();
        let last = ((self.blocks - full * at_once) / multiprocessors).ceil();
        let mut clocks = 0.0;
        if full > 0.0 {
            clocks += full * self.clocks(self.resident_blocks, sheet);
        }
        if last > 0.0 {
            clocks += self.clocks(last, sheet);
        }
        let l2 = self.l2_bytes / sheet.l2_bandwidth();
        sheet.launch_s + smooth_maximum(&[clocks / sheet.clock_hz, l2, self.dram_s(sheet)])
    }

    /// Returns the estimated energy of the launch in joules, if it takes so many seconds.
    pub fn joules(&self, sheet: &Datasheet, seconds: f64) -> f64 {
        let dynamic = [
            (self.dram_bytes(sheet), sheet.dram_j),
            (self.l2_bytes, sheet.l2_j),
            (self.shared_bytes, sheet.shared_j),
            (self.matrix_flops, sheet.matrix_j),
            (self.thread_instructions, sheet.instruction_j),
            (self.flops32, sheet.float_j),
            (self.flops64, 4.0 * sheet.float_j),
        ];
        sheet.constant_w * seconds + dynamic.into_iter().map(|(count, price)| count * price).sum::<f64>()
    }

    /// Returns each unit with the seconds for which it is busy if the work is spread evenly.
    pub fn busy(&self, sheet: &Datasheet) -> Vec<(Unit, f64)> {
        let seconds = |clocks: f64| clocks / (f64::from(sheet.multiprocessors) * sheet.clock_hz);
        let own = self.unit_clocks(sheet).map(|(unit, clocks)| (unit, seconds(clocks)));
        let issue = self.instructions() / SCHEDULERS;
        let chip = [
            (Unit::Issue, seconds(issue)),
            (Unit::L2, self.l2_bytes / sheet.l2_bandwidth()),
            (Unit::Dram, self.dram_s(sheet)),
        ];
        own.into_iter().chain(chip).collect()
    }

    /// Bytes of device memory that are moved: those of each wave if L2 is too small for all that is read.
    pub fn dram_bytes(&self, sheet: &Datasheet) -> f64 {
        let read = match self.dram_read_bytes > sheet.l2_bytes as f64 {
            true => self.wave_read_bytes.max(self.dram_read_bytes),
            false => self.dram_read_bytes,
        };
        read + self.dram_write_bytes
    }

    fn dram_s(&self, sheet: &Datasheet) -> f64 {
        self.dram_bytes(sheet) / (DRAM_REACHED * sheet.dram_bandwidth)
    }

    /// The clocks of each unit of one multiprocessor for all of the work.
    fn unit_clocks(&self, sheet: &Datasheet) -> [(Unit, f64); 9] {
        let lanes = |instructions: f64, rate: f64| instructions * 32.0 / rate;
        [
            (Unit::Float32, lanes(self.float32, sheet.float32_rate)),
            (Unit::Float64, lanes(self.float64, sheet.float64_rate)),
            (Unit::Integer, lanes(self.integer, sheet.integer_rate)),
            (Unit::Special, lanes(self.special, SPECIALS)),
            (Unit::Conversion, lanes(self.conversion, CONVERSIONS)),
            (Unit::LoadStore, lanes(self.memory, MEMORY_LANES)),
            (Unit::Matrix, self.matrix_flops / (sheet.matrix_rate * sheet.mma_share)),
            (Unit::Shared, self.shared_passes),
            (Unit::L1, self.l1_clocks),
        ]
    }

    /// The clocks of a multiprocessor that has so many blocks at once.
    fn clocks(&self, blocks: f64, sheet: &Datasheet) -> f64 {
        let part = blocks / self.blocks;
        let units = self.unit_clocks(sheet).map(|(_, clocks)| clocks * part);
        let port = self.l2_bytes / L2_PORT * part;
        let mut all = [0.0; 11];
        all[..9].copy_from_slice(&units);
        all[9] = port;
        all[10] = self.critical_path(blocks, sheet);
        smooth_maximum(&all)
    }

    /// The clocks of one block among so many on its multiprocessor.
    fn critical_path(&self, blocks: f64, sheet: &Datasheet) -> f64 {
        let warps = self.blocks * self.warps;
        // The warps that share a scheduler take turns.
        let sharing = (blocks * self.warps / SCHEDULERS).ceil();
        let single = DEPENDENT.max(sharing);
        let other = DEPENDENT.max(TURN * sharing);
        let instructions = (self.float32 * single + (self.instructions() - self.float32) * other) / warps;
        // A warp uses the tensor core of its scheduler alone.
        let rate = sheet.matrix_rate * sheet.mma_share / SCHEDULERS;
        let products = self.matrix_flops / warps / rate * (self.warps / SCHEDULERS).ceil();
        let hidden = self.wait_distance / warps * single;
        let loads = (self.load_waits / warps * sheet.memory_latency - hidden).max(0.0);
        let path = instructions + products + loads;
        let copies = self.copies();
        let together = match self.copy_stages > 1.0 {
            true => path.max(copies / (self.copy_stages - 1.0)),
            false => path + copies,
        };
        together + self.barriers / warps * BARRIER
    }

    /// The clocks of a block's copies, if one group follows the other.
    fn copies(&self) -> f64 {
        let groups = self.copy_waits / (self.blocks * self.warps);
        groups * COPY_LATENCY + self.copied_bytes / self.blocks / COPY_RATE
    }
}

/// Returns a smooth maximum of numbers that are not negative: a little more than the largest where others come near it.
fn smooth_maximum(numbers: &[f64]) -> f64 {
    let largest = numbers.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return 0.0;
    }
    let sum: f64 = numbers.iter().map(|number| (number / largest).powf(SMOOTHNESS)).sum();
    largest * sum.powf(1.0 / SMOOTHNESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy of that many bytes by that many blocks of eight warps, four loads of 16 bytes a thread.
    fn copy(bytes: f64, blocks: f64) -> Work {
        let requests = bytes / 512.0;
        Work {
            blocks,
            warps: 8.0,
            resident_blocks: 8.0,
            memory: 2.0 * requests,
            l2_bytes: 2.0 * bytes,
            dram_read_bytes: bytes,
            wave_read_bytes: bytes,
            dram_write_bytes: bytes,
            load_waits: requests / 4.0,
            thread_instructions: 64.0 * requests,
            ..Work::default()
        }
    }

    #[test]
    fn a_large_copy_runs_at_the_bandwidth_of_memory() {
        let work = copy(f64::from(1 << 30), f64::from(1 << 14));
        for sheet in Datasheet::ALL {
            let seconds = work.seconds(&sheet);
            let reached = work.dram_bytes(&sheet) / seconds / (DRAM_REACHED * sheet.dram_bandwidth);
            assert!((0.9..=1.0).contains(&reached), "{}: {reached}", sheet.name);
            let busiest = work.busy(&sheet).into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
            assert_eq!(busiest.map(|(unit, _)| unit), Some(Unit::Dram));
        }
        let seconds = work.seconds(&Datasheet::H100);
        let bytes = 2.0 * f64::from(1 << 30);
        let expected = bytes * 39.0e-12 + 170.0 * seconds + work.thread_instructions * 3.0e-12;
        assert!((work.joules(&Datasheet::H100, seconds) / expected - 1.0).abs() < 1e-9);
    }

    #[test]
    fn few_blocks_are_slower_and_cost_more_of_constant_power() {
        let sheet = Datasheet::H100;
        let bytes = f64::from(1 << 26);
        let [few, many] = [copy(bytes, 8.0), copy(bytes, 1024.0)];
        let [few_s, many_s] = [few.seconds(&sheet), many.seconds(&sheet)];
        assert!(few_s > 2.0 * many_s);
        assert!(few.joules(&sheet, few_s) > many.joules(&sheet, many_s));
    }

    #[test]
    fn without_blocks_there_is_no_latency() {
        assert_eq!(Work::default().seconds(&Datasheet::A100), 0.0);
    }

    #[test]
    fn what_l2_does_not_hold_is_read_again_by_each_wave() {
        let sheet = Datasheet::RTX_4000_ADA;
        let work = Work {
            dram_read_bytes: 40e6,
            wave_read_bytes: 400e6,
            dram_write_bytes: 1e6,
            ..Work::default()
        };
        assert_eq!(work.dram_bytes(&sheet), 41e6);
        let larger = Work {
            dram_read_bytes: 100e6,
            ..work
        };
        assert_eq!(larger.dram_bytes(&sheet), 401e6);
    }

    #[test]
    fn one_group_of_copies_runs_after_the_products_and_several_beside_them() {
        let sheet = Datasheet::A100;
        let with = |copy_stages| Work {
            blocks: 108.0,
            warps: 4.0,
            resident_blocks: 1.0,
            integer: 108.0 * 4.0 * 10_000.0,
            copy_waits: 108.0 * 4.0 * 64.0,
            copied_bytes: 108.0 * 64.0 * 8192.0,
            copy_stages,
            ..Work::default()
        };
        let [one, two, three] = [1.0, 2.0, 3.0].map(|groups| with(groups).seconds(&sheet));
        assert!(one > two && two >= three, "{one} {two} {three}");
        // 10,000 instructions of 3 clocks; 64 copies of 300 + 256 clocks.
        let clocks = (one - sheet.launch_s) * sheet.clock_hz;
        assert!((clocks / 65_584.0 - 1.0).abs() < 0.01, "{clocks}");
    }
}
