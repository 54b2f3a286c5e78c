//! The interpreter: runs the actions of a program on the machine's state.
//!
//! [`block`] gives the warps of a block their turns; [`turn`] runs one warp until it waits, exits or has used up its
//! turn. The other files are the operations that are part of the interpreter.

mod barrier;
pub(crate) mod block;
mod call;
mod check;
mod control;
mod group;
mod start;
mod sync;
mod system;
mod turn;
