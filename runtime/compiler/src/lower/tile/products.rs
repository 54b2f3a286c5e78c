//! Sums of products, and of other pointwise work on two sides: what an operator must be for its outputs to be computed in tiles.

use super::bounds::{TermBound, term_bounds};
use super::roles::Roles;
use super::term::{Pointwise, type_in_slab};
use crate::check::Checked;
use crate::element::Type;
use crate::families::analysis::conditional;
use crate::families::family::block_counts;
use crate::families::formula::{Formulas, Node, NodeId, Place, RowReduction, Symbol};
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, InputId, Literal, Op, ReduceOp, SizeId, Source, UnaryOp};
use crate::problem::Problem;
use crate::size::Specialisation;
use crate::target::Machine;
use std::collections::HashSet;
use std::sync::Arc;

/// An operator as sums over the same terms: `out[batch, rows, columns] = f(Σ left · right, Σ g(left, right), …)`.
///
/// Dimensions of the outputs, which all have the same, are named by their positions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Products {
    /// The sums: at least one, all different.
    pub sums: Vec<Sum>,
    /// The operands, those with the rows first. Sums may share them.
    pub sides: Vec<Side>,
    /// The type that is summed in.
    pub ty: Type,
    /// Extents of the outputs.
    pub dims: Vec<SizeId>,
    /// The axes of outputs and intermediate tensors that stand for each of them.
    pub axes: Vec<Vec<AxisId>>,
    /// Positions that both sides depend on.
    pub batch: Vec<usize>,
    /// Positions that the left side has.
    pub rows: Vec<usize>,
    /// Positions that the right side has; the last is one of them.
    pub columns: Vec<usize>,
    /// Extents of the sums, slowest first. The order may differ from the source's: the fastest is the one along which most sides are
    /// contiguous.
    pub terms: Vec<SizeId>,
    /// The axes of the sums that run over each of them.
    pub depth: Vec<Vec<AxisId>>,
    /// Bounds on the terms of every sum, which has no others than 0 beyond. Only sums over one extent have some.
    pub bounds: Vec<TermBound>,
    /// `true` if a condition may be all that keeps a read in a sum in range: the sums are computed for all outputs, also where nobody
    /// wants them, so what is read is compared with its extent.
    pub compared: bool,
    /// Sums that these are taken into, group by group.
    pub fold: Option<Fold>,
}

/// One of the sums.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sum {
    /// Where it stands in the operator.
    pub exprs: Vec<ExprId>,
    /// The operands, by their numbers among [`Products::sides`]. A product has two: left, right.
    pub operands: Vec<usize>,
    /// The term, pointwise work on the operands; none if it is their product.
    pub body: Option<ExprId>,
    /// Instructions that add a term: 1 of a product.
    pub instructions: u32,
}

/// Sums that the sums of products are taken into, group by group; see [`fold`](super::fold).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fold {
    /// At least one, all different.
    pub sums: Vec<OuterSum>,
    /// The type that they are summed in.
    pub ty: Type,
    /// Dimensions of [`Products::terms`] that number groups: the first ones. The others are of a group.
    pub outer: usize,
}

/// A sum of sums.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OuterSum {
    /// Where it stands in the operator.
    pub exprs: Vec<ExprId>,
    /// The term, made of the inner sums.
    pub body: ExprId,
}

/// An operand of a sum.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Side {
    /// Its factors.
    pub factors: Vec<ExprId>,
    /// The type of its elements where slabs hold values: that of the sums, unless a term is no product.
    pub ty: Type,
    /// `true` if it has the rows, rather than the columns.
    pub of_rows: bool,
    /// `true` if its memory is contiguous along the sum's fastest axis, rather than along its own.
    pub along_depth: bool,
    /// `true` if neighbours along that axis are neighbours in memory.
    pub contiguous: bool,
    /// `true` if that axis alone indexes the tensor's fastest dimension.
    alone: bool,
    /// The contributions of sizes to the index of the tensor's fastest dimension.
    offsets: Vec<Offset>,
    /// Reads that one element of the slab is made of: at least 1.
    pub reads: u32,
}

/// The contribution of sizes to an index.
#[derive(Debug, Clone, PartialEq)]
struct Offset {
    sizes: Vec<SizeId>,
    /// `true` if it is a multiple of their product.
    multiple: bool,
}

impl Offset {
    /// All contributions to an index.
    fn all(op: &Op, index: ExprId) -> Vec<Offset> {
        match *op.expr(index) {
            Expr::Size(size) => vec![Offset {
                sizes: vec![size],
                multiple: true,
            }],
            Expr::Unary(UnaryOp::Neg, a) => Offset::all(op, a),
            Expr::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) => [Offset::all(op, a), Offset::all(op, b)].concat(),
            Expr::Binary(BinaryOp::Mul, a, b) => match (&Offset::all(op, a)[..], &Offset::all(op, b)[..]) {
                (all, []) | ([], all) => all.to_vec(),
                (all, [factor]) | ([factor], all) => all.iter().map(|offset| offset.times(factor)).collect(),
                // Multiplied out, products of sums would double with each factor.
                (a, b) => Offset::unknown([a, b].concat()),
            },
            _ => {
                let mut offsets = Vec::new();
                op.operands(index, |operand| offsets.extend(Offset::all(op, operand)));
                Offset::unknown(offsets)
            }
        }
    }

    fn times(&self, factor: &Offset) -> Offset {
        Offset {
            sizes: [&self.sizes[..], &factor.sizes].concat(),
            multiple: self.multiple && factor.multiple,
        }
    }

    /// One contribution that depends on all of these in an unknown way; none if they are none.
    fn unknown(offsets: Vec<Offset>) -> Vec<Offset> {
        let together = offsets.into_iter().reduce(|all, offset| all.times(&offset));
        let unknown = together.map(|all| Offset { multiple: false, ..all });
        unknown.into_iter().collect()
    }

    /// A power of two, at most 16, that divides it as far as is known without what is compiled in, which lowering sees for itself.
    fn multiple_of(&self, specialisation: &Specialisation) -> u32 {
        let extents = self.sizes.iter().map(|size| specialisation.extents[size.index()]);
        let open = extents.filter(|extent| extent.fixed().is_none());
        let product = open.map(|extent| extent.multiple_of()).reduce(u32::saturating_mul);
        match product {
            None => 16,
            Some(product) if self.multiple => product.min(16),
            Some(_) => 1,
        }
    }
}

impl Side {
    /// Bytes of tensors that one of its elements is made of.
    pub(crate) fn element_bytes(&self, checked: &Checked) -> f64 {
        let op = checked.op();
        let mut left = self.factors.clone();
        let mut seen = HashSet::new();
        let mut bytes = 0;
        while let Some(expr) = left.pop() {
            if !seen.insert(expr) {
                continue;
            }
            match *op.expr(expr) {
                Expr::Read {
                    source: Source::Input(input),
                    ..
                } => bytes += op.inputs[input.index()].element.size(),
                Expr::Read {
                    source: Source::Let(inner),
                    ..
                } => left.push(op.lets[inner.index()].body),
                _ => op.operands(expr, |operand| left.push(operand)),
            }
        }
        f64::from(bytes)
    }
}

impl Products {
    /// Bytes of an element as it is computed with.
    pub(crate) fn element_bytes(&self) -> u32 {
        computed_bytes(self.ty)
    }

    /// `true` if every term is a product.
    pub(crate) fn are_products(&self) -> bool {
        self.sums.iter().all(|sum| sum.body.is_none())
    }

    /// Instructions that add a term to each of the sums of an output.
    pub(crate) fn instructions(&self) -> u32 {
        self.sums.iter().map(|sum| sum.instructions).sum()
    }

    /// The positions of a side's own dimensions.
    pub(crate) fn own(&self, side: &Side) -> &[usize] {
        if side.of_rows { &self.rows } else { &self.columns }
    }

    /// Each side with its part of a block of so many rows and columns.
    pub(crate) fn tiles(&self, rows: u32, columns: u32) -> impl Iterator<Item = (&Side, u32)> {
        self.sides
            .iter()
            .map(move |side| (side, if side.of_rows { rows } else { columns }))
    }

    /// Elements that a block of so many rows and columns multiplies for each term.
    pub(crate) fn elements(&self, rows: u32, columns: u32) -> u32 {
        self.tiles(rows, columns).map(|(_, tile)| tile).sum()
    }

    /// The widest vector of a side's neighbours that alignment allows, at most `most`.
    pub(crate) fn vector(&self, specialisation: &Specialisation, side: &Side, most: u32) -> u32 {
        let fastest = if side.along_depth {
            self.terms.last().copied()
        } else {
            self.own(side).last().map(|&position| self.dims[position])
        };
        match fastest {
            Some(fastest) if side.contiguous && specialisation.aligned => {
                let of_offsets = side.offsets.iter().map(|offset| offset.multiple_of(specialisation));
                let of_extent = specialisation.extents[fastest.index()].multiple_of();
                of_offsets.fold(of_extent, u32::min).min(most)
            }
            _ => 1,
        }
    }

    /// `true` if all sides are read 16 bytes at a time.
    pub(crate) fn reads_whole_vectors(&self, problem: &Problem<'_>) -> bool {
        self.sides.iter().all(|side| {
            let most = (16.0 / side.element_bytes(problem.checked)).max(1.0) as u32;
            side.alone && self.vector(problem.specialisation, side, most) == most
        })
    }

    /// The most loads of a slab, where blocks go from tile to tile.
    pub(crate) const MOST_LOADS: u32 = 16;

    /// Choices of the most blocks there are: one for each tile (0); one on each multiprocessor, or on half of them, which may take
    /// longer and draw less.
    pub(crate) fn block_counts(machine: Machine) -> impl Iterator<Item = u32> + Clone {
        block_counts(machine.multiprocessors)
    }

    /// `true` if there are more tiles than blocks, as far as that is known.
    pub(crate) fn persists(&self, specialisation: &Specialisation, rows: u32, columns: u32, blocks: u32) -> bool {
        let tiles = self.tiles_of(specialisation, rows, columns);
        tiles.is_none_or(|tiles| tiles > u64::from(blocks))
    }

    /// Registers of a thread beside those of a tile, where its block goes from tile to tile: which is next, and how many there are.
    pub(crate) const fn held_between_tiles(blocks: u32) -> u32 {
        if blocks > 0 { 8 } else { 0 }
    }

    /// Choices of how many blocks share the terms of a tile.
    pub(crate) const SPLIT_K: [u32; 5] = [1, 2, 4, 8, 16];

    /// `true` if `split_k` blocks can share the terms of a tile in slabs of so many, multiplied so many at a time: none is left without a term where the number of terms is
    /// compiled in.
    pub(crate) fn divides(&self, specialisation: &Specialisation, slab: [u32; 2], split_k: u32) -> bool {
        let all_have_some = |shares: u64| shares.div_ceil(split_k.into()) * u64::from(split_k - 1) < shares;
        split_k == 1 || self.shares(specialisation, slab).is_none_or(all_have_some)
    }

    /// `true` if so many stages may all be on their way at once in each of `split_k` parts of the terms.
    pub(crate) fn fills(&self, specialisation: &Specialisation, slab: [u32; 2], split_k: u32, stages: u32) -> bool {
        let all_fill = |slabs: u64| slabs.div_ceil(split_k.into()) >= u64::from(stages);
        split_k == 1 || self.slabs(specialisation, slab).is_none_or(all_fill)
    }

    /// `true` if sharing the terms of each tile among `split_k` blocks may pay: the tiles are too few to fill the machine, or their
    /// number is unknown.
    pub(crate) fn gains_from(&self, problem: &Problem<'_>, [rows, columns]: [u32; 2], split_k: u32) -> bool {
        let few = |tiles: u64| Products::are_few(tiles, split_k, problem.machine.multiprocessors.into());
        split_k == 1 || self.tiles_of(problem.specialisation, rows, columns).is_none_or(few)
    }

    /// `true` if so many tiles do not fill the multiprocessors, and `split_k` blocks for each of them are not too many.
    pub(crate) fn are_few(tiles: u64, split_k: u32, multiprocessors: u64) -> bool {
        tiles < multiprocessors && tiles * u64::from(split_k) <= 4 * multiprocessors
    }

    /// Tiles of so many rows and columns, where that is known.
    fn tiles_of(&self, specialisation: &Specialisation, rows: u32, columns: u32) -> Option<u64> {
        let volume = |positions: &[usize]| {
            let extents: Vec<SizeId> = positions.iter().map(|&position| self.dims[position]).collect();
            self.volume_of(specialisation, &extents)
        };
        let (rows, columns) = (
            volume(&self.rows)?.div_ceil(rows.into()),
            volume(&self.columns)?.div_ceil(columns.into()),
        );
        volume(&self.batch)?.checked_mul(rows)?.checked_mul(columns)
    }

    /// `true` if later rows or columns have more terms.
    pub(crate) fn grow(&self) -> bool {
        self.bounds.iter().any(TermBound::grows)
    }

    /// Rows, columns, batch and terms at these sizes.
    pub(crate) fn extents(&self, sizes: &[u64]) -> [u64; 4] {
        let volume = |extents: &mut dyn Iterator<Item = SizeId>| {
            extents.map(|size| sizes[size.index()]).fold(1, u64::saturating_mul)
        };
        let of = |positions: &[usize]| volume(&mut positions.iter().map(|&position| self.dims[position]));
        let [rows, columns, batch] = [of(&self.rows), of(&self.columns), of(&self.batch)];
        [rows, columns, batch, volume(&mut self.terms.iter().copied())]
    }

    /// The product of sizes, where all are compiled in.
    pub(super) fn volume_of(&self, specialisation: &Specialisation, sizes: &[SizeId]) -> Option<u64> {
        let mut fixed = sizes.iter().map(|size| specialisation.extents[size.index()].fixed());
        fixed.try_fold(1u64, |volume, extent| volume.checked_mul(extent?))
    }
}

/// Bytes of a value of a type in registers.
const fn computed_bytes(ty: Type) -> u32 {
    match ty {
        Type::F64 | Type::I64 => 8,
        _ => 4,
    }
}

/// The sums of the problem's operator. None if it consists of anything but those and pointwise work on them.
pub(crate) fn products(problem: &Problem<'_>) -> Arc<Option<Products>> {
    problem.shape(|problem| find(problem.checked))
}

/// For each input that is not contiguous along a term of which all factors have a dimension, that dimension; in the order of inputs. None if the operator is no
/// sum of products, or if there is no such term.
pub(crate) fn moved_dimensions(checked: &Checked) -> Option<Vec<(InputId, usize)>> {
    let products = find(checked)?;
    let factors = || products.sides.iter().flat_map(|side| &side.factors);
    let mut terms = products.depth.iter().rev();
    terms.find_map(|axes| {
        let mut along: Vec<(InputId, usize)> = Vec::new();
        for &factor in factors() {
            let (input, dimension) = dimension_along(checked, factor, axes)?;
            match along.iter().find(|(known, _)| *known == input) {
                Some(&(_, known)) if known != dimension => return None,
                Some(_) => {}
                None => along.push((input, dimension)),
            }
        }
        let rank = |input: InputId| checked.op().inputs[input.index()].dims.as_ref().map_or(0, Vec::len);
        along.retain(|&(input, dimension)| dimension + 1 < rank(input));
        along.sort_unstable();
        Some(along)
    })
}

/// The input that a factor reads, and the dimension that one of these axes alone indexes. None if it reads otherwise.
fn dimension_along(checked: &Checked, factor: ExprId, axes: &[AxisId]) -> Option<(InputId, usize)> {
    let op = checked.op();
    match op.expr(factor) {
        Expr::Cast(inner, _) => dimension_along(checked, *inner, axes),
        Expr::Read {
            source: Source::Input(input),
            index,
            ..
        } => {
            let along = |&at: &ExprId| axes.iter().any(|&axis| checked.axes(at).contains(axis));
            let dimension = index.iter().position(along)?;
            let alone = matches!(op.expr(index[dimension]), Expr::Axis(_));
            let once = index.iter().filter(|at| along(at)).count() == 1;
            (alone && once).then_some((*input, dimension))
        }
        _ => None,
    }
}

fn find(checked: &Checked) -> Option<Products> {
    let op = checked.op();
    let dims = &op.outputs.first()?.dims;
    if op.outputs.iter().any(|output| output.dims != *dims) {
        return None;
    }
    let formulas = Formulas::anywhere(checked, dims.len())?;
    let inner = inner_sums(&formulas)?;
    let outer = match inner {
        Some(_) => formulas.reductions.first()?.extents.clone(),
        None => Vec::new(),
    };
    let sums = inner.as_deref().unwrap_or(&formulas.reductions);
    let terms = [outer.clone(), sums.first()?.extents.clone()].concat();
    let mut search = Search::new(op, &formulas, dims.len(), terms.len())?;
    let fold = match inner {
        Some(_) => Some(search.fold(&outer, sums)?),
        None => None,
    };
    let operands = search.all_sums(sums, &terms[outer.len()..], dims.len())?;
    if !search.covers_all_reductions(op, fold.as_ref()) {
        return None;
    }
    let compared = search.is_compared(checked);
    if compared && fold.is_some() {
        return None;
    }
    // An index that was read is reported where it is wrong, and only where it is wanted.
    if compared && search.exprs().any(|sum| gathers(checked, sum)) {
        return None;
    }
    let positions = Positions::of(&operands, dims.len())?;
    let bounds = match terms.len() {
        1 => term_bounds(&formulas, &mut search.roles, [&positions.rows, &positions.columns]),
        _ => Vec::new(),
    };
    let fastest = search.fastest_term(&positions, outer.len());
    let (sums, sides) = search.ordered(checked, &positions, fastest);
    let mut terms = terms;
    if let Some(fastest) = fastest {
        terms[fastest..].rotate_left(1);
        search.roles.depth[fastest..].rotate_left(1);
    }
    Some(Products {
        sums,
        sides,
        ty: operands.ty,
        dims: dims.clone(),
        axes: search.roles.outputs,
        batch: positions.batch,
        rows: positions.rows,
        columns: positions.columns,
        terms,
        depth: search.roles.depth,
        bounds,
        compared,
        fold,
    })
}

/// The sums of which the operator's reductions are sums. `Some(None)` if there are no reductions inside of others, None if some are of no use.
fn inner_sums(formulas: &Formulas<'_>) -> Option<Option<Vec<RowReduction>>> {
    let op = formulas.checked.op();
    let reduction = |node: NodeId| match *formulas.node(node) {
        Node::Opaque(expr, ref operands) => match op.expr(expr) {
            Expr::Reduce { op, axes, .. } => Some((*op, axes.clone(), *operands.first()?)),
            _ => None,
        },
        _ => None,
    };
    let mut inner: Vec<RowReduction> = Vec::new();
    for outer in &formulas.reductions {
        for node in formulas.parts(outer.body) {
            let Some((op, axes, body)) = reduction(node) else {
                continue;
            };
            let is_deeper = formulas.parts(body).into_iter().any(|part| reduction(part).is_some());
            if is_deeper || formulas.facts(body).reductions != 0 {
                return None;
            }
            if inner.iter().all(|known| known.node != node) {
                let extents = axes.iter().map(|&axis| formulas.checked.extent(axis)).collect();
                inner.push(RowReduction {
                    op,
                    extents,
                    body,
                    node,
                });
            }
        }
    }
    Some((!inner.is_empty()).then_some(inner))
}

/// What all sums have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Operands {
    /// The type of the sums.
    ty: Type,
    /// Sets of output positions that the left and the right operands depend on.
    left: u64,
    right: u64,
}

/// The roles of output positions.
struct Positions {
    batch: Vec<usize>,
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl Positions {
    /// Those of one kind of sides.
    fn own(&self, of_rows: bool) -> &[usize] {
        if of_rows { &self.rows } else { &self.columns }
    }

    /// None if some position has no role, or if there are no rows or no columns.
    fn of(operands: &Operands, rank: usize) -> Option<Positions> {
        let in_set = |set: u64| -> Vec<usize> { (0..rank).filter(|&position| set >> position & 1 != 0).collect() };
        let Operands { left, right, .. } = *operands;
        let (batch, rows, columns) = (in_set(left & right), in_set(left & !right), in_set(right & !left));
        let all = batch.len() + rows.len() + columns.len() == rank;
        (all && !rows.is_empty() && !columns.is_empty()).then_some(Positions { batch, rows, columns })
    }
}

struct Search<'a> {
    formulas: &'a Formulas<'a>,
    roles: Roles,
    sides: Vec<FoundSide>,
    /// The operands are numbers among `sides`.
    sums: Vec<Sum>,
}

/// A side that was found.
#[derive(Clone, PartialEq)]
struct FoundSide {
    of_rows: bool,
    ty: Type,
    factors: Vec<ExprId>,
}

impl<'a> Search<'a> {
    /// A search that knows the axes of the outputs. None if an axis stands for two positions.
    fn new(op: &Op, formulas: &'a Formulas<'a>, rank: usize, terms: usize) -> Option<Search<'a>> {
        let mut search = Search {
            formulas,
            roles: Roles::new(rank, terms),
            sides: Vec::new(),
            sums: Vec::new(),
        };
        for output in &op.outputs {
            for (position, &axis) in output.axes.iter().enumerate() {
                search.roles.stands_for(axis, Symbol::Output(position))?;
            }
        }
        Some(search)
    }

    /// Takes the operator's reductions, over `outer`, as sums of the inner ones. None if one of them is anything else.
    fn fold(&mut self, outer: &[SizeId], inner: &[RowReduction]) -> Option<Fold> {
        let formulas = self.formulas;
        let checked = formulas.checked;
        let ty = formulas.ty(formulas.reductions.first()?.node);
        let mut sums = Vec::new();
        for sum in &formulas.reductions {
            let same = sum.op == ReduceOp::Sum && sum.extents == outer && formulas.ty(sum.node) == ty;
            if !same || formulas.is_index(sum.node) {
                return None;
            }
            let exprs = self.places(sum.node)?;
            let mut bodies = Vec::new();
            for &expr in &exprs {
                let Expr::Reduce { axes, body, .. } = checked.op().expr(expr) else {
                    return None;
                };
                for (position, &axis) in axes.iter().enumerate() {
                    self.roles.stands_for(axis, Symbol::Lane(position))?;
                }
                bodies.push(*body);
            }
            let body = *bodies.first()?;
            sums.push(OuterSum { exprs, body });
        }
        for sum in inner {
            let Node::Opaque(expr, _) = *formulas.node(sum.node) else {
                return None;
            };
            let Expr::Reduce { axes, .. } = checked.op().expr(expr) else {
                return None;
            };
            if formulas.places(sum.node).is_empty() {
                return None;
            }
            for (position, &axis) in axes.iter().enumerate() {
                self.roles.stands_for(axis, Symbol::Lane(outer.len() + position))?;
            }
        }
        // Both are computed for all outputs.
        let mut exprs = sums.iter().flat_map(|sum| &sum.exprs);
        exprs.all(|&expr| checked.unconditional(expr)).then_some(Fold {
            sums,
            ty,
            outer: outer.len(),
        })
    }

    /// Notes all of these reductions as sums over these terms. None if one of them is anything else, or if their operands depend on different
    /// output positions.
    fn all_sums(&mut self, sums: &[RowReduction], terms: &[SizeId], rank: usize) -> Option<Operands> {
        let formulas = self.formulas;
        // The last dimension is one of the columns.
        let last = 1 << rank.checked_sub(1)?;
        let is_inner = terms.len() < self.roles.depth.len();
        let mut common: Option<Operands> = None;
        for reduction in sums {
            // A sum of index values is none of tensors.
            if reduction.op != ReduceOp::Sum || formulas.is_index(reduction.node) || reduction.extents != terms {
                return None;
            }
            let mut factors = Vec::new();
            flatten(formulas, reduction.body, formulas.ty(reduction.node), &mut factors);
            let own = match self.halves(&factors, last) {
                Some(halves) => self.product(reduction, halves)?,
                None if is_inner => return None,
                None => self.pointwise(reduction, last)?,
            };
            if *common.get_or_insert(own) != own {
                return None;
            }
        }
        common
    }

    /// Notes a sum of products of these halves.
    fn product(&mut self, reduction: &RowReduction, [left, right]: [Vec<NodeId>; 2]) -> Option<Operands> {
        let formulas = self.formulas;
        let ty = formulas.ty(reduction.node);
        let outputs = |factors: &[NodeId]| {
            let sets = factors.iter().map(|&factor| formulas.facts(factor).outputs);
            sets.fold(0, |all, set| all | set)
        };
        let own = Operands {
            ty,
            left: outputs(&left),
            right: outputs(&right),
        };
        let exprs = self.places(reduction.node)?;
        let left = self.factors(left)?;
        let left = self.side(true, ty, left);
        let right = self.factors(right)?;
        let right = self.side(false, ty, right);
        self.sums.push(Sum {
            exprs,
            operands: vec![left, right],
            body: None,
            instructions: 1,
        });
        Some(own)
    }

    /// Notes a sum of other pointwise work on two sides.
    fn pointwise(&mut self, reduction: &RowReduction, last: u64) -> Option<Operands> {
        let checked = self.formulas.checked;
        let ty = self.formulas.ty(reduction.node);
        let exprs = self.places(reduction.node)?;
        let Expr::Reduce { axes, body, .. } = checked.op().expr(*exprs.first()?) else {
            return None;
        };
        for (position, &axis) in axes.iter().enumerate() {
            self.roles.stands_for(axis, Symbol::Lane(position))?;
        }
        let term = Pointwise::of(checked, &mut self.roles, *body, last)?;
        let operands = term.operands.iter().map(|&(of_rows, operand)| {
            let ty = type_in_slab(checked, operand, computed_bytes(ty))?;
            Some(self.side(of_rows, ty, vec![operand]))
        });
        let operands = operands.collect::<Option<_>>()?;
        self.sums.push(Sum {
            exprs,
            operands,
            body: Some(*body),
            instructions: term.instructions,
        });
        Some(Operands {
            ty,
            left: term.rows,
            right: term.columns,
        })
    }

    /// The expressions of all sums.
    fn exprs(&self) -> impl Iterator<Item = ExprId> {
        self.sums.iter().flat_map(|sum| sum.exprs.iter().copied())
    }

    /// `true` if every reduction of the operator is one of the sums. Any other would be computed for every output by itself.
    fn covers_all_reductions(&self, op: &Op, fold: Option<&Fold>) -> bool {
        let reduces = |(_, expr): &(usize, &Expr)| matches!(expr, Expr::Reduce { .. });
        let mut reductions = op.exprs.iter().enumerate().filter(reduces);
        let outer = || {
            fold.into_iter()
                .flat_map(|fold| &fold.sums)
                .flat_map(|sum| sum.exprs.iter().copied())
        };
        reductions.all(|(position, _)| self.exprs().chain(outer()).any(|expr| expr.index() == position))
    }

    /// `true` if only a condition keeps a read in some sum in range. Operands of pointwise work are computed whatever conditions it has.
    fn is_compared(&self, checked: &Checked) -> bool {
        let conditional = conditional(checked);
        let pointwise = self.sums.iter().filter(|sum| sum.body.is_some());
        let operands = pointwise.flat_map(|sum| sum.operands.iter().flat_map(|&side| &self.sides[side].factors));
        self.exprs()
            .chain(operands.copied())
            .any(|expr| conditional[expr.index()] && !checked.unconditional(expr))
    }

    /// The position among the terms, from `first` on, along which most sides are contiguous; of equals the last.
    fn fastest_term(&self, positions: &Positions, first: usize) -> Option<usize> {
        let contiguous = |term: usize| {
            let sides = self.sides.iter().filter(|side| {
                let layout = self.layout(&side.factors, positions.own(side.of_rows), Some(term));
                layout.along_depth && layout.contiguous
            });
            sides.count()
        };
        (first..self.roles.depth.len()).max_by_key(|&term| contiguous(term))
    }

    /// The sums and their sides, those with the rows first.
    fn ordered(&self, checked: &Checked, positions: &Positions, fastest: Option<usize>) -> (Vec<Sum>, Vec<Side>) {
        let of_rows = self.sides.iter().filter(|side| side.of_rows).count();
        let number = |side: usize| {
            let kind = self.sides[side].of_rows;
            let before = self.sides[..side].iter().filter(|other| other.of_rows == kind).count();
            if kind { before } else { of_rows + before }
        };
        let sums = self.sums.iter().map(|sum| Sum {
            operands: sum.operands.iter().map(|&side| number(side)).collect(),
            ..sum.clone()
        });
        let mut sides = Vec::with_capacity(self.sides.len());
        for kind in [true, false] {
            for side in self.sides.iter().filter(|side| side.of_rows == kind) {
                let layout = self.layout(&side.factors, positions.own(kind), fastest);
                sides.push(Side {
                    reads: reads(checked, &side.factors).max(1),
                    factors: side.factors.clone(),
                    ty: side.ty,
                    of_rows: kind,
                    along_depth: layout.along_depth,
                    contiguous: layout.contiguous,
                    alone: layout.alone,
                    offsets: layout.offsets,
                });
            }
        }
        (sums.collect(), sides)
    }

    /// All places of a node.
    fn places(&mut self, node: NodeId) -> Option<Vec<ExprId>> {
        let places = self.formulas.places(node);
        for &(axis, symbol) in places.iter().flat_map(|place| &place.axes) {
            self.roles.stands_for(axis, symbol)?;
        }
        Some(places.iter().map(|place| place.expr).collect())
    }

    /// The expressions of factors. None if one of their axes has another role.
    fn factors(&mut self, factors: Vec<NodeId>) -> Option<Vec<ExprId>> {
        let mut exprs = Vec::with_capacity(factors.len());
        for factor in factors {
            let place: &Place = self.formulas.places(factor).first()?;
            for &(axis, symbol) in &place.axes {
                self.roles.stands_for(axis, symbol)?;
            }
            exprs.push(place.expr);
        }
        Some(exprs)
    }

    /// The number of a side with these factors.
    fn side(&mut self, of_rows: bool, ty: Type, factors: Vec<ExprId>) -> usize {
        let side = FoundSide { of_rows, ty, factors };
        let known = self.sides.iter().position(|other| *other == side);
        known.unwrap_or_else(|| {
            self.sides.push(side);
            self.sides.len() - 1
        })
    }

    /// Divides factors among rows and columns. Columns' are those with the last dimension; rows' what has dimensions that those
    /// have not, and what has none beside; a factor of dimensions of the columns alone is one of theirs.
    fn halves(&self, factors: &[NodeId], last: u64) -> Option<[Vec<NodeId>; 2]> {
        let of = |factor: NodeId| self.formulas.facts(factor).outputs;
        let all = |among: &mut dyn Iterator<Item = NodeId>| among.fold(0, |all, factor| all | of(factor));
        let in_columns = all(&mut factors.iter().copied().filter(|&factor| of(factor) & last != 0));
        let in_rows = all(&mut factors.iter().copied().filter(|&factor| of(factor) & !in_columns != 0));
        let sums = factors
            .iter()
            .any(|&factor| self.formulas.facts(factor).reductions != 0);
        if in_columns == 0 || in_rows == 0 || in_rows & last != 0 || sums {
            return None;
        }
        let (left, right) = factors.iter().copied().partition(|&factor| of(factor) & !in_rows == 0);
        Some([left, right])
    }

    /// The layout of the first tensor that is read, if that term is the sum's fastest.
    fn layout(&self, factors: &[ExprId], own: &[usize], fastest: Option<usize>) -> Layout {
        let checked = self.formulas.checked;
        let op = checked.op();
        let mut next: Vec<ExprId> = factors.iter().rev().copied().collect();
        while let Some(expr) = next.pop() {
            if let Expr::Read {
                source: Source::Input(_),
                index,
                ..
            } = op.expr(expr)
                && let Some(&last) = index.last()
            {
                let axes = checked.axes(last);
                let symbols = || axes.iter().filter_map(|axis| Some((axis, self.roles.symbol(axis)?)));
                let of_own = symbols().any(|(_, symbol)| matches!(symbol, Symbol::Output(at) if own.contains(&at)));
                let along_depth = !of_own && symbols().any(|(_, symbol)| matches!(symbol, Symbol::Lane(_)));
                let fastest = match along_depth {
                    true => Symbol::Lane(fastest.unwrap_or(0)),
                    false => Symbol::Output(own.last().copied().unwrap_or(0)),
                };
                let contiguous = symbols()
                    .filter(|&(_, symbol)| symbol == fastest)
                    .any(|(axis, _)| coefficient(checked, last, axis) == Some(1));
                return Layout {
                    along_depth,
                    contiguous,
                    alone: contiguous && matches!(op.expr(last), Expr::Axis(_)),
                    offsets: Offset::all(op, last),
                };
            }
            op.operands(expr, |operand| next.push(operand));
        }
        Layout::default()
    }
}

/// See [`Side`].
#[derive(Default)]
struct Layout {
    along_depth: bool,
    contiguous: bool,
    alone: bool,
    offsets: Vec<Offset>,
}

/// The factors of a product computed in one type.
fn flatten(formulas: &Formulas<'_>, node: NodeId, ty: Type, factors: &mut Vec<NodeId>) {
    match *formulas.node(node) {
        Node::Binary(BinaryOp::Mul, a, b) if formulas.ty(node) == ty && factors.len() < 8 => {
            flatten(formulas, a, ty, factors);
            flatten(formulas, b, ty, factors);
        }
        _ => factors.push(node),
    }
}

/// The coefficient of an axis in an index, where it is a plain number.
pub(crate) fn coefficient(checked: &Checked, index: ExprId, axis: AxisId) -> Option<i64> {
    if !checked.axes(index).contains(axis) {
        return Some(0);
    }
    let of = |expr| coefficient(checked, expr, axis);
    let literal = |expr: ExprId| match checked.op().expr(expr) {
        Expr::Literal(Literal::Int(value)) => Some(*value),
        _ => None,
    };
    match checked.op().expr(index) {
        Expr::Axis(_) => Some(1),
        Expr::Unary(UnaryOp::Neg, a) => of(*a)?.checked_neg(),
        Expr::Binary(BinaryOp::Add, a, b) => of(*a)?.checked_add(of(*b)?),
        Expr::Binary(BinaryOp::Sub, a, b) => of(*a)?.checked_sub(of(*b)?),
        Expr::Binary(BinaryOp::Mul, a, b) => match (literal(*a), literal(*b)) {
            (Some(factor), _) => of(*b)?.checked_mul(factor),
            (_, Some(factor)) => of(*a)?.checked_mul(factor),
            _ => None,
        },
        _ => None,
    }
}

/// `true` if an index in an expression, or in the intermediate tensors it reads, is read from a tensor.
fn gathers(checked: &Checked, expr: ExprId) -> bool {
    let op = checked.op();
    let own = match op.expr(expr) {
        Expr::Read { source, index, .. } => {
            let of_let = match *source {
                Source::Let(inner) => gathers(checked, op.lets[inner.index()].body),
                Source::Input(_) => false,
            };
            of_let || (0..index.len()).any(|dimension| checked.gathered(expr, dimension))
        }
        _ => false,
    };
    let mut inside = false;
    op.operands(expr, |operand| inside = inside || gathers(checked, operand));
    own || inside
}

/// Reads among expressions and what they are made of.
fn reads(checked: &Checked, exprs: &[ExprId]) -> u32 {
    let op = checked.op();
    let mut wanted = vec![false; op.exprs.len()];
    exprs.iter().for_each(|expr| wanted[expr.index()] = true);
    let mut reads = 0;
    // Operands stand before what uses them.
    for position in (0..op.exprs.len()).rev() {
        if wanted[position] {
            reads += u32::from(matches!(op.exprs[position], Expr::Read { .. }));
            op.operands(ExprId(position as u32), |operand| wanted[operand.index()] = true);
        }
    }
    reads
}
