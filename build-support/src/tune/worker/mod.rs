//! Candidates of a real GPU run in a process of their own: a fault, a hang or a crash costs one candidate.
//!
//! ```text
//!   parent: search, reference, journal            worker: this executable again, with ENERGY_KERNEL_WORKER set
//!   ┌────────┐   Request ── standard input ──▶   ┌───────┐
//!   │ Remote │                                   │ serve │──▶ GpuBackend: context, NVML, timing
//!   └────────┘   ◀── standard output ── Reply    └───────┘
//! ```
//! Both ends exchange [documents](energy_kernel_compiler::record::encoding) one after another. The parent skips whatever else the
//! worker prints between them, and makes no CUDA context. It kills a worker that does not answer in time, starts the
//! next one with the following candidate, and begins the instance there again. The worker draws the inputs itself, from the
//! instance's seed, and returns the results at the indices that the parent compares.
//!
//! A worker never starts another. It ends when its standard input does, even while a kernel hangs, so that none outlives its parent.

mod message;
mod process;
mod remote;
mod serve;
#[cfg(test)]
mod tests;

pub use process::serve_if_asked;
pub(super) use process::serves;
pub(super) use remote::{Remote, Start};
