//! Warps that share rows. Each multiplies a slice of the features, and leaves its sums in shared memory; all add the sums of all, in the order of
//! the slices. So they have the same scores and weights, by which each multiplies a slice of the columns.

use super::scores::Accumulator;
use super::tile::{Lane, Tile, Warp};
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::lower::tile::address::{address, sum};
use crate::ptx::{Address, Cache, Few, Opcode, Operand, Reg, Space, Width};

/// Bytes of an accumulator of a lane, and of those of a warp.
const ACCUMULATOR: i64 = 16;
const OF_WARP: i64 = 32 * ACCUMULATOR;

/// A lane's place among the warps that share rows.
pub(super) struct Slices {
    count: u32,
    own: Linear,
    /// The number of the group of warps.
    group: Linear,
    lane: Linear,
    /// Accumulators of a warp.
    accumulators: i64,
    /// Bytes from the start of shared memory.
    start: i64,
}

impl Slices {
    pub fn of(tile: &Tile<'_>, warp: &Warp, lane: Lane) -> Slices {
        Slices {
            count: tile.heads.slices,
            own: warp.slice.clone(),
            group: warp.group.clone(),
            lane: Linear::register(lane.number),
            accumulators: i64::from(tile.warp_rows() / 16 * tile.point.keys / 8),
            start: tile.point.exchange(tile.heads).into(),
        }
    }

    /// Stores the products of the warp's slice, if there are others. They are there for others after a barrier.
    pub fn leave(&self, lowering: &mut Lowering<'_>, products: &[Vec<Accumulator>]) {
        if self.count == 1 {
            return;
        }
        for (number, product) in products.iter().flatten().enumerate() {
            let to = self.address(lowering, &self.own, number);
            let values: Few<Operand> = product.iter().map(|&reg| reg.into()).collect();
            let b = &mut lowering.b;
            b.store(Space::Shared, Width::F32, to, &values, Cache::Normal, None);
        }
    }

    /// The products over all features.
    pub fn join(&self, lowering: &mut Lowering<'_>, products: Vec<Vec<Accumulator>>) -> Vec<Vec<Accumulator>> {
        if self.count == 1 {
            return products;
        }
        let columns = products.first().map_or(0, Vec::len);
        let mut joined = |number: usize| -> Accumulator {
            let slices: Vec<Few<Reg>> = (0..self.count)
                .map(|slice| {
                    let from = self.address(lowering, &Linear::constant(slice.into()), number);
                    lowering.b.load_here(Space::Shared, Width::F32, 4, from)
                })
                .collect();
            let mut add = |sum: Reg, part: Reg| lowering.b.op(Opcode::AddF32, &[sum.into(), part.into()]);
            std::array::from_fn(|at| slices[1..].iter().fold(slices[0][at], |sum, slice| add(sum, slice[at])))
        };
        (0..products.len())
            .map(|row| (0..columns).map(|column| joined(row * columns + column)).collect())
            .collect()
    }

    /// The address of the lane's accumulator with that number, of a slice.
    fn address(&self, lowering: &mut Lowering<'_>, slice: &Linear, number: usize) -> Address {
        let warp = self.group.times(self.count.into()).plus(slice);
        let at = warp
            .times(self.accumulators * OF_WARP)
            .plus(&self.lane.times(ACCUMULATOR));
        let at = at.plus_constant(self.start + number as i64 * OF_WARP);
        let constant = at.constant_part();
        let at = lowering.math.operand(&mut lowering.b, &at.plus_constant(-constant));
        let base = lowering.b.shared_base();
        let base = sum(lowering, at, base.into());
        address(lowering, base, constant)
    }
}
