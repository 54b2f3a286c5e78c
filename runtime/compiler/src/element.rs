//! Element types of tensors, and the types in which arithmetic happens.
//!
//! To add an element type, add a line to the table. Names, sizes, ranges and rounding follow from it. The compiler then names the
//! conversions that it needs: to and from registers (`lower`), and to and from numbers ([`reference`](crate::reference)).

use bincode::{Decode, Encode};

macro_rules! elements {
    ($($(#[$doc:meta])+ $variant:ident $name:literal $origin:ident $numbers:expr, $compute:ident;)+) => {
        /// The type in which a tensor's elements or a scalar parameter are stored.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
        pub enum Element {
            $($(#[$doc])+ $variant,)+
        }

        impl Element {
            /// Every element type, in the order of the language's documentation.
            pub const ALL: [Element; [$($name),+].len()] = [$(Element::$variant),+];

            /// The name in the language: `f32`, `bf16`, `bool`, …
            pub const fn name(self) -> &'static str {
                match self { $(Element::$variant => $name,)+ }
            }

            /// The place of the Rust type of that name.
            pub const fn origin(self) -> Origin {
                match self { $(Element::$variant => Origin::$origin,)+ }
            }

            /// The numbers that it represents.
            pub const fn numbers(self) -> Numbers {
                match self { $(Element::$variant => $numbers,)+ }
            }

            /// The type that arithmetic on its values has.
            pub const fn compute(self) -> Type {
                match self { $(Element::$variant => Type::$compute,)+ }
            }
        }
    };
}

// Files contain positions in this list: add new lines at the end.
elements! {
    /// IEEE binary32.
    F32 "f32" Primitive float(8, 23), F32;
    /// IEEE binary16.
    F16 "f16" Runtime float(5, 10), F32;
    /// The upper half of a binary32.
    BF16 "bf16" Runtime float(8, 7), F32;
    /// IEEE binary64.
    F64 "f64" Primitive float(11, 52), F64;
    /// 8-bit signed integer.
    I8 "i8" Primitive integer(8, true), I32;
    /// 8-bit unsigned integer.
    U8 "u8" Primitive integer(8, false), I32;
    /// 32-bit signed integer.
    I32 "i32" Primitive integer(32, true), I32;
    /// 64-bit signed integer.
    I64 "i64" Primitive integer(64, true), I64;
    /// One byte, 0 or 1.
    Bool "bool" Primitive Numbers::Truth, Bool;
}

const fn float(exponent_bits: u32, fraction_bits: u32) -> Numbers {
    Numbers::Float(FloatFormat {
        exponent_bits,
        fraction_bits,
    })
}

const fn integer(bits: u32, signed: bool) -> Numbers {
    Numbers::Integer(IntegerFormat { bits, signed })
}

/// The place of an element's Rust type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `core::primitive`.
    Primitive,
    /// The root of the runtime crate.
    Runtime,
}

/// The numbers that an element type represents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Binary floating point, with infinities and NaN.
    Float(FloatFormat),
    /// Integers in two's complement.
    Integer(IntegerFormat),
    /// Truth values, one byte each.
    Truth,
}

/// A floating-point format laid out as IEEE 754 does: sign, biased exponent, fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloatFormat {
    /// Bits of the exponent.
    pub exponent_bits: u32,
    /// Bits of the fraction: the significant bits but for the leading one.
    pub fraction_bits: u32,
}

impl FloatFormat {
    /// `true` if every number of another format is one of this format's.
    pub fn holds(self, numbers: Numbers) -> bool {
        match numbers {
            Numbers::Float(other) => {
                other.exponent_bits <= self.exponent_bits && other.fraction_bits <= self.fraction_bits
            }
            Numbers::Integer(format) => {
                let magnitude_bits = format.bits - u32::from(format.signed);
                magnitude_bits <= self.fraction_bits + 1 && format.largest() as f64 <= self.largest()
            }
            Numbers::Truth => true,
        }
    }

    /// The exponent of the largest numbers; that of the smallest normal number is 1 minus this.
    const fn largest_exponent(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    /// The largest finite number.
    pub fn largest(self) -> f64 {
        libm::ldexp(2.0 - self.epsilon(), self.largest_exponent())
    }

    /// The distance from 1 to the next larger number.
    pub fn epsilon(self) -> f64 {
        libm::ldexp(1.0, -(self.fraction_bits as i32))
    }

    /// The smallest positive normal number.
    pub fn smallest_normal(self) -> f64 {
        libm::ldexp(1.0, 1 - self.largest_exponent())
    }

    /// The distance between neighbouring numbers at a value; 0 at infinities and NaN.
    pub fn unit_in_last_place(self, value: f64) -> f64 {
        if !value.is_finite() {
            return 0.0;
        }
        let smallest = 1 - self.largest_exponent();
        let exponent = if value == 0.0 { smallest } else { libm::ilogb(value) };
        libm::ldexp(1.0, exponent.max(smallest) - self.fraction_bits as i32)
    }
}

/// A format of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegerFormat {
    /// Bits of a number.
    pub bits: u32,
    /// `true` if there are negative numbers.
    pub signed: bool,
}

impl IntegerFormat {
    /// The smallest number.
    pub const fn smallest(self) -> i64 {
        match self.signed {
            true => i64::MIN >> (64 - self.bits),
            false => 0,
        }
    }

    /// The largest number.
    pub const fn largest(self) -> i64 {
        match self.signed {
            true => i64::MAX >> (64 - self.bits),
            false => (u64::MAX >> (64 - self.bits)) as i64,
        }
    }

    /// The number with the same lowest bits.
    pub const fn wrap(self, value: i64) -> i64 {
        let unused = 64 - self.bits;
        match self.signed {
            true => value << unused >> unused,
            false => ((value as u64) << unused >> unused) as i64,
        }
    }
}

/// The type of a value in registers. Elements are converted to it when they are loaded, and back when they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    /// A truth value; takes no part in arithmetic.
    Bool,
    /// 32-bit signed integer, wrapping.
    I32,
    /// 64-bit signed integer, wrapping.
    I64,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
}

impl Element {
    /// The element type of that name.
    pub fn from_name(name: &str) -> Option<Element> {
        Element::ALL.into_iter().find(|element| element.name() == name)
    }

    /// Bytes of one element.
    pub const fn size(self) -> u32 {
        match self.numbers() {
            Numbers::Float(format) => (1 + format.exponent_bits + format.fraction_bits) / 8,
            Numbers::Integer(format) => format.bits / 8,
            Numbers::Truth => 1,
        }
    }

    /// `true` for floating-point types.
    pub const fn is_float(self) -> bool {
        matches!(self.numbers(), Numbers::Float(_))
    }
}

impl Type {
    /// The element type that stores every value of this type, and no other value.
    pub const fn element(self) -> Element {
        match self {
            Type::Bool => Element::Bool,
            Type::I32 => Element::I32,
            Type::I64 => Element::I64,
            Type::F32 => Element::F32,
            Type::F64 => Element::F64,
        }
    }

    /// `true` for `F32` and `F64`.
    pub const fn is_float(self) -> bool {
        self.element().is_float()
    }

    /// `true` for `I32` and `I64`.
    pub const fn is_integer(self) -> bool {
        matches!(self.element().numbers(), Numbers::Integer(_))
    }

    /// The name of the Rust type.
    pub const fn name(self) -> &'static str {
        self.element().name()
    }

    /// The type of arithmetic between operands of two types. `None` between a truth value and a number.
    pub fn promote(self, other: Type) -> Option<Type> {
        match (self == Type::Bool, other == Type::Bool) {
            (true, true) => Some(Type::Bool),
            (false, false) => Some(self.max(other)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_the_values_of_rusts_types() {
        let floats = [
            (
                Element::F16,
                half::f16::MAX.to_f64(),
                half::f16::EPSILON.to_f64(),
                half::f16::MIN_POSITIVE.to_f64(),
            ),
            (
                Element::BF16,
                half::bf16::MAX.to_f64(),
                half::bf16::EPSILON.to_f64(),
                half::bf16::MIN_POSITIVE.to_f64(),
            ),
            (
                Element::F32,
                f32::MAX.into(),
                f32::EPSILON.into(),
                f32::MIN_POSITIVE.into(),
            ),
            (Element::F64, f64::MAX, f64::EPSILON, f64::MIN_POSITIVE),
        ];
        for (element, largest, epsilon, smallest_normal) in floats {
            let Numbers::Float(format) = element.numbers() else {
                panic!("{element} is a float")
            };
            let found = (format.largest(), format.epsilon(), format.smallest_normal());
            assert_eq!(found, (largest, epsilon, smallest_normal), "{element}");
            assert_eq!(format.unit_in_last_place(1.0), epsilon);
            let ulp = largest - largest / (2.0 - epsilon) * (2.0 - 2.0 * epsilon);
            assert_eq!(format.unit_in_last_place(-largest), ulp);
            assert_eq!(format.unit_in_last_place(0.0), smallest_normal * epsilon);
        }
        let integers = [
            (Element::I8, i8::MIN.into(), i8::MAX.into()),
            (Element::U8, u8::MIN.into(), u8::MAX.into()),
            (Element::I32, i32::MIN.into(), i32::MAX.into()),
            (Element::I64, i64::MIN, i64::MAX),
        ];
        for (element, smallest, largest) in integers {
            let Numbers::Integer(format) = element.numbers() else {
                panic!("{element} is an integer")
            };
            assert_eq!((format.smallest(), format.largest()), (smallest, largest), "{element}");
            assert_eq!(format.wrap(largest.wrapping_add(1)), smallest);
        }
    }

    #[test]
    fn floats_hold_what_they_represent_exactly() {
        let held = |holder: Element| {
            let Numbers::Float(format) = holder.numbers() else {
                panic!("{holder} is a float")
            };
            let held = Element::ALL
                .into_iter()
                .filter(|element| format.holds(element.numbers()));
            held.map(Element::name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(held(Element::F16), "f16 i8 u8 bool");
        assert_eq!(held(Element::BF16), "bf16 i8 u8 bool");
        assert_eq!(held(Element::F32), "f32 f16 bf16 i8 u8 bool");
        assert_eq!(held(Element::F64), "f32 f16 bf16 f64 i8 u8 i32 bool");
    }

    #[test]
    fn sizes_are_those_of_rusts_types() {
        let expected = [
            ("f32", 4),
            ("f16", 2),
            ("bf16", 2),
            ("f64", 8),
            ("i8", 1),
            ("u8", 1),
            ("i32", 4),
            ("i64", 8),
            ("bool", 1),
        ];
        for (name, size) in expected {
            assert_eq!(Element::from_name(name).map(Element::size), Some(size), "{name}");
        }
    }
}
