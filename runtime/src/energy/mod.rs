//! Joules, from the energy counter of the board (NVML).
//!
//! The counter is the hardware's own integral of power. It moves in steps, about every 100 ms; a reading between two steps is old. So every
//! window here starts and ends *on a tick*: power is the difference of the counter between two ticks, divided by the time between them.
//! (`nvmlDeviceGetPowerUsage` is not used: on recent boards it averages over a second.)
//!
//! ```text
//!   counter   ──┐    ┌────┐    ┌────┐    ┌──        work  ├───────────────────┤
//!               └────┘    └────┘    └────┘                ▲                   ▲
//!              tick      tick      tick              starts after a tick   the next tick ends the last interval, of
//!                                                                          which the work has a part: uncertainty
//!
//!   Board (NVML, simulated) ── readings ──▶ Ticks ── estimate ──▶ watts ± interval
//!     │ clock, temperature, …                  └─ pure: no clock, no device
//!     └──────────────── states ──▶ Survey ──▶ flags
//! ```
//!
//! There are two measurements. [`Gpu::energy`] measures a region of a program that runs once, and bounds its error. [`Meter::power`]
//! measures work that can be repeated for seconds, and estimates its mean power with a 95 % interval.

mod board;
mod calibration;
mod estimate;
mod meter;
mod nvml;
mod region;
mod simulated;
mod survey;

pub use board::{Board, BoardState};
pub use calibration::{Calibration, LOAD_PERIODS};
pub use estimate::{Power, Tick, Ticks, mean_power, students_quantile};
pub use meter::{Meter, SETTLING, Window};
pub use nvml::Nvml;
pub use region::Energy;
pub use simulated::{Behaviour, Load, SimulatedBoard};
pub use survey::{Survey, Thermometer};

#[cfg(doc)]
use crate::Gpu;
