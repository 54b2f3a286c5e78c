//! Transposed inputs through shared memory: a block reads tiles along the inputs' fastest axis and writes along the outputs'.
//!
//! A thread takes squares of `vector × vector` elements: it reads rows of them, turns them in its registers, and puts columns into
//! shared memory; there everything moves in units of `vector` elements. A tile's row there holds what is to be written side by
//! side. Units stand in it at their number with the bits of the row's square flipped (`^`): so both the columns that neighbouring
//! threads put into different rows, and the units that they take from one row, lie in different banks.

use super::shape::Transposed;
use super::space::Pointwise;
use crate::element::Element;
use crate::families::formula::{NodeId, Place, Symbol};
use crate::lower::Error;
use crate::lower::expression::{Binding, InSequence, Lanes, Lowering};
use crate::lower::grid::{Grid, volume_formula};
use crate::lower::index::Linear;
use crate::lower::value::{Value, from_storage};
use crate::ptx::{Address, Few, Guard, Opcode, Operand, Reg};

/// Lowers a schedule with tiles. `run` is the length of the inputs' rows if a tile reads whole ones as a run.
pub(super) fn lower<'a>(
    mut lowering: Lowering<'a>,
    schedule: &Pointwise,
    run: Option<u64>,
) -> Result<(Lowering<'a>, Grid), Error> {
    let checked = lowering.checked;
    let transposed = Transposed::of(checked).ok_or(Error::Unbound)?;
    let (along, across) = (schedule.tile, schedule.across());
    let mut shared = 0;
    let inputs: Vec<Staged> = transposed
        .reads
        .iter()
        .map(|&(read, input)| {
            let element = checked.op().inputs[input.index()].element;
            let offset = shared;
            // Every thread keeps what it has loaded of a run, also beyond its end.
            let elements = match run {
                Some(length) => {
                    let whole = schedule.threads * schedule.vector;
                    (length as u32 * across).next_multiple_of(whole)
                }
                None => along * across,
            };
            shared += elements * element.size();
            Staged { read, element, offset }
        })
        .collect();
    let dims = &checked.op().outputs[0].dims;
    let (outer, rest) = dims.split_at(transposed.axes.start);
    let (row, inner) = rest.split_at(transposed.axes.len());
    let tile = Tile {
        schedule: *schedule,
        transposed: &transposed,
        inputs,
        run: run.map(|length| length as u32),
        outer: outer.iter().map(|&size| lowering.size(size)).collect(),
        rows: lowering.volume(row),
        row: row.iter().map(|&size| lowering.size(size)).collect(),
        columns: lowering.volume(inner),
        inner: inner.iter().map(|&size| lowering.size(size)).collect(),
    };
    let counts = [
        lowering.volume(outer),
        lowering.divided_up(&tile.rows, along),
        lowering.divided_up(&tile.columns, across),
    ];
    let count = counts.iter().fold(Linear::constant(1), |count, part| {
        lowering.math.product(&mut lowering.b, &count, part)
    });
    let formula = |sizes| volume_formula(lowering.specialisation, sizes);
    let work = formula(outer)
        .times(formula(row).div_ceil(along.into()))
        .times(formula(inner).div_ceil(across.into()));
    let grid = lowering.each_block(schedule.blocks, &count, work, |lowering, block| {
        let place = lowering.math.coordinates(&mut lowering.b, &block, &counts);
        let outer = lowering.math.coordinates(&mut lowering.b, &place[0], &tile.outer);
        match tile.run {
            Some(length) => tile.load_run(lowering, &outer, &place[2], length)?,
            None => tile.load(lowering, &outer, &place)?,
        }
        lowering.b.barrier();
        tile.store(lowering, &outer, &place)?;
        if schedule.blocks > 0 {
            lowering.b.barrier();
        }
        Ok(())
    })?;
    Ok((lowering, Grid::of(grid, schedule.threads, shared)))
}

/// An input's read, and where its part of a tile lies.
pub(super) struct Staged {
    read: NodeId,
    pub element: Element,
    /// Bytes from the start of shared memory.
    pub offset: u32,
}

pub(super) struct Tile<'a> {
    pub schedule: Pointwise,
    pub transposed: &'a Transposed<'a>,
    pub inputs: Vec<Staged>,
    /// The length of the inputs' rows, if a tile reads whole ones as a run.
    run: Option<u32>,
    /// Extents of the axes before the inputs' fastest.
    outer: Vec<Linear>,
    /// Extents of those, and their product.
    row: Vec<Linear>,
    rows: Linear,
    /// Extents of the axes after them, and their product.
    inner: Vec<Linear>,
    pub columns: Linear,
}

/// A unit of a tile: the numbers of its row's square and of its column, 32 bits.
#[derive(Clone, Copy)]
struct Unit {
    row: Reg,
    column: Reg,
}

/// Neighbouring elements of a row of the outputs: the number of the row in the tile and of the chunk in the row, 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    pub row: Reg,
    pub column: Reg,
    /// The condition under which the chunk exists, if some threads have none.
    pub exists: Option<Reg>,
}

impl Tile<'_> {
    pub fn vector(&self) -> i64 {
        self.schedule.vector.into()
    }

    /// The number of a thread's work of a turn among that of all threads.
    pub fn number(&self, lowering: &mut Lowering<'_>, turn: u32) -> Reg {
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let first = i64::from(turn * self.schedule.threads);
        lowering.b.op(Opcode::AddS32, &[tid.into(), first.into()])
    }

    /// The place in its row, and the row, of the thread's unit with that number, in rows of so many units.
    fn unit(&self, lowering: &mut Lowering<'_>, number: u32, in_a_row: u32) -> (Reg, Reg) {
        let number = self.number(lowering, number);
        let mask = i64::from(in_a_row - 1);
        let shift = i64::from(in_a_row.trailing_zeros());
        let fast = lowering.b.op(Opcode::AndB32, &[number.into(), mask.into()]);
        let slow = lowering.b.op(Opcode::ShrU32, &[number.into(), shift.into()]);
        (fast, slow)
    }

    /// Where a unit lies in an input's part, `within` rows below `row`.
    fn address(&self, lowering: &mut Lowering<'_>, staged: &Staged, unit: &Unit, row: &Linear, within: i64) -> Address {
        let size = staged.element.size();
        let bytes = self.schedule.vector * size;
        // Banks are 4 bytes wide, and 32 of them make a row's beginning.
        let (step, most) = ((4 / bytes).max(1), 128 / bytes);
        let flips = lowering
            .b
            .op(Opcode::MulS32, &[unit.row.into(), i64::from(step).into()]);
        let flips = lowering
            .b
            .op(Opcode::AndB32, &[flips.into(), i64::from(most - 1).into()]);
        let column = lowering.b.op(Opcode::XorB32, &[unit.column.into(), flips.into()]);
        let pitch = i64::from(self.schedule.across() * size);
        let base = lowering.b.shared_base();
        let base = lowering.shared_address(base, column, bytes.into());
        let first = row.terms().iter().fold(base, |base, &(register, coefficient)| {
            let sources = [register.into(), (coefficient * pitch).into(), base.into()];
            lowering.b.op(Opcode::MadS32, &sources)
        });
        Address {
            base: first,
            offset: (i64::from(staged.offset) + (row.constant_part() + within) * pitch) as i32,
        }
    }

    /// Output coordinates of a chunk of rows, of that width, and a chunk of columns, with the registers of both chunks' places along their last
    /// axes.
    fn coordinates(
        &self,
        lowering: &mut Lowering<'_>,
        outer: &[Linear],
        (rows, width): (Reg, i64),
        columns: &Linear,
    ) -> (Vec<Linear>, [Reg; 2]) {
        let columns = lowering.math.register(&mut lowering.b, columns);
        let (inner, column) = self.chunk(lowering, &self.inner, columns, self.vector());
        let (row, fastest) = self.chunk(lowering, &self.row, rows, width);
        let coordinates = outer.iter().cloned().chain(row).chain(inner).collect();
        (coordinates, [fastest, column])
    }

    /// Coordinates along axes of a number that counts chunks of so many neighbours, and the register of the chunk's place along the last.
    fn chunk(&self, lowering: &mut Lowering<'_>, extents: &[Linear], chunk: Reg, width: i64) -> (Vec<Linear>, Reg) {
        let mut extents = extents.to_vec();
        if let Some(last) = extents.last_mut()
            && width > 1
        {
            *last = lowering.math.divide(&mut lowering.b, last, &Linear::constant(width)).0;
        }
        let mut coordinates = lowering
            .math
            .coordinates(&mut lowering.b, &Linear::register(chunk), &extents);
        let mut fastest = chunk;
        if let Some(last) = coordinates.last_mut() {
            fastest = lowering.math.register(&mut lowering.b, last);
            *last = Linear::register(fastest).times(width);
        }
        (coordinates, fastest)
    }

    /// Reads a block's tile of every input, and puts it into shared memory.
    fn load(&self, lowering: &mut Lowering<'_>, outer: &[Linear], place: &[Linear]) -> Result<(), Error> {
        let vector = self.vector();
        let (along, across) = (self.schedule.tile, self.schedule.across());
        let mut loaded = Vec::new();
        for square in 0..self.schedule.unroll {
            let (row, column) = self.unit(lowering, square, along / self.schedule.vector);
            let unit = Unit { row, column };
            let rows = lowering.index_register(row);
            let rows = place[1].times(i64::from(along) / vector).plus(&Linear::register(rows));
            let rows = lowering.math.register(&mut lowering.b, &rows);
            let columns = lowering.index_register(column);
            let columns = place[2]
                .times(i64::from(across) / vector)
                .plus(&Linear::register(columns));
            let first = Linear::register(rows).times(vector);
            let (coordinates, [fastest, _]) = self.coordinates(lowering, outer, (rows, vector), &columns);
            let row_exists = lowering.below(&first, &self.rows);
            let column_exists = lowering.below(&columns.times(vector), &self.columns);
            let exists = lowering.both(Some(row_exists), Some(column_exists));
            let width = self.schedule.vector;
            lowering.lanes = (width > 1).then_some(Lanes {
                register: fastest,
                width,
            });
            for staged in &self.inputs {
                let place = self.place(staged)?;
                let mut elements = Vec::new();
                for column in 0..vector {
                    for row in 0..vector {
                        for &(axis, symbol) in &place.axes {
                            let value = self.at(&coordinates, symbol, row, column)?;
                            lowering.bind(axis, Binding { value, guard: exists });
                        }
                        elements.push(lowering.stored(place.expr)?);
                    }
                }
                loaded.push((unit, staged, elements));
            }
            lowering.lanes = None;
        }
        for (unit, staged, elements) in loaded {
            for row in 0..vector {
                let own = Linear::register(unit.row).times(vector);
                let address = self.address(lowering, staged, &unit, &own, row);
                let turned: Vec<Reg> = (0..vector)
                    .map(|column| elements[(column * vector + row) as usize])
                    .collect();
                lowering.keep_elements(staged.element, &turned, address);
            }
        }
        Ok(())
    }

    /// Computes and stores a block's outputs.
    fn store(&self, lowering: &mut Lowering<'_>, outer: &[Linear], place: &[Linear]) -> Result<(), Error> {
        let vector = self.vector();
        let op = lowering.op();
        let (along, across) = (self.schedule.tile, self.schedule.across());
        for number in 0..self.chunks_of_a_thread() {
            let chunk = match self.run {
                Some(length) => self.chunk_of_run(lowering, number, length),
                None => {
                    let (column, row) = self.unit(lowering, number, across / self.schedule.vector);
                    let exists = None;
                    Chunk { row, column, exists }
                }
            };
            let rows = lowering.index_register(chunk.row);
            let rows = place[1].times(along.into()).plus(&Linear::register(rows));
            let rows = lowering.math.register(&mut lowering.b, &rows);
            let columns = lowering.index_register(chunk.column);
            let columns = place[2]
                .times(i64::from(across) / vector)
                .plus(&Linear::register(columns));
            let row_exists = match self.run {
                Some(_) => chunk.exists,
                None => Some(lowering.below(&Linear::register(rows), &self.rows)),
            };
            let column_exists = lowering.below(&columns.times(vector), &self.columns);
            let exists = lowering.both(row_exists, Some(column_exists)).ok_or(Error::Unbound)?;
            let (coordinates, [_, register]) = self.coordinates(lowering, outer, (rows, 1), &columns);
            lowering.b.begin_if(Guard {
                predicate: exists,
                holds: true,
            });
            for staged in &self.inputs {
                let elements = match self.run {
                    Some(length) => self.elements_of_run(lowering, staged, chunk, length),
                    None => self.elements(lowering, staged, chunk),
                };
                for (lane, &stored) in elements.iter().enumerate() {
                    let value = from_storage(&mut lowering.b, staged.element, stored);
                    self.define(lowering, staged, &coordinates, lane as i64, value)?;
                }
            }
            let width = self.schedule.vector;
            lowering.lanes = (width > 1).then_some(Lanes { register, width });
            let mut values: Vec<Vec<Operand>> = vec![Vec::new(); op.outputs.len()];
            for lane in 0..vector {
                for (position, output) in op.outputs.iter().enumerate() {
                    for (dimension, &axis) in output.axes.iter().enumerate() {
                        let value = self.at(&coordinates, Symbol::Output(dimension), 0, lane)?;
                        lowering.bind(axis, Binding::of(value));
                    }
                    values[position].push(lowering.output_value(position, &mut InSequence)?);
                }
            }
            lowering.lanes = None;
            let first = lowering.offset(&coordinates, &op.outputs[0].dims);
            lowering.store_outputs(&first, &values, self.schedule.cache);
            lowering.b.end();
        }
        Ok(())
    }

    /// Chunks that a thread stores.
    fn chunks_of_a_thread(&self) -> u32 {
        let Pointwise {
            threads,
            unroll,
            vector,
            ..
        } = self.schedule;
        match self.run {
            Some(length) => (length * self.schedule.across() / vector).div_ceil(threads),
            None => unroll * vector,
        }
    }

    /// A chunk of an input's part of a tile.
    fn elements(&self, lowering: &mut Lowering<'_>, staged: &Staged, chunk: Chunk) -> Few<Reg> {
        let shift = i64::from(self.schedule.vector.trailing_zeros());
        let square = lowering.b.op(Opcode::ShrU32, &[chunk.row.into(), shift.into()]);
        let unit = Unit {
            row: square,
            column: chunk.column,
        };
        let address = self.address(lowering, staged, &unit, &Linear::register(chunk.row), 0);
        lowering.kept_elements(staged.element, self.schedule.vector, address)
    }

    /// Makes an input's read have a value, wherever the operator has it.
    fn define(
        &self,
        lowering: &mut Lowering<'_>,
        staged: &Staged,
        coordinates: &[Linear],
        lane: i64,
        value: Value,
    ) -> Result<(), Error> {
        for place in self.transposed.formulas.places(staged.read) {
            for &(axis, symbol) in &place.axes {
                let value = self.at(coordinates, symbol, 0, lane)?;
                lowering.bind(axis, Binding::of(value));
            }
            lowering.define(place.expr, value)?;
        }
        Ok(())
    }

    pub fn place(&self, staged: &Staged) -> Result<&Place, Error> {
        self.transposed
            .formulas
            .places(staged.read)
            .first()
            .ok_or(Error::Unbound)
    }

    /// The value of an axis so many rows and columns beyond the coordinates.
    fn at(&self, coordinates: &[Linear], symbol: Symbol, row: i64, column: i64) -> Result<Linear, Error> {
        let Symbol::Output(position) = symbol else {
            return Err(Error::Unbound);
        };
        let more = match position {
            _ if position + 1 == self.transposed.axes.end => row,
            _ if position + 1 == coordinates.len() => column,
            _ => 0,
        };
        let coordinate = coordinates.get(position).ok_or(Error::Unbound)?;
        Ok(coordinate.plus_constant(more))
    }
}
