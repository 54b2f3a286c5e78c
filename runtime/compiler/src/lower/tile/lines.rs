//! The swizzled layout of slabs that `ldmatrix` reads.
//!
//! A slab lies in lines: of terms, one a row, or, where memory is contiguous along the rows, of rows, one a term. `ldmatrix` transposes by
//! units of 2 bytes. Of 1-byte elements these are pairs of rows, which are taken apart in registers. It would tear 4-byte elements apart,
//! so their lines are always of terms, and a thread that loads several rows of several terms stores terms. The 16-byte chunks of a line are
//! permuted by the line's number ([`Lines::at`]), so that neither copies, stores nor `ldmatrix` have bank conflicts.

use super::address::{address, exclusive_or, multiple, sum};
use super::block::Block;
use super::deal::{Piece, Step};
use super::multiplicand::Multiplicand;
use super::products::{Products, Side, Sum};
use super::slab::Slab;
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::ptx::{Address, Opcode, Operand, Reg};

/// The layout of a slab in shared memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    /// Bytes from the start of a stage.
    pub start: u32,
    /// Bytes of a line.
    pub bytes: u32,
    /// Bytes of an element.
    pub element: u32,
    /// `true` if a line is a row's terms; else it is a term's rows.
    pub of_terms: bool,
    /// `true` if it is a row's terms though memory is contiguous along the rows.
    pub turned: bool,
    /// `true` if it is single bytes of rows, which come to registers in pairs.
    pub paired: bool,
}

impl Lines {
    pub fn new(slab: &Slab, side: &Side, block: Block, multiplicand: Multiplicand, start: u32) -> Lines {
        let element = multiplicand.bytes();
        // Matrices are transposed on their way to registers by units of two bytes: words would be torn apart.
        let of_terms = slab.along_depth || element == 4;
        Lines {
            start,
            bytes: element * if of_terms { block.depth } else { slab.tile },
            element,
            of_terms,
            turned: of_terms && !slab.along_depth,
            paired: are_paired(side, element),
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
    /// Apart from that comes the constant part: what moves by 16 lines, or by 8 chunks, is permuted alike; by 8 lines, if neither turned nor
    /// paired.
    pub fn at(&self, lowering: &mut Lowering<'_>, line: &Linear, byte: &Linear) -> (Operand, i64) {
        let alike = if self.turned || self.paired { 16 } else { 8 };
        let whole_lines = line.constant_part().div_euclid(alike) * alike;
        let whole_bytes = byte.constant_part().div_euclid(128) * 128;
        let (line, byte) = (line.plus_constant(-whole_lines), byte.plus_constant(-whole_bytes));
        let (math, b) = (lowering.math, &mut lowering.b);
        let (line, byte) = (math.operand(b, &line), math.operand(b, &byte));
        let key = self.key(lowering, line);
        let lines = multiple(lowering, line, i64::from(self.bytes));
        let at = sum(lowering, lines, byte);
        let at = exclusive_or(lowering, at, key);
        (at, whole_lines * i64::from(self.bytes) + whole_bytes)
    }

    /// The key that permutes the chunks of a line, by exclusive or.
    fn key(&self, lowering: &mut Lowering<'_>, line: Operand) -> Operand {
        if let Operand::Int(line) = line {
            return Operand::Int(self.key_of(line));
        }
        let mut key = Operand::Int(0);
        for &(bits, up) in self.moves() {
            let b = &mut lowering.b;
            let chosen = b.op(Opcode::AndB32, &[line, bits.into()]);
            let moved = b.op(Opcode::ShlB32, &[chosen.into(), up.into()]);
            key = exclusive_or(lowering, key, moved.into());
        }
        key
    }

    fn key_of(&self, line: i64) -> i64 {
        self.moves()
            .iter()
            .fold(0, |key, &(bits, up)| key ^ (line & bits) << up)
    }

    /// The bits of a line's number that move its chunks, and how far up: to the bits of 16, 32 and 64 bytes, unless lines of fewer than 128
    /// bytes differ in those anyway. Lines that follow each other come to registers together. If the slab is
    /// turned, the line 8 further on, whose elements are loaded by the same warp, has its chunks in other places again. If it is paired, lines
    /// 4, 8 and 12 further on come together, with the next of each.
    fn moves(&self) -> &'static [(i64, i64)] {
        match (self.bytes, self.turned, self.paired) {
            (..=32, _, _) => &[(4, 2), (8, 3)],
            (64, _, true) => &[(12, 2)],
            (64, true, _) => &[(6, 3), (8, 3)],
            (64, _, _) => &[(6, 3)],
            (_, _, true) => &[(1, 4), (12, 3)],
            (_, true, _) => &[(7, 4), (8, 1)],
            _ => &[(7, 4)],
        }
    }

    /// In what order patches of `rows` by `terms` elements are dealt to threads, so that their stores, of a row's terms each, do not meet in
    /// a bank: the place is linear in the bits of row and term (without carries), so lanes that store at once meet in none if what
    /// their bits move it by is independent. Besides, a warp reads whole sectors.
    pub fn deal(&self, [rows, terms]: [u32; 2], [all_rows, all_terms]: [u32; 2]) -> Vec<Step> {
        let powers = |from: u32, to: u32| {
            std::iter::successors(Some(from), |&step| Some(2 * step)).take_while(move |&step| step < to)
        };
        let width = terms * self.element;
        let at_once = (128 / width).min(32).trailing_zeros() as usize;
        let within = |bytes: u32| powers(rows, all_rows.min(bytes / self.element)).map(Step::Rows);
        let all: Vec<Step> = powers(terms, all_terms)
            .map(Step::Terms)
            .chain(powers(rows, all_rows).map(Step::Rows))
            .collect();
        let mut dealt: Vec<Step> = Vec::new();
        let mut banks: Vec<u32> = Vec::new();
        for step in within(32).chain(all.iter().copied()) {
            let mut bank = self.moved(step) & 127 & !(width - 1);
            for &other in &banks {
                bank = bank.min(bank ^ other);
            }
            if bank > 0 && dealt.len() < at_once {
                banks.push(bank);
                dealt.push(step);
            }
        }
        for step in within(32).chain(within(128)).chain(all.iter().copied()) {
            if !dealt.contains(&step) {
                dealt.push(step);
            }
        }
        dealt
    }

    /// The bits of a place that change with those of a row or term.
    fn moved(&self, step: Step) -> u32 {
        match step {
            Step::Rows(rows) => (rows * self.bytes) ^ self.key_of(rows.into()) as u32,
            Step::Terms(terms) => terms * self.element,
        }
    }
}

/// An address within a slab of a stage.
pub(crate) fn shared(lowering: &mut Lowering<'_>, stage: Reg, lines: Lines, line: &Linear, byte: &Linear) -> Address {
    let (at, constant) = lines.at(lowering, line, byte);
    let base = sum(lowering, at, stage.into());
    address(lowering, base, constant + i64::from(lines.start))
}

/// `true` if a side's lines are single bytes of its rows. Matrices are transposed by units of two bytes, so a lane comes to have two neighbouring
/// rows of such a side: one in the fragment's first half, the other in the second.
pub(crate) fn are_paired(side: &Side, multiplicand_bytes: u32) -> bool {
    !side.along_depth && multiplicand_bytes == 1
}

/// The same of the left and the right operand of a sum.
pub(crate) fn paired(shape: &Products, sum: &Sum, multiplicand_bytes: u32) -> [bool; 2] {
    [0, 1].map(|operand| are_paired(&shape.sides[sum.operands[operand]], multiplicand_bytes))
}
