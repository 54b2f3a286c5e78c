//! The interface of a board to measurements.

use crate::error::Result;
use energy_kernel_compiler::record::Flag;

/// A board: its energy counter, its state and its clock.
///
/// Measurements work on any board: a real one ([`Nvml`](super::Nvml)), or one in simulated time
/// ([`SimulatedBoard`](super::SimulatedBoard)).
pub trait Board {
    /// Seconds on a monotonic clock.
    fn now(&self) -> f64;

    /// Waits this many seconds.
    fn rest(&self, seconds: f64);

    /// Reads the energy counter, in millijoules since an arbitrary start.
    ///
    /// # Errors
    /// [`Error::Energy`](crate::Error::Energy) if this reading fails.
    fn millijoules(&self) -> Result<u64>;

    /// The power at this moment, in watts. `None` if unknown.
    fn instant_watts(&self) -> Option<f64>;

    /// The state at this moment.
    ///
    /// # Errors
    /// [`Error::Energy`](crate::Error::Energy) if the board is gone.
    fn state(&self) -> Result<BoardState>;
}

/// The state of a board. `None` stands for unknown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BoardState {
    /// SM clock in MHz.
    pub sm_clock_mhz: Option<u32>,
    /// Memory clock in MHz.
    pub memory_clock_mhz: Option<u32>,
    /// GPU temperature in °C.
    pub temperature_celsius: Option<u32>,
    /// The enforced power limit in watts.
    pub power_limit_watts: Option<f64>,
    /// The reasons for lower clocks, as NVML's bit mask.
    pub throttle_reasons: Option<u64>,
    /// The number of other processes that compute on the board.
    pub foreign_processes: Option<usize>,
    /// `true` if the board is partitioned (MIG).
    pub partitioned: Option<bool>,
}

impl BoardState {
    /// The flags for unknown parts of the state.
    pub fn unknown(&self) -> impl Iterator<Item = Flag> + use<> {
        let parts = [
            (self.throttle_reasons.is_none(), Flag::ThrottlingUnknown),
            (self.foreign_processes.is_none(), Flag::ProcessesUnknown),
            (self.partitioned.is_none(), Flag::PartitionsUnknown),
        ];
        parts.into_iter().filter_map(|(unknown, flag)| unknown.then_some(flag))
    }
}
