//! Latency and energy of emulated launches: **simulated**, from counted events and published figures, by the formulas of the compiler's
//! estimate.
//!
//! The numbers rank kernels in tests and examples on machines without a GPU. They measure nothing. Wherever they are shown or stored,
//! they are labelled as simulated and carry the emulated device's own name.

mod cost;
mod emulation;
mod profile;

pub use cost::{LaunchConfig, Simulated};
pub use emulation::Emulation;
pub use energy_kernel_compiler::datasheet::Datasheet;
pub use energy_kernel_emulator::{ByClass, Class, Counts};
pub use profile::Profile;
