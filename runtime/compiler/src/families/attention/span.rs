//! The keys that a block walks over, from the bounds that its rows' mask sets.

use super::keys::Keys;
use super::mask::{Bound, End, Slope};
use super::rows::Row;
use super::tile::Tile;
use crate::element::Type;
use crate::lower::Error;
use crate::lower::expression::{InSequence, Lowering};
use crate::lower::index::Linear;
use crate::ptx::{Cache, Class, Compare, Guard, Opcode, Operand, Reg, Space, Width};

/// The keys of a block.
pub(super) struct Span {
    /// Those that a row may see. The first begins a tile.
    pub visited: Keys,
    /// Those that all rows see, as far as bounds say.
    pub seen: Keys,
}

/// Numbers of an `i64` tensor are limited to this, so that sums of them do not wrap.
const FAR: i64 = 1 << 48;

impl Span {
    /// The span of a tile of rows.
    ///
    /// # Errors
    /// As of lowering.
    pub fn of(lowering: &mut Lowering<'_>, tile: &Tile<'_>, bounds: &[Bound]) -> Result<Span, Error> {
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
            match bound.end {
                End::First(_) => {
                    span.visited.first = narrowed(lowering, max, &all.first, &span.visited.first, &least);
                    span.seen.first = narrowed(lowering, max, &all.first, &span.seen.first, &most);
                }
                End::Last(_) => {
                    span.visited.end = narrowed(lowering, min, &all.end, &span.visited.end, &most);
                    span.seen.end = narrowed(lowering, min, &all.end, &span.seen.end, &least);
                }
            }
        }
        if bounds.iter().any(|bound| bound.condition.is_none()) {
            // The score has the conditions itself.
            span.seen = all;
        }
        if span.visited.first.as_constant() != Some(0) {
            let first = lowering.math.operand(&mut lowering.b, &span.visited.first);
            let tiles = (-i64::from(tile.point.keys)).into();
            let first = lowering.b.op(Opcode::AndB32, &[first, tiles]);
            lowering.note_multiple(first, tile.point.keys);
            span.visited.first = Linear::register(first);
        }
        Ok(span)
    }
}

/// One of two ends, the former of which is that of all keys unless another bound moved it.
fn narrowed(lowering: &mut Lowering<'_>, opcode: Opcode, all: &Linear, former: &Linear, bound: &Linear) -> Linear {
    if former == all {
        return bound.clone();
    }
    let former = lowering.math.operand(&mut lowering.b, former);
    let bound = lowering.math.operand(&mut lowering.b, bound);
    Linear::register(lowering.b.op(opcode, &[former, bound]))
}

/// The least and the greatest value of a bound among the rows of a block, from 0 to the number of keys.
fn extremes(lowering: &mut Lowering<'_>, tile: &Tile<'_>, bound: &Bound, number: u32) -> Result<[Linear; 2], Error> {
    let at = |lowering: &mut Lowering<'_>, row: &Linear| {
        let row = tile.row(lowering, row);
        value(lowering, tile, bound, &row)
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

/// The value of a bound for a row.
fn value(lowering: &mut Lowering<'_>, tile: &Tile<'_>, bound: &Bound, row: &Row) -> Result<Reg, Error> {
    let (End::First(constant) | End::Last(constant)) = bound.end;
    let mut sum = lowering.b.constant(Class::B64, constant.into());
    for (sign, place) in &bound.terms {
        row.at.bind(lowering, place)?;
        let is_long = lowering.ty(place.expr) == Type::I64;
        let term = lowering.value_as(place.expr, Type::I64, &mut InSequence)?;
        let b = &mut lowering.b;
        let mut term = term.reg(b);
        if is_long {
            term = b.op(Opcode::MaxS64, &[term.into(), (-FAR).into()]);
            term = b.op(Opcode::MinS64, &[term.into(), FAR.into()]);
        }
        let opcode = if *sign > 0 { Opcode::AddS64 } else { Opcode::SubS64 };
        sum = b.op(opcode, &[sum.into(), term.into()]);
    }
    let total = lowering.size(tile.shape.keys);
    let total = match lowering.math.operand(&mut lowering.b, &total) {
        Operand::Reg(total) => lowering.b.op(Opcode::CvtS64S32, &[total.into()]).into(),
        total => total,
    };
    let b = &mut lowering.b;
    let sum = b.op(Opcode::MaxS64, &[sum.into(), 0.into()]);
    let sum = b.op(Opcode::MinS64, &[sum.into(), total]);
    Ok(b.op(Opcode::CvtU32U64, &[sum.into()]))
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
