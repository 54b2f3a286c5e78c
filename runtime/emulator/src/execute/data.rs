//! Moves, packing, conversions of addresses, and hints.

use crate::count::Class;
use crate::draft::{AddOffset, ConstantPredicate, Draft, Location, Nothing, Truncate};
use crate::error::Error;
use crate::machine::action::Action;
use crate::machine::address::{
    CONSTANT_WINDOW, LOCAL_WINDOW, PARAMETER_WINDOW, SHARED_WINDOW, WINDOW, map_to_rank, space_of, window,
};
use crate::machine::lanes::{LaneFunction, Lanes, each, function, lanes};
use crate::machine::registers::{Cell, FULL, LANES, Registers, Slot, Slots};
use crate::parse::syntax::{Operand, Space, Type};

lanes! {
    Copy32(a: u32) -> u32 { a }
    Copy64(a: u64) -> u64 { a }
    MapToRank(address: u32, rank: u32) -> u32 { map_to_rank(address, rank) }
    Pack2x16(a: u32, b: u32) -> u32 { (a & 0xffff) | b << 16 }
    Pack2x32(a: u32, b: u32) -> u64 { u64::from(a) | u64::from(b) << 32 }
    Pack2x8(a: u32, b: u32) -> u32 { (a & 0xff) | (b & 0xff) << 8 }
}

struct CopyPredicate;

impl Lanes for CopyPredicate {
    #[inline(always)]
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        let value = registers.predicate(slots.from[0]) ^ slots.extra as u32;
        registers.set_predicate(slots.to, value, mask);
    }
}

/// Packs four registers of `extra` bits each into one.
struct Pack4;

impl Lanes for Pack4 {
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        let bits = slots.extra as u32;
        let part = (1u64 << bits) - 1;
        each(mask, |lane| {
            let mut whole = 0;
            for (index, slot) in slots.from.iter().enumerate() {
                whole |= (u64::from(registers.row(*slot)[lane]) & part) << (bits * index as u32);
            }
            if bits == 16 {
                registers.wide_mut(slots.to)[lane] = whole;
            } else {
                registers.row_mut(slots.to)[lane] = whole as u32;
            }
        });
    }
}

/// Unpacks one register (`to`) into up to four (`from`). `extra` has the bits of a part in bits 0 to 7, the number of
/// parts in bits 8 to 15, and bit 16 set if the register is wide.
struct Unpack;

impl Lanes for Unpack {
    #[inline(always)]
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        let (bits, parts, wide) = (slots.extra & 0xff, slots.extra >> 8 & 0xff, slots.extra >> 16 != 0);
        let whole: [u64; LANES] = if wide {
            u64::load(registers, slots.to)
        } else {
            registers.row(slots.to).map(u64::from)
        };
        for index in 0..parts {
            let row = registers.row_mut(slots.from[index as usize & 3]);
            for lane in 0..LANES {
                let part = (whole[lane] >> (bits * index)) & ((1 << bits) - 1);
                row[lane] = if mask >> lane & 1 != 0 { part as u32 } else { row[lane] };
            }
        }
    }
}

/// Tests whether a generic address lies in a space. `extra` is the base of its window, 0 for global memory.
struct IsSpace;

impl Lanes for IsSpace {
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        let addresses = u64::load(registers, slots.from[0]);
        let mut result = 0;
        for (lane, address) in addresses.iter().enumerate() {
            let inside = if slots.extra == 0 {
                space_of(*address) == Space::Global
            } else {
                address.wrapping_sub(slots.extra) < WINDOW
            };
            result |= u32::from(inside) << lane;
        }
        registers.set_predicate(slots.to, result, mask);
    }
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    match draft.name() {
        "mov" => mov(draft),
        "cvta" => cvta(draft),
        "mapa" => {
            if !draft.take("shared::cluster") || draft.ty()? != Type::U32 {
                return Err(draft.unsupported("addresses other than 32-bit ones of shared memory"));
            }
            draft.arity(3..=3)?;
            let operand = draft.operand(1)?;
            let from = match draft.variable(operand) {
                Some((Location::Shared(at), offset)) => draft.narrow_constant(at.wrapping_add(offset as u32)),
                _ => draft.source(1, Type::B32)?,
            };
            let rank = draft.source(2, Type::B32)?;
            let to = draft.target(0, Type::B32)?;
            draft.lanes::<MapToRank>(to, &[from, rank], 0, Class::Move, 0)
        }
        "isspacep" => {
            let space = match draft.take_any(&["global", "shared::cta", "shared", "local", "const", "param"]) {
                Some("global") => 0,
                Some("shared" | "shared::cta") => SHARED_WINDOW,
                Some("local") => LOCAL_WINDOW,
                Some("const") => CONSTANT_WINDOW,
                Some("param") => PARAMETER_WINDOW,
                _ => return Err(draft.unsupported("this space")),
            };
            let to = draft.target(0, Type::Pred)?;
            let from = draft.source(1, Type::B64)?;
            draft.lanes::<IsSpace>(to, &[from], space, Class::Predicate, 0)
        }
        // Hints about caches and time, on which no result depends.
        "prefetch" | "prefetchu" | "applypriority" | "nanosleep" | "pmevent" => {
            draft.ignore(&[
                "global",
                "local",
                "L1",
                "L2",
                "tensormap",
                "u32",
                "L2::evict_last",
                "L2::evict_normal",
                "mask",
            ]);
            draft.lanes::<Nothing>(0, &[], 0, Class::Move, 0)
        }
        "setmaxnreg" => {
            if draft.take_any(&["inc", "dec"]).is_none() || !draft.take("sync") || !draft.take("aligned") {
                return Err(draft.unsupported("this form"));
            }
            draft.ty()?;
            draft.arity(1..=1)?;
            let registers = draft.immediate(0)?;
            if !(24..=256).contains(&registers) || registers % 8 != 0 {
                return Err(draft.invalid(format!(
                    "{registers} registers: a multiple of 8 from 24 to 256 is possible"
                )));
            }
            draft.lanes::<Nothing>(0, &[], 0, Class::Move, 0)
        }
        "createpolicy" => {
            // Accesses ignore the policy, so any value will do.
            while draft.left().is_some_and(|name| name != "b64") {
                let name = draft.left().unwrap_or_default().to_owned();
                draft.take(&name);
            }
            draft.ty()?;
            let to = draft.target(0, Type::B64)?;
            let zero = draft.wide_constant(0);
            draft.lanes::<Copy64>(to, &[zero], 0, Class::Move, 0)
        }
        _ => Err(draft.unsupported("this instruction")),
    }
}

/// The function that copies a register of the type.
fn copying(ty: Type) -> LaneFunction {
    match ty.size() {
        8 => function::<Copy64>(),
        _ => function::<Copy32>(),
    }
}

fn copy(draft: &mut Draft<'_, '_>, ty: Type, to: Slot, from: Slot) -> Result<(), Error> {
    draft.emit_move(
        Action::Lanes(copying(ty)),
        Slots {
            to,
            from: [from, 0, 0, 0],
            extra: 0,
        },
    )
}

/// `mov.v2` and `mov.v4`.
fn mov_vector(draft: &mut Draft<'_, '_>, lanes: usize) -> Result<(), Error> {
    let ty = draft.ty()?;
    if ty == Type::Pred || ty.size() as usize * lanes > 16 {
        return Err(draft.unsupported(format!("vectors of {lanes} {ty}")));
    }
    draft.arity(2..=2)?;
    let named: Vec<Operand>;
    let (to, from) = match (draft.operand(0)?, draft.operand(1)?) {
        (Operand::Vector(to), Operand::Vector(from)) => (to, from),
        // A special register such as `%tid`.
        (Operand::Vector(to), Operand::Name(name)) if name.starts_with('%') && lanes == 4 => {
            let components = ["x", "y", "z", "w"].map(|component| Operand::Name(format!("{name}.{component}")));
            named = components.into();
            (to, &named)
        }
        _ => return Err(draft.invalid("operands that are not vectors")),
    };
    if to.len() != lanes || from.len() != lanes {
        return Err(draft.invalid(format!("{} registers from {} for {lanes}", to.len(), from.len())));
    }
    draft.emit_moves(copying(ty), ty, to, from)
}

fn mov(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    match draft.take_any(&["v2", "v4"]) {
        Some("v2") => return mov_vector(draft, 2),
        Some(_) => return mov_vector(draft, 4),
        None => {}
    }
    let ty = draft.ty()?;
    draft.arity(2..=2)?;
    if ty == Type::Pred {
        let to = draft.target(0, Type::Pred)?;
        if let Operand::Integer(value) = draft.operand(1)? {
            return draft.emit_move(
                Action::Lanes(function::<ConstantPredicate>()),
                Slots {
                    to,
                    extra: *value,
                    ..Slots::default()
                },
            );
        }
        let (from, negated) = draft.predicate_source(1)?;
        let extra = if negated { u64::from(FULL) } else { 0 };
        return draft.emit_move(
            Action::Lanes(function::<CopyPredicate>()),
            Slots {
                to,
                from: [from, 0, 0, 0],
                extra,
            },
        );
    }
    if ty == Type::B128 {
        return Err(draft.unsupported("128-bit values"));
    }
    match (draft.operand(0)?, draft.operand(1)?) {
        (Operand::Vector(parts), Operand::Vector(sources)) if parts.len() == sources.len() => {
            Err(draft.invalid("a move from vector to vector without `.v2` or `.v4`"))
        }
        (_, Operand::Vector(parts)) => pack(draft, ty, parts),
        (Operand::Vector(parts), _) => unpack(draft, ty, parts),
        (_, source) => {
            let to = draft.target(0, ty)?;
            if let Some((place, offset)) = draft.variable(source) {
                let address = draft.address_of(place, offset);
                if ty.size() == 8 {
                    return copy(draft, ty, to, address);
                }
                if !matches!(place, Location::Shared(_) | Location::Frame(_)) {
                    return Err(draft.invalid("an address that does not fit 32 bits"));
                }
                return draft.emit_move(
                    Action::Lanes(function::<Truncate>()),
                    Slots {
                        to,
                        from: [address, 0, 0, 0],
                        extra: 0,
                    },
                );
            }
            if let Operand::Name(name) = source
                && draft.register_type(source).is_none()
                && let Some(pointer) = draft.function_pointer(name)
            {
                let Some(pointer) = pointer.filter(|_| ty.size() == 8) else {
                    return Err(draft.unsupported("the address of a kernel, or one of 32 bits"));
                };
                let address = draft.wide_constant(pointer);
                return copy(draft, ty, to, address);
            }
            // A move takes constants of any type: `mov.b32` takes a float.
            let read = match (source, ty.size()) {
                (Operand::Integer(_), 4) => Type::B32,
                (Operand::Integer(_), 8) => Type::B64,
                (Operand::Integer(_), _) => Type::B16,
                (Operand::Float64(_), 4) => Type::F32,
                (Operand::Float64(_), 8) => Type::F64,
                _ => ty,
            };
            let from = draft.source(1, read)?;
            // Registers of integers and of floating point are the same.
            let is_float = |ty: Type| matches!(ty, Type::F32 | Type::F64);
            let types = [draft.operand(0)?, source].map(|operand| draft.register_type(operand).map(is_float));
            match types {
                [Some(to_float), Some(from_float)] if to_float != from_float => draft.emit_name(
                    Action::Lanes(copying(ty)),
                    Slots {
                        to,
                        from: [from, 0, 0, 0],
                        extra: 0,
                    },
                ),
                _ => copy(draft, ty, to, from),
            }
        }
    }
}

fn part_type(draft: &Draft<'_, '_>, ty: Type, parts: usize) -> Result<Type, Error> {
    match ty.size() as usize / parts.max(1) {
        1 => Ok(Type::B8),
        2 => Ok(Type::B16),
        4 => Ok(Type::B32),
        _ => Err(draft.unsupported(format!("{parts} parts of {ty}"))),
    }
}

fn pack(draft: &mut Draft<'_, '_>, ty: Type, parts: &[Operand]) -> Result<(), Error> {
    let part = part_type(draft, ty, parts.len())?;
    let mut from = Vec::new();
    for operand in parts {
        // `_` in a source vector stands for unused bits.
        from.push(if *operand == Operand::Sink {
            draft.narrow_constant(0)
        } else {
            draft.source_of(operand, part)?
        });
    }
    let to = draft.target(0, ty)?;
    let (function, extra) = match (parts.len(), part) {
        (2, Type::B16) => (function::<Pack2x16>(), 0),
        (2, Type::B32) => (function::<Pack2x32>(), 0),
        (2, Type::B8) => (function::<Pack2x8>(), 0),
        (4, _) => (function::<Pack4>(), u64::from(part.size()) * 8),
        _ => return Err(draft.unsupported(format!("a vector of {} parts", parts.len()))),
    };
    let mut slots = Slots {
        to,
        from: [0; 4],
        extra,
    };
    slots.from[..from.len()].copy_from_slice(&from);
    draft.emit_move(Action::Lanes(function), slots)
}

fn unpack(draft: &mut Draft<'_, '_>, ty: Type, parts: &[Operand]) -> Result<(), Error> {
    let part = part_type(draft, ty, parts.len())?;
    if !matches!(parts.len(), 2 | 4) {
        return Err(draft.unsupported(format!("a vector of {} parts", parts.len())));
    }
    let from = draft.source(1, ty)?;
    let mut slots = Slots {
        to: from,
        from: [0; 4],
        extra: (u64::from(part.size()) * 8) | ((parts.len() as u64) << 8) | u64::from(ty.size() == 8) << 16,
    };
    for (slot, operand) in slots.from.iter_mut().zip(parts) {
        *slot = draft.target_of(operand, part)?;
    }
    draft.emit_name(Action::Lanes(function::<Unpack>()), slots)
}

fn cvta(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let to_space = draft.take("to");
    let space = match draft.take_any(&[
        "global",
        "shared::cta",
        "shared",
        "local",
        "const",
        "param::entry",
        "param",
    ]) {
        Some("global") => Space::Global,
        Some("shared" | "shared::cta") => Space::Shared,
        Some("local") => Space::Local,
        Some("const") => Space::Constant,
        Some("param" | "param::entry") => Space::Parameter,
        _ => return Err(draft.unsupported("this space")),
    };
    let ty = draft.ty()?;
    if ty.size() != 8 {
        return Err(draft.unsupported("32-bit generic addresses"));
    }
    let offset = if to_space {
        window(space).wrapping_neg()
    } else {
        window(space)
    };
    let to = draft.target(0, Type::B64)?;
    let source = draft.operand(1)?;
    let from = match draft.variable(source) {
        Some((place, at)) => draft.address_of(place, at),
        None => draft.source(1, Type::B64)?,
    };
    let slots = Slots {
        to,
        from: [from, 0, 0, 0],
        extra: offset,
    };
    match space {
        Space::Global => draft.emit_name(Action::Lanes(function::<AddOffset>()), slots),
        _ => draft.emit_move(Action::Lanes(function::<AddOffset>()), slots),
    }
}
