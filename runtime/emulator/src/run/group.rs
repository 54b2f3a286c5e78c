//! The threads of a warp that run together, and the reasons why they pause.

use crate::machine::lanes::each;
use crate::machine::warp::Warp;

/// Threads of a warp that share a program counter and a frame.
pub(super) struct Group {
    pub lanes: u32,
    pub counter: u32,
    /// The lowest program counter of other threads that could run: the group stops there to let them join.
    pub fence: u32,
    /// `true` if no other threads of the warp could run.
    pub alone: bool,
    /// `true` if the group does not wait for the lanes that its warp-wide instruction names: they will never come.
    pub forced: bool,
}

/// The reason why a group stops running.
pub(super) enum Pause {
    /// The threads must be grouped anew.
    Regroup,
    /// The group ran for long while others could run.
    Impatient,
    /// The warp's turn is over.
    Spent,
}

impl Warp {
    /// Writes the group's program counter back to its threads.
    pub(super) fn save(&mut self, group: &Group) {
        each(group.lanes, |lane| self.counters[lane] = group.counter);
    }
}
