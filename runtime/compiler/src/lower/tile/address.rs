//! Arithmetic of addresses in shared memory, folded where operands are constant.

use crate::lower::expression::Lowering;
use crate::ptx::{Address, Class, Opcode, Operand};

pub(crate) fn address(lowering: &mut Lowering<'_>, base: Operand, offset: i64) -> Address {
    let base = match base {
        Operand::Reg(reg) => reg,
        constant => lowering.b.constant(Class::B32, constant),
    };
    Address {
        base,
        offset: offset as i32,
    }
}

pub(crate) fn sum(lowering: &mut Lowering<'_>, a: Operand, b: Operand) -> Operand {
    match (a, b) {
        (Operand::Int(0), other) | (other, Operand::Int(0)) => other,
        (Operand::Int(a), Operand::Int(b)) => Operand::Int(a + b),
        (constant @ Operand::Int(_), other) => lowering.b.op(Opcode::AddS32, &[other, constant]).into(),
        (a, b) => lowering.b.op(Opcode::AddS32, &[a, b]).into(),
    }
}

pub(crate) fn multiple(lowering: &mut Lowering<'_>, a: Operand, factor: i64) -> Operand {
    match a {
        Operand::Int(a) => Operand::Int(a * factor),
        a => lowering.b.op(Opcode::MulS32, &[a, factor.into()]).into(),
    }
}

pub(crate) fn exclusive_or(lowering: &mut Lowering<'_>, a: Operand, b: Operand) -> Operand {
    match (a, b) {
        (Operand::Int(0), other) | (other, Operand::Int(0)) => other,
        (Operand::Int(a), Operand::Int(b)) => Operand::Int(a ^ b),
        (constant @ Operand::Int(_), other) => lowering.b.op(Opcode::XorB32, &[other, constant]).into(),
        (a, b) => lowering.b.op(Opcode::XorB32, &[a, b]).into(),
    }
}
