//! A block's shared memory, and the sanitizer's record of the accesses to it.
//!
//! The sanitizer finds races by happens-before ([`super::order`]), at the granularity of the program's smallest access.
//! Accesses that the memory model calls strong (atomic, volatile, relaxed, acquire and release) do not race with one
//! another. Times rise from block to block, so the record need not be cleared.

use std::collections::HashMap;

use super::order::{Order, VectorClock, View};
use super::registers::LANES;

/// The last write to a granule.
#[derive(Debug, Clone, Copy, Default)]
struct Write {
    /// 0 if there was none.
    time: u32,
    thread: u16,
    flags: u8,
}

/// Flags of a write. The access was strong.
const STRONG: u8 = 1;
/// The write is an asynchronous copy that is under way.
const COPYING: u8 = 2;
/// The write passes on a clock, which is in `Shadow::releases`.
const RELEASED: u8 = 4;

impl Write {
    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Reads of a granule by threads of one warp, all at one time and of one strength.
#[derive(Debug, Clone, Copy, Default)]
struct Reads {
    /// 0 if there was none.
    time: u32,
    lanes: u32,
    warp: u16,
    strong: bool,
}

impl Reads {
    #[inline(always)]
    fn is_like(&self, other: &Reads) -> bool {
        (self.time == other.time) & (self.warp == other.warp) & (self.strong == other.strong)
    }
}

/// The last accesses to a granule. Readers of up to two warps are kept: a write that is ordered after neither of them
/// is a race, whoever else read.
#[derive(Debug, Clone, Copy, Default)]
struct ShadowCell {
    write: Write,
    reads: [Reads; 2],
}

/// A conflict between an access and an earlier one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Conflict {
    pub thread: u32,
    pub earlier_is_write: bool,
}

/// The properties of an access in the memory model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Strength {
    pub strong: bool,
    pub acquires: bool,
    pub releases: bool,
}

impl Strength {
    pub const WEAK: Strength = Strength {
        strong: false,
        acquires: false,
        releases: false,
    };

    /// Packs the flags into three bits.
    pub fn pack(self) -> u64 {
        u64::from(self.strong) | u64::from(self.acquires) << 1 | u64::from(self.releases) << 2
    }

    #[inline(always)]
    pub fn unpack(bits: u64) -> Strength {
        Strength {
            strong: bits & 1 != 0,
            acquires: bits & 2 != 0,
            releases: bits & 4 != 0,
        }
    }
}

pub(crate) struct SharedMemory {
    pub bytes: Vec<u8>,
    shadow: Option<Shadow>,
}

/// The sanitizer's record of shared memory.
pub(crate) struct Shadow {
    cells: Vec<ShadowCell>,
    granule: u32,
    pub order: Order,
    /// The clocks that come with values, by the values' address and size.
    releases: HashMap<(u32, u32), Release>,
}

/// A clock that comes with a value.
pub(crate) struct Release {
    clock: VectorClock,
    /// The thread that released here last, and its part of the clock, which its later writes go on passing.
    own: Option<(u32, VectorClock)>,
}

impl SharedMemory {
    pub fn new(size: u32, granule: u32, warps: usize, sanitize: bool) -> SharedMemory {
        let shadow = sanitize.then(|| Shadow {
            cells: vec![ShadowCell::default(); size.div_ceil(granule) as usize],
            granule,
            order: Order::new(warps, warps.div_ceil(4)),
            releases: HashMap::new(),
        });
        SharedMemory {
            bytes: vec![0; size as usize],
            shadow,
        }
    }

    /// Starts a block: nothing is written yet.
    pub fn start_block(&mut self) {
        self.bytes.fill(0);
        if let Some(shadow) = &mut self.shadow {
            if shadow.order.start_block() {
                shadow.cells.fill(ShadowCell::default());
            }
            shadow.releases.clear();
        }
    }

    #[inline(always)]
    pub fn shadow(&mut self) -> Option<&mut Shadow> {
        self.shadow.as_mut()
    }

    /// Synchronises some of a warp's `live` threads with one another.
    #[inline(always)]
    pub fn synchronise(&mut self, warp: u32, lanes: u32, live: u32) {
        if let Some(shadow) = &mut self.shadow {
            shadow.order.synchronise(warp as usize, lanes, live);
        }
    }
}

impl Shadow {
    fn cells(&self, address: u32, size: u32) -> std::ops::RangeInclusive<usize> {
        (address / self.granule) as usize..=((address + size - 1) / self.granule) as usize
    }

    /// Notes the start of an asynchronous copy to these bytes, which no thread may touch until it lands. Returns a
    /// conflict with an earlier access.
    pub fn start_copy(&mut self, thread: u32, address: u32, size: u32) -> Option<Conflict> {
        let conflict = self.write(thread, address, size, false);
        for index in self.cells(address, size) {
            self.cells[index].write.flags |= COPYING;
        }
        conflict
    }

    /// Notes that an asynchronous copy has landed, for the thread that started it.
    pub fn land_copy(&mut self, thread: u32, address: u32, size: u32) {
        let write = Write {
            time: self.order.now(thread as usize / LANES),
            thread: thread as u16,
            ..Write::default()
        };
        for index in self.cells(address, size) {
            self.cells[index].write = write;
        }
    }

    /// `true` if an asynchronous copy to some of these bytes is under way.
    pub fn is_copying(&self, address: u32, size: u32) -> bool {
        self.cells(address, size).any(|index| {
            let write = self.cells[index].write;
            write.has(COPYING) && write.time >= self.order.start
        })
    }

    /// Notes a read of bytes in bounds. Returns `true` if all of them were written, and a conflict.
    pub fn read(&mut self, thread: u32, address: u32, size: u32, strong: bool) -> (bool, Option<Conflict>) {
        let (mut defined, mut conflict) = (true, None);
        let warp = thread as usize / LANES;
        let view = self.order.view(thread);
        let now = Reads {
            time: self.order.now(warp),
            lanes: 1 << (thread % LANES as u32),
            warp: warp as u16,
            strong,
        };
        for index in self.cells(address, size) {
            let ShadowCell { write, reads } = &mut self.cells[index];
            defined &= write.time >= self.order.start;
            if u32::from(write.thread) != thread
                && !(strong && write.has(STRONG))
                && !view.ordered(write.thread, write.time)
            {
                conflict = Some(Conflict {
                    thread: write.thread.into(),
                    earlier_is_write: true,
                });
            }
            note_read(view, reads, now);
        }
        (defined, conflict)
    }

    /// Notes a write of bytes in bounds. Returns a conflict.
    pub fn write(&mut self, thread: u32, address: u32, size: u32, strong: bool) -> Option<Conflict> {
        let mut conflict = None;
        let view = self.order.view(thread);
        let now = Write {
            time: self.order.now(thread as usize / LANES),
            thread: thread as u16,
            flags: if strong { STRONG } else { 0 },
        };
        for index in self.cells(address, size) {
            let ShadowCell { write, reads } = &mut self.cells[index];
            if u32::from(write.thread) != thread
                && !(strong && write.has(STRONG))
                && !view.ordered(write.thread, write.time)
            {
                conflict = Some(Conflict {
                    thread: write.thread.into(),
                    earlier_is_write: true,
                });
            }
            for read in reads.iter().filter(|read| !(strong && read.strong)) {
                if !view.all_ordered(read.warp, read.lanes, read.time) {
                    conflict = Some(Conflict {
                        thread: u32::from(read.warp) * LANES as u32 + read.lanes.trailing_zeros(),
                        earlier_is_write: false,
                    });
                }
            }
            *write = now;
        }
        conflict
    }

    /// Notes a read by the asynchronous product of that number of a warp group. Returns the same as [`Shadow::read`].
    /// An access happened before it if it did for some thread of the warp.
    pub fn read_behind(
        &mut self,
        (warp, group, product): (usize, usize, u32),
        address: u32,
        size: u32,
    ) -> (bool, Option<Conflict>) {
        let (mut defined, mut conflict) = (true, None);
        let agent = self.order.agent(group);
        let now = Reads {
            time: self.order.agent_time(group, product),
            lanes: 1,
            warp: agent / LANES as u16,
            strong: false,
        };
        for index in self.cells(address, size) {
            let ShadowCell { write, reads } = &mut self.cells[index];
            defined &= write.time >= self.order.start;
            if !self.order.ordered_for_warp(write.thread, write.time, warp) {
                conflict = Some(Conflict {
                    thread: write.thread.into(),
                    earlier_is_write: true,
                });
            }
            note_read(self.order.view((warp * LANES) as u32), reads, now);
        }
        (defined, conflict)
    }

    /// `true` if this block wrote all of these bytes.
    pub fn is_written(&self, address: u32, size: u32) -> bool {
        self.cells(address, size)
            .all(|index| self.cells[index].write.time >= self.order.start)
    }

    /// Notes that a thread read these bytes and takes over the clock that comes with them, now or at its next fence.
    pub fn observe(&mut self, thread: u32, address: u32, size: u32, strength: Strength, live: u32) {
        if strength.strong
            && self.is_released(address)
            && let Some(release) = self.releases.get(&(address, size))
        {
            self.order.observe(thread, strength.acquires, live, &release.clock);
        }
    }

    /// Takes the clock that comes with a value which is about to be overwritten. An update, which reads the value too,
    /// passes on all of it; another write passes on what its own thread released.
    pub fn take_release(&mut self, thread: u32, address: u32, size: u32, is_update: bool) -> Option<Release> {
        let valid = self.is_released(address);
        let release = self.releases.remove(&(address, size)).filter(|_| valid)?;
        if is_update {
            return Some(release);
        }
        let own = release.own.filter(|(releaser, _)| *releaser == thread)?;
        Some(Release {
            clock: own.1.clone(),
            own: Some(own),
        })
    }

    /// Notes that a thread wrote these bytes. With them it passes on its release, and the clock that `before` holds.
    pub fn hand_on(
        &mut self,
        thread: u32,
        address: u32,
        size: u32,
        strength: Strength,
        live: u32,
        before: Option<Release>,
    ) {
        if !strength.strong {
            return;
        }
        let release = match (self.order.release(thread, strength.releases, live), before) {
            (None, None) => return,
            (None, Some(before)) => before,
            (Some(known), before) => {
                let mut all = before.map(|before| before.clock).unwrap_or_default();
                all.join(&known);
                Release {
                    clock: all,
                    own: Some((thread, known)),
                }
            }
        };
        for index in self.cells(address, size) {
            self.cells[index].write.flags |= RELEASED;
        }
        self.releases.insert((address, size), release);
    }

    fn is_released(&self, address: u32) -> bool {
        let write = self.cells[(address / self.granule) as usize].write;
        write.has(RELEASED) && write.time >= self.order.start
    }
}

/// Adds a read to the two that are kept of a granule.
#[inline(always)]
fn note_read(view: View<'_>, reads: &mut [Reads; 2], now: Reads) {
    let [first, second] = reads;
    if first.is_like(&now) {
        first.lanes |= now.lanes;
    } else if second.is_like(&now) {
        second.lanes |= now.lanes;
    } else if view.all_ordered(first.warp, first.lanes, first.time) {
        *first = now;
    } else if view.all_ordered(second.warp, second.lanes, second.time) {
        *second = now;
    } else {
        // A newer read replaces an older one of the same warp, except that a strong read does not replace a weak one,
        // which races with more accesses.
        let forgettable = |read: &Reads| read.warp == now.warp && (read.strong || !now.strong);
        if forgettable(first) {
            *first = now;
        } else if forgettable(second) {
            *second = now;
        }
    }
}
