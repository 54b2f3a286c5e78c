//! From accumulators to outputs.

use super::address::{address, multiple, sum};
use super::fragment::group;
use super::lines::paired;
use super::product::{Fma, MmaSync};
use super::products::{Products, Sum};
use super::tiling::{Band, Tiling};
use super::warp::{Warp, WarpTile};
use crate::ir::{BinaryOp, ExprId};
use crate::lower::Error;
use crate::lower::arithmetic::binary;
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::lower::value::{Value, width_in_shared};
use crate::ptx::{Cache, Class, Few, Opcode, Operand, Reg, Space, Turns};

/// Computes and stores the outputs of each thread's tile from its registers.
///
/// # Errors
/// As of lowering.
pub(crate) fn from_registers(lowering: &mut Lowering<'_>, tiling: &Tiling<'_>, product: &Fma<'_>) -> Result<(), Error> {
    let (rows, columns) = (product.rows, product.columns);
    let bytes = width_in_shared(tiling.shape.ty).bytes();
    let vector = tiling.output_vector(lowering, group(columns, bytes));
    for row in 0..rows {
        let place = place(&tiling.rows, product.thread_row, row, rows, bytes);
        for first in (0..columns).step_by(vector as usize) {
            let column = self::place(&tiling.columns, product.thread_column, first, columns, bytes);
            tiling.outputs(lowering, &place, &column, vector, |lowering, sum, lane| {
                let accumulator = product.accumulators[sum][(row * columns + first + lane) as usize];
                Value::new(tiling.shape.ty, lowering.b.read(accumulator))
            })?;
        }
    }
    Ok(())
}

/// The row (or column) of the tensor that is a thread's `number`-th.
fn place(band: &Band, thread: Reg, number: u32, count: u32, bytes: u32) -> Linear {
    let neighbours = group(count, bytes);
    let groups = count / neighbours;
    let local = (number / neighbours) * (band.tile / groups) + number % neighbours;
    band.base
        .plus(&Linear::register(thread).times(i64::from(neighbours)))
        .plus_constant(i64::from(local))
}

/// 16 rows of a warp's tile of a sum, in shared memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strip {
    /// Where the first warp's begins.
    pub start: u32,
    /// Elements between two rows.
    pub pitch: u32,
    /// `true` if fragments have pairs of rows, and of columns; see [`are_paired`](super::lines::are_paired).
    pub paired: [bool; 2],
}

impl Strip {
    /// Bytes of a warp's.
    pub(crate) const fn bytes(self) -> u32 {
        16 * self.pitch * 4
    }
}

/// The strips of each sum, 16 rows of each warp's tile at a time, one after the other.
pub(crate) fn strips(shape: &Products, tile: WarpTile, warps: u32, multiplicand_bytes: u32) -> Vec<Strip> {
    let mut start = 0;
    let mut strip = |sum: &Sum| {
        let paired = paired(shape, sum, multiplicand_bytes);
        let pitch = strip_pitch(tile.columns, paired);
        let strip = Strip { start, pitch, paired };
        start += warps * strip.bytes();
        strip
    };
    shape.laid_out().map(&mut strip).collect()
}

/// Elements between two rows of a strip, padded against bank conflicts. Lanes store two neighbours of consecutive rows, or of every other
/// row if rows are `paired`; they store four neighbours if columns are.
const fn strip_pitch(columns: u32, paired: [bool; 2]) -> u32 {
    columns
        + match paired {
            [false, false] | [true, true] => 8,
            [true, false] => 4,
            [false, true] if columns == 16 => 0,
            [false, true] => 16,
        }
}

/// Exchanges accumulators through shared memory, so that neighbours of a row are computed and stored together.
///
/// # Errors
/// As of lowering.
pub(crate) fn through_shared_memory(
    lowering: &mut Lowering<'_>,
    tiling: &Tiling<'_>,
    product: &MmaSync<'_>,
    base: Reg,
    strips: &[Strip],
) -> Result<(), Error> {
    // Read again: values derived from the thread's number would otherwise live through the loop over the slabs.
    let tid = lowering.b.converge(Opcode::TidX, &[]).ok_or(Error::Unbound)?;
    let exchange = Exchange {
        tiling,
        tile: product.tile,
        warp: Warp::new(lowering, tiling.block, product.tile, tid),
        base,
        accumulators: product.results(),
    };
    exchange.store(lowering, strips)
}

struct Exchange<'e, 't> {
    tiling: &'e Tiling<'t>,
    tile: WarpTile,
    warp: Warp,
    base: Reg,
    accumulators: &'e [Vec<[Reg; 4]>],
}

/// Neighbours of a row of the outputs: their row, their first column, and where both lie in a strip.
struct Place {
    row: Linear,
    column: Linear,
    in_strip: [Linear; 2],
}

impl Exchange<'_, '_> {
    /// Hands the sums on through shared memory, 16 rows of each warp's tile at a time, and computes the outputs from them: with
    /// neighbours together, and each warp that shared in the terms a part of the rows.
    fn store(&self, lowering: &mut Lowering<'_>, strips: &[Strip]) -> Result<(), Error> {
        let split = self.tile.slices;
        // Warps of one tile lie as far apart as there are tiles in the block.
        let tiles = i64::from(self.tiling.block.threads / 32 / split);
        // 16 bytes, so that what the lanes of a warp store at once has no gaps.
        let narrowest = lowering.op().outputs.iter().map(|output| output.element.size()).min();
        let most = (16 / narrowest.unwrap_or(4)).min(8);
        let vector = self.tiling.output_vector(lowering, most);
        let vector = vector.min(self.tile.columns / (2 * split));
        let across = i64::from(self.tile.columns / vector);
        let turns = 16 * across / 32 / i64::from(split);
        let reads = self.tiling.reads_beside_sums(lowering.checked);
        let together = self.together(lowering, &reads, vector, turns);
        for number in 0..self.tile.rows / 16 {
            if number > 0 {
                // The rows before have been read.
                self.meet(lowering);
            }
            for (accumulators, &strip) in self.accumulators.iter().zip(strips) {
                self.hand_on(lowering, accumulators, strip, number);
            }
            self.meet(lowering);
            let turn = Turns::new(0, turns, together).entered(true).rolled();
            let turn = lowering.b.begin_loop(Class::B32, turn);
            let places: Vec<Place> = (0..together)
                .map(|more| self.place_of(lowering, turn, more, number, vector))
                .collect();
            if together > 1 {
                for place in &places {
                    self.tiling
                        .touch_outputs(lowering, &reads, &place.row, &place.column, vector)?;
                }
            }
            for place in &places {
                let sums: Vec<Vec<Value>> = strips
                    .iter()
                    .map(|&strip| {
                        let apart = tiles * i64::from(strip.bytes());
                        let own = self.own(lowering, strip);
                        let back = lowering.math.operand(&mut lowering.b, &self.warp.slice.times(-apart));
                        let first = sum(lowering, own, back);
                        let [row, column] = &place.in_strip;
                        let at = row.times(i64::from(strip.pitch)).plus(column).times(4);
                        let at = lowering.math.operand(&mut lowering.b, &at);
                        let from = sum(lowering, at, first);
                        self.handed_on(lowering, from, strip.start.into(), apart, vector)
                    })
                    .collect();
                self.tiling
                    .outputs(lowering, &place.row, &place.column, vector, |_, sum, lane| {
                        sums[sum][lane as usize]
                    })?;
            }
            lowering.b.end();
        }
        Ok(())
    }

    /// The turns that are taken together: their loads are issued before anything waits for one. 32 registers hold these loads, and at most 8
    /// turns are taken. What all turns share is loaded once.
    fn together(&self, lowering: &Lowering<'_>, reads: &[ExprId], vector: u32, turns: i64) -> i64 {
        let across = i64::from(self.tile.columns / vector);
        let varies = |read: &ExprId| 32 % across != 0 || self.tiling.depends_on_rows(lowering.checked, *read);
        let words = reads.iter().filter(|read| varies(read)).map(|&read| {
            let bytes = lowering.checked.ty(read).element().size();
            i64::from((vector * bytes).div_ceil(4))
        });
        match words.sum::<i64>() {
            0 => 1,
            words => {
                let most = (32 / words).clamp(1, 8);
                (1..=most).rev().find(|together| turns % together == 0).unwrap_or(1)
            }
        }
    }

    /// The place of what a lane stores in a turn, or so many turns later.
    fn place_of(&self, lowering: &mut Lowering<'_>, turn: Reg, more: i64, number: u32, vector: u32) -> Place {
        let across = i64::from(self.tile.columns / vector);
        let turn = Linear::register(turn).plus_constant(more);
        let (row, column) = self.chunk(lowering, &turn, across);
        let column = column.times(i64::from(vector));
        let first = &self.tiling.rows.base.plus(&self.warp.row);
        Place {
            row: first.plus(&row).plus_constant(i64::from(16 * number)),
            column: self.tiling.columns.base.plus(&self.warp.column).plus(&column),
            in_strip: [row, column],
        }
    }

    /// The row and the chunk in it that a lane stores in a turn, counted through the 16 rows. If a warp's lanes fill whole rows, each lane's
    /// column is the same in all turns, and so is what it loads for it.
    fn chunk(&self, lowering: &mut Lowering<'_>, turn: &Linear, across: i64) -> (Linear, Linear) {
        let split = i64::from(self.tile.slices);
        let warps = turn.times(split).plus(&self.warp.slice);
        let lane = Linear::register(self.warp.lane);
        let across_all = Linear::constant(across);
        if 32 % across == 0 {
            let (row, column) = lowering.math.divide(&mut lowering.b, &lane, &across_all);
            return (warps.times(32 / across).plus(&row), column);
        }
        lowering
            .math
            .divide(&mut lowering.b, &warps.times(32).plus(&lane), &across_all)
    }

    /// Waits for those whose sums are wanted.
    fn meet(&self, lowering: &mut Lowering<'_>) {
        if self.tile.slices == 1 {
            lowering.b.converge(Opcode::WarpBarrier, &[]);
        } else {
            lowering.b.barrier();
        }
    }

    /// Puts 16 rows of the warp's part of a sum into shared memory. Of a tile of 16 × 8, lane `l` has two neighbours in row `l / 4`, and two
    /// in the row 8 below; or in rows `l / 4 * 2` and the next, if rows are paired. If columns are, of two tiles the first has the even ones,
    /// the second the odd ones.
    fn hand_on(&self, lowering: &mut Lowering<'_>, accumulators: &[[Reg; 4]], strip: Strip, number: u32) {
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
        let columns = (self.tile.columns / 8) as usize;
        let width = width_in_shared(self.tiling.shape.result_ty());
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
    fn own(&self, lowering: &mut Lowering<'_>, strip: Strip) -> Operand {
        let own = multiple(lowering, self.warp.number.into(), strip.bytes().into());
        sum(lowering, own, self.base.into())
    }

    /// Neighbours of one of the sums, those of all warps that share in the terms added in order.
    fn handed_on(&self, lowering: &mut Lowering<'_>, from: Operand, start: i64, apart: i64, vector: u32) -> Vec<Value> {
        let ty = self.tiling.shape.result_ty();
        let width = width_in_shared(ty);
        let mut sums: Vec<Value> = Vec::new();
        for slice in 0..i64::from(self.tile.slices) {
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
