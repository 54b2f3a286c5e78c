//! Element types of tensors, and the types in which arithmetic happens.

use bincode::{Decode, Encode};

/// What a tensor or a scalar parameter is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Element {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// IEEE binary64.
    F64,
    /// 8-bit signed integer.
    I8,
    /// 8-bit unsigned integer.
    U8,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
    /// One byte, 0 or 1.
    Bool,
}

/// What a value is computed in. Storage is converted to it on load, and back once on store.
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
    /// Every element type, in the order of the language's documentation.
    pub const ALL: [Element; 9] = [
        Element::F32,
        Element::F16,
        Element::BF16,
        Element::F64,
        Element::I8,
        Element::U8,
        Element::I32,
        Element::I64,
        Element::Bool,
    ];

    /// The name it has in the language: `f32`, `bf16`, `bool`, …
    pub const fn name(self) -> &'static str {
        match self {
            Element::F32 => "f32",
            Element::F16 => "f16",
            Element::BF16 => "bf16",
            Element::F64 => "f64",
            Element::I8 => "i8",
            Element::U8 => "u8",
            Element::I32 => "i32",
            Element::I64 => "i64",
            Element::Bool => "bool",
        }
    }

    /// The element type of that name.
    pub fn from_name(name: &str) -> Option<Element> {
        Element::ALL.into_iter().find(|e| e.name() == name)
    }

    /// Bytes of one element.
    pub const fn size(self) -> u32 {
        match self {
            Element::I8 | Element::U8 | Element::Bool => 1,
            Element::F16 | Element::BF16 => 2,
            Element::F32 | Element::I32 => 4,
            Element::F64 | Element::I64 => 8,
        }
    }

    /// The type a stored value is computed in.
    pub const fn compute(self) -> Type {
        match self {
            Element::F32 | Element::F16 | Element::BF16 => Type::F32,
            Element::F64 => Type::F64,
            Element::I8 | Element::U8 | Element::I32 => Type::I32,
            Element::I64 => Type::I64,
            Element::Bool => Type::Bool,
        }
    }

    /// Whether it is a floating-point type.
    pub const fn is_float(self) -> bool {
        self.compute().is_float()
    }
}

impl Type {
    /// Whether it is `F32` or `F64`.
    pub const fn is_float(self) -> bool {
        matches!(self, Type::F32 | Type::F64)
    }

    /// Whether it is `I32` or `I64`.
    pub const fn is_integer(self) -> bool {
        matches!(self, Type::I32 | Type::I64)
    }

    /// The name of the Rust type.
    pub const fn name(self) -> &'static str {
        match self {
            Type::Bool => "bool",
            Type::I32 => "i32",
            Type::I64 => "i64",
            Type::F32 => "f32",
            Type::F64 => "f64",
        }
    }

    /// The type in which operands of these two types meet; none if one is a truth value and the other is not.
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
