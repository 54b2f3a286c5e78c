//! The GPUs that an emulated device can represent.

/// The GPU that an emulated device represents.
///
/// ```
/// use energy_kernel::simulate::Profile;
///
/// assert_eq!(Profile::from_name("ampere"), Some(Profile::Ampere));
/// assert_eq!(Profile::Hopper.name(), "hopper");
/// assert_eq!(Profile::Hopper.model().multiprocessors, 132);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Profile {
    /// Like an H100 SXM.
    #[default]
    Hopper,
    /// Like an A100 SXM.
    Ampere,
}

/// The machine model of a profile.
///
/// Rates come from the vendor's data sheets and programming guide. Prices are published ones where a source is named, else assumptions of
/// the same magnitude.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MachineModel {
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Bytes of device memory.
    pub memory_bytes: u64,
    /// SM clock in Hz.
    pub clock_hz: f64,
    /// Single-precision results per clock and multiprocessor (the table of arithmetic throughput in CUDA's programming guide).
    /// Half-precision instructions are assumed to be as fast.
    pub float32_rate: f64,
    /// Double-precision results per clock and multiprocessor.
    pub float64_rate: f64,
    /// Floating-point operations of tensor cores per clock and multiprocessor, dense f16.
    pub matrix_rate: f64,
    /// Bytes of shared memory per multiprocessor.
    pub shared_bytes: u32,
    /// Bytes per second between L2 and the multiprocessors.
    pub l2_bandwidth: f64,
    /// Bytes per second of device memory: 90 % of the data sheet's.
    pub dram_bandwidth: f64,
    /// Latency of a load from device memory, in clocks.
    pub memory_latency: f64,
    /// Duration of an empty kernel, in seconds.
    pub launch_s: f64,
    /// Power at no load, in watts.
    pub constant_w: f64,
    /// Joules per byte of device memory. HBM2 31.5 pJ (AccelWattch, GV100); about 30 on later stacks.
    pub dram_j: f64,
    /// Joules per byte between L2 and a multiprocessor. 9 pJ (AccelWattch).
    pub l2_j: f64,
    /// Joules per byte of shared memory. 1.4 pJ (AccelWattch).
    pub shared_j: f64,
    /// Joules per floating-point operation of tensor cores. 0.13 pJ (differential measurement on an RTX 3090).
    pub matrix_j: f64,
    /// Joules per thread instruction: fetch, decode and operands. A tenth of 30 pJ at 45 nm (Dally, Hot Chips 2023), an assumption.
    pub instruction_j: f64,
    /// Additional joules per single-precision operation, an assumption. Double precision costs four times as much.
    pub float_j: f64,
}

impl Profile {
    /// The name of the profile: `hopper` or `ampere`.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Hopper => "hopper",
            Profile::Ampere => "ampere",
        }
    }

    /// Returns the profile with this name.
    pub fn from_name(name: &str) -> Option<Profile> {
        [Profile::Hopper, Profile::Ampere]
            .into_iter()
            .find(|profile| profile.name() == name)
    }

    /// The machine model of the profile.
    pub const fn model(self) -> MachineModel {
        match self {
            Profile::Hopper => MachineModel {
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
                // One public reading of an idle board with raised clocks.
                constant_w: 170.0,
                dram_j: 30.0e-12,
                l2_j: 9.0e-12,
                shared_j: 1.4e-12,
                matrix_j: 0.13e-12,
                instruction_j: 3.0e-12,
                float_j: 0.5e-12,
            },
            Profile::Ampere => MachineModel {
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
