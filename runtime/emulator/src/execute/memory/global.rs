//! Loads and stores of global memory. A request is split by the allocations that its lanes access.

use super::access::{Access, aligned, bytes_at};
use super::sectors::{mark_sectors, sectors};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::LANES;
use crate::machine::warp::Warp;
use crate::memory::Allocation;
use crate::sanitize::FindingKind;

pub(super) fn load_global(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
) -> Result<(), Stop> {
    let bytes = access.bytes();
    let mask = aligned(core, warp, operation, addresses, bytes, mask)?;
    let slots = access.registers(&operation.slots);
    each_allocation(
        core,
        warp,
        operation,
        addresses,
        bytes,
        mask,
        Request::Load,
        |core, warp, allocation, base, lanes| {
            check_defined(core, warp, operation, allocation, addresses, bytes, lanes);
            for element in 0..access.count {
                let slot = slots[element as usize];
                let skip = u64::from(element * access.size);
                if access.size == 4 && !access.wide {
                    let row = warp.registers.row_mut(slot);
                    each(lanes, |lane| {
                        row[lane] = allocation.load_u32(addresses[lane] - base + skip)
                    });
                } else {
                    each(lanes, |lane| {
                        access.put(
                            &mut warp.registers,
                            slot,
                            lane,
                            read_global(allocation, addresses[lane] - base + skip, access.size),
                        )
                    });
                }
            }
        },
    )
}

pub(super) fn store_global(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
) -> Result<(), Stop> {
    let bytes = access.bytes();
    let mask = aligned(core, warp, operation, addresses, bytes, mask)?;
    let slots = access.registers(&operation.slots);
    each_allocation(
        core,
        warp,
        operation,
        addresses,
        bytes,
        mask,
        Request::Store,
        |core, warp, allocation, base, lanes| {
            if core.sanitize() {
                each(lanes, |lane| allocation.define(addresses[lane] - base, bytes.into()));
            } else {
                allocation.assume_defined();
            }
            for element in 0..access.count {
                let slot = slots[element as usize];
                let skip = u64::from(element * access.size);
                each(lanes, |lane| {
                    write_global(
                        allocation,
                        addresses[lane] - base + skip,
                        access.size,
                        access.get(&warp.registers, slot, lane),
                    )
                });
            }
        },
    )
}

/// Reads up to 16 bytes of global memory for each lane, aligned to the next power of two. The values of lanes whose
/// access is wrong stay unchanged.
#[allow(clippy::too_many_arguments)] // The machine, the request and the values: a structure would add no meaning.
pub(crate) fn read_lanes(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
    request: Request,
    values: &mut [[u8; 16]; LANES],
) -> Result<(), Stop> {
    let mask = aligned(core, warp, operation, addresses, bytes.next_power_of_two(), mask)?;
    each_allocation(
        core,
        warp,
        operation,
        addresses,
        bytes,
        mask,
        request,
        |core, warp, allocation, base, lanes| {
            check_defined(core, warp, operation, allocation, addresses, bytes, lanes);
            each(lanes, |lane| {
                let offset = addresses[lane] - base;
                if bytes == 16 {
                    let [low, high] = [0, 8].map(|skip| u128::from(allocation.load_u64(offset + skip)));
                    values[lane] = (low | high << 64).to_le_bytes();
                    return;
                }
                for (index, value) in values[lane].iter_mut().enumerate().take(bytes as usize) {
                    *value = allocation.load_u8(offset + index as u64);
                }
            });
        },
    )
}

/// Writes up to 16 bytes of global memory for each lane. Their number is a power of two, and their alignment.
pub(crate) fn write_lanes(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
    values: &[[u8; 16]; LANES],
) -> Result<(), Stop> {
    let mask = aligned(core, warp, operation, addresses, bytes, mask)?;
    each_allocation(
        core,
        warp,
        operation,
        addresses,
        bytes,
        mask,
        Request::Store,
        |core, _, allocation, base, lanes| {
            if !core.sanitize() {
                allocation.assume_defined();
            }
            let size = bytes.min(8);
            each(lanes, |lane| {
                let offset = addresses[lane] - base;
                if core.sanitize() {
                    allocation.define(offset, bytes.into());
                }
                for skip in (0..bytes).step_by(size as usize) {
                    let value = bytes_at(&values[lane], skip as usize, size);
                    write_global(allocation, offset + u64::from(skip), size, value);
                }
            });
        },
    )
}

/// A request to global memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Load,
    /// A load that leaves nothing in L1.
    LoadPastL1,
    Store,
}

/// Splits a request by the allocations that its lanes access, and counts its sectors.
#[allow(clippy::too_many_arguments)] // The machine, the request and the action: a structure would add no meaning.
#[inline(always)]
fn each_allocation(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
    request: Request,
    mut visit: impl FnMut(&mut Core<'_>, &mut Warp, &Allocation, u64, u32),
) -> Result<(), Stop> {
    if core.count() {
        count_request(core, warp, operation, addresses, bytes, mask, request);
    }
    let mut left = mask;
    while left != 0 {
        let first = left.trailing_zeros() as usize;
        let Some((index, _)) = core.allocation(operation, addresses[first], bytes.into()) else {
            outside_global(core, warp, operation, first, addresses[first], bytes)?;
            left &= left - 1;
            continue;
        };
        let launch = core.launch;
        let allocation: &Allocation = &launch.allocations[index];
        let mut lanes = 0;
        let (base, end) = (allocation.base, allocation.base + allocation.size);
        let bytes = u64::from(bytes);
        for (lane, &address) in addresses.iter().enumerate() {
            let inside = address >= base && address < end && end - address >= bytes;
            lanes |= u32::from(inside) << lane;
        }
        lanes &= left;
        left &= !lanes;
        visit(core, warp, allocation, base, lanes);
    }
    Ok(())
}

fn count_request(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
    request: Request,
) {
    let (list, count) = sectors(addresses, mask);
    let list = &list[..count];
    let moved = u64::from(bytes) * u64::from(mask.count_ones());
    let counts = &mut core.counts;
    if request == Request::Store {
        counts.global_store_bytes += moved;
        counts.global_store_requests += 1;
        counts.global_store_sectors += count as u64;
    } else {
        counts.global_load_bytes += moved;
        counts.global_load_requests += 1;
        counts.global_load_sectors += count as u64;
        counts.l2_load_sectors += match request {
            Request::LoadPastL1 => count as u64,
            _ => core.l1.fetched(core.block_number, warp.index, list),
        };
    }
    let stores = request == Request::Store;
    mark_sectors(core, operation, list, !stores, stores);
}

/// Reports an access to global memory outside of all allocations.
pub(crate) fn outside_global(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    lane: usize,
    address: u64,
    bytes: u32,
) -> Result<(), Stop> {
    let (kind, message) = if core.launch.memory.was_freed(address) {
        (
            FindingKind::UseAfterFree,
            format!("{bytes} bytes at {address:#x} in global memory that was freed"),
        )
    } else {
        let below = core
            .launch
            .allocations
            .partition_point(|allocation| allocation.base <= address);
        let nearest = below
            .checked_sub(1)
            .and_then(|index| core.launch.allocations.get(index));
        let place = nearest
            .filter(|nearest| address - nearest.base < nearest.size + (64 << 10))
            .map_or("not in any allocation".to_owned(), |nearest| {
                format!(
                    "{} bytes into the allocation of {} bytes at {:#x}",
                    address - nearest.base,
                    nearest.size,
                    nearest.base
                )
            });
        (
            FindingKind::OutOfBounds,
            format!("{bytes} bytes at {address:#x} in global memory: {place}"),
        )
    };
    core.wrong_access(kind, warp, operation, lane, (address, bytes), message)
}

/// Reports lanes that read unwritten bytes of global memory.
fn check_defined(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    allocation: &Allocation,
    addresses: &[u64; LANES],
    bytes: u32,
    lanes: u32,
) {
    if !core.sanitize() {
        return;
    }
    let base = allocation.base;
    let mut undefined = 0;
    each(lanes, |lane| {
        undefined |= u32::from(!allocation.is_defined(addresses[lane] - base, bytes.into())) << lane;
    });
    if undefined != 0 {
        let lane = undefined.trailing_zeros() as usize;
        let (address, offset) = (addresses[lane], addresses[lane] - base);
        core.find(
            FindingKind::UninitialisedMemory,
            warp,
            operation,
            lane,
            Some((address, bytes)),
            || format!("{bytes} bytes at {address:#x}, {offset} into their allocation, were never written"),
        );
    }
}

#[inline(always)]
fn read_global(allocation: &Allocation, offset: u64, size: u32) -> u64 {
    match size {
        1 => allocation.load_u8(offset).into(),
        2 => allocation.load_u16(offset).into(),
        4 => allocation.load_u32(offset).into(),
        _ => allocation.load_u64(offset),
    }
}

#[inline(always)]
fn write_global(allocation: &Allocation, offset: u64, size: u32, bits: u64) {
    match size {
        1 => allocation.store_u8(offset, bits as u8),
        2 => allocation.store_u16(offset, bits as u16),
        4 => allocation.store_u32(offset, bits as u32),
        _ => allocation.store_u64(offset, bits),
    }
}
