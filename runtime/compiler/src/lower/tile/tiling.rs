//! A block's tile of outputs: to which element of a tensor a place in it belongs.
//!
//! Rows and columns beyond the edge are clamped to the last one for loads and left out of stores. Terms beyond the end of the sum are zeros.

use super::block::{Block, Counts, product, tile_place};
use super::bounds::TermBound;
use super::deal::Piece;
use super::fold::Groups;
use super::products::{Products, Side};
use super::slab::{Inside, Slab};
use super::span::Span;
use super::split_k::Part;
use crate::check::Checked;
use crate::families::bound::{End, Slope};
use crate::ir::{AxisId, Expr, ExprId, Source};
use crate::lower::Error;
use crate::lower::expression::{Binding, InSequence, Lanes, Lowering, Reduce};
use crate::lower::index::Linear;
use crate::lower::value::Value;
use crate::ptx::{Cache, Class, Compare, Guard, Opcode, Reg};

/// A block's tile of outputs.
pub(crate) struct Tiling<'a> {
    pub shape: &'a Products,
    pub block: Block,
    pub rows: Band,
    pub columns: Band,
    /// The slabs of both sides.
    pub slabs: Vec<Slab>,
    /// Terms of the sums.
    pub depth: Linear,
    /// The block's part of them.
    pub span: Span,
    pub depth_extents: Vec<Linear>,
    /// Groups of terms that take whole slabs each, if any do.
    pub padded: Option<Padding>,
}

/// Groups of terms that take whole slabs each.
pub(crate) struct Padding {
    /// Terms of a group.
    pub terms: Linear,
    /// Terms of its slabs.
    pub padded: Linear,
    /// Dimensions that number groups.
    outer: usize,
}

impl Padding {
    /// `true` if the last slab of each group certainly has all its terms.
    fn is_whole(&self) -> bool {
        self.terms.as_constant().is_some() && self.terms == self.padded
    }

    /// The number of a slab's group, and the place of the slab's first term in it.
    fn group_of(&self, lowering: &mut Lowering<'_>, first_term: &Linear) -> [Linear; 2] {
        let (group, place) = lowering.math.divide(&mut lowering.b, first_term, &self.padded);
        [group, place]
    }

    /// The condition that a slab is the last of its group. None if each is.
    pub fn is_last(&self, lowering: &mut Lowering<'_>, first_term: &Linear, depth: u32) -> Option<Reg> {
        let last = self.padded.plus_constant(-i64::from(depth));
        if last.as_constant() == Some(0) {
            return None;
        }
        let [_, place] = self.group_of(lowering, first_term);
        let [place, last] = [place, last].map(|value| lowering.math.operand(&mut lowering.b, &value));
        Some(lowering.b.compare(Compare::Eq, Class::B32, place, last))
    }
}

/// The block's part of the rows, or of the columns.
pub(crate) struct Band {
    /// Their positions among the outputs' dimensions.
    pub positions: Vec<usize>,
    pub extents: Vec<Linear>,
    pub total: Linear,
    /// The first of the block.
    pub base: Linear,
    pub tile: u32,
}

impl<'a> Tiling<'a> {
    /// The tile that a block has a part of. `step`: how many terms are multiplied at once. `vector`: how many neighbours are loaded at once of a
    /// side, of which that much is the block's.
    ///
    /// # Errors
    /// As of lowering.
    pub fn new(
        lowering: &mut Lowering<'_>,
        shape: &'a Products,
        block: Block,
        part: &Part,
        step: u32,
        vector: impl Fn(&Side, u32) -> u32,
    ) -> Result<Tiling<'a>, Error> {
        let depth_extents: Vec<Linear> = shape.terms.iter().map(|&size| lowering.size(size)).collect();
        let padded = match shape.groups(lowering.specialisation, block.depth, step) {
            Some(Groups::OfSlabs) => Some(padding(lowering, shape, &depth_extents, block)),
            _ => None,
        };
        let mut span = match &padded {
            Some(padding) => {
                let groups = product(lowering, &depth_extents[..padding.outer]);
                Span::of_groups(lowering, [&groups, &padding.padded], block, part)
            }
            None => {
                let depth = product(lowering, &depth_extents);
                Span::of(lowering, &depth, block, part)
            }
        };
        let depth = span.end.clone();
        span.is_whole &= padded.as_ref().is_none_or(Padding::is_whole);
        let counts = Counts::new(lowering, shape, block);
        let tiles = [&counts.batches, &counts.row_tiles, &counts.column_tiles];
        // Tiles with the most terms come first, so that short ones fill the last wave.
        let number = match shape.grow() {
            true => counts.tiles(lowering).plus(&part.tile.times(-1)).plus_constant(-1),
            false => part.tile.clone(),
        };
        let [batch_place, row, column] = tile_place(lowering, &number, tiles, block.group);
        let batch_place = lowering
            .math
            .coordinates(&mut lowering.b, &batch_place, &counts.batch_extents);
        for (&position, value) in shape.batch.iter().zip(batch_place) {
            bind(lowering, shape, position, &value);
        }
        let band = |positions: &[usize], extents, total, at: &Linear, tile: u32| Band {
            positions: positions.to_vec(),
            extents,
            total,
            base: at.times(i64::from(tile)),
            tile,
        };
        let slab = |(side, tile): (&Side, u32)| Slab {
            factors: side.factors.clone(),
            ty: side.ty,
            of_rows: side.of_rows,
            tile,
            along_depth: side.along_depth,
            vector: vector(side, tile),
            deal: None,
        };
        let mut tiling = Tiling {
            shape,
            block,
            rows: band(&shape.rows, counts.row_extents, counts.rows, &row, block.rows),
            columns: band(
                &shape.columns,
                counts.column_extents,
                counts.columns,
                &column,
                block.columns,
            ),
            slabs: shape.tiles(block.rows, block.columns).map(slab).collect(),
            span,
            depth,
            depth_extents,
            padded,
        };
        if !shape.bounds.is_empty() {
            let visited = tiling.visited(lowering)?;
            tiling.span = Span::within(lowering, visited, &tiling.depth, block, part);
        }
        Ok(tiling)
    }

    /// The first term of some output of the tile, rounded down to a slab, and the one after the last, as far as bounds say.
    fn visited(&self, lowering: &mut Lowering<'_>) -> Result<[Linear; 2], Error> {
        let all = [Linear::constant(0), self.depth.clone()];
        let [mut first, mut end] = all.clone();
        for TermBound { bound, slopes } in &self.shape.bounds {
            let (end_of_axis, widest) = match bound.end {
                End::First(_) => (&mut first, Slope::Falling),
                End::Last(_) => (&mut end, Slope::Rising),
            };
            // The line that leaves the most terms.
            for (band, slope) in [&self.rows, &self.columns].into_iter().zip(slopes) {
                let line = if *slope == widest { i64::from(band.tile) - 1 } else { 0 };
                self.bind_clamped(lowering, band, &band.base.plus_constant(line), 1);
            }
            let value = lowering.bound(bound, &self.depth, &mut |_, _| Ok(()))?;
            let value = Linear::register(value);
            *end_of_axis = match bound.end {
                End::First(_) => lowering.narrowed(Opcode::MaxS32, &all[0], end_of_axis, &value),
                End::Last(_) => lowering.narrowed(Opcode::MinS32, &all[1], end_of_axis, &value),
            };
        }
        Ok([lowering.rounded_down(&first, self.block.depth), end])
    }

    /// The rows or columns that a slab belongs to.
    pub fn band(&self, side: &Slab) -> &Band {
        if side.of_rows { &self.rows } else { &self.columns }
    }

    /// One axis for each extent of the sums, and all factors.
    pub fn summed(&self) -> (Vec<AxisId>, Vec<ExprId>) {
        let axes = self.shape.depth.iter().filter_map(|axes| axes.first().copied());
        let factors = self.slabs.iter().flat_map(|slab| slab.factors.iter().copied());
        (axes.collect(), factors.collect())
    }

    /// Binds the axes to each element that this thread loads of a slab, in order. The slab begins with that one of the block's terms.
    pub fn each_element(
        &self,
        lowering: &mut Lowering<'_>,
        side: &Slab,
        first_term: &Linear,
        inside: Inside,
        mut each: impl FnMut(&mut Lowering<'_>, &Slab, &Piece, u32, Option<Reg>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        lowering.compared = self.shape.compared;
        let first_term = &self.span.first.plus(first_term);
        let vector = i64::from(side.vector);
        for piece in side.pieces(lowering, self.block) {
            let along_rows = if side.along_depth { 1 } else { vector };
            let band = self.band(side);
            let row_lanes = self.bind_clamped(lowering, band, &band.base.plus(&piece.row), along_rows);
            let term_lanes = self.bind_terms(lowering, side, &piece, first_term);
            let term = first_term.plus(&piece.term);
            let guard = match inside {
                Inside::All => None,
                Inside::Where(predicate) => Some(predicate),
                Inside::Each => Some(lowering.below(&term, &self.span.end)),
            };
            let guard = self.in_group(lowering, first_term, &piece, guard);
            lowering.lanes = row_lanes.or(term_lanes);
            for lane in 0..side.vector {
                self.bind_lane(lowering, side, i64::from(lane), guard)?;
                each(lowering, side, &piece, lane, guard)?;
                self.bind_lane(lowering, side, -i64::from(lane), guard)?;
            }
            lowering.lanes = None;
        }
        lowering.compared = false;
        Ok(())
    }

    /// Binds the axes of rows (or columns) to one of them, clamped to the last; the lanes if `vector` are taken at once.
    pub fn bind_clamped(&self, lowering: &mut Lowering<'_>, band: &Band, row: &Linear, vector: i64) -> Option<Lanes> {
        let chunk = row.divided(vector);
        let (last, _) = lowering
            .math
            .divide(&mut lowering.b, &band.total, &Linear::constant(vector));
        let chunk = if band.fits() {
            chunk
        } else {
            let chunk = lowering.math.operand(&mut lowering.b, &chunk);
            let last = lowering.math.operand(&mut lowering.b, &last.plus_constant(-1));
            Linear::register(lowering.b.op(Opcode::MinS32, &[chunk, last]))
        };
        let (coordinates, lanes) = coordinates_of_chunk(lowering, &chunk, &band.extents, vector);
        for (&position, value) in band.positions.iter().zip(coordinates) {
            bind(lowering, self.shape, position, &value);
        }
        lanes
    }

    /// Binds the sums' axes to a term; the lanes if they run along it.
    pub fn bind_terms(
        &self,
        lowering: &mut Lowering<'_>,
        side: &Slab,
        piece: &Piece,
        first_term: &Linear,
    ) -> Option<Lanes> {
        let vector = if side.along_depth { i64::from(side.vector) } else { 1 };
        let term = first_term.plus(&piece.term);
        if let Some(padding) = &self.padded {
            let [group, first] = padding.group_of(lowering, first_term);
            let outer = &self.depth_extents[..padding.outer];
            let mut coordinates = lowering.math.coordinates(&mut lowering.b, &group, outer);
            let first = lowering
                .math
                .divide(&mut lowering.b, &first, &Linear::constant(vector))
                .0;
            let chunk = piece.term.divided(vector).plus(&first);
            let (inner, lanes) = coordinates_of_chunk(lowering, &chunk, &self.depth_extents[padding.outer..], vector);
            coordinates.extend(inner);
            self.bind_depth(lowering, &coordinates);
            return lanes;
        }
        if let [axes] = self.shape.depth.as_slice() {
            axes.iter()
                .for_each(|&axis| lowering.bind(axis, Binding::of(term.clone())));
            // The piece's own register counts vectors; the slab begins at a multiple of them.
            let register = piece.term.terms().first().map(|&(reg, _)| reg)?;
            return (vector > 1).then_some(Lanes {
                register,
                width: vector as u32,
            });
        }
        let slab = lowering.math.operand(&mut lowering.b, first_term);
        let chunk = if vector > 1 {
            let shift = i64::from(vector.trailing_zeros());
            let slab = lowering.b.op(Opcode::ShrU32, &[slab, shift.into()]);
            piece.term.divided(vector).plus(&Linear::register(slab))
        } else {
            term
        };
        let (coordinates, lanes) = coordinates_of_chunk(lowering, &chunk, &self.depth_extents, vector);
        self.bind_depth(lowering, &coordinates);
        lanes
    }

    /// Binds the sums' axes, slowest first.
    fn bind_depth(&self, lowering: &mut Lowering<'_>, coordinates: &[Linear]) {
        for (axes, value) in self.shape.depth.iter().zip(coordinates) {
            axes.iter()
                .for_each(|&axis| lowering.bind(axis, Binding::of(value.clone())));
        }
    }

    /// Binds the axes of the outer sums to the group that begins with this one of all terms, or that has it if groups take whole slabs.
    pub fn bind_group(&self, lowering: &mut Lowering<'_>, term: &Linear) {
        let outer = self.shape.fold.as_ref().map_or(0, |fold| fold.outer);
        let group = match &self.padded {
            Some(padding) => padding.group_of(lowering, term)[0].clone(),
            None => {
                let terms = product(lowering, &self.depth_extents[outer..]);
                lowering.math.divide(&mut lowering.b, term, &terms).0
            }
        };
        let coordinates = lowering
            .math
            .coordinates(&mut lowering.b, &group, &self.depth_extents[..outer]);
        self.bind_depth(lowering, &coordinates);
    }

    /// The condition that a term is wanted and one of its group's.
    fn in_group(
        &self,
        lowering: &mut Lowering<'_>,
        first_term: &Linear,
        piece: &Piece,
        wanted: Option<Reg>,
    ) -> Option<Reg> {
        let Some(padding) = self.padded.as_ref().filter(|padding| !padding.is_whole()) else {
            return wanted;
        };
        let [_, first] = padding.group_of(lowering, first_term);
        let inside = lowering.below(&first.plus(&piece.term), &padding.terms);
        lowering.both(wanted, Some(inside))
    }

    /// Moves the fastest axis by a number of elements, and sets the condition of the sums' axes.
    pub fn bind_lane(
        &self,
        lowering: &mut Lowering<'_>,
        side: &Slab,
        by: i64,
        guard: Option<Reg>,
    ) -> Result<(), Error> {
        let by_depth = |number: usize| {
            if side.along_depth && number + 1 == self.shape.depth.len() {
                by
            } else {
                0
            }
        };
        for (number, axes) in self.shape.depth.iter().enumerate() {
            for &axis in axes {
                let value = lowering.binding(axis)?.value.plus_constant(by_depth(number));
                lowering.bind(axis, Binding { value, guard });
            }
        }
        if !side.along_depth && by != 0 {
            self.band(side).advance(lowering, self.shape, by)?;
        }
        Ok(())
    }

    /// Issues the loads of a side's factors in a slab; what is done with the values comes later.
    pub fn touch(
        &self,
        lowering: &mut Lowering<'_>,
        side: &Slab,
        term: &Linear,
        inside: Inside,
        family: &mut dyn Reduce,
    ) -> Result<(), Error> {
        self.each_element(lowering, side, term, inside, |lowering, side, _, _, _| {
            side.factors
                .iter()
                .try_for_each(|&factor| lowering.touch(factor, family))
        })
    }

    /// Computes and stores `count` neighbours of a row of each output; `sums` gives the sums that each is made of.
    pub fn outputs(
        &self,
        lowering: &mut Lowering<'_>,
        row: &Linear,
        column: &Linear,
        count: u32,
        mut sums: impl FnMut(&mut Lowering<'_>, usize, u32) -> Value,
    ) -> Result<(), Error> {
        self.bind_clamped(lowering, &self.rows, row, 1);
        let row_inside = self.rows.inside(lowering, row);
        let lanes = self.bind_clamped(lowering, &self.columns, column, i64::from(count));
        let column_inside = self.columns.inside(lowering, column);
        let guard = lowering.both(row_inside, column_inside);
        lowering.lanes = lanes;
        let op = lowering.op();
        let offset = self.offset(lowering)?;
        let mut values = vec![Vec::with_capacity(count as usize); op.outputs.len()];
        for lane in 0..count {
            if lane > 0 {
                self.columns.advance(lowering, self.shape, 1)?;
            }
            for (number, exprs) in self.shape.results().into_iter().enumerate() {
                let value = sums(lowering, number, lane);
                for &expr in exprs {
                    lowering.define(expr, value)?;
                }
            }
            for (output, values) in values.iter_mut().enumerate() {
                values.push(lowering.output_value(output, &mut InSequence)?);
            }
        }
        lowering.lanes = None;
        let guard = guard.map(|predicate| Guard { predicate, holds: true });
        for (output, values) in values.iter().enumerate() {
            lowering.store_output(output, &offset, values, Cache::Normal, guard);
        }
        Ok(())
    }

    /// Issues the loads of these reads for `count` neighbours of a row of the outputs. Their values come later.
    pub fn touch_outputs(
        &self,
        lowering: &mut Lowering<'_>,
        reads: &[ExprId],
        row: &Linear,
        column: &Linear,
        count: u32,
    ) -> Result<(), Error> {
        self.bind_clamped(lowering, &self.rows, row, 1);
        lowering.lanes = self.bind_clamped(lowering, &self.columns, column, i64::from(count));
        for lane in 0..count {
            if lane > 0 {
                self.columns.advance(lowering, self.shape, 1)?;
            }
            for &read in reads {
                lowering.touch(read, &mut InSequence)?;
            }
        }
        lowering.lanes = None;
        Ok(())
    }

    /// The reads of inputs that outputs need beside the sums, wherever they are.
    pub fn reads_beside_sums(&self, checked: &Checked) -> Vec<ExprId> {
        let outputs = checked.op().outputs.iter().map(|output| output.body);
        let results = self.shape.results();
        reads_beside(checked, outputs.collect(), |expr| {
            results.iter().any(|exprs| exprs.contains(&expr))
        })
    }

    /// The reads of inputs that outer sums need beside the inner ones, wherever they are.
    pub fn reads_in_fold(&self, checked: &Checked) -> Vec<ExprId> {
        let outer = self.shape.fold.iter().flat_map(|fold| &fold.sums).map(|sum| sum.body);
        let is_sum = |expr: ExprId| self.shape.sums.iter().any(|sum| sum.exprs.contains(&expr));
        reads_beside(checked, outer.collect(), is_sum)
    }

    /// `true` if an expression is not the same in all rows.
    pub fn depends_on_rows(&self, checked: &Checked, expr: ExprId) -> bool {
        let mut rows = self
            .rows
            .positions
            .iter()
            .flat_map(|&position| &self.shape.axes[position]);
        rows.any(|&axis| checked.axes(expr).contains(axis))
    }

    /// The widest vector of a row's outputs that never crosses its end, at most `most`.
    pub fn output_vector(&self, lowering: &Lowering<'_>, most: u32) -> u32 {
        match self.shape.dims.last() {
            Some(&fastest) if lowering.specialisation.aligned => lowering.size_multiple(fastest).min(most),
            _ => 1,
        }
    }

    /// The number of the element, row-major, where the outputs' axes are bound as they are: the same in all of them.
    pub fn offset(&self, lowering: &mut Lowering<'_>) -> Result<Linear, Error> {
        let output = &lowering.op().outputs[0];
        let indices = output
            .axes
            .iter()
            .map(|&axis| Ok(lowering.binding(axis)?.value))
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(lowering.offset(&indices, &output.dims))
    }
}

/// The reads of inputs in expressions, but for those in sums.
fn reads_beside(checked: &Checked, mut waiting: Vec<ExprId>, is_sum: impl Fn(ExprId) -> bool) -> Vec<ExprId> {
    let op = checked.op();
    let mut reads = Vec::new();
    while let Some(expr) = waiting.pop() {
        if is_sum(expr) {
            continue;
        }
        if let Expr::Read {
            source: Source::Input(_),
            ..
        } = op.expr(expr)
            && checked.unconditional(expr)
            && !reads.contains(&expr)
        {
            reads.push(expr);
        }
        op.operands(expr, |operand| waiting.push(operand));
    }
    reads
}

/// Groups that take whole slabs: one at the least, because a group without terms has an outer term too.
fn padding(lowering: &mut Lowering<'_>, shape: &Products, extents: &[Linear], block: Block) -> Padding {
    let outer = shape.fold.as_ref().map_or(0, |fold| fold.outer);
    let terms = product(lowering, &extents[outer..]);
    let slabs = lowering.divided_up(&terms, block.depth);
    let padded = match slabs.as_constant() {
        Some(slabs) => Linear::constant(slabs.max(1)),
        None => {
            let slabs = lowering.math.operand(&mut lowering.b, &slabs);
            Linear::register(lowering.b.op(Opcode::MaxS32, &[slabs, 1.into()]))
        }
    };
    let padded = padded.times(block.depth.into());
    Padding { terms, padded, outer }
}

impl Band {
    /// `true` if none of the tiles goes beyond the last.
    pub fn fits(&self) -> bool {
        let total = self.total.as_constant();
        total.is_some_and(|total| total % i64::from(self.tile) == 0)
    }

    /// `true` if that one exists, where it may not.
    pub fn inside(&self, lowering: &mut Lowering<'_>, place: &Linear) -> Option<Reg> {
        (!self.fits()).then(|| lowering.below(place, &self.total))
    }

    /// Moves the fastest of its axes by a number of elements.
    pub fn advance(&self, lowering: &mut Lowering<'_>, shape: &Products, by: i64) -> Result<(), Error> {
        let &position = self.positions.last().ok_or(Error::Unbound)?;
        let &axis = shape.axes[position].first().ok_or(Error::Unbound)?;
        let value = lowering.binding(axis)?.value.plus_constant(by);
        bind(lowering, shape, position, &value);
        Ok(())
    }
}

/// The coordinates of the first element of a chunk of `vector` neighbours, and the lanes if there are several.
pub(crate) fn coordinates_of_chunk(
    lowering: &mut Lowering<'_>,
    chunk: &Linear,
    extents: &[Linear],
    vector: i64,
) -> (Vec<Linear>, Option<Lanes>) {
    let mut extents = extents.to_vec();
    if let Some(fastest) = extents.last_mut() {
        let vector = Linear::constant(vector);
        *fastest = lowering.math.divide(&mut lowering.b, fastest, &vector).0;
    }
    let mut coordinates = lowering.math.coordinates(&mut lowering.b, chunk, &extents);
    let mut lanes = None;
    if vector > 1
        && let Some(fastest) = coordinates.last_mut()
    {
        let register = match *fastest.terms() {
            [(register, 1)] => register,
            _ => {
                // Chunks that lie apart by a constant share an address.
                let constant = fastest.constant_part();
                let register = lowering
                    .math
                    .register(&mut lowering.b, &fastest.plus_constant(-constant));
                *fastest = Linear::register(register).plus_constant(constant);
                register
            }
        };
        *fastest = fastest.times(vector);
        lanes = Some(Lanes {
            register,
            width: vector as u32,
        });
    }
    (coordinates, lanes)
}

/// Binds all axes that stand for a dimension of the outputs.
pub(crate) fn bind(lowering: &mut Lowering<'_>, shape: &Products, position: usize, value: &Linear) {
    for &axis in &shape.axes[position] {
        lowering.bind(axis, Binding::of(value.clone()));
    }
}
