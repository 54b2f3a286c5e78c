//! The arrival of slabs in shared memory.
//!
//! [`Swizzled`] slabs feed tensor cores. A factor that is multiplied as it is stored is copied by `cp.async`, 16 bytes at a time where
//! alignment allows; any other factor is evaluated in registers, as an ordinary expression, and stored.
//! [`Padded`] slabs feed fused multiply-adds. Every factor is evaluated in registers.

use super::block::Block;
use super::deal::Deal;
use super::held::Held;
use super::lines::{Lines, shared};
use super::multiplicand::Multiplicand;
use super::products::{Products, Side};
use super::slab::{Inside, Slab, or_zero};
use super::tiling::Tiling;
use crate::check::Checked;
use crate::ir::{Expr, ExprId, InputId, Literal, Op, Source};
use crate::lower::Error;
use crate::lower::expression::{Access, InSequence, Lowering, Reduce};
use crate::lower::index::Linear;
use crate::lower::value::{self, Value, width_in_shared};
use crate::ptx::{Address, Cache, Class, Few, Guard, Opcode, Operand, Reg, Space};
use crate::size::Specialisation;
use smallvec::smallvec;

/// Slabs in the layout that `ldmatrix` reads.
pub(crate) struct Swizzled<'t> {
    tiling: &'t Tiling<'t>,
    /// The types in which sides with the rows and sides with the columns are multiplied.
    pub multiplicands: [Multiplicand; 2],
    /// The layout of each slab.
    pub lines: Vec<Lines>,
    ways: Vec<Way>,
}

/// The way of a side's elements to shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `cp.async` of so many elements at a time.
    Copied(u32),
    /// Through registers, as they are stored.
    Stored,
    /// Evaluated in registers.
    Evaluated,
}

impl<'t> Swizzled<'t> {
    /// The layout of a tiling's slabs. Slabs whose lines are turned get a deal.
    pub fn layout(
        tiling: &mut Tiling<'_>,
        specialisation: &Specialisation,
        multiplicands: [Multiplicand; 2],
    ) -> Vec<Lines> {
        let (shape, block) = (tiling.shape, tiling.block);
        let mut start = 0;
        let mut lines = Vec::with_capacity(tiling.slabs.len());
        for (slab, side) in tiling.slabs.iter_mut().zip(&shape.sides) {
            let multiplicand = multiplicands[usize::from(!slab.of_rows)];
            let own = Lines::new(slab, side, block, multiplicand, start);
            start += slab.tile * block.depth * multiplicand.bytes();
            if own.turned {
                let [rows, terms] = patch(shape, specialisation, side, slab.tile, block, multiplicand);
                let steps = own.deal([rows, terms], [slab.tile, block.depth]);
                slab.deal = Some(Deal { terms, steps });
            }
            lines.push(own);
        }
        lines
    }

    /// The slabs of a tiling in that layout.
    ///
    /// # Errors
    /// As of lowering.
    pub fn new(
        lowering: &mut Lowering<'_>,
        tiling: &'t Tiling<'t>,
        multiplicands: [Multiplicand; 2],
        lines: Vec<Lines>,
    ) -> Result<Swizzled<'t>, Error> {
        let mut slabs = Swizzled {
            tiling,
            multiplicands,
            lines,
            ways: Vec::new(),
        };
        slabs.ways = (0..slabs.lines.len())
            .map(|number| slabs.way(lowering, number))
            .collect::<Result<_, _>>()?;
        Ok(slabs)
    }

    /// Bytes of a stage: all slabs.
    pub fn stage_bytes(&self) -> u32 {
        let block = self.tiling.block;
        let bytes = self.multiplicands[0].bytes();
        self.tiling.shape.elements(block.rows, block.columns) * block.depth * bytes
    }

    /// `true` if some slab is copied by `cp.async`.
    pub fn copies(&self) -> bool {
        self.ways.iter().any(|way| matches!(way, Way::Copied(_)))
    }

    /// The layout of each slab, and `true` if it is of rows.
    pub fn layouts(&self) -> impl Iterator<Item = (Lines, bool)> {
        let slabs = self.tiling.slabs.iter().map(|slab| slab.of_rows);
        self.lines.iter().copied().zip(slabs)
    }

    fn multiplicand(&self, slab: &Slab) -> Multiplicand {
        self.multiplicands[usize::from(!slab.of_rows)]
    }

    /// Finds out how a side comes to shared memory: what is read for its first elements tells. These instructions are left out
    /// again, since nobody uses them.
    fn way(&self, lowering: &mut Lowering<'_>, number: usize) -> Result<Way, Error> {
        let (side, lines) = (&self.tiling.slabs[number], self.lines[number]);
        let &[factor] = side.factors.as_slice() else {
            return Ok(Way::Evaluated);
        };
        let multiplicand = self.multiplicand(side);
        if !read_as_is(
            lowering.checked,
            lowering.specialisation,
            self.tiling.shape,
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

    /// Begins the copies of a slab.
    pub fn copy(&self, lowering: &mut Lowering<'_>, term: &Linear, stage: Reg, inside: Inside) -> Result<(), Error> {
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
    pub fn touch(
        &self,
        lowering: &mut Lowering<'_>,
        term: &Linear,
        inside: Inside,
        loads: &mut Held,
    ) -> Result<(), Error> {
        for (side, way) in self.tiling.slabs.iter().zip(&self.ways) {
            if matches!(way, Way::Copied(_)) {
                continue;
            }
            self.tiling.touch(lowering, side, term, inside, loads)?;
        }
        Ok(())
    }

    /// Puts what goes through registers into shared memory.
    pub fn fill(
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
    fn evaluated(
        &self,
        lowering: &mut Lowering<'_>,
        side: &Slab,
        guard: Option<Reg>,
        loads: &mut Held,
    ) -> Result<Operand, Error> {
        let value = side.product(lowering, loads)?;
        let value = or_zero(lowering, value, guard);
        Ok(value::to_storage(
            &mut lowering.b,
            self.multiplicand(side).element(),
            value,
        ))
    }
}

/// Slabs of values of the size of the sums' type, `[term][row]`, with padded lines.
pub(crate) struct Padded<'t> {
    tiling: &'t Tiling<'t>,
}

/// Elements between the starts of two terms of a padded slab: still a multiple of 16 bytes.
pub(crate) const fn pitch(tile: u32) -> u32 {
    tile + 4
}

/// Elements of one stage of padded slabs for a block of so many rows and columns.
pub(crate) fn padded_elements(shape: &Products, rows: u32, columns: u32, depth: u32) -> u32 {
    depth * shape.tiles(rows, columns).map(|(_, tile)| pitch(tile)).sum::<u32>()
}

impl<'t> Padded<'t> {
    pub fn new(tiling: &'t Tiling<'t>) -> Padded<'t> {
        Padded { tiling }
    }

    /// Each slab, and the bytes from the start of a stage to it.
    pub fn slabs(&self) -> impl Iterator<Item = (&Slab, u32)> {
        let mut start = 0;
        self.tiling.slabs.iter().map(move |slab| {
            let bytes = self.tiling.block.depth * pitch(slab.tile) * width_in_shared(self.tiling.shape.ty).bytes();
            start += bytes;
            (slab, start - bytes)
        })
    }

    /// Bytes of a stage: all slabs.
    pub fn stage_bytes(&self) -> u32 {
        let Tiling { shape, block, .. } = self.tiling;
        padded_elements(shape, block.rows, block.columns, block.depth) * width_in_shared(shape.ty).bytes()
    }

    /// Issues the loads of a slab, which begins with that one of the block's terms; what is done with the values comes later.
    pub fn touch(&self, lowering: &mut Lowering<'_>, term: &Linear, inside: Inside) -> Result<(), Error> {
        let mut slabs = self.tiling.slabs.iter();
        slabs.try_for_each(|slab| self.tiling.touch(lowering, slab, term, inside, &mut InSequence))
    }

    /// Puts a slab into shared memory.
    pub fn load(&self, lowering: &mut Lowering<'_>, term: &Linear, stage: Reg, inside: Inside) -> Result<(), Error> {
        for (side, start) in self.slabs() {
            let width = width_in_shared(side.ty);
            let pitch = i64::from(pitch(side.tile));
            let mut values: Vec<Operand> = Vec::new();
            self.tiling
                .each_element(lowering, side, term, inside, |lowering, side, piece, lane, guard| {
                    let value = side.product(lowering, &mut InSequence)?;
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
}

/// `true` if a factor is an element of a tensor, multiplied as it is stored; outside of it 0.
pub(crate) fn read_as_is(
    checked: &Checked,
    specialisation: &Specialisation,
    shape: &Products,
    factor: ExprId,
    multiplicand: Multiplicand,
) -> bool {
    let op = checked.op();
    let Expr::Read {
        source: Source::Input(input),
        ref index,
        or,
    } = *op.expr(factor)
    else {
        return false;
    };
    let zero = |or: ExprId| matches!(op.expr(or), Expr::Literal(Literal::Float(0.0) | Literal::Int(0)));
    // Beyond the last term it is 0 because its index is beyond.
    let summed = shape
        .depth
        .iter()
        .flatten()
        .any(|&axis| checked.axes(factor).contains(axis));
    let gathered = (0..index.len()).any(|dimension| checked.gathered(factor, dimension));
    op.inputs[input.index()].element == multiplicand.element()
        && or.is_none_or(zero)
        && summed
        && !(gathered && (specialisation.check_indices || index.iter().any(|&at| may_read(op, at, input))))
}

/// `true` if an expression may read a tensor.
fn may_read(op: &Op, expr: ExprId, tensor: InputId) -> bool {
    if let Expr::Read { source, .. } = *op.expr(expr)
        && (source == Source::Input(tensor) || matches!(source, Source::Let(_)))
    {
        return true;
    }
    let mut found = false;
    op.operands(expr, |operand| found |= may_read(op, operand, tensor));
    found
}

/// The neighbours and the terms of a side that a thread loads before it stores them: up to 16 bytes of multiplicands, the same for all
/// threads.
///
/// `ldmatrix` cannot transpose 4-byte elements. Where neighbours in memory are different rows of such elements, a thread stores several
/// terms of a row at once.
pub(crate) fn patch(
    shape: &Products,
    specialisation: &Specialisation,
    side: &Side,
    tile: u32,
    block: Block,
    multiplicand: Multiplicand,
) -> [u32; 2] {
    let bytes = multiplicand.bytes();
    let elements = tile * block.depth / block.threads;
    let mut vector = shape.vector(specialisation, side, 16 / bytes);
    let terms = if !side.along_depth && bytes == 4 {
        elements.min(4)
    } else {
        1
    };
    while vector > 1 && !elements.is_multiple_of(vector * terms) {
        vector /= 2;
    }
    [vector, terms]
}

/// Notes the access to a tensor instead of loading it. The indices that gather from it are loaded.
struct Note {
    tensor: InputId,
    access: Option<Access>,
}

impl Reduce for Note {
    fn reduce(&mut self, _: &mut Lowering<'_>, _: ExprId) -> Result<Option<Value>, Error> {
        Ok(None)
    }

    fn elements(&mut self, lowering: &mut Lowering<'_>, access: &Access) -> Few<Reg> {
        if access.input != self.tensor {
            return lowering.load_elements(access);
        }
        self.access = Some(access.clone());
        // As many as there are elements, and never used.
        let none = lowering.b.constant(Class::B32, 0.into());
        smallvec![none; access.count as usize]
    }
}

/// The access of a factor that is a lone read, for the present bindings of its axes.
pub(crate) fn access(lowering: &mut Lowering<'_>, factor: ExprId) -> Result<Access, Error> {
    let Expr::Read {
        source: Source::Input(tensor),
        ..
    } = *lowering.op().expr(factor)
    else {
        return Err(Error::Unbound);
    };
    let mut note = Note { tensor, access: None };
    lowering.read_stored(factor, &mut note)?;
    note.access.ok_or(Error::Unbound)
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
