//! GPU operators tuned for the least energy at `cargo build`, shipped with a crate.
//!
//! You write an operator once, in index notation, as ordinary Rust:
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
//! // The kernel of that call, and why it was chosen:
//! let plan = linear_gelu::plan(&gpu, &Sizes::from([("M", 2), ("N", 3), ("K", 4)]))?;
//! println!("{plan}");
//! # Ok(())
//! # }
//! ```
//!
//! The build script `fn main() { energy_kernel_build::run() }` tunes the sizes in the crate's `tune(…)` clauses. The results are small files
//! that are published with the crate, so that its users need not tune.
//!
//! # Inside
//!
//! ```text
//!   generated function ── call ──▶ resolved before? ── yes ───────────────────────────────▶ launch ── device ──▶ cuda
//!                                        │ no                                                ▲                   emulated
//!                                        └─▶ choice (bundle, user cache, untuned) ─▶ load ───┘
//! ```
//!
//! Each file uses only files to its left:
//!
//! ```text
//!   error, element, host ◀ simulate, device ◀ argument, kernels, workspace ◀ plan, bound ◀ resolved ◀ gpu ◀ tensor, operator
//!                                                                             ◀ choice, reference ◀ call ◀ tools, energy
//! ```
//!
//! Invariants:
//! - No cudarc function is called before the driver was probed, because cudarc panics without a driver.
//! - After the first call with certain shapes (or `prepare`), `into` neither allocates nor waits, and a CUDA graph can capture it.
//! - Caches hold data, not code: kernels from the user cache are compiled here, from their programs.
//! - Latencies and energies of emulated devices are simulated, and are labelled so wherever they are shown.

#![warn(missing_debug_implementations)]

mod argument;
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
mod kernels;
mod operator;
mod plan;
mod reference;
mod resolved;
#[cfg(feature = "emulator")]
pub mod simulate;
mod tensor;
pub mod tools;
mod workspace;
mod workspace_settings;

pub use cache::FOLDER_VARIABLE as CACHE_FOLDER_VARIABLE;
pub use element::Element;
pub use energy_kernel_compiler::record::{DeviceClass, Estimate, Match, Objective};
pub use energy_kernel_compiler::schedule::{Program, Schedule};
pub use energy_kernel_compiler::size::{Sizes, Specialisation};
pub use error::{Error, Result};
pub use gpu::Gpu;
pub use half::{bf16, f16};
pub use host::HostTensor;
pub use operator::{Operator, Variant};
pub use plan::{Alternative, Figures, Origin, Plan, PlannedLaunch, RecordSource};
pub use tensor::{IntoCudaError, Tensor};

/// The items that programs need to define and call operators.
pub mod prelude {
    pub use crate::{Error, Gpu, HostTensor, Sizes, Tensor, bf16, f16};
    pub use energy_kernel_macros::energy_kernel;
}

/// Items for the generated functions and the tests. Not public: the macro and this crate have the same version.
#[doc(hidden)]
pub mod __private {
    pub use crate::argument::{Argument, View};
    pub use crate::call::Call;
    pub use crate::device::probe::SYMBOLS as DRIVER_SYMBOLS;
    pub use crate::operator::{OperatorData, VariantData};
    pub use crate::reference::{HostArgument, HostOutputs};
    pub use energy_kernel_compiler::element::Element as ElementId;
}

// Driver handles are used only after their context is bound to the thread. Everything else is locked.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Gpu>();
    shared::<Tensor<f32>>();
    shared::<Plan>();
};
