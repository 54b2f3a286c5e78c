//! Loads and stores of every state space.

use super::data::{space_of, window};
use super::lanes::{Slots, each};
use crate::count::Class;
use crate::decode::Draft;
use crate::error::Error;
use crate::machine::cluster::split;
use crate::machine::registers::{FULL, LANES, Registers, Slot, mapped};
use crate::machine::shared::Conflict;
use crate::machine::warp::Warp;
use crate::machine::{Core, Stop, Touched};
use crate::memory::Allocation;
use crate::parse::syntax::{Operand, Space, Type};
use crate::program::{Action, Machine, Operation};
use crate::sanitize::FindingKind;

/// What an access looks like, packed into `Slots::extra`. The address is `from[0]` plus the offset; the values are
/// `to`, `from[1]`, `from[2]`, `from[3]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub offset: i32,
    /// Bytes of one element: 1, 2, 4 or 8.
    pub size: u32,
    /// Elements: 1, 2 or 4.
    pub count: u32,
    pub signed: bool,
    /// The registers have 64 bits.
    pub wide: bool,
}

impl Access {
    fn pack(self) -> u64 {
        u64::from(self.offset as u32)
            | u64::from(self.size.trailing_zeros()) << 32
            | u64::from(self.count.trailing_zeros()) << 34
            | u64::from(self.signed) << 36
            | u64::from(self.wide) << 37
    }

    #[inline(always)]
    pub fn unpack(bits: u64) -> Access {
        Access {
            offset: bits as u32 as i32,
            size: 1 << (bits >> 32 & 3),
            count: 1 << (bits >> 34 & 3),
            signed: bits >> 36 & 1 != 0,
            wide: bits >> 37 & 1 != 0,
        }
    }

    /// Bytes of the whole access.
    #[inline(always)]
    pub fn bytes(self) -> u32 {
        self.size * self.count
    }

    #[inline(always)]
    fn registers(self, slots: &Slots) -> [Slot; 4] {
        [slots.to, slots.from[1], slots.from[2], slots.from[3]]
    }

    #[inline(always)]
    fn put(self, registers: &mut Registers, slot: Slot, lane: usize, bits: u64) {
        let value = if self.signed {
            match self.size {
                1 => bits as i8 as i64 as u64,
                2 => bits as i16 as i64 as u64,
                4 => bits as i32 as i64 as u64,
                _ => bits,
            }
        } else {
            bits
        };
        if self.wide {
            registers.wide_mut(slot)[lane] = value;
        } else {
            registers.row_mut(slot)[lane] = value as u32;
        }
    }

    #[inline(always)]
    fn get(self, registers: &Registers, slot: Slot, lane: usize) -> u64 {
        if self.wide {
            registers.wide(slot)[lane]
        } else {
            registers.row(slot)[lane].into()
        }
    }
}

/// The addresses of all lanes (those of inactive ones mean nothing).
#[inline(always)]
pub(crate) fn addresses(warp: &Warp, slots: &Slots, offset: i32) -> [u64; LANES] {
    mapped(warp.registers.wide(slots.from[0]), |base| {
        base.wrapping_add(offset as i64 as u64)
    })
}

/// Lanes whose address is not a multiple of the (power of two) size.
#[inline(always)]
fn misaligned(addresses: &[u64; LANES], bytes: u32, mask: u32) -> u32 {
    let low = u64::from(bytes) - 1;
    let all = addresses.iter().fold(0, |all, address| all | address);
    if all & low == 0 {
        return 0;
    }
    let mut lanes = 0;
    each(mask, |lane| lanes |= u32::from(addresses[lane] & low != 0) << lane);
    lanes
}

/// Reports misaligned lanes; the result is the lanes that are left.
pub(crate) fn aligned(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
) -> Result<u32, Stop> {
    let wrong = misaligned(addresses, bytes, mask);
    let mut left = wrong;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        let message = format!(
            "address {:#x} is not a multiple of the {bytes} bytes accessed",
            addresses[lane]
        );
        core.wrong_access(
            FindingKind::Misaligned,
            warp,
            operation,
            lane,
            (addresses[lane], bytes),
            message,
        )?;
    }
    Ok(mask & !wrong)
}

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

/// Distinct 32-byte sectors of a request, given addresses of accesses that each lie within one.
pub(crate) fn sectors(addresses: &[u64; LANES], mask: u32) -> ([u64; LANES], usize) {
    let mut sectors = [0; LANES];
    let mut count = 0;
    let mut sorted = true;
    each(mask, |lane| {
        let sector = addresses[lane] / 32;
        if count > 0 && sectors[count - 1] == sector {
            return;
        }
        sorted &= count == 0 || sectors[count - 1] < sector;
        sectors[count] = sector;
        count += 1;
    });
    if !sorted {
        sectors[..count].sort_unstable();
        let mut kept = 1;
        for index in 1..count {
            if sectors[index] != sectors[kept - 1] {
                sectors[kept] = sectors[index];
                kept += 1;
            }
        }
        count = kept;
    }
    (sectors, count)
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

/// Splits a request over the allocations that its lanes fall into, and counts its sectors.
#[allow(clippy::too_many_arguments)] // The state and the request, and what to do: a structure would name nothing.
#[inline(always)]
fn each_allocation(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
    store: bool,
    mut visit: impl FnMut(&mut Core<'_>, &mut Warp, &Allocation, u64, u32),
) -> Result<(), Stop> {
    if core.count() {
        let (list, count) = sectors(addresses, mask);
        let moved = u64::from(bytes) * u64::from(mask.count_ones());
        let counts = &mut core.counts;
        if store {
            counts.global_store_bytes += moved;
            counts.global_store_requests += 1;
            counts.global_store_sectors += count as u64;
        } else {
            counts.global_load_bytes += moved;
            counts.global_load_requests += 1;
            counts.global_load_sectors += count as u64;
        }
        mark_sectors(core, operation, &list[..count], !store, store);
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

/// Marks sectors as touched by the launch.
pub(crate) fn mark_sectors(core: &mut Core<'_>, operation: &Operation, sectors: &[u64], read: bool, written: bool) {
    for sector in sectors {
        // An access lies within its sector, but the sector may start before its allocation ends.
        if let Some((index, offset)) = core.allocation(operation, sector * 32, 1) {
            let touched = core.touched(index);
            if read {
                Touched::mark(&touched.read, offset / 32);
            }
            if written {
                Touched::mark(&touched.written, offset / 32);
            }
        }
    }
}

fn load_global(
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
        false,
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

/// Reads up to 16 bytes of global memory for each lane, at multiples of their next power of two; those of lanes whose
/// access is wrong stay as they are.
pub(crate) fn read_lanes(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
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
        false,
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

/// Writes up to 16 bytes of global memory for each lane, a power of two of them at a multiple of as many.
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
        true,
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

/// Reports lanes that read bytes of global memory which nothing wrote.
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

fn store_global(
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
        true,
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

/// Counts the bytes of a shared access, and the passes over the banks that it takes.
pub(crate) fn count_shared(core: &mut Core<'_>, addresses: &[u64; LANES], bytes: u32, mask: u32, kind: SharedAccess) {
    let moved = u64::from(bytes) * u64::from(mask.count_ones());
    let (least, all) = transactions(addresses, bytes, mask);
    let counts = &mut core.counts;
    let (total, transactions, conflicts) = match kind {
        SharedAccess::Load => (
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

/// The least passes over the banks that such an access takes, and those that it takes.
fn transactions(addresses: &[u64; LANES], bytes: u32, mask: u32) -> (u64, u64) {
    let (mut least, mut all) = (0, 0);
    // Accesses of 8 bytes go by half warps, of 16 by quarters.
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

/// The most distinct words that fall into one bank.
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

/// Checks the bounds of shared accesses and what the sanitizer has to say about them; the result is the lanes that
/// may go on.
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
    if core.sanitize() && kind != SharedAccess::Store {
        watch_shared(core, warp, operation, addresses, bytes, mask, kind);
    }
    Ok(mask)
}

/// Reports lanes outside the block's shared memory; the result is the lanes that are left.
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

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum SharedAccess {
    Load,
    /// A load of matrices' rows.
    Matrix,
    Store,
    Atomic,
    /// What an asynchronous copy writes.
    Copy,
}

#[inline(never)]
fn watch_shared(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
    kind: SharedAccess,
) {
    let first = warp.index * 32;
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        if watch_mbarriers(core, warp, operation, (addresses[lane], bytes), lane) {
            continue;
        }
        let Some(shadow) = core.shared.shadow() else {
            return;
        };
        let (thread, address) = (first + lane as u32, addresses[lane] as u32);
        if shadow.is_copying(address, bytes) {
            report_copying(core, warp, operation, (addresses[lane], bytes), lane);
            continue;
        }
        let (defined, conflict) = match kind {
            _ if core.remote => (shadow.is_written(address, bytes), None),
            SharedAccess::Load | SharedAccess::Matrix => shadow.read(thread, address, bytes),
            SharedAccess::Atomic | SharedAccess::Store | SharedAccess::Copy => (
                shadow.is_written(address, bytes),
                shadow.write(thread, address, bytes, true),
            ),
        };
        let place = Some((addresses[lane], bytes));
        if !defined {
            core.find(FindingKind::UninitialisedMemory, warp, operation, lane, place, || {
                format!("{bytes} bytes at {address:#x} in shared memory that this block never wrote")
            });
        }
        if let Some(conflict) = conflict {
            let verb = if kind == SharedAccess::Atomic {
                "writes"
            } else {
                "reads"
            };
            report_race(core, warp, operation, (addresses[lane], bytes), lane, conflict, verb);
        }
    }
}

fn bytes_at(bytes: &[u8], at: usize, size: u32) -> u64 {
    let mut value = [0; 8];
    let size = size as usize;
    value[..size].copy_from_slice(&bytes[at..at + size]);
    u64::from_le_bytes(value)
}

fn load_shared(
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
        SharedAccess::Load,
    )?;
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

fn store_shared(
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
            watch_store(core, warp, operation, addresses[lane], access.bytes(), lane, unchanged);
        }
    });
    Ok(())
}

/// Looks for races of a store with earlier accesses. Threads that write what is there already harm nobody: compilers
/// let several threads store the same result.
#[inline(never)]
pub(crate) fn watch_store(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    address: u64,
    bytes: u32,
    lane: usize,
    unchanged: bool,
) {
    if watch_mbarriers(core, warp, operation, (address, bytes), lane) {
        return;
    }
    let Some(shadow) = core.shared.shadow() else {
        return;
    };
    let thread = warp.index * 32 + lane as u32;
    if shadow.is_copying(address as u32, bytes) {
        report_copying(core, warp, operation, (address, bytes), lane);
        return;
    }
    if core.remote {
        shadow.land_copy(thread, address as u32, bytes);
        return;
    }
    if let Some(conflict) = shadow.write(thread, address as u32, bytes, false)
        && !unchanged
    {
        report_race(core, warp, operation, (address, bytes), lane, conflict, "writes");
    }
}

/// Looks for races of the start of an asynchronous copy with earlier accesses: a stage reused too early.
pub(crate) fn watch_copy(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    address: u64,
    bytes: u32,
    lane: usize,
) {
    if watch_mbarriers(core, warp, operation, (address, bytes), lane) {
        return;
    }
    let Some(shadow) = core.shared.shadow() else {
        return;
    };
    if shadow.is_copying(address as u32, bytes) {
        report_copying(core, warp, operation, (address, bytes), lane);
        return;
    }
    if let Some(conflict) = shadow.start_copy(warp.index * 32 + lane as u32, address as u32, bytes) {
        report_race(core, warp, operation, (address, bytes), lane, conflict, "copies to");
    }
}

/// Reports an ordinary access to an mbarrier; the result is whether it is one.
fn watch_mbarriers(core: &mut Core<'_>, warp: &Warp, operation: &Operation, access: (u64, u32), lane: usize) -> bool {
    let (address, bytes) = access;
    let touched = core.sanitize() && !core.remote && core.mbarriers.is_touched(address as u32, bytes);
    if touched {
        core.find(FindingKind::BarrierMisuse, warp, operation, lane, Some(access), || {
            format!("touches {bytes} bytes at {address:#x} in shared memory, where an mbarrier is, as ordinary memory")
        });
    }
    touched
}

fn report_copying(core: &mut Core<'_>, warp: &Warp, operation: &Operation, access: (u64, u32), lane: usize) {
    let (address, bytes) = access;
    core.find(FindingKind::MissingWait, warp, operation, lane, Some(access), || {
        format!(
            "touches {bytes} bytes at {address:#x} in shared memory while an asynchronous copy to them is under way"
        )
    });
}

pub(crate) fn report_race(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    access: (u64, u32),
    lane: usize,
    conflict: Conflict,
    verb: &str,
) {
    let other = crate::machine::thread_index(core.launch.block, conflict.thread);
    let earlier = if conflict.earlier_is_write { "wrote" } else { "read" };
    let (address, bytes) = access;
    core.find(FindingKind::SharedRace, warp, operation, lane, Some(access), || {
        format!(
            "{verb} {bytes} bytes at {address:#x} in shared memory that thread {other:?} {earlier} with no barrier between"
        )
    });
}

/// Loads and stores of a thread's own memory.
fn local(
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
                // Structures have padding, which compilers copy: only what is wholly unwritten is reported.
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

/// Loads from read-only bytes: constants and kernel parameters.
fn load_bytes(
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

/// A kernel parameter or constant at the same address in every lane: read once.
fn load_uniform(
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

macro_rules! entry {
    ($name:ident, |$core:ident, $warp:ident, $operation:ident, $access:ident, $addresses:ident, $mask:ident| $body:expr) => {
        fn $name($core: &mut Core<'_>, $warp: &mut Warp, $operation: &Operation, $mask: u32) -> Result<(), Stop> {
            let $access = Access::unpack($operation.slots.extra);
            let $addresses = &addresses($warp, &$operation.slots, $access.offset);
            $body
        }
    };
}

entry!(ld_global, |core, warp, operation, access, addresses, mask| load_global(
    core, warp, operation, access, addresses, mask
));
entry!(
    st_global,
    |core, warp, operation, access, addresses, mask| store_global(core, warp, operation, access, addresses, mask)
);
/// Accesses to the shared memory of the cluster, split by the block that they go to.
fn cluster(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
    store: bool,
) -> Result<(), Stop> {
    each_block(core, warp, operation, addresses, mask, |core, warp, inner, lanes| {
        if store {
            store_shared(core, warp, operation, access, inner, lanes)
        } else {
            load_shared(core, warp, operation, access, inner, lanes)
        }
    })
}

/// Runs an access to shared memory for each block of the cluster that lanes go to.
pub(crate) fn each_block(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    mask: u32,
    mut access: impl FnMut(&mut Core<'_>, &mut Warp, &[u64; LANES], u32) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut left = mask;
    while left != 0 {
        let first = left.trailing_zeros() as usize;
        let (rank, _) = split(addresses[first]);
        let mut lanes = 0;
        each(left, |lane| {
            lanes |= u32::from(split(addresses[lane]).0 == rank) << lane
        });
        left &= !lanes;
        let inner = mapped(addresses, |address| split(address).1);
        match rank.filter(|rank| *rank != core.cluster.rank) {
            None => access(core, warp, &inner, lanes)?,
            Some(rank) if rank < core.cluster.blocks.len() => {
                core.remotely(rank, |core| access(core, warp, &inner, lanes))?;
            }
            Some(rank) => {
                let message = format!(
                    "shared memory of block {rank} of a cluster of {} blocks",
                    core.cluster.blocks.len()
                );
                core.wrong_access(
                    FindingKind::OutOfBounds,
                    warp,
                    operation,
                    first,
                    (addresses[first], 0),
                    message,
                )?;
            }
        }
    }
    Ok(())
}

entry!(ld_cluster, |core, warp, operation, access, addresses, mask| cluster(
    core, warp, operation, access, addresses, mask, false
));
entry!(st_cluster, |core, warp, operation, access, addresses, mask| cluster(
    core, warp, operation, access, addresses, mask, true
));
entry!(ld_shared, |core, warp, operation, access, addresses, mask| load_shared(
    core, warp, operation, access, addresses, mask
));
entry!(
    st_shared,
    |core, warp, operation, access, addresses, mask| store_shared(core, warp, operation, access, addresses, mask)
);
entry!(ld_local, |core, warp, operation, access, addresses, mask| local(
    core, warp, operation, access, addresses, mask, false
));
entry!(st_local, |core, warp, operation, access, addresses, mask| local(
    core, warp, operation, access, addresses, mask, true
));
entry!(ld_constant, |core, warp, operation, access, addresses, mask| {
    load_uniform(core, warp, operation, access, addresses, mask, Space::Constant)
});
entry!(ld_parameter, |core, warp, operation, access, addresses, mask| {
    load_uniform(core, warp, operation, access, addresses, mask, Space::Parameter)
});
entry!(ld_generic, |core, warp, operation, access, addresses, mask| generic(
    core, warp, operation, access, addresses, mask, false
));
entry!(st_generic, |core, warp, operation, access, addresses, mask| generic(
    core, warp, operation, access, addresses, mask, true
));

/// Splits lanes by the space that their generic addresses point to.
fn generic(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
    store: bool,
) -> Result<(), Stop> {
    let mut left = mask;
    while left != 0 {
        let space = space_of(addresses[left.trailing_zeros() as usize]);
        let mut lanes = 0;
        each(left, |lane| {
            lanes |= u32::from(space_of(addresses[lane]) == space) << lane
        });
        left &= !lanes;
        let base = window(space);
        let inner = &mapped(addresses, |address| address.wrapping_sub(base));
        match (space, store) {
            (Space::Shared, false) => load_shared(core, warp, operation, access, inner, lanes)?,
            (Space::Shared, true) => store_shared(core, warp, operation, access, inner, lanes)?,
            (Space::Local, _) => local(core, warp, operation, access, inner, lanes, store)?,
            (Space::Constant | Space::Parameter, false) => {
                load_bytes(core, warp, operation, access, inner, lanes, space)?
            }
            (Space::Constant | Space::Parameter, true) => {
                let lane = lanes.trailing_zeros() as usize;
                core.wrong_access(
                    FindingKind::OutOfBounds,
                    warp,
                    operation,
                    lane,
                    (addresses[lane], access.bytes()),
                    format!("a store to read-only {space} memory"),
                )?;
            }
            (_, false) => load_global(core, warp, operation, access, inner, lanes)?,
            (_, true) => store_global(core, warp, operation, access, inner, lanes)?,
        }
    }
    Ok(())
}

/// Modifiers about ordering and caching, which change no value here: the emulator's memory is one, and in order.
pub(crate) fn ignore_cache_modifiers(draft: &mut Draft<'_, '_>) {
    draft.ignore(&[
        "weak", "volatile", "relaxed", "acquire", "release", "acq_rel", "sc", "cta", "cluster", "gpu", "sys", "mmio",
        "ca", "cg", "cs", "cv", "lu", "wb", "wt", "nc", "unified",
    ]);
    draft.ignore_prefixed(&["L1::", "L2::"]);
}

/// The space that the modifiers name.
pub(crate) fn take_space(draft: &mut Draft<'_, '_>) -> Result<Space, Error> {
    Ok(
        match draft.take_any(&[
            "global",
            "shared::cta",
            "shared",
            "local",
            "const",
            "param::entry",
            "param::func",
            "param",
        ]) {
            Some("global") => Space::Global,
            Some("shared" | "shared::cta") => Space::Shared,
            Some("local") => Space::Local,
            Some("const") => Space::Constant,
            Some(_) => Space::Parameter,
            None => Space::Generic,
        },
    )
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let store = draft.name() == "st";
    if draft.take("async") || draft.take("bulk") {
        return Err(draft.unsupported("asynchronous stores"));
    }
    let policy = draft.take("L2::cache_hint");
    ignore_cache_modifiers(draft);
    let in_cluster = draft.take("shared::cluster");
    let mut space = if in_cluster { Space::Shared } else { take_space(draft)? };
    let count = match draft.take_any(&["v2", "v4", "v8"]) {
        None => 1,
        Some("v2") => 2,
        Some("v4") => 4,
        Some(_) => return Err(draft.unsupported("vectors of eight")),
    };
    let ty = draft.ty()?;
    if ty == Type::B128 || ty == Type::Pred {
        return Err(draft.unsupported(format!("accesses of {ty}")));
    }
    let operands = if policy { 3 } else { 2 };
    draft.arity(operands..=operands)?;
    if policy {
        // A cache policy is a hint: the register is read and ignored.
        draft.source(2, Type::B64)?;
    }
    let address = draft.address(usize::from(!store))?;
    let (mut named, base) = (address.space, address.base);
    if named.is_none() && space == Space::Parameter && !draft.is_entry() {
        // In a function, parameters lie in the frame, and addresses of them are local.
        named = Some(Space::Local);
    }
    let class_space = space;
    if space == Space::Parameter {
        space = named.unwrap_or(Space::Parameter);
    } else if let Some(named) = named {
        if space == Space::Generic {
            // A bare variable name in a generic access is its address in its own space.
            space = named;
        } else if named != space {
            return Err(draft.invalid(format!("a variable in {named} memory in an access to {space} memory")));
        }
    }
    let values = draft.elements(if store { 1 } else { 0 })?;
    if values.len() != count {
        return Err(draft.invalid(format!("{} registers for {count} elements", values.len())));
    }
    // Registers may be wider than the elements; all of one access are alike.
    let wide = ty.size() == 8
        || values
            .iter()
            .any(|operand| draft.register_type(operand).is_some_and(|ty| ty.size() == 8));
    let register = if wide { Type::B64 } else { ty };
    let mut slots = Slots::default();
    for (index, operand) in values.iter().enumerate() {
        let slot = match (store, operand) {
            (false, operand) => draft.target_of(operand, if wide { Type::B64 } else { narrow(ty) })?,
            (true, Operand::Sink) => return Err(draft.invalid("`_` has no value to store")),
            (true, operand) => draft.source_of(operand, stored(register, operand))?,
        };
        if index == 0 {
            slots.to = slot;
        } else {
            slots.from[index] = slot;
        }
    }
    slots.from[0] = base;
    let access = Access {
        offset: address.offset,
        size: ty.size(),
        count: count as u32,
        signed: ty.is_signed(),
        wide,
    };
    slots.extra = access.pack();
    if matches!(space, Space::Shared | Space::Generic) {
        draft.note_shared_access(ty.size() * count as u32);
    }
    let (run, class): (Machine, Class) = match (space, store) {
        (Space::Global, false) => (ld_global, Class::LoadGlobal),
        (Space::Global, true) => (st_global, Class::StoreGlobal),
        (Space::Shared, false) if in_cluster => (ld_cluster, Class::LoadShared),
        (Space::Shared, true) if in_cluster => (st_cluster, Class::StoreShared),
        (Space::Shared, false) => (ld_shared, Class::LoadShared),
        (Space::Shared, true) => (st_shared, Class::StoreShared),
        (Space::Local, false) => (ld_local, Class::Local),
        (Space::Local, true) => (st_local, Class::Local),
        (Space::Constant, false) => (ld_constant, Class::Constant),
        (Space::Parameter, false) => (ld_parameter, Class::Constant),
        (Space::Generic, false) => (ld_generic, Class::LoadGlobal),
        (Space::Generic, true) => (st_generic, Class::StoreGlobal),
        (Space::Constant | Space::Parameter, true) => {
            return Err(draft.invalid(format!("a store to read-only {space} memory")));
        }
    };
    // Passing parameters is a move between frames, not traffic to local memory.
    let class = if class_space == Space::Parameter && class == Class::Local {
        Class::Move
    } else {
        class
    };
    draft.emit(Action::Machine(run), slots, class, 0)
}

/// The type of a register that takes an element of at most 32 bits: any of its size or wider.
fn narrow(ty: Type) -> Type {
    match ty.size() {
        1 => Type::B8,
        2 => Type::B16,
        _ => Type::B32,
    }
}

/// The type as which a stored operand is read: constants take the element's own type.
fn stored(ty: Type, operand: &Operand) -> Type {
    match operand {
        Operand::Integer(_) if ty.size() == 8 => Type::B64,
        Operand::Integer(_) => Type::B32,
        Operand::Name(_) if ty.size() < 8 => narrow(ty),
        _ => ty,
    }
}
