//! Hits in L1 within a block, for counts. No real cache is modelled: sizes and policies differ between GPUs.
//!
//! The emulator runs one warp far before the next; a GPU runs the warps of a block side by side. So time is counted for each warp, in
//! sectors that it had to fetch. A sector that another warp touched at a later time puts the clock forward.

/// Sectors that a warp may fetch until one that it touched before is lost: 2 KiB, its part of 128 KiB among 64 warps.
const KEPT: u32 = 64;
/// Sectors that are remembered. Of those that fall on one entry, the last stays.
const ENTRIES: usize = 1 << 14;

/// The sectors that the running block touched.
pub(crate) struct L1 {
    entries: Vec<Entry>,
    /// The block, counted from 1.
    block: u64,
    /// The time of each warp.
    times: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    sector: u64,
    /// The block that touched it; 0 for none.
    block: u64,
    time: u32,
}

impl L1 {
    /// An L1 for blocks of that many warps; one that only remembers nothing where nothing is counted.
    pub fn new(warps: usize, counts: bool) -> L1 {
        L1 {
            entries: vec![Entry::default(); if counts { ENTRIES } else { 1 }],
            block: 0,
            times: vec![0; warps],
        }
    }

    /// Touches the sectors of a warp's load, and returns how many had to be fetched.
    pub fn fetched(&mut self, block: u64, warp: u32, sectors: &[u64]) -> u64 {
        if self.block != block + 1 {
            self.block = block + 1;
            self.times.fill(0);
        }
        let Some(time) = self.times.get_mut(warp as usize) else {
            return sectors.len() as u64;
        };
        let mut fetched = 0;
        for &sector in sectors {
            // Neighbours fall on neighbouring entries; higher bits are mixed in, as strides are often powers of two.
            let mixed = sector ^ sector >> 14 ^ sector >> 28;
            let entries = self.entries.len();
            let entry = &mut self.entries[mixed as usize % entries];
            let known = entry.block == self.block && entry.sector == sector;
            match known && time.saturating_sub(entry.time) <= KEPT {
                true => *time = entry.time.max(*time),
                false => {
                    *time += 1;
                    fetched += 1;
                }
            }
            *entry = Entry {
                sector,
                block: self.block,
                time: *time,
            };
        }
        fetched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_touched_shortly_before_is_found() {
        let mut l1 = L1::new(2, true);
        assert_eq!(l1.fetched(0, 0, &[1, 2, 3]), 3);
        assert_eq!(l1.fetched(0, 0, &[2, 3, 4]), 1);
        // The other warp shares them, another block does not.
        assert_eq!(l1.fetched(0, 1, &[1, 4]), 0);
        assert_eq!(l1.fetched(1, 0, &[1]), 1);
    }

    #[test]
    fn a_warp_that_read_much_since_has_lost_it() {
        let mut l1 = L1::new(2, true);
        let many: Vec<u64> = (0..200).collect();
        assert_eq!(l1.fetched(0, 0, &many), 200);
        assert_eq!(l1.fetched(0, 0, &[0, 199]), 1);
        // A warp that runs later does at the same time what the first one did.
        assert_eq!(l1.fetched(0, 1, &many[1..]), 0);
        assert_eq!(l1.fetched(0, 1, &many[10..20]), 10);
    }
}
