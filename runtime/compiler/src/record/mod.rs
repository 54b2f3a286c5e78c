//! The results of tuning: records of measurements, and the bundles made of them.
//!
//! ```text
//!   measurements ──▶ Record (one operator, sizes, device) ──▶ CacheFile (all sizes of one operator and device)
//!                                                                │  schedules only, never code
//!                                                       lower ───┤
//!                                                                ▼
//!                                        Bundle (embedded in a crate: kernels for every known device)
//! ```
//!
//! These types are pure data: nothing here reads a file or knows CUDA. Only [`encoding`] knows the layout of the bytes.
//! Units everywhere: seconds, joules, watts, MHz, °C.
//!
//! Invariant: bytes may come from anywhere (a published crate, a shared folder). Decoding them never panics, never
//! allocates beyond a small multiple of [`encoding::LIMIT`], and returns only validated values.

mod bundle;
mod cache;
mod conditions;
mod device;
pub mod encoding;
mod fingerprint;
pub mod folder;
mod front;
mod index;
mod packed;
mod rejected;
mod standing;
mod versions;

pub use bundle::{Bundle, Candidate, TunedBucket, TunedDevice};
pub use cache::{CacheFile, Record, Statistics};
pub use conditions::{CacheMode, Conditions, Flag, Inputs};
pub use device::{DeviceClass, Match};
pub use encoding::DecodeError;
pub use fingerprint::{Fingerprint, ParseFingerprintError};
pub use front::{Estimate, Objective, Point, pareto_front};
pub use index::Index;
pub use packed::PackedKernel;
pub use rejected::{Reason, Rejected};
pub use standing::{Advantage, Merits, Standing};
