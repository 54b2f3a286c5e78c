//! Calls of functions.

use super::arithmetic::power;
use super::evaluated::{Evaluated, in_type, rounding, unit_roundoff};
use super::functions;
use super::number::{Number, wrapped};
use crate::element::Type;
use crate::ir::Function;

/// Returns the value of a function, with the error that a correct kernel may make in it and carry over from the arguments.
pub(super) fn call(function: Function, values: &[Evaluated], ty: Type) -> Evaluated {
    let a = values[0];
    if ty.is_integer() {
        let x = a.value.integer();
        let value = match function {
            Function::Abs => x.wrapping_abs(),
            Function::Powi => power(x, values[1].value.integer()),
            _ => x.max(0),
        };
        return Evaluated::exact(wrapped(value, ty));
    }
    let numbers: Vec<f64> = values.iter().map(|value| value.value.float()).collect();
    let value = functions::function(function, &numbers);
    let (x, f) = (numbers[0], value);
    // The error that an argument's error causes.
    let carried = |slope: f64| if a.error == 0.0 { 0.0 } else { slope.abs() * a.error };
    let units = if ty == Type::F32 { 4.0 } else { 2.0 };
    let own = rounding(2.0 * units * unit_roundoff(ty), f);
    let jump = |low: f64, high: f64| if low == high { 0.0 } else { (high - low).abs() };
    let at = |x: f64| functions::function(function, &[&[x], &numbers[1..]].concat());
    // For monotonic functions. NaN, which means any error, outside the domain.
    let spread = || match a.error {
        0.0 => 0.0,
        error => jump(at(x - error), f) + jump(at(x + error), f),
    };
    let error = match function {
        Function::Exp => own + carried(f).max(f * libm::expm1(a.error)),
        Function::Ln | Function::Sqrt | Function::Rsqrt | Function::Tanh | Function::Erf | Function::Sigmoid => {
            own + spread()
        }
        Function::Sin | Function::Cos => own + carried(1.0),
        Function::Abs | Function::Relu => a.error,
        Function::Powi | Function::Powf if a.error > 0.0 && x.abs() <= a.error => f64::INFINITY,
        Function::Powi => own + spread(),
        Function::Powf => {
            let of_power = if values[1].error == 0.0 {
                0.0
            } else {
                (f * libm::log(x)).abs() * values[1].error
            };
            own + spread() + of_power
        }
        Function::Floor | Function::Ceil | Function::Round | Function::Tf32 | Function::Tf32TowardZero => {
            jump(at(x - a.error), at(x + a.error))
        }
        Function::Gelu => 2.0 * own + carried(1.13),
        Function::Silu => 2.0 * own + carried(1.1),
    };
    Evaluated {
        value: Number::Float(value),
        error: in_type(error, value, ty),
    }
}
