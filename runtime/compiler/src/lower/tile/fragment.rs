//! From slabs in shared memory to registers: fragments of `mma.sync` by `ldmatrix`, and vectors for fused multiply-adds.

use super::address::{address, exclusive_or, sum};
use super::arrival::pitch;
use super::lines::Lines;
use super::slab::Slab;
use super::warp::{Warp, WarpTile};
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::ptx::{Address, Builder, Few, Opcode, Reg, Space, Width};
use smallvec::smallvec;

/// Neighbouring elements that a thread reads from shared memory at once: 16 bytes, if its tile has so many.
pub(crate) fn group(count: u32, bytes: u32) -> u32 {
    count.min(16 / bytes)
}

/// The `count` elements of a thread for one term of a padded slab, which lies `start` bytes from `base`.
pub(crate) fn vector(
    lowering: &mut Lowering<'_>,
    base: Reg,
    (slab, start): (&Slab, u32),
    term: u32,
    count: u32,
    width: Width,
) -> Vec<Reg> {
    let bytes = width.bytes();
    let neighbours = group(count, bytes);
    let groups = count / neighbours;
    (0..groups)
        .flat_map(|number| {
            // Groups lie a part of the tile apart, so that a warp's threads read neighbours.
            let element = term * pitch(slab.tile) + number * (slab.tile / groups);
            let address = Address {
                base,
                offset: (start + element * bytes) as i32,
            };
            lowering.b.load_here(Space::Shared, width, neighbours as usize, address)
        })
        .collect()
}

/// Reads fragments of swizzled slabs for a warp.
pub(crate) struct Matrices<'t> {
    pub warp: &'t Warp,
    pub tile: WarpTile,
}

impl Matrices<'_> {
    /// The fragments of a side for one step: of each 16 rows (or columns) four matrices of 8 rows by 16 bytes of terms. Lane `l` has
    /// the address of line `l % 8` of matrix `l / 8`. On the left matrix 1 is the next 8 rows and 2 the next 16 bytes, on the right
    /// it is the other way round.
    pub fn fragments(
        &self,
        lowering: &mut Lowering<'_>,
        stage: Reg,
        (lines, of_rows): (Lines, bool),
        step: u32,
        steps: u32,
    ) -> Vec<Few<Reg>> {
        let (tile, origin) = if of_rows {
            (self.tile.rows, &self.warp.row)
        } else {
            (self.tile.columns, &self.warp.column)
        };
        let b = &mut lowering.b;
        let lane = self.warp.lane.into();
        let within = Linear::register(b.op(Opcode::AndB32, &[lane, 7.into()]));
        let bit = |b: &mut Builder, at: i64| {
            let down = b.op(Opcode::ShrU32, &[lane, at.into()]);
            Linear::register(b.op(Opcode::AndB32, &[down.into(), 1.into()]))
        };
        let (odd, upper) = (bit(b, 3), bit(b, 4));
        let (rows, terms) = if of_rows { (&odd, &upper) } else { (&upper, &odd) };
        // In units of 16 bytes of terms.
        let unit = self.warp.slice.times(i64::from(steps * 2));
        let unit = unit.plus_constant(i64::from(2 * step));
        let (line, byte) = if lines.paired {
            // Lanes have 4 neighbouring terms: two of the first matrix, two of the second.
            let first = Linear::register(b.op(Opcode::AndB32, &[lane, 1.into()]));
            let pair = Linear::register(b.op(Opcode::AndB32, &[lane, 6.into()]));
            let line = pair.plus(&odd).times(2).plus(&first).plus(&upper.times(16));
            (line.plus(&unit.times(16)), origin.clone())
        } else if lines.of_terms {
            let line = origin.plus(&rows.times(8)).plus(&within);
            (line, unit.plus(terms).times(16))
        } else {
            let line = unit.plus(terms).times(8).plus(&within);
            (line, origin.plus(&rows.times(8)).times(2))
        };
        (0..i64::from(tile / 16))
            .map(|number| {
                let (line, byte) = if lines.of_terms {
                    (line.plus_constant(16 * number), byte.clone())
                } else {
                    (line.clone(), byte.plus_constant(16 * number * i64::from(lines.element)))
                };
                let at = self.fragment(lowering, lines, &line, &byte, stage);
                let matrices = lowering.b.load_matrices(!lines.of_terms, at);
                if lines.paired {
                    taken_apart(&mut lowering.b, &matrices, of_rows)
                } else {
                    matrices
                }
            })
            .collect()
    }

    /// Where a lane's line of a matrix is. Its number is a multiple of 16 and the lane's among those of two matrices, which is all that
    /// permutes the chunks; and what is constant in the byte shares no bits with what is not, so it can be taken in last.
    fn fragment(&self, lowering: &mut Lowering<'_>, lines: Lines, line: &Linear, byte: &Linear, stage: Reg) -> Address {
        let constant = byte.constant_part();
        let (low, high) = (constant % 128, constant - constant % 128);
        let whole_lines = line.constant_part();
        let (line, byte) = (line.plus_constant(-whole_lines), byte.plus_constant(-constant));
        let (at, _) = lines.at(lowering, &line, &byte);
        let at = exclusive_or(lowering, at, low.into());
        let base = sum(lowering, at, stage.into());
        let offset = i64::from(lines.start) + high + whole_lines * i64::from(lines.bytes);
        address(lowering, base, offset)
    }
}

/// Of matrices whose lanes have two terms of two rows, fragments: of each half of the terms the even row and the odd one. On the right the
/// halves of the terms come first.
fn taken_apart(b: &mut Builder, matrices: &[Reg], of_rows: bool) -> Few<Reg> {
    let mut row = |terms: usize, bytes: i64| {
        let [first, second] = [matrices[2 * terms], matrices[2 * terms + 1]];
        b.op(Opcode::PrmtB32, &[first.into(), second.into(), bytes.into()])
    };
    let (even, odd) = (0x6420, 0x7531);
    if of_rows {
        smallvec![row(0, even), row(0, odd), row(1, even), row(1, odd)]
    } else {
        smallvec![row(0, even), row(1, even), row(0, odd), row(1, odd)]
    }
}
