//! SIMD within a register: `vadd4`, `vabsdiff2` and similar instructions, on whole operands.

use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::lanes::{function, lanes};
use crate::parse::syntax::Type;

const OPERATIONS: [&str; 6] = ["vadd", "vsub", "vavrg", "vabsdiff", "vmin", "vmax"];

/// Bits of `extra`, above the operation in bits 0 to 2.
const SIGNED_A: u64 = 8;
const SIGNED_B: u64 = 16;
const SIGNED_RESULT: u64 = 32;
const SATURATE: u64 = 64;
const ACCUMULATE: u64 = 128;
/// Four parts of 8 bits, not two of 16.
const FOUR: u64 = 256;

lanes! {
    Parts(a: u32, b: u32, c: u32; extra) -> u32 {
        let (count, bits) = if extra & FOUR != 0 { (4, 8) } else { (2, 16) };
        let part = |value: u32, index: u32, signed: bool| -> i32 {
            let raised = value << (32 - bits * (index + 1));
            if signed { raised as i32 >> (32 - bits) } else { (raised >> (32 - bits)) as i32 }
        };
        let mut result = if extra & ACCUMULATE != 0 { c } else { 0 };
        for index in 0..count {
            let (x, y) = (part(a, index, extra & SIGNED_A != 0), part(b, index, extra & SIGNED_B != 0));
            let value = match extra & 7 {
                0 => x + y,
                1 => x - y,
                // Ties round away from zero.
                2 => { let sum = x + y; if sum >= 0 { (sum + 1) >> 1 } else { -((1 - sum) >> 1) } }
                3 => (x - y).abs(),
                4 => x.min(y),
                _ => x.max(y),
            };
            let value = if extra & SATURATE == 0 {
                value
            } else if extra & SIGNED_RESULT != 0 {
                value.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
            } else {
                value.clamp(0, (1 << bits) - 1)
            };
            if extra & ACCUMULATE != 0 {
                result = result.wrapping_add(value as u32);
            } else {
                result |= (value as u32 & ((1 << bits) - 1)) << (bits * index);
            }
        }
        result
    }
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let (operation, count) = draft.name().split_at(draft.name().len() - 1);
    let Some(operation) = OPERATIONS.iter().position(|name| *name == operation) else {
        return Err(draft.unsupported(format!("the instruction `{}`", draft.name())));
    };
    let mut extra = operation as u64 | if count == "4" { FOUR } else { 0 };
    for (name, bit) in [("sat", SATURATE), ("add", ACCUMULATE)] {
        if draft.take(name) {
            extra |= bit;
        }
    }
    for bit in [SIGNED_RESULT, SIGNED_A, SIGNED_B] {
        match draft.ty()? {
            Type::U32 => {}
            Type::S32 => extra |= bit,
            other => return Err(draft.unsupported(format!("the type {other}"))),
        }
    }
    draft.arity(4..=4)?;
    let from = [
        draft.source(1, Type::B32)?,
        draft.source(2, Type::B32)?,
        draft.source(3, Type::B32)?,
    ];
    let to = draft.target(0, Type::B32)?;
    draft.lane_function(function::<Parts>(), to, &from, extra, Class::Integer, 0)
}
