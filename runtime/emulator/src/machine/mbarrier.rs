//! The mbarriers of a block: barriers in shared memory that count arrivals and bytes of asynchronous copies.
//!
//! The contents of an mbarrier's eight bytes are opaque to programs, so its state is kept here, by address.

use std::collections::HashMap;

use super::order::VectorClock;
use super::shared::SharedMemory;

/// An asynchronous copy to shared memory that an mbarrier waits for.
#[derive(Debug)]
pub(crate) struct PendingCopy {
    pub thread: u32,
    /// The index of the operation that started the copy.
    pub operation: u32,
    pub to: u32,
    pub bytes: Vec<u8>,
    /// `true` for a `cp.async`, which the thread itself may wait for too.
    pub is_own: bool,
}

impl PendingCopy {
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
    /// Bytes that were announced (`expect_tx`) and have not arrived.
    bytes: i64,
    landing: Vec<PendingCopy>,
    /// The clock that the threads which arrived in this phase pass on, and that of the completed phases.
    clock: VectorClock,
    completed: VectorClock,
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

    /// If no arrival and no byte is missing, lets the copies land and starts the next phase.
    fn settle(&mut self, shared: &mut SharedMemory) {
        if self.pending > 0 || self.bytes != 0 {
            return;
        }
        for landing in self.landing.drain(..) {
            let thread = landing.thread;
            landing.land(shared);
            if let Some(shadow) = shared.shadow() {
                shadow.order.publish_landed(&mut self.clock, thread);
            }
        }
        self.completed.join(&self.clock);
        self.phase += 1;
        self.pending = self.expected;
    }
}

/// A thread's arrival at an mbarrier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub thread: u32,
    /// Lanes of its warp that have not exited.
    pub live: u32,
    /// The number of arrivals.
    pub count: u32,
    /// Bytes to announce before it arrives.
    pub bytes: u32,
    /// `true` if later phases no longer expect these arrivals.
    pub drops: bool,
    /// `true` if the arrival is a release.
    pub releases: bool,
}

/// The outcome of an arrival.
pub(crate) struct Arrived {
    /// The phase of the arrival, as a token to wait for.
    pub phase: u64,
    /// `true` if more threads arrived than the phase expects.
    pub exceeds: bool,
}

/// All mbarriers of the running block, by address.
#[derive(Debug, Default)]
pub(crate) struct Mbarriers {
    barriers: HashMap<u32, Mbarrier>,
}

impl Mbarriers {
    pub fn start_block(&mut self) {
        self.barriers.clear();
    }

    /// Creates an mbarrier. Returns `true` if there was one already.
    pub fn initialise(&mut self, address: u32, count: u32) -> bool {
        self.barriers.insert(address, Mbarrier::new(count)).is_some()
    }

    /// `true` if some of these bytes belong to an mbarrier.
    pub fn is_touched(&self, address: u32, size: u32) -> bool {
        !self.barriers.is_empty()
            && (address / 8..(address + size).div_ceil(8)).any(|at| self.barriers.contains_key(&(8 * at)))
    }

    /// Removes an mbarrier. Returns `false` if there is none.
    pub fn invalidate(&mut self, address: u32) -> bool {
        self.barriers.remove(&address).is_some()
    }

    pub fn get(&self, address: u32) -> Option<&Mbarrier> {
        self.barriers.get(&address)
    }

    /// Arrives for a thread. Returns `None` if there is no mbarrier.
    pub fn arrive(&mut self, shared: &mut SharedMemory, address: u32, arrival: Arrival) -> Option<Arrived> {
        let barrier = self.barriers.get_mut(&address)?;
        let phase = barrier.phase;
        if let Some(shadow) = shared.shadow()
            && let Some(released) = shadow.order.release(arrival.thread, arrival.releases, arrival.live)
        {
            barrier.clock.join(&released);
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

    /// Announces bytes (positive) or notes their arrival (negative). Returns `None` if there is no mbarrier.
    pub fn transact(&mut self, shared: &mut SharedMemory, address: u32, bytes: i64) -> Option<()> {
        let barrier = self.barriers.get_mut(&address)?;
        barrier.bytes += bytes;
        if bytes < 0 {
            barrier.settle(shared);
        }
        Some(())
    }

    /// Adds a copy whose bytes count as arrived. They land when the phase ends. Returns `None` if there is no mbarrier.
    pub fn deliver(&mut self, shared: &mut SharedMemory, address: u32, landing: PendingCopy) -> Option<()> {
        let barrier = self.barriers.get_mut(&address)?;
        barrier.bytes -= landing.bytes.len() as i64;
        barrier.landing.push(landing);
        barrier.settle(shared);
        Some(())
    }

    /// Adds a thread's `cp.async`, which lands when the phase ends or when the thread waits for it.
    pub fn entrust(&mut self, address: u32, landing: PendingCopy) {
        if let Some(barrier) = self.barriers.get_mut(&address) {
            barrier.landing.push(landing);
        }
    }

    /// Lands the `cp.async` copies of a thread that waits for them.
    pub fn land_copies(&mut self, shared: &mut SharedMemory, thread: u32) {
        for barrier in self.barriers.values_mut() {
            let landing = std::mem::take(&mut barrier.landing);
            let (own, others) = landing
                .into_iter()
                .partition(|landing| landing.is_own && landing.thread == thread);
            barrier.landing = others;
            own.into_iter().for_each(|landing: PendingCopy| landing.land(shared));
        }
    }

    /// Takes the copies that have not landed when the block ends, in a fixed order.
    pub fn take_unfinished(&mut self) -> Vec<PendingCopy> {
        let landing = self.barriers.values_mut().flat_map(|barrier| barrier.landing.drain(..));
        let mut landing: Vec<PendingCopy> = landing.collect();
        landing.sort_by_key(|landing| (landing.operation, landing.thread));
        landing
    }

    /// Notes that a thread saw a phase end.
    pub fn observe(&self, shared: &mut SharedMemory, address: u32, thread: u32, acquires: bool, live: u32) {
        if let (Some(barrier), Some(shadow)) = (self.barriers.get(&address), shared.shadow()) {
            shadow.order.observe(thread, acquires, live, &barrier.completed);
        }
    }
}
