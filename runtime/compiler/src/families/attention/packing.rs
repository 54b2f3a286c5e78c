//! Weights as tensor cores multiply them: two neighbours in a register.

use crate::lower::tile::multiplicand::Multiplicand;
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
    if multiplicand == Multiplicand::Bf16 {
        let first = b.op(Opcode::ShlB32, &[pair.into(), 16.into()]);
        let second = b.op(Opcode::AndB32, &[pair.into(), 0xFFFF_0000.into()]);
        return [first, second].map(|bits| b.op(Opcode::F32Bits, &[bits.into()]));
    }
    let halves = b.ops(Opcode::HalvesB32, &[pair.into()]);
    [halves[0], halves[1]].map(|half| b.op(Opcode::CvtF32F16, &[half.into()]))
}
