//! A block's shared memory, and the sanitizer's record of who touched it when.
//!
//! Races are found by happens-before, at the granularity of the smallest access in the program. Every warp has a
//! clock that advances whenever its threads synchronise (a barrier, `bar.warp.sync`, a shuffle, a vote). Warps learn
//! of each other's clocks at barriers. An access is ordered after an earlier one of another thread if that thread's
//! warp clock at the time is known to the accessing warp: from a barrier, or, inside a warp, because the clock has
//! advanced since. Clocks go on from block to block, so that nothing has to be cleared.

/// An access to a granule.
#[derive(Debug, Clone, Copy, Default)]
struct Access {
    /// Clock of the thread's warp; 0: never.
    clock: u32,
    thread: u16,
    /// For reads: more threads of the same warp read; for writes: it was atomic.
    flag: bool,
}

/// The last accesses to a granule. Readers of up to two warps are remembered: a write that is ordered after neither
/// is a race, whoever else read.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    write: Access,
    reads: [Access; 2],
    /// The clock of the block's start if an asynchronous copy to here is under way.
    copying: u32,
}

/// A conflict between an access and an earlier one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Conflict {
    pub thread: u32,
    pub earlier_is_write: bool,
}

pub(crate) struct SharedMemory {
    pub bytes: Vec<u8>,
    shadow: Option<Shadow>,
}

pub(crate) struct Shadow {
    cells: Vec<Cell>,
    granule: u32,
    warps: usize,
    /// `clocks[a * warps + b]`: what warp a knows of warp b's clock.
    clocks: Vec<u32>,
    /// The clock at which the block started: older accesses are another block's.
    start: u32,
}

impl SharedMemory {
    pub fn new(size: u32, granule: u32, warps: usize, sanitize: bool) -> SharedMemory {
        let shadow = sanitize.then(|| Shadow {
            cells: vec![Cell::default(); size.div_ceil(granule) as usize],
            granule,
            warps,
            clocks: vec![1; warps * warps],
            start: 1,
        });
        SharedMemory {
            bytes: vec![0; size as usize],
            shadow,
        }
    }

    /// A new block starts: nothing is written, all clocks stand beyond those of the last block.
    pub fn start_block(&mut self) {
        self.bytes.fill(0);
        if let Some(shadow) = &mut self.shadow {
            let newest = shadow.clocks.iter().copied().max().unwrap_or(0);
            // After four billion synchronisations the record starts over.
            if newest > u32::MAX / 2 {
                shadow.cells.fill(Cell::default());
                shadow.start = 1;
            } else {
                shadow.start = newest + 1;
            }
            // Nobody knows of anybody else's accesses yet.
            shadow.clocks.fill(shadow.start - 1);
            for warp in 0..shadow.warps {
                shadow.clocks[warp * shadow.warps + warp] = shadow.start;
            }
        }
    }

    #[inline(always)]
    pub fn shadow(&mut self) -> Option<&mut Shadow> {
        self.shadow.as_mut()
    }

    /// The threads of a warp synchronised with one another.
    #[inline(always)]
    pub fn warp_synchronised(&mut self, warp: u32) {
        if let Some(shadow) = &mut self.shadow {
            shadow.advance(warp as usize);
        }
    }
}

impl Shadow {
    /// What warp `a` knows.
    pub fn known(&self, warp: usize) -> &[u32] {
        &self.clocks[warp * self.warps..(warp + 1) * self.warps]
    }

    /// Warp `warp` learns of other warps' clocks.
    pub fn learn(&mut self, warp: usize, clocks: &[u32]) {
        let own = &mut self.clocks[warp * self.warps..(warp + 1) * self.warps];
        for (own, other) in own.iter_mut().zip(clocks) {
            *own = (*own).max(*other);
        }
    }

    pub fn advance(&mut self, warp: usize) {
        self.clocks[warp * self.warps + warp] += 1;
    }

    fn clock(&self, warp: usize) -> u32 {
        self.clocks[warp * self.warps + warp]
    }

    /// Whether an earlier access happened before whatever `thread` does now.
    #[inline(always)]
    fn ordered(&self, access: Access, thread: u32) -> bool {
        let (by, warp) = (usize::from(access.thread) / 32, thread as usize / 32);
        access.clock < self.start
            || if by == warp {
                access.clock < self.clock(warp)
            } else {
                access.clock <= self.clocks[warp * self.warps + by]
            }
    }

    fn cells(&self, address: u32, size: u32) -> std::ops::RangeInclusive<usize> {
        (address / self.granule) as usize..=((address + size - 1) / self.granule) as usize
    }

    /// An asynchronous copy to these bytes starts: until it lands nobody may touch them. The result is a conflict with
    /// an earlier access.
    pub fn start_copy(&mut self, thread: u32, address: u32, size: u32) -> Option<Conflict> {
        let conflict = self.write(thread, address, size, false);
        for index in self.cells(address, size) {
            self.cells[index].copying = self.start;
        }
        conflict
    }

    /// An asynchronous copy has landed, as the thread that started it has seen.
    pub fn land_copy(&mut self, thread: u32, address: u32, size: u32) {
        let clock = self.clock(thread as usize / 32);
        for index in self.cells(address, size) {
            let cell = &mut self.cells[index];
            cell.copying = 0;
            cell.write = Access {
                clock,
                thread: thread as u16,
                flag: false,
            };
        }
    }

    /// Whether an asynchronous copy to some of these bytes is under way.
    pub fn is_copying(&self, address: u32, size: u32) -> bool {
        self.cells(address, size)
            .any(|index| self.cells[index].copying == self.start)
    }

    /// Notes a read of bytes that are inside; the results are whether all were written, and a conflict.
    pub fn read(&mut self, thread: u32, address: u32, size: u32) -> (bool, Option<Conflict>) {
        let (mut defined, mut conflict) = (true, None);
        let clock = self.clock(thread as usize / 32);
        for index in self.cells(address, size) {
            let Cell { write, reads, .. } = self.cells[index];
            defined &= write.clock >= self.start;
            if u32::from(write.thread) != thread && !self.ordered(write, thread) {
                conflict = Some(Conflict {
                    thread: write.thread.into(),
                    earlier_is_write: true,
                });
            }
            let same_warp = |read: &Access| read.clock >= self.start && u32::from(read.thread) / 32 == thread / 32;
            let slot = reads
                .iter()
                .position(same_warp)
                .or_else(|| reads.iter().position(|read| self.ordered(*read, thread)));
            if let Some(slot) = slot {
                let read = reads[slot];
                let more = !self.ordered(read, thread) && (read.flag || u32::from(read.thread) != thread);
                self.cells[index].reads[slot] = Access {
                    clock,
                    thread: thread as u16,
                    flag: more,
                };
            }
        }
        (defined, conflict)
    }

    /// Notes a write of bytes that are inside; the result is a conflict.
    pub fn write(&mut self, thread: u32, address: u32, size: u32, atomic: bool) -> Option<Conflict> {
        let mut conflict = None;
        let clock = self.clock(thread as usize / 32);
        for index in self.cells(address, size) {
            let Cell { write, reads, .. } = self.cells[index];
            if u32::from(write.thread) != thread && !(atomic && write.flag) && !self.ordered(write, thread) {
                conflict = Some(Conflict {
                    thread: write.thread.into(),
                    earlier_is_write: true,
                });
            }
            for read in reads {
                let own = u32::from(read.thread) == thread && !read.flag;
                if !own && !self.ordered(read, thread) {
                    conflict = Some(Conflict {
                        thread: read.thread.into(),
                        earlier_is_write: false,
                    });
                }
            }
            self.cells[index].write = Access {
                clock,
                thread: thread as u16,
                flag: atomic,
            };
        }
        conflict
    }

    /// Whether this block wrote all of these bytes.
    pub fn is_written(&self, address: u32, size: u32) -> bool {
        self.cells(address, size)
            .all(|index| self.cells[index].write.clock >= self.start)
    }
}
