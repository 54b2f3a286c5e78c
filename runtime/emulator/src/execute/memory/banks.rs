//! Bank conflicts: the passes over the banks of shared memory that an access takes.

use super::access::SharedAccess;
use crate::machine::core::Core;
use crate::machine::lanes::each;
use crate::machine::registers::LANES;

/// Counts the bytes of a shared access, and the passes over the banks that it takes.
pub(crate) fn count_shared(core: &mut Core<'_>, addresses: &[u64; LANES], bytes: u32, mask: u32, kind: SharedAccess) {
    let moved = u64::from(bytes) * u64::from(mask.count_ones());
    let (least, all) = transactions(addresses, bytes, mask);
    let counts = &mut core.counts;
    let (total, transactions, conflicts) = match kind {
        SharedAccess::Load(_) => (
            &mut counts.shared_load_bytes,
            &mut counts.shared_load_transactions,
            &mut counts.shared_load_bank_conflicts,
        ),
        SharedAccess::Matrix => (
            &mut counts.shared_load_bytes,
            &mut counts.matrix_load_transactions,
            &mut counts.matrix_load_bank_conflicts,
        ),
        SharedAccess::Store | SharedAccess::Atomic => (
            &mut counts.shared_store_bytes,
            &mut counts.shared_store_transactions,
            &mut counts.shared_store_bank_conflicts,
        ),
        SharedAccess::Copy => (
            &mut counts.shared_store_bytes,
            &mut counts.copy_transactions,
            &mut counts.copy_bank_conflicts,
        ),
    };
    *total += moved;
    *transactions += all;
    *conflicts += all - least;
    counts.shared_transactions += all;
    counts.shared_bank_conflicts += all - least;
}

/// The least number of passes for an access of that size, and the number of passes that it takes.
fn transactions(addresses: &[u64; LANES], bytes: u32, mask: u32) -> (u64, u64) {
    let (mut least, mut all) = (0, 0);
    // Accesses of 8 bytes run by half warps, those of 16 bytes by quarter warps.
    let lanes_at_once = if bytes <= 4 { 32 } else { 128 / bytes.min(16) };
    let words = bytes.div_ceil(4).max(1);
    let mut first = 0;
    while first < 32 {
        let phase = mask & (((1u64 << lanes_at_once) - 1) << first) as u32;
        first += lanes_at_once;
        if phase == 0 {
            continue;
        }
        least += 1;
        all += passes(addresses, words, phase);
    }
    (least, all)
}

/// The largest number of distinct words in one bank.
fn passes(addresses: &[u64; LANES], words: u32, lanes: u32) -> u64 {
    let mut word_of_bank = [u64::MAX; 32];
    let mut conflict = false;
    let mut all = [0u64; 32];
    let mut count = 0;
    each(lanes, |lane| {
        for word in 0..u64::from(words) {
            let word = addresses[lane] / 4 + word;
            let known = &mut word_of_bank[(word % 32) as usize];
            conflict |= *known != u64::MAX && *known != word;
            *known = word;
            all[count & 31] = word;
            count += 1;
        }
    });
    if !conflict {
        return 1;
    }
    let all = &mut all[..count.min(32)];
    all.sort_unstable();
    let mut in_bank = [0u64; 32];
    for (index, word) in all.iter().enumerate() {
        if index == 0 || all[index - 1] != *word {
            in_bank[(*word % 32) as usize] += 1;
        }
    }
    in_bank.into_iter().max().unwrap_or(1)
}
