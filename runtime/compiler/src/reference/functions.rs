//! The functions of the language in `f64`.

use crate::ir::Function;

/// Returns the value of a function. `arguments` has the length that [`Function::TABLE`] states, and `powi`'s exponent is an integer.
pub fn function(function: Function, arguments: &[f64]) -> f64 {
    let x = arguments[0];
    match function {
        // The limit; −∞ · 0 would be NaN.
        Function::Gelu | Function::Silu if x == f64::NEG_INFINITY => -0.0,
        Function::Exp => libm::exp(x),
        Function::Ln => libm::log(x),
        Function::Sqrt => libm::sqrt(x),
        Function::Rsqrt => 1.0 / libm::sqrt(x),
        Function::Tanh => libm::tanh(x),
        Function::Erf => libm::erf(x),
        Function::Sin => libm::sin(x),
        Function::Cos => libm::cos(x),
        Function::Abs => x.abs(),
        Function::Powi => x.powi(arguments[1] as i32),
        Function::Powf => libm::pow(x, arguments[1]),
        Function::Floor => x.floor(),
        Function::Ceil => x.ceil(),
        Function::Round => x.round(),
        Function::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Function::Gelu => gelu(x),
        Function::Silu => x * sigmoid(x),
        Function::Sigmoid => sigmoid(x),
        Function::Tf32 => tf32(x as f32).into(),
        Function::Tf32TowardZero => tf32_toward_zero(x as f32).into(),
    }
}

/// `x/2 · erfc(−x/√2)`: erfc keeps the relative precision of the left tail, where 1 + erf cancels.
fn gelu(x: f64) -> f64 {
    /// The rounding error of `FRAC_1_SQRT_2`.
    const LOW: f64 = 6.268_583_589_525_109e-17;
    // In the left tail, erfc amplifies a rounding error of its argument z by 2z². The error is corrected to first order.
    let high = -x * std::f64::consts::FRAC_1_SQRT_2;
    if high.is_infinite() {
        return 0.5 * x * libm::erfc(high);
    }
    let low = libm::fma(-x, std::f64::consts::FRAC_1_SQRT_2, -high) - x * LOW;
    let slope = std::f64::consts::FRAC_2_SQRT_PI * libm::exp(-high * high);
    0.5 * x * (libm::erfc(high) - slope * low)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// Rounds to 10 fraction bits, half away from zero.
fn tf32(x: f32) -> f32 {
    if !x.is_finite() {
        return x;
    }
    f32::from_bits((x.to_bits() + 0x1000) & !0x1FFF)
}

/// Truncates to 10 fraction bits.
fn tf32_toward_zero(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    f32::from_bits(x.to_bits() & !0x1FFF)
}

/// The smaller number; NaN if one is NaN.
pub fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

/// The larger number; NaN if one is NaN.
pub fn max(a: f64, b: f64) -> f64 {
    -min(-a, -b)
}
