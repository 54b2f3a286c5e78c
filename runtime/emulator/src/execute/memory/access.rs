//! A memory access of a warp: its addresses, their alignment, and its values in memory and in registers.

use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::{LANES, Registers, Slot, Slots, mapped};
use crate::machine::shared::Strength;
use crate::machine::warp::Warp;
use crate::sanitize::FindingKind;

/// The form of an access, packed into `Slots::extra`. The address is `from[0]` plus the offset; the values are `to`,
/// `from[1]`, `from[2]` and `from[3]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub offset: i32,
    /// The bytes of an element: 1, 2, 4 or 8.
    pub size: u32,
    /// The number of elements: 1, 2 or 4.
    pub count: u32,
    pub signed: bool,
    /// `true` if the registers have 64 bits.
    pub wide: bool,
    pub strength: Strength,
}

impl Access {
    pub fn pack(self) -> u64 {
        u64::from(self.offset as u32)
            | u64::from(self.size.trailing_zeros()) << 32
            | u64::from(self.count.trailing_zeros()) << 34
            | u64::from(self.signed) << 36
            | u64::from(self.wide) << 37
            | self.strength.pack() << 38
    }

    #[inline(always)]
    pub fn unpack(bits: u64) -> Access {
        Access {
            offset: bits as u32 as i32,
            size: 1 << (bits >> 32 & 3),
            count: 1 << (bits >> 34 & 3),
            signed: bits >> 36 & 1 != 0,
            wide: bits >> 37 & 1 != 0,
            strength: Strength::unpack(bits >> 38),
        }
    }

    /// The bytes of all elements.
    #[inline(always)]
    pub fn bytes(self) -> u32 {
        self.size * self.count
    }

    /// The registers of the elements.
    #[inline(always)]
    pub fn registers(self, slots: &Slots) -> [Slot; 4] {
        [slots.to, slots.from[1], slots.from[2], slots.from[3]]
    }

    /// Extends a value from memory and writes it to a register.
    #[inline(always)]
    pub fn put(self, registers: &mut Registers, slot: Slot, lane: usize, bits: u64) {
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

    /// The value of a register, whose low bits are to be stored.
    #[inline(always)]
    pub fn get(self, registers: &Registers, slot: Slot, lane: usize) -> u64 {
        if self.wide {
            registers.wide(slot)[lane]
        } else {
            registers.row(slot)[lane].into()
        }
    }
}

/// A kind of access to shared memory.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum SharedAccess {
    Load(Strength),
    /// The load of a matrix's rows.
    Matrix,
    Store,
    Atomic,
    /// The write of an asynchronous copy.
    Copy,
}

/// The addresses of all lanes. Those of inactive lanes are meaningless.
#[inline(always)]
pub(crate) fn addresses(warp: &Warp, slots: &Slots, offset: i32) -> [u64; LANES] {
    mapped(warp.registers.wide(slots.from[0]), |base| {
        base.wrapping_add(offset as i64 as u64)
    })
}

/// Reports misaligned lanes. Returns the other lanes.
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

/// The lanes whose address is not a multiple of the size, which is a power of two.
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

/// The `size` bytes at an offset, at most 8.
#[inline]
pub(super) fn bytes_at(bytes: &[u8], at: usize, size: u32) -> u64 {
    let mut value = [0; 8];
    let size = size as usize;
    value[..size].copy_from_slice(&bytes[at..at + size]);
    u64::from_le_bytes(value)
}
