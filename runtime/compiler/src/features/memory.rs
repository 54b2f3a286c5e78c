//! Sectors and passes of a warp's memory accesses.

use super::form::LANES;

/// Bytes of a sector.
pub(super) const SECTOR: usize = 32;
/// Banks of shared memory, 4 bytes wide.
const BANKS: usize = 32;
/// Bytes of a bank. A shift of all addresses by whole words does not change their conflicts.
pub(super) const WORD: usize = 4;

/// Returns the sectors that an access of the lanes touches. Accesses are aligned, so none crosses a sector.
pub(super) fn sectors(lanes: u32, addresses: &[i64; LANES]) -> u64 {
    let mut touched = [0; LANES];
    let mut count = 0;
    let mut sorted = true;
    for lane in each(lanes) {
        let sector = addresses[lane].div_euclid(SECTOR as i64);
        if count == 0 || touched[count - 1] != sector {
            sorted &= count == 0 || touched[count - 1] < sector;
            touched[count] = sector;
            count += 1;
        }
    }
    if !sorted {
        touched[..count].sort_unstable();
        let changes = touched[..count].windows(2).filter(|pair| pair[0] != pair[1]);
        count = 1 + changes.count();
    }
    count as u64
}

/// Returns the groups of lanes that shared memory serves together: half warps for 8 bytes, quarter warps for 16.
fn groups(bytes: u32, lanes: u32) -> impl Iterator<Item = u32> {
    let together = if bytes <= 4 { 32 } else { 128 / bytes.min(16) };
    let mask = ((1u64 << together) - 1) as u32;
    (0..32 / together)
        .map(move |number| lanes & mask << (number * together))
        .filter(|&group| group != 0)
}

/// Returns the passes without conflicts.
pub(super) fn least_passes(bytes: u32, lanes: u32) -> u64 {
    groups(bytes, lanes).count() as u64
}

/// Returns the passes if all accesses conflict.
pub(super) fn most_passes(bytes: u32, lanes: u32) -> u64 {
    u64::from(lanes.count_ones()) * u64::from(bytes.div_ceil(4).max(1))
}

/// Returns the passes over the banks for an access of the lanes.
pub(super) fn passes(bytes: u32, lanes: u32, addresses: &[i64; LANES]) -> u64 {
    let words = i64::from(bytes.div_ceil(4).max(1));
    groups(bytes, lanes)
        .map(|group| passes_of(addresses, words, group))
        .sum()
}

/// Returns the largest number of distinct words in one bank.
fn passes_of(addresses: &[i64; LANES], words: i64, lanes: u32) -> u64 {
    let mut word_of_bank = [i64::MIN; BANKS];
    let mut conflict = false;
    let each_word = |visit: &mut dyn FnMut(i64)| {
        for lane in each(lanes) {
            let first = addresses[lane].div_euclid(WORD as i64);
            (first..first + words).for_each(&mut *visit);
        }
    };
    each_word(&mut |word| {
        let known = &mut word_of_bank[word.rem_euclid(BANKS as i64) as usize];
        conflict |= *known != i64::MIN && *known != word;
        *known = word;
    });
    if !conflict {
        return 1;
    }
    let mut all = Vec::with_capacity(LANES);
    each_word(&mut |word| all.push(word));
    all.sort_unstable();
    all.dedup();
    let mut in_bank = [0; BANKS];
    for word in all {
        in_bank[word.rem_euclid(BANKS as i64) as usize] += 1;
    }
    in_bank.into_iter().max().unwrap_or(1)
}

fn each(lanes: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| lanes >> lane & 1 == 1)
}
