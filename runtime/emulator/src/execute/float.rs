//! Single and double precision arithmetic.

use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::lanes::{LaneFunction, Lanes, function, lanes};
use crate::machine::registers::{Cell, Registers, Slots};
use crate::numerics::exact::{self, Format, Rounding};
use crate::numerics::{NAN32, flush, saturate};
use crate::parse::syntax::Type;

/// `extra` of the general forms: the rounding in bits 0 and 1, then these flags.
pub(super) const FTZ: u64 = 4;
pub(super) const SATURATE: u64 = 8;
const NEGATE: u64 = 16;
const PROPAGATE_NAN: u64 = 32;
const XOR_SIGN: u64 = 64;

pub(super) fn rounding_bits(rounding: Rounding) -> u64 {
    match rounding {
        Rounding::Zero => 1,
        Rounding::Down => 2,
        Rounding::Up => 3,
        Rounding::Nearest | Rounding::Away => 0,
    }
}

pub(super) fn rounding_of(bits: u64) -> Rounding {
    [Rounding::Nearest, Rounding::Zero, Rounding::Down, Rounding::Up][bits as usize & 3]
}

/// Replaces a NaN by the one pattern that a GPU produces.
#[inline(always)]
pub(super) fn canonical(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(NAN32) } else { value }
}

#[inline(always)]
fn input(value: f32, extra: u64) -> f32 {
    if extra & FTZ != 0 { flush(value) } else { value }
}

#[inline(always)]
fn output(value: f32, extra: u64) -> f32 {
    let value = if extra & FTZ != 0 { flush(value) } else { value };
    if extra & SATURATE != 0 {
        saturate(value)
    } else {
        canonical(value)
    }
}

fn bits(value: f32) -> u64 {
    value.to_bits().into()
}

fn single(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

#[inline(always)]
fn lesser(a: f32, b: f32) -> f32 {
    // −0 is less than +0.
    let ordered = if a < b {
        a
    } else if b < a {
        b
    } else {
        f32::from_bits(a.to_bits() | b.to_bits())
    };
    if a.is_nan() {
        b
    } else if b.is_nan() {
        a
    } else {
        ordered
    }
}

#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    let ordered = if a > b {
        a
    } else if b > a {
        b
    } else {
        f32::from_bits(a.to_bits() & b.to_bits())
    };
    if a.is_nan() {
        b
    } else if b.is_nan() {
        a
    } else {
        ordered
    }
}

#[inline(always)]
fn extremum(a: f32, b: f32, extra: u64, pick: impl Fn(f32, f32) -> f32) -> f32 {
    let (a, b) = (input(a, extra), input(b, extra));
    let sign = if extra & XOR_SIGN != 0 {
        (a.to_bits() ^ b.to_bits()) & 0x8000_0000
    } else {
        0
    };
    let (a, b) = if extra & XOR_SIGN != 0 {
        (a.abs(), b.abs())
    } else {
        (a, b)
    };
    if extra & PROPAGATE_NAN != 0 && (a.is_nan() || b.is_nan()) {
        return f32::from_bits(NAN32);
    }
    f32::from_bits(canonical(pick(a, b)).to_bits() | sign)
}

fn lesser64(a: f64, b: f64) -> f64 {
    if a.is_nan() {
        b
    } else if b.is_nan() || a < b {
        a
    } else if b < a {
        b
    } else {
        f64::from_bits(a.to_bits() | b.to_bits())
    }
}

fn greater64(a: f64, b: f64) -> f64 {
    -lesser64(-a, -b)
}

lanes! {
    Add(a: f32, b: f32) -> f32 { canonical(a + b) }
    Sub(a: f32, b: f32) -> f32 { canonical(a - b) }
    Mul(a: f32, b: f32) -> f32 { canonical(a * b) }
    Fma(a: f32, b: f32, c: f32) -> f32 { canonical(a.mul_add(b, c)) }
    AddFlush(a: f32, b: f32) -> f32 { flush(canonical(flush(a) + flush(b))) }
    SubFlush(a: f32, b: f32) -> f32 { flush(canonical(flush(a) - flush(b))) }
    MulFlush(a: f32, b: f32) -> f32 { flush(canonical(flush(a) * flush(b))) }
    FmaFlush(a: f32, b: f32, c: f32) -> f32 { flush(canonical(flush(a).mul_add(flush(b), flush(c)))) }
    AddAny(a: f32, b: f32; extra) -> f32 {
        let b = if extra & NEGATE != 0 { -b } else { b };
        output(single(exact::add(Format::F32, bits(input(a, extra)), bits(input(b, extra)), rounding_of(extra))), extra)
    }
    MulAny(a: f32, b: f32; extra) -> f32 { output(single(exact::multiply(Format::F32, bits(input(a, extra)), bits(input(b, extra)), rounding_of(extra))), extra) }
    FmaAny(a: f32, b: f32, c: f32; extra) -> f32 {
        output(single(exact::multiply_add(Format::F32, bits(input(a, extra)), bits(input(b, extra)), bits(input(c, extra)), rounding_of(extra))), extra)
    }
    DivAny(a: f32, b: f32; extra) -> f32 {
        let (a, b) = (input(a, extra), input(b, extra));
        output(if extra & 3 == 0 { a / b } else { single(exact::divide(Format::F32, bits(a), bits(b), rounding_of(extra))) }, extra)
    }
    Min(a: f32, b: f32; extra) -> f32 { extremum(a, b, extra, lesser) }
    Max(a: f32, b: f32; extra) -> f32 { extremum(a, b, extra, greater) }
    Abs(a: f32; extra) -> f32 { f32::from_bits(input(a, extra).to_bits() & 0x7fff_ffff) }
    Neg(a: f32; extra) -> f32 { f32::from_bits(input(a, extra).to_bits() ^ 0x8000_0000) }
    CopySign(a: f32, b: f32) -> f32 { b.copysign(a) }
    Add64(a: f64, b: f64) -> f64 { a + b }
    Sub64(a: f64, b: f64) -> f64 { a - b }
    Mul64(a: f64, b: f64) -> f64 { a * b }
    Fma64(a: f64, b: f64, c: f64) -> f64 { a.mul_add(b, c) }
    Div64(a: f64, b: f64) -> f64 { a / b }
    AddAny64(a: u64, b: u64; extra) -> u64 { exact::add(Format::F64, a, if extra & NEGATE != 0 { b ^ 1 << 63 } else { b }, rounding_of(extra)) }
    MulAny64(a: u64, b: u64; extra) -> u64 { exact::multiply(Format::F64, a, b, rounding_of(extra)) }
    FmaAny64(a: u64, b: u64, c: u64; extra) -> u64 { exact::multiply_add(Format::F64, a, b, c, rounding_of(extra)) }
    DivAny64(a: u64, b: u64; extra) -> u64 { exact::divide(Format::F64, a, b, rounding_of(extra)) }
    Min64(a: f64, b: f64) -> f64 { lesser64(a, b) }
    Max64(a: f64, b: f64) -> f64 { greater64(a, b) }
    Abs64(a: u64) -> u64 { a & !(1 << 63) }
    Neg64(a: u64) -> u64 { a ^ 1 << 63 }
    CopySign64(a: f64, b: f64) -> f64 { b.copysign(a) }
}

/// `testp`, which tests for a property of a float.
struct Test<T>(std::marker::PhantomData<T>);

macro_rules! test {
    ($ty:ty) => {
        impl Lanes for Test<$ty> {
            fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
                let mut result = 0;
                for (lane, value) in <$ty>::load(registers, slots.from[0]).into_iter().enumerate() {
                    let holds = match slots.extra {
                        0 => value.is_finite(),
                        1 => value.is_infinite(),
                        2 => !value.is_nan(),
                        3 => value.is_nan(),
                        4 => value.is_normal(),
                        _ => value.is_subnormal(),
                    };
                    result |= u32::from(holds) << lane;
                }
                registers.set_predicate(slots.to, result, mask);
            }
        }
    };
}
test!(f32);
test!(f64);

const PROPERTIES: [&str; 6] = ["finite", "infinite", "number", "notanumber", "normal", "subnormal"];

pub(super) fn decode(draft: &mut Draft<'_, '_>, ty: Option<Type>) -> Result<(), Error> {
    let ty = match ty {
        Some(ty) => ty,
        None => draft.ty()?,
    };
    if !matches!(ty, Type::F32 | Type::F64) {
        return Err(draft.unsupported(format!("the type {ty}")));
    }
    let double = ty == Type::F64;
    if draft.name() == "testp" {
        let property = PROPERTIES.iter().position(|name| draft.take(name));
        let Some(property) = property else {
            return Err(draft.unsupported("this property"));
        };
        let from = draft.source(1, ty)?;
        let to = draft.target(0, Type::Pred)?;
        return draft.lane_function(
            if double {
                function::<Test<f64>>()
            } else {
                function::<Test<f32>>()
            },
            to,
            &[from],
            property as u64,
            Class::Predicate,
            0,
        );
    }
    let rounding = draft.rounding();
    let mut extra = rounding_bits(rounding.unwrap_or(Rounding::Nearest));
    if draft.take("ftz") {
        extra |= FTZ;
    }
    if draft.take("sat") {
        extra |= SATURATE;
    }
    if extra & (FTZ | SATURATE) != 0 && double {
        return Err(draft.invalid("`.ftz` and `.sat` do not exist for .f64"));
    }
    let other = if double { Class::Float64 } else { Class::Float32Other };
    let (run, sources, class, flops) = match draft.name() {
        name @ ("add" | "sub") => {
            let subtract = name == "sub";
            let class = if double { Class::Float64 } else { Class::Float32Add };
            let run = match (double, extra, subtract) {
                (false, 0, false) => function::<Add>(),
                (false, 0, true) => function::<Sub>(),
                (false, FTZ, false) => function::<AddFlush>(),
                (false, FTZ, true) => function::<SubFlush>(),
                (false, ..) => function::<AddAny>(),
                (true, 0, false) => function::<Add64>(),
                (true, 0, true) => function::<Sub64>(),
                (true, ..) => function::<AddAny64>(),
            };
            extra |= if subtract { NEGATE } else { 0 };
            (run, 2, class, 1)
        }
        "mul" => match (double, extra) {
            (false, 0) => (function::<Mul>(), 2, Class::Float32Multiply, 1),
            (false, FTZ) => (function::<MulFlush>(), 2, Class::Float32Multiply, 1),
            (false, _) => (function::<MulAny>(), 2, Class::Float32Multiply, 1),
            (true, 0) => (function::<Mul64>(), 2, Class::Float64, 1),
            (true, _) => (function::<MulAny64>(), 2, Class::Float64, 1),
        },
        "fma" | "mad" => match (double, extra) {
            (false, 0) => (function::<Fma>(), 3, Class::Float32Fma, 2),
            (false, FTZ) => (function::<FmaFlush>(), 3, Class::Float32Fma, 2),
            (false, _) => (function::<FmaAny>(), 3, Class::Float32Fma, 2),
            (true, 0) => (function::<Fma64>(), 3, Class::Float64, 2),
            (true, _) => (function::<FmaAny64>(), 3, Class::Float64, 2),
        },
        "div" => match (double, extra) {
            (false, _) => (function::<DivAny>(), 2, Class::Division, 1),
            (true, 0) => (function::<Div64>(), 2, Class::Division64, 1),
            (true, _) => (function::<DivAny64>(), 2, Class::Division64, 1),
        },
        name @ ("min" | "max") => {
            if rounding.is_some() {
                return Err(draft.invalid("a rounding on an exact operation"));
            }
            if draft.take("NaN") {
                extra |= PROPAGATE_NAN;
            }
            if draft.take("xorsign") {
                draft.take("abs");
                extra |= XOR_SIGN;
            }
            if double && extra != 0 {
                return Err(draft.unsupported("these modifiers of .f64"));
            }
            let run = match (double, name) {
                (false, "min") => function::<Min>(),
                (false, _) => function::<Max>(),
                (true, "min") => function::<Min64>(),
                (true, _) => function::<Max64>(),
            };
            (run, 2, other, 1)
        }
        "abs" => (
            if double { function::<Abs64>() } else { function::<Abs>() },
            1,
            other,
            0,
        ),
        "neg" => (
            if double { function::<Neg64>() } else { function::<Neg>() },
            1,
            other,
            0,
        ),
        "copysign" => (
            if double {
                function::<CopySign64>()
            } else {
                function::<CopySign>()
            },
            2,
            other,
            0,
        ),
        _ => return Err(draft.unsupported("this instruction for floats")),
    };
    emit(draft, ty, run, sources, extra, class, flops)
}

fn emit(
    draft: &mut Draft<'_, '_>,
    ty: Type,
    run: LaneFunction,
    sources: usize,
    extra: u64,
    class: Class,
    flops: u32,
) -> Result<(), Error> {
    draft.arity(sources + 1..=sources + 1)?;
    let mut from = [0; 3];
    for (index, slot) in from.iter_mut().enumerate().take(sources) {
        *slot = draft.source(index + 1, ty)?;
    }
    let to = draft.target(0, ty)?;
    draft.lane_function(run, to, &from[..sources], extra, class, flops)
}
