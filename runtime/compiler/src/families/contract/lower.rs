//! `contract` with fused multiply-adds: a tile of outputs in each thread's registers.
//!
//! Each side's factors are evaluated as ordinary expressions, element by element, where their slab is loaded: whatever
//! the language can say of a factor fuses.

use crate::lower::Error;
use crate::lower::expression::{InSequence, Lowering};
use crate::lower::grid::Grid;
use crate::lower::index::Linear;
use crate::lower::value::{Value, class_of, fma_of, width_in_shared};
use crate::ir::{Expr, Source};
use crate::problem::Problem;
use crate::ptx::{Address, Cache, Class, Opcode, Operand, Reg, Space, Turns};
use super::space::{Contract, load_width};
use crate::lower::tile::shape::{ContractShape, shape};
use crate::lower::tile::split_k::Part;
use crate::lower::tile::{Band, Block, Inside, Slab, Tiling, or_zero};

pub(super) fn lower<'a>(
    problem: &Problem<'a>, name: &str,
    point: &Contract,
) -> Result<(Lowering<'a>, Grid), Error> {
    let shape = shape(problem);
    let shape = shape.as_ref().as_ref().ok_or(Error::Unbound)?;
    let mut lowering = Lowering::new(problem, name, point.threads());
    lowering
        .b
        .set_minimum_blocks(shape.minimum_blocks(problem, point));
    let shared = point.shared_bytes(shape);
    let block = Block {
        rows: point.block_rows,
        columns: point.block_columns,
        depth: point.block_depth,
        threads: point.threads(),
        group: 1,
        parts: point.parts,
    };
    let blocks = block.each_tile(&mut lowering, shape, point.blocks, |lowering, part| {
        let mut tile = Tile::new(lowering, point, shape, block, &part);
        tile.sum(lowering)?;
        let sums = tile.accumulators.concat();
        part.join(lowering, shape.ty, &sums, |lowering| tile.store(lowering))
    })?;
    Ok((lowering, Grid::of(blocks, point.threads(), shared)))
}

/// A block's work.
struct Tile<'a> {
    point: &'a Contract,
    shape: &'a ContractShape,
    tiling: Tiling<'a>,
    /// Of each sum, row-major: `thread_rows × thread_columns` mutable registers.
    accumulators: Vec<Vec<Reg>>,
    /// The thread's row and column among the block's threads.
    thread_row: Reg,
    thread_column: Reg,
}

impl<'a> Tile<'a> {
    fn new(
        lowering: &mut Lowering<'_>,
        point: &'a Contract,
        shape: &'a ContractShape,
        block: Block,
        part: &Part,
    ) -> Tile<'a> {
        let specialisation = lowering.specialisation;
        let tiling = Tiling::new(lowering, shape, block, part, |side, tile| {
            load_width(shape, specialisation, side, tile, point)
        });
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let across = i64::from(point.block_columns / point.thread_columns);
        let shift = i64::from(across.trailing_zeros());
        let thread_column = lowering.b.op(Opcode::AndB32, &[tid.into(), (across - 1).into()]);
        let thread_row = lowering.b.op(Opcode::ShrU32, &[tid.into(), shift.into()]);
        Tile {
            point,
            shape,
            tiling,
            accumulators: Vec::new(),
            thread_row,
            thread_column,
        }
    }

    /// All sides' slabs, and how many bytes from the start of a stage they lie.
    fn slabs(&self) -> impl Iterator<Item = (&Slab, u32)> {
        let mut start = 0;
        self.tiling.slabs.iter().map(move |slab| {
            let bytes = self.point.block_depth * Contract::pitch(slab.tile) * width_in_shared(self.shape.ty).bytes();
            start += bytes;
            (slab, start - bytes)
        })
    }

    fn stage_bytes(&self) -> i64 {
        i64::from(self.point.stage_elements(self.shape) * width_in_shared(self.shape.ty).bytes())
    }

    // ------------------------------------------------------------------ the sums

    fn sum(&mut self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let class = class_of(self.shape.ty);
        let zero = Value::zero(&mut lowering.b, self.shape.ty).operand;
        let count = self.point.thread_rows * self.point.thread_columns;
        let sums = self.shape.sums.iter();
        self.accumulators = sums
            .map(|_| (0..count).map(|_| lowering.b.mutable(class, zero)).collect())
            .collect();
        let slab = i64::from(self.point.block_depth);
        let depth = self.tiling.length.as_constant();
        let whole = depth.is_some_and(|depth| depth % slab == 0 && depth > 0);

        let first = Linear::constant(0);
        let base = lowering.b.shared_base();
        let (axes, factors) = self.tiling.summed();
        let outside = lowering.enter(&axes, &factors);
        let inside = if whole { Inside::All } else { Inside::Each };
        self.load(lowering, &first, base, inside)?;
        lowering.b.barrier();

        // While one slab is summed, the next is on its way to registers. After the last there is none: its loads are
        // off, and the zeros in their place are never read. One loop for all slabs, and never
        // unrolled, keeps the sum out of the code that stores: the assembler would mix both, and spill.
        let end = lowering.math.operand(&mut lowering.b, &self.tiling.length);
        let entered = depth.is_some_and(|depth| depth > 0);
        let counter = lowering
            .b
            .begin_loop(Class::B32, Turns::new(0, end, slab).entered(entered).rolled());
        lowering.note_multiple(counter, self.point.block_depth.min(16));
        let here = Linear::register(counter);
        let next = here.plus_constant(slab);
        let more = depth.is_none_or(|depth| depth > slab);
        let inside = if whole {
            Inside::Where(lowering.below(&next, &self.tiling.length))
        } else {
            Inside::Each
        };
        if more {
            self.touch(lowering, &next, inside)?;
        }
        let stage = self.stage(lowering, base, &here);
        self.accumulate(lowering, stage);
        if more {
            if self.point.stages == 1 {
                lowering.b.barrier();
            }
            let stage = self.stage(lowering, base, &next);
            self.load(lowering, &next, stage, inside)?;
            lowering.b.barrier();
        }
        lowering.b.end();
        lowering.leave(outside);
        Ok(())
    }

    /// The address of the stage that holds the slab beginning with that term: they alternate.
    fn stage(&self, lowering: &mut Lowering<'_>, base: Reg, term: &Linear) -> Reg {
        if self.point.stages == 1 {
            return base;
        }
        let slab = i64::from(self.point.block_depth);
        let term = lowering.math.operand(&mut lowering.b, term);
        let odd = match term {
            Operand::Int(term) => Operand::Int(term & slab),
            term => lowering.b.op(Opcode::AndB32, &[term, slab.into()]).into(),
        };
        lowering
            .b
            .op(Opcode::MadS32, &[odd, (self.stage_bytes() / slab).into(), base.into()])
    }

    /// Issues the loads of a slab, which begins with that one of the block's terms; what is done with the values comes later.
    fn touch(&self, lowering: &mut Lowering<'_>, term: &Linear, inside: Inside) -> Result<(), Error> {
        let mut slabs = self.tiling.slabs.iter();
        slabs.try_for_each(|slab| self.tiling.touch(lowering, slab, term, inside, &mut InSequence))
    }

    /// Puts a slab into shared memory.
    fn load(&self, lowering: &mut Lowering<'_>, term: &Linear, stage: Reg, inside: Inside) -> Result<(), Error> {
        let ty = self.shape.ty;
        let width = width_in_shared(ty);
        for (side, start) in self.slabs() {
            let pitch = i64::from(Contract::pitch(side.tile));
            let mut values: Vec<Operand> = Vec::new();
            self.tiling
                .each_element(lowering, side, term, inside, |lowering, side, piece, lane, guard| {
                    let value = side.product(lowering, ty, &mut InSequence)?;
                    // A guarded read alone is already 0 beyond the end.
                    let read_alone = matches!(side.factors.as_slice(), [factor]
                    if matches!(lowering.op().expr(*factor), Expr::Read { or: None, source: Source::Input(_), .. }));
                    let value = or_zero(lowering, value, guard.filter(|_| !read_alone));
                    values.push(value.reg(&mut lowering.b).into());
                    if lane + 1 < side.vector {
                        return Ok(());
                    }
                    // [term][row], so that a thread's rows are neighbours.
                    let at = piece.term.times(pitch).plus(&piece.row);
                    let base = shared_at(lowering, stage, &at, width.bytes());
                    let offset = |elements: i64| Address {
                        base: base.base,
                        offset: base.offset + start as i32 + elements as i32 * width.bytes() as i32,
                    };
                    if side.along_depth {
                        for (lane, &value) in values.iter().enumerate() {
                            let address = offset(lane as i64 * pitch);
                            lowering
                                .b
                                .store(Space::Shared, width, address, &[value], Cache::Normal, None);
                        }
                    } else {
                        let most = (16 / width.bytes()) as usize;
                        for (chunk, values) in values.chunks(most).enumerate() {
                            let address = offset((chunk * most) as i64);
                            lowering
                                .b
                                .store(Space::Shared, width, address, values, Cache::Normal, None);
                        }
                    }
                    values.clear();
                    Ok(())
                })?;
        }
        Ok(())
    }

    /// Adds a slab's products to the accumulators.
    fn accumulate(&self, lowering: &mut Lowering<'_>, stage: Reg) {
        let ty = self.shape.ty;
        let width = width_in_shared(ty);
        let bytes = width.bytes();
        let (rows, columns) = (self.point.thread_rows, self.point.thread_columns);
        let left = lowering.b.op(
            Opcode::MadS32,
            &[
                self.thread_row.into(),
                i64::from(group(rows, bytes) * bytes).into(),
                stage.into(),
            ],
        );
        let right = lowering.b.op(
            Opcode::MadS32,
            &[
                self.thread_column.into(),
                i64::from(group(columns, bytes) * bytes).into(),
                stage.into(),
            ],
        );
        for term in 0..self.point.block_depth {
            let mut fragment = |base: Reg, (side, start): (&Slab, u32), count: u32| -> Vec<Reg> {
                let neighbours = group(count, bytes);
                let groups = count / neighbours;
                (0..groups)
                    .flat_map(|number| {
                        // Groups lie a part of the tile apart, so that a warp's threads read neighbours.
                        let element = term * Contract::pitch(side.tile) + number * (side.tile / groups);
                        let address = Address {
                            base,
                            offset: (start + element * bytes) as i32,
                        };
                        lowering.b.load_here(Space::Shared, width, neighbours as usize, address)
                    })
                    .collect()
            };
            let fragments: Vec<Vec<Reg>> = self
                .slabs()
                .map(|slab| {
                    if slab.0.of_rows {
                        fragment(left, slab, rows)
                    } else {
                        fragment(right, slab, columns)
                    }
                })
                .collect();
            for (sum, accumulators) in self.shape.sums.iter().zip(&self.accumulators) {
                let (left, right) = (&fragments[sum.left], &fragments[sum.right]);
                for (row, &x) in left.iter().enumerate() {
                    for (column, &y) in right.iter().enumerate() {
                        let accumulator = accumulators[row * columns as usize + column];
                        let sources = [x.into(), y.into(), accumulator.into()];
                        lowering.b.assign(fma_of(ty), accumulator, &sources);
                    }
                }
            }
        }
    }

    // ------------------------------------------------------------------ the outputs

    fn store(&self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let (rows, columns) = (self.point.thread_rows, self.point.thread_columns);
        let bytes = width_in_shared(self.shape.ty).bytes();
        let vector = self.tiling.output_vector(lowering, group(columns, bytes));
        for row in 0..rows {
            let place = self.place(&self.tiling.rows, self.thread_row, row, rows, bytes);
            for first in (0..columns).step_by(vector as usize) {
                let column = self.place(&self.tiling.columns, self.thread_column, first, columns, bytes);
                self.tiling
                    .outputs(lowering, &place, &column, vector, |lowering, sum, lane| {
                        let accumulator = self.accumulators[sum][(row * columns + first + lane) as usize];
                        Value::new(self.shape.ty, lowering.b.read(accumulator))
                    })?;
            }
        }
        Ok(())
    }

    /// The row (or column) of the tensor that a thread's `number`-th one is.
    fn place(&self, band: &Band, thread: Reg, number: u32, count: u32, bytes: u32) -> Linear {
        let neighbours = group(count, bytes);
        let groups = count / neighbours;
        let local = (number / neighbours) * (band.tile / groups) + number % neighbours;
        band.base
            .plus(&Linear::register(thread).times(i64::from(neighbours)))
            .plus_constant(i64::from(local))
    }
}

/// Neighbouring elements that a thread reads from shared memory at once: 16 bytes, if its tile has so many.
fn group(count: u32, bytes: u32) -> u32 {
    count.min(16 / bytes)
}

/// An address in shared memory: `base + at · bytes`.
fn shared_at(lowering: &mut Lowering<'_>, base: Reg, at: &Linear, bytes: u32) -> Address {
    let constant = at.constant_part() * i64::from(bytes);
    let scaled = at.plus_constant(-at.constant_part()).times(i64::from(bytes));
    let offset = lowering.math.operand(&mut lowering.b, &scaled);
    let base = match offset {
        Operand::Int(0) => base,
        offset => lowering.b.op(Opcode::AddS32, &[offset, base.into()]),
    };
    Address {
        base,
        offset: constant as i32,
    }
}
