//! The interface for tuners and other tools: chosen kernels, buffers of any element type, times, and simulated costs.
//!
//! It follows the compiler crate, whose types it takes, and is exempt from semantic versioning. Most functions are methods of
//! [`Gpu`](crate::Gpu).

mod buffer;
mod kernel;
#[cfg(feature = "emulator")]
mod simulation;
mod stream;

pub use crate::argument::{Argument, View};
pub use crate::operator::{Operator, Variant};
pub use buffer::{Buffer, Operand};
pub use energy_kernel_compiler as compiler;
pub use kernel::{LoadedKernel, Prepared, Resources};
pub use stream::{Graph, Mark};
