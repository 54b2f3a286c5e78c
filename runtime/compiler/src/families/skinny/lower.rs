//! `skinny`: sums over weights that are read once, each by one thread, straight into registers.
//!
//! The sums' bodies are evaluated as ordinary expressions for every row, column and term of a thread's turn. The
//! turn is straight code, so that what several rows or columns read is one load: the builder numbers values.
//! Partial sums meet in shared memory, and each output is finished by one thread.

use super::shape::{SkinnyShape, Sum, shape};
use super::space::Skinny;
use crate::ir::{ExprId, InputId, SizeId};
use crate::lower::Error;
use crate::lower::expression::{Access, Accumulator, Binding, InSequence, Lanes, Lowering, Reduce};
use crate::lower::grid::{Grid, volume_formula};
use crate::lower::index::Linear;
use crate::lower::shuffle::butterfly;
use crate::lower::tile::tiling::coordinates_of_chunk;
use crate::lower::value::{Value, width_in_shared};
use crate::problem::Problem;
use crate::ptx::{Address, Cache, Class, Compare, Few, Guard, Opcode, Operand, Reg, Space, Turns};

pub(super) fn lower<'a>(problem: &Problem<'a>, name: &str, point: &Skinny) -> Result<(Lowering<'a>, Grid), Error> {
    let shape = shape(problem);
    let shape = shape.as_ref().as_ref().ok_or(Error::Unbound)?;
    let mut lowering = Lowering::new(problem, name, point.threads());
    lowering
        .b
        .set_minimum_blocks(shape.minimum_blocks(point, problem.machine));
    let strip = Strip::new(&mut lowering, point, shape);
    let accumulators = strip.sum(&mut lowering)?;
    strip.exchange(&mut lowering, accumulators);
    strip.outputs(&mut lowering)?;
    let dims = &problem.checked.op().outputs[0].dims;
    let volume = |positions: &[usize]| {
        let sizes: Vec<SizeId> = positions.iter().map(|&position| dims[position]).collect();
        volume_formula(problem.specialisation, &sizes)
    };
    let blocks = volume(&shape.batch)
        .times(volume(&shape.columns).div_ceil(u64::from(shape.block_columns(point))))
        .times(volume(&shape.rows).div_ceil(u64::from(point.rows)));
    Ok((lowering, Grid::of(blocks, point.threads(), shape.shared_bytes(point))))
}

/// A block's work: some columns, for some rows.
struct Strip<'a> {
    point: &'a Skinny,
    shape: &'a SkinnyShape,
    rows: Side,
    columns: Side,
    /// The values of the batch's axes.
    batch: Vec<Linear>,
    /// The thread's number among those that share its sums, as an index.
    along: Linear,
    /// The thread's number among those of its block with other columns, as a register of 32 bits.
    across: Option<Reg>,
    /// The thread's warp among those that share its sums; none if there is one.
    warp: Option<Reg>,
}

/// The rows, or the columns.
struct Side {
    extents: Vec<Linear>,
    total: Linear,
    /// The block's first one.
    base: Linear,
    /// The number that the block has.
    tile: u32,
}

impl Side {
    /// `true` if every block has as many as any other.
    fn fits(&self) -> bool {
        self.total
            .as_constant()
            .is_some_and(|total| total % i64::from(self.tile) == 0)
    }
}

/// Where a thread's rows or columns are: the coordinates of each, and the lanes of those that are neighbours.
type Places = Vec<(Vec<Linear>, Option<Lanes>)>;

impl<'a> Strip<'a> {
    fn new(lowering: &mut Lowering<'_>, point: &'a Skinny, shape: &'a SkinnyShape) -> Strip<'a> {
        let dims = &lowering.op().outputs[0].dims;
        let extents = |lowering: &mut Lowering<'_>, positions: &[usize]| -> (Vec<Linear>, Linear) {
            let extents: Vec<Linear> = positions.iter().map(|&at| lowering.size(dims[at])).collect();
            let total = lowering.volume(&positions.iter().map(|&at| dims[at]).collect::<Vec<_>>());
            (extents, total)
        };
        let (batch_extents, batch_total) = extents(lowering, &shape.batch);
        let (row_extents, row_total) = extents(lowering, &shape.rows);
        let (column_extents, column_total) = extents(lowering, &shape.columns);
        let mut tiles = |total: &Linear, tile: u32| {
            let rounded = total.plus_constant(i64::from(tile) - 1);
            let tile = Linear::constant(i64::from(tile));
            lowering.math.divide(&mut lowering.b, &rounded, &tile).0
        };
        let block_columns = shape.block_columns(point);
        // Blocks beside each other take other rows with the same weights.
        let counts = [
            batch_total,
            tiles(&column_total, block_columns),
            tiles(&row_total, point.rows),
        ];
        let block = lowering.block();
        let place = lowering.math.coordinates(&mut lowering.b, &block, &counts);
        let batch = lowering.math.coordinates(&mut lowering.b, &place[0], &batch_extents);
        let side = |extents, total, place: &Linear, tile: u32| Side {
            extents,
            total,
            base: place.times(i64::from(tile)),
            tile,
        };
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let mut bits = |from: u32, count: u32| -> Option<Reg> {
            (count > 1).then(|| {
                let shifted = match from {
                    1 => tid,
                    _ => lowering
                        .b
                        .op(Opcode::ShrU32, &[tid.into(), i64::from(from.trailing_zeros()).into()]),
                };
                lowering
                    .b
                    .op(Opcode::AndB32, &[shifted.into(), i64::from(count - 1).into()])
            })
        };
        // Neighbouring threads read neighbouring weights.
        let (lanes, column_lanes) = (point.lanes, point.column_lanes());
        let (lane, column_lane) = if shape.along_depth {
            (bits(1, lanes), bits(lanes, column_lanes))
        } else {
            (bits(column_lanes, lanes), bits(1, column_lanes))
        };
        let warp = bits(32, point.warps);
        let group = bits(32 * point.warps, point.groups());
        let mut joined = |high: Option<Reg>, factor: u32, low: Option<Reg>| match (high, low) {
            (Some(high), low) => {
                let low = low.map_or(Operand::Int(0), Operand::Reg);
                let sources = [high.into(), i64::from(factor).into(), low];
                Some(lowering.b.op(Opcode::MadS32, &sources))
            }
            (None, low) => low,
        };
        let along = joined(warp, lanes, lane);
        let across = joined(group, column_lanes * point.columns, column_lane);
        let along = match along {
            Some(along) => Linear::register(lowering.index_register(along)),
            None => Linear::constant(0),
        };
        Strip {
            point,
            shape,
            rows: side(row_extents, row_total, &place[2], point.rows),
            columns: side(column_extents, column_total, &place[1], block_columns),
            batch,
            along,
            across,
            warp,
        }
    }

    // ------------------------------------------------------------------ where things are

    /// Binds the axes that stand for positions.
    fn bind(&self, lowering: &mut Lowering<'_>, positions: &[usize], coordinates: &[Linear]) {
        for (&position, value) in positions.iter().zip(coordinates) {
            for &axis in &self.shape.axes[position] {
                lowering.bind(axis, Binding::of(value.clone()));
            }
        }
    }

    /// The thread's rows, those beyond the last clamped to it.
    fn row_places(&self, lowering: &mut Lowering<'_>) -> Places {
        (0..self.point.rows)
            .map(|row| {
                let row = self.rows.base.plus_constant(i64::from(row));
                let row = if self.rows.fits() {
                    row
                } else {
                    lowering.clamped(&row, &self.rows.total)
                };
                let coordinates = lowering.math.coordinates(&mut lowering.b, &row, &self.rows.extents);
                (coordinates, None)
            })
            .collect()
    }

    /// The thread's columns, in vectors, those beyond the last clamped to it.
    fn column_places(&self, lowering: &mut Lowering<'_>) -> Places {
        let vector = i64::from(self.shape.column_vector(self.point));
        let base = self.columns.base.divided(vector);
        let own = match self.across {
            Some(across) => base.plus(&Linear::register(lowering.index_register(across))),
            None => base,
        };
        // One register for all of them, so that they are constants apart.
        let own = Linear::register(lowering.math.register(&mut lowering.b, &own));
        let chunks = lowering
            .math
            .divide(&mut lowering.b, &self.columns.total, &Linear::constant(vector))
            .0;
        (0..self.point.columns)
            .map(|column| {
                let chunk = own.plus_constant(i64::from(column * self.point.column_lanes()));
                let chunk = if self.columns.fits() {
                    chunk
                } else {
                    lowering.clamped(&chunk, &chunks)
                };
                coordinates_of_chunk(lowering, &chunk, &self.columns.extents, vector)
            })
            .collect()
    }

    // ------------------------------------------------------------------ the sums

    /// The thread's part of every sum, for each of its rows and columns.
    fn sum(&self, lowering: &mut Lowering<'_>) -> Result<Vec<Vec<Accumulator>>, Error> {
        self.bind(lowering, &self.shape.batch, &self.batch);
        let (rows, columns) = (self.row_places(lowering), self.column_places(lowering));
        let accumulators: Vec<Vec<Accumulator>> = self
            .shape
            .sums
            .iter()
            .map(|sum| {
                let (rows, columns) = self.own(sum, self.shape.thread_columns(self.point));
                (0..rows * columns)
                    .map(|_| Accumulator::new(lowering, sum.op, sum.ty))
                    .collect()
            })
            .collect();
        let mut turn = Turn {
            strip: self,
            rows,
            columns,
            accumulators,
            family: Streaming::new(self.shape, self.point.cache),
        };
        let sums = &self.shape.sums;
        let bodies: Vec<ExprId> = sums.iter().map(|sum| sum.body).collect();
        let axes: Vec<_> = sums.iter().flat_map(|sum| sum.depth.iter().copied()).collect();
        let outside = lowering.enter(&axes, &bodies);

        let extents: Vec<Linear> = self.shape.extents.iter().map(|&size| lowering.size(size)).collect();
        let vector = i64::from(self.shape.depth_vector(self.point));
        let mut chunk_extents = extents.clone();
        if let Some(last) = chunk_extents.last_mut() {
            let vector = Linear::constant(vector);
            *last = lowering.math.divide(&mut lowering.b, last, &vector).0;
        }
        let mut chunks = Linear::constant(1);
        for extent in &chunk_extents {
            chunks = lowering.math.product(&mut lowering.b, &chunks, extent);
        }
        // Whole turns of all threads, then what is left, chunk by chunk.
        let threads = i64::from(self.point.depth_threads());
        let per_turn = threads * i64::from(self.shape.chunks_per_turn(self.point));
        let (whole, rest) = lowering
            .math
            .divide(&mut lowering.b, &chunks, &Linear::constant(per_turn));
        let whole = lowering
            .math
            .product(&mut lowering.b, &whole, &Linear::constant(per_turn));
        let class = lowering.math.class();
        let parts = [
            (
                Linear::constant(0),
                whole.clone(),
                self.shape.chunks_per_turn(self.point),
                per_turn,
            ),
            (whole, chunks, 1, threads),
        ];
        for (part, (first, end, count, step)) in parts.into_iter().enumerate() {
            let nothing = match part {
                0 => end.as_constant() == Some(0),
                _ => rest.as_constant() == Some(0),
            };
            if nothing {
                continue;
            }
            let start = lowering.math.operand(&mut lowering.b, &first.plus(&self.along));
            let entered = part == 0 && end.as_constant().is_some();
            let end = lowering.math.operand(&mut lowering.b, &end);
            let turns = Turns::new(start, end, step).entered(entered).rolled();
            let counter = lowering.b.begin_loop(class, turns);
            let places: Places = (0..count)
                .map(|chunk| {
                    let chunk = Linear::register(counter).plus_constant(i64::from(chunk) * threads);
                    coordinates_of_chunk(lowering, &chunk, &extents, vector)
                })
                .collect();
            turn.load(lowering, &places)?;
            turn.accumulate(lowering, &places)?;
            lowering.b.end();
        }
        lowering.leave(outside);
        Ok(turn.accumulators)
    }

    /// The numbers of rows and columns that a sum has, of the thread's (or block's) own.
    fn own(&self, sum: &Sum, columns: u32) -> (u32, u32) {
        (
            if sum.by_row { self.point.rows } else { 1 },
            if sum.by_column { columns } else { 1 },
        )
    }

    // ------------------------------------------------------------------ partial sums

    /// Sums up in each warp, and puts every warp's sums into shared memory.
    fn exchange(&self, lowering: &mut Lowering<'_>, accumulators: Vec<Vec<Accumulator>>) {
        let (point, shape) = (self.point, self.shape);
        let stride = if shape.along_depth { 1 } else { point.column_lanes() };
        let (offsets, bytes) = shape.partial_offsets(point);
        let base = lowering.b.shared_base();
        let base = match self.warp {
            Some(warp) => lowering.shared_address(base, warp, i64::from(bytes)),
            None => base,
        };
        let vector = shape.column_vector(point);
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let lane = lowering.b.op(
            Opcode::AndB32,
            &[tid.into(), i64::from((point.lanes - 1) * stride).into()],
        );
        let first = lowering.b.compare(Compare::Eq, Class::B32, lane.into(), 0.into());
        for ((sum, own), offset) in shape.sums.iter().zip(accumulators).zip(offsets) {
            let own: Vec<Operand> = own
                .into_iter()
                .map(|mut accumulator| {
                    butterfly(lowering, &mut accumulator, point.lanes, stride);
                    Operand::Reg(lowering.b.read(accumulator.best))
                })
                .collect();
            let (_, columns) = self.own(sum, shape.thread_columns(point));
            let (_, block_columns) = self.own(sum, shape.block_columns(point));
            let (width, bytes) = (width_in_shared(sum.ty), i64::from(sum.bytes()));
            let own_base = match self.across.filter(|_| sum.by_column) {
                Some(across) => lowering.shared_address(base, across, bytes * i64::from(vector)),
                None => base,
            };
            // One thread stores a sum that all columns share.
            let predicate = match self.across.filter(|_| !sum.by_column) {
                Some(across) => {
                    let leading = lowering.b.compare(Compare::Eq, Class::B32, across.into(), 0.into());
                    lowering.b.op(Opcode::AndPred, &[first.into(), leading.into()])
                }
                None => first,
            };
            lowering.b.begin_if(Guard { predicate, holds: true });
            let most = (16 / sum.bytes()).min(vector).min(columns);
            for (number, values) in own.chunks(most as usize).enumerate() {
                let (row, column) = (number as u32 * most / columns, number as u32 * most % columns);
                // A thread's vectors of columns lie as far apart as all of its warp's take.
                let column = column / vector * vector * point.column_lanes() + column % vector;
                let address = Address {
                    base: own_base,
                    offset: (offset + (row * block_columns + column) * sum.bytes()) as i32,
                };
                lowering
                    .b
                    .store(Space::Shared, width, address, values, Cache::Normal, None);
            }
            lowering.b.end();
        }
        lowering.b.barrier();
    }

    /// The block's outputs, one by one, neighbouring columns by neighbouring threads.
    fn outputs(&self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let point = self.point;
        let outputs = i64::from(point.rows * self.columns.tile);
        let tid = lowering.b.op(Opcode::TidX, &[]);
        if outputs > i64::from(point.threads()) {
            let threads = i64::from(point.threads());
            let turns = Turns::new(Operand::Reg(tid), outputs, threads).entered(true).rolled();
            let number = lowering.b.begin_loop(Class::B32, turns);
            self.output(lowering, number)?;
        } else {
            let predicate = lowering
                .b
                .compare_unsigned(Compare::Lt, Class::B32, tid.into(), outputs.into());
            lowering.b.begin_if(Guard { predicate, holds: true });
            self.output(lowering, tid)?;
        }
        lowering.b.end();
        Ok(())
    }

    /// The outputs of one row and column, counted in the block.
    fn output(&self, lowering: &mut Lowering<'_>, number: Reg) -> Result<(), Error> {
        let (point, shape) = (self.point, self.shape);
        let shift = i64::from(self.columns.tile.trailing_zeros());
        let mask = i64::from(self.columns.tile) - 1;
        let column = lowering.b.op(Opcode::AndB32, &[number.into(), mask.into()]);
        let row = lowering.b.op(Opcode::ShrU32, &[number.into(), shift.into()]);
        let mut place = |side: &Side, own: Reg| {
            let own = Linear::register(lowering.index_register(own));
            let at = side.base.plus(&own);
            let inside = (!side.fits()).then(|| lowering.below(&at, &side.total));
            let coordinates = lowering.math.coordinates(&mut lowering.b, &at, &side.extents);
            (coordinates, inside)
        };
        let (columns, column_inside) = place(&self.columns, column);
        let (rows, row_inside) = if point.rows > 1 {
            place(&self.rows, row)
        } else {
            let base = self.rows.base.clone();
            (
                lowering.math.coordinates(&mut lowering.b, &base, &self.rows.extents),
                None,
            )
        };
        let inside = lowering.both(row_inside, column_inside);
        if let Some(predicate) = inside {
            lowering.b.begin_if(Guard { predicate, holds: true });
        }
        self.bind(lowering, &shape.rows, &rows);
        self.bind(lowering, &shape.columns, &columns);
        let (offsets, bytes) = shape.partial_offsets(point);
        let base = lowering.b.shared_base();
        for (sum, offset) in shape.sums.iter().zip(offsets) {
            let slot = match (sum.by_row, sum.by_column) {
                (true, true) => Some(number),
                (true, false) => Some(row),
                (false, true) => Some(column),
                (false, false) => None,
            };
            let base = match slot {
                Some(slot) => lowering.shared_address(base, slot, i64::from(sum.bytes())),
                None => base,
            };
            let mut all = Accumulator::new(lowering, sum.op, sum.ty);
            for warp in 0..point.warps {
                let address = Address {
                    base,
                    offset: (warp * bytes + offset) as i32,
                };
                let partial = lowering.b.load_here(Space::Shared, width_in_shared(sum.ty), 1, address)[0];
                all.combine(lowering, Value::new(sum.ty, partial), &Linear::constant(0));
            }
            let value = all.value(lowering);
            lowering.define(sum.expr, value)?;
        }
        let op = lowering.op();
        for (position, output) in op.outputs.iter().enumerate() {
            let value = lowering.output_value(position, &mut InSequence)?;
            let indices = output
                .axes
                .iter()
                .map(|&axis| Ok(lowering.binding(axis)?.value))
                .collect::<Result<Vec<_>, Error>>()?;
            let offset = lowering.offset(&indices, &output.dims);
            lowering.store_output(position, &offset, &[value], Cache::Normal, None);
        }
        if inside.is_some() {
            lowering.b.end();
        }
        Ok(())
    }
}

/// One turn of a thread's loop.
struct Turn<'a> {
    strip: &'a Strip<'a>,
    rows: Places,
    columns: Places,
    /// For each sum the rows, and in each the columns.
    accumulators: Vec<Vec<Accumulator>>,
    family: Streaming,
}

impl Turn<'_> {
    /// Issues the loads of the turn's weights, and nothing that waits for them.
    fn load(&mut self, lowering: &mut Lowering<'_>, places: &Places) -> Result<(), Error> {
        let shape = self.strip.shape;
        // The load of the first neighbour brings the others.
        let terms = if shape.along_depth {
            1
        } else {
            shape.depth_vector(self.strip.point)
        };
        self.bind_row(lowering, 0);
        for chunk in places {
            for term in 0..terms {
                self.bind_term(lowering, chunk, term);
                for column in 0..self.columns.len() {
                    self.bind_column(lowering, column, 0);
                    for weight in shape.weights.iter().filter(|weight| weight.direct) {
                        lowering.touch(weight.read, &mut self.family)?;
                    }
                }
            }
        }
        self.leave(lowering);
        Ok(())
    }

    /// Adds the turn's terms to the accumulators.
    fn accumulate(&mut self, lowering: &mut Lowering<'_>, places: &Places) -> Result<(), Error> {
        let (point, shape) = (self.strip.point, self.strip.shape);
        let column_vector = shape.column_vector(point);
        // Term by term: then what all columns (or rows) share is needed for a short time.
        for chunk in places {
            for term in 0..shape.depth_vector(point) {
                self.bind_term(lowering, chunk, term);
                for column in 0..shape.thread_columns(point) {
                    self.bind_column(lowering, (column / column_vector) as usize, column % column_vector);
                    for (number, sum) in shape.sums.iter().enumerate() {
                        let (rows, columns) = self.strip.own(sum, shape.thread_columns(point));
                        if column >= columns {
                            continue;
                        }
                        for row in 0..rows {
                            self.bind_row(lowering, row as usize);
                            let accumulator = &mut self.accumulators[number][(row * columns + column) as usize];
                            let nowhere = Linear::constant(0);
                            accumulator.add(lowering, &nowhere, sum.body, &mut self.family)?;
                        }
                    }
                }
            }
        }
        self.leave(lowering);
        Ok(())
    }

    fn bind_row(&self, lowering: &mut Lowering<'_>, row: usize) {
        self.strip.bind(lowering, &self.strip.shape.rows, &self.rows[row].0);
    }

    fn bind_column(&self, lowering: &mut Lowering<'_>, column: usize, neighbour: u32) {
        let (coordinates, lanes) = &self.columns[column];
        let coordinates = moved(coordinates, neighbour);
        self.strip.bind(lowering, &self.strip.shape.columns, &coordinates);
        lowering.across = *lanes;
    }

    fn bind_term(&self, lowering: &mut Lowering<'_>, chunk: &(Vec<Linear>, Option<Lanes>), neighbour: u32) {
        let coordinates = moved(&chunk.0, neighbour);
        for sum in &self.strip.shape.sums {
            for (&axis, value) in sum.depth.iter().zip(&coordinates) {
                lowering.bind(axis, Binding::of(value.clone()));
            }
        }
        lowering.lanes = chunk.1;
    }

    fn leave(&self, lowering: &mut Lowering<'_>) {
        (lowering.lanes, lowering.across) = (None, None);
    }
}

/// Coordinates with the fastest so many further.
fn moved(coordinates: &[Linear], by: u32) -> Vec<Linear> {
    let mut coordinates = coordinates.to_vec();
    if let Some(fastest) = coordinates.last_mut() {
        *fastest = fastest.plus_constant(i64::from(by));
    }
    coordinates
}

/// Reads weights with a cache hint of their own.
struct Streaming {
    cache: Cache,
    /// Inputs that are nothing but weights.
    inputs: Vec<InputId>,
}

impl Streaming {
    fn new(shape: &SkinnyShape, cache: Cache) -> Streaming {
        let elsewhere = |input: InputId| shape.others.iter().any(|read| read.input == input);
        let inputs = shape.weights.iter().map(|read| read.input);
        Streaming {
            cache,
            inputs: inputs.filter(|&input| !elsewhere(input)).collect(),
        }
    }
}

impl Reduce for Streaming {
    fn reduce(&mut self, _: &mut Lowering<'_>, _: ExprId) -> Result<Option<Value>, Error> {
        Ok(None)
    }

    fn elements(&mut self, lowering: &mut Lowering<'_>, access: &Access) -> Few<Reg> {
        if !self.inputs.contains(&access.input) {
            return lowering.load_elements(access);
        }
        let outside = std::mem::replace(&mut lowering.read_cache, self.cache);
        let elements = lowering.load_elements(access);
        lowering.read_cache = outside;
        elements
    }
}
