//! Several blocks that share the keys of a tile of rows. Each leaves its rows' state and sums; the last one combines those of all, in the
//! order of their numbers.

use super::state::State;
use crate::element::Type;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::lower::tile::split_k::Part;
use crate::ptx::{Opcode, Reg, Turns};

/// Registers that are loaded together: those of several parts, where they are few.
const LOADED: u32 = 96;

/// A thread's part of a row.
pub(super) struct Own {
    pub state: State,
    pub sums: Vec<Reg>,
}

/// Goes on with the state and the sums of all keys, in one of the tile's blocks.
///
/// # Errors
/// As of `then`.
pub(super) fn join<'a>(
    lowering: &mut Lowering<'a>,
    part: &Part,
    parts: u32,
    rows: &[Own],
    then: impl FnOnce(&mut Lowering<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut registers: Vec<Reg> = rows.iter().flat_map(|row| row.registers()).collect();
    // Partial sums are stored four at a time.
    let pad = registers.len().next_multiple_of(4) - registers.len();
    registers.extend_from_within(..pad);
    let count = registers.len() as u32;
    let together = (LOADED / count).clamp(1, parts);
    // A power of two, which divides the number of parts.
    let together = 1 << together.ilog2();
    part.join_by(
        lowering,
        Type::F32,
        &registers,
        |lowering, partials, first| {
            for row in rows {
                row.state.forget(&mut lowering.b);
                for &sum in &row.sums {
                    lowering.b.assign(Opcode::MovF32, sum, &[0f32.into()]);
                }
            }
            let turns = Turns::new(0, i64::from(parts), i64::from(together))
                .entered(true)
                .rolled();
            let number = lowering.b.begin_loop(lowering.math.class(), turns);
            let block = first.plus(&Linear::register(number));
            let loaded: Vec<Vec<Reg>> = (0..together)
                .map(|at| partials.load(lowering, &block.plus_constant(at.into())))
                .collect();
            for part in &loaded {
                let mut rest = part.as_slice();
                for row in rows {
                    let (own, others) = rest.split_at(row.registers().count());
                    row.take_in(lowering, own);
                    rest = others;
                }
            }
            lowering.b.end();
        },
        then,
    )
}

impl Own {
    fn registers(&self) -> impl Iterator<Item = Reg> {
        self.state.registers().into_iter().chain(self.sums.iter().copied())
    }

    /// Takes in the registers of another part.
    fn take_in(&self, lowering: &mut Lowering<'_>, part: &[Reg]) {
        let b = &mut lowering.b;
        let (state, sums) = part.split_at(self.state.registers().len());
        let factors = self.state.merge(b, state);
        for (&sum, &part) in self.sums.iter().zip(sums) {
            match factors {
                Some([own, other]) => {
                    let part = b.op(Opcode::MulF32, &[part.into(), other.into()]);
                    b.assign(Opcode::FmaF32, sum, &[sum.into(), own.into(), part.into()]);
                }
                None => b.assign(Opcode::AddF32, sum, &[sum.into(), part.into()]),
            }
        }
    }
}
