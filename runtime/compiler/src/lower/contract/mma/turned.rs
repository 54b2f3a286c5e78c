//! Bytes that lie in memory along the rows, turned in registers so that they can be stored along the terms.

use super::super::super::Error;
use super::super::super::expression::Lowering;
use super::super::super::index::Linear;
use super::super::Inside;
use super::held::Held;
use super::lines::shared;
use super::{Tile, access};
use crate::ptx::{Builder, Cache, Opcode, Reg, Space, Width};

impl Tile<'_> {
    /// Puts a side of bytes that is multiplied as it is stored into shared memory: of each patch words of 4 rows are loaded, a term
    /// each, and words of 4 terms are stored, those of a row at once.
    pub(super) fn turn_words(
        &self,
        lowering: &mut Lowering<'_>,
        number: usize,
        term: &Linear,
        stage: Reg,
        inside: Inside,
        held: &mut Held,
    ) -> Result<(), Error> {
        let (side, lines) = (&self.tiling.slabs[number], self.lines[number]);
        let factor = side.factors[0];
        let terms = side.deal.as_ref().map_or(1, |deal| deal.terms);
        // Of each term, the words of its neighbours.
        let mut words: Vec<Vec<Reg>> = Vec::new();
        self.tiling
            .each_element(lowering, side, term, inside, |lowering, _, piece, lane, _| {
                if lane > 0 {
                    return Ok(());
                }
                let access = access(lowering, factor)?;
                words.push(held.words(lowering, &access).to_vec());
                if words.len() < terms as usize {
                    return Ok(());
                }
                let (line, byte) = lines.place(piece);
                let byte = byte.plus_constant(-i64::from(terms - 1));
                for quad in 0..words[0].len() {
                    let b = &mut lowering.b;
                    // Of each 4 terms, the words of 4 rows.
                    let turned: Vec<[Reg; 4]> = words
                        .chunks_exact(4)
                        .map(|of_terms| turned(b, std::array::from_fn(|term| of_terms[term][quad])))
                        .collect();
                    for row in 0..4 {
                        let of_row: Vec<_> = turned.iter().map(|rows| rows[row].into()).collect();
                        let line = line.plus_constant((4 * quad + row) as i64);
                        let to = shared(lowering, stage, lines, &line, &byte);
                        let b = &mut lowering.b;
                        b.store(Space::Shared, Width::B32, to, &of_row, Cache::Normal, None);
                    }
                }
                words.clear();
                Ok(())
            })
    }
}

/// The columns of 4 × 4 bytes.
fn turned(b: &mut Builder, rows: [Reg; 4]) -> [Reg; 4] {
    let mut chosen = |x: Reg, y: Reg, bytes: i64| b.op(Opcode::PrmtB32, &[x.into(), y.into(), bytes.into()]);
    let [first, second, third, fourth] = rows;
    // The bytes of two rows in turn: the low ones, the high ones.
    let (low, high) = (chosen(first, second, 0x5140), chosen(first, second, 0x7362));
    let (low_below, high_below) = (chosen(third, fourth, 0x5140), chosen(third, fourth, 0x7362));
    [
        chosen(low, low_below, 0x5410),
        chosen(low, low_below, 0x7632),
        chosen(high, high_below, 0x5410),
        chosen(high, high_below, 0x7632),
    ]
}
