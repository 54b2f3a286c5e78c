//! Integer arithmetic.

use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::{Action, WarpFunction};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::{LaneFunction, Lanes, each, function, lanes};
use crate::machine::program::Operation;
use crate::machine::registers::{Cell, Registers, Slots};
use crate::machine::warp::Warp;
use crate::parse::syntax::Type;
use crate::sanitize::FindingKind;

/// The arithmetic of PTX on an integer type.
pub(crate) trait Integer: Cell + Ord {
    const ZERO: Self;
    const ONE: Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn mul_high(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn rem(self, other: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn add_saturating(self, other: Self) -> Self;
    fn sub_saturating(self, other: Self) -> Self;
    fn difference(self, other: Self) -> Self;
    fn is_zero(self) -> bool;
}

macro_rules! integer {
    ($($ty:ty, $wide:ty, $abs:expr;)+) => {
        $(impl Integer for $ty {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            #[inline(always)]
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline(always)]
            fn mul_high(self, other: Self) -> Self { ((self as $wide).wrapping_mul(other as $wide) >> <$ty>::BITS) as $ty }
            // In hardware, division by zero gives all ones, and the dividend as the remainder.
            #[inline(always)]
            fn div(self, other: Self) -> Self { if other == 0 { !0 } else { self.wrapping_div(other) } }
            #[inline(always)]
            fn rem(self, other: Self) -> Self { if other == 0 { self } else { self.wrapping_rem(other) } }
            #[inline(always)]
            fn neg(self) -> Self { self.wrapping_neg() }
            #[inline(always)]
            fn abs(self) -> Self { let abs: fn($ty) -> $ty = $abs; abs(self) }
            #[inline(always)]
            fn add_saturating(self, other: Self) -> Self { self.saturating_add(other) }
            #[inline(always)]
            fn sub_saturating(self, other: Self) -> Self { self.saturating_sub(other) }
            #[inline(always)]
            fn difference(self, other: Self) -> Self { if self > other { self.wrapping_sub(other) } else { other.wrapping_sub(self) } }
            #[inline(always)]
            fn is_zero(self) -> bool { self == 0 }
        })+
    };
}

integer! {
    u16, u32, |a| a;
    u32, u64, |a| a;
    u64, u128, |a| a;
    i16, i32, |a| a.wrapping_abs();
    i32, i64, |a| a.wrapping_abs();
    i64, i128, |a| a.wrapping_abs();
}

lanes! {
    Add<T: Integer>(a: T, b: T) -> T { a.add(b) }
    AddSaturating<T: Integer>(a: T, b: T) -> T { a.add_saturating(b) }
    Sub<T: Integer>(a: T, b: T) -> T { a.sub(b) }
    SubSaturating<T: Integer>(a: T, b: T) -> T { a.sub_saturating(b) }
    MulLow<T: Integer>(a: T, b: T) -> T { a.mul(b) }
    MulHigh<T: Integer>(a: T, b: T) -> T { a.mul_high(b) }
    MadLow<T: Integer>(a: T, b: T, c: T) -> T { a.mul(b).add(c) }
    MadHigh<T: Integer>(a: T, b: T, c: T) -> T { a.mul_high(b).add(c) }
    MadHighSaturating(a: i32, b: i32, c: i32) -> i32 { a.mul_high(b).saturating_add(c) }
    Div<T: Integer>(a: T, b: T) -> T { a.div(b) }
    Rem<T: Integer>(a: T, b: T) -> T { a.rem(b) }
    Min<T: Integer>(a: T, b: T) -> T { if a < b { a } else { b } }
    Max<T: Integer>(a: T, b: T) -> T { if a > b { a } else { b } }
    MinRelu(a: i32, b: i32) -> i32 { a.min(b).max(0) }
    MaxRelu(a: i32, b: i32) -> i32 { a.max(b).max(0) }
    AddPair(a: u32, b: u32) -> u32 { pair(a, b, u16::wrapping_add) }
    MinPairU16(a: u32, b: u32) -> u32 { pair(a, b, u16::min) }
    MaxPairU16(a: u32, b: u32) -> u32 { pair(a, b, u16::max) }
    /// `extra` is 1 for `.relu`, which turns negative results to 0.
    MinPairS16(a: u32, b: u32; relu) -> u32 { pair(a, b, |a, b| (a as i16).min(b as i16).max(least(relu)) as u16) }
    MaxPairS16(a: u32, b: u32; relu) -> u32 { pair(a, b, |a, b| (a as i16).max(b as i16).max(least(relu)) as u16) }
    Neg<T: Integer>(a: T) -> T { a.neg() }
    Abs<T: Integer>(a: T) -> T { a.abs() }
    Sad<T: Integer>(a: T, b: T, c: T) -> T { a.difference(b).add(c) }
    MulWideU16(a: u16, b: u16) -> u32 { u32::from(a) * u32::from(b) }
    MulWideS16(a: i16, b: i16) -> i32 { i32::from(a) * i32::from(b) }
    MulWideU32(a: u32, b: u32) -> u64 { u64::from(a) * u64::from(b) }
    MulWideS32(a: i32, b: i32) -> i64 { i64::from(a) * i64::from(b) }
    MadWideU16(a: u16, b: u16, c: u32) -> u32 { (u32::from(a) * u32::from(b)).wrapping_add(c) }
    MadWideS16(a: i16, b: i16, c: i32) -> i32 { (i32::from(a) * i32::from(b)).wrapping_add(c) }
    MadWideU32(a: u32, b: u32, c: u64) -> u64 { (u64::from(a) * u64::from(b)).wrapping_add(c) }
    MadWideS32(a: i32, b: i32, c: i64) -> i64 { (i64::from(a) * i64::from(b)).wrapping_add(c) }
    /// The product of the low 24 bits: 32 of its 48 bits, from bit `extra` on.
    Mad24U(a: u32, b: u32, c: u32; shift) -> u32 { ((u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)) >> shift).wrapping_add(u64::from(c)) as u32 }
    Mad24S(a: i32, b: i32, c: i32; shift) -> i32 { ((i64::from(a << 8 >> 8) * i64::from(b << 8 >> 8)) >> shift).wrapping_add(i64::from(c)) as i32 }
    /// The sum of four products of bytes. Bit 0 of `extra` is set if a is signed, bit 1 if b is.
    Dp4a(a: u32, b: u32, c: u32; signs) -> u32 {
        let mut sum = c;
        for byte in 0..4 {
            let (x, y) = ((a >> (8 * byte)) as u8, (b >> (8 * byte)) as u8);
            let x = if signs & 1 != 0 { i32::from(x as i8) } else { i32::from(x) };
            let y = if signs & 2 != 0 { i32::from(y as i8) } else { i32::from(y) };
            sum = sum.wrapping_add((x * y) as u32);
        }
        sum
    }
    /// The sum of two products of halves of a with bytes of b. Bit 2 of `extra` chooses the high bytes.
    Dp2a(a: u32, b: u32, c: u32; signs) -> u32 {
        let mut sum = c;
        for half in 0..2 {
            let x = (a >> (16 * half)) as u16;
            let y = (b >> (8 * half + if signs & 4 != 0 { 16 } else { 0 })) as u8;
            let x = if signs & 1 != 0 { i32::from(x as i16) } else { i32::from(x) };
            let y = if signs & 2 != 0 { i32::from(y as i8) } else { i32::from(y) };
            sum = sum.wrapping_add(x.wrapping_mul(y) as u32);
        }
        sum
    }
}

/// Applies a function to both halves of two registers.
#[inline(always)]
fn pair(a: u32, b: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    u32::from(f(a as u16, b as u16)) | u32::from(f((a >> 16) as u16, (b >> 16) as u16)) << 16
}

/// The least result of an operation with or without `.relu`.
#[inline(always)]
fn least(relu: u64) -> i16 {
    if relu != 0 { 0 } else { i16::MIN }
}

/// Addition with carry. The carry flag is the predicate `from[3]`. Bit 0 of `extra` adds it, bit 1 sets it, and bit 2
/// subtracts.
struct AddCarry<T>(std::marker::PhantomData<T>);

macro_rules! add_carry {
    ($ty:ty) => {
        impl Lanes for AddCarry<$ty> {
            fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
                let carry = registers.predicate(slots.from[3]);
                let mut out = 0;
                each(mask, |lane| {
                    let a = <$ty>::load_lane(registers, slots.from[0], lane);
                    let b = <$ty>::load_lane(registers, slots.from[1], lane);
                    let carry = slots.extra & 1 != 0 && carry >> lane & 1 != 0;
                    let (first, second) = if slots.extra & 4 != 0 {
                        let first = a.overflowing_sub(b);
                        (first, first.0.overflowing_sub(carry.into()))
                    } else {
                        let first = a.overflowing_add(b);
                        (first, first.0.overflowing_add(carry.into()))
                    };
                    <$ty>::store_lane(registers, slots.to, lane, second.0);
                    out |= u32::from(first.1 | second.1) << lane;
                });
                if slots.extra & 2 != 0 {
                    registers.set_predicate(slots.from[3], out, mask);
                }
            }
        }
    };
}
add_carry!(u32);
add_carry!(u64);

/// Division and remainder: runs the lane function, after the sanitizer has looked for zeros.
fn divide<T: Integer, L: Lanes>(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    mask: u32,
) -> Result<(), Stop> {
    if core.sanitize() {
        let divisors = T::load(&warp.registers, operation.slots.from[1]);
        let mut zeros = 0;
        each(mask, |lane| zeros |= u32::from(divisors[lane].is_zero()) << lane);
        if zeros != 0 {
            core.find(
                FindingKind::DivisionByZero,
                warp,
                operation,
                zeros.trailing_zeros() as usize,
                None,
                || "the divisor is zero".into(),
            );
        }
    }
    L::run(&mut warp.registers, &operation.slots, mask);
    Ok(())
}

macro_rules! by_type {
    ($draft:expr, $ty:expr, $name:ident) => {
        match $ty {
            Type::U16 | Type::B16 => function::<$name<u16>>(),
            Type::U32 | Type::B32 => function::<$name<u32>>(),
            Type::U64 | Type::B64 => function::<$name<u64>>(),
            Type::S16 => function::<$name<i16>>(),
            Type::S32 => function::<$name<i32>>(),
            Type::S64 => function::<$name<i64>>(),
            other => return Err($draft.unsupported(format!("the type {other}"))),
        }
    };
}

pub(super) fn decode(draft: &mut Draft<'_, '_>, ty: Option<Type>) -> Result<(), Error> {
    let name = draft.name();
    match name {
        "dp4a" | "dp2a" => return dot(draft),
        "mul24" | "mad24" => return mul24(draft),
        "addc" | "subc" | "madc" => return carry(draft, None),
        _ => {}
    }
    let ty = match ty {
        Some(ty) => ty,
        None => draft.ty()?,
    };
    let class = Class::Integer;
    match name {
        "add" | "sub" if draft.take("cc") => carry_add(draft, ty, true),
        "mad" if draft.take("cc") => carry(draft, Some(ty)),
        "add" | "sub" => {
            let saturate = draft.take("sat");
            if saturate && ty != Type::S32 {
                return Err(draft.unsupported("`.sat` of a type other than .s32"));
            }
            let run = match (name, saturate) {
                ("add", false) if matches!(ty, Type::U16x2 | Type::S16x2) => function::<AddPair>(),
                ("add", false) => by_type!(draft, ty, Add),
                ("add", true) => function::<AddSaturating<i32>>(),
                (_, false) => by_type!(draft, ty, Sub),
                (_, true) => function::<SubSaturating<i32>>(),
            };
            emit(draft, ty, 2, run, class)
        }
        "mul" | "mad" => multiply(draft, ty),
        "div" | "rem" => division(draft, ty),
        "min" | "max" => extremum(draft, ty),
        "neg" => {
            let run = by_type!(draft, ty, Neg);
            emit(draft, ty, 1, run, class)
        }
        "abs" => {
            let run = by_type!(draft, ty, Abs);
            emit(draft, ty, 1, run, class)
        }
        "sad" => {
            let run = by_type!(draft, ty, Sad);
            emit(draft, ty, 3, run, class)
        }
        _ => Err(draft.unsupported("this instruction for integers")),
    }
}

fn extremum(draft: &mut Draft<'_, '_>, ty: Type) -> Result<(), Error> {
    let relu = draft.take("relu");
    if relu && !matches!(ty, Type::S32 | Type::S16x2) {
        return Err(draft.unsupported(format!("`.relu` of {ty}")));
    }
    let run = match (draft.name(), ty) {
        ("min", Type::U16x2) => function::<MinPairU16>(),
        ("min", Type::S16x2) => function::<MinPairS16>(),
        ("min", Type::S32) if relu => function::<MinRelu>(),
        ("min", _) => by_type!(draft, ty, Min),
        (_, Type::U16x2) => function::<MaxPairU16>(),
        (_, Type::S16x2) => function::<MaxPairS16>(),
        (_, Type::S32) if relu => function::<MaxRelu>(),
        _ => by_type!(draft, ty, Max),
    };
    draft.arity(3..=3)?;
    let from = [draft.source(1, ty)?, draft.source(2, ty)?];
    let to = draft.target(0, ty)?;
    draft.lane_function(run, to, &from, relu.into(), Class::Integer, 0)
}

fn emit(draft: &mut Draft<'_, '_>, ty: Type, sources: usize, run: LaneFunction, class: Class) -> Result<(), Error> {
    draft.arity(sources + 1..=sources + 1)?;
    let mut from = [0; 3];
    for (index, slot) in from.iter_mut().enumerate().take(sources) {
        *slot = draft.source(index + 1, ty)?;
    }
    let to = draft.target(0, ty)?;
    draft.lane_function(run, to, &from[..sources], 0, class, 0)
}

fn multiply(draft: &mut Draft<'_, '_>, ty: Type) -> Result<(), Error> {
    let mad = draft.name() == "mad";
    let class = Class::IntegerMultiply;
    let sources = if mad { 3 } else { 2 };
    match draft.take_any(&["lo", "hi", "wide"]) {
        Some("lo") => {
            let run = if mad {
                by_type!(draft, ty, MadLow)
            } else {
                by_type!(draft, ty, MulLow)
            };
            emit(draft, ty, sources, run, class)
        }
        Some("hi") => {
            let run = if mad && draft.take("sat") {
                if ty != Type::S32 {
                    return Err(draft.unsupported("`.sat` of a type other than .s32"));
                }
                function::<MadHighSaturating>()
            } else if mad {
                by_type!(draft, ty, MadHigh)
            } else {
                by_type!(draft, ty, MulHigh)
            };
            emit(draft, ty, sources, run, class)
        }
        Some(_) => {
            let (run, wide) = match (ty, mad) {
                (Type::U16, false) => (function::<MulWideU16>(), Type::B32),
                (Type::S16, false) => (function::<MulWideS16>(), Type::B32),
                (Type::U32, false) => (function::<MulWideU32>(), Type::B64),
                (Type::S32, false) => (function::<MulWideS32>(), Type::B64),
                (Type::U16, true) => (function::<MadWideU16>(), Type::B32),
                (Type::S16, true) => (function::<MadWideS16>(), Type::B32),
                (Type::U32, true) => (function::<MadWideU32>(), Type::B64),
                (Type::S32, true) => (function::<MadWideS32>(), Type::B64),
                _ => return Err(draft.unsupported(format!("`.wide` of {ty}"))),
            };
            draft.arity(sources + 1..=sources + 1)?;
            let mut from = vec![draft.source(1, ty)?, draft.source(2, ty)?];
            if mad {
                from.push(draft.source(3, wide)?);
            }
            let to = draft.target(0, wide)?;
            draft.lane_function(run, to, &from, 0, class, 0)
        }
        None => Err(draft.invalid("integer multiplication needs `.lo`, `.hi` or `.wide`")),
    }
}

fn division(draft: &mut Draft<'_, '_>, ty: Type) -> Result<(), Error> {
    macro_rules! machine {
        ($name:ident) => {
            match ty {
                Type::U16 => divide::<u16, $name<u16>>,
                Type::U32 => divide::<u32, $name<u32>>,
                Type::U64 => divide::<u64, $name<u64>>,
                Type::S16 => divide::<i16, $name<i16>>,
                Type::S32 => divide::<i32, $name<i32>>,
                Type::S64 => divide::<i64, $name<i64>>,
                other => return Err(draft.unsupported(format!("the type {other}"))),
            }
        };
    }
    let run: WarpFunction = if draft.name() == "div" {
        machine!(Div)
    } else {
        machine!(Rem)
    };
    draft.arity(3..=3)?;
    let from = [draft.source(1, ty)?, draft.source(2, ty)?, 0, 0];
    let to = draft.target(0, ty)?;
    let class = match ty.size() {
        8 => Class::IntegerDivision64,
        _ => Class::IntegerDivision,
    };
    draft.emit(Action::Warp(run), Slots { to, from, extra: 0 }, class, 0)
}

fn mul24(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let shift = match draft.take_any(&["lo", "hi"]) {
        Some("lo") => 0,
        Some(_) => 16,
        None => return Err(draft.invalid("24-bit multiplication needs `.lo` or `.hi`")),
    };
    if draft.take("sat") {
        return Err(draft.unsupported("`.sat`"));
    }
    let ty = draft.ty()?;
    let mad = draft.name() == "mad24";
    let addend = if mad {
        draft.source(3, ty)?
    } else {
        draft.narrow_constant(0)
    };
    let from = [draft.source(1, ty)?, draft.source(2, ty)?, addend];
    let to = draft.target(0, ty)?;
    let run = match ty {
        Type::U32 => function::<Mad24U>(),
        Type::S32 => function::<Mad24S>(),
        other => return Err(draft.unsupported(format!("the type {other}"))),
    };
    draft.lane_function(run, to, &from, shift, Class::IntegerMultiply, 0)
}

fn dot(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let two = draft.name() == "dp2a";
    let high = two && draft.take_any(&["lo", "hi"]) == Some("hi");
    let signs = u64::from(draft.ty()?.is_signed()) | u64::from(draft.ty()?.is_signed()) << 1 | u64::from(high) << 2;
    let from = [
        draft.source(1, Type::B32)?,
        draft.source(2, Type::B32)?,
        draft.source(3, Type::B32)?,
    ];
    let to = draft.target(0, Type::B32)?;
    let run = if two { function::<Dp2a>() } else { function::<Dp4a>() };
    draft.lane_function(run, to, &from, signs, Class::IntegerMultiply, 0)
}

/// Decodes `add.cc`, `sub.cc`, `addc` and `subc`.
fn carry_add(draft: &mut Draft<'_, '_>, ty: Type, fresh: bool) -> Result<(), Error> {
    let subtract = draft.name().starts_with("sub");
    let sets = fresh || draft.take("cc");
    let extra = u64::from(!fresh) | u64::from(sets) << 1 | u64::from(subtract) << 2;
    let run = carry_function(draft, ty)?;
    draft.arity(3..=3)?;
    let flag = draft.carry_flag();
    let from = [draft.source(1, ty)?, draft.source(2, ty)?, 0, flag];
    let to = draft.target(0, ty)?;
    draft.lane_function(run, to, &from, extra, Class::Integer, 0)
}

fn carry_function(draft: &Draft<'_, '_>, ty: Type) -> Result<LaneFunction, Error> {
    match ty {
        Type::U32 | Type::S32 => Ok(function::<AddCarry<u32>>()),
        Type::U64 | Type::S64 => Ok(function::<AddCarry<u64>>()),
        other => Err(draft.unsupported(format!("carries of {other}"))),
    }
}

/// Decodes `addc`, `subc`, `mad.cc` and `madc`. The last two become a product in a register of its own, and an addition
/// with carry.
fn carry(draft: &mut Draft<'_, '_>, fresh: Option<Type>) -> Result<(), Error> {
    let ty = match fresh {
        Some(ty) => ty,
        None => draft.ty()?,
    };
    if matches!(draft.name(), "addc" | "subc") {
        return carry_add(draft, ty, false);
    }
    let sets = fresh.is_some() || draft.take("cc");
    let product = match (draft.take_any(&["lo", "hi"]), ty) {
        (Some("lo"), _) => by_type!(draft, ty, MulLow),
        (Some(_), _) => by_type!(draft, ty, MulHigh),
        (None, _) => return Err(draft.invalid("a multiplication needs `.lo` or `.hi`")),
    };
    let run = carry_function(draft, ty)?;
    draft.arity(4..=4)?;
    let factors = [draft.source(1, ty)?, draft.source(2, ty)?];
    let between = draft.fresh(ty);
    let addend = draft.source(3, ty)?;
    draft.emit_before(product, between, &factors);
    let flag = draft.carry_flag();
    let to = draft.target(0, ty)?;
    let extra = u64::from(fresh.is_none()) | u64::from(sets) << 1;
    draft.lane_function(run, to, &[between, addend, 0, flag], extra, Class::IntegerMultiply, 0)
}
