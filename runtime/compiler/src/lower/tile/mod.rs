//! The parts of tiled families: sums of products, or of other pointwise work on two sides, in tiles, with slabs of both sides in shared memory, a few terms of the sums at a time.
//!
//! ```text
//! global memory ── arrival ──▶ slabs in shared memory ── fragment ──▶ product ── split_k, epilogue ──▶ outputs
//!                  └──────────────── pipeline: the next slabs arrive ─────┘
//! ```
//!
//! - [`products`]: the sums of an operator. [`roles`]: what axes stand for. [`term`]: terms that are no products. [`multiplicand`]: what
//!   tensor cores multiply. [`fold`]: sums of sums.
//! - [`block`]: which tile a block computes. [`bounds`], [`span`]: which terms it takes in. [`tiling`]: to which element of a tensor a place in
//!   the tile belongs.
//! - [`slab`], [`deal`], [`lines`]: what a thread loads, and its layout in shared memory without bank conflicts.
//! - [`arrival`]: how slabs come to shared memory, through registers or by `cp.async`. [`held`]: loads that may not happen.
//! - [`fragment`], [`product`]: from shared memory to registers, and multiply-adds, by FMA or `mma.sync`. [`pointwise`]: other terms.
//! - [`pipeline`]: the loop over the slabs. [`split_k`]: blocks that share a tile. [`epilogue`]: from accumulators to outputs.

pub(crate) mod address;
pub(crate) mod arrival;
pub(crate) mod block;
pub(crate) mod bounds;
pub(crate) mod deal;
pub(crate) mod epilogue;
pub(crate) mod fold;
mod folding;
pub(crate) mod fragment;
pub(crate) mod held;
pub(crate) mod lines;
pub(crate) mod multiplicand;
pub(crate) mod pipeline;
pub(crate) mod pointwise;
pub(crate) mod product;
pub(crate) mod products;
pub(crate) mod roles;
pub(crate) mod slab;
pub(crate) mod span;
pub(crate) mod split_k;
pub(crate) mod term;
pub(crate) mod tiling;
pub(crate) mod warp;
