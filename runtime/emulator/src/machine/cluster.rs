//! Clusters: blocks that run together, reach each other's shared memory and meet at a barrier of their own.
//!
//! The core holds the state of one block at a time; the others' wait here and are swapped in. An address in the
//! window of the cluster carries the block's rank plus one in bits 24 and up; zero there is the running block.

use super::barrier::Barriers;
use super::mbarrier::Mbarriers;
use super::order::Known;
use super::shared::SharedMemory;
use super::{Core, Stop};

/// Where the rank stands in an address.
const RANK_SHIFT: u32 = 24;

/// What belongs to one block, beside its warps.
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
    /// By rank; the running block's place holds a state that nobody uses.
    pub blocks: Vec<BlockState>,
    pub rank: usize,
    /// Completed phases of the barrier.
    pub phase: u64,
    pub arrived: u32,
    pub waiting: Vec<ClusterWaiting>,
    /// By rank: what those who arrived hand on, and what they did in the last completed phase.
    pub known: Vec<Known>,
    pub completed: Vec<Known>,
}

impl Cluster {
    pub fn new(blocks: Vec<BlockState>) -> Cluster {
        let known = vec![Known::default(); blocks.len()];
        Cluster {
            rank: 0,
            phase: 0,
            arrived: 0,
            waiting: Vec::new(),
            completed: known.clone(),
            known,
            blocks,
        }
    }

    pub fn start(&mut self) {
        (self.phase, self.arrived) = (0, 0);
        self.waiting.clear();
        self.known.iter_mut().chain(&mut self.completed).for_each(Known::forget);
    }
}

/// The address of an offset in the shared memory of the block of that rank.
pub(crate) fn map(address: u32, rank: u32) -> u32 {
    (address & ((1 << RANK_SHIFT) - 1)) | rank.wrapping_add(1) << RANK_SHIFT
}

/// The rank that an address names (none: the running block), and the offset there.
pub(crate) fn split(address: u64) -> (Option<usize>, u64) {
    let rank = (address >> RANK_SHIFT) as usize;
    (rank.checked_sub(1), address & ((1 << RANK_SHIFT) - 1))
}

impl Core<'_> {
    /// Makes the block of that rank the running one.
    pub fn switch(&mut self, rank: usize) {
        if self.cluster.rank == rank {
            return;
        }
        self.swap(self.cluster.rank);
        self.swap(rank);
        self.cluster.rank = rank;
    }

    fn swap(&mut self, rank: usize) {
        let block = &mut self.cluster.blocks[rank];
        std::mem::swap(&mut self.shared, &mut block.shared);
        std::mem::swap(&mut self.barriers, &mut block.barriers);
        std::mem::swap(&mut self.mbarriers, &mut block.mbarriers);
        std::mem::swap(&mut self.block_index, &mut block.index);
        std::mem::swap(&mut self.block_number, &mut block.number);
    }

    /// Does something with the shared memory of another block of the cluster; races there are not looked for.
    pub fn remotely<R>(&mut self, rank: usize, action: impl FnOnce(&mut Self) -> Result<R, Stop>) -> Result<R, Stop> {
        std::mem::swap(&mut self.shared, &mut self.cluster.blocks[rank].shared);
        self.remote = true;
        let result = action(self);
        self.remote = false;
        std::mem::swap(&mut self.shared, &mut self.cluster.blocks[rank].shared);
        result
    }
}
