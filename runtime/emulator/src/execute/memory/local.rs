//! Loads and stores of local memory.

use super::access::{Access, aligned, bytes_at};
use crate::count::Class;
use crate::machine::core::{Core, Stop};
use crate::machine::program::Operation;
use crate::machine::registers::LANES;
use crate::machine::warp::Warp;
use crate::sanitize::FindingKind;

/// Loads or stores local memory, lane by lane.
pub(super) fn local(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
    store: bool,
) -> Result<(), Stop> {
    let bytes = access.bytes();
    let mask = aligned(core, warp, operation, addresses, bytes, mask)?;
    if core.count() && core.launch.program.info[operation.index as usize].class == Class::Local {
        core.counts.local_bytes += u64::from(bytes) * u64::from(mask.count_ones());
    }
    let slots = access.registers(&operation.slots);
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        let (at, size) = (addresses[lane] as usize, warp.local[lane].bytes.len());
        if at > size || size - at < bytes as usize {
            let message = format!("{bytes} bytes at {at:#x} in the thread's {size} bytes of local memory");
            core.wrong_access(
                FindingKind::OutOfBounds,
                warp,
                operation,
                lane,
                (addresses[lane], bytes),
                message,
            )?;
            continue;
        }
        if core.sanitize() {
            let defined = &mut warp.local[lane].defined[at..at + bytes as usize];
            if store {
                defined.fill(true);
            } else if defined.contains(&false) {
                let whole = defined.iter().all(|defined| !defined);
                // Compilers copy the padding of structures, so only a wholly unwritten access is reported.
                if whole {
                    core.find(
                        FindingKind::UninitialisedMemory,
                        warp,
                        operation,
                        lane,
                        Some((addresses[lane], bytes)),
                        || format!("{bytes} bytes at {at:#x} in local memory that this thread never wrote"),
                    );
                }
            }
        }
        for element in 0..access.count {
            let slot = slots[element as usize];
            let at = at + (element * access.size) as usize;
            if store {
                let value = access.get(&warp.registers, slot, lane).to_le_bytes();
                warp.local[lane].bytes[at..at + access.size as usize].copy_from_slice(&value[..access.size as usize]);
            } else {
                let value = bytes_at(&warp.local[lane].bytes, at, access.size);
                access.put(&mut warp.registers, slot, lane, value);
            }
        }
    }
    Ok(())
}
