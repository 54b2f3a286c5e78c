//! Slabs: rows or keys in shared memory, a line of features each.
//!
//! Lines are 16 bytes longer than their features. So 8 lines have a chunk of 16 bytes in 8 places, and neither copies nor `ldmatrix` have
//! bank conflicts, whatever the number of features is; and every address is the lane's and a constant.

use crate::element::{Element, Type};
use crate::ir::{Expr, ExprId};
use crate::lower::Error;
use crate::lower::expression::{InSequence, Lanes, Lowering};
use crate::lower::index::Linear;
use crate::lower::tile::address::{address, sum};
use crate::lower::tile::arrival::access;
use crate::lower::value;
use crate::ptx::{Address, Cache, Class, Compare, Few, Guard, Opcode, Operand, Reg, Space};

/// Bytes of an element, and of a chunk that a thread copies.
const ELEMENT: u32 = 2;
const CHUNK: u32 = 16;
/// Elements of a chunk.
const NEIGHBOURS: u32 = CHUNK / ELEMENT;

/// Lines of features in shared memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slab {
    /// Bytes from the start of shared memory.
    pub start: u32,
    /// A power of two.
    pub lines: u32,
    /// A multiple of 16.
    pub features: u32,
}

/// A factor that fills a slab.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factor {
    pub expr: ExprId,
    /// The element that is multiplied.
    pub element: Element,
    /// `true` if it is an element of a tensor, as it is stored.
    pub stored: bool,
}

impl Slab {
    /// Bytes between two lines.
    pub const fn pitch(self) -> u32 {
        ELEMENT * self.features + CHUNK
    }

    pub const fn bytes(self) -> u32 {
        self.lines * self.pitch()
    }

    /// Fills the slab: begins copies where elements of a tensor lie side by side, and stores what is evaluated. `bind` binds the factor's axes
    /// to a line and a feature. Nobody reads the slab unless `exists` holds.
    ///
    /// # Errors
    /// As of lowering.
    pub fn fill(
        self,
        lowering: &mut Lowering<'_>,
        threads: u32,
        factor: Factor,
        exists: Option<Reg>,
        bind: &mut dyn FnMut(&mut Lowering<'_>, &Linear, &Linear) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let chunks = self.features / NEIGHBOURS;
        // Threads run along a line as far as a power of two divides its chunks: then all lines of a thread lie apart by constants. Eight of them
        // copy whole lines of L2, and more would only load the same indices.
        let across = (1 << chunks.trailing_zeros()).min(8);
        let lines = threads / across;
        let b = &mut lowering.b;
        let tid = b.op(Opcode::TidX, &[]);
        let chunk = b.op(Opcode::AndB32, &[tid.into(), i64::from(across - 1).into()]);
        let line = b.op(Opcode::ShrU32, &[tid.into(), i64::from(across.trailing_zeros()).into()]);
        let mut works = None;
        let mut line = line;
        if lines > self.lines {
            let all = i64::from(self.lines);
            works = Some(b.compare(Compare::Lt, Class::B32, line.into(), all.into()));
            // Threads beyond the lines copy nothing, at addresses of others.
            line = b.op(Opcode::AndB32, &[line.into(), (all - 1).into()]);
        }
        let (chunk, line) = (Linear::register(chunk), Linear::register(line));
        // Indices of all lines are loaded before a copy waits for one.
        for first in (0..self.lines).step_by(lines as usize) {
            bind(
                lowering,
                &line.plus_constant(first.into()),
                &chunk.times(NEIGHBOURS.into()),
            )?;
            touch_indices(lowering, factor.expr)?;
        }
        for first in (0..self.lines).step_by(lines as usize) {
            for part in (0..chunks).step_by(across as usize) {
                let line = line.plus_constant(first.into());
                let chunk = chunk.plus_constant(part.into());
                self.fill_chunk(lowering, factor, [works, exists], (&line, &chunk), bind)?;
            }
        }
        Ok(())
    }

    fn fill_chunk(
        self,
        lowering: &mut Lowering<'_>,
        factor: Factor,
        [works, exists]: [Option<Reg>; 2],
        (line, chunk): (&Linear, &Linear),
        bind: &mut dyn FnMut(&mut Lowering<'_>, &Linear, &Linear) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let works = lowering.both(works, exists);
        let guard = works.map(|predicate| Guard { predicate, holds: true });
        let feature = chunk.times(NEIGHBOURS.into());
        let to = self.address(lowering, line, &chunk.times(CHUNK.into()));
        let &[(register, _)] = chunk.terms() else {
            return Err(Error::Unbound);
        };
        lowering.lanes = Some(Lanes {
            register,
            width: NEIGHBOURS,
        });
        bind(lowering, line, &feature)?;
        let count = match factor.stored {
            true => access(lowering, factor.expr)?.count,
            false => 1,
        };
        let mut values: Few<Operand> = Few::new();
        for lane in (0..NEIGHBOURS).step_by(count as usize) {
            bind(lowering, line, &feature.plus_constant(lane.into()))?;
            if count > 1 {
                let to = Address {
                    offset: to.offset + (lane * ELEMENT) as i32,
                    ..to
                };
                self.copy(lowering, factor, to, guard, exists)?;
            } else if factor.stored {
                values.push(lowering.stored(factor.expr)?.into());
            } else {
                let value = lowering.value_as(factor.expr, Type::F32, &mut InSequence)?;
                values.push(value::to_storage(&mut lowering.b, factor.element, value));
            }
        }
        lowering.lanes = None;
        if !values.is_empty() {
            let (width, packed) = lowering.pack(factor.element, &values);
            lowering
                .b
                .store(Space::Shared, width, to, &packed, Cache::Normal, guard);
        }
        Ok(())
    }

    /// Begins a copy. What the factor's axes do not reach becomes zeros.
    fn copy(
        self,
        lowering: &mut Lowering<'_>,
        factor: Factor,
        to: Address,
        guard: Option<Guard>,
        exists: Option<Reg>,
    ) -> Result<(), Error> {
        let access = access(lowering, factor.expr)?;
        let bytes = access.count * ELEMENT;
        let from = lowering
            .math
            .address(&mut lowering.b, access.base, &access.first, ELEMENT);
        let size = access.guard.filter(|_| access.guard != exists).map(|predicate| {
            let sources = [i64::from(bytes).into(), 0.into(), predicate.into()];
            lowering.b.op(Opcode::SelB32, &sources).into()
        });
        lowering.b.copy(bytes, to, from, size, guard);
        Ok(())
    }

    /// The address of a byte of a line.
    pub fn address(self, lowering: &mut Lowering<'_>, line: &Linear, byte: &Linear) -> Address {
        let at = line.times(self.pitch().into()).plus(byte);
        let constant = at.constant_part();
        let at = lowering.math.operand(&mut lowering.b, &at.plus_constant(-constant));
        let base = lowering.b.shared_base();
        let base = sum(lowering, at, base.into());
        address(lowering, base, i64::from(self.start) + constant)
    }
}

/// Issues the loads of the indices of a read.
fn touch_indices(lowering: &mut Lowering<'_>, expr: ExprId) -> Result<(), Error> {
    let Expr::Read { ref index, .. } = *lowering.op().expr(expr) else {
        return Ok(());
    };
    index.iter().try_for_each(|&at| lowering.touch(at, &mut InSequence))
}
