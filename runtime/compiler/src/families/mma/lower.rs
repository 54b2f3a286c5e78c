//! `contract` with tensor cores: a tile of outputs in each warp's registers, as `mma.sync` has it.
//!
//! ```text
//! global ── cp.async, or registers ──▶ stages in shared memory ── ldmatrix ──▶ fragments ── mma ──▶ accumulators
//!                                                                                                       │
//! outputs ◀── epilogue, neighbours at once ◀── rows of 16, as they lie in memory ◀── shared memory ─────┘
//! ```
//!
//! A factor that is multiplied as it is stored is copied, 16 bytes at a time where alignment allows; any other is evaluated
//! as an ordinary expression where its slab is loaded. A slab lies in shared memory in lines: of terms, one a row, or, where
//! memory is contiguous along the rows, of rows, one a term. `ldmatrix` transposes by units of 2 bytes. Of single bytes these are pairs
//! of rows, which are taken apart in registers. Words it would tear apart: their lines are always of terms, and a thread that loads
//! several rows of several terms stores terms. In all the 16-byte chunks of a line are permuted by the number of the line
//! ([`Lines::at`]), so that neither copies, nor stores, nor `ldmatrix` meet in a bank.

use crate::lower::Error;
use crate::lower::expression::{Access, Lowering, Reduce};
use crate::lower::grid::Grid;
use crate::lower::index::Linear;
use crate::lower::value::{self, Value, class_of};
use crate::ir::ExprId;
use crate::problem::Problem;
use crate::ptx::builder::move_of;
use crate::ptx::{Address, Builder, Cache, Class, Compare, Few, Guard, Opcode, Operand, Reg, Space, Turns};
use smallvec::smallvec;
use super::shape::{MmaShape, Multiplicand, shape};
use super::space::{Mma, minimum_blocks, patch, read_as_is};
use super::held::Held;
use super::lines::{Lines, address, exclusive_or, shared, sum};
use crate::lower::tile::shape::{ContractShape, Side};
use crate::lower::tile::deal::Deal;
use crate::lower::tile::split_k::Part;
use crate::lower::tile::{Block, Inside, Slab, Tiling, or_zero};

pub(super) fn lower<'a>(
    problem: &Problem<'a>, name: &str,
    point: &Mma,
) -> Result<(Lowering<'a>, Grid), Error> {
    let found = shape(problem);
    let MmaShape {
        products: shape,
        multiplicands,
    } = found.as_ref().as_ref().ok_or(Error::Unbound)?;
    let mut lowering = Lowering::new(problem, name, point.threads());
    lowering
        .b
        .set_minimum_blocks(minimum_blocks(problem, point));
    let block = Block {
        rows: point.block_rows,
        columns: point.block_columns,
        depth: point.block_depth,
        threads: point.threads(),
        group: point.group,
        parts: point.parts,
    };
    let blocks = block.each_tile(&mut lowering, shape, point.blocks, |lowering, part| {
        let mut tile = Tile::new(lowering, point, shape, block, &part, *multiplicands)?;
        tile.sum(lowering)?;
        let sums: Vec<Reg> = tile.accumulators.iter().flatten().flatten().copied().collect();
        part.join(lowering, shape.ty, &sums, |lowering| tile.store(lowering))
    })?;
    let shared = point.shared_bytes(shape, multiplicands[0].bytes());
    Ok((lowering, Grid::of(blocks, point.threads(), shared)))
}

/// A block's work.
pub(super) struct Tile<'a> {
    pub(super) point: &'a Mma,
    pub(super) shape: &'a ContractShape,
    pub(super) tiling: Tiling<'a>,
    /// What sides with the rows are multiplied as, and those with the columns.
    pub(super) multiplicands: [Multiplicand; 2],
    /// How each slab lies in shared memory, and comes there.
    pub(super) lines: Vec<Lines>,
    pub(super) ways: Vec<Way>,
    pub(super) base: Reg,
    pub(super) warp: Warp,
    /// Of each sum, of each tile of 16 × 8 of the warp's, row-major, four mutable registers.
    pub(super) accumulators: Vec<Vec<[Reg; 4]>>,
}

/// Where a thread stands.
pub(super) struct Warp {
    pub(super) lane: Reg,
    /// Its number in the block.
    pub(super) number: Reg,
    /// Which part of the terms it sums.
    pub(super) slice: Linear,
    /// The first row and column of its tile, within the block's.
    pub(super) row: Linear,
    pub(super) column: Linear,
}

/// How a side's elements come to shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Copied, so many at a time.
    Copied(u32),
    /// As they are stored, through registers.
    Stored,
    /// Evaluated.
    Evaluated,
}

impl<'a> Tile<'a> {
    pub(super) fn new(
        lowering: &mut Lowering<'_>,
        point: &'a Mma,
        shape: &'a ContractShape,
        block: Block,
        part: &Part,
        multiplicands: [Multiplicand; 2],
    ) -> Result<Tile<'a>, Error> {
        let specialisation = lowering.specialisation;
        let patch = |side: &Side, tile| {
            let multiplicand = multiplicands[usize::from(!side.of_rows)];
            patch(shape, specialisation, side, tile, point, multiplicand)
        };
        let mut tiling = Tiling::new(lowering, shape, block, part, |side, tile| patch(side, tile)[0]);
        let mut start = 0;
        let mut lines = Vec::with_capacity(tiling.slabs.len());
        for (slab, side) in tiling.slabs.iter_mut().zip(&shape.sides) {
            let multiplicand = multiplicands[usize::from(!slab.of_rows)];
            let own = Lines::new(slab, side, block, multiplicand, start);
            start += slab.tile * block.depth * multiplicand.bytes();
            if own.turned {
                let [rows, terms] = patch(side, slab.tile);
                let steps = own.deal([rows, terms], [slab.tile, block.depth]);
                slab.deal = Some(Deal { terms, steps });
            }
            lines.push(own);
        }
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let warp = Warp::new(lowering, point, tid);
        let base = lowering.b.shared_base();
        let mut tile = Tile {
            point,
            shape,
            tiling,
            multiplicands,
            lines,
            ways: Vec::new(),
            base,
            warp,
            accumulators: Vec::new(),
        };
        tile.ways = (0..tile.lines.len())
            .map(|number| tile.way(lowering, number))
            .collect::<Result<_, _>>()?;
        Ok(tile)
    }

    pub(super) fn multiplicand(&self, slab: &Slab) -> Multiplicand {
        self.multiplicands[usize::from(!slab.of_rows)]
    }

    pub(super) fn stage_bytes(&self) -> u32 {
        self.point.stage_bytes(self.shape, self.multiplicands[0].bytes())
    }

    /// Finds out how a side comes to shared memory: what is read for its first elements tells. These instructions are left out
    /// again, since nobody uses them.
    pub(super) fn way(&self, lowering: &mut Lowering<'_>, number: usize) -> Result<Way, Error> {
        let (side, lines) = (&self.tiling.slabs[number], self.lines[number]);
        let &[factor] = side.factors.as_slice() else {
            return Ok(Way::Evaluated);
        };
        let multiplicand = self.multiplicand(side);
        if !read_as_is(
            lowering.checked,
            lowering.specialisation,
            self.shape,
            factor,
            multiplicand,
        ) {
            return Ok(Way::Evaluated);
        }
        let mut accesses: Vec<Access> = Vec::new();
        let inside = Inside::Each;
        self.tiling.each_element(
            lowering,
            side,
            &Linear::constant(0),
            inside,
            |lowering, side, _, _, _| {
                if accesses.len() < side.vector as usize {
                    accesses.push(access(lowering, factor)?);
                }
                Ok(())
            },
        )?;
        let count = accesses.first().map_or(1, |access| access.count);
        let neighbours = accesses.iter().enumerate().all(|(lane, access)| {
            let first = accesses[0].first.plus_constant(i64::from(lane as u32 / count * count));
            access.count == count && access.first == first
        });
        Ok(if !neighbours || lines.turned || count * lines.element < 4 {
            Way::Stored
        } else {
            Way::Copied(count)
        })
    }

    // ------------------------------------------------------------------ the sums

    pub(super) fn sum(&mut self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let class = class_of(self.shape.ty);
        let zero = Value::zero(&mut lowering.b, self.shape.ty).operand;
        let tiles = self.point.warp_rows / 16 * (self.point.warp_columns / 8);
        let mut tile = || std::array::from_fn(|_| lowering.b.mutable(class, zero));
        let sums = self.shape.sums.iter();
        self.accumulators = sums.map(|_| (0..tiles).map(|_| tile()).collect()).collect();
        let slab = i64::from(self.point.block_depth);
        let stages = i64::from(self.point.stages);
        let depth = self.tiling.length.as_constant();
        let whole = depth.is_some_and(|depth| depth % slab == 0 && depth > 0);
        let (axes, factors) = self.tiling.summed();
        let outside = lowering.enter(&axes, &factors);

        let copies = self.ways.iter().any(|way| matches!(way, Way::Copied(_)));
        // All stages but one are on their way before the first is waited for.
        for stage in 0..stages - 1 {
            let first = Linear::constant(stage * slab);
            // Those beyond the last slab are groups of nothing.
            if depth.is_none_or(|depth| stage * slab < depth) {
                let inside = if whole { Inside::All } else { Inside::Each };
                let at = (stage * i64::from(self.stage_bytes())).into();
                let to = lowering.b.op(Opcode::AddS32, &[self.base.into(), at]);
                self.copy(lowering, &first, to, inside)?;
                let mut loads = Held::new(lowering, inside);
                self.fill(lowering, &first, to, inside, &mut loads)?;
            }
            if copies {
                lowering.b.converge(Opcode::CopyCommit, &[]);
            }
        }
        let all = self.stage_bytes() * self.point.stages;
        let first = lowering.b.mutable(Class::B32, self.base.into());
        let last = (stages - 1) * i64::from(self.stage_bytes());
        let last = lowering.b.op(Opcode::AddS32, &[self.base.into(), last.into()]);
        let last = lowering.b.mutable(Class::B32, last.into());

        let end = lowering.math.operand(&mut lowering.b, &self.tiling.length);
        let entered = depth.is_some_and(|depth| depth > 0);
        let turns = Turns::new(0, end, slab).entered(entered).rolled();
        let counter = lowering.b.begin_loop(Class::B32, turns);
        lowering.note_multiple(counter, self.point.block_depth.min(16));
        let wait = match stages {
            2 => Opcode::CopyWait0,
            3 => Opcode::CopyWait1,
            4 => Opcode::CopyWait2,
            _ => Opcode::CopyWait3,
        };
        if copies {
            lowering.b.converge(wait, &[]);
        }
        // All have come here: the slab is complete, and the one before it is not read any more.
        lowering.b.barrier();
        let next = Linear::register(counter).plus_constant((stages - 1) * slab);
        let more = depth.is_none_or(|depth| depth > (stages - 1) * slab);
        let inside = if whole && more {
            Inside::Where(lowering.below(&next, &self.tiling.length))
        } else {
            Inside::Each
        };
        let (read, write) = (lowering.b.read(first), lowering.b.read(last));
        if more {
            self.copy(lowering, &next, write, inside)?;
        }
        if copies {
            lowering.b.converge(Opcode::CopyCommit, &[]);
        }
        let mut loads = Held::new(lowering, inside);
        if more {
            self.touch(lowering, &next, inside, &mut loads)?;
        }
        self.accumulate(lowering, read);
        if more {
            loads.arrive(&mut lowering.b);
            self.fill(lowering, &next, write, inside, &mut loads)?;
        }
        for stage in [first, last] {
            self.advance(lowering, stage, all);
        }
        lowering.b.end();
        lowering.leave(outside);
        if copies {
            lowering.b.converge(Opcode::CopyWait0, &[]);
        }
        lowering.b.barrier();
        Ok(())
    }

    /// The next of the stages, which lie in a ring.
    pub(super) fn advance(&self, lowering: &mut Lowering<'_>, stage: Reg, all: u32) {
        let b = &mut lowering.b;
        let end = b.op(Opcode::AddS32, &[self.base.into(), i64::from(all).into()]);
        b.assign(
            Opcode::AddS32,
            stage,
            &[stage.into(), i64::from(self.stage_bytes()).into()],
        );
        let next = b.read(stage);
        let predicate = b.compare(Compare::Eq, Class::B32, next.into(), end.into());
        let guard = Some(Guard { predicate, holds: true });
        b.assign_if(guard, move_of(Class::B32), stage, &[self.base.into()]);
    }

    /// Begins the copies of a slab.
    pub(super) fn copy(&self, lowering: &mut Lowering<'_>, term: &Linear, stage: Reg, inside: Inside) -> Result<(), Error> {
        for (number, side) in self.tiling.slabs.iter().enumerate() {
            let (Way::Copied(count), lines, factor) = (self.ways[number], self.lines[number], side.factors[0]) else {
                continue;
            };
            let bytes = count * lines.element;
            self.tiling
                .each_element(lowering, side, term, inside, |lowering, _, piece, lane, wanted| {
                    if lane % count != 0 {
                        return Ok(());
                    }
                    let access = access(lowering, factor)?;
                    let from = lowering
                        .math
                        .address(&mut lowering.b, access.base, &access.first, lines.element);
                    let (line, byte) = lines.place(piece);
                    let byte = byte.plus_constant(i64::from(lane * lines.element));
                    let to = shared(lowering, stage, lines, &line, &byte);
                    // A slab beyond the last is not copied at all; what is beyond an edge becomes zeros.
                    let slab = matches!(inside, Inside::Where(_)).then_some(wanted).flatten();
                    let guard = slab.map(|predicate| Guard { predicate, holds: true });
                    let size = access.guard.filter(|&guard| Some(guard) != slab).map(|predicate| {
                        let sources = [i64::from(bytes).into(), 0.into(), predicate.into()];
                        lowering.b.op(Opcode::SelB32, &sources).into()
                    });
                    lowering.b.copy(bytes, to, from, size, guard);
                    Ok(())
                })?;
        }
        Ok(())
    }

    /// Issues the loads of what goes through registers; what is done with the values comes later.
    pub(super) fn touch(&self, lowering: &mut Lowering<'_>, term: &Linear, inside: Inside, loads: &mut Held) -> Result<(), Error> {
        for (side, way) in self.tiling.slabs.iter().zip(&self.ways) {
            if matches!(way, Way::Copied(_)) {
                continue;
            }
            self.tiling.touch(lowering, side, term, inside, loads)?;
        }
        Ok(())
    }

    /// Puts what goes through registers into shared memory.
    pub(super) fn fill(
        &self,
        lowering: &mut Lowering<'_>,
        term: &Linear,
        stage: Reg,
        inside: Inside,
        loads: &mut Held,
    ) -> Result<(), Error> {
        for (number, side) in self.tiling.slabs.iter().enumerate() {
            let (way, lines) = (self.ways[number], self.lines[number]);
            if matches!(way, Way::Copied(_)) {
                continue;
            }
            let element = self.multiplicand(side).element();
            let (vector, terms) = (side.vector as usize, side.deal.as_ref().map_or(1, |deal| deal.terms));
            let mut values: Vec<Operand> = Vec::new();
            self.tiling
                .each_element(lowering, side, term, inside, |lowering, side, piece, _, guard| {
                    let value = if way == Way::Stored {
                        lowering.read_stored(side.factors[0], loads)?.into()
                    } else {
                        // A slab beyond the last is read by nobody.
                        let guard = guard.filter(|_| !matches!(inside, Inside::Where(_)));
                        self.evaluated(lowering, side, guard, loads)?
                    };
                    values.push(value);
                    if values.len() < vector * terms as usize {
                        return Ok(());
                    }
                    let mut store = |line: &Linear, byte: &Linear, values: &[Operand]| {
                        let to = shared(lowering, stage, lines, line, byte);
                        let (width, packed) = lowering.pack(element, values);
                        lowering.b.store(Space::Shared, width, to, &packed, Cache::Normal, None);
                    };
                    let (line, byte) = lines.place(piece);
                    if side.deal.is_some() {
                        // All terms of a row, then of the next.
                        let byte = byte.plus_constant(-i64::from((terms - 1) * lines.element));
                        for row in 0..vector {
                            let of_row: Few<Operand> = values[row..].iter().step_by(vector).copied().collect();
                            store(&line.plus_constant(row as i64), &byte, &of_row);
                        }
                    } else {
                        store(&line, &byte, &values);
                    }
                    values.clear();
                    Ok(())
                })?;
        }
        Ok(())
    }

    /// The product of a side's factors as tensor cores multiply it, without rounding; 0 where it is no term of the sum.
    pub(super) fn evaluated(
        &self,
        lowering: &mut Lowering<'_>,
        side: &Slab,
        guard: Option<Reg>,
        loads: &mut Held,
    ) -> Result<Operand, Error> {
        let value = side.product(lowering, self.shape.ty, loads)?;
        let value = or_zero(lowering, value, guard);
        Ok(value::to_storage(
            &mut lowering.b,
            self.multiplicand(side).element(),
            value,
        ))
    }

    /// Adds a slab's products to the accumulators: of the warp's slice of the terms, 32 bytes of them at a time.
    pub(super) fn accumulate(&self, lowering: &mut Lowering<'_>, stage: Reg) {
        let element = self.multiplicands[0].bytes();
        let steps = self.point.block_depth * element / 32 / self.point.split;
        let columns = self.point.warp_columns / 8;
        for step in 0..steps {
            let fragments: Vec<Vec<Few<Reg>>> = (0..self.lines.len())
                .map(|slab| self.fragments(lowering, stage, slab, step, steps))
                .collect();
            for (sum, accumulators) in self.shape.sums.iter().zip(&self.accumulators) {
                let (left, right) = (&fragments[sum.left], &fragments[sum.right]);
                for (row, left) in left.iter().enumerate() {
                    for column in 0..columns as usize {
                        // Of 16 columns, the first 8 have the matrices 0 and 1, the others 2 and 3.
                        let right = &right[column / 2][column % 2 * 2..][..2];
                        let accumulator = accumulators[row * columns as usize + column];
                        let sources: Few<Operand> = left
                            .iter()
                            .chain(right)
                            .chain(&accumulator)
                            .map(|&reg| reg.into())
                            .collect();
                        lowering.b.assign_all(self.instruction(), &accumulator, &sources);
                    }
                }
            }
        }
    }

    pub(super) fn instruction(&self) -> Opcode {
        match self.multiplicands {
            [Multiplicand::F16, _] => Opcode::MmaF16,
            [Multiplicand::Bf16, _] => Opcode::MmaBf16,
            [Multiplicand::Tf32, _] => Opcode::MmaTf32,
            [Multiplicand::Int8(true), Multiplicand::Int8(true)] => Opcode::MmaS8S8,
            [Multiplicand::Int8(true), _] => Opcode::MmaS8U8,
            [Multiplicand::Int8(false), Multiplicand::Int8(true)] => Opcode::MmaU8S8,
            [Multiplicand::Int8(false), _] => Opcode::MmaU8U8,
        }
    }

    /// The fragments of a side for one step: of each 16 rows (or columns) four matrices of 8 rows by 16 bytes of terms. Lane `l` has
    /// the address of line `l % 8` of matrix `l / 8`. On the left matrix 1 is the next 8 rows and 2 the next 16 bytes, on the right
    /// it is the other way round.
    pub(super) fn fragments(&self, lowering: &mut Lowering<'_>, stage: Reg, slab: usize, step: u32, steps: u32) -> Vec<Few<Reg>> {
        let (lines, of_rows) = (self.lines[slab], self.tiling.slabs[slab].of_rows);
        let (tile, origin) = if of_rows {
            (self.point.warp_rows, &self.warp.row)
        } else {
            (self.point.warp_columns, &self.warp.column)
        };
        let b = &mut lowering.b;
        let lane = self.warp.lane.into();
        let within = Linear::register(b.op(Opcode::AndB32, &[lane, 7.into()]));
        let bit = |b: &mut Builder, at: i64| {
            let down = b.op(Opcode::ShrU32, &[lane, at.into()]);
            Linear::register(b.op(Opcode::AndB32, &[down.into(), 1.into()]))
        };
        let (odd, upper) = (bit(b, 3), bit(b, 4));
        let (rows, terms) = if of_rows { (&odd, &upper) } else { (&upper, &odd) };
        // In units of 16 bytes of terms.
        let unit = self.warp.slice.times(i64::from(steps * 2));
        let unit = unit.plus_constant(i64::from(2 * step));
        let (line, byte) = if lines.paired {
            // Lanes have 4 neighbouring terms: two of the first matrix, two of the second.
            let first = Linear::register(b.op(Opcode::AndB32, &[lane, 1.into()]));
            let pair = Linear::register(b.op(Opcode::AndB32, &[lane, 6.into()]));
            let line = pair.plus(&odd).times(2).plus(&first).plus(&upper.times(16));
            (line.plus(&unit.times(16)), origin.clone())
        } else if lines.of_terms {
            let line = origin.plus(&rows.times(8)).plus(&within);
            (line, unit.plus(terms).times(16))
        } else {
            let line = unit.plus(terms).times(8).plus(&within);
            (line, origin.plus(&rows.times(8)).times(2))
        };
        (0..i64::from(tile / 16))
            .map(|number| {
                let (line, byte) = if lines.of_terms {
                    (line.plus_constant(16 * number), byte.clone())
                } else {
                    (line.clone(), byte.plus_constant(16 * number * i64::from(lines.element)))
                };
                let at = self.fragment(lowering, lines, &line, &byte, stage);
                let matrices = lowering.b.load_matrices(!lines.of_terms, at);
                if lines.paired {
                    taken_apart(&mut lowering.b, &matrices, of_rows)
                } else {
                    matrices
                }
            })
            .collect()
    }

    /// Where a lane's line of a matrix is. Its number is a multiple of 16 and the lane's among those of two matrices, which is all that
    /// permutes the chunks; and what is constant in the byte shares no bits with what is not, so it can be taken in last.
    pub(super) fn fragment(&self, lowering: &mut Lowering<'_>, lines: Lines, line: &Linear, byte: &Linear, stage: Reg) -> Address {
        let constant = byte.constant_part();
        let (low, high) = (constant % 128, constant - constant % 128);
        let whole_lines = line.constant_part();
        let (line, byte) = (line.plus_constant(-whole_lines), byte.plus_constant(-constant));
        let (at, _) = lines.at(lowering, &line, &byte);
        let at = exclusive_or(lowering, at, low.into());
        let base = sum(lowering, at, stage.into());
        let offset = i64::from(lines.start) + high + whole_lines * i64::from(lines.bytes);
        address(lowering, base, offset)
    }
}

impl Warp {
    pub(super) fn new(lowering: &mut Lowering<'_>, point: &Mma, tid: Reg) -> Warp {
        let b = &mut lowering.b;
        let lane = b.op(Opcode::AndB32, &[tid.into(), 31.into()]);
        let number = b.op(Opcode::ShrU32, &[tid.into(), 5.into()]);
        let across = i64::from(point.block_columns / point.warp_columns);
        let tiles = i64::from(point.block_rows / point.warp_rows) * across;
        let math = lowering.math;
        let number_ = Linear::register(number);
        let (slice, tile) = if point.split == 1 {
            (Linear::constant(0), number_)
        } else {
            math.divide(b, &number_, &Linear::constant(tiles))
        };
        let (row, column) = match tiles / across {
            1 => (Linear::constant(0), tile),
            _ => math.divide(b, &tile, &Linear::constant(across)),
        };
        Warp {
            lane,
            number,
            slice,
            row: row.times(point.warp_rows.into()),
            column: column.times(point.warp_columns.into()),
        }
    }
}

/// Of matrices whose lanes have two terms of two rows, fragments: of each half of the terms the even row and the odd one. On the right the
/// halves of the terms come first.
pub(super) fn taken_apart(b: &mut Builder, matrices: &[Reg], of_rows: bool) -> Few<Reg> {
    let mut row = |terms: usize, bytes: i64| {
        let [first, second] = [matrices[2 * terms], matrices[2 * terms + 1]];
        b.op(Opcode::PrmtB32, &[first.into(), second.into(), bytes.into()])
    };
    let (even, odd) = (0x6420, 0x7531);
    if of_rows {
        smallvec![row(0, even), row(0, odd), row(1, even), row(1, odd)]
    } else {
        smallvec![row(0, even), row(1, even), row(0, odd), row(1, odd)]
    }
}

/// Takes note of what is read.
#[derive(Default)]
pub(super) struct Note(Option<Access>);

impl Reduce for Note {
    fn reduce(&mut self, _: &mut Lowering<'_>, _: ExprId) -> Result<Option<Value>, Error> {
        Ok(None)
    }

    fn elements(&mut self, lowering: &mut Lowering<'_>, access: &Access) -> Few<Reg> {
        self.0 = Some(access.clone());
        // As many as there are elements, and never used.
        let none = lowering.b.constant(Class::B32, 0.into());
        smallvec![none; access.count as usize]
    }
}

/// What a factor that is a read alone reads where its axes are bound as they are.
pub(super) fn access(lowering: &mut Lowering<'_>, factor: ExprId) -> Result<Access, Error> {
    let mut note = Note::default();
    lowering.read_stored(factor, &mut note)?;
    note.0.ok_or(Error::Unbound)
}
