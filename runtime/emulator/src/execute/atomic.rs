//! Atomic operations and reductions in memory. Lanes run one after the other, the lowest first.

use std::sync::atomic::Ordering::SeqCst;

use super::half::{Brain, Half, HalfFloat};
use super::memory::{
    SharedAccess, addresses, check_shared, ignore_cache_modifiers, mark_sectors, outside_global, sectors, take_space,
    take_strength, watch_atomic,
};
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::Action;
use crate::machine::address::{space_of, window};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::{LANES, Slot, Slots, mapped};
use crate::machine::shared::Strength;
use crate::machine::warp::Warp;
use crate::memory::Allocation;
use crate::numerics::flush;
use crate::parse::syntax::{Operand, Space, Type};
use crate::sanitize::FindingKind;

#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u8)]
enum AtomicKind {
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

const KINDS: [(&str, AtomicKind); 10] = [
    ("and", AtomicKind::And),
    ("or", AtomicKind::Or),
    ("xor", AtomicKind::Xor),
    ("cas", AtomicKind::Cas),
    ("exch", AtomicKind::Exchange),
    ("add", AtomicKind::Add),
    ("inc", AtomicKind::Increment),
    ("dec", AtomicKind::Decrement),
    ("min", AtomicKind::Min),
    ("max", AtomicKind::Max),
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

/// An atomic operation, packed into `Slots::extra`. The address is `from[0]`, the operands are `from[1]` and `from[2]`,
/// and `to` takes the old value. For vectors, `from[1]` is the index of a list: the elements' operands, then the
/// registers that take their old values.
#[derive(Debug, Clone, Copy)]
struct Atomic {
    offset: i32,
    kind: AtomicKind,
    ty: Type,
    space: Space,
    /// `true` for `atom`, `false` for `red`.
    returns: bool,
    /// `true` if the address is one of the cluster's shared memory.
    in_cluster: bool,
    /// The number of elements; 1 if there is no vector.
    count: u32,
    strength: Strength,
}

/// The number of elements of the longest vector.
const MOST_ELEMENTS: usize = 8;

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
                | u64::from(self.in_cluster) << 43
                | u64::from(self.count.trailing_zeros()) << 44
                | self.strength.pack() << 46,
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
            count: 1 << (bits >> 44 & 3),
            strength: Strength::unpack(bits >> 46),
        }
    }

    /// The registers of an element.
    fn registers(self, core: &Core<'_>, slots: &Slots, element: u32) -> ElementRegisters {
        if self.count == 1 {
            return ElementRegisters {
                from: [slots.from[1], slots.from[2]],
                to: slots.to,
            };
        }
        let list = &core.launch.program.lists[slots.from[1] as usize];
        let from = list[element as usize];
        ElementRegisters {
            from: [from, from],
            to: list[(self.count + element) as usize],
        }
    }

    /// The new value of an element in a space, given the old one and the operands.
    fn apply(self, space: Space, old: u64, b: u64, c: u64) -> u64 {
        macro_rules! ordered {
            ($ty:ty) => {{
                let (x, y) = (old as $ty, b as $ty);
                (if self.kind == AtomicKind::Min {
                    x.min(y)
                } else {
                    x.max(y)
                }) as u64
            }};
        }
        match (self.kind, self.ty) {
            (AtomicKind::And, _) => old & b,
            (AtomicKind::Or, _) => old | b,
            (AtomicKind::Xor, _) => old ^ b,
            (AtomicKind::Cas, _) => {
                if old == b {
                    c
                } else {
                    old
                }
            }
            (AtomicKind::Exchange, _) => b,
            (AtomicKind::Increment, _) => {
                if old as u32 >= b as u32 {
                    0
                } else {
                    old + 1
                }
            }
            (AtomicKind::Decrement, _) => {
                if old as u32 == 0 || old as u32 > b as u32 {
                    b
                } else {
                    old - 1
                }
            }
            (AtomicKind::Add, Type::F32) => {
                let (x, y) = (f32::from_bits(old as u32), f32::from_bits(b as u32));
                // Hardware flushes subnormals in global memory only.
                let sum = match space {
                    Space::Global => flush(flush(x) + flush(y)),
                    _ => x + y,
                };
                u64::from(sum.to_bits())
            }
            (AtomicKind::Add, Type::F64) => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
            (AtomicKind::Add | AtomicKind::Min | AtomicKind::Max, Type::F16) => self.halves::<Half>(old, b, 1),
            (AtomicKind::Add | AtomicKind::Min | AtomicKind::Max, Type::F16x2) => self.halves::<Half>(old, b, 2),
            (AtomicKind::Add | AtomicKind::Min | AtomicKind::Max, Type::Bf16) => self.halves::<Brain>(old, b, 1),
            (AtomicKind::Add | AtomicKind::Min | AtomicKind::Max, Type::Bf16x2) => self.halves::<Brain>(old, b, 2),
            (AtomicKind::Add, _) => old.wrapping_add(b),
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
                        AtomicKind::Add => 0,
                        AtomicKind::Min => 1,
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
            space if atomic.count > 1 => {
                let lane = lanes.trailing_zeros() as usize;
                let message = format!("an atomic operation on a vector in {space} memory");
                return Err(core.fault(warp, operation, lane, Some(addresses[lane]), message));
            }
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

/// The registers of an element's operands, and the one that takes its old value.
#[derive(Clone, Copy)]
struct ElementRegisters {
    from: [Slot; 2],
    to: Slot,
}

impl ElementRegisters {
    fn operands(self, warp: &Warp, atomic: Atomic, lane: usize) -> (u64, u64) {
        let [b, c] = self.from.map(|slot| match atomic.ty.size() {
            8 => warp.registers.wide(slot)[lane],
            4 => warp.registers.row(slot)[lane].into(),
            _ => u64::from(warp.registers.row(slot)[lane] & 0xffff),
        });
        (b, c)
    }

    fn give(self, warp: &mut Warp, atomic: Atomic, lane: usize, old: u64) {
        if !atomic.returns {
            return;
        }
        if atomic.ty.size() == 8 {
            warp.registers.wide_mut(self.to)[lane] = old;
        } else {
            warp.registers.row_mut(self.to)[lane] = old as u32;
        }
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
    let (size, bytes) = (atomic.ty.size(), atomic.ty.size() * atomic.count);
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
            if !allocation.is_defined(offset, bytes.into()) && atomic.kind != AtomicKind::Exchange {
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
        // All operands are read first: a register may take the old value of an earlier element.
        let mut operands = [(0, 0); MOST_ELEMENTS];
        for (operands, element) in operands.iter_mut().zip(0..atomic.count) {
            let registers = atomic.registers(core, &operation.slots, element);
            *operands = registers.operands(warp, atomic, lane);
        }
        for (element, &(b, c)) in (0..atomic.count).zip(&operands) {
            let old = update(allocation, offset + u64::from(element * size), atomic, b, c);
            let registers = atomic.registers(core, &operation.slots, element);
            registers.give(warp, atomic, lane, old);
        }
    }
    Ok(())
}

/// Updates an element of global memory. Returns its old value.
fn update(allocation: &Allocation, offset: u64, atomic: Atomic, b: u64, c: u64) -> u64 {
    // The closures run again if another host thread changed the value meanwhile.
    let apply = |old: u64| atomic.apply(Space::Global, old, b, c);
    match atomic.ty.size() {
        8 => allocation
            .atomic_u64(offset)
            .fetch_update(SeqCst, SeqCst, |old| Some(apply(old)))
            .unwrap_or_else(|old| old),
        4 => allocation
            .atomic_u32(offset)
            .fetch_update(SeqCst, SeqCst, |old| Some(apply(old.into()) as u32))
            .unwrap_or_else(|old| old)
            .into(),
        _ => {
            let shift = offset % 4 * 8;
            let word = allocation.atomic_u32(offset / 4 * 4);
            let update = |word: u32| {
                let new = apply((word >> shift & 0xffff).into()) as u32 & 0xffff;
                Some((word & !(0xffff << shift)) | new << shift)
            };
            let old = word.fetch_update(SeqCst, SeqCst, update).unwrap_or_else(|old| old);
            u64::from(old >> shift & 0xffff)
        }
    }
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
    let (size, watched) = (bytes as usize, core.sanitize());
    each(mask, |lane| {
        let at = addresses[lane] as usize;
        let mut value = [0; 8];
        value[..size].copy_from_slice(&core.shared.bytes[at..at + size]);
        let old = u64::from_le_bytes(value);
        let registers = atomic.registers(core, &operation.slots, 0);
        let (b, c) = registers.operands(warp, atomic, lane);
        let new = atomic.apply(Space::Shared, old, b, c).to_le_bytes();
        core.shared.bytes[at..at + size].copy_from_slice(&new[..size]);
        registers.give(warp, atomic, lane, old);
        if watched {
            let wrote = atomic.kind != AtomicKind::Cas || old == b;
            watch_atomic(
                core,
                warp,
                operation,
                (addresses[lane], bytes),
                lane,
                atomic.strength,
                wrote,
            );
        }
    });
    if watched && let Some(shadow) = core.shared.shadow() {
        shadow.order.finish(warp.index as usize);
    }
    Ok(())
}

/// `true` if the operation has a form for vectors.
fn vector_fits(kind: AtomicKind, ty: Type, space: Space, count: u32) -> bool {
    let does = match ty {
        Type::F32 => kind == AtomicKind::Add,
        Type::F16 | Type::Bf16 | Type::F16x2 | Type::Bf16x2 => {
            matches!(kind, AtomicKind::Add | AtomicKind::Min | AtomicKind::Max)
        }
        _ => false,
    };
    does && ty.size() * count <= 16 && matches!(space, Space::Global | Space::Generic)
}

/// Adds the list of the registers of an operation on vectors. Returns its index.
fn vector(draft: &mut Draft<'_, '_>, ty: Type, count: usize, returns: bool) -> Result<Slot, Error> {
    let mut list = Vec::new();
    for operand in elements(draft, usize::from(returns) + 1, count)? {
        list.push(draft.source_of(operand, ty)?);
    }
    let targets = if returns {
        elements(draft, 0, count)?
    } else {
        Vec::new()
    };
    for operand in targets {
        list.push(draft.target_of(operand, ty)?);
    }
    list.resize(2 * count, 0);
    Ok(draft.add_list(list) as Slot)
}

fn elements<'d>(draft: &Draft<'d, '_>, index: usize, count: usize) -> Result<Vec<&'d Operand>, Error> {
    let elements = draft.elements(index)?;
    match elements.len() == count {
        true => Ok(elements),
        false => Err(draft.invalid(format!("{} registers for {count} elements", elements.len()))),
    }
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let returns = draft.name() == "atom";
    if draft.take("async") {
        return Err(draft.unsupported("asynchronous reductions"));
    }
    let policy = draft.take("L2::cache_hint");
    let strength = Strength {
        strong: true,
        ..take_strength(draft)
    };
    ignore_cache_modifiers(draft);
    let in_cluster = draft.take("shared::cluster");
    let mut space = if in_cluster { Space::Shared } else { take_space(draft)? };
    draft.ignore(&["noftz"]);
    let Some((_, kind)) = KINDS.iter().copied().find(|(name, _)| draft.take(name)) else {
        return Err(draft.unsupported("this atomic operation"));
    };
    let count = match draft.take_any(&["v2", "v4", "v8"]) {
        None => 1,
        Some("v2") => 2,
        Some("v4") => 4,
        Some(_) => 8,
    };
    let ty = draft.ty()?;
    let first = usize::from(returns);
    let operands = first + if kind == AtomicKind::Cas { 3 } else { 2 } + usize::from(policy);
    draft.arity(operands..=operands)?;
    let address = draft.address(first)?;
    if space == Space::Generic {
        space = address.space.unwrap_or(Space::Generic);
    }
    let float = matches!(ty, Type::F32 | Type::F64);
    let fits = match kind {
        AtomicKind::Add => ty != Type::B32 && ty != Type::B64,
        AtomicKind::Min | AtomicKind::Max => !float,
        AtomicKind::Increment | AtomicKind::Decrement => ty == Type::U32,
        AtomicKind::Exchange | AtomicKind::Cas => true,
        AtomicKind::And | AtomicKind::Or | AtomicKind::Xor => ty.is_integer(),
    };
    let fits = fits && (count == 1 || vector_fits(kind, ty, space, count));
    let atomic = Atomic {
        offset: address.offset,
        kind,
        ty,
        space,
        returns,
        in_cluster,
        count,
        strength,
    };
    let Some(extra) = atomic.pack().filter(|_| fits) else {
        return Err(draft.unsupported(format!("this operation on {ty} in {space} memory")));
    };
    // An operand may be an integer constant whatever the type: the bits count.
    let value = |draft: &mut Draft<'_, '_>, index: usize| {
        let read = match draft.operand(index)? {
            Operand::Integer(_) if ty.size() == 8 => Type::B64,
            Operand::Integer(_) => Type::B32,
            _ => ty,
        };
        draft.source(index, read)
    };
    let (to, b, c) = if count == 1 {
        let b = value(draft, first + 1)?;
        let c = if kind == AtomicKind::Cas {
            value(draft, first + 2)?
        } else {
            b
        };
        (if returns { draft.target(0, ty)? } else { 0 }, b, c)
    } else {
        (0, vector(draft, ty, count as usize, returns)?, 0)
    };
    if space != Space::Global {
        draft.note_shared_access(ty.size());
    }
    let flops = if float && kind == AtomicKind::Add { count } else { 0 };
    draft.emit(
        Action::Warp(run),
        Slots {
            to,
            from: [address.base, b, c, 0],
            extra,
        },
        Class::Atomic,
        flops,
    )
}
