//! The compiler of energy-kernel: from an operator in index notation to PTX text.
//!
//! ```text
//!   Rust tokens ── lang ──▶ Op ── check ──▶ Checked ── schedule ──▶ Schedule
//!                (feature `syn`)               │                       │
//!                                              └───────┬───────────────┘
//!                                                    lower ──▶ ptx ──▶ Kernel (text, launch, parameters)
//!                                                               │
//!                                                               └────▶ features ──▶ estimate
//! ```
//!
//! Invariants:
//! - Everything after `check` takes a [`check::Checked`], so nothing unchecked is ever lowered.
//! - The compiler knows nothing of CUDA, files or search, and it is deterministic: the same operator,
//!   specialisation, target and schedule give the same bytes. ([`mod@file`] is for the other crates.)
//! - Nothing here panics on any input; what cannot be done is a typed error.

mod affine;
pub mod bind;
pub mod check;
pub mod datasheet;
mod distinct;
pub mod element;
pub mod estimate;
pub(crate) mod families;
pub mod features;
pub mod file;
pub mod fingerprint;
mod id;
pub mod ir;
pub mod kernel;
#[cfg(feature = "syn")]
pub mod lang;
pub mod lower;
pub mod problem;
pub mod ptx;
mod reciprocal;
pub mod record;
pub mod reference;
pub mod repeated;
pub mod roofline;
pub mod schedule;
pub mod size;
pub mod slow;
pub mod stages;
pub mod target;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
pub mod text;
pub mod tuning;
