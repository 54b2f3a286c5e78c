//! Where a slab's elements lie in shared memory, and addresses there.

use super::super::super::expression::Lowering;
use super::super::super::index::Linear;
use super::super::{Block, Piece, Slab};
use crate::ptx::{Address, Class, Opcode, Operand, Reg};
use crate::schedule::Multiplicand;

/// How a slab lies in shared memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    /// Bytes from the start of a stage.
    pub start: u32,
    /// Bytes of a line.
    pub bytes: u32,
    /// Bytes of an element.
    pub element: u32,
    /// Whether a line is a row's terms; else it is a term's rows.
    pub of_terms: bool,
}

impl Lines {
    pub fn new(side: &Slab, block: Block, multiplicand: Multiplicand, start: u32) -> Lines {
        let element = multiplicand.bytes();
        // Only matrices of 2-byte elements can be transposed on their way to registers.
        let of_terms = side.along_depth || element != 2;
        Lines {
            start,
            bytes: element * if of_terms { block.depth } else { side.tile },
            element,
            of_terms,
        }
    }

    /// The line of an element, and its byte in it.
    pub fn place(&self, piece: &Piece) -> (Linear, Linear) {
        let (line, along) = if self.of_terms {
            (&piece.row, &piece.term)
        } else {
            (&piece.term, &piece.row)
        };
        (line.clone(), along.times(i64::from(self.element)))
    }

    /// Bytes from the start of the slab. Lines of 128 bytes hold 8 chunks of 16, and line `l` has chunk `c` in the place `c ^ l % 8`:
    /// 8 lines have a chunk in 8 places. Of shorter lines several make 128 bytes, and these take the place of the line.
    ///
    /// Apart from that comes the constant part: what moves by 8 lines, or by 8 chunks, is permuted alike.
    pub fn at(&self, lowering: &mut Lowering<'_>, line: &Linear, byte: &Linear) -> (Operand, i64) {
        let whole_lines = line.constant_part().div_euclid(8) * 8;
        let whole_bytes = byte.constant_part().div_euclid(128) * 128;
        let (line, byte) = (line.plus_constant(-whole_lines), byte.plus_constant(-whole_bytes));
        let (math, b) = (lowering.math, &mut lowering.b);
        let (line, byte) = (math.operand(b, &line), math.operand(b, &byte));
        let key = self.key(lowering, line);
        let within = exclusive_or(lowering, byte, key);
        let lines = multiple(lowering, line, i64::from(self.bytes));
        let at = sum(lowering, lines, within);
        (at, whole_lines * i64::from(self.bytes) + whole_bytes)
    }

    /// What the byte in a line is combined with: 16 times the number of the line, in units of 128 bytes, modulo the chunks of a line.
    pub fn key(&self, lowering: &mut Lowering<'_>, line: Operand) -> Operand {
        let down = i64::from((128 / self.bytes.min(128)).trailing_zeros());
        let mask = i64::from(self.bytes.min(128) / 16 - 1);
        match line {
            Operand::Int(line) => Operand::Int(((line >> down) & mask) << 4),
            line => {
                let b = &mut lowering.b;
                let units = if down > 0 {
                    b.op(Opcode::ShrU32, &[line, down.into()]).into()
                } else {
                    line
                };
                let key = b.op(Opcode::AndB32, &[units, mask.into()]);
                b.op(Opcode::ShlB32, &[key.into(), 4.into()]).into()
            }
        }
    }
}

/// An address within a slab of a stage.
pub(super) fn shared(lowering: &mut Lowering<'_>, stage: Reg, lines: Lines, line: &Linear, byte: &Linear) -> Address {
    let (at, constant) = lines.at(lowering, line, byte);
    let base = sum(lowering, at, stage.into());
    address(lowering, base, constant + i64::from(lines.start))
}

pub(super) fn address(lowering: &mut Lowering<'_>, base: Operand, offset: i64) -> Address {
    let base = match base {
        Operand::Reg(reg) => reg,
        constant => lowering.b.constant(Class::B32, constant),
    };
    Address {
        base,
        offset: offset as i32,
    }
}

pub(super) fn sum(lowering: &mut Lowering<'_>, a: Operand, b: Operand) -> Operand {
    match (a, b) {
        (Operand::Int(0), other) | (other, Operand::Int(0)) => other,
        (Operand::Int(a), Operand::Int(b)) => Operand::Int(a + b),
        (constant @ Operand::Int(_), other) => lowering.b.op(Opcode::AddS32, &[other, constant]).into(),
        (a, b) => lowering.b.op(Opcode::AddS32, &[a, b]).into(),
    }
}

pub(super) fn multiple(lowering: &mut Lowering<'_>, a: Operand, factor: i64) -> Operand {
    match a {
        Operand::Int(a) => Operand::Int(a * factor),
        a => lowering.b.op(Opcode::MulS32, &[a, factor.into()]).into(),
    }
}

pub(super) fn exclusive_or(lowering: &mut Lowering<'_>, a: Operand, b: Operand) -> Operand {
    match (a, b) {
        (Operand::Int(0), other) | (other, Operand::Int(0)) => other,
        (Operand::Int(a), Operand::Int(b)) => Operand::Int(a ^ b),
        (constant @ Operand::Int(_), other) => lowering.b.op(Opcode::XorB32, &[other, constant]).into(),
        (a, b) => lowering.b.op(Opcode::XorB32, &[a, b]).into(),
    }
}
