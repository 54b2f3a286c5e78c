//! Atomic operations and reductions in memory. Lanes go one after the other, lowest first.

use std::sync::atomic::Ordering::SeqCst;

use super::data::{space_of, window};
use super::half::{Brain, Half, HalfFloat};
use super::lanes::{Slots, each};
use super::memory::{
    SharedAccess, addresses, check_shared, ignore_cache_modifiers, mark_sectors, outside_global, sectors, take_space,
};
use crate::count::Class;
use crate::decode::Draft;
use crate::error::Error;
use crate::machine::registers::{LANES, mapped};
use crate::machine::warp::Warp;
use crate::machine::{Core, Stop};
use crate::memory::Allocation;
use crate::numerics::flush;
use crate::parse::syntax::{Operand, Space, Type};
use crate::program::{Action, Operation};
use crate::sanitize::FindingKind;

#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u8)]
enum Kind {
    And,
    Or,
    Xor,
    Cas,
    Exchange,
    Add,
    Increment,
    Decrement,
    Min,
    Max,
}

const KINDS: [(&str, Kind); 10] = [
    ("and", Kind::And),
    ("or", Kind::Or),
    ("xor", Kind::Xor),
    ("cas", Kind::Cas),
    ("exch", Kind::Exchange),
    ("add", Kind::Add),
    ("inc", Kind::Increment),
    ("dec", Kind::Decrement),
    ("min", Kind::Min),
    ("max", Kind::Max),
];

const TYPES: [Type; 14] = [
    Type::B32,
    Type::B64,
    Type::U32,
    Type::U64,
    Type::S32,
    Type::S64,
    Type::F32,
    Type::F64,
    Type::F16,
    Type::F16x2,
    Type::Bf16,
    Type::Bf16x2,
    Type::B16,
    Type::U16,
];

/// What an atomic operation does, packed into `Slots::extra`. The address is `from[0]`, the operands are `from[1]` and
/// `from[2]`; `to` takes the old value.
#[derive(Debug, Clone, Copy)]
struct Atomic {
    offset: i32,
    kind: Kind,
    ty: Type,
    space: Space,
    /// `atom`, not `red`.
    returns: bool,
    /// In the shared memory of the cluster.
    in_cluster: bool,
}

const SPACES: [Space; 3] = [Space::Global, Space::Shared, Space::Generic];

impl Atomic {
    fn pack(self) -> Option<u64> {
        let kind = KINDS.iter().position(|(_, kind)| *kind == self.kind)? as u64;
        let ty = TYPES.iter().position(|ty| *ty == self.ty)? as u64;
        let space = SPACES.iter().position(|space| *space == self.space)? as u64;
        Some(
            u64::from(self.offset as u32)
                | kind << 32
                | ty << 36
                | space << 40
                | u64::from(self.returns) << 42
                | u64::from(self.in_cluster) << 43,
        )
    }

    fn unpack(bits: u64) -> Atomic {
        Atomic {
            offset: bits as u32 as i32,
            kind: KINDS[(bits >> 32 & 15) as usize].1,
            ty: TYPES[(bits >> 36 & 15) as usize],
            space: SPACES[(bits >> 40 & 3) as usize],
            returns: bits >> 42 & 1 != 0,
            in_cluster: bits >> 43 & 1 != 0,
        }
    }

    /// The new value, given the old one and the operands.
    fn apply(self, old: u64, b: u64, c: u64) -> u64 {
        macro_rules! ordered {
            ($ty:ty) => {{
                let (x, y) = (old as $ty, b as $ty);
                (if self.kind == Kind::Min {
                    x.min(y)
                } else {
                    x.max(y)
                }) as u64
            }};
        }
        match (self.kind, self.ty) {
            (Kind::And, _) => old & b,
            (Kind::Or, _) => old | b,
            (Kind::Xor, _) => old ^ b,
            (Kind::Cas, _) => {
                if old == b {
                    c
                } else {
                    old
                }
            }
            (Kind::Exchange, _) => b,
            (Kind::Increment, _) => {
                if old as u32 >= b as u32 {
                    0
                } else {
                    old + 1
                }
            }
            (Kind::Decrement, _) => {
                if old as u32 == 0 || old as u32 > b as u32 {
                    b
                } else {
                    old - 1
                }
            }
            // Float additions on f32 in global memory flush subnormals on hardware.
            (Kind::Add, Type::F32) => {
                u64::from(flush(flush(f32::from_bits(old as u32)) + flush(f32::from_bits(b as u32))).to_bits())
            }
            (Kind::Add, Type::F64) => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
            (Kind::Add | Kind::Min | Kind::Max, Type::F16) => self.halves::<Half>(old, b, 1),
            (Kind::Add | Kind::Min | Kind::Max, Type::F16x2) => self.halves::<Half>(old, b, 2),
            (Kind::Add | Kind::Min | Kind::Max, Type::Bf16) => self.halves::<Brain>(old, b, 1),
            (Kind::Add | Kind::Min | Kind::Max, Type::Bf16x2) => self.halves::<Brain>(old, b, 2),
            (Kind::Add, _) => old.wrapping_add(b),
            (_, Type::S32) => ordered!(i32),
            (_, Type::S64) => ordered!(i64),
            (_, Type::U64 | Type::B64) => ordered!(u64),
            (_, _) => ordered!(u32),
        }
    }

    fn halves<T: HalfFloat>(self, old: u64, b: u64, count: u32) -> u64 {
        let mut result = 0;
        for half in 0..count {
            let (x, y) = (
                T::from_bits((old >> (16 * half)) as u16),
                T::from_bits((b >> (16 * half)) as u16),
            );
            result |= u64::from(
                super::half::atomic(
                    x,
                    y,
                    match self.kind {
                        Kind::Add => 0,
                        Kind::Min => 1,
                        _ => 2,
                    },
                )
                .to_bits(),
            ) << (16 * half);
        }
        result
    }
}

fn run(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let atomic = Atomic::unpack(operation.slots.extra);
    let addresses = &addresses(warp, &operation.slots, atomic.offset);
    let mut left = mask;
    while left != 0 {
        let generic = atomic.space == Space::Generic;
        let space = if generic {
            space_of(addresses[left.trailing_zeros() as usize])
        } else {
            atomic.space
        };
        let mut lanes = left;
        if generic {
            lanes = 0;
            each(left, |lane| {
                lanes |= u32::from(space_of(addresses[lane]) == space) << lane
            });
        }
        left &= !lanes;
        let base = if generic { window(space) } else { 0 };
        let inner = &mapped(addresses, |address| address.wrapping_sub(base));
        match space {
            Space::Global => global(core, warp, operation, atomic, inner, lanes)?,
            Space::Shared if atomic.in_cluster => {
                super::memory::each_block(core, warp, operation, inner, lanes, |core, warp, inner, lanes| {
                    shared(core, warp, operation, atomic, inner, lanes)
                })?;
            }
            Space::Shared => shared(core, warp, operation, atomic, inner, lanes)?,
            space => {
                let lane = lanes.trailing_zeros() as usize;
                return Err(core.fault(
                    warp,
                    operation,
                    lane,
                    Some(addresses[lane]),
                    format!("an atomic operation on {space} memory"),
                ));
            }
        }
    }
    Ok(())
}

fn operands(warp: &Warp, slots: &Slots, atomic: Atomic, lane: usize) -> (u64, u64) {
    let read = |slot| {
        if atomic.ty.size() == 8 {
            warp.registers.wide(slot)[lane]
        } else {
            u64::from(warp.registers.row(slot)[lane])
        }
    };
    let (b, c) = (read(slots.from[1]), read(slots.from[2]));
    if atomic.ty.size() == 2 {
        (b & 0xffff, c & 0xffff)
    } else {
        (b, c)
    }
}

fn give(warp: &mut Warp, slots: &Slots, atomic: Atomic, lane: usize, old: u64) {
    if !atomic.returns {
        return;
    }
    if atomic.ty.size() == 8 {
        warp.registers.wide_mut(slots.to)[lane] = old;
    } else {
        warp.registers.row_mut(slots.to)[lane] = old as u32;
    }
}

fn global(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    atomic: Atomic,
    addresses: &[u64; LANES],
    mask: u32,
) -> Result<(), Stop> {
    let bytes = atomic.ty.size();
    if core.count() {
        let (list, count) = sectors(addresses, mask);
        core.counts.global_atomic_bytes += u64::from(bytes) * u64::from(mask.count_ones());
        core.counts.global_atomic_sectors += count as u64;
        mark_sectors(core, operation, &list[..count], true, true);
    }
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        let address = addresses[lane];
        if !address.is_multiple_of(u64::from(bytes)) {
            core.wrong_access(
                FindingKind::Misaligned,
                warp,
                operation,
                lane,
                (address, bytes),
                format!("address {address:#x} is not a multiple of the {bytes} bytes accessed"),
            )?;
            continue;
        }
        let Some((index, offset)) = core.allocation(operation, address, bytes.into()) else {
            outside_global(core, warp, operation, lane, address, bytes)?;
            continue;
        };
        let launch = core.launch;
        let allocation: &Allocation = &launch.allocations[index];
        if core.sanitize() {
            if !allocation.is_defined(offset, bytes.into()) && atomic.kind != Kind::Exchange {
                core.find(
                    FindingKind::UninitialisedMemory,
                    warp,
                    operation,
                    lane,
                    Some((address, bytes)),
                    || format!("{bytes} bytes at {address:#x}, {offset} into their allocation, were never written"),
                );
            }
            allocation.define(offset, bytes.into());
        } else {
            allocation.assume_defined();
        }
        let (b, c) = operands(warp, &operation.slots, atomic, lane);
        // The closures run again if another host thread was faster.
        let old = match bytes {
            8 => allocation
                .atomic_u64(offset)
                .fetch_update(SeqCst, SeqCst, |old| Some(atomic.apply(old, b, c)))
                .unwrap_or_else(|old| old),
            4 => allocation
                .atomic_u32(offset)
                .fetch_update(SeqCst, SeqCst, |old| Some(atomic.apply(old.into(), b, c) as u32))
                .unwrap_or_else(|old| old)
                .into(),
            _ => {
                let shift = offset % 4 * 8;
                let word = allocation.atomic_u32(offset / 4 * 4);
                let update = |word: u32| {
                    let new = atomic.apply((word >> shift & 0xffff).into(), b, c) as u32 & 0xffff;
                    Some((word & !(0xffff << shift)) | new << shift)
                };
                let old = word.fetch_update(SeqCst, SeqCst, update).unwrap_or_else(|old| old);
                u64::from(old >> shift & 0xffff)
            }
        };
        give(warp, &operation.slots, atomic, lane, old);
    }
    Ok(())
}

fn shared(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    atomic: Atomic,
    addresses: &[u64; LANES],
    mask: u32,
) -> Result<(), Stop> {
    let bytes = atomic.ty.size();
    let mask = check_shared(core, warp, operation, addresses, bytes, mask, SharedAccess::Atomic)?;
    let size = bytes as usize;
    each(mask, |lane| {
        let at = addresses[lane] as usize;
        let mut value = [0; 8];
        value[..size].copy_from_slice(&core.shared.bytes[at..at + size]);
        let old = u64::from_le_bytes(value);
        let (b, c) = operands(warp, &operation.slots, atomic, lane);
        let new = atomic.apply(old, b, c).to_le_bytes();
        core.shared.bytes[at..at + size].copy_from_slice(&new[..size]);
        give(warp, &operation.slots, atomic, lane, old);
    });
    Ok(())
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let returns = draft.name() == "atom";
    if draft.take("async") {
        return Err(draft.unsupported("asynchronous reductions"));
    }
    let policy = draft.take("L2::cache_hint");
    ignore_cache_modifiers(draft);
    let in_cluster = draft.take("shared::cluster");
    let mut space = if in_cluster { Space::Shared } else { take_space(draft)? };
    draft.ignore(&["noftz"]);
    let Some((_, kind)) = KINDS.iter().copied().find(|(name, _)| draft.take(name)) else {
        return Err(draft.unsupported("this atomic operation"));
    };
    let ty = draft.ty()?;
    let first = usize::from(returns);
    let operands = first + if kind == Kind::Cas { 3 } else { 2 } + usize::from(policy);
    draft.arity(operands..=operands)?;
    let address = draft.address(first)?;
    if space == Space::Generic {
        space = address.space.unwrap_or(Space::Generic);
    }
    let float = matches!(ty, Type::F32 | Type::F64);
    let fits = match kind {
        Kind::Add => ty != Type::B32 && ty != Type::B64,
        Kind::Min | Kind::Max => !float,
        Kind::Increment | Kind::Decrement => ty == Type::U32,
        Kind::Exchange | Kind::Cas => true,
        Kind::And | Kind::Or | Kind::Xor => ty.is_integer(),
    };
    let atomic = Atomic {
        offset: address.offset,
        kind,
        ty,
        space,
        returns,
        in_cluster,
    };
    let Some(extra) = atomic.pack().filter(|_| fits) else {
        return Err(draft.unsupported(format!("this operation on {ty} in {space} memory")));
    };
    // Constants of floats and bits alike.
    let value = |draft: &mut Draft<'_, '_>, index: usize| {
        let read = match draft.operand(index)? {
            Operand::Integer(_) if ty.size() == 8 => Type::B64,
            Operand::Integer(_) => Type::B32,
            _ => ty,
        };
        draft.source(index, read)
    };
    let b = value(draft, first + 1)?;
    let c = if kind == Kind::Cas { value(draft, first + 2)? } else { b };
    let to = if returns { draft.target(0, ty)? } else { 0 };
    if space != Space::Global {
        draft.note_shared_access(ty.size());
    }
    let flops = if float && kind == Kind::Add { 1 } else { 0 };
    draft.emit(
        Action::Machine(run),
        Slots {
            to,
            from: [address.base, b, c, 0],
            extra,
        },
        Class::Atomic,
        flops,
    )
}
