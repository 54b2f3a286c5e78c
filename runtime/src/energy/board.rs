//! A board, as far as measuring needs it.

use crate::error::Result;
use energy_kernel_compiler::record::Flag;

/// The counter of a board, what else it tells of itself, and the time. Everything that measures works on any board: a real one
/// ([`Nvml`](super::Nvml)), or one in simulated time ([`Simulated`](super::Simulated)).
pub trait Board {
    /// Seconds since some moment, on a clock that never goes back.
    fn now(&self) -> f64;

    /// Lets so many seconds pass.
    fn rest(&self, seconds: f64);

    /// The energy counter: millijoules since some moment.
    ///
    /// # Errors
    /// [`Error::Energy`](crate::Error::Energy) if it cannot be read this time.
    fn millijoules(&self) -> Result<u64>;

    /// Watts at this moment; none where the board does not say.
    fn instant_watts(&self) -> Option<f64>;

    /// Its state now.
    ///
    /// # Errors
    /// [`Error::Energy`](crate::Error::Energy) if the board is gone.
    fn state(&self) -> Result<BoardState>;
}

/// The state of a board: under which conditions a figure was measured. None: the board does not say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BoardState {
    /// Clock of the multiprocessors, in MHz.
    pub sm_clock_mhz: Option<u32>,
    /// Clock of the memory, in MHz.
    pub memory_clock_mhz: Option<u32>,
    /// Temperature of the GPU, in °C.
    pub temperature_celsius: Option<u32>,
    /// The limit in force, in watts.
    pub power_limit_watts: Option<f64>,
    /// Why clocks are lower than they could be: NVML's bit mask.
    pub throttle_reasons: Option<u64>,
    /// Other processes that compute on the board.
    pub foreign_processes: Option<usize>,
    /// `true` if the board is partitioned (MIG).
    pub partitioned: Option<bool>,
}

impl BoardState {
    /// A doubt for each thing that the board does not say.
    pub fn unknown(&self) -> impl Iterator<Item = Flag> + use<> {
        let unsaid = [
            (self.throttle_reasons.is_none(), Flag::ThrottlingUnknown),
            (self.foreign_processes.is_none(), Flag::ProcessesUnknown),
            (self.partitioned.is_none(), Flag::PartitionsUnknown),
        ];
        unsaid.into_iter().filter_map(|(unsaid, flag)| unsaid.then_some(flag))
    }
}
