//! Several blocks that share the terms of a tile.
//!
//! Each sums its part of the terms, and leaves the registers that hold its sums in memory as they are: all blocks of a tile have
//! the same in each. Then it counts itself in. The last one adds up the parts of all in the order of their numbers, so that
//! the result does not depend on who is last, and alone goes on to the outputs.
//!
//! The last block sees the partial sums of the others: counting releases and acquires at the scope of the GPU, and the barriers beside it
//! extend that to all threads of both blocks. The counter goes back to 0 by itself.

use crate::element::Type;
use crate::kernel::ScratchContent;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::lower::value::add_of;
use crate::lower::value::{Value, class_of, width_in_shared};
use crate::ptx::builder::move_of;
use crate::ptx::{Address, Cache, Class, Compare, Guard, Opcode, Operand, Reg, Space, Turns, Width};

/// Registers that are loaded together while parts are added up: enough to be on their way, few enough to be held beside the sums.
const LOADED: usize = 32;
/// Registers that a loop over the parts loads. The assembler begins a turn with all loads, and spills if they are more.
const MOST_LOADED: usize = 2 * LOADED;

/// A block's part of a tile.
pub(crate) struct Part {
    /// The number of the tile.
    pub tile: Linear,
    /// The number of the part.
    pub number: Linear,
    parts: u32,
    threads: u32,
}

impl Part {
    pub fn new(lowering: &mut Lowering<'_>, block: Linear, parts: u32, threads: u32) -> Part {
        let (tile, number) = match parts {
            1 => (block, Linear::constant(0)),
            parts => {
                let parts = Linear::constant(parts.into());
                lowering.math.divide(&mut lowering.b, &block, &parts)
            }
        };
        Part {
            tile,
            number,
            parts,
            threads,
        }
    }

    /// Goes on with the sums of all parts, of that type, in the mutable registers, in one of the tile's blocks.
    pub fn join<'a>(
        &self,
        lowering: &mut Lowering<'a>,
        ty: Type,
        sums: &[Reg],
        then: impl FnOnce(&mut Lowering<'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let add_up = |lowering: &mut Lowering<'a>, partials: &Partials, first: &Linear| {
            partials.add_up(lowering, first, self.parts, sums);
        };
        self.join_by(lowering, ty, sums, add_up, then)
    }

    /// The same for registers that are combined otherwise: `combine` makes them those of all parts, whose blocks follow the first.
    pub fn join_by<'a>(
        &self,
        lowering: &mut Lowering<'a>,
        ty: Type,
        sums: &[Reg],
        combine: impl FnOnce(&mut Lowering<'a>, &Partials, &Linear),
        then: impl FnOnce(&mut Lowering<'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.parts == 1 {
            return then(lowering);
        }
        let registers = sums.len() as u32;
        let base = lowering.scratch(ScratchContent::Partials {
            block_bytes: self.threads * registers * width_in_shared(ty).bytes(),
        });
        let partials = Partials {
            base,
            ty,
            registers,
            threads: self.threads,
        };
        let arrivals = lowering.scratch(ScratchContent::Arrivals { blocks: self.parts });
        let first = self.tile.times(self.parts.into());
        partials.store(lowering, &first.plus(&self.number), sums);
        let last = self.arrive(lowering, arrivals);
        lowering.b.begin_tail(Guard {
            predicate: last,
            holds: true,
        });
        combine(lowering, &partials, &first);
        then(lowering)?;
        lowering.b.end();
        Ok(())
    }

    /// Counts this block in; whether it is the last.
    pub fn arrive(&self, lowering: &mut Lowering<'_>, arrivals: Reg) -> Reg {
        // All threads have left what they have.
        lowering.b.barrier();
        let counter = lowering.math.address(&mut lowering.b, arrivals, &self.tile, 4);
        let number = lowering.math.operand(&mut lowering.b, &self.number);
        let b = &mut lowering.b;
        let thread = b.op(Opcode::TidX, &[]);
        let predicate = b.compare(Compare::Eq, Class::B32, thread.into(), 0.into());
        let guard = Guard { predicate, holds: true };
        let before = b.arrive(counter, self.parts, number, guard);
        let others = i64::from(self.parts) - 1;
        let last = b.compare(Compare::Eq, Class::B32, before.into(), others.into());
        // It has a result.
        b.converge(Opcode::BarrierOr, &[0.into(), last.into()]).unwrap_or(last)
    }
}

/// The partial sums in device memory. Each block's are stored 16 bytes of each thread at a time, threads side by side.
pub(crate) struct Partials {
    base: Reg,
    /// The type of the sums.
    ty: Type,
    /// Registers of each thread.
    registers: u32,
    threads: u32,
}

impl Partials {
    /// Stores a block's sums.
    fn store(&self, lowering: &mut Lowering<'_>, block: &Linear, sums: &[Reg]) {
        for (chunk, sums) in sums.chunks(self.vector()).enumerate() {
            let to = self.place(lowering, block, chunk);
            let values: Vec<Operand> = sums.iter().map(|&sum| sum.into()).collect();
            lowering
                .b
                .store(Space::Global, self.width(), to, &values, Cache::Normal, None);
        }
    }

    /// The thread's registers of a block.
    pub fn load(&self, lowering: &mut Lowering<'_>, block: &Linear) -> Vec<Reg> {
        let chunks = self.registers as usize / self.vector();
        let load = |chunk: usize| {
            let from = self.place(lowering, block, chunk);
            lowering.b.load_here(Space::Global, self.width(), self.vector(), from)
        };
        (0..chunks).flat_map(load).collect()
    }

    /// Makes the sums those of so many blocks, from the first on.
    fn add_up(&self, lowering: &mut Lowering<'_>, first: &Linear, blocks: u32, sums: &[Reg]) {
        let (class, add) = (class_of(self.ty), add_of(self.ty));
        let zero = Value::zero(&mut lowering.b, self.ty).operand;
        for &sum in sums {
            lowering.b.assign(move_of(class), sum, &[zero]);
        }
        let vector = self.vector();
        let mut chunks = 0..;
        for sums in sums.chunks(MOST_LOADED) {
            let turns = Turns::new(0, i64::from(blocks), 1).entered(true).rolled();
            let number = lowering.b.begin_loop(lowering.math.class(), turns);
            let block = first.plus(&Linear::register(number));
            for sums in sums.chunks(LOADED) {
                let mut parts = Vec::with_capacity(sums.len());
                for (sums, chunk) in sums.chunks(vector).zip(&mut chunks) {
                    let from = self.place(lowering, &block, chunk);
                    let part = lowering.b.load_here(Space::Global, self.width(), sums.len(), from);
                    parts.extend(part);
                }
                for (&sum, part) in sums.iter().zip(parts) {
                    lowering.b.assign(add, sum, &[sum.into(), part.into()]);
                }
            }
            lowering.b.end();
        }
    }

    /// Where the thread's `chunk`-th registers of a block lie.
    fn place(&self, lowering: &mut Lowering<'_>, block: &Linear, chunk: usize) -> Address {
        let (vector, threads) = (self.vector() as i64, i64::from(self.threads));
        let thread = lowering.thread();
        let at = block
            .times(i64::from(self.registers) * threads)
            .plus_constant(chunk as i64 * vector * threads)
            .plus(&thread.times(vector));
        let bytes = self.width().bytes();
        lowering.math.address(&mut lowering.b, self.base, &at, bytes)
    }

    fn width(&self) -> Width {
        width_in_shared(self.ty)
    }

    /// Registers that are stored and loaded at once: 16 bytes.
    fn vector(&self) -> usize {
        (16 / self.width().bytes()) as usize
    }
}
