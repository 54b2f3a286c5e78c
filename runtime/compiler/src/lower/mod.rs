//! Lowering: from a checked operator and a schedule to a kernel. One file a family.

mod contract;
pub mod expression;
pub mod index;
pub mod math;
mod plain;
mod pointwise;
mod row;
mod skinny;
pub mod value;
mod window;

use crate::check::Checked;
use crate::element::{Element, Type};
use crate::ir::{Expr, SizeId};
use crate::kernel::{Kernel, Launch, ParameterValue, Scratch, ScratchContent};
use crate::ptx::text::{self, Entry};
use crate::ptx::{Cache, Class, Few, Guard, Opcode, Operand, Reg, Space, Turns, Width};
use crate::schedule::{self, Schedule};
use crate::size::{SizeExpr, SizeOp, Specialisation};
use crate::target::Machine;
use crate::text::counted;
use expression::{Lowering, Reduce, width_of};
use index::Linear;
use smallvec::smallvec;
use value::Value;

/// Registers that a thread may have in any kernel; most take far fewer.
const REGISTERS: u32 = 168;

/// Why an operator has no kernel for a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The schedule is not one of the operator's space.
    #[error(
        "the schedule `{0}` is not legal for this operator, these sizes and this machine; `schedule::space` lists those that are"
    )]
    Illegal(String),
    /// The specialisation was made for another operator.
    #[error("the specialisation has {}, but the operator has {}", counted(*.found as u64, "extent", "extents"), counted(*.expected as u64, "size", "sizes"))]
    Specialisation {
        /// Sizes of the operator.
        expected: usize,
        /// Extents given.
        found: usize,
    },
    /// An axis was used where it has no value: a defect of the compiler.
    #[error("an axis has no value where it is used; this is a defect of the compiler, please report the operator")]
    Unbound,
}

/// A lowered stage before it is text.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The instructions.
    pub entry: Entry,
    /// The launch. Its parameters count scratch memory from this stage's first one.
    pub launch: Launch,
    /// The scratch memory of the stage.
    pub scratch: Vec<ScratchContent>,
}

/// A one-dimensional grid of blocks, as the families launch it.
struct Grid {
    blocks: SizeExpr,
    /// Threads of a block.
    threads: u32,
    /// Bytes of dynamic shared memory of a block.
    dynamic_shared: u32,
}

impl Grid {
    fn of(blocks: SizeExpr, threads: u32, dynamic_shared: u32) -> Grid {
        Grid {
            blocks,
            threads,
            dynamic_shared,
        }
    }
}

/// Compiles an operator.
///
/// # Errors
/// The schedule is not legal, or the specialisation belongs to another operator.
pub fn lower(
    checked: &Checked,
    specialisation: &Specialisation,
    machine: Machine,
    schedule: &Schedule,
) -> Result<Kernel, Error> {
    let stage = stage(checked, specialisation, machine, schedule)?;
    Ok(assemble(vec![stage], machine))
}

/// The program of stages that are launched in this order.
pub fn assemble(stages: Vec<Stage>, machine: Machine) -> Kernel {
    let (mut entries, mut launches, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    for (number, mut stage) in stages.into_iter().enumerate() {
        for parameter in &mut stage.launch.parameters {
            if let ParameterValue::Scratch(position) = &mut parameter.value {
                *position += scratch.len() as u32;
            }
        }
        let launch = number as u32;
        scratch.extend(stage.scratch.into_iter().map(|content| Scratch { launch, content }));
        launches.push(stage.launch);
        entries.push(stage.entry);
    }
    Kernel {
        ptx: text::module(&entries, machine.target),
        launches,
        scratch,
    }
}

/// Lowers an operator to the instructions of one stage.
///
/// # Errors
/// Those of [`lower`].
pub fn stage(
    checked: &Checked,
    specialisation: &Specialisation,
    machine: Machine,
    schedule: &Schedule,
) -> Result<Stage, Error> {
    let expected = checked.op().sizes.len();
    let found = specialisation.extents.len();
    if expected != found {
        return Err(Error::Specialisation { expected, found });
    }
    if !schedule::legal(checked, specialisation, machine, schedule) {
        return Err(Error::Illegal(schedule.to_string()));
    }
    let name = entry_name(&checked.op().name, schedule.family());
    let (mut lowering, grid) = match schedule {
        Schedule::Plain(plain) => plain::lower(checked, specialisation, &name, plain)?,
        Schedule::Pointwise(pointwise) => pointwise::lower(checked, specialisation, &name, machine, pointwise)?,
        Schedule::Row(row) => row::lower(checked, specialisation, &name, machine, row)?,
        Schedule::Contract(contract) => contract::simt::lower(checked, specialisation, &name, machine, contract)?,
        Schedule::Mma(mma) => contract::mma::lower(checked, specialisation, &name, machine, mma)?,
        Schedule::Skinny(skinny) => skinny::lower(checked, specialisation, &name, machine, skinny)?,
        Schedule::Window(window) => window::lower(checked, specialisation, &name, machine, window)?,
    };
    // Left alone, the assembler now and then spills to fit more blocks, or because it unrolled too far. Functions in f64
    // hold many values at once, whatever else a kernel does.
    let doubles = |expr: &Expr| matches!(expr, Expr::Call(_, arguments) if arguments.iter().any(|&argument| checked.ty(argument) == Type::F64));
    if !lowering.b.has_minimum_blocks() || checked.op().exprs.iter().any(doubles) {
        let blocks = machine.resident_blocks(grid.threads, REGISTERS, grid.dynamic_shared);
        lowering.b.set_minimum_blocks(blocks.max(1));
    }
    let (mut entry, parameters, scratch) = lowering.finish();
    // A family's estimate of registers may be too low: what the kernel itself holds at once is certainly needed.
    let most = machine.minimum_blocks(grid.threads, entry.pressure(), grid.dynamic_shared);
    entry.minimum_blocks = entry.minimum_blocks.map(|blocks| blocks.min(most));
    let launch = Launch {
        entry: entry.name.clone(),
        grid: [grid.blocks, SizeExpr::Const(1), SizeExpr::Const(1)],
        block: [grid.threads, 1, 1],
        cluster: [1; 3],
        dynamic_shared: grid.dynamic_shared,
        parameters,
    };
    // The families estimate shared memory; this is the amount that the kernel really takes.
    if launch.fits(&machine.limits).is_err() {
        return Err(Error::Illegal(schedule.to_string()));
    }
    Ok(Stage { entry, launch, scratch })
}

/// A PTX identifier: the operator's name may hold what PTX does not allow.
fn entry_name(operator: &str, family: &str) -> String {
    let plain: String = operator
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(64)
        .collect();
    format!("ek_{plain}_{family}")
}

/// The product of sizes, with what is compiled in already multiplied.
fn volume_formula(specialisation: &Specialisation, sizes: &[SizeId]) -> SizeExpr {
    sizes
        .iter()
        .map(|size| match specialisation.extents[size.index()].fixed() {
            Some(value) => SizeExpr::Const(value as i64),
            None => SizeExpr::Size(*size),
        })
        .fold(SizeExpr::Const(1), SizeExpr::times)
}

/// The larger of two formulas.
fn larger(a: SizeExpr, b: SizeExpr) -> SizeExpr {
    if a == b {
        return a;
    }
    SizeExpr::Binary(SizeOp::Max, Box::new(a), Box::new(b))
}

impl Lowering<'_> {
    /// Does so many pieces of work, `count` in the kernel and `work` by formula: a block each, or, where `most` is not 0, what so
    /// few blocks come to in turn. Returns the grid.
    fn each_block(
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
    fn index_register(&mut self, reg: Reg) -> Reg {
        if self.math.wide {
            self.b.op(Opcode::CvtU64U32, &[reg.into()])
        } else {
            reg
        }
    }

    /// The thread's number in its block, as an index.
    fn thread(&mut self) -> Linear {
        let tid = self.b.op(Opcode::TidX, &[]);
        Linear::register(self.index_register(tid))
    }

    /// The block's number, as an index.
    fn block(&mut self) -> Linear {
        let block = self.b.op(Opcode::CtaidX, &[]);
        Linear::register(self.index_register(block))
    }

    /// Opens a piece that executes where `value < bound`.
    fn begin_if_below(&mut self, value: &Linear, bound: &Linear) {
        let predicate = self.below(value, bound);
        self.b.begin_if(Guard { predicate, holds: true });
    }

    /// Whether `value < bound`.
    pub(crate) fn below(&mut self, value: &Linear, bound: &Linear) -> Reg {
        let value = self.math.operand(&mut self.b, value);
        let bound = self.math.operand(&mut self.b, bound);
        let class = self.math.class();
        self.b.compare(crate::ptx::Compare::Lt, class, value, bound)
    }

    /// The value, or the last below `bound`.
    fn clamped(&mut self, value: &Linear, bound: &Linear) -> Linear {
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
    fn output_value(&mut self, output: usize, family: &mut dyn Reduce) -> Result<Operand, Error> {
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
    fn store_output(&mut self, output: usize, offset: &Linear, values: &[Operand], cache: Cache, guard: Option<Guard>) {
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
    fn shared_address(&mut self, base: Reg, index: Reg, bytes: i64) -> Reg {
        debug_assert!(index.class == Class::B32, "shared memory has 32-bit addresses");
        self.b.op(Opcode::MadS32, &[index.into(), bytes.into(), base.into()])
    }

    /// Two or one 32-bit words of a value, for shuffles.
    fn words(&mut self, value: Value) -> Few<Reg> {
        let reg = value.reg(&mut self.b);
        match reg.class {
            Class::F32 => smallvec![self.b.op(Opcode::BitsF32, &[reg.into()])],
            Class::F64 => self.b.ops(Opcode::HalvesF64, &[reg.into()]),
            Class::B64 => self.b.ops(Opcode::HalvesB64, &[reg.into()]),
            _ => smallvec![reg],
        }
    }

    /// The inverse of [`Lowering::words`].
    fn value_of_words(&mut self, class: Class, words: &[Reg]) -> Reg {
        let sources: Few<Operand> = words.iter().map(|&word| word.into()).collect();
        match class {
            Class::F32 => self.b.op(Opcode::F32Bits, &sources),
            Class::F64 => self.b.op(Opcode::F64Halves, &sources),
            Class::B64 => self.b.op(Opcode::B64Halves, &sources),
            _ => words[0],
        }
    }
}
