//! The state of a warp: its registers, the position of each of its 32 threads, and the reasons why threads wait.

use std::collections::VecDeque;

use super::copies::{AsyncCopies, BulkStore};
use super::registers::{LANES, Registers};

/// Bytes of local memory that one thread can have.
pub(crate) const LOCAL_LIMIT: usize = 512 << 10;

/// An open call of a thread: the function that was called, and the state to which its caller returns.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// The operation at which the caller goes on.
    pub resume: u32,
    /// Index into `Program::calls`.
    pub call: u32,
    /// The function that was called.
    pub function: u32,
    /// The bases of the caller's frame: register rows, predicates, local memory.
    pub base: u32,
    pub predicate_base: u32,
    pub local_base: u32,
}

/// A thread's local memory.
#[derive(Default)]
pub(crate) struct Local {
    pub bytes: Vec<u8>,
    /// `true` for each byte that was written. Kept under the sanitizer.
    pub defined: Vec<bool>,
}

/// One warp.
pub(crate) struct Warp {
    pub index: u32,
    pub registers: Registers,
    /// Threads that exist and have not exited.
    pub live: u32,
    /// Threads that wait at a barrier.
    pub waiting: u32,
    /// Threads that wait for others at a warp-wide instruction.
    pub parked: u32,
    /// `true` if threads exited since parked ones were last checked. Parked threads no longer wait for them.
    pub exited: bool,
    /// Threads that lost their turn to others that could run; empty once all had one.
    pub set_aside: u32,
    /// Instructions run since the threads last ran together, or since some were set aside.
    pub apart: u32,
    /// The operation that each thread runs next.
    pub counters: [u32; LANES],
    /// The bases of each thread's frame: register rows, predicates, local memory.
    pub bases: [u32; LANES],
    pub predicate_bases: [u32; LANES],
    pub local_bases: [u32; LANES],
    /// The phase of the cluster's barrier in which each thread last arrived.
    pub cluster_phases: [u64; LANES],
    /// The open calls of each thread.
    pub stacks: Vec<Vec<Frame>>,
    pub local: Vec<Local>,
    /// `true` if the warp ran in an earlier block.
    pub started: bool,
    /// `true` if a thread started an asynchronous copy in this block.
    pub copied: bool,
    /// The `cp.async` copies of each thread that have not landed.
    pub copies: Vec<AsyncCopies>,
    /// Result registers of `wgmma` products under way, in groups; the last group is open. Kept under the sanitizer.
    pub products: VecDeque<Vec<usize>>,
    /// The number of products that the warp had issued at the end of each committed group not yet waited for.
    pub committed: VecDeque<u32>,
    /// Bulk stores of each thread, in groups; the last group is open.
    pub bulk: Vec<VecDeque<Vec<BulkStore>>>,
}

impl Warp {
    pub fn new(index: u32) -> Warp {
        Warp {
            index,
            registers: Registers::default(),
            live: 0,
            waiting: 0,
            parked: 0,
            exited: false,
            set_aside: 0,
            apart: 0,
            counters: [0; LANES],
            bases: [0; LANES],
            predicate_bases: [0; LANES],
            local_bases: [0; LANES],
            cluster_phases: [0; LANES],
            stacks: vec![Vec::new(); LANES],
            local: (0..LANES).map(|_| Local::default()).collect(),
            started: false,
            copied: false,
            copies: (0..LANES).map(|_| AsyncCopies::default()).collect(),
            products: VecDeque::new(),
            committed: VecDeque::new(),
            bulk: vec![VecDeque::new(); LANES],
        }
    }
}
