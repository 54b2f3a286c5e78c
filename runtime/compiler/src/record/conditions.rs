//! The conditions of a measurement. They are compared and reported, but are not part of a key.

use super::encoding::{Invalid, Validate, ensure, ensure_text};
use bincode::{Decode, Encode};

/// The conditions while a candidate was measured.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Conditions {
    /// The driver's version; empty for an emulated device.
    pub driver: String,
    /// The profile that figures were simulated with; `None` for measured ones.
    pub simulated_profile: Option<String>,
    /// Mean clock of the multiprocessors, in MHz.
    pub sm_clock_mhz: Option<f64>,
    /// Clock of the memory, in MHz.
    pub memory_clock_mhz: Option<f64>,
    /// Temperature of the GPU at the end, in °C.
    pub temperature_celsius: Option<f64>,
    /// Mean power of the board in the energy window, in watts.
    pub power_watts: Option<f64>,
    /// The board's power limit, in watts.
    pub power_limit_watts: Option<f64>,
    /// The reasons for throttling that were seen: NVML's bit mask.
    pub throttle_reasons: u64,
    /// Length of the energy window, in seconds; 0 if energy was not measured.
    pub window_seconds: f64,
    /// Launches in the latency measurement.
    pub launches: u64,
    /// The input data.
    pub inputs: Inputs,
    /// The content of the caches before each launch.
    pub cache: CacheMode,
    /// Doubts about the figures.
    pub flags: Vec<Flag>,
}

/// The data that a kernel was measured on. It is never all zeros, because power depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Inputs {
    /// Normal random floats and uniform integers in their valid ranges, from this seed.
    Random {
        /// The generator's seed.
        seed: u64,
    },
}

/// The content of the GPU's caches when a measured kernel starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum CacheMode {
    /// None of its tensors: buffers rotate over at least three times the L2 cache size.
    Cold,
    /// All or some of its tensors: the buffers do not rotate, or are too small to fill the L2 cache three times.
    Warm,
}

/// A doubt about a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Flag {
    /// The GPU throttled for heat or by the hardware's protection.
    Throttled,
    /// The board ran at its power limit, so energy is proportional to latency.
    AtPowerLimit,
    /// The multiprocessors' clock changed by more than 2 %.
    ClockDrift,
    /// The temperature changed by more than 3 °C.
    TemperatureDrift,
    /// The energy counter and the power readings disagree by more than 2 %.
    PowerDisagrees,
    /// Another process used the GPU.
    ForeignProcess,
    /// The budget ended before the window reached its full length.
    ShortWindow,
    /// The board does not report throttling.
    ThrottlingUnknown,
    /// The board does not report the processes that use it.
    ProcessesUnknown,
    /// The board does not report if it is partitioned (MIG).
    PartitionsUnknown,
}

impl Flag {
    /// The text in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Flag::Throttled => "throttled",
            Flag::AtPowerLimit => "at the power limit, where energy follows latency",
            Flag::ClockDrift => "clock moved",
            Flag::TemperatureDrift => "temperature moved",
            Flag::PowerDisagrees => "counter and instant power disagree",
            Flag::ForeignProcess => "another process used the GPU",
            Flag::ShortWindow => "short window",
            Flag::ThrottlingUnknown => "throttling unknown",
            Flag::ProcessesUnknown => "other processes unknown",
            Flag::PartitionsUnknown => "partitioning (MIG) unknown",
        }
    }
}

impl Validate for Conditions {
    fn validate(&self) -> Result<(), Invalid> {
        ensure_text(&self.driver, "the driver's version")?;
        if let Some(profile) = &self.simulated_profile {
            ensure_text(profile, "the profile's name")?;
        }
        let positive = [
            self.sm_clock_mhz,
            self.memory_clock_mhz,
            self.power_watts,
            self.power_limit_watts,
        ];
        let plausible = |value: f64| value.is_finite() && value > 0.0;
        ensure(
            positive.into_iter().flatten().all(plausible),
            "a clock or power is not a positive number",
        )?;
        ensure(
            self.temperature_celsius.is_none_or(f64::is_finite),
            "a temperature is not a number",
        )?;
        ensure(
            self.window_seconds.is_finite() && self.window_seconds >= 0.0,
            "the energy window is not a length of time",
        )?;
        ensure(self.flags.len() <= 16, "too many flags")
    }
}
