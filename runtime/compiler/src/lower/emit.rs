//! Pieces that families emit: work for each block, stores, packing.

use super::Error;
use super::expression::{Lowering, Reduce, width_of};
use super::index::Linear;
use super::value::{self, Value};
use crate::element::{Element, Type};
use crate::ptx::{Cache, Class, Few, Guard, Opcode, Operand, Reg, Space, Turns, Width};
use crate::size::{SizeExpr, SizeOp};
use smallvec::smallvec;

impl Lowering<'_> {
    /// Does so many pieces of work, `count` in the kernel and `work` by formula: a block each, or, where `most` is not 0, what so
    /// few blocks come to in turn. Returns the grid.
    pub(crate) fn each_block(
        &mut self,
        most: u32,
        count: &Linear,
        work: SizeExpr,
        each: impl FnOnce(&mut Self, Linear) -> Result<(), Error>,
    ) -> Result<SizeExpr, Error> {
        let block = self.block();
        if most == 0 {
            each(self, block)?;
            return Ok(work);
        }
        let blocks = self.b.op(Opcode::NctaidX, &[]);
        let blocks = self.index_register(blocks);
        let start = self.math.operand(&mut self.b, &block);
        let end = self.math.operand(&mut self.b, count);
        // A block for which there is no work is not launched.
        let turns = Turns::new(start, end, blocks).entered(true).rolled();
        let counter = self.b.begin_loop(self.math.class(), turns);
        each(self, Linear::register(counter))?;
        self.b.end();
        Ok(work.binary(SizeOp::Min, SizeExpr::Const(i64::from(most))))
    }

    /// A 32-bit register that is not negative, as an index register.
    pub(crate) fn index_register(&mut self, reg: Reg) -> Reg {
        if self.math.wide {
            self.b.op(Opcode::CvtU64U32, &[reg.into()])
        } else {
            reg
        }
    }

    /// The thread's number in its block, as an index.
    pub(crate) fn thread(&mut self) -> Linear {
        let tid = self.b.op(Opcode::TidX, &[]);
        Linear::register(self.index_register(tid))
    }

    /// The block's number, as an index.
    pub(crate) fn block(&mut self) -> Linear {
        let block = self.b.op(Opcode::CtaidX, &[]);
        Linear::register(self.index_register(block))
    }

    /// Opens a piece that executes where `value < bound`.
    pub(crate) fn begin_if_below(&mut self, value: &Linear, bound: &Linear) {
        let predicate = self.below(value, bound);
        self.b.begin_if(Guard { predicate, holds: true });
    }

    /// `true` if `value < bound`.
    pub(crate) fn below(&mut self, value: &Linear, bound: &Linear) -> Reg {
        let value = self.math.operand(&mut self.b, value);
        let bound = self.math.operand(&mut self.b, bound);
        let class = self.math.class();
        self.b.compare(crate::ptx::Compare::Lt, class, value, bound)
    }

    /// The value, or the last below `bound`.
    pub(crate) fn clamped(&mut self, value: &Linear, bound: &Linear) -> Linear {
        let value = self.math.operand(&mut self.b, value);
        let last = self.math.operand(&mut self.b, &bound.plus_constant(-1));
        let minimum = if self.math.wide { Opcode::MinS64 } else { Opcode::MinS32 };
        match (value, last) {
            (Operand::Int(value), Operand::Int(last)) => Linear::constant(value.min(last)),
            (Operand::Int(_), last) => Linear::register(self.b.op(minimum, &[last, value])),
            _ => Linear::register(self.b.op(minimum, &[value, last])),
        }
    }

    /// The value of an output where its axes are bound, in the form it is stored in.
    pub(crate) fn output_value(&mut self, output: usize, family: &mut dyn Reduce) -> Result<Operand, Error> {
        let output = &self.op().outputs[output];
        let ty = self.ty(output.body);
        // A narrower float output takes a wider value in one rounding.
        let wanted = match (ty, output.element.compute()) {
            (Type::F64, Type::F32) => Type::F64,
            (_, compute) => compute,
        };
        let value = match self.op().expr(output.body) {
            crate::ir::Expr::Literal(_) => self.value_as(output.body, wanted, family)?,
            _ => self.value(output.body, family)?,
        };
        let stored = value::to_storage(&mut self.b, output.element, value);
        Ok(stored)
    }

    /// Stores neighbouring elements of an output, in as few instructions as their number allows. `offset` is that of
    /// the first and a multiple of their number.
    pub(crate) fn store_output(
        &mut self,
        output: usize,
        offset: &Linear,
        values: &[Operand],
        cache: Cache,
        guard: Option<Guard>,
    ) {
        let element = self.op().outputs[output].element;
        let base = self.output_pointer(output);
        let most = (16 / element.size()) as usize;
        for (chunk, values) in values.chunks(most).enumerate() {
            let offset = offset.plus_constant((chunk * most) as i64);
            let address = self.math.address(&mut self.b, base, &offset, element.size());
            let (width, packed) = self.pack(element, values);
            self.b.store(Space::Global, width, address, &packed, cache, guard);
        }
    }

    /// Stores neighbouring elements of each output, from the element number `first` on.
    pub(crate) fn store_outputs(&mut self, first: &Linear, values: &[Vec<Operand>], cache: Cache) {
        for (position, values) in values.iter().enumerate() {
            self.store_output(position, first, values, cache, None);
        }
    }

    /// `⌈value / divisor⌉`
    pub(crate) fn divided_up(&mut self, value: &Linear, divisor: u32) -> Linear {
        let rounded = value.plus_constant(i64::from(divisor) - 1);
        let divisor = Linear::constant(i64::from(divisor));
        self.math.divide(&mut self.b, &rounded, &divisor).0
    }

    /// Stored elements in the registers of one store: narrow ones are packed into words.
    pub(crate) fn pack(&mut self, element: Element, values: &[Operand]) -> (Width, Vec<Operand>) {
        let width = width_of(element);
        let registers: Vec<Reg> = values
            .iter()
            .map(|&value| match value {
                Operand::Reg(reg) => reg,
                constant => self.b.constant(width.class(), constant),
            })
            .collect();
        if values.len() == 1 || width.bytes() >= 4 {
            return (width, registers.into_iter().map(Operand::Reg).collect());
        }
        if width == Width::B16 {
            let words = registers
                .chunks(2)
                .map(|pair| Operand::Reg(self.b.op(Opcode::B32Halves, &[pair[0].into(), pair[1].into()])))
                .collect();
            return (Width::B32, words);
        }
        let pairs: Vec<Reg> = registers
            .chunks(2)
            .map(|pair| {
                // Byte 0 of each.
                let sources = [pair[0].into(), pair[1].into(), 0x0040.into()];
                self.b.op(Opcode::PrmtB32, &sources)
            })
            .collect();
        if pairs.len() == 1 {
            let half = self.b.op(Opcode::CvtU16U32, &[pairs[0].into()]);
            return (Width::B16, vec![half.into()]);
        }
        let words = pairs
            .chunks(2)
            .map(|pair| {
                let sources = [pair[0].into(), pair[1].into(), 0x5410.into()];
                Operand::Reg(self.b.op(Opcode::PrmtB32, &sources))
            })
            .collect();
        (Width::B32, words)
    }

    /// A 64-bit zero-extended index class register is what addresses of shared memory are not: 32 bits.
    pub(crate) fn shared_address(&mut self, base: Reg, index: Reg, bytes: i64) -> Reg {
        debug_assert!(index.class == Class::B32, "shared memory has 32-bit addresses");
        self.b.op(Opcode::MadS32, &[index.into(), bytes.into(), base.into()])
    }

    /// Two or one 32-bit words of a value, for shuffles.
    pub(crate) fn words(&mut self, value: Value) -> Few<Reg> {
        let reg = value.reg(&mut self.b);
        match reg.class {
            Class::F32 => smallvec![self.b.op(Opcode::BitsF32, &[reg.into()])],
            Class::F64 => self.b.ops(Opcode::HalvesF64, &[reg.into()]),
            Class::B64 => self.b.ops(Opcode::HalvesB64, &[reg.into()]),
            _ => smallvec![reg],
        }
    }

    /// The inverse of [`Lowering::words`].
    pub(crate) fn value_of_words(&mut self, class: Class, words: &[Reg]) -> Reg {
        let sources: Few<Operand> = words.iter().map(|&word| word.into()).collect();
        match class {
            Class::F32 => self.b.op(Opcode::F32Bits, &sources),
            Class::F64 => self.b.op(Opcode::F64Halves, &sources),
            Class::B64 => self.b.op(Opcode::B64Halves, &sources),
            _ => words[0],
        }
    }
}
