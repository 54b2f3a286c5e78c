//! Logic, shifts and bit fields.

use super::integer::Integer;
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::lanes::{LaneFunction, Lanes, each, function, lanes};
use crate::machine::registers::{Cell, FULL, Registers, Slots};
use crate::parse::syntax::Type;

lanes! {
    And32(a: u32, b: u32) -> u32 { a & b }
    And64(a: u64, b: u64) -> u64 { a & b }
    Or32(a: u32, b: u32) -> u32 { a | b }
    Or64(a: u64, b: u64) -> u64 { a | b }
    Xor32(a: u32, b: u32) -> u32 { a ^ b }
    Xor64(a: u64, b: u64) -> u64 { a ^ b }
    Not32(a: u32) -> u32 { !a }
    Not64(a: u64) -> u64 { !a }
    Cnot<T: Integer>(a: T) -> T { if a.is_zero() { T::ONE } else { T::ZERO } }
    // An amount beyond the width clamps: the result is 0, or the sign in every bit.
    Shl16(a: u16, b: u32) -> u16 { if b > 15 { 0 } else { a << b } }
    Shl32(a: u32, b: u32) -> u32 { if b > 31 { 0 } else { a << b } }
    Shl64(a: u64, b: u32) -> u64 { if b > 63 { 0 } else { a << b } }
    ShrU16(a: u16, b: u32) -> u16 { if b > 15 { 0 } else { a >> b } }
    ShrU32(a: u32, b: u32) -> u32 { if b > 31 { 0 } else { a >> b } }
    ShrU64(a: u64, b: u32) -> u64 { if b > 63 { 0 } else { a >> b } }
    ShrS16(a: i16, b: u32) -> i16 { a >> b.min(15) }
    ShrS32(a: i32, b: u32) -> i32 { a >> b.min(31) }
    ShrS64(a: i64, b: u32) -> i64 { a >> b.min(63) }
    /// The funnel shift of {b, a}. `extra` is 1 to clamp the amount to 32, 0 to wrap it.
    ShfL(a: u32, b: u32, c: u32; clamp) -> u32 {
        let amount = if clamp != 0 { c.min(32) } else { c & 31 };
        (((u64::from(b) << 32 | u64::from(a)) << amount) >> 32) as u32
    }
    ShfR(a: u32, b: u32, c: u32; clamp) -> u32 {
        let amount = if clamp != 0 { c.min(32) } else { c & 31 };
        ((u64::from(b) << 32 | u64::from(a)) >> amount) as u32
    }
    Lop3(a: u32, b: u32, c: u32; table) -> u32 {
        let mut result = 0;
        if table & 0x01 != 0 { result |= !a & !b & !c; }
        if table & 0x02 != 0 { result |= !a & !b & c; }
        if table & 0x04 != 0 { result |= !a & b & !c; }
        if table & 0x08 != 0 { result |= !a & b & c; }
        if table & 0x10 != 0 { result |= a & !b & !c; }
        if table & 0x20 != 0 { result |= a & !b & c; }
        if table & 0x40 != 0 { result |= a & b & !c; }
        if table & 0x80 != 0 { result |= a & b & c; }
        result
    }
    Prmt(a: u32, b: u32, c: u32) -> u32 {
        let bytes = u64::from(b) << 32 | u64::from(a);
        let mut result = 0;
        for position in 0..4 {
            let selector = c >> (4 * position);
            let byte = (bytes >> (8 * (selector & 7))) as u8;
            let byte = if selector & 8 != 0 { (byte as i8 >> 7) as u8 } else { byte };
            result |= u32::from(byte) << (8 * position);
        }
        result
    }
    /// `prmt` with a mode (`extra`), which forms the selector from the low two bits of c.
    PrmtMode(a: u32, b: u32, c: u32; mode) -> u32 {
        let bytes = u64::from(b) << 32 | u64::from(a);
        let at = c & 3;
        let mut result = 0;
        for position in 0..4u32 {
            let source = match mode {
                0 => at + position,
                1 => (at + 8 - position) & 7,
                2 => at,
                3 => at.max(position),
                4 => at.min(position),
                _ => (at & 1) * 2 + (position & 1),
            };
            result |= (((bytes >> (8 * source)) & 0xff) as u32) << (8 * position);
        }
        result
    }
    BfeU32(a: u32, b: u32, c: u32) -> u32 {
        let (position, length) = (b & 0xff, c & 0xff);
        let field = if position > 31 { 0 } else { a >> position };
        if length > 31 { field } else { field & ((1 << length) - 1) }
    }
    BfeS32(a: u32, b: u32, c: u32) -> u32 { signed_field(u64::from(a), b & 0xff, c & 0xff, 31) as u32 }
    BfeU64(a: u64, b: u32, c: u32) -> u64 {
        let (position, length) = (b & 0xff, c & 0xff);
        let field = if position > 63 { 0 } else { a >> position };
        if length > 63 { field } else { field & ((1 << length) - 1) }
    }
    BfeS64(a: u64, b: u32, c: u32) -> u64 { signed_field(a, b & 0xff, c & 0xff, 63) }
    Clz32(a: u32) -> u32 { a.leading_zeros() }
    Clz64(a: u64) -> u32 { a.leading_zeros() }
    Popc32(a: u32) -> u32 { a.count_ones() }
    Popc64(a: u64) -> u32 { a.count_ones() }
    Brev32(a: u32) -> u32 { a.reverse_bits() }
    Brev64(a: u64) -> u64 { a.reverse_bits() }
    // `extra` is 1 for `.shiftamt`: the result is the amount by which to shift left, not the position.
    BfindU32(a: u32; amount) -> u32 { found(a.leading_zeros(), 32, amount) }
    BfindS32(a: i32; amount) -> u32 { found(if a < 0 { !a } else { a }.leading_zeros(), 32, amount) }
    BfindU64(a: u64; amount) -> u32 { found(a.leading_zeros(), 64, amount) }
    BfindS64(a: i64; amount) -> u32 { found(if a < 0 { !a } else { a }.leading_zeros(), 64, amount) }
    /// The n-th set bit from a base.
    Fns(mask: u32, base: u32, offset: i32) -> u32 {
        let base = base & 31;
        if offset == 0 {
            if mask >> base & 1 != 0 { base } else { u32::MAX }
        } else {
            let step = offset.signum();
            let mut left = offset.unsigned_abs();
            let mut position = base as i32;
            let mut result = u32::MAX;
            while (0..32).contains(&position) {
                if mask >> position & 1 != 0 {
                    left -= 1;
                    if left == 0 {
                        result = position as u32;
                        break;
                    }
                }
                position += step;
            }
            result
        }
    }
    /// A mask of b ones from bit a. `extra` is 1 to clamp both, 0 to wrap them.
    Bmsk(a: u32, b: u32; clamp) -> u32 {
        let (from, length) = if clamp != 0 { (a.min(32), b.min(32)) } else { (a & 31, b & 31) };
        ((((1u64 << length) - 1) << from) & 0xffff_ffff) as u32
    }
    /// Extends the low b bits. Bit 0 of `extra` clamps b, bit 1 extends by the sign.
    Szext(a: u32, b: u32; mode) -> u32 {
        let length = if mode & 1 != 0 { b.min(32) } else { b & 31 };
        let field = if length == 32 { a } else { a & ((1u32 << length) - 1) };
        if mode & 2 != 0 && length > 0 && length < 32 && field >> (length - 1) & 1 != 0 { field | !((1u32 << length) - 1) } else { field }
    }
}

#[inline(always)]
fn found(leading: u32, bits: u32, amount: u64) -> u32 {
    if leading == bits {
        u32::MAX
    } else if amount != 0 {
        leading
    } else {
        bits - 1 - leading
    }
}

/// `bfe` of a signed type: bits beyond the most significant one are copies of the field's sign bit.
fn signed_field(value: u64, position: u32, length: u32, top: u32) -> u64 {
    if length == 0 {
        return 0;
    }
    let sign = value >> (position + length - 1).min(top) & 1;
    let mut result = 0;
    for bit in 0..=top {
        let from = position + bit;
        let set = if bit < length && from <= top {
            value >> from & 1
        } else {
            sign
        };
        result |= set << bit;
    }
    result
}

macro_rules! insert {
    ($name:ident, $ty:ty) => {
        /// `bfi`: inserts the field a into b at bit `from[2]`, `from[3]` bits long.
        struct $name;
        impl Lanes for $name {
            fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
                each(mask, |lane| {
                    let field = <$ty>::load_lane(registers, slots.from[0], lane);
                    let into = <$ty>::load_lane(registers, slots.from[1], lane);
                    let position = registers.row(slots.from[2])[lane] & 0xff;
                    let length = registers.row(slots.from[3])[lane] & 0xff;
                    let ones = if length >= <$ty>::BITS {
                        <$ty>::MAX
                    } else {
                        (1 << length) - 1
                    };
                    let (ones, field) = if position >= <$ty>::BITS {
                        (0, 0)
                    } else {
                        (ones << position, field << position)
                    };
                    <$ty>::store_lane(registers, slots.to, lane, (into & !ones) | (field & ones));
                });
            }
        }
    };
}
insert!(Bfi32, u32);
insert!(Bfi64, u64);

/// Logic on predicates. Bits 0 and 1 of `extra` are the operation, bits 2 and 3 negate the operands.
struct Logic;

impl Lanes for Logic {
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        let a = registers.predicate(slots.from[0]) ^ if slots.extra & 4 != 0 { FULL } else { 0 };
        let b = registers.predicate(slots.from[1]) ^ if slots.extra & 8 != 0 { FULL } else { 0 };
        let value = match slots.extra & 3 {
            0 => a & b,
            1 => a | b,
            2 => a ^ b,
            _ => !a,
        };
        registers.set_predicate(slots.to, value, mask);
    }
}

/// Chooses the form of a function by the width of its type.
macro_rules! by_width {
    ($ty:expr, $narrow:ident, $wide:ident) => {
        match $ty.size() {
            8 => function::<$wide>(),
            _ => function::<$narrow>(),
        }
    };
}

/// Chooses the form of a function by the width and the sign of its type.
macro_rules! by_integer {
    ($ty:expr, $u32:ident, $s32:ident, $u64:ident, $s64:ident) => {
        match ($ty.size(), $ty.is_signed()) {
            (8, false) => function::<$u64>(),
            (8, true) => function::<$s64>(),
            (_, false) => function::<$u32>(),
            (_, true) => function::<$s32>(),
        }
    };
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    match draft.name() {
        "shf" => return funnel_shift(draft),
        "prmt" => return permute(draft),
        "lop3" => return lop3(draft),
        "fns" => {
            draft.ty()?;
            return three(draft, function::<Fns>(), 0);
        }
        _ => {}
    }
    let clamp = draft.take("clamp");
    draft.ignore(&["wrap"]);
    let amount = draft.take("shiftamt");
    let ty = draft.ty()?;
    if ty == Type::Pred {
        return logic(draft);
    }
    match draft.name() {
        "and" => same(draft, ty, 2, by_width!(ty, And32, And64)),
        "or" => same(draft, ty, 2, by_width!(ty, Or32, Or64)),
        "xor" => same(draft, ty, 2, by_width!(ty, Xor32, Xor64)),
        "not" => same(draft, ty, 1, by_width!(ty, Not32, Not64)),
        "cnot" if ty.size() == 2 => same(draft, ty, 1, function::<Cnot<u16>>()),
        "cnot" if ty.size() == 4 => same(draft, ty, 1, function::<Cnot<u32>>()),
        "cnot" => same(draft, ty, 1, function::<Cnot<u64>>()),
        "brev" => same(draft, ty, 1, by_width!(ty, Brev32, Brev64)),
        "shl" | "shr" => shift(draft, ty),
        "bfe" => extract(draft, ty),
        "bfi" => insert(draft, ty),
        "clz" => count(draft, ty, by_width!(ty, Clz32, Clz64), 0),
        "popc" => count(draft, ty, by_width!(ty, Popc32, Popc64), 0),
        "bfind" => {
            let run = by_integer!(ty, BfindU32, BfindS32, BfindU64, BfindS64);
            count(draft, ty, run, amount.into())
        }
        "bmsk" => two(draft, function::<Bmsk>(), clamp.into()),
        "szext" => {
            let extra = u64::from(clamp) | u64::from(ty.is_signed()) << 1;
            two(draft, function::<Szext>(), extra)
        }
        _ => Err(draft.unsupported("this instruction")),
    }
}

/// Decodes `shf`.
fn funnel_shift(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let run = match draft.take_any(&["l", "r"]) {
        Some("l") => function::<ShfL>(),
        Some(_) => function::<ShfR>(),
        None => return Err(draft.invalid("`shf` needs `.l` or `.r`")),
    };
    let clamp = draft.take("clamp");
    draft.ignore(&["wrap"]);
    draft.ty()?;
    three(draft, run, clamp.into())
}

/// Decodes `prmt`.
fn permute(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    const MODES: [&str; 6] = ["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"];
    let mode = MODES.iter().position(|name| draft.take(name));
    draft.ty()?;
    match mode {
        Some(mode) => three(draft, function::<PrmtMode>(), mode as u64),
        None => three(draft, function::<Prmt>(), 0),
    }
}

/// Decodes `shl` and `shr`.
fn shift(draft: &mut Draft<'_, '_>, ty: Type) -> Result<(), Error> {
    let run = match (draft.name(), ty.size(), ty.is_signed()) {
        ("shl", 2, _) => function::<Shl16>(),
        ("shl", 4, _) => function::<Shl32>(),
        ("shl", 8, _) => function::<Shl64>(),
        ("shr", 2, false) => function::<ShrU16>(),
        ("shr", 4, false) => function::<ShrU32>(),
        ("shr", 8, false) => function::<ShrU64>(),
        ("shr", 2, true) => function::<ShrS16>(),
        ("shr", 4, true) => function::<ShrS32>(),
        ("shr", 8, true) => function::<ShrS64>(),
        _ => return Err(draft.unsupported(format!("the type {ty}"))),
    };
    let from = [draft.source(1, ty)?, draft.source(2, Type::B32)?];
    let to = draft.target(0, ty)?;
    draft.lane_function(run, to, &from, 0, Class::Integer, 0)
}

/// Decodes `bfe`.
fn extract(draft: &mut Draft<'_, '_>, ty: Type) -> Result<(), Error> {
    let run = by_integer!(ty, BfeU32, BfeS32, BfeU64, BfeS64);
    let from = [
        draft.source(1, ty)?,
        draft.source(2, Type::B32)?,
        draft.source(3, Type::B32)?,
    ];
    let to = draft.target(0, ty)?;
    draft.lane_function(run, to, &from, 0, Class::Integer, 0)
}

/// Decodes `bfi`.
fn insert(draft: &mut Draft<'_, '_>, ty: Type) -> Result<(), Error> {
    let from = [
        draft.source(1, ty)?,
        draft.source(2, ty)?,
        draft.source(3, Type::B32)?,
        draft.source(4, Type::B32)?,
    ];
    let to = draft.target(0, ty)?;
    draft.lane_function(by_width!(ty, Bfi32, Bfi64), to, &from, 0, Class::Integer, 0)
}

/// Emits an instruction of `sources` sources, all of one type.
fn same(draft: &mut Draft<'_, '_>, ty: Type, sources: usize, run: LaneFunction) -> Result<(), Error> {
    draft.arity(sources + 1..=sources + 1)?;
    let mut from = [0; 2];
    for (index, slot) in from.iter_mut().enumerate().take(sources) {
        *slot = draft.source(index + 1, ty)?;
    }
    let to = draft.target(0, ty)?;
    draft.lane_function(run, to, &from[..sources], 0, Class::Integer, 0)
}

/// Emits an instruction of one source, with a 32-bit result.
fn count(draft: &mut Draft<'_, '_>, ty: Type, run: LaneFunction, extra: u64) -> Result<(), Error> {
    let from = draft.source(1, ty)?;
    let to = draft.target(0, Type::B32)?;
    draft.lane_function(run, to, &[from], extra, Class::Integer, 0)
}

/// Emits an instruction of two 32-bit sources.
fn two(draft: &mut Draft<'_, '_>, run: LaneFunction, extra: u64) -> Result<(), Error> {
    let from = [draft.source(1, Type::B32)?, draft.source(2, Type::B32)?];
    let to = draft.target(0, Type::B32)?;
    draft.lane_function(run, to, &from, extra, Class::Integer, 0)
}

/// Emits an instruction of three 32-bit sources.
fn three(draft: &mut Draft<'_, '_>, run: LaneFunction, extra: u64) -> Result<(), Error> {
    draft.arity(4..=4)?;
    let from = [
        draft.source(1, Type::B32)?,
        draft.source(2, Type::B32)?,
        draft.source(3, Type::B32)?,
    ];
    let to = draft.target(0, Type::B32)?;
    draft.lane_function(run, to, &from, extra, Class::Integer, 0)
}

fn lop3(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    draft.ty()?;
    draft.arity(5..=5)?;
    let from = [
        draft.source(1, Type::B32)?,
        draft.source(2, Type::B32)?,
        draft.source(3, Type::B32)?,
    ];
    let table = draft.immediate(4)?;
    let to = draft.target(0, Type::B32)?;
    draft.lanes::<Lop3>(to, &from, table, Class::Integer, 0)
}

/// Decodes logic on predicates.
fn logic(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let operation = match draft.name() {
        "and" => 0,
        "or" => 1,
        "xor" => 2,
        "not" => 3,
        _ => return Err(draft.unsupported("this instruction for predicates")),
    };
    let (a, not_a) = draft.predicate_source(1)?;
    let (b, not_b) = if operation == 3 {
        (a, false)
    } else {
        draft.predicate_source(2)?
    };
    let to = draft.target(0, Type::Pred)?;
    let extra = operation | u64::from(not_a) << 2 | u64::from(not_b) << 3;
    draft.lanes::<Logic>(to, &[a, b], extra, Class::Predicate, 0)
}
