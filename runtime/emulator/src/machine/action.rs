//! Actions: the functions and control transfers that run a [`Program`].
//!
//! Actions lie beside the program, not in it. A function takes the [`Core`], which refers to the program, so the
//! program cannot know functions.

use super::core::{Core, Stop};
use super::lanes::LaneFunction;
use super::program::{Control, Operation, Program};
use super::registers::Slot;
use super::warp::Warp;

/// An operation on memory or across the lanes of a mask, which all run it together.
pub(crate) type WarpFunction = fn(&mut Core<'_>, &mut Warp, &Operation, u32) -> Result<(), Stop>;

/// A warp-synchronous operation on lanes that may have reached it in different places.
pub(crate) type SyncFunction = fn(&mut Core<'_>, &mut Warp, &[Part<'_>]) -> Result<(), Stop>;

/// The lanes that reached a warp-synchronous instruction at one operation and in one frame.
#[derive(Clone, Copy)]
pub(crate) struct Part<'p> {
    pub operation: &'p Operation,
    pub lanes: u32,
    /// The bases of the frame's rows and predicates.
    pub base: usize,
    pub predicate_base: usize,
}

/// A warp-synchronous instruction (`shfl.sync`, `bar.warp.sync`, …): the lanes of its mask wait for each other.
#[derive(Clone, Copy)]
pub(crate) struct WarpSync {
    pub run: SyncFunction,
    /// The register with the mask.
    pub mask: Slot,
    /// The instruction with its qualifiers. Lanes synchronise only with lanes at the same kind.
    pub kind: u32,
}

/// The way in which an operation runs.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// Lane by lane, on registers alone.
    Lanes(LaneFunction),
    /// On memory or across lanes.
    Warp(WarpFunction),
    /// Across the lanes of a mask (a register), which must all reach this very operation (`.aligned`).
    Collective(WarpFunction, Slot),
    /// Across the lanes of a mask, wherever in the program they are.
    Sync(WarpSync),
    Control(Control),
}

/// A program that can run.
pub(crate) struct Executable {
    pub program: Program,
    /// Parallel to `program.operations`.
    pub actions: Vec<Action>,
}
