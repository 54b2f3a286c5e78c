//! Clusters: blocks that run together, reach each other's shared memory and have a barrier of their own.
//!
//! The core holds the state of the running block. The states of the other blocks are kept here and swapped in.

use super::barrier::Barriers;
use super::mbarrier::Mbarriers;
use super::order::VectorClock;
use super::shared::SharedMemory;

/// The state of one block, except for its warps.
pub(crate) struct BlockState {
    pub shared: SharedMemory,
    pub barriers: Barriers,
    pub mbarriers: Mbarriers,
    pub index: [u32; 3],
    pub number: u64,
}

/// Threads that wait at the cluster's barrier.
pub(crate) struct ClusterWaiting {
    pub rank: usize,
    pub warp: usize,
    pub lanes: u32,
}

pub(crate) struct Cluster {
    /// By rank. The running block's entry is unused.
    pub blocks: Vec<BlockState>,
    pub rank: usize,
    /// Completed phases of the barrier.
    pub phase: u64,
    /// Threads that arrived in the current phase.
    pub arrived: u32,
    pub waiting: Vec<ClusterWaiting>,
    /// The clock that each block's arrivals pass on in the current phase, and in the last completed one, by rank.
    pub clocks: Vec<VectorClock>,
    pub completed: Vec<VectorClock>,
}

impl Cluster {
    pub fn new(blocks: Vec<BlockState>) -> Cluster {
        let clocks = vec![VectorClock::default(); blocks.len()];
        Cluster {
            rank: 0,
            phase: 0,
            arrived: 0,
            waiting: Vec::new(),
            completed: clocks.clone(),
            clocks,
            blocks,
        }
    }

    pub fn start(&mut self) {
        (self.phase, self.arrived) = (0, 0);
        self.waiting.clear();
        self.clocks
            .iter_mut()
            .chain(&mut self.completed)
            .for_each(VectorClock::forget);
    }
}
