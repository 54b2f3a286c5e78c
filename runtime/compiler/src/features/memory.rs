//! How many sectors and passes the accesses of a warp take.

use super::count::Count;
use super::form::{Form, LANES, Mask, Symbols};

/// Bytes that global memory moves at once.
const SECTOR: i64 = 32;
/// Banks of shared memory, 4 bytes wide.
const BANKS: usize = 32;

/// Sectors that an access of the active lanes touches; an access never crosses a sector.
pub(super) fn sectors(symbols: &mut Symbols, address: Option<&Form>, active: Mask) -> Count {
    let unknown = Count {
        low: u64::from(active.surely != 0),
        high: active.possibly.count_ones().into(),
    };
    bounded(symbols, address, active, unknown, SECTOR, |lanes, addresses| {
        let mut touched = [0; LANES];
        let mut count = 0;
        let mut sorted = true;
        for lane in (0..LANES).filter(|lane| lanes >> lane & 1 == 1) {
            let sector = addresses[lane].div_euclid(SECTOR);
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
    })
}

/// Lanes whose accesses shared memory serves at once: halves of a warp for 8 bytes, quarters for 16.
fn groups(bytes: u32, lanes: u32) -> impl Iterator<Item = u32> {
    let together = if bytes <= 4 { 32 } else { 128 / bytes.min(16) };
    let mask = ((1u64 << together) - 1) as u32;
    (0..32 / together)
        .map(move |number| lanes & mask << (number * together))
        .filter(|&group| group != 0)
}

/// Passes without any conflict.
pub(super) fn least_passes(bytes: u32, lanes: u32) -> u64 {
    groups(bytes, lanes).count() as u64
}

/// Passes over the banks that an access of the active lanes takes.
pub(super) fn passes(symbols: &mut Symbols, address: Option<&Form>, bytes: u32, active: Mask) -> Count {
    let words = i64::from(bytes.div_ceil(4).max(1));
    let unknown = Count {
        low: least_passes(bytes, active.surely),
        high: u64::from(active.possibly.count_ones()) * words as u64,
    };
    // Moved by whole words, lanes meet in other banks in the same way.
    bounded(symbols, address, active, unknown, 4, |lanes, addresses| {
        groups(bytes, lanes)
            .map(|group| passes_of(addresses, words, group))
            .sum()
    })
}

/// The most distinct words that fall into one bank.
fn passes_of(addresses: &[i64; LANES], words: i64, lanes: u32) -> u64 {
    let mut word_of_bank = [i64::MIN; BANKS];
    let mut conflict = false;
    let each_word = |visit: &mut dyn FnMut(i64)| {
        for lane in (0..LANES).filter(|lane| lanes >> lane & 1 == 1) {
            let first = addresses[lane].div_euclid(4);
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

/// A number that more lanes make no smaller, and that moving all addresses by the modulus does not change.
fn bounded(
    symbols: &mut Symbols,
    address: Option<&Form>,
    active: Mask,
    unknown: Count,
    modulus: i64,
    number: impl Fn(u32, &[i64; LANES]) -> u64,
) -> Count {
    let Some(address) = address.filter(|_| active.possibly != 0) else {
        return unknown;
    };
    let mut of = |lanes: u32| match lanes {
        0 => (0, 0),
        lanes => symbols.extremes_of(address, modulus, |addresses| number(lanes, addresses)),
    };
    let most = of(active.possibly);
    match active.exact() {
        Some(_) => Count {
            low: most.0,
            high: most.1,
        },
        None => Count {
            low: of(active.surely).0,
            high: most.1,
        },
    }
}
