//! The keys that a block walks over, from the bounds that its rows' mask sets.

use super::keys::Keys;
use super::mask::MaskBound;
use super::tile::Tile;
use crate::families::bound::{End, Slope};
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::ptx::{Cache, Class, Compare, Guard, Opcode, Reg, Space, Width};

/// The keys of a block.
pub(super) struct Span {
    /// Those that a row may see. The first begins a tile.
    pub visited: Keys,
    /// Those that all rows see, as far as bounds say.
    pub seen: Keys,
}

impl Span {
    /// The span of a tile of rows.
    ///
    /// # Errors
    /// As of lowering.
    pub fn of(lowering: &mut Lowering<'_>, tile: &Tile<'_>, bounds: &[MaskBound]) -> Result<Span, Error> {
        let all = Keys {
            first: Linear::constant(0),
            end: lowering.size(tile.shape.keys),
        };
        let mut span = Span {
            visited: all.clone(),
            seen: all.clone(),
        };
        for (number, bound) in bounds.iter().enumerate() {
            let [least, most] = extremes(lowering, tile, bound, number as u32)?;
            let (max, min) = (Opcode::MaxS32, Opcode::MinS32);
            match bound.bound.end {
                End::First(_) => {
                    span.visited.first = lowering.narrowed(max, &all.first, &span.visited.first, &least);
                    span.seen.first = lowering.narrowed(max, &all.first, &span.seen.first, &most);
                }
                End::Last(_) => {
                    span.visited.end = lowering.narrowed(min, &all.end, &span.visited.end, &most);
                    span.seen.end = lowering.narrowed(min, &all.end, &span.seen.end, &least);
                }
            }
        }
        if bounds.iter().any(|bound| bound.condition.is_none()) {
            // The score has the conditions itself.
            span.seen = all;
        }
        span.visited.first = lowering.rounded_down(&span.visited.first, tile.point.keys);
        Ok(span)
    }
}

/// The least and the greatest value of a bound among the rows of a block, from 0 to the number of keys.
fn extremes(
    lowering: &mut Lowering<'_>,
    tile: &Tile<'_>,
    bound: &MaskBound,
    number: u32,
) -> Result<[Linear; 2], Error> {
    let at = |lowering: &mut Lowering<'_>, row: &Linear| {
        let row = tile.row(lowering, row);
        let keys = lowering.size(tile.shape.keys);
        lowering.bound(&bound.bound, &keys, &mut |lowering, place| row.at.bind(lowering, place))
    };
    let last = Linear::constant(i64::from(tile.point.rows) - 1);
    let first = Linear::constant(0);
    Ok(match bound.slope {
        Slope::Flat => {
            let value = Linear::register(at(lowering, &first)?);
            [value.clone(), value]
        }
        Slope::Rising => [at(lowering, &first)?, at(lowering, &last)?].map(Linear::register),
        Slope::Falling => [at(lowering, &last)?, at(lowering, &first)?].map(Linear::register),
        Slope::Unknown => {
            // A block has at least as many threads as rows.
            let rows = i64::from(tile.point.rows) - 1;
            let tid = lowering.b.op(Opcode::TidX, &[]);
            let own = lowering.b.op(Opcode::AndB32, &[tid.into(), rows.into()]);
            let own = at(lowering, &Linear::register(own))?;
            let least = across_block(lowering, tile, own, Opcode::MinS32, 2 * number);
            let most = across_block(lowering, tile, own, Opcode::MaxS32, 2 * number + 1);
            [least, most].map(Linear::register)
        }
    })
}

/// Combines a value of all threads of the block. Values of different numbers are exchanged at different places.
fn across_block(lowering: &mut Lowering<'_>, tile: &Tile<'_>, value: Reg, combine: Opcode, number: u32) -> Reg {
    let mut value = value;
    for distance in [1i64, 2, 4, 8, 16] {
        let b = &mut lowering.b;
        // It has a result.
        let other = b
            .converge(Opcode::ShflBflyB32, &[value.into(), distance.into()])
            .unwrap_or(value);
        value = b.op(combine, &[value.into(), other.into()]);
    }
    if tile.point.warps == 1 {
        return value;
    }
    // Nobody fills this slab before the walk.
    let [.., slab] = tile.slabs;
    let start = Linear::constant(i64::from(32 * number));
    let line = Linear::constant(0);
    let b = &mut lowering.b;
    let tid = b.op(Opcode::TidX, &[]);
    let lane = b.op(Opcode::AndB32, &[tid.into(), 31.into()]);
    let warp = b.op(Opcode::ShrU32, &[tid.into(), 5.into()]);
    let predicate = b.compare(Compare::Eq, Class::B32, lane.into(), 0.into());
    let own = slab.address(lowering, &line, &start.plus(&Linear::register(warp).times(4)));
    let guard = Some(Guard { predicate, holds: true });
    let stored = [value.into()];
    lowering
        .b
        .store(Space::Shared, Width::B32, own, &stored, Cache::Normal, guard);
    lowering.b.barrier();
    for warp in 0..tile.point.warps {
        let from = slab.address(lowering, &line, &start.plus_constant((4 * warp).into()));
        let other = lowering.b.load_here(Space::Shared, Width::B32, 1, from);
        value = lowering.b.op(combine, &[value.into(), other[0].into()]);
    }
    value
}
