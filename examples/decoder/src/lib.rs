//! One decoder layer of a LLaMA-like language model, every operator an annotated function.
//!
//! ```text
//!   x ─ rms_norm ─┬─ query ─ rotary ─────────────────┐
//!   │             ├─ key ─── rotary ─▶ cache.keys ───┼▶ attention ─ output ─ + ─▶ y
//!   │             └─ value ──────────▶ cache.values ─┘                       │
//!   └────────────────────────────────────────────────────────────────────────┘
//!   y ─ rms_norm ─┬─ gate ─ silu ─┐
//!   │             └─ up ──────────┴ × ─ down ─ + ─▶
//!   └──────────────────────────────────────────┘
//! ```
//!
//! [`operators`] holds the mathematics, [`layer`] puts it together, [`random`] makes weights that a re-computation elsewhere can make too.
//! Activations and attention's weights are `f16`, sums, scores and angles `f32`; the weights of products are `f16`, or `i8` with a scale for each row.

pub mod layer;
pub mod operators;
pub mod random;

pub use layer::{Cache, Layer, Weight};

/// Features of a token.
pub const FEATURES: usize = 512;
/// Heads of queries.
pub const HEADS: usize = 8;
/// Heads of keys and values: four heads of queries share one.
pub const GROUPS: usize = 2;
/// Features of a head.
pub const HEAD: usize = 64;
/// Features inside the feed-forward part.
pub const INNER: usize = 1408;
/// Positions that the angles of the rotary embedding are made for.
pub const POSITIONS: usize = 2048;
