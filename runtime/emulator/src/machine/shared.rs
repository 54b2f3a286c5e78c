//! A block's shared memory, and the sanitizer's record of who touched it when.
//!
//! Races are found by happens-before ([`super::order`]), at the granularity of the smallest access in the program. The
//! accesses that the memory model calls strong (atomic, volatile, relaxed, acquiring and releasing ones) do not race
//! with one another. Times go on from block to block, so that nothing has to be cleared.

use std::collections::HashMap;

use super::order::{Known, Order, View};
use super::registers::LANES;

/// The last write to a granule.
#[derive(Debug, Clone, Copy, Default)]
struct Write {
    /// 0: never.
    time: u32,
    thread: u16,
    flags: u8,
}

const STRONG: u8 = 1;
/// It is an asynchronous copy that is under way.
const COPYING: u8 = 2;
/// It handed something on, which stands in `Shadow::releases`.
const RELEASED: u8 = 4;

impl Write {
    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Reads of a granule by threads of one warp, at one time, of one strength.
#[derive(Debug, Clone, Copy, Default)]
struct Reads {
    /// 0: never.
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

/// The last accesses to a granule. Readers of up to two warps are remembered: a write that is ordered after neither
/// is a race, whoever else read.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    write: Write,
    reads: [Reads; 2],
}

/// A conflict between an access and an earlier one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Conflict {
    pub thread: u32,
    pub earlier_is_write: bool,
}

/// What the memory model says of an access.
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

    /// As three bits.
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

pub(crate) struct Shadow {
    cells: Vec<Cell>,
    granule: u32,
    pub order: Order,
    /// What was handed on with the values at these places, by address and size.
    releases: HashMap<(u32, u32), Release>,
}

/// What is handed on with a value.
pub(crate) struct Release {
    known: Known,
    /// The part that the thread which last released here gave, and the thread: its later writes go on giving that.
    own: Option<(u32, Known)>,
}

impl SharedMemory {
    pub fn new(size: u32, granule: u32, warps: usize, sanitize: bool) -> SharedMemory {
        let shadow = sanitize.then(|| Shadow {
            cells: vec![Cell::default(); size.div_ceil(granule) as usize],
            granule,
            order: Order::new(warps, warps.div_ceil(4)),
            releases: HashMap::new(),
        });
        SharedMemory {
            bytes: vec![0; size as usize],
            shadow,
        }
    }

    /// A new block starts: nothing is written.
    pub fn start_block(&mut self) {
        self.bytes.fill(0);
        if let Some(shadow) = &mut self.shadow {
            if shadow.order.start_block() {
                shadow.cells.fill(Cell::default());
            }
            shadow.releases.clear();
        }
    }

    #[inline(always)]
    pub fn shadow(&mut self) -> Option<&mut Shadow> {
        self.shadow.as_mut()
    }

    /// Some of a warp's `live` threads synchronised with one another.
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

    /// An asynchronous copy to these bytes starts: until it lands nobody may touch them. The result is a conflict with
    /// an earlier access.
    pub fn start_copy(&mut self, thread: u32, address: u32, size: u32) -> Option<Conflict> {
        let conflict = self.write(thread, address, size, false);
        for index in self.cells(address, size) {
            self.cells[index].write.flags |= COPYING;
        }
        conflict
    }

    /// An asynchronous copy has landed, as the thread that started it has seen.
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

    /// Whether an asynchronous copy to some of these bytes is under way.
    pub fn is_copying(&self, address: u32, size: u32) -> bool {
        self.cells(address, size).any(|index| {
            let write = self.cells[index].write;
            write.has(COPYING) && write.time >= self.order.start
        })
    }

    /// Notes a read of bytes that are inside; the results are whether all were written, and a conflict.
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
            let Cell { write, reads } = &mut self.cells[index];
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

    /// Notes a write of bytes that are inside; the result is a conflict.
    pub fn write(&mut self, thread: u32, address: u32, size: u32, strong: bool) -> Option<Conflict> {
        let mut conflict = None;
        let view = self.order.view(thread);
        let now = Write {
            time: self.order.now(thread as usize / LANES),
            thread: thread as u16,
            flags: if strong { STRONG } else { 0 },
        };
        for index in self.cells(address, size) {
            let Cell { write, reads } = &mut self.cells[index];
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

    /// Notes a read by a warp group that goes on behind its threads, as its product of that number; the result is as for
    /// other reads. What some thread of the warp knows to have happened did happen before.
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
            let Cell { write, reads } = &mut self.cells[index];
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

    /// Whether this block wrote all of these bytes.
    pub fn is_written(&self, address: u32, size: u32) -> bool {
        self.cells(address, size)
            .all(|index| self.cells[index].write.time >= self.order.start)
    }

    /// A thread read these bytes: what was handed on with them it learns, now or at its next fence.
    pub fn observe(&mut self, thread: u32, address: u32, size: u32, strength: Strength, live: u32) {
        if strength.strong
            && self.is_released(address)
            && let Some(release) = self.releases.get(&(address, size))
        {
            self.order.observe(thread, strength.acquires, live, &release.known);
        }
    }

    /// Takes what was handed on with the value at a place that is about to be written. Updates, which read the value too,
    /// hand on all of it; other writes what their own thread released.
    pub fn take_release(&mut self, thread: u32, address: u32, size: u32, is_update: bool) -> Option<Release> {
        let valid = self.is_released(address);
        let release = self.releases.remove(&(address, size)).filter(|_| valid)?;
        if is_update {
            return Some(release);
        }
        let own = release.own.filter(|(releaser, _)| *releaser == thread)?;
        Some(Release {
            known: own.1.clone(),
            own: Some(own),
        })
    }

    /// A thread wrote these bytes: with them it hands on what it releases, and what was handed on before.
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
                let mut all = before.map(|before| before.known).unwrap_or_default();
                all.join(&known);
                Release {
                    known: all,
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

/// Notes a read beside earlier ones, by a thread or for it.
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
        // Rather an older read of the same warp is forgotten than a newer one not noted; but weak ones race with more.
        let forgettable = |read: &Reads| read.warp == now.warp && (read.strong || !now.strong);
        if forgettable(first) {
            *first = now;
        } else if forgettable(second) {
            *second = now;
        }
    }
}
