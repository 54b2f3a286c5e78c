//! Blocks that share reductions.
//!
//! Each walks over its part of the elements and leaves what it has come to in device memory: for each unit a value, a position, and of
//! sums that depend on a largest value, the value they were begun with. The last block to arrive takes in what all have left, in an order
//! that does not depend on which block is last, and alone goes on to the outputs. [`split_k`](crate::lower::tile::split_k) counts arrivals.

use super::shape::joint;
use super::team::{Team, accumulated, merge, slot_words};
use super::walk::Walked;
use crate::element::Type;
use crate::ir::ReduceOp;
use crate::kernel::ScratchContent;
use crate::lower::Error;
use crate::lower::expression::{Accumulator, Lowering};
use crate::lower::index::Linear;
use crate::lower::online::sums::Sum;
use crate::lower::online::waves::Joint;
use crate::lower::value::{Value, class_of};
use crate::ptx::builder::move_of;
use crate::ptx::{Address, Cache, Class, Guard, Opcode, Reg, Space, Turns, Width};

/// Does the reductions, and `then` in the last block that shares them.
pub(super) fn reduce(
    team: &mut Team,
    lowering: &mut Lowering<'_>,
    then: impl FnOnce(&mut Team, &mut Lowering<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let joint = joint(lowering.checked, &team.units).ok_or(Error::Unbound)?;
    let wave = joint.only().ok_or(Error::Unbound)?;
    team.partial = true;
    let walked = Walked::over(team, lowering, &joint, wave)?;
    let left = Left::of(team, lowering, &walked);
    let blocks = team.schedule.split_k;
    let first = team.part.tile.times(blocks.into());
    let own = first.plus(&team.part.number);
    left.store(team, lowering, &joint, &own, &walked)?;
    team.partial = false;
    let arrivals = lowering.scratch(ScratchContent::Arrivals { blocks });
    let last = team.part.arrive(lowering, arrivals);
    lowering.b.begin_tail(Guard {
        predicate: last,
        holds: true,
    });
    let (mut walked, partials) = Walked::begun(team, lowering, &joint, wave)?;
    for of_unit in partials {
        let merged = of_unit.into_iter().map(|partial| partial.merged(lowering));
        walked.totals.push(merged.collect::<Result<_, _>>()?);
    }
    let start = lowering.math.operand(&mut lowering.b, &team.thread.clone());
    let turns = Turns::new(start, i64::from(blocks), i64::from(team.schedule.threads)).rolled();
    let number = lowering.b.begin_loop(lowering.math.class(), turns);
    let from = first.plus(&Linear::register(number));
    left.take_in(team, lowering, &joint, &from, &walked)?;
    lowering.b.end();
    walked.settle(team, lowering, &joint)?;
    then(team, lowering)?;
    lowering.b.end();
    Ok(())
}

/// What blocks leave in device memory: the words of each unit of a thread, those of all lanes side by side.
struct Left {
    base: Reg,
    units: i64,
    /// Words of a unit.
    words: i64,
    lanes: i64,
    /// The thread's number along the outputs.
    lane: Linear,
}

impl Left {
    fn of(team: &Team, lowering: &mut Lowering<'_>, walked: &Walked<'_>) -> Left {
        let of_totals = walked.totals[0].iter().map(|total| slot_words(lowering, total));
        let of_sums = walked.sums[0].iter().flat_map(Sum::left_types).map(words_of);
        let words: usize = of_totals.sum::<usize>() + of_sums.sum::<usize>();
        let (units, lanes) = (team.count(), team.schedule.lanes);
        let base = lowering.scratch(ScratchContent::Partials {
            block_bytes: units * words as u32 * lanes * 4,
        });
        let lane = match lanes {
            1 => Linear::constant(0),
            lanes => {
                let tid = lowering.b.op(Opcode::TidX, &[]);
                let lane = lowering
                    .b
                    .op(Opcode::AndB32, &[tid.into(), i64::from(lanes - 1).into()]);
                Linear::register(lowering.index_register(lane))
            }
        };
        Left {
            base,
            units: units.into(),
            words: words as i64,
            lanes: lanes.into(),
            lane,
        }
    }

    /// Leaves what the block has come to.
    fn store(
        &self,
        team: &mut Team,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        block: &Linear,
        walked: &Walked<'_>,
    ) -> Result<(), Error> {
        walked.across_threads(team, lowering);
        let mut sums: Vec<Vec<Value>> = Vec::with_capacity(walked.sums.len());
        for (unit, (of_unit, totals)) in walked.sums.iter().zip(&walked.totals).enumerate() {
            team.turn_to(unit as u32);
            let mut left = Vec::new();
            for sum in of_unit {
                let largest = largest(lowering, sum, totals);
                left.extend(sum.left(team, lowering, joint, largest, &mut total)?);
            }
            sums.push(left);
        }
        team.turn_to(0);
        let predicate = lowering.below(&team.thread.clone(), &Linear::constant(1));
        let guard = Some(Guard { predicate, holds: true });
        for (unit, (totals, sums)) in walked.totals.iter().zip(&sums).enumerate() {
            let mut words: Vec<Reg> = Vec::with_capacity(self.words as usize);
            for total in totals {
                words.extend(accumulated(lowering, total));
            }
            for &sum in sums {
                words.extend(lowering.words(sum));
            }
            for (number, word) in words.into_iter().enumerate() {
                let to = self.place(lowering, block, unit, number);
                lowering
                    .b
                    .store(Space::Global, Width::B32, to, &[word.into()], Cache::Normal, guard);
            }
        }
        Ok(())
    }

    /// Takes in what a block has left.
    fn take_in(
        &self,
        team: &mut Team,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        block: &Linear,
        walked: &Walked<'_>,
    ) -> Result<(), Error> {
        // All loads are on their way before the first is waited for.
        let mut loaded = Vec::with_capacity(walked.totals.len());
        for unit in 0..walked.totals.len() {
            let words: Vec<Reg> = (0..self.words as usize)
                .map(|word| {
                    let from = self.place(lowering, block, unit, word);
                    lowering.b.load_here(Space::Global, Width::B32, 1, from)[0]
                })
                .collect();
            loaded.push(words);
        }
        for (unit, (words, (totals, sums))) in loaded.iter().zip(walked.totals.iter().zip(&walked.sums)).enumerate() {
            team.turn_to(unit as u32);
            let mut rest = &words[..];
            let mut values = Vec::with_capacity(totals.len());
            for &total in totals {
                let (own, others) = rest.split_at(slot_words(lowering, &total));
                rest = others;
                values.push(value(lowering, total.ty, own));
                let mut total = total;
                merge(lowering, &mut total, own);
            }
            for sum in sums {
                let mut left = Vec::new();
                for ty in sum.left_types() {
                    let (own, others) = rest.split_at(words_of(ty));
                    rest = others;
                    left.push(value(lowering, ty, own));
                }
                let largest = match sum {
                    Sum::Scaled { of, .. } => values.get(*of).copied(),
                    Sum::Centred { .. } => None,
                };
                sum.take_in(team, lowering, joint, largest, &left)?;
            }
        }
        team.turn_to(0);
        Ok(())
    }

    /// Where a word of a block lies.
    fn place(&self, lowering: &mut Lowering<'_>, block: &Linear, unit: usize, word: usize) -> Address {
        let number = unit as i64 * self.words + word as i64;
        let at = block
            .times(self.units * self.words * self.lanes)
            .plus_constant(number * self.lanes)
            .plus(&self.lane);
        lowering.math.address(&mut lowering.b, self.base, &at, 4)
    }
}

/// What the block has of the reduction that a sum depends on.
fn largest(lowering: &mut Lowering<'_>, sum: &Sum<'_>, totals: &[Accumulator]) -> Option<Value> {
    let Sum::Scaled { of, .. } = sum else { return None };
    let total = totals.get(*of)?;
    Some(Value::new(total.ty, lowering.b.read(total.best)))
}

/// The sum of a value of each thread.
fn total(team: &mut Team, lowering: &mut Lowering<'_>, part: Value) -> Value {
    let mut all = Accumulator::new(lowering, ReduceOp::Sum, part.ty);
    lowering.b.assign(move_of(class_of(part.ty)), all.best, &[part.operand]);
    team.across_threads(lowering, std::slice::from_mut(&mut all));
    all.value(lowering)
}

/// A value of which these are the words.
fn value(lowering: &mut Lowering<'_>, ty: Type, words: &[Reg]) -> Value {
    let class = class_of(ty);
    Value::new(ty, lowering.value_of_words(class, &words[..words_of(ty)]))
}

/// The 32-bit words of a value.
fn words_of(ty: Type) -> usize {
    if matches!(class_of(ty), Class::B64 | Class::F64) {
        2
    } else {
        1
    }
}
