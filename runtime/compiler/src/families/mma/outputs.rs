//! From accumulators to outputs: through shared memory, so that neighbours of a row are computed and stored together.

use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::lower::value::{Value, binary, width_in_shared};
use crate::ir::BinaryOp;
use crate::ptx::{Cache, Class, Few, Opcode, Operand, Reg, Space, Turns};
use super::space::Strip;
use super::lines::{address, multiple, sum};
use super::lower::{Tile, Warp};

impl Tile<'_> {
    /// Hands the sums on through shared memory, 16 rows of each warp's tile at a time, and computes the outputs from them: with
    /// neighbours together, and each warp that shared in the terms a part of the rows.
    pub(super) fn store(mut self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        // Asked for anew: what follows from the thread's number would be held through the loop over the terms else.
        if let Some(tid) = lowering.b.converge(Opcode::TidX, &[]) {
            self.warp = Warp::new(lowering, self.point, tid);
        }
        let split = self.point.split;
        let strips = self.point.strips(self.shape, self.multiplicands[0].bytes());
        // Warps of one tile lie as far apart as there are tiles in the block.
        let tiles = i64::from(self.point.threads() / 32 / split);
        // 16 bytes, so that what the lanes of a warp store at once has no gaps.
        let narrowest = lowering.op().outputs.iter().map(|output| output.element.size()).min();
        let most = (16 / narrowest.unwrap_or(4)).min(8);
        let vector = self.tiling.output_vector(lowering, most);
        let vector = vector.min(self.point.warp_columns / (2 * split));
        for number in 0..self.point.warp_rows / 16 {
            if number > 0 {
                // The rows before have been read.
                self.meet(lowering);
            }
            for (accumulators, &strip) in self.accumulators.iter().zip(&strips) {
                self.hand_on(lowering, accumulators, strip, number);
            }
            self.meet(lowering);
            let across = i64::from(self.point.warp_columns / vector);
            let turns = 16 * across / 32 / i64::from(split);
            let turn = lowering
                .b
                .begin_loop(Class::B32, Turns::new(0, turns, 1).entered(true).rolled());
            // Chunks of neighbours, counted through the 16 rows.
            let chunk = Linear::register(turn)
                .times(i64::from(split))
                .plus(&self.warp.slice)
                .times(32)
                .plus(&Linear::register(self.warp.lane));
            let (row, column) = lowering.math.divide(&mut lowering.b, &chunk, &Linear::constant(across));
            let column = column.times(i64::from(vector));
            let handed_on = |&strip: &Strip| {
                let apart = tiles * i64::from(strip.bytes());
                let own = self.own(lowering, strip);
                let back = lowering.math.operand(&mut lowering.b, &self.warp.slice.times(-apart));
                let first = sum(lowering, own, back);
                let at = row.times(i64::from(strip.pitch)).plus(&column).times(4);
                let at = lowering.math.operand(&mut lowering.b, &at);
                let from = sum(lowering, at, first);
                self.handed_on(lowering, from, strip.start.into(), apart, vector)
            };
            let sums: Vec<Vec<Value>> = strips.iter().map(handed_on).collect();
            let row = self
                .tiling
                .rows
                .base
                .plus(&self.warp.row)
                .plus(&row)
                .plus_constant(i64::from(16 * number));
            let column = self.tiling.columns.base.plus(&self.warp.column).plus(&column);
            self.tiling
                .outputs(lowering, &row, &column, vector, |_, sum, lane| sums[sum][lane as usize])?;
            lowering.b.end();
        }
        Ok(())
    }

    /// Waits for those whose sums are wanted.
    pub(super) fn meet(&self, lowering: &mut Lowering<'_>) {
        if self.point.split == 1 {
            lowering.b.converge(Opcode::WarpBarrier, &[]);
        } else {
            lowering.b.barrier();
        }
    }

    /// Puts 16 rows of the warp's part of a sum into shared memory. Of a tile of 16 × 8, lane `l` has two neighbours in row `l / 4`, and two
    /// in the row 8 below; or in rows `l / 4 * 2` and the next, if rows are paired. If columns are, of two tiles the first has the even ones,
    /// the second the odd ones.
    pub(super) fn hand_on(&self, lowering: &mut Lowering<'_>, accumulators: &[[Reg; 4]], strip: Strip, number: u32) {
        let [paired_rows, paired_columns] = strip.paired;
        let lane = self.warp.lane.into();
        let row = lowering.b.op(Opcode::ShrU32, &[lane, 2.into()]);
        let place = lowering.b.op(Opcode::AndB32, &[lane, 3.into()]);
        let (row_step, half_step) = if paired_rows { (2, 1) } else { (1, 8) };
        let neighbours: usize = if paired_columns { 4 } else { 2 };
        let pitch = i64::from(strip.pitch) * 4;
        let at = Linear::register(row)
            .times(row_step * pitch)
            .plus(&Linear::register(place).times(4 * neighbours as i64));
        let at = lowering.math.operand(&mut lowering.b, &at);
        let own = self.own(lowering, strip);
        let base = sum(lowering, at, own);
        let columns = (self.point.warp_columns / 8) as usize;
        let width = width_in_shared(self.shape.ty);
        let tiles = &accumulators[number as usize * columns..][..columns];
        for (group, tiles) in tiles.chunks(neighbours / 2).enumerate() {
            for half in 0..2 {
                let offset = (4 * 4 * neighbours * group) as i64 + half as i64 * half_step * pitch;
                let to = address(lowering, base, i64::from(strip.start) + offset);
                let values: Few<Operand> = (0..2)
                    .flat_map(|place| tiles.iter().map(move |tile| tile[2 * half + place].into()))
                    .collect();
                lowering.b.store(Space::Shared, width, to, &values, Cache::Normal, None);
            }
        }
    }

    /// Where this warp's strip begins, but for where all begin.
    pub(super) fn own(&self, lowering: &mut Lowering<'_>, strip: Strip) -> Operand {
        let own = multiple(lowering, self.warp.number.into(), strip.bytes().into());
        sum(lowering, own, self.base.into())
    }

    /// Neighbours of one of the sums, those of all warps that share in the terms added in order.
    pub(super) fn handed_on(&self, lowering: &mut Lowering<'_>, from: Operand, start: i64, apart: i64, vector: u32) -> Vec<Value> {
        let ty = self.shape.ty;
        let width = width_in_shared(ty);
        let mut sums: Vec<Value> = Vec::new();
        for slice in 0..i64::from(self.point.split) {
            let mut part = Vec::with_capacity(vector as usize);
            for chunk in (0..vector).step_by(4) {
                let from = address(lowering, from, start + slice * apart + i64::from(4 * chunk));
                part.extend(lowering.b.load_here(Space::Shared, width, vector.min(4) as usize, from));
            }
            let part = part.into_iter().map(|reg| Value::new(ty, reg));
            sums = if slice == 0 {
                part.collect()
            } else {
                let b = &mut lowering.b;
                sums.into_iter()
                    .zip(part)
                    .map(|(sum, part)| binary(b, BinaryOp::Add, sum, part))
                    .collect()
            };
        }
        sums
    }
}
