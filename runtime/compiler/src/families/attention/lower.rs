//! `attention` as a composition: slabs of queries, keys and values, two products on tensor cores, and between them the weighting.
//!
//! ```text
//! keys arrive ─▶ scores = Q·Kᵀ ─▶ weights, packed ─▶ sums = sums·rescaling + P·V
//!              values arrive ─────────────────────▶
//!                        the next keys arrive ─────▶
//! ```
//!
//! Sums are rescaled by a softmax only.
//!
//! The registers that hold scores of two times 8 keys are, rounded and packed, the left fragment of the second product.

use super::keys::Keys;
use super::mask::MaskBound;
use super::merge::{self, Own};
use super::packing::{packed, unpacked};
use super::rows::{Row, Rows, volumes};
use super::scores::{Accumulator, Known, Scores, product};
use super::shape::{Carried, shape};
use super::slices::Slices;
use super::space::{Attention, Heads, minimum_blocks};
use super::span::Span;
use super::state::State;
use super::tile::{Lane, Side, Tile, Warp};
use crate::element::Type;
use crate::families::bound::{End, Slope};
use crate::families::formula::Place;
use crate::ir::{AxisId, ExprId};
use crate::lower::Error;
use crate::lower::expression::{Binding, InSequence, Lanes, Lowering, Reduce};
use crate::lower::grid::Grid;
use crate::lower::index::Linear;
use crate::lower::tile::split_k::Part;
use crate::lower::value::Value;
use crate::problem::Problem;
use crate::ptx::{Cache, Class, Compare, Few, Guard, Opcode, Operand, Reg, Turns};
use crate::size::SizeExpr;

pub(super) fn lower<'a>(problem: &Problem<'a>, name: &str, point: &Attention) -> Result<(Lowering<'a>, Grid), Error> {
    let found = shape(problem);
    let shape = found.as_ref().as_ref().ok_or(Error::Unbound)?;
    let heads = Heads::of(problem, shape).ok_or(Error::Unbound)?;
    let mut lowering = Lowering::new(problem, name, point.threads());
    lowering.b.set_minimum_blocks(minimum_blocks(problem, point, heads));

    let dims = &problem.op().outputs[0].dims;
    let [batches, rows] = volumes(shape, dims, problem.specialisation);
    let tiles = rows.div_ceil(point.rows.into());
    let block = lowering.block();
    let part = Part::new(&mut lowering, block, point.split_k, point.threads());
    let counted = Rows::of_batch(&mut lowering, shape, &Linear::constant(0)).total;
    let in_batch = lowering.divided_up(&counted, point.rows);
    let (batch, mut number) = lowering.math.divide(&mut lowering.b, &part.tile, &in_batch);
    // The longest blocks come first if later rows see more keys, so that short ones fill the last wave.
    let grows = |bound: &MaskBound| matches!(bound.bound.end, End::Last(_)) && bound.slope == Slope::Rising;
    if shape.mask.bounds.iter().any(grows) {
        number = in_batch.plus(&number.times(-1)).plus_constant(-1);
    }
    let rows = Rows::of_batch(&mut lowering, shape, &batch);
    let tile = Tile {
        shape,
        point: *point,
        heads,
        rows,
        first_row: number.times(point.rows.into()),
        slabs: point.slabs(heads),
    };

    let mut kernel = Kernel::new(&mut lowering, &tile)?;
    kernel.walk(&mut lowering, &part)?;
    let rows = kernel.own();
    merge::join(&mut lowering, &part, point.split_k, &rows, |lowering| {
        kernel.store(lowering)
    })?;
    let blocks = batches.times(tiles).times(SizeExpr::Const(point.split_k.into()));
    let shared = point.shared_bytes(heads);
    Ok((lowering, Grid::of(blocks, point.threads(), shared)))
}

/// A warp's scores, and the state and sums of its rows.
struct Kernel<'t, 's> {
    tile: &'t Tile<'s>,
    scores: Scores<'t, 's>,
    states: Vec<State>,
    /// The sums of each 16 rows of the warp, for each 8 columns.
    sums: Vec<Vec<Accumulator>>,
}

impl<'t, 's> Kernel<'t, 's> {
    fn new(lowering: &mut Lowering<'_>, tile: &'t Tile<'s>) -> Result<Kernel<'t, 's>, Error> {
        let b = &mut lowering.b;
        let tid = b.op(Opcode::TidX, &[]);
        let number = b.op(Opcode::AndB32, &[tid.into(), 31.into()]);
        let place = b.op(Opcode::AndB32, &[number.into(), 3.into()]);
        let lane = Lane { number, place };
        let warp = Warp::of_thread(lowering, tile.point.warps, tile.heads.slices);
        let scores = Scores::new(lowering, tile, lane, warp)?;
        let states = (scores.own_rows.iter())
            .map(|_| State::new(lowering, tile.shape))
            .collect();
        let mut fresh = || std::array::from_fn(|_| lowering.b.mutable(Class::F32, 0f32.into()));
        let sums = (0..tile.warp_rows() / 16)
            .map(|_| (0..tile.heads.slice_columns() / 8).map(|_| fresh()).collect())
            .collect();
        Ok(Kernel {
            tile,
            scores,
            states,
            sums,
        })
    }

    /// The registers of the lane's sums of a row, by its number.
    fn sums_of(&self, own: usize) -> impl Iterator<Item = &[Reg]> {
        let half = own % self.scores.halves;
        self.sums[own / self.scores.halves]
            .iter()
            .map(move |sum| &sum[2 * half..][..2])
    }

    fn own(&self) -> Vec<Own> {
        let states = self.states.iter().enumerate();
        states
            .map(|(own, &state)| Own {
                state,
                sums: self.sums_of(own).flatten().copied().collect(),
            })
            .collect()
    }

    /// Takes in the block's part of the keys.
    fn walk(&mut self, lowering: &mut Lowering<'_>, part: &Part) -> Result<(), Error> {
        let tile = self.tile;
        let step = i64::from(tile.point.keys);
        tile.fill_queries(lowering)?;
        let span = Span::of(lowering, tile, &tile.shape.mask.bounds)?;
        // The loop counts from the first key, or from that of a part, whose length is bounded at any sizes.
        let (keys, turns) = match tile.point.split_k {
            1 => (span.visited.clone(), span.visited.clone()),
            _ => {
                let (keys, end) = self.part_of(lowering, &span.visited, part);
                let first = Linear::constant(0);
                (keys, Keys { first, end })
            }
        };
        tile.fill(lowering, Side::Keys, &keys)?;
        lowering.b.converge(Opcode::CopyCommit, &[]);
        self.scores.hold_queries(lowering);

        let start = lowering.math.operand(&mut lowering.b, &turns.first);
        let end = lowering.math.operand(&mut lowering.b, &turns.end);
        let entered = matches!((start, end), (Operand::Int(start), Operand::Int(end)) if start < end);
        let counted = Turns::new(start, end, step).entered(entered).rolled();
        let counter = lowering.b.begin_loop(Class::B32, counted);
        lowering.note_multiple(counter, 16);
        let key = match tile.point.split_k {
            1 => Linear::register(counter),
            _ => keys.first.plus(&Linear::register(counter)),
        };
        let now = Keys {
            first: key.clone(),
            end: keys.end.clone(),
        };
        let next = Keys {
            first: key.plus_constant(step),
            ..now.clone()
        };

        lowering.b.converge(Opcode::CopyWait0, &[]);
        // The keys are there, and nobody reads the last values any more.
        lowering.b.barrier();
        tile.fill(lowering, Side::Values, &now)?;
        lowering.b.converge(Opcode::CopyCommit, &[]);
        self.scores.begin_loads(lowering, &key)?;
        let products = self.scores.products(lowering, tile.slabs[1]);
        let slices = Slices::of(tile, &self.scores.warp, self.scores.lane);
        slices.leave(lowering, &products);
        // Nobody reads the keys any more, and all slices of the products are there.
        lowering.b.barrier();
        tile.fill(lowering, Side::Keys, &next)?;
        lowering.b.converge(Opcode::CopyCommit, &[]);
        let products = slices.join(lowering, products);
        let scores = self.scores.of_tile(lowering, products, &key, &span)?;
        let weights = self.weights(lowering, &scores);
        lowering.b.converge(Opcode::CopyWait1, &[]);
        lowering.b.barrier();
        self.add_values(lowering, &weights);
        lowering.b.end();
        lowering.b.converge(Opcode::CopyWait0, &[]);
        Ok(())
    }

    /// The keys of a part, and how many there are of them: as many whole tiles as of any other part, but for the last ones.
    fn part_of(&self, lowering: &mut Lowering<'_>, all: &Keys, part: &Part) -> (Keys, Linear) {
        let first = lowering.math.register(&mut lowering.b, &all.first);
        let end = lowering.math.operand(&mut lowering.b, &all.end);
        // An end that lies before the first key leaves nothing to any part.
        let end = Linear::register(lowering.b.op(Opcode::MaxS32, &[first.into(), end]));
        let keys = end.plus(&Linear::register(first).times(-1));
        let tiles = lowering.divided_up(&keys, self.tile.point.keys);
        let tiles = lowering.divided_up(&tiles, self.tile.point.split_k);
        let most = tiles.times(self.tile.point.keys.into());
        let begin = lowering.math.product(&mut lowering.b, &part.number, &most);
        let begin = begin.plus(&Linear::register(first));
        let begin = lowering.math.register(&mut lowering.b, &begin);
        lowering.note_multiple(begin, self.tile.point.keys);
        let begin = Linear::register(begin);
        let left = lowering.math.operand(&mut lowering.b, &end.plus(&begin.times(-1)));
        let most = lowering.math.register(&mut lowering.b, &most);
        let own = lowering.b.op(Opcode::MinS32, &[most.into(), left]);
        let end = begin.plus(&Linear::register(own));
        (Keys { first: begin, end }, Linear::register(own))
    }

    /// The packed weights of scores: of each 16 rows, for each 16 keys a left fragment. What was summed before is rescaled.
    fn weights(&self, lowering: &mut Lowering<'_>, scores: &[Vec<Accumulator>]) -> Vec<Vec<Few<Reg>>> {
        let shape = self.tile.shape;
        let multiplicand = shape.multiplicands[1];
        let halves = self.scores.halves;
        let none = lowering.b.constant(Class::B32, 0.into());
        let mut fragments = Vec::with_capacity(scores.len());
        for (number, scores) in scores.iter().enumerate() {
            let mut packs: Vec<Vec<Reg>> = Vec::with_capacity(2);
            for half in 0..halves {
                let own = number * halves + half;
                let state = self.states[own];
                let b = &mut lowering.b;
                let scores = scores.iter().flat_map(|product| &product[2 * half..][..2]);
                let found = state.take_in(b, scores.copied().collect(), self.scores.factor_of(own));
                if let Some(rescaling) = found.rescaling {
                    for &sum in self.sums_of(own).flatten() {
                        b.assign(Opcode::MulF32, sum, &[sum.into(), rescaling.into()]);
                    }
                }
                let pairs = found.weights.chunks_exact(2);
                let pairs: Vec<Reg> = pairs.map(|pair| packed(b, multiplicand, pair[0], pair[1])).collect();
                if shape.rounded_mass {
                    let rounded: Vec<Reg> = pairs.iter().flat_map(|&pair| unpacked(b, multiplicand, pair)).collect();
                    state.add(b, &rounded);
                } else if !shape.masses.is_empty() {
                    state.add(b, &found.weights);
                }
                packs.push(pairs);
            }
            let pack = |half: usize, at: usize| packs.get(half).map_or(none, |pairs| pairs[at]);
            let steps = 0..self.tile.point.keys as usize / 16;
            let fragment = |step: usize| (0..4).map(|at| pack(at % 2, 2 * step + at / 2)).collect();
            fragments.push(steps.map(fragment).collect());
        }
        fragments
    }

    /// Adds the products of weights and the values in shared memory.
    fn add_values(&self, lowering: &mut Lowering<'_>, weights: &[Vec<Few<Reg>>]) {
        let [.., slab] = self.tile.slabs;
        let (line, chunk) = self.scores.lane.halves(lowering);
        let columns = self.tile.heads.slice_columns();
        let chunk = chunk.plus(&self.scores.warp.slice.times(i64::from(2 * columns)));
        for step in 0..self.tile.point.keys / 16 {
            for pair in 0..columns / 16 {
                let line = line.plus_constant(i64::from(16 * step));
                let byte = chunk.plus_constant(i64::from(32 * pair));
                let at = slab.address(lowering, &line, &byte);
                let values = lowering.b.load_matrices(true, at);
                for (weights, sums) in weights.iter().zip(&self.sums) {
                    for half in 0..2 {
                        let sum = &sums[(2 * pair) as usize + half];
                        let weights = &weights[step as usize];
                        let values = &values[2 * half..][..2];
                        let (opcode, sources) = product(self.tile.shape.multiplicands[1], weights, values, sum);
                        lowering.b.assign_all(opcode, sum, &sources);
                    }
                }
            }
        }
    }

    /// The products of the warp's queries and a state: of each 16 rows, for each 8 columns.
    fn carried(&self, lowering: &mut Lowering<'_>, state: &Place) -> Result<Vec<Vec<Accumulator>>, Error> {
        // Nobody reads the last values any more.
        lowering.b.barrier();
        self.tile.fill_state(lowering, state)?;
        lowering.b.converge(Opcode::CopyCommit, &[]);
        lowering.b.converge(Opcode::CopyWait0, &[]);
        lowering.b.barrier();
        let slab = self.tile.point.state_slab(self.tile.heads);
        Ok(self.scores.products(lowering, slab))
    }

    /// The first of the lane's two columns among the warp's 8 with that number.
    fn column(&self, number: usize) -> Linear {
        let first = self.scores.warp.slice.times(self.tile.heads.slice_columns().into());
        let own = Linear::register(self.scores.lane.place).times(2).plus(&first);
        own.plus_constant(8 * number as i64)
    }

    /// The lanes of those two columns.
    fn columns(&self) -> Lanes {
        Lanes {
            register: self.scores.lane.place,
            width: 2,
        }
    }

    /// Begins the loads of what the results of a row need besides.
    fn begin_loads(&self, lowering: &mut Lowering<'_>, row: Option<&Row>) -> Result<(), Error> {
        let shape = self.tile.shape;
        let Some(row) = row.filter(|_| !shape.loads.is_empty()) else {
            return Ok(());
        };
        lowering.lanes = Some(self.columns());
        for number in 0..self.tile.heads.slice_columns() as usize / 8 {
            for lane in 0..2 {
                let mut at = row.at.clone();
                at.outputs[shape.column] = self.column(number).plus_constant(lane);
                for load in &shape.loads {
                    at.bind(lowering, load)?;
                    lowering.touch(load.expr, &mut InSequence)?;
                }
            }
        }
        lowering.lanes = None;
        Ok(())
    }

    /// Computes and stores the outputs of the warp's rows.
    fn store(&self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let shape = self.tile.shape;
        let rows = &self.scores.own_rows;
        self.begin_loads(lowering, rows.first())?;
        let carried = match &shape.carried {
            Some(Carried { state, results }) => Some((self.carried(lowering, state)?, results)),
            None => None,
        };
        let outputs = &lowering.op().outputs;
        let vector = if lowering.specialisation.aligned { 2 } else { 1 };
        let slice = &self.scores.warp.slice;
        for (own, (row, state)) in rows.iter().zip(&self.states).enumerate() {
            self.begin_loads(lowering, rows.get(own + 1))?;
            let settled = state.settled(&mut lowering.b);
            let guard = row.exists.map(|predicate| Guard { predicate, holds: true });
            let known = |exprs: &[ExprId], reg: Option<Reg>| {
                let value = reg.map(|reg| Value::new(Type::F32, reg));
                let each = |&expr: &ExprId| Some((expr, value?));
                exprs.iter().filter_map(each).collect::<Vec<_>>()
            };
            let of_row = [known(&shape.masses, settled.mass), known(&shape.peaks, settled.largest)].concat();
            for (column_tile, sums) in self.sums_of(own).enumerate() {
                let mut values = Vec::with_capacity(2);
                let column = self.column(column_tile);
                lowering.lanes = Some(self.columns());
                for (lane, &sum) in sums.iter().enumerate() {
                    let mut at = row.at.outputs.clone();
                    at[shape.column] = column.plus_constant(lane as i64);
                    bind_output(lowering, 0, &at);
                    let b = &mut lowering.b;
                    let mut sum = b.read(sum);
                    if let Some(nothing) = settled.nothing {
                        sum = b.op(Opcode::AddF32, &[sum.into(), nothing.into()]);
                    }
                    let mut all = [known(&shape.results, Some(sum)), of_row.clone()].concat();
                    if let Some((products, results)) = &carried {
                        let (number, half) = (own / self.scores.halves, own % self.scores.halves);
                        all.extend(known(results, Some(products[number][column_tile][2 * half + lane])));
                    }
                    let mut element = RowElement {
                        known: Known(all),
                        column: outputs[0].axes[shape.column],
                    };
                    values.push(lowering.output_value(0, &mut element)?);
                }
                lowering.lanes = None;
                for (lane, values) in values.chunks(vector).enumerate() {
                    let mut at = row.at.outputs.clone();
                    at[shape.column] = column.plus_constant((lane * vector) as i64);
                    let offset = lowering.offset(&at, &outputs[0].dims);
                    lowering.store_output(0, &offset, values, Cache::Normal, guard);
                }
            }
            for (number, output) in outputs.iter().enumerate().skip(1) {
                let at = &row.at.outputs[..shape.column];
                bind_output(lowering, number, at);
                let value = lowering.output_value(number, &mut Known(of_row.clone()))?;
                // Four lanes of each slice have the row.
                let place = slice.times(4).plus(&Linear::register(self.scores.lane.place));
                let place = lowering.math.operand(&mut lowering.b, &place);
                let is_first = lowering.b.compare(Compare::Eq, Class::B32, place, 0.into());
                let guard = lowering.both(row.exists, Some(is_first));
                let guard = guard.map(|predicate| Guard { predicate, holds: true });
                let offset = lowering.offset(at, &output.dims);
                lowering.store_output(number, &offset, &[value], Cache::Normal, guard);
            }
        }
        Ok(())
    }
}

/// An element of a row of results.
struct RowElement {
    known: Known,
    /// The axis along the row.
    column: AxisId,
}

impl Reduce for RowElement {
    fn reduce(&mut self, lowering: &mut Lowering<'_>, expr: ExprId) -> Result<Option<Value>, Error> {
        self.known.reduce(lowering, expr)
    }

    fn divides_many(&self, lowering: &Lowering<'_>, dividend: ExprId, divisor: ExprId) -> Result<bool, Error> {
        let is_own = |expr| lowering.checked.axes(expr).contains(self.column);
        Ok(is_own(dividend) && !is_own(divisor))
    }
}

fn bind_output(lowering: &mut Lowering<'_>, number: usize, at: &[Linear]) {
    let output = &lowering.op().outputs[number];
    for (&axis, value) in output.axes.iter().zip(at) {
        lowering.bind(axis, Binding::of(value.clone()));
    }
}
