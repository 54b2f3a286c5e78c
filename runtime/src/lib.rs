//! GPU operators tuned for the least energy at `cargo build`, shipped with a crate.
//!
//! An operator is written once, in index notation, as ordinary Rust:
//!
//! ```
//! use energy_kernel::prelude::*;
//!
//! /// y = gelu(x · wᵀ + b)
//! #[energy_kernel(tune(M = [1, 16, 256], N = 1536, K = 384))]
//! pub fn linear_gelu(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: Tensor<f16, (N,)>) -> Tensor<f16, (M, N)> {
//!     |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
//! }
//!
//! # fn main() -> Result<(), Error> {
//! let gpu = Gpu::emulated();               // or Gpu::open()?, or Gpu::from_stream(…)?
//! let x = Tensor::from_slice(&gpu, &[2, 4], &[f16::from_f32(0.5); 8])?;
//! let w = Tensor::from_slice(&gpu, &[3, 4], &[f16::from_f32(0.25); 12])?;
//! let b = Tensor::zeros(&gpu, &[3])?;
//! let y = linear_gelu(&gpu, &x, &w, &b)?;  // the tuned kernel, or the untuned one
//! assert_eq!(y.shape(), [2, 3]);
//!
//! // Which kernel that was, and why:
//! let plan = linear_gelu::plan(&gpu, &Sizes::from([("M", 2), ("N", 3), ("K", 4)]))?;
//! println!("{plan}");
//! # Ok(())
//! # }
//! ```
//!
//! The build script `fn main() { energy_kernel_build::run() }` tunes what the crate's `tune(…)` clauses name. Results are small files that
//! are published with the crate, so that its users tune nothing.
//!
//! How the crate is built:
//!
//! ```text
//!   generated function ── call ──▶ found by its shapes? ── yes ─────────────────────────▶ launch ── device ──▶ cuda
//!                                        │ no                                              ▲                   emulated
//!                                        └─▶ choice (bundle, user cache, default) ─▶ load ─┘
//! ```
//!
//! Invariants:
//! - cudarc is not called before the driver has been probed: no machine makes this crate panic for want of one.
//! - After the first call with certain shapes (or `prepare`), `into` allocates nothing, waits for nothing and can be captured into a CUDA graph.
//! - What lies in caches is data: kernels from the user's cache are compiled here, from schedules.
//! - Latencies and energies of emulated devices are simulated, and are said to be wherever they are shown.

mod bound;
mod cache;
mod call;
mod choice;
mod device;
mod element;
#[cfg(feature = "energy")]
pub mod energy;
mod error;
mod gpu;
mod host;
mod kernel;
mod plan;
mod reference;
#[cfg(feature = "emulator")]
pub mod simulate;
mod tensor;

pub mod tools;

pub use cache::FOLDER_VARIABLE as CACHE_FOLDER_VARIABLE;
pub use element::Element;
pub use energy_kernel_compiler as compiler;
pub use energy_kernel_compiler::record::{DeviceClass, Estimate, Match, Objective};
pub use energy_kernel_compiler::schedule::{Program, Schedule};
pub use energy_kernel_compiler::size::{Sizes, Specialisation};
pub use error::{Error, Result};
#[cfg(feature = "emulator")]
pub use gpu::Emulation;
pub use gpu::Gpu;
pub use half::{bf16, f16};
pub use host::HostTensor;
pub use kernel::{Kernel, Variant};
pub use plan::{Alternative, Figures, Origin, Place, Plan, PlannedLaunch};
pub use tensor::{IntoCudaError, Tensor};

/// What a program that defines or calls operators needs.
pub mod prelude {
    pub use crate::{Error, Gpu, HostTensor, Sizes, Tensor, bf16, f16};
    pub use energy_kernel_macros::energy_kernel;
}

/// Items for the generated functions and the tests. No part of the public interface: the macro and this crate are of one version.
#[doc(hidden)]
pub mod __private {
    pub use crate::call::{Argument, Call, View};
    pub use crate::device::probe::SYMBOLS as DRIVER_SYMBOLS;
    pub use crate::kernel::{KernelData, VariantData};
    pub use crate::reference::{HostArgument, Reference};
    pub use energy_kernel_compiler::element::Element as ElementId;
}
