//! Loads of constants and kernel parameters.

use super::access::{Access, aligned, bytes_at};
use crate::machine::core::{Core, Stop};
use crate::machine::program::Operation;
use crate::machine::registers::{FULL, LANES};
use crate::machine::warp::Warp;
use crate::parse::syntax::Space;
use crate::sanitize::FindingKind;

/// Loads a kernel parameter or constant once, if its address is the same in every lane.
pub(super) fn load_uniform(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
    space: Space,
) -> Result<(), Stop> {
    let at = addresses[0];
    let launch = core.launch;
    let bytes: &[u8] = if space == Space::Constant {
        &launch.constants
    } else {
        &launch.parameters
    };
    let total = u64::from(access.bytes());
    if mask != FULL
        || !addresses.iter().all(|address| *address == at)
        || !at.is_multiple_of(total)
        || at > bytes.len() as u64
        || bytes.len() as u64 - at < total
    {
        return load_bytes(core, warp, operation, access, addresses, mask, space);
    }
    let slots = access.registers(&operation.slots);
    for element in 0..access.count {
        let value = bytes_at(bytes, at as usize + (element * access.size) as usize, access.size);
        let slot = slots[element as usize];
        access.put(&mut warp.registers, slot, 0, value);
        if access.wide {
            let row = warp.registers.wide_mut(slot);
            *row = [row[0]; LANES];
        } else {
            let row = warp.registers.row_mut(slot);
            *row = [row[0]; LANES];
        }
    }
    Ok(())
}

/// Loads kernel parameters or constants lane by lane.
pub(super) fn load_bytes(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
    space: Space,
) -> Result<(), Stop> {
    let total = access.bytes();
    let mask = aligned(core, warp, operation, addresses, total, mask)?;
    let launch = core.launch;
    let bytes: &[u8] = if space == Space::Constant {
        &launch.constants
    } else {
        &launch.parameters
    };
    let slots = access.registers(&operation.slots);
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        let at = addresses[lane] as usize;
        if at > bytes.len() || bytes.len() - at < total as usize {
            let message = format!(
                "{total} bytes at {at:#x} in the {} bytes of {space} memory",
                bytes.len()
            );
            core.wrong_access(
                FindingKind::OutOfBounds,
                warp,
                operation,
                lane,
                (addresses[lane], total),
                message,
            )?;
            continue;
        }
        for element in 0..access.count {
            let value = bytes_at(bytes, at + (element * access.size) as usize, access.size);
            access.put(&mut warp.registers, slots[element as usize], lane, value);
        }
    }
    Ok(())
}
