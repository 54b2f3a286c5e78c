//! The mbarriers of a block: barriers in shared memory that count arrivals and bytes of asynchronous copies.
//!
//! What hardware keeps in the barrier's eight bytes is opaque, so it is kept here, by address.

use std::collections::HashMap;

use super::order::Known;
use super::shared::SharedMemory;

/// Bytes on their way to shared memory that an mbarrier waits for.
#[derive(Debug)]
pub(crate) struct Landing {
    pub thread: u32,
    /// Index of the operation that started the copy.
    pub operation: u32,
    pub to: u32,
    pub bytes: Vec<u8>,
    /// A copy of the thread's own (`cp.async`), which it may wait for too.
    pub is_own: bool,
}

impl Landing {
    fn land(self, shared: &mut SharedMemory) {
        let at = self.to as usize;
        shared.bytes[at..at + self.bytes.len()].copy_from_slice(&self.bytes);
        if let Some(shadow) = shared.shadow() {
            shadow.land_copy(self.thread, self.to, self.bytes.len() as u32);
        }
    }
}

/// The most threads that an mbarrier can expect.
pub(crate) const MOST_EXPECTED: u32 = (1 << 20) - 1;

#[derive(Debug, Default)]
pub(crate) struct Mbarrier {
    /// Completed phases.
    pub phase: u64,
    expected: i64,
    pending: i64,
    /// Bytes announced and not arrived.
    bytes: i64,
    landing: Vec<Landing>,
    /// What the threads that arrived in this phase hand on, and what those of completed phases did.
    known: Known,
    completed: Known,
}

impl Mbarrier {
    fn new(count: u32) -> Mbarrier {
        let count = i64::from(count);
        Mbarrier {
            expected: count,
            pending: count,
            ..Mbarrier::default()
        }
    }

    /// Ends the phase if nothing is missing: copies land, and the next phase starts.
    fn settle(&mut self, shared: &mut SharedMemory) {
        if self.pending > 0 || self.bytes != 0 {
            return;
        }
        for landing in self.landing.drain(..) {
            let thread = landing.thread;
            landing.land(shared);
            if let Some(shadow) = shared.shadow() {
                shadow.order.publish_landed(&mut self.known, thread);
            }
        }
        self.completed.join(&self.known);
        self.phase += 1;
        self.pending = self.expected;
    }
}

/// How a thread arrives at an mbarrier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub thread: u32,
    /// Threads of its warp that have not exited.
    pub live: u32,
    pub count: u32,
    /// Announced before.
    pub bytes: u32,
    /// The arrivals are taken out of later phases too.
    pub drops: bool,
    /// It hands on what the thread knows.
    pub releases: bool,
}

/// What comes of it: the phase, as a token to wait for, and whether more arrive than were expected.
pub(crate) struct Arrived {
    pub phase: u64,
    pub exceeds: bool,
}

/// All mbarriers of the running block, by address.
#[derive(Debug, Default)]
pub(crate) struct Mbarriers {
    known: HashMap<u32, Mbarrier>,
}

impl Mbarriers {
    pub fn start_block(&mut self) {
        self.known.clear();
    }

    /// The result is whether there was one already.
    pub fn initialise(&mut self, address: u32, count: u32) -> bool {
        self.known.insert(address, Mbarrier::new(count)).is_some()
    }

    /// Whether some of these bytes are an mbarrier's.
    pub fn is_touched(&self, address: u32, size: u32) -> bool {
        !self.known.is_empty()
            && (address / 8..(address + size).div_ceil(8)).any(|at| self.known.contains_key(&(8 * at)))
    }

    pub fn invalidate(&mut self, address: u32) -> bool {
        self.known.remove(&address).is_some()
    }

    pub fn get(&self, address: u32) -> Option<&Mbarrier> {
        self.known.get(&address)
    }

    /// A thread arrives; none if there is no mbarrier.
    pub fn arrive(&mut self, shared: &mut SharedMemory, address: u32, arrival: Arrival) -> Option<Arrived> {
        let barrier = self.known.get_mut(&address)?;
        let phase = barrier.phase;
        if let Some(shadow) = shared.shadow()
            && let Some(known) = shadow.order.release(arrival.thread, arrival.releases, arrival.live)
        {
            barrier.known.join(&known);
        }
        barrier.bytes += i64::from(arrival.bytes);
        barrier.pending -= i64::from(arrival.count);
        if arrival.drops {
            barrier.expected -= i64::from(arrival.count);
        }
        let exceeds = barrier.pending < 0;
        barrier.settle(shared);
        Some(Arrived { phase, exceeds })
    }

    /// Announces bytes (positive) or tells that they arrived (negative).
    pub fn transact(&mut self, shared: &mut SharedMemory, address: u32, bytes: i64) -> Option<()> {
        let barrier = self.known.get_mut(&address)?;
        barrier.bytes += bytes;
        if bytes < 0 {
            barrier.settle(shared);
        }
        Some(())
    }

    /// Hands over a copy, whose bytes count as arrived and land when the phase ends.
    pub fn deliver(&mut self, shared: &mut SharedMemory, address: u32, landing: Landing) -> Option<()> {
        let barrier = self.known.get_mut(&address)?;
        barrier.bytes -= landing.bytes.len() as i64;
        barrier.landing.push(landing);
        barrier.settle(shared);
        Some(())
    }

    /// Hands over a thread's own copy, which lands when the phase ends or the thread waits for it.
    pub fn entrust(&mut self, address: u32, landing: Landing) {
        if let Some(barrier) = self.known.get_mut(&address) {
            barrier.landing.push(landing);
        }
    }

    /// A thread waits for its copies, those entrusted to mbarriers among them.
    pub fn land_copies(&mut self, shared: &mut SharedMemory, thread: u32) {
        for barrier in self.known.values_mut() {
            let landing = std::mem::take(&mut barrier.landing);
            let (own, others) = landing
                .into_iter()
                .partition(|landing| landing.is_own && landing.thread == thread);
            barrier.landing = others;
            own.into_iter().for_each(|landing: Landing| landing.land(shared));
        }
    }

    /// What is still on its way when the block ends.
    pub fn take_unfinished(&mut self) -> Vec<Landing> {
        let landing = self.known.values_mut().flat_map(|barrier| barrier.landing.drain(..));
        let mut landing: Vec<Landing> = landing.collect();
        landing.sort_by_key(|landing| (landing.operation, landing.thread));
        landing
    }

    /// A thread has seen a phase end.
    pub fn observe(&self, shared: &mut SharedMemory, address: u32, thread: u32, acquires: bool, live: u32) {
        if let (Some(barrier), Some(shadow)) = (self.known.get(&address), shared.shadow()) {
            shadow.order.observe(thread, acquires, live, &barrier.completed);
        }
    }
}
