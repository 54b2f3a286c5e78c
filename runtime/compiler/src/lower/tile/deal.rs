//! The patches of a slab that each thread loads, where threads do not run along memory.

use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::ptx::Opcode;

/// One load of a thread: `vector` neighbours.
pub(crate) struct Piece {
    /// Where its first element is, within the slab.
    pub row: Linear,
    pub term: Linear,
}

/// Patches of several neighbours by several terms, numbered through the block's threads, turn by turn.
pub(crate) struct Deal {
    /// Terms of a patch.
    pub terms: u32,
    /// The step that each bit of a patch's number stands for, the lowest first.
    pub steps: Vec<Step>,
}

/// The distance between two patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Rows(u32),
    Terms(u32),
}

impl Deal {
    /// The first element of this thread's patch in a turn.
    pub fn piece(&self, lowering: &mut Lowering<'_>, threads: u32, turn: u32) -> Piece {
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let (mut row, mut term) = (Linear::constant(0), Linear::constant(0));
        let own = (threads.trailing_zeros() as usize).min(self.steps.len());
        let (own, of_turn) = self.steps.split_at(own);
        let mut add = |step: Step, count: &Linear| match step {
            Step::Rows(rows) => row = row.plus(&count.times(rows.into())),
            Step::Terms(terms) => term = term.plus(&count.times(terms.into())),
        };
        let mut start = 0;
        // Bits whose steps double are taken together.
        for run in own.chunk_by(|&low, &high| low.doubled() == high) {
            let end = start + run.len();
            let mut count = tid;
            if start > 0 {
                count = lowering.b.op(Opcode::ShrU32, &[count.into(), (start as i64).into()]);
            }
            if end < own.len() {
                count = lowering
                    .b
                    .op(Opcode::AndB32, &[count.into(), ((1i64 << run.len()) - 1).into()]);
            }
            add(run[0], &Linear::register(count));
            start = end;
        }
        for (bit, &step) in of_turn.iter().enumerate() {
            add(step, &Linear::constant((turn >> bit & 1).into()));
        }
        Piece { row, term }
    }
}

impl Step {
    fn doubled(self) -> Step {
        match self {
            Step::Rows(rows) => Step::Rows(2 * rows),
            Step::Terms(terms) => Step::Terms(2 * terms),
        }
    }
}
