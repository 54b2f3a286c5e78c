//! Real GPUs, through the CUDA driver.
//!
//! ```text
//!   Cuda ── launch ──▶ Stream ◀── home of ── Allocation        streams wait for each other by events,
//!    │                   ▲                                     and only for memory whose home is another stream
//!    ├── record ──▶ Graph┤
//!    └── load ──▶ Module
//! ```
//!
//! Streams order the use of memory; cudarc's events do not. An allocation belongs to the stream it was made on. Work on another stream
//! waits for that stream, and that stream waits for the work. So launches on one stream cost no event and can be captured into graphs.

mod device;
mod error;
mod graph;
mod launch;
mod memory;
mod module;
mod recorder;
mod stream;
mod timing;

pub(crate) use device::Cuda;
pub(crate) use graph::Graph;
pub(crate) use memory::Allocation;
pub(crate) use module::Module;
pub(crate) use timing::Mark;
