//! Tiles of short rows: a block reads many whole rows of the inputs as one run of memory.
//!
//! The rows of a tile follow each other in memory, so they are read in vectors whatever their length, and lie in shared memory as they do
//! there. A thread takes the elements of an output's chunk from as many rows, one by one.

use super::tiles::{Chunk, Staged, Tile};
use crate::families::formula::Symbol;
use crate::lower::Error;
use crate::lower::expression::{Binding, Lanes, Lowering};
use crate::lower::index::{IndexMath, Linear};
use crate::ptx::{Address, Class, Compare, Few, Opcode, Reg};

impl Tile<'_> {
    /// Reads a block's rows of every input, of that length each, and puts them into shared memory.
    pub fn load_run(
        &self,
        lowering: &mut Lowering<'_>,
        outer: &[Linear],
        place: &Linear,
        length: u32,
    ) -> Result<(), Error> {
        let (vector, width) = (self.vector(), self.schedule.vector);
        let across = self.schedule.across();
        let chunks = length * across / width;
        let first_row = place.times(across.into());
        let total = self.columns.times(length.into());
        let mut loaded = Vec::new();
        for turn in 0..chunks.div_ceil(self.schedule.threads) {
            let (number, own) = self.chunk_number(lowering, turn, chunks);
            let register = lowering.index_register(number);
            let element = Linear::register(register).times(vector);
            let exists = lowering.below(&first_row.times(length.into()).plus(&element), &total);
            let guard = lowering.both(Some(exists), own);
            lowering.lanes = (width > 1).then_some(Lanes { register, width });
            lowering.flat = true;
            for staged in &self.inputs {
                let read = self.place(staged)?;
                let mut elements: Few<Reg> = Few::new();
                for lane in 0..vector {
                    for &(axis, symbol) in &read.axes {
                        let Symbol::Output(position) = symbol else {
                            return Err(Error::Unbound);
                        };
                        // The run is indexed along the last axis, beyond its end.
                        let value = match outer.get(position) {
                            Some(value) => value.clone(),
                            None if position == self.transposed.axes.end => first_row.clone(),
                            None if position + 1 == self.transposed.axes.end => element.plus_constant(lane),
                            None => Linear::constant(0),
                        };
                        lowering.bind(axis, Binding { value, guard });
                    }
                    elements.push(lowering.stored(read.expr)?);
                }
                loaded.push((number, staged, elements));
            }
            lowering.lanes = None;
            lowering.flat = false;
        }
        for (number, staged, elements) in loaded {
            let bytes = width * staged.element.size();
            let base = lowering.b.shared_base();
            let base = lowering.shared_address(base, number, bytes.into());
            let offset = staged.offset as i32;
            lowering.keep_elements(staged.element, &elements, Address { base, offset });
        }
        Ok(())
    }

    /// The number of the chunk that a thread has in a turn, and the condition under which it exists, if some threads have none.
    fn chunk_number(&self, lowering: &mut Lowering<'_>, turn: u32, chunks: u32) -> (Reg, Option<Reg>) {
        let number = self.number(lowering, turn);
        let exists = ((turn + 1) * self.schedule.threads > chunks).then(|| {
            let (number, chunks) = (number.into(), i64::from(chunks).into());
            lowering.b.compare(Compare::Lt, Class::B32, number, chunks)
        });
        (number, exists)
    }

    /// The chunk of outputs that a thread stores in a turn. Neighbouring threads have chunks of a sector, and then neighbouring rows, whose
    /// elements lie in different banks.
    pub fn chunk_of_run(&self, lowering: &mut Lowering<'_>, turn: u32, length: u32) -> Chunk {
        let vector = self.schedule.vector;
        let in_a_row = self.schedule.across() / vector;
        let bytes = lowering.op().outputs[0].element.size() * vector;
        let sector = (32 / bytes).clamp(1, in_a_row);
        let (number, exists) = self.chunk_number(lowering, turn, length * in_a_row);
        let b = &mut lowering.b;
        let within = b.op(Opcode::AndB32, &[number.into(), i64::from(sector - 1).into()]);
        let shift = i64::from(sector.trailing_zeros());
        let rest = b.op(Opcode::ShrU32, &[number.into(), shift.into()]);
        // Places in a tile have 32 bits in any kernel.
        let math = IndexMath { wide: false };
        let (sectors, row) = math.divide(b, &Linear::register(rest), &Linear::constant(length.into()));
        let [sectors, row] = [sectors, row].map(|place| math.register(b, &place));
        let sources = [sectors.into(), i64::from(sector).into(), within.into()];
        let column = lowering.b.op(Opcode::MadS32, &sources);
        Chunk { row, column, exists }
    }

    /// A chunk of an input's part of a tile: an element of each of so many rows.
    pub fn elements_of_run(&self, lowering: &mut Lowering<'_>, staged: &Staged, chunk: Chunk, length: u32) -> Few<Reg> {
        let size = staged.element.size();
        let row_bytes = length * size;
        let base = lowering.b.shared_base();
        let base = lowering.shared_address(base, chunk.column, i64::from(self.schedule.vector * row_bytes));
        let base = lowering.shared_address(base, chunk.row, size.into());
        let lane = |lane: u32| Address {
            base,
            offset: (staged.offset + lane * row_bytes) as i32,
        };
        let lanes = (0..self.schedule.vector).map(lane);
        lanes
            .flat_map(|address| lowering.kept_elements(staged.element, 1, address))
            .collect()
    }
}
