//! A block's tile: rows that walk over keys, and what lies in shared memory for them.

use super::keys::Keys;
use super::rows::{Coordinates, Row, Rows};
use super::shape::AttentionShape;
use super::slab::{Factor, Slab};
use super::space::{Attention, Heads};
use crate::families::formula::Place;
use crate::ir::{Expr, ExprId, Source};
use crate::lower::Error;
use crate::lower::expression::{Binding, Lowering};
use crate::lower::index::Linear;
use crate::ptx::{Opcode, Reg};

/// A tile of rows.
pub(super) struct Tile<'s> {
    pub shape: &'s AttentionShape,
    pub point: Attention,
    pub heads: Heads,
    pub rows: Rows,
    /// The block's first row.
    pub first_row: Linear,
    /// The queries', keys' and values'.
    pub slabs: [Slab; 3],
}

/// The factor that fills a slab in the loop over the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Keys,
    Values,
}

impl Tile<'_> {
    /// The row at that place of the tile.
    pub fn row(&self, lowering: &mut Lowering<'_>, within: &Linear) -> Row {
        let number = self.first_row.plus(within);
        self.rows.row(lowering, &number, self.point.rows)
    }

    /// Rows of a warp.
    pub const fn warp_rows(&self) -> u32 {
        self.point.warp_rows(self.heads)
    }

    /// `true` if all keys are whole tiles.
    pub fn is_whole(&self, lowering: &Lowering<'_>) -> bool {
        let total = lowering.size(self.shape.keys);
        total
            .as_constant()
            .is_some_and(|total| total % i64::from(self.point.keys) == 0)
    }

    /// Begins to fill the slab of queries.
    ///
    /// # Errors
    /// As of lowering.
    pub fn fill_queries(&self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let factor = self.factor(lowering, self.shape.query.expr, 0);
        lowering.compared = self.shape.compared;
        let [slab, ..] = self.slabs;
        let mut bind = |lowering: &mut Lowering<'_>, line: &Linear, feature: &Linear| {
            let row = self.row(lowering, line);
            row.at.with_feature(feature.clone()).bind(lowering, &self.shape.query)
        };
        slab.fill(lowering, self.point.threads(), factor, None, &mut bind)?;
        lowering.compared = false;
        Ok(())
    }

    /// Begins to fill the slab of keys or values with a tile of them. Keys beyond the last are zeros; a tile that begins there is left as
    /// it is.
    ///
    /// # Errors
    /// As of lowering.
    pub fn fill(&self, lowering: &mut Lowering<'_>, side: Side, keys: &Keys) -> Result<(), Error> {
        let (slab, place, number) = match side {
            Side::Keys => (self.slabs[1], &self.shape.key, 0),
            Side::Values => (self.slabs[2], &self.shape.value, 1),
        };
        let factor = self.factor(lowering, place.expr, number);
        lowering.compared = self.shape.compared;
        let mut at = Coordinates {
            outputs: self.rows.batch.clone(),
            key: None,
            feature: None,
        };
        // A whole tile exists or does not. The loop asks for values of existing tiles only.
        let whole = self.is_whole(lowering);
        let exists = (whole && side == Side::Keys).then(|| lowering.below(&keys.first, &keys.end));
        let mut bind = |lowering: &mut Lowering<'_>, line: &Linear, feature: &Linear| {
            let value = keys.first.plus(line);
            let guard = match whole {
                true => exists,
                false => Some(lowering.below(&value, &keys.end)),
            };
            match side {
                Side::Keys => at.feature = Some(feature.clone()),
                Side::Values => at.outputs[self.shape.column] = feature.clone(),
            }
            at.with_key(Binding { value, guard }).bind(lowering, place)
        };
        slab.fill(lowering, self.point.threads(), factor, exists, &mut bind)?;
        lowering.compared = false;
        Ok(())
    }

    /// Begins to fill the place of keys and values with a state.
    ///
    /// # Errors
    /// As of lowering.
    pub fn fill_state(&self, lowering: &mut Lowering<'_>, state: &Place) -> Result<(), Error> {
        let factor = self.factor(lowering, state.expr, 0);
        lowering.compared = self.shape.compared;
        let mut at = Coordinates {
            outputs: self.rows.batch.clone(),
            key: None,
            feature: None,
        };
        let mut bind = |lowering: &mut Lowering<'_>, line: &Linear, feature: &Linear| {
            at.outputs[self.shape.column] = line.clone();
            at.with_key(Binding::of(feature.clone())).bind(lowering, state)
        };
        let slab = self.point.state_slab(self.heads);
        slab.fill(lowering, self.point.threads(), factor, None, &mut bind)?;
        lowering.compared = false;
        Ok(())
    }

    fn factor(&self, lowering: &Lowering<'_>, expr: ExprId, product: usize) -> Factor {
        let element = self.shape.multiplicands[product].element();
        let op = lowering.op();
        let stored = match *op.expr(expr) {
            Expr::Read {
                source: Source::Input(input),
                or: None,
                ..
            } => op.inputs[input.index()].element == element,
            _ => false,
        };
        Factor { expr, element, stored }
    }
}

/// A lane of a warp.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    /// Its number, and that among the four that share rows.
    pub number: Reg,
    pub place: Reg,
}

/// A warp of a block. Neighbours share rows, if several do.
#[derive(Debug, Clone)]
pub(super) struct Warp {
    /// The number of its group, that is of the warps with the same rows.
    pub group: Linear,
    /// Its number in the group.
    pub slice: Linear,
}

impl Warp {
    /// The warp of this thread, of so many in a block and in a group.
    pub fn of_thread(lowering: &mut Lowering<'_>, warps: u32, slices: u32) -> Warp {
        let b = &mut lowering.b;
        let tid = b.op(Opcode::TidX, &[]);
        let bits = i64::from(slices.trailing_zeros());
        let group = match warps / slices {
            1 => Linear::constant(0),
            _ => Linear::register(b.op(Opcode::ShrU32, &[tid.into(), (5 + bits).into()])),
        };
        let slice = match slices {
            1 => Linear::constant(0),
            _ => {
                let number = b.op(Opcode::ShrU32, &[tid.into(), 5.into()]);
                Linear::register(b.op(Opcode::AndB32, &[number.into(), i64::from(slices - 1).into()]))
            }
        };
        Warp { group, slice }
    }
}
