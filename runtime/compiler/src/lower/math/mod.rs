//! The functions of the language, as inline instructions: no library, no tables in memory.
//!
//! Largest errors found, in units in the last place of the true value, over all arguments (large ones, subnormals and results
//! that underflow included), and the number of instructions. Zeros, infinities and NaN are those of the function in C, with
//! the limit where a formula would be ∞ · 0: `silu(−∞)` and `gelu(−∞)` are −0.
//!
//! | function | f32 | f32, worst | instructions | f64 | instructions |
//! |---|---|---|---|---|---|
//! | `exp` | 1.5 | 4.9 | 10 | 1.0 | 31 |
//! | `ln` | 0.9 | 0.9 | 32 | 0.8 | 36 |
//! | `sqrt` | 0.5 | 0.5 | 1 | 0.5 | 1 |
//! | `rsqrt` | 0.5 | 2.2 | 1 | 1.4 | 2 |
//! | `tanh` | 1.6 | 3.3 | 16 | 1.2 | 54 |
//! | `erf` | 2.0 | 2.5 | 22 | 1.0 | 89 |
//! | `sin` | 2.6 | 2.6 | 68 | 1.5 | 134 |
//! | `cos` | 2.6 | 2.6 | 69 | 1.7 | 135 |
//! | `powf` | 0.8 | 4.0 | 77 | 1.1 | 129 |
//! | `powi` | 1.9 | 1.9 | 16 and a loop | 1.1 | 130 |
//! | `gelu` | 3.1 | 6.9 | 44 | 3.5 | 74 |
//! | `silu` | 3.0 | 7.8 | 22 | 2.1 | 43 |
//! | `sigmoid` | 2.5 | 7.1 | 17 | 1.9 | 37 |
//! | `%` | exact | exact | 42 and a loop | exact | 42 and a loop |
//!
//! - `abs`, `floor`, `ceil`, `round`, `relu`, `tf32` and `tf32_toward_zero` are exact.
//! - `sin` and `cos` execute about half of their instructions for large arguments only. Constant powers are unrolled.
//! - The first column supposes that `ex2.approx`, `rcp.approx` and `rsqrt.approx` round correctly; "worst", that each is wrong by
//!   as much as 2⁻²², 2⁻²³ and 2^−22.9 of its value, in the direction that harms most.
//!
//! `tests/math.rs` measures and bounds both (the figures are of a run with thirty times its binary32 samples and six times its
//! binary64 vectors); `tools/fit_math.py` computes the coefficients.

mod exponential;
mod hoist;
mod logarithm;
mod normal;
mod power;
mod real;
mod remainder;
mod trigonometric;

pub use remainder::remainder;

use crate::element::Type;
use crate::ir::{BinaryOp, Function};
use crate::lower::arithmetic;
use crate::lower::value::Value;
use crate::ptx::{Builder, Class, Opcode, Operand, Reg};
use hoist::hoisted;
use real::Real;

/// A function of values of type `ty`, which is also the result's type; the exponent of `powi` is an `i32`.
/// Integers have `abs`, `relu` and `powi`; the other functions are of floating-point types.
pub fn call(b: &mut Builder, function: Function, ty: Type, arguments: &[Value]) -> Value {
    hoisted(b, arguments, |b| emit(b, function, ty, arguments))
}

fn emit(b: &mut Builder, function: Function, ty: Type, arguments: &[Value]) -> Value {
    let x = Operand::from(arguments[0].reg(b));
    match function {
        Function::Powi => return power::powi(b, Value { ty, operand: x }, arguments[1]),
        Function::Relu => {
            let zero = Value::zero(b, ty);
            return arithmetic::binary(b, BinaryOp::Max, Value { ty, operand: x }, zero);
        }
        Function::Abs if ty.is_integer() => {
            let opcode = if ty == Type::I64 {
                Opcode::AbsS64
            } else {
                Opcode::AbsS32
            };
            return Value::new(ty, b.op(opcode, &[x]));
        }
        _ => {}
    }
    let r = &mut Real::new(b, ty);
    let operand = match function {
        Function::Exp => exponential::exp(r, x),
        Function::Ln => logarithm::ln(r, x),
        Function::Sqrt => r.op(Opcode::SqrtF32, Opcode::SqrtF64, &[x]),
        Function::Rsqrt => reciprocal_root(r, x),
        Function::Tanh => exponential::tanh(r, x),
        Function::Erf => normal::erf(r, x),
        Function::Sin => trigonometric::sine(r, x, false),
        Function::Cos => trigonometric::sine(r, x, true),
        Function::Powf => {
            let y = arguments[1].reg(r.b).into();
            logarithm::powf(r, x, y)
        }
        Function::Floor => r.op(Opcode::FloorF32, Opcode::FloorF64, &[x]),
        Function::Ceil => r.op(Opcode::CeilF32, Opcode::CeilF64, &[x]),
        Function::Round => round(r, x),
        Function::Gelu => normal::gelu(r, x),
        Function::Silu => exponential::silu(r, x),
        Function::Sigmoid => exponential::sigmoid(r, x),
        Function::Tf32 => by_way_of_f32(r, x, tf32),
        Function::Tf32TowardZero => by_way_of_f32(r, x, tf32_toward_zero),
        // `relu` and `powi` returned above.
        Function::Abs | Function::Relu | Function::Powi => r.abs(x),
    };
    Value { ty, operand }
}

/// 1 / √x
fn reciprocal_root(r: &mut Real, x: Operand) -> Operand {
    if !r.wide() {
        return r.b.op(Opcode::RsqrtF32, &[x]).into();
    }
    let root = r.b.op(Opcode::SqrtF64, &[x]);
    r.b.op(Opcode::RcpF64, &[root.into()]).into()
}

/// A function of binary32, of what an argument of either type is as one.
fn by_way_of_f32(r: &mut Real, x: Operand, function: fn(&mut Builder, Reg) -> Reg) -> Operand {
    let narrow = if r.wide() {
        r.b.op(Opcode::CvtF32F64, &[x]).into()
    } else {
        x
    };
    let narrow = match narrow {
        Operand::Reg(reg) => reg,
        constant => r.b.constant(Class::F32, constant),
    };
    let value = function(r.b, narrow);
    if r.wide() {
        r.b.op(Opcode::CvtF64F32, &[value.into()]).into()
    } else {
        value.into()
    }
}

/// To the 11 significant bits of tensor cores: half a unit of the last of them is added to the significand, as an integer
/// with the exponent above it, and the rest is cut off. A NaN may have become anything by that, so a share of `x` too small to
/// change the sum is added, which is NaN where `x` is.
///
/// `cvt.rna.tf32.f32` is three instructions too, which the assembler makes of it for every target that there is, and one more where `x` is
/// needed afterwards: its condition spares infinities and NaN. Tensor cores are said to ignore the bits that are cut off; the
/// instruction set leaves open how many they ignore.
fn tf32(b: &mut Builder, x: Reg) -> Reg {
    let bits = b.op(Opcode::BitsF32, &[x.into()]);
    let more = b.op(Opcode::AddS32, &[bits.into(), 0x1000.into()]);
    let kept = b.op(Opcode::AndB32, &[more.into(), (-0x2000).into()]);
    let kept = b.op(Opcode::F32Bits, &[kept.into()]);
    let share = 1.0 / (1u64 << 40) as f32;
    b.op(Opcode::FmaF32, &[x.into(), share.into(), kept.into()])
}

/// The 11 significant bits of tensor cores and nothing of the rest. The highest bit of a fraction is among them, so that a quiet NaN stays one.
fn tf32_toward_zero(b: &mut Builder, x: Reg) -> Reg {
    let bits = b.op(Opcode::BitsF32, &[x.into()]);
    let kept = b.op(Opcode::AndB32, &[bits.into(), (-0x2000).into()]);
    b.op(Opcode::F32Bits, &[kept.into()])
}

/// To the nearest, half away from zero: the number below ½ is added, not ½, so that only halves and more carry.
fn round(r: &mut Real, x: Operand) -> Operand {
    let below_half = if r.wide() {
        0.5f64.next_down()
    } else {
        f64::from(0.5f32.next_down())
    };
    let half = r.constant(below_half);
    let half = r.with_sign(half, x);
    let sum = r.add(x, half);
    r.trunc(sum)
}
