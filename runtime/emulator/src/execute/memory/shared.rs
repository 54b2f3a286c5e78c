//! Loads and stores of shared memory, and the checks of all accesses to it.

use super::access::{Access, SharedAccess, aligned, bytes_at};
use super::banks::count_shared;
use super::watch::{watch_load, watch_store};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::LANES;
use crate::machine::shared::Strength;
use crate::machine::warp::Warp;
use crate::sanitize::FindingKind;

pub(super) fn load_shared(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
) -> Result<(), Stop> {
    let kind = SharedAccess::Load(access.strength);
    let mask = check_shared(core, warp, operation, addresses, access.bytes(), mask, kind)?;
    let slots = access.registers(&operation.slots);
    let bytes = core.shared.bytes.as_slice();
    for element in 0..access.count {
        let slot = slots[element as usize];
        let skip = (element * access.size) as usize;
        if access.size == 4 && !access.wide {
            let row = warp.registers.row_mut(slot);
            let word = |lane: usize| {
                let at = addresses[lane] as usize + skip;
                bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
            };
            each(mask, |lane| row[lane] = word(lane));
        } else {
            each(mask, |lane| {
                access.put(
                    &mut warp.registers,
                    slot,
                    lane,
                    bytes_at(bytes, addresses[lane] as usize + skip, access.size),
                )
            });
        }
    }
    Ok(())
}

pub(super) fn store_shared(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
) -> Result<(), Stop> {
    let mask = check_shared(
        core,
        warp,
        operation,
        addresses,
        access.bytes(),
        mask,
        SharedAccess::Store,
    )?;
    let slots = access.registers(&operation.slots);
    let size = access.size as usize;
    let watched = core.sanitize();
    each(mask, |lane| {
        let mut unchanged = true;
        for (element, &slot) in slots.iter().enumerate().take(access.count as usize) {
            let at = addresses[lane] as usize + element * size;
            let value = access.get(&warp.registers, slot, lane).to_le_bytes();
            let bytes = &mut core.shared.bytes[at..at + size];
            unchanged &= watched && *bytes == value[..size];
            bytes.copy_from_slice(&value[..size]);
        }
        if watched {
            let place = (addresses[lane], access.bytes());
            watch_store(core, warp, operation, place, lane, access.strength, unchanged);
        }
    });
    if watched && let Some(shadow) = core.shared.shadow() {
        shadow.order.finish(warp.index as usize);
    }
    Ok(())
}

/// Checks an access to shared memory: alignment, bounds and, under the sanitizer, races. Returns the lanes that may
/// access.
pub(crate) fn check_shared(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
    kind: SharedAccess,
) -> Result<u32, Stop> {
    let mask = aligned(core, warp, operation, addresses, bytes, mask)?;
    let mask = inside_shared(core, warp, operation, addresses, bytes, mask)?;
    if core.count() && mask != 0 {
        count_shared(core, addresses, bytes, mask, kind);
    }
    if core.sanitize() {
        match kind {
            SharedAccess::Load(strength) => watch_load(core, warp, operation, addresses, bytes, mask, strength),
            SharedAccess::Matrix => watch_load(core, warp, operation, addresses, bytes, mask, Strength::WEAK),
            // The sanitizer looks at these when they happen.
            SharedAccess::Store | SharedAccess::Atomic | SharedAccess::Copy => {}
        }
    }
    Ok(mask)
}

/// Reports lanes outside of the block's shared memory. Returns the other lanes.
pub(crate) fn inside_shared(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
) -> Result<u32, Stop> {
    let size = core.shared.bytes.len() as u64;
    let mut outside = 0;
    for (lane, &address) in addresses.iter().enumerate() {
        outside |= u32::from(address > size || size - address.min(size) < u64::from(bytes)) << lane;
    }
    let mut left = outside & mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        let message = format!(
            "{bytes} bytes at {:#x} in the block's {size} bytes of shared memory",
            addresses[lane]
        );
        core.wrong_access(
            FindingKind::OutOfBounds,
            warp,
            operation,
            lane,
            (addresses[lane], bytes),
            message,
        )?;
    }
    Ok(mask & !outside)
}
