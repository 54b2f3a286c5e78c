//! Approximate functions, reciprocals and square roots.
//!
//! Approximate instructions are computed in f64 and rounded once to f32, which is more accurate than any GPU. With
//! `Options::approx_error` their results are perturbed, the same way in every run, by up to the error that the PTX
//! manual allows. A test that passes with it will not fail on a GPU for its tolerance.

use super::float::{FTZ, canonical, rounding_bits, rounding_of};
use super::half::{Brain, Half, HalfFloat};
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::{Action, WarpFunction};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::{Lanes, each, lanes, map1};
use crate::machine::program::Operation;
use crate::machine::registers::{Cell, Registers, Slots};
use crate::machine::warp::Warp;
use crate::numerics::exact::{self, Format, Rounding};
use crate::numerics::flush;
use crate::parse::syntax::Type;

/// A function that hardware approximates.
trait Approximated: 'static {
    /// The exponents of two of the relative and the absolute error that the PTX manual allows.
    const ERROR: (i32, i32);
    fn value(a: f64) -> f64;
}

macro_rules! functions {
    ($($name:ident, $relative:expr, $absolute:expr, $value:expr;)+) => {
        $(struct $name;
        impl Approximated for $name {
            const ERROR: (i32, i32) = ($relative, $absolute);
            #[inline(always)]
            fn value(a: f64) -> f64 {
                let value: fn(f64) -> f64 = $value;
                value(a)
            }
        })+
    };
}

/// No error of this kind.
const NONE: i32 = i32::MIN;

functions! {
    Exp2, -22, NONE, f64::exp2;
    Log2, NONE, -22, f64::log2;
    Sin, NONE, -21, f64::sin;
    Cos, NONE, -21, f64::cos;
    Tanh, -11, NONE, f64::tanh;
    Sqrt, -23, NONE, f64::sqrt;
    Rsqrt, -23, NONE, |a| 1.0 / a.sqrt();
    Reciprocal, -23, NONE, |a| 1.0 / a;
}

/// Runs an approximate function, and perturbs its results if the launch asks for it.
fn approximation<F: Approximated>(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    mask: u32,
) -> Result<(), Stop> {
    let slots = operation.slots;
    let error = core.launch.options.approx_error.then_some(F::ERROR);
    let ftz = slots.extra & FTZ != 0;
    each(mask, |lane| {
        let a = f32::load_lane(&warp.registers, slots.from[0], lane);
        let value = F::value(f64::from(if ftz { flush(a) } else { a }));
        let result = canonical(perturbed(value, error) as f32);
        f32::store_lane(
            &mut warp.registers,
            slots.to,
            lane,
            if ftz { flush(result) } else { result },
        );
    });
    Ok(())
}

/// `div.approx`, whose divisor's reciprocal underflows beyond 2^126, or `div.full` if bit 4 of `extra` is set.
fn quotient(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let slots = operation.slots;
    let error = core.launch.options.approx_error.then_some((-22, NONE));
    let input = |value: f32| {
        if slots.extra & FTZ != 0 { flush(value) } else { value }
    };
    each(mask, |lane| {
        let a = input(f32::load_lane(&warp.registers, slots.from[0], lane));
        let b = input(f32::load_lane(&warp.registers, slots.from[1], lane));
        let huge = b.is_finite() && b.abs() > f32::from_bits(0x7e80_0000) && slots.extra & 16 == 0;
        let value = f64::from(a) / f64::from(b);
        // Rounding a quotient of two f32 to f64 first does not change the result.
        let result = if huge {
            a * (0.0 * b.signum())
        } else {
            perturbed(value, error) as f32
        };
        f32::store_lane(&mut warp.registers, slots.to, lane, input(canonical(result)));
    });
    Ok(())
}

/// A value perturbed by a part of the error, which depends on the value alone. Values that f32 holds exactly stay:
/// hardware is exact there too, and libraries rely on it (2 to an integer, the root of a square).
fn perturbed(value: f64, error: Option<(i32, i32)>) -> f64 {
    let Some((relative, absolute)) = error else {
        return value;
    };
    if !(value as f32).is_normal() || f64::from(value as f32) == value {
        return value;
    }
    let power = |exponent: i32| {
        if exponent == NONE {
            0.0
        } else {
            f64::from(exponent).exp2()
        }
    };
    let hash = (value.to_bits() >> 8).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let unit = hash as f64 / f64::from(u32::MAX) * 2.0 - 1.0;
    value * (1.0 + unit * power(relative)) + unit * power(absolute)
}

lanes! {
    RootRounded(a: f32; extra) -> f32 {
        let a = if extra & FTZ != 0 { flush(a) } else { a };
        canonical(f32::from_bits(exact::square_root(Format::F32, a.to_bits().into(), rounding_of(extra)) as u32))
    }
    ReciprocalRounded(a: f32; extra) -> f32 {
        let a = if extra & FTZ != 0 { flush(a) } else { a };
        let result = canonical(f32::from_bits(exact::divide(Format::F32, 1f32.to_bits().into(), a.to_bits().into(), rounding_of(extra)) as u32));
        if extra & FTZ != 0 { flush(result) } else { result }
    }
    RootNearest(a: f32) -> f32 { canonical(a.sqrt()) }
    ReciprocalNearest(a: f32) -> f32 { canonical(1.0 / a) }
    Root64(a: f64) -> f64 { a.sqrt() }
    Reciprocal64(a: f64) -> f64 { 1.0 / a }
    RootRounded64(a: u64; extra) -> u64 { exact::square_root(Format::F64, a, rounding_of(extra)) }
    ReciprocalRounded64(a: u64; extra) -> u64 { exact::divide(Format::F64, 1f64.to_bits(), a, rounding_of(extra)) }
    /// `rcp.approx.ftz.f64`, which uses only the upper 32 bits of operand and result.
    ReciprocalGross64(a: u64) -> u64 { gross(a, |a| 1.0 / a) }
    RsqrtGross64(a: u64) -> u64 { gross(a, |a| 1.0 / a.sqrt()) }
    /// `rsqrt.approx.f64`, which approximates all bits.
    Rsqrt64(a: f64) -> f64 { 1.0 / a.sqrt() }
    HalfExp2<T: HalfFloat>(a: T) -> T { T::from_f32(f64::from(a.to_f32()).exp2() as f32) }
    HalfTanh<T: HalfFloat>(a: T) -> T { T::from_f32(f64::from(a.to_f32()).tanh() as f32) }
}

/// Applies a function to the upper 32 bits of an f64.
fn gross(a: u64, f: impl Fn(f64) -> f64) -> u64 {
    let upper = a & 0xffff_ffff_0000_0000;
    // Subnormals are flushed.
    let upper = if upper & 0x7ff0_0000_0000_0000 == 0 {
        upper & 1 << 63
    } else {
        upper
    };
    let result = f(f64::from_bits(upper));
    if result.is_nan() {
        return 0x7fff_ffff_0000_0000;
    }
    let result = result.to_bits();
    if result & 0x7ff0_0000_0000_0000 == 0 {
        result & 1 << 63
    } else {
        result & 0xffff_ffff_0000_0000
    }
}

/// Applies a half-precision function to both halves of a register.
struct Pairwise<L>(std::marker::PhantomData<L>);

trait HalfFunction: 'static {
    fn apply(value: u16) -> u16;
}

macro_rules! half_function {
    ($name:ident, $half:ty, $f:expr) => {
        struct $name;
        impl HalfFunction for $name {
            fn apply(value: u16) -> u16 {
                let f: fn(f64) -> f64 = $f;
                <$half>::from_f32(f(f64::from(<$half>::from_bits(value).to_f32())) as f32).to_bits()
            }
        }
    };
}
half_function!(Exp2Half, Half, f64::exp2);
half_function!(Exp2Brain, Brain, f64::exp2);
half_function!(TanhHalf, Half, f64::tanh);
half_function!(TanhBrain, Brain, f64::tanh);

impl<F: HalfFunction> Lanes for Pairwise<F> {
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        map1(registers, slots, mask, |pair: u32| {
            u32::from(F::apply(pair as u16)) | u32::from(F::apply((pair >> 16) as u16)) << 16
        });
    }
}

/// Decodes `div.approx` and `div.full`, whose modifier is taken already.
pub(super) fn divide(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let full = draft.had("full");
    let extra = if draft.take("ftz") { FTZ } else { 0 } | if full { 16 } else { 0 };
    draft.arity(3..=3)?;
    let from = [draft.source(1, Type::F32)?, draft.source(2, Type::F32)?, 0, 0];
    let to = draft.target(0, Type::F32)?;
    let slots = Slots { to, from, extra };
    draft.emit(Action::Warp(quotient), slots, Class::Special, 1)
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let name = draft.name();
    let approx = draft.take("approx");
    let rounding = draft.rounding();
    let ftz = draft.take("ftz");
    let ty = draft.ty()?;
    draft.arity(2..=2)?;
    let from = draft.source(1, ty)?;
    let to = draft.target(0, ty)?;
    let extra = rounding_bits(rounding.unwrap_or(Rounding::Nearest)) | if ftz { FTZ } else { 0 };
    let plain = extra == 0;
    match (name, ty, approx) {
        ("sqrt", Type::F32, false) if plain => draft.lanes::<RootNearest>(to, &[from], 0, Class::Division, 1),
        ("sqrt", Type::F32, false) => draft.lanes::<RootRounded>(to, &[from], extra, Class::Division, 1),
        ("rcp", Type::F32, false) if plain => draft.lanes::<ReciprocalNearest>(to, &[from], 0, Class::Division, 1),
        ("rcp", Type::F32, false) => draft.lanes::<ReciprocalRounded>(to, &[from], extra, Class::Division, 1),
        ("sqrt", Type::F64, false) if plain => draft.lanes::<Root64>(to, &[from], 0, Class::Division64, 1),
        ("sqrt", Type::F64, false) => draft.lanes::<RootRounded64>(to, &[from], extra, Class::Division64, 1),
        ("rcp", Type::F64, false) if plain => draft.lanes::<Reciprocal64>(to, &[from], 0, Class::Division64, 1),
        ("rcp", Type::F64, false) => draft.lanes::<ReciprocalRounded64>(to, &[from], extra, Class::Division64, 1),
        ("rcp", Type::F64, true) => draft.lanes::<ReciprocalGross64>(to, &[from], 0, Class::Float64, 1),
        ("rsqrt", Type::F64, true) if ftz => draft.lanes::<RsqrtGross64>(to, &[from], 0, Class::Float64, 1),
        ("rsqrt", Type::F64, true) => draft.lanes::<Rsqrt64>(to, &[from], 0, Class::Float64, 1),
        ("ex2", Type::F16, true) => draft.lanes::<HalfExp2<Half>>(to, &[from], 0, Class::Special, 1),
        ("ex2", Type::Bf16, true) => draft.lanes::<HalfExp2<Brain>>(to, &[from], 0, Class::Special, 1),
        ("ex2", Type::F16x2, true) => draft.lanes::<Pairwise<Exp2Half>>(to, &[from], 0, Class::Special, 2),
        ("ex2", Type::Bf16x2, true) => draft.lanes::<Pairwise<Exp2Brain>>(to, &[from], 0, Class::Special, 2),
        ("tanh", Type::F16, true) => draft.lanes::<HalfTanh<Half>>(to, &[from], 0, Class::Special, 1),
        ("tanh", Type::Bf16, true) => draft.lanes::<HalfTanh<Brain>>(to, &[from], 0, Class::Special, 1),
        ("tanh", Type::F16x2, true) => draft.lanes::<Pairwise<TanhHalf>>(to, &[from], 0, Class::Special, 2),
        ("tanh", Type::Bf16x2, true) => draft.lanes::<Pairwise<TanhBrain>>(to, &[from], 0, Class::Special, 2),
        (_, Type::F32, true) => {
            let run: WarpFunction = match name {
                "ex2" => approximation::<Exp2>,
                "lg2" => approximation::<Log2>,
                "sin" => approximation::<Sin>,
                "cos" => approximation::<Cos>,
                "tanh" => approximation::<Tanh>,
                "sqrt" => approximation::<Sqrt>,
                "rsqrt" => approximation::<Rsqrt>,
                _ => approximation::<Reciprocal>,
            };
            let slots = Slots {
                to,
                from: [from, 0, 0, 0],
                extra,
            };
            draft.emit(Action::Warp(run), slots, Class::Special, 1)
        }
        _ => Err(draft.unsupported(format!("this form for {ty}"))),
    }
}
