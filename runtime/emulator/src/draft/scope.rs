//! The names that are visible in a scope of a function.

use std::collections::HashMap;

use crate::machine::registers::Slot;
use crate::parse::syntax::Type;

/// Where a variable lives: its state space and its offset there, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Location {
    Shared(u32),
    /// In the function's frame, in local memory.
    Frame(u32),
    /// In the module's global image.
    Global(u64),
    Constant(u64),
    /// Among the kernel's parameters.
    Parameter(u32),
}

/// The meaning of a name.
#[derive(Debug, Clone)]
pub(crate) enum Symbol {
    Register {
        ty: Type,
        slot: Slot,
    },
    /// A vector register. Each component has a name of its own ([`component`]).
    Vector {
        lanes: u32,
    },
    Variable {
        location: Location,
        size: u64,
    },
}

/// The names of a vector's components; the second row means the same ones.
pub(super) const COMPONENTS: [[&str; 4]; 2] = [["x", "y", "z", "w"], ["r", "g", "b", "a"]];

/// The name of a component of a vector register.
pub(super) fn component(vector: &str, lane: usize) -> String {
    format!("{vector}.{}", COMPONENTS[0][lane])
}

/// `.reg .ty %r<n>`: registers `%r0` to `%r(n − 1)`. Only those in use get a slot.
#[derive(Debug, Clone)]
pub(crate) struct RegisterRange {
    pub prefix: String,
    pub ty: Type,
    pub lanes: u32,
    pub count: u32,
}

impl RegisterRange {
    /// `true` if the range has a register of that name.
    pub fn contains(&self, name: &str) -> bool {
        let Some(digits) = name.strip_prefix(self.prefix.as_str()) else {
            return false;
        };
        let canonical = !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        canonical && digits.parse::<u32>().is_ok_and(|number| number < self.count)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub names: HashMap<String, Symbol>,
    pub ranges: Vec<RegisterRange>,
    /// The scope's number in its function, for labels.
    pub number: usize,
}
