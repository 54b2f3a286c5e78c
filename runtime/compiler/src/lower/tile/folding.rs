//! Takes inner sums into outer ones, in the registers of tensor cores; see [`fold`](super::fold).

use super::fold::Groups;
use super::lines::paired;
use super::multiplicand::Multiplicand;
use super::products::Fold;
use super::tiling::Tiling;
use super::warp::{Warp, WarpTile};
use crate::ir::{ExprId, ReduceOp};
use crate::lower::Error;
use crate::lower::expression::{Accumulator, InSequence, Lowering};
use crate::lower::index::Linear;
use crate::lower::value::{Value, class_of};
use crate::ptx::builder::move_of;
use crate::ptx::{BIAS, Guard, Opcode, Operand, Reg};

/// The outer sums of a warp's tile.
pub(super) struct Folding<'t> {
    tiling: &'t Tiling<'t>,
    fold: &'t Fold,
    tile: WarpTile,
    /// Terms of a group with those that it leaves empty, where every group begins and ends in one slab.
    in_slab: Option<u32>,
    /// The lane's first row and column among the outputs.
    row: Linear,
    column: Linear,
    /// `true` if fragments have pairs of rows, and of columns; see [`are_paired`](super::lines::are_paired).
    paired: [bool; 2],
    /// `true` if inner sums begin with [`BIAS`], so that their floats take a subtraction.
    biased: bool,
    /// The reads of the outer terms.
    reads: Vec<ExprId>,
    /// Laid out as the inner sums.
    pub totals: Vec<Vec<[Reg; 4]>>,
}

/// An element of a lane's fragments.
struct Element {
    row: Linear,
    column: Linear,
    /// The fragment's number in the warp's tile, and the register's in the fragment.
    at: [usize; 2],
}

impl<'t> Folding<'t> {
    pub fn new(
        lowering: &mut Lowering<'_>,
        tiling: &'t Tiling<'t>,
        fold: &'t Fold,
        tile: WarpTile,
        warp: &Warp,
        multiplicands: [Multiplicand; 2],
    ) -> Folding<'t> {
        let shape = tiling.shape;
        let most = multiplicands[0].most().saturating_mul(multiplicands[1].most());
        let zero = Value::zero(&mut lowering.b, fold.ty).operand;
        // All sums are laid out alike.
        let paired = shape
            .sums
            .first()
            .map_or([false; 2], |sum| paired(shape, sum, multiplicands[0].bytes()));
        let lane = warp.lane.into();
        let row = lowering.b.op(Opcode::ShrU32, &[lane, 2.into()]);
        let place = lowering.b.op(Opcode::AndB32, &[lane, 3.into()]);
        let row = Linear::register(row).times(if paired[0] { 2 } else { 1 });
        let column = Linear::register(place).times(if paired[1] { 4 } else { 2 });
        let depth = tiling.block.depth;
        let groups = shape.groups(lowering.specialisation, depth, multiplicands[0].at_once());
        let in_slab = match (groups, &tiling.padded) {
            (Some(Groups::InSlab(terms)), _) => Some(terms),
            (_, Some(padding)) if padding.padded.as_constant() == Some(depth.into()) => Some(depth),
            _ => None,
        };
        Folding {
            fold,
            tile,
            in_slab,
            row: tiling.rows.base.plus(&warp.row).plus(&row),
            column: tiling.columns.base.plus(&warp.column).plus(&column),
            paired,
            reads: tiling.reads_in_fold(lowering.checked),
            totals: (fold.sums.iter())
                .map(|_| tile.registers(lowering, fold.ty, zero))
                .collect(),
            biased: shape.are_small(lowering.specialisation, most),
            tiling,
        }
    }

    /// What an accumulator holds of no terms.
    pub fn nothing(&self, lowering: &mut Lowering<'_>) -> Operand {
        match self.biased {
            true => BIAS.into(),
            false => Value::zero(&mut lowering.b, self.tiling.shape.ty).operand,
        }
    }

    /// Steps of a group, of so many terms each, where every group begins and ends with a step of the same slab.
    pub fn steps(&self, step: u32) -> Option<u32> {
        self.in_slab.map(|terms| terms / step)
    }

    /// Issues the loads for the group that begins with that term, if there certainly is one. Where it may end in a later slab, terms are added under
    /// a condition, and have to be told what was loaded: for each element, each read.
    ///
    /// # Errors
    /// As of lowering.
    pub fn touch(&self, lowering: &mut Lowering<'_>, first_term: &Linear) -> Result<Vec<Value>, Error> {
        let mut loaded = Vec::new();
        if self.wanted(lowering, first_term).is_some() {
            return Ok(loaded);
        }
        self.tiling.bind_group(lowering, first_term);
        for element in self.elements() {
            self.bind_element(lowering, &element);
            for &read in &self.reads {
                match self.in_slab {
                    Some(_) => lowering.touch(read, &mut InSequence)?,
                    None => loaded.push(lowering.value(read, &mut InSequence)?),
                }
            }
        }
        Ok(loaded)
    }

    /// Adds the outer terms of the group that begins with that term to the totals. `loaded`: see [`Folding::touch`].
    ///
    /// # Errors
    /// As of lowering.
    pub fn fold(
        &self,
        lowering: &mut Lowering<'_>,
        accumulators: &[Vec<[Reg; 4]>],
        loaded: &[Value],
        first_term: &Linear,
    ) -> Result<(), Error> {
        let wanted = self.wanted(lowering, first_term);
        self.tiling.bind_group(lowering, first_term);
        let depth = self.tiling.block.depth;
        let last = (self.tiling.padded.as_ref()).and_then(|padding| padding.is_last(lowering, first_term, depth));
        let ends = lowering.both(wanted, last);
        if let Some(predicate) = ends {
            lowering.b.begin_if(Guard { predicate, holds: true });
        }
        self.add_terms(lowering, accumulators, loaded)?;
        if last.is_some() {
            let class = class_of(self.tiling.shape.ty);
            let nothing = self.nothing(lowering);
            for &register in accumulators.iter().flatten().flatten() {
                lowering.b.assign(move_of(class), register, &[nothing]);
            }
        }
        if ends.is_some() {
            lowering.b.end();
        }
        Ok(())
    }

    fn add_terms(
        &self,
        lowering: &mut Lowering<'_>,
        accumulators: &[Vec<[Reg; 4]>],
        loaded: &[Value],
    ) -> Result<(), Error> {
        let shape = self.tiling.shape;
        let mut loaded = loaded.chunks(self.reads.len().max(1));
        for element in self.elements() {
            self.bind_element(lowering, &element);
            for (&read, &value) in self.reads.iter().zip(loaded.next().unwrap_or_default()) {
                lowering.define(read, value)?;
            }
            let [fragment, place] = element.at;
            for (sum, registers) in shape.sums.iter().zip(accumulators) {
                let mut value = lowering.b.read(registers[fragment][place]);
                if self.biased {
                    value = lowering.b.without_bias(value);
                }
                let value = Value::new(shape.ty, value);
                for &expr in &sum.exprs {
                    lowering.define(expr, value)?;
                }
            }
            for (sum, totals) in self.fold.sums.iter().zip(&self.totals) {
                let mut total = Accumulator {
                    op: ReduceOp::Sum,
                    ty: self.fold.ty,
                    best: totals[fragment][place],
                    position: None,
                };
                total.add(lowering, &Linear::constant(0), sum.body, &mut InSequence)?;
            }
        }
        Ok(())
    }

    /// The condition that there is a group with that term. None if there certainly is.
    fn wanted(&self, lowering: &mut Lowering<'_>, first_term: &Linear) -> Option<Reg> {
        let Tiling { span, padded, .. } = self.tiling;
        // The last slab may have fewer groups than the others.
        (padded.is_none() && !span.is_whole).then(|| lowering.below(first_term, &span.end))
    }

    fn bind_element(&self, lowering: &mut Lowering<'_>, element: &Element) {
        let tiling = self.tiling;
        tiling.bind_clamped(lowering, &tiling.rows, &element.row, 1);
        tiling.bind_clamped(lowering, &tiling.columns, &element.column, 1);
    }

    /// The lane's elements. Of a tile of 16 × 8 it has two neighbours in one row and two in another; see `hand_on` in
    /// [`epilogue`](super::epilogue).
    fn elements(&self) -> impl Iterator<Item = Element> {
        let columns = self.tile.columns as usize / 8;
        let [paired_rows, paired_columns] = self.paired;
        (0..self.tile.rows as usize / 16 * columns).flat_map(move |fragment| {
            (0..4).map(move |place| {
                let (row_tile, column_tile) = (fragment / columns, fragment % columns);
                let (half, neighbour) = (place / 2, place % 2);
                let row = 16 * row_tile + half * if paired_rows { 1 } else { 8 };
                let column = match paired_columns {
                    true => column_tile / 2 * 16 + 2 * neighbour + column_tile % 2,
                    false => 8 * column_tile + neighbour,
                };
                Element {
                    row: self.row.plus_constant(row as i64),
                    column: self.column.plus_constant(column as i64),
                    at: [fragment, place],
                }
            })
        })
    }
}
