//! Comparisons and selections.

use super::half::{Brain, Half, HalfFloat};
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::lanes::{LaneFunction, Lanes, compare, each, function, lanes};
use crate::machine::registers::{Cell, FULL, Registers, Slots};
use crate::numerics::flush;
use crate::parse::syntax::{Operand, Type};

/// A value that can be compared.
pub(crate) trait Comparable: Cell {
    fn less(self, other: Self) -> bool;
    fn equal(self, other: Self) -> bool;
    fn unordered(self, other: Self) -> bool;
    fn flushed(self) -> Self;
}

macro_rules! comparable {
    ($($ty:ty: $flush:expr;)+) => {
        $(impl Comparable for $ty {
            #[inline(always)]
            fn less(self, other: Self) -> bool { self < other }
            #[inline(always)]
            fn equal(self, other: Self) -> bool { self == other }
            #[inline(always)]
            #[allow(clippy::eq_op)]
            fn unordered(self, other: Self) -> bool { self != self || other != other }
            #[inline(always)]
            fn flushed(self) -> Self { let flush: fn($ty) -> $ty = $flush; flush(self) }
        })+
    };
}
comparable! { u16: |a| a; i16: |a| a; u32: |a| a; i32: |a| a; u64: |a| a; i64: |a| a; f32: flush; f64: |a| a; }

macro_rules! comparable_half {
    ($($ty:ty),+) => {
        $(impl Comparable for $ty {
            #[inline(always)]
            fn less(self, other: Self) -> bool { self.to_f32() < other.to_f32() }
            #[inline(always)]
            fn equal(self, other: Self) -> bool { self.to_f32() == other.to_f32() }
            #[inline(always)]
            fn unordered(self, other: Self) -> bool { self.to_f32().is_nan() || other.to_f32().is_nan() }
            #[inline(always)]
            fn flushed(self) -> Self { if self.to_bits() & Self::EXPONENT == 0 { Self::from_bits(self.to_bits() & 0x8000) } else { self } }
        })+
    };
}
comparable_half!(Half, Brain);

/// A relation between two values.
pub(crate) trait Relation: 'static {
    fn holds<T: Comparable>(a: T, b: T) -> bool;
}

macro_rules! relations {
    ($($name:ident: |$a:ident, $b:ident| $holds:expr;)+) => {
        $(pub(crate) struct $name;
        impl Relation for $name {
            #[inline(always)]
            fn holds<T: Comparable>($a: T, $b: T) -> bool { $holds }
        })+
    };
}

relations! {
    Equal: |a, b| a.equal(b);
    NotEqual: |a, b| !a.equal(b) && !a.unordered(b);
    Less: |a, b| a.less(b);
    LessEqual: |a, b| a.less(b) || a.equal(b);
    Greater: |a, b| b.less(a);
    GreaterEqual: |a, b| b.less(a) || a.equal(b);
    EqualUnordered: |a, b| a.equal(b) || a.unordered(b);
    NotEqualUnordered: |a, b| !a.equal(b);
    LessUnordered: |a, b| a.less(b) || a.unordered(b);
    LessEqualUnordered: |a, b| a.less(b) || a.equal(b) || a.unordered(b);
    GreaterUnordered: |a, b| b.less(a) || a.unordered(b);
    GreaterEqualUnordered: |a, b| b.less(a) || a.equal(b) || a.unordered(b);
    Numbers: |a, b| !a.unordered(b);
    Unordered: |a, b| a.unordered(b);
}

/// Bits of `extra`.
const FTZ: u64 = 1;
/// The operator that combines the comparison with a predicate, in bits 1 and 2: 0 none, 1 and, 2 or, 3 xor.
const COMBINE: u32 = 1;
const NEGATED: u64 = 8;
/// A second predicate takes the complement of the comparison.
const COMPLEMENT: u64 = 16;
/// The result of `set` if the comparison holds, in bits 5 and 6: 0 all ones, else 1.0 as 1 `f32`, 2 `f16`, 3 `bf16`.
const RESULT: u32 = 5;

#[inline(always)]
fn combined(registers: &Registers, slots: &Slots, holds: u32) -> (u32, u32) {
    let predicate = if slots.extra >> COMBINE & 3 == 0 {
        0
    } else {
        registers.predicate(slots.from[2]) ^ if slots.extra & NEGATED != 0 { FULL } else { 0 }
    };
    let combine = |value: u32| match slots.extra >> COMBINE & 3 {
        0 => value,
        1 => value & predicate,
        2 => value | predicate,
        _ => value ^ predicate,
    };
    (combine(holds), combine(!holds))
}

/// `setp`, which sets a predicate, and the complement in `from[3]`.
pub(crate) struct SetPredicate<T, R>(std::marker::PhantomData<(T, R)>);

impl<T: Comparable, R: Relation> Lanes for SetPredicate<T, R> {
    #[inline(always)]
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        let holds = holds::<T, R>(registers, slots);
        let (value, complement) = combined(registers, slots, holds);
        registers.set_predicate(slots.to, value, mask);
        if slots.extra & COMPLEMENT != 0 {
            registers.set_predicate(slots.from[3], complement, mask);
        }
    }
}

#[inline(always)]
fn holds<T: Comparable, R: Relation>(registers: &Registers, slots: &Slots) -> u32 {
    if slots.extra & FTZ != 0 {
        compare::<T>(registers, slots, |a, b| R::holds(a.flushed(), b.flushed()))
    } else {
        compare::<T>(registers, slots, R::holds)
    }
}

/// `setp` on pairs: the low halves set the first predicate, the high halves the second.
struct SetPredicatePair<T, R>(std::marker::PhantomData<(T, R)>);

impl<T: Comparable + HalfFloat, R: Relation> Lanes for SetPredicatePair<T, R> {
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        let (low, high) = pair_holds::<T, R>(registers, slots);
        let (low, _) = combined(registers, slots, low);
        let (high, _) = combined(registers, slots, high);
        registers.set_predicate(slots.to, low, mask);
        if slots.extra & COMPLEMENT != 0 {
            registers.set_predicate(slots.from[3], high, mask);
        }
    }
}

fn pair_holds<T: Comparable + HalfFloat, R: Relation>(registers: &Registers, slots: &Slots) -> (u32, u32) {
    let half = |shift: u32| {
        compare::<u32>(registers, slots, |a, b| {
            let (a, b) = (T::from_bits((a >> shift) as u16), T::from_bits((b >> shift) as u16));
            if slots.extra & FTZ != 0 {
                R::holds(a.flushed(), b.flushed())
            } else {
                R::holds(a, b)
            }
        })
    };
    (half(0), half(16))
}

/// `set`, which sets a register to all ones or 1.0, else to 0.
struct Set<T, R>(std::marker::PhantomData<(T, R)>);

impl<T: Comparable, R: Relation> Lanes for Set<T, R> {
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        let holds = holds::<T, R>(registers, slots);
        let (value, _) = combined(registers, slots, holds);
        let one = [u32::MAX, 0x3f80_0000, 0x3c00, 0x3f80][(slots.extra >> RESULT & 3) as usize];
        let row = registers.row_mut(slots.to);
        each(mask, |lane| row[lane] = if value >> lane & 1 != 0 { one } else { 0 });
    }
}

/// `set` on pairs, for each half.
struct SetPair<T, R>(std::marker::PhantomData<(T, R)>);

impl<T: Comparable + HalfFloat, R: Relation> Lanes for SetPair<T, R> {
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        let (low, high) = pair_holds::<T, R>(registers, slots);
        let (low, _) = combined(registers, slots, low);
        let (high, _) = combined(registers, slots, high);
        let one = [0xffff, 0x3f80, 0x3c00, 0x3f80][(slots.extra >> RESULT & 3) as usize];
        let row = registers.row_mut(slots.to);
        each(mask, |lane| {
            row[lane] = ((low >> lane & 1) * one) | (((high >> lane & 1) * one) << 16)
        });
    }
}

macro_rules! select {
    ($name:ident, $ty:ty) => {
        /// `selp`, which selects by the predicate `from[2]`, negated if `extra` is not 0.
        struct $name;
        impl Lanes for $name {
            #[inline(always)]
            fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
                let choice = registers.predicate(slots.from[2]) ^ if slots.extra != 0 { FULL } else { 0 };
                let a = <$ty>::load(registers, slots.from[0]);
                let b = <$ty>::load(registers, slots.from[1]);
                if mask == FULL {
                    let mut result = a;
                    for lane in 0..32 {
                        result[lane] = if choice >> lane & 1 != 0 { a[lane] } else { b[lane] };
                    }
                    <$ty>::store(registers, slots.to, &result);
                } else {
                    each(mask, |lane| {
                        <$ty>::store_lane(
                            registers,
                            slots.to,
                            lane,
                            if choice >> lane & 1 != 0 { a[lane] } else { b[lane] },
                        )
                    });
                }
            }
        }
    };
}
select!(Select32, u32);
select!(Select64, u64);

lanes! {
    SlctS32(a: u32, b: u32, c: i32) -> u32 { if c >= 0 { a } else { b } }
    SlctS64(a: u64, b: u64, c: i32) -> u64 { if c >= 0 { a } else { b } }
    SlctF32(a: u32, b: u32, c: f32; ftz) -> u32 { if (if ftz != 0 { flush(c) } else { c }) >= 0.0 { a } else { b } }
    SlctF64(a: u64, b: u64, c: f32; ftz) -> u64 { if (if ftz != 0 { flush(c) } else { c }) >= 0.0 { a } else { b } }
}

const RELATIONS: [&str; 18] = [
    "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan",
];

macro_rules! by_relation {
    ($draft:expr, $kind:ident, $ty:ty, $relation:expr) => {
        match $relation {
            "eq" => function::<$kind<$ty, Equal>>(),
            "ne" => function::<$kind<$ty, NotEqual>>(),
            "lt" | "lo" => function::<$kind<$ty, Less>>(),
            "le" | "ls" => function::<$kind<$ty, LessEqual>>(),
            "gt" | "hi" => function::<$kind<$ty, Greater>>(),
            "ge" | "hs" => function::<$kind<$ty, GreaterEqual>>(),
            "equ" => function::<$kind<$ty, EqualUnordered>>(),
            "neu" => function::<$kind<$ty, NotEqualUnordered>>(),
            "ltu" => function::<$kind<$ty, LessUnordered>>(),
            "leu" => function::<$kind<$ty, LessEqualUnordered>>(),
            "gtu" => function::<$kind<$ty, GreaterUnordered>>(),
            "geu" => function::<$kind<$ty, GreaterEqualUnordered>>(),
            "num" => function::<$kind<$ty, Numbers>>(),
            "nan" => function::<$kind<$ty, Unordered>>(),
            other => return Err($draft.unsupported(format!("the comparison `.{other}`"))),
        }
    };
}

macro_rules! by_type {
    ($draft:expr, $kind:ident, $pair:ident, $ty:expr, $relation:expr) => {
        match $ty {
            Type::U16 | Type::B16 => by_relation!($draft, $kind, u16, $relation),
            Type::S16 => by_relation!($draft, $kind, i16, $relation),
            Type::U32 | Type::B32 => by_relation!($draft, $kind, u32, $relation),
            Type::S32 => by_relation!($draft, $kind, i32, $relation),
            Type::U64 | Type::B64 => by_relation!($draft, $kind, u64, $relation),
            Type::S64 => by_relation!($draft, $kind, i64, $relation),
            Type::F32 => by_relation!($draft, $kind, f32, $relation),
            Type::F64 => by_relation!($draft, $kind, f64, $relation),
            Type::F16 => by_relation!($draft, $kind, Half, $relation),
            Type::Bf16 => by_relation!($draft, $kind, Brain, $relation),
            Type::F16x2 => by_relation!($draft, $pair, Half, $relation),
            Type::Bf16x2 => by_relation!($draft, $pair, Brain, $relation),
            other => return Err($draft.unsupported(format!("the type {other}"))),
        }
    };
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    match draft.name() {
        "setp" => setp(draft),
        "set" => set(draft),
        "selp" => {
            let ty = draft.ty()?;
            draft.arity(4..=4)?;
            let (a, b) = (draft.source(1, ty)?, draft.source(2, ty)?);
            let (predicate, negated) = draft.predicate_source(3)?;
            let to = draft.target(0, ty)?;
            let run = if ty.size() == 8 {
                function::<Select64>()
            } else {
                function::<Select32>()
            };
            draft.lane_function(run, to, &[a, b, predicate], negated.into(), Class::Predicate, 0)
        }
        _ => {
            let ftz = draft.take("ftz");
            let ty = draft.ty()?;
            let by = draft.ty()?;
            let run = match (ty.size(), by) {
                (8, Type::S32) => function::<SlctS64>(),
                (_, Type::S32) => function::<SlctS32>(),
                (8, Type::F32) => function::<SlctF64>(),
                (_, Type::F32) => function::<SlctF32>(),
                _ => return Err(draft.unsupported(format!("a selection by {by}"))),
            };
            let from = [draft.source(1, ty)?, draft.source(2, ty)?, draft.source(3, by)?];
            let to = draft.target(0, ty)?;
            draft.lane_function(run, to, &from, ftz.into(), Class::Predicate, 0)
        }
    }
}

/// Takes the modifiers that `setp` and `set` share. Returns the relation and `extra`.
fn modifiers(draft: &mut Draft<'_, '_>) -> Result<(&'static str, u64), Error> {
    let Some(relation) = RELATIONS.iter().copied().find(|name| draft.take(name)) else {
        return Err(draft.unsupported("a comparison without a known relation"));
    };
    let combine = match draft.take_any(&["and", "or", "xor"]) {
        None => 0,
        Some("and") => 1,
        Some("or") => 2,
        Some(_) => 3,
    };
    let ftz = if draft.take("ftz") { FTZ } else { 0 };
    Ok((relation, combine << COMBINE | ftz))
}

/// The slot of the predicate with which the comparison is combined.
fn combining(draft: &mut Draft<'_, '_>, extra: &mut u64) -> Result<u32, Error> {
    if *extra >> COMBINE & 3 == 0 {
        draft.arity(3..=3)?;
        return Ok(0);
    }
    draft.arity(4..=4)?;
    let (slot, negated) = draft.predicate_source(3)?;
    if negated {
        *extra |= NEGATED;
    }
    Ok(slot)
}

fn setp(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let (relation, mut extra) = modifiers(draft)?;
    let ty = draft.ty()?;
    let run: LaneFunction = by_type!(draft, SetPredicate, SetPredicatePair, ty, relation);
    let predicate = combining(draft, &mut extra)?;
    let (a, b) = (draft.source(1, ty)?, draft.source(2, ty)?);
    let (to, complement) = match draft.operand(0)? {
        Operand::Pair(first, second) => {
            extra |= COMPLEMENT;
            (
                draft.target_of(first, Type::Pred)?,
                draft.target_of(second, Type::Pred)?,
            )
        }
        operand => (draft.target_of(operand, Type::Pred)?, 0),
    };
    draft.lane_function(run, to, &[a, b, predicate, complement], extra, Class::Predicate, 0)
}

fn set(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let (relation, mut extra) = modifiers(draft)?;
    let result = draft.ty()?;
    let ty = draft.ty()?;
    let run: LaneFunction = by_type!(draft, Set, SetPair, ty, relation);
    extra |= match result {
        Type::U32 | Type::S32 | Type::B32 | Type::U16 | Type::S16 => 0,
        Type::F32 => 1,
        Type::F16 | Type::F16x2 => 2,
        Type::Bf16 | Type::Bf16x2 => 3,
        other => return Err(draft.unsupported(format!("a result of type {other}"))),
    } << RESULT;
    let predicate = combining(draft, &mut extra)?;
    let (a, b) = (draft.source(1, ty)?, draft.source(2, ty)?);
    let to = draft.target(0, result)?;
    draft.lane_function(run, to, &[a, b, predicate, 0], extra, Class::Predicate, 0)
}
