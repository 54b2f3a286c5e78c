//! From accumulators to outputs: through shared memory, so that neighbours of a row are computed and stored together.

use super::super::super::Error;
use super::super::super::expression::Lowering;
use super::super::super::index::Linear;
use super::super::super::value::{Value, binary, width_in_shared};
use super::Tile;
use super::lines::{address, multiple, sum};
use crate::ir::BinaryOp;
use crate::ptx::{Cache, Class, Opcode, Operand, Space, Turns};

impl Tile<'_> {
    /// Hands the sums on through shared memory, 16 rows of each warp's tile at a time, and computes the outputs from them: with
    /// neighbours together, and each warp that shared in the terms a part of the rows.
    pub(super) fn store(&self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let split = self.point.split;
        let pitch = self.point.strip_pitch();
        let strip = i64::from(16 * pitch * 4);
        let own = multiple(lowering, self.warp.number.into(), strip);
        let own = sum(lowering, own, self.base.into());
        // Warps of one tile lie as far apart as there are tiles in the block.
        let apart = i64::from(self.point.threads() / 32 / split) * strip;
        let back = lowering.math.operand(&mut lowering.b, &self.warp.slice.times(-apart));
        let first = sum(lowering, own, back);
        // 16 bytes, so that what the lanes of a warp store at once has no gaps.
        let most = (16 / lowering.op().outputs[0].element.size()).min(8);
        let vector = self.tiling.output_vector(lowering, most);
        let vector = vector.min(self.point.warp_columns / (2 * split));
        for number in 0..self.point.warp_rows / 16 {
            self.hand_on(lowering, own, number);
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
            let sums = self.handed_on(lowering, first, apart, &row, &column, vector);
            let row = self
                .tiling
                .left
                .base
                .plus(&self.warp.row)
                .plus(&row)
                .plus_constant(i64::from(16 * number));
            let column = self.tiling.right.base.plus(&self.warp.column).plus(&column);
            self.tiling
                .outputs(lowering, &row, &column, vector, |_, lane| sums[lane as usize])?;
            lowering.b.end();
            self.meet(lowering);
        }
        Ok(())
    }

    /// Waits for those whose sums are wanted.
    fn meet(&self, lowering: &mut Lowering<'_>) {
        if self.point.split == 1 {
            lowering.b.converge(Opcode::WarpBarrier, &[]);
        } else {
            lowering.b.barrier();
        }
    }

    /// Puts 16 rows of the warp's sums into shared memory. Of a tile of 16 × 8, lane `l` has two neighbours in row `l / 4`, and two
    /// in the row 8 below.
    fn hand_on(&self, lowering: &mut Lowering<'_>, own: Operand, number: u32) {
        let pitch = i64::from(self.point.strip_pitch());
        let lane = self.warp.lane.into();
        let row = lowering.b.op(Opcode::ShrU32, &[lane, 2.into()]);
        let pair = lowering.b.op(Opcode::AndB32, &[lane, 3.into()]);
        let at = Linear::register(row)
            .times(pitch * 4)
            .plus(&Linear::register(pair).times(8));
        let at = lowering.math.operand(&mut lowering.b, &at);
        let base = sum(lowering, at, own);
        let columns = self.point.warp_columns / 8;
        let width = width_in_shared(self.shape.ty);
        for column in 0..columns {
            let accumulator = self.accumulators[(number * columns + column) as usize];
            for half in 0..2 {
                let to = address(lowering, base, i64::from(8 * column) * 4 + half * 8 * pitch * 4);
                let values = [
                    accumulator[2 * half as usize].into(),
                    accumulator[2 * half as usize + 1].into(),
                ];
                lowering.b.store(Space::Shared, width, to, &values, Cache::Normal, None);
            }
        }
    }

    /// Neighbouring sums, those of all warps that share in the terms added in order.
    fn handed_on(
        &self,
        lowering: &mut Lowering<'_>,
        first: Operand,
        apart: i64,
        row: &Linear,
        column: &Linear,
        vector: u32,
    ) -> Vec<Value> {
        let ty = self.shape.ty;
        let width = width_in_shared(ty);
        let pitch = i64::from(self.point.strip_pitch());
        let at = row.times(pitch * 4).plus(&column.times(4));
        let at = lowering.math.operand(&mut lowering.b, &at);
        let base = sum(lowering, at, first);
        let mut sums: Vec<Value> = Vec::new();
        for slice in 0..i64::from(self.point.split) {
            let mut part = Vec::with_capacity(vector as usize);
            for chunk in (0..vector).step_by(4) {
                let from = address(lowering, base, slice * apart + i64::from(4 * chunk));
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
