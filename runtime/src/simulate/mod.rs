//! Latency and energy of emulated launches: **simulated**, from counted events, published prices and a simple model.
//!
//! ```text
//! latency = launch + max( issue · arithmetic · shared memory      on the busiest multiprocessor,
//!                         L2 bytes, DRAM bytes                    over the whole chip,
//!                         dependent work of one warp × waves      what no parallelism hides )
//! energy  = constant power × latency + Σ price × count
//! ```
//!
//! The numbers rank kernels in tests and examples on machines without a GPU. They measure nothing. Wherever they are shown or stored,
//! they are labelled as simulated and carry the emulated device's own name.

mod cost;
mod emulation;
mod profile;

pub use cost::{LaunchConfig, Simulated};
pub use emulation::Emulation;
pub use energy_kernel_emulator::{ByClass, Class, Counts};
pub use profile::{MachineModel, Profile};
