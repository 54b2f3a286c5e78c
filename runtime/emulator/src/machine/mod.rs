//! The machine: a decoded program, and the state that its instructions read and write.
//!
//! A [`core::Core`] is one host thread's machine; [`warp::Warp`] is the state of one warp. [`action`] joins them with a
//! [`program::Program`]: it says how each operation runs.

pub(crate) mod action;
pub(crate) mod address;
pub(crate) mod barrier;
pub(crate) mod cluster;
pub(crate) mod copies;
pub(crate) mod core;
pub(crate) mod l1;
pub(crate) mod lanes;
pub(crate) mod mbarrier;
pub(crate) mod order;
pub(crate) mod program;
pub(crate) mod registers;
pub(crate) mod shared;
pub(crate) mod warp;
