//! Schedules: how an operator is computed.
//!
//! A [`Schedule`] is a point of one family of kernels. [`space`] lists those of an operator, [`default`] picks a good one by
//! formula. A [`Program`] is a schedule for each stage of an operator.

mod program;

pub use crate::families::*;
pub use program::{MOST_STORED, Program};
