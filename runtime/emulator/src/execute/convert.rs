//! `cvt`.
//!
//! The frequent conversions have definitions of their own. [`Any`] does all others, one value at a time, by way of an
//! exact integer or float.

use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::lanes::{LaneFunction, Lanes, each, function, lanes};
use crate::machine::registers::{Registers, Slots};
use crate::numerics::exact::{self, Format, Rounding};
use crate::numerics::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, flush, round_f64};
use crate::parse::syntax::Type;

lanes! {
    F16ToF32(a: u32) -> f32 { super::float::canonical(f16_to_f32(a as u16)) }
    Bf16ToF32(a: u32) -> f32 { super::float::canonical(bf16_to_f32(a as u16)) }
    F32ToF16(a: f32) -> u32 { f32_to_f16(a).into() }
    F32ToBf16(a: f32) -> u32 { f32_to_bf16(a).into() }
    PackF16(a: f32, b: f32) -> u32 { u32::from(f32_to_f16(b)) | u32::from(f32_to_f16(a)) << 16 }
    PackBf16(a: f32, b: f32) -> u32 { u32::from(f32_to_bf16(b)) | u32::from(f32_to_bf16(a)) << 16 }
    S32ToF32(a: i32) -> f32 { a as f32 }
    U32ToF32(a: u32) -> f32 { a as f32 }
    F32ToF64(a: f32) -> f64 { f64::from(a) }
    F64ToF32(a: f64) -> f32 { super::float::canonical(a as f32) }
    F32ToS32(a: f32) -> i32 { a as i32 }
    F32ToU32(a: f32) -> u32 { a as u32 }
    U32ToU64(a: u32) -> u64 { a.into() }
    S32ToS64(a: i32) -> i64 { a.into() }
    U64ToU32(a: u64) -> u32 { a as u32 }
    U16ToU32(a: u16) -> u32 { a.into() }
    S16ToS32(a: i16) -> i32 { a.into() }
    U32ToU16(a: u32) -> u32 { a & 0xffff }
    /// Converts two floats to a pair with any modifiers. The second one goes to the low half.
    PackAny(a: f32, b: f32; extra) -> u32 {
        let convert = |value: f32| convert(value.to_bits().into(), extra) as u32 & 0xffff;
        convert(b) | convert(a) << 16
    }
    /// Converts two floats to a pair of bytes.
    PackBytes(a: f32, b: f32; extra) -> u32 {
        let convert = |value: f32| convert(value.to_bits().into(), extra) as u32 & 0xff;
        convert(b) | convert(a) << 8
    }
    HalvesToBytes(a: u32; extra) -> u32 {
        let convert = |half: u32| convert((half & 0xffff).into(), extra) as u32 & 0xff;
        convert(a) | convert(a >> 16) << 8
    }
    BytesToHalves(a: u32; extra) -> u32 {
        let convert = |byte: u32| convert((byte & 0xff).into(), extra) as u32 & 0xffff;
        convert(a) | convert(a >> 8) << 16
    }
    /// `cvt.pack`: saturates a and b to as many bits as bits 0 to 7 of `extra` tell, signed if bit 8 is set. b takes
    /// the lowest bits, a the next, and c those above.
    PackIntegers(a: i32, b: i32, c: u32; extra) -> u32 {
        let bits = extra as u32 & 0xff;
        let (least, most) = if extra & 0x100 != 0 { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) };
        let part = |value: i32| value.clamp(least, most) as u32 & ((1 << bits) - 1);
        // Above two halves there is no room for c.
        part(b) | part(a) << bits | c.checked_shl(2 * bits).unwrap_or(0)
    }
}

/// Any conversion; `extra` describes it.
struct Any;

/// Bits of `extra`: the source type, the destination type, the rounding, and flags. The type of a pair stands for that
/// of its elements.
const TO: u32 = 8;
const ROUNDING: u32 = 16;
/// Round to an integer, also if the destination is a float.
const INTEGRAL: u64 = 1 << 20;
const FTZ: u64 = 1 << 21;
const SATURATE: u64 = 1 << 22;
const RELU: u64 = 1 << 23;
/// Overflow gives the largest finite number (`.satfinite`).
const FINITE: u64 = 1 << 24;

const TYPES: [Type; 18] = [
    Type::U8,
    Type::U16,
    Type::U32,
    Type::U64,
    Type::S8,
    Type::S16,
    Type::S32,
    Type::S64,
    Type::F16,
    Type::Bf16,
    Type::F32,
    Type::F64,
    Type::Tf32,
    Type::B16,
    Type::B32,
    Type::B64,
    Type::E4m3x2,
    Type::E5m2x2,
];

fn code(ty: Type) -> Option<u64> {
    TYPES
        .iter()
        .position(|known| *known == ty)
        .map(|position| position as u64)
}

fn format(ty: Type) -> Option<Format> {
    Some(match ty {
        Type::F16 => Format::F16,
        Type::Bf16 => Format::BF16,
        Type::F32 => Format::F32,
        Type::F64 => Format::F64,
        Type::Tf32 => Format::TF32,
        Type::E4m3x2 => Format::E4M3,
        Type::E5m2x2 => Format::E5M2,
        _ => return None,
    })
}

impl Lanes for Any {
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        let from = TYPES[slots.extra as usize & 31];
        let to = TYPES[(slots.extra >> TO) as usize & 31];
        each(mask, |lane| {
            let bits = if from.size() == 8 {
                registers.wide(slots.from[0])[lane]
            } else {
                registers.row(slots.from[0])[lane].into()
            };
            let result = convert(bits, slots.extra);
            if to.size() == 8 {
                registers.wide_mut(slots.to)[lane] = result;
            } else {
                registers.row_mut(slots.to)[lane] = result as u32;
            }
        });
    }
}

fn rounding(extra: u64) -> Rounding {
    match extra >> ROUNDING & 7 {
        0 => Rounding::Nearest,
        1 => Rounding::Zero,
        2 => Rounding::Down,
        3 => Rounding::Up,
        _ => Rounding::Away,
    }
}

/// Converts the bits of one value.
fn convert(bits: u64, extra: u64) -> u64 {
    let from = TYPES[extra as usize & 31];
    let to = TYPES[(extra >> TO) as usize & 31];
    match (format(from), format(to)) {
        (None, None) => {
            let value = integer(bits, from);
            if extra & SATURATE != 0 {
                clamp(value, to)
            } else {
                wrap(value, to)
            }
        }
        (None, Some(format)) => finish(
            exact::from_integer(integer(bits, from), format, rounding(extra)),
            to,
            extra,
        ),
        (Some(source), to_format) => {
            let mut bits = bits & u64::MAX >> (64 - source.bits());
            if extra & FTZ != 0 && from == Type::F32 {
                bits = flush(f32::from_bits(bits as u32)).to_bits().into();
            }
            let value = widen(source, bits);
            match to_format {
                None => {
                    if value.is_nan() {
                        // NaN gives 0, or only the most significant bit if either type has 64 bits.
                        return if from == Type::F64 || to.size() == 8 {
                            1 << (8 * to.size() - 1)
                        } else {
                            0
                        };
                    }
                    // The cast saturates floats beyond 2^127.
                    clamp(integral(value, rounding(extra)) as i128, to)
                }
                Some(format) if extra & INTEGRAL != 0 => finish(
                    round_f64(integral(value, rounding(extra)), format, Rounding::Nearest),
                    to,
                    extra,
                ),
                Some(format) => {
                    let largest = widen(format, format.largest());
                    let (source, bits) = if extra & FINITE != 0 && value.abs() > largest {
                        (Format::F64, largest.copysign(value).to_bits())
                    } else {
                        (source, bits)
                    };
                    finish(exact::convert(source, bits, format, rounding(extra)), to, extra)
                }
            }
        }
    }
}

/// Converts a float to f64, exactly.
fn widen(format: Format, bits: u64) -> f64 {
    f64::from_bits(exact::convert(format, bits, Format::F64, Rounding::Nearest))
}

fn integral(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => value.round_ties_even(),
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
        Rounding::Away => value.round(),
    }
}

/// Applies the modifiers to a float result.
fn finish(bits: u64, to: Type, extra: u64) -> u64 {
    let Some(format) = format(to) else {
        return bits;
    };
    let value = widen(format, bits);
    let mut bits = bits;
    if extra & FTZ != 0 && to == Type::F32 {
        bits = flush(f32::from_bits(bits as u32)).to_bits().into();
    }
    if extra & SATURATE != 0 {
        let clamped = if value.is_nan() {
            0.0
        } else {
            value.clamp(0.0, 1.0) + 0.0
        };
        bits = round_f64(clamped, format, Rounding::Nearest);
    }
    if extra & RELU != 0 && (value < 0.0 || (value == 0.0 && value.is_sign_negative())) {
        bits = 0;
    }
    if to == Type::Tf32 {
        // The 19 bits of the format are the highest of 32.
        bits <<= 13;
    }
    bits
}

fn integer(bits: u64, ty: Type) -> i128 {
    match ty {
        Type::U8 | Type::B8 => i128::from(bits as u8),
        Type::S8 => i128::from(bits as i8),
        Type::U16 | Type::B16 => i128::from(bits as u16),
        Type::S16 => i128::from(bits as i16),
        Type::U32 | Type::B32 => i128::from(bits as u32),
        Type::S32 => i128::from(bits as i32),
        Type::S64 => i128::from(bits as i64),
        _ => i128::from(bits),
    }
}

fn clamp(value: i128, ty: Type) -> u64 {
    let bits = 8 * ty.size();
    let (least, most) = if ty.is_signed() {
        (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
    } else {
        (0, (1i128 << bits) - 1)
    };
    wrap(value.clamp(least, most), ty)
}

/// The low bits of an integer, extended to the width of the type's register.
fn wrap(value: i128, ty: Type) -> u64 {
    match ty {
        Type::U8 | Type::B8 => value as u8 as u64,
        Type::S8 => value as i8 as i32 as u32 as u64,
        Type::U16 | Type::B16 => value as u16 as u64,
        Type::S16 => value as i16 as u16 as u64,
        Type::U32 | Type::S32 | Type::B32 => value as u32 as u64,
        _ => value as u64,
    }
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    if draft.take("pack") {
        return pack_integers(draft);
    }
    let integral = draft.take_any(&["rni", "rzi", "rmi", "rpi"]);
    let rounding = match integral {
        Some("rni") => Some(Rounding::Nearest),
        Some("rzi") => Some(Rounding::Zero),
        Some("rmi") => Some(Rounding::Down),
        Some(_) => Some(Rounding::Up),
        None => draft.rounding(),
    };
    let mut extra = match rounding.unwrap_or(Rounding::Nearest) {
        Rounding::Nearest => 0,
        Rounding::Zero => 1,
        Rounding::Down => 2,
        Rounding::Up => 3,
        Rounding::Away => 4,
    } << ROUNDING;
    if integral.is_some() {
        extra |= INTEGRAL;
    }
    for (name, bit) in [("ftz", FTZ), ("sat", SATURATE), ("relu", RELU), ("satfinite", FINITE)] {
        if draft.take(name) {
            extra |= bit;
        }
    }
    let to_type = draft.ty()?;
    let from_type = draft.ty()?;
    let bytes = |ty| matches!(ty, Type::E4m3x2 | Type::E5m2x2);
    if bytes(to_type) || bytes(from_type) {
        return if rounding == Some(Rounding::Nearest) && integral.is_none() {
            convert_bytes(draft, to_type, from_type, extra)
        } else {
            Err(draft.unsupported(format!("a conversion from {from_type} to {to_type} without `.rn`")))
        };
    }
    if matches!(to_type, Type::F16x2 | Type::Bf16x2) {
        return pack(draft, to_type, from_type, extra);
    }
    draft.arity(2..=2)?;
    let (Some(from_code), Some(to_code)) = (code(from_type), code(to_type)) else {
        return Err(draft.unsupported(format!("a conversion from {from_type} to {to_type}")));
    };
    let run = quick(to_type, from_type, extra).unwrap_or_else(function::<Any>);
    extra |= from_code | to_code << TO;
    // `tf32` is held in a 32-bit register.
    let from = draft.operand(1)?;
    let from = draft.relaxed_source_of(from, from_type)?;
    let to = draft.extended_target(0, to_type)?;
    draft.lane_function(run, to, &[from], extra, class(to_type, from_type, extra), 0)
}

/// The class of a conversion. The unit of approximate functions converts between integers and floating point, to whole numbers, and
/// binary64. The low bits of an integer are a part of its register.
fn class(to: Type, from: Type, extra: u64) -> Class {
    let is_float = |ty| matches!(ty, Type::F16 | Type::Bf16 | Type::Tf32 | Type::F32 | Type::F64);
    let is_double = |ty| matches!(ty, Type::F64);
    match (is_float(to), is_float(from)) {
        (true, true) if extra & INTEGRAL != 0 || is_double(to) || is_double(from) => Class::Special,
        (true, true) => Class::Conversion,
        (true, false) | (false, true) => Class::Special,
        (false, false) if extra & SATURATE != 0 => Class::Conversion,
        (false, false) if to.size() > from.size() || to.size() == 1 => Class::Integer,
        (false, false) => Class::Name,
    }
}

/// The function of a frequent conversion.
fn quick(to: Type, from: Type, extra: u64) -> Option<LaneFunction> {
    let modifiers = extra & !(7 << ROUNDING);
    let nearest = extra == 0;
    Some(match (to, from) {
        (Type::F32, Type::F16) if modifiers & !FTZ == 0 => function::<F16ToF32>(),
        (Type::F32, Type::Bf16) if modifiers == 0 => function::<Bf16ToF32>(),
        (Type::F16, Type::F32) if nearest => function::<F32ToF16>(),
        (Type::Bf16, Type::F32) if nearest => function::<F32ToBf16>(),
        (Type::F32, Type::S32) if nearest => function::<S32ToF32>(),
        (Type::F32, Type::U32) if nearest => function::<U32ToF32>(),
        (Type::F64, Type::F32) if modifiers == 0 => function::<F32ToF64>(),
        (Type::F32, Type::F64) if nearest => function::<F64ToF32>(),
        (Type::S32, Type::F32) if extra == INTEGRAL | 1 << ROUNDING => function::<F32ToS32>(),
        (Type::U32, Type::F32) if extra == INTEGRAL | 1 << ROUNDING => function::<F32ToU32>(),
        (Type::U64 | Type::S64, Type::U32) if nearest => function::<U32ToU64>(),
        (Type::U64 | Type::S64, Type::S32) if nearest => function::<S32ToS64>(),
        (Type::U32 | Type::S32, Type::U64 | Type::S64) if nearest => function::<U64ToU32>(),
        (Type::U32 | Type::S32, Type::U16) if nearest => function::<U16ToU32>(),
        (Type::U32 | Type::S32, Type::S16) if nearest => function::<S16ToS32>(),
        (Type::U16 | Type::S16, Type::U32 | Type::S32) if nearest => function::<U32ToU16>(),
        _ => return None,
    })
}

/// Decodes conversions of pairs of 8-bit floats.
fn convert_bytes(draft: &mut Draft<'_, '_>, to_type: Type, from_type: Type, extra: u64) -> Result<(), Error> {
    let codes = |from, to| Some(code(from)? | code(to)? << TO);
    let (run, codes, sources, source): (LaneFunction, _, _, _) = match (to_type, from_type, extra & !RELU) {
        (Type::E4m3x2 | Type::E5m2x2, Type::F32, FINITE) => {
            (function::<PackBytes>(), codes(Type::F32, to_type), 2, Type::F32)
        }
        (Type::E4m3x2 | Type::E5m2x2, Type::F16x2, FINITE) => {
            (function::<HalvesToBytes>(), codes(Type::F16, to_type), 1, Type::B32)
        }
        (Type::F16x2, Type::E4m3x2 | Type::E5m2x2, 0) => {
            (function::<BytesToHalves>(), codes(from_type, Type::F16), 1, Type::B16)
        }
        _ => return Err(draft.unsupported(format!("this conversion from {from_type} to {to_type}"))),
    };
    draft.arity(sources + 1..=sources + 1)?;
    let mut from = [0; 2];
    for (index, slot) in from.iter_mut().enumerate().take(sources) {
        *slot = draft.source(index + 1, source)?;
    }
    let to = draft.target(0, to_type)?;
    let extra = extra | codes.unwrap_or_default();
    draft.lane_function(run, to, &from[..sources], extra, Class::Conversion, 0)
}

/// Decodes `cvt.pack.sat.type.s32`, which packs two integers of 16 bits, or with `.b32` smaller ones below a third
/// operand.
fn pack_integers(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    const TYPES: [&str; 8] = ["u2", "s2", "u4", "s4", "u8", "s8", "u16", "s16"];
    let to = if draft.take("sat") {
        draft.take_any(&TYPES)
    } else {
        None
    };
    let Some((sign, bits)) = to.and_then(|name| Some((&name[..1], name[1..].parse::<u64>().ok()?))) else {
        return Err(draft.unsupported("this type"));
    };
    let narrow = bits < 16;
    if !draft.take("s32") || draft.take("b32") != narrow {
        return Err(draft.unsupported("these types"));
    }
    let operands = if narrow { 4 } else { 3 };
    draft.arity(operands..=operands)?;
    let above = if narrow {
        draft.source(3, Type::B32)?
    } else {
        draft.narrow_constant(0)
    };
    let from = [draft.source(1, Type::B32)?, draft.source(2, Type::B32)?, above];
    let to = draft.target(0, Type::B32)?;
    let extra = bits | u64::from(sign == "s") << 8;
    draft.lanes::<PackIntegers>(to, &from, extra, Class::Conversion, 0)
}

fn pack(draft: &mut Draft<'_, '_>, to_type: Type, from_type: Type, extra: u64) -> Result<(), Error> {
    if from_type != Type::F32 {
        return Err(draft.unsupported(format!("a conversion from {from_type} to {to_type}")));
    }
    draft.arity(3..=3)?;
    let half = if to_type == Type::F16x2 { Type::F16 } else { Type::Bf16 };
    let (Some(from_code), Some(to_code)) = (code(Type::F32), code(half)) else {
        return Err(draft.unsupported("this conversion"));
    };
    let run = match (extra, half) {
        (0, Type::F16) => function::<PackF16>(),
        (0, _) => function::<PackBf16>(),
        _ => function::<PackAny>(),
    };
    let from = [draft.source(1, Type::F32)?, draft.source(2, Type::F32)?];
    let to = draft.extended_target(0, to_type)?;
    draft.lane_function(run, to, &from, extra | from_code | to_code << TO, Class::Conversion, 0)
}
