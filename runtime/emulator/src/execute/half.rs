//! Half precision: `f16`, `bf16` and their pairs. Results are rounded once, from an exact or an odd-rounded f32.

use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::lanes::{LaneFunction, function, lanes};
use crate::machine::registers::{Cell, LANES, Registers, Slot, mapped};
use crate::numerics::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use crate::parse::syntax::Type;

/// The bits of an `f16`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Half(u16);

/// The bits of a `bf16`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Brain(u16);

/// A 16-bit float.
pub(crate) trait HalfFloat: Cell {
    /// The mask of the exponent field.
    const EXPONENT: u16;
    fn from_bits(bits: u16) -> Self;
    fn to_bits(self) -> u16;
    fn to_f32(self) -> f32;
    fn from_f32(value: f32) -> Self;
}

macro_rules! half_float {
    ($ty:ident, $exponent:expr, $widen:path, $narrow:path) => {
        impl HalfFloat for $ty {
            const EXPONENT: u16 = $exponent;
            #[inline(always)]
            fn from_bits(bits: u16) -> Self {
                $ty(bits)
            }
            #[inline(always)]
            fn to_bits(self) -> u16 {
                self.0
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                $widen(self.0)
            }
            #[inline(always)]
            fn from_f32(value: f32) -> Self {
                $ty($narrow(value))
            }
        }

        impl Cell for $ty {
            #[inline(always)]
            fn load(registers: &Registers, slot: Slot) -> [Self; LANES] {
                mapped(registers.row(slot), |bits| $ty(bits as u16))
            }
            #[inline(always)]
            fn store(registers: &mut Registers, slot: Slot, values: &[Self; LANES]) {
                *registers.row_mut(slot) = mapped(values, |value| u32::from(value.0));
            }
            #[inline(always)]
            fn load_lane(registers: &Registers, slot: Slot, lane: usize) -> Self {
                $ty(registers.row(slot)[lane & 31] as u16)
            }
            #[inline(always)]
            fn store_lane(registers: &mut Registers, slot: Slot, lane: usize, value: Self) {
                registers.row_mut(slot)[lane & 31] = u32::from(value.0);
            }
        }
    };
}
half_float!(Half, 0x7c00, f16_to_f32, f32_to_f16);
half_float!(Brain, 0x7f80, bf16_to_f32, f32_to_bf16);

const FTZ: u64 = 1;
const SATURATE: u64 = 2;
const RELU: u64 = 4;
const PROPAGATE_NAN: u64 = 8;
const XOR_SIGN: u64 = 16;

#[inline(always)]
fn input<T: HalfFloat>(value: T, extra: u64) -> T {
    if extra & FTZ != 0 && value.to_bits() & T::EXPONENT == 0 {
        T::from_bits(value.to_bits() & 0x8000)
    } else {
        value
    }
}

#[inline(always)]
fn output<T: HalfFloat>(value: f32, extra: u64) -> T {
    let value = if extra & SATURATE != 0 {
        crate::numerics::saturate(value)
    } else {
        value
    };
    // `.relu` clamps negatives to zero and keeps NaN.
    let value = if extra & RELU != 0 && value < 0.0 { 0.0 } else { value };
    let result = T::from_f32(value);
    let result = if extra & RELU != 0 && result.to_bits() == 0x8000 {
        T::from_bits(0)
    } else {
        result
    };
    input(result, extra)
}

/// Rounds the sum of two exact f64 to odd in f32. Rounding that to at most 22 bits gives the same as rounding the exact
/// sum once.
#[inline(always)]
fn odd_sum(a: f64, b: f64) -> f32 {
    let sum = a + b;
    let virtual_b = sum - a;
    let error = (a - (sum - virtual_b)) + (b - virtual_b);
    let narrow = sum as f32;
    let back = f64::from(narrow);
    // The part that `narrow` lacks. The error of the f64 sum decides only if the narrowing is exact.
    let missing = if back != sum { sum - back } else { error };
    let bits = narrow.to_bits();
    let odd = bits & 1 != 0;
    if missing == 0.0 || !missing.is_finite() || odd || !narrow.is_finite() {
        return narrow;
    }
    let outward = (missing > 0.0) == (narrow > 0.0) || narrow == 0.0;
    if narrow == 0.0 {
        return f32::from_bits(if missing > 0.0 { 1 } else { 0x8000_0001 });
    }
    f32::from_bits(if outward { bits + 1 } else { bits - 1 })
}

#[inline(always)]
fn add<T: HalfFloat>(a: T, b: T, extra: u64) -> T {
    // An f32 sum of bf16 operands is inexact if their exponents are far apart.
    output(
        odd_sum(f64::from(input(a, extra).to_f32()), f64::from(input(b, extra).to_f32())),
        extra,
    )
}

#[inline(always)]
fn sub<T: HalfFloat>(a: T, b: T, extra: u64) -> T {
    output(
        odd_sum(
            f64::from(input(a, extra).to_f32()),
            -f64::from(input(b, extra).to_f32()),
        ),
        extra,
    )
}

#[inline(always)]
fn mul<T: HalfFloat>(a: T, b: T, extra: u64) -> T {
    // In f32 a bf16 product could underflow, and be rounded twice. Adding −0 keeps the sign of zero.
    let product = f64::from(input(a, extra).to_f32()) * f64::from(input(b, extra).to_f32());
    output(odd_sum(product, -0.0), extra)
}

#[inline(always)]
fn fma<T: HalfFloat>(a: T, b: T, c: T, extra: u64) -> T {
    let product = f64::from(input(a, extra).to_f32()) * f64::from(input(b, extra).to_f32());
    output(odd_sum(product, f64::from(input(c, extra).to_f32())), extra)
}

#[inline(always)]
fn extremum<T: HalfFloat>(a: T, b: T, extra: u64, least: bool) -> T {
    let (a, b) = (input(a, extra), input(b, extra));
    let sign = if extra & XOR_SIGN != 0 {
        (a.to_bits() ^ b.to_bits()) & 0x8000
    } else {
        0
    };
    let (a, b) = if extra & XOR_SIGN != 0 {
        (T::from_bits(a.to_bits() & 0x7fff), T::from_bits(b.to_bits() & 0x7fff))
    } else {
        (a, b)
    };
    let (x, y) = (a.to_f32(), b.to_f32());
    let result = if x.is_nan() || y.is_nan() {
        if (x.is_nan() && y.is_nan()) || extra & PROPAGATE_NAN != 0 {
            return T::from_bits(0x7fff);
        }
        if x.is_nan() { b } else { a }
    } else if x == y {
        T::from_bits(if least {
            a.to_bits() | b.to_bits()
        } else {
            a.to_bits() & b.to_bits()
        })
    } else if (x < y) == least {
        a
    } else {
        b
    };
    T::from_bits(result.to_bits() | sign)
}

/// Applies a function to both halves of a pair.
macro_rules! pair {
    ($f:expr, $ty:ident, $($v:ident),+) => {{
        let low = $f($($ty::from_bits($v as u16)),+);
        let high = $f($($ty::from_bits(($v >> 16) as u16)),+);
        u32::from(low.to_bits()) | u32::from(high.to_bits()) << 16
    }};
}

lanes! {
    Add<T: HalfFloat>(a: T, b: T; extra) -> T { add(a, b, extra) }
    Sub<T: HalfFloat>(a: T, b: T; extra) -> T { sub(a, b, extra) }
    Mul<T: HalfFloat>(a: T, b: T; extra) -> T { mul(a, b, extra) }
    Fma<T: HalfFloat>(a: T, b: T, c: T; extra) -> T { fma(a, b, c, extra) }
    Min<T: HalfFloat>(a: T, b: T; extra) -> T { extremum(a, b, extra, true) }
    Max<T: HalfFloat>(a: T, b: T; extra) -> T { extremum(a, b, extra, false) }
    Abs<T: HalfFloat>(a: T; extra) -> T { T::from_bits(input(a, extra).to_bits() & 0x7fff) }
    Neg<T: HalfFloat>(a: T; extra) -> T { T::from_bits(input(a, extra).to_bits() ^ 0x8000) }
}

// The same on pairs.
lanes! {
    AddHalf(a: u32, b: u32; extra) -> u32 { pair!(|a: Half, b: Half| add(a, b, extra), Half, a, b) }
    SubHalf(a: u32, b: u32; extra) -> u32 { pair!(|a: Half, b: Half| sub(a, b, extra), Half, a, b) }
    MulHalf(a: u32, b: u32; extra) -> u32 { pair!(|a: Half, b: Half| mul(a, b, extra), Half, a, b) }
    FmaHalf(a: u32, b: u32, c: u32; extra) -> u32 { pair!(|a: Half, b: Half, c: Half| fma(a, b, c, extra), Half, a, b, c) }
    MinHalf(a: u32, b: u32; extra) -> u32 { pair!(|a: Half, b: Half| extremum(a, b, extra, true), Half, a, b) }
    MaxHalf(a: u32, b: u32; extra) -> u32 { pair!(|a: Half, b: Half| extremum(a, b, extra, false), Half, a, b) }
    AbsHalf(a: u32; extra) -> u32 { pair!(|a: Half| Half::from_bits(input(a, extra).to_bits() & 0x7fff), Half, a) }
    NegHalf(a: u32; extra) -> u32 { pair!(|a: Half| Half::from_bits(input(a, extra).to_bits() ^ 0x8000), Half, a) }
    AddBrain(a: u32, b: u32; extra) -> u32 { pair!(|a: Brain, b: Brain| add(a, b, extra), Brain, a, b) }
    SubBrain(a: u32, b: u32; extra) -> u32 { pair!(|a: Brain, b: Brain| sub(a, b, extra), Brain, a, b) }
    MulBrain(a: u32, b: u32; extra) -> u32 { pair!(|a: Brain, b: Brain| mul(a, b, extra), Brain, a, b) }
    FmaBrain(a: u32, b: u32, c: u32; extra) -> u32 { pair!(|a: Brain, b: Brain, c: Brain| fma(a, b, c, extra), Brain, a, b, c) }
    MinBrain(a: u32, b: u32; extra) -> u32 { pair!(|a: Brain, b: Brain| extremum(a, b, extra, true), Brain, a, b) }
    MaxBrain(a: u32, b: u32; extra) -> u32 { pair!(|a: Brain, b: Brain| extremum(a, b, extra, false), Brain, a, b) }
    AbsBrain(a: u32; extra) -> u32 { pair!(|a: Brain| Brain::from_bits(input(a, extra).to_bits() & 0x7fff), Brain, a) }
    NegBrain(a: u32; extra) -> u32 { pair!(|a: Brain| Brain::from_bits(input(a, extra).to_bits() ^ 0x8000), Brain, a) }
}

macro_rules! by_type {
    ($ty:expr, $one:ident, $half:ident, $brain:ident) => {
        match $ty {
            Type::F16 => function::<$one<Half>>(),
            Type::Bf16 => function::<$one<Brain>>(),
            Type::F16x2 => function::<$half>(),
            _ => function::<$brain>(),
        }
    };
}

pub(super) fn decode(draft: &mut Draft<'_, '_>, ty: Type) -> Result<(), Error> {
    draft.ignore(&["rn"]);
    let mut extra = 0;
    for (name, bit) in [("ftz", FTZ), ("sat", SATURATE), ("relu", RELU), ("NaN", PROPAGATE_NAN)] {
        if draft.take(name) {
            extra |= bit;
        }
    }
    if draft.take("xorsign") {
        draft.take("abs");
        extra |= XOR_SIGN;
    }
    let (run, sources, flops): (LaneFunction, usize, u32) = match draft.name() {
        "add" => (by_type!(ty, Add, AddHalf, AddBrain), 2, 1),
        "sub" => (by_type!(ty, Sub, SubHalf, SubBrain), 2, 1),
        "mul" => (by_type!(ty, Mul, MulHalf, MulBrain), 2, 1),
        "fma" => (by_type!(ty, Fma, FmaHalf, FmaBrain), 3, 2),
        "min" => (by_type!(ty, Min, MinHalf, MinBrain), 2, 1),
        "max" => (by_type!(ty, Max, MaxHalf, MaxBrain), 2, 1),
        "abs" => (by_type!(ty, Abs, AbsHalf, AbsBrain), 1, 0),
        "neg" => (by_type!(ty, Neg, NegHalf, NegBrain), 1, 0),
        _ => return Err(draft.unsupported(format!("this instruction for {ty}"))),
    };
    draft.arity(sources + 1..=sources + 1)?;
    let mut from = [0; 3];
    for (index, slot) in from.iter_mut().enumerate().take(sources) {
        *slot = draft.source(index + 1, ty)?;
    }
    let to = draft.target(0, ty)?;
    let flops = if ty.size() == 4 { flops * 2 } else { flops };
    draft.lane_function(run, to, &from[..sources], extra, Class::Float16, flops)
}

/// An atomic operation on 16-bit floats: 0 adds, 1 takes the minimum, 2 the maximum.
pub(super) fn atomic<T: HalfFloat>(a: T, b: T, operation: u32) -> T {
    match operation {
        0 => add(a, b, 0),
        1 => extremum(a, b, 0, true),
        _ => extremum(a, b, 0, false),
    }
}
