//! Weights as tensor cores multiply them: two neighbours in a register.

use crate::lower::tile::multiplicand::Multiplicand;
use crate::lower::value::from_storage;
use crate::ptx::{Builder, Opcode, Reg};

/// Two neighbouring weights, rounded and packed.
pub(super) fn packed(b: &mut Builder, multiplicand: Multiplicand, first: Reg, second: Reg) -> Reg {
    let opcode = match multiplicand {
        Multiplicand::Bf16 => Opcode::CvtBf16x2F32,
        _ => Opcode::CvtF16x2F32,
    };
    b.op(opcode, &[second.into(), first.into()])
}

/// Two packed weights.
pub(super) fn unpacked(b: &mut Builder, multiplicand: Multiplicand, pair: Reg) -> [Reg; 2] {
    let halves = b.ops(Opcode::HalvesB32, &[pair.into()]);
    [halves[0], halves[1]].map(|half| from_storage(b, multiplicand.element(), half).reg(b))
}
