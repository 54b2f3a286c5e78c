//! Joules, from the energy counter of the board (NVML).
//!
//! The counter is the hardware's own integral of power. It moves in steps, about every 100 ms; what is read between steps is old. So every
//! window here starts and ends *on a tick*: power is the counter's difference between ticks over the time between them.
//! (`nvmlDeviceGetPowerUsage` is an average over a second on recent boards, and is not used.)
//!
//! ```text
//!   counter   ──┐    ┌────┐    ┌────┐    ┌──        work  ├───────────────────┤
//!               └────┘    └────┘    └────┘                ▲                   ▲
//!              tick      tick      tick              starts after a tick   the tick after it ends the last interval,
//!                                                                          of which a part is the work's: uncertainty
//!
//!   Board (NVML, simulated) ── readings ──▶ Ticks ── estimate ──▶ watts ± interval
//!     │ clock, temperature, …                  └─ pure: no clock, no device
//!     └──────────────── states ──▶ Survey ──▶ flags
//! ```
//!
//! Two answers are given. [`Gpu::energy`] is for a region of a program that happens once: it bounds how far the truth can be.
//! [`Meter::power`] is for work that can be repeated for seconds: it estimates mean power with a 95 % interval.

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
pub use simulated::{Behaviour, Load, Simulated};
pub use survey::{Survey, Thermometer};

#[cfg(doc)]
use crate::Gpu;
