//! Values with error bounds.

use super::number::{Number, loaded, stored};
use crate::element::{Element, Numbers, Type};

/// A value with the error of a correct kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluated {
    /// The value, before it is rounded to the output's element type.
    pub value: Number,
    /// The largest absolute error before that rounding; infinite if any value is correct.
    pub error: f64,
}

impl Evaluated {
    pub(super) const fn exact(value: Number) -> Evaluated {
        Evaluated { value, error: 0.0 }
    }

    /// `true` if a correct kernel may store this element: it is within the error plus one unit in the last place of the element type.
    pub fn accepts(&self, element: Element, bytes: &[u8]) -> bool {
        let got = loaded(element, bytes);
        let Numbers::Float(format) = element.numbers() else {
            let exact = loaded(element, &stored(element, self.value));
            // Storing wraps, so the largest and the smallest number are neighbours.
            let distance = got.integer().wrapping_sub(exact.integer());
            let unused = 64 - 8 * element.size();
            let distance = (distance << unused) >> unused;
            return self.error.is_infinite() || distance.unsigned_abs() as f64 <= self.error;
        };
        let (got, value) = (got.float(), self.value.float());
        if self.error.is_infinite() {
            return true;
        }
        if value.is_nan() {
            return got.is_nan();
        }
        if value.is_infinite() {
            return got == value;
        }
        // The analysis is first-order; 2 % cover the second order.
        let error = 1.02 * self.error + format.unit_in_last_place(value);
        let bound = |value: f64| loaded(element, &stored(element, Number::Float(value))).float();
        (bound(value - error)..=bound(value + error)).contains(&got)
    }
}

/// The relative error of one operation: half a unit in the last place.
pub(super) fn unit_roundoff(ty: Type) -> f64 {
    match ty.element().numbers() {
        Numbers::Float(format) => format.epsilon() / 2.0,
        Numbers::Integer(_) | Numbers::Truth => 0.0,
    }
}

/// The error of rounding a value to an element: half a unit in the last place. Infinities, NaN and integers are exact.
pub(super) fn rounding_of(element: Element, value: Number) -> f64 {
    match element.numbers() {
        Numbers::Float(format) if value.float().is_finite() => format.unit_in_last_place(value.float()) / 2.0,
        _ => 0.0,
    }
}

/// The error of rounding a value. Infinities and NaN are exact.
pub(super) fn rounding(unit: f64, value: f64) -> f64 {
    if value.is_finite() { unit * value.abs() } else { 0.0 }
}

/// The error of a value in its type. An error below the smallest subnormals counts as one of them. The error is infinite if it is NaN, or if
/// the value may exceed the type's largest number.
pub(super) fn in_type(error: f64, value: f64, ty: Type) -> f64 {
    match ty {
        _ if error.is_nan() => f64::INFINITY,
        Type::F32 if value.is_finite() && value.abs() + error > largest(ty) => f64::INFINITY,
        Type::F32 if error > 0.0 => error.max(2f64.powi(-148)),
        Type::F32 | Type::F64 | Type::I32 | Type::I64 | Type::Bool => error,
    }
}

/// The largest finite number of a type; infinite for integers.
pub(super) fn largest(ty: Type) -> f64 {
    match ty.element().numbers() {
        Numbers::Float(format) => format.largest(),
        Numbers::Integer(_) | Numbers::Truth => f64::INFINITY,
    }
}
