//! PTX: a typed instruction table, a builder that places instructions, and the text.
//!
//! - [`opcode`] is the table: one line for each instruction, with the classes of its operands.
//! - [`builder`] builds a kernel's body. It numbers pure instructions by value and places them in the outermost region in which
//!   their operands exist. So common subexpressions are shared and loop invariants hoisted by construction.
//! - `undo` finds instructions whose value is in a register already, because they undo others.
//! - [`text`] prints the body: deterministically, one instruction on each line.
//!
//! To add an instruction, add its line to the table in `opcode.rs`. The tests assemble every line with `ptxas`.

pub mod builder;
mod liveness;
pub mod opcode;
pub mod text;
mod undo;

pub use builder::{Builder, Location};
pub use opcode::{Class, Compare, Opcode};
use smallvec::{SmallVec, smallvec};
pub use undo::BIAS;

/// A virtual register. It is assigned once, unless [`Builder::mutable`] made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg {
    /// Its class.
    pub class: Class,
    /// Its number within the class.
    pub number: u32,
}

/// A source operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A register.
    Reg(Reg),
    /// An integer constant.
    Int(i64),
    /// A binary32 constant, by its bits.
    F32(u32),
    /// A binary64 constant, by its bits.
    F64(u64),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Operand {
        Operand::Reg(reg)
    }
}

impl From<i64> for Operand {
    fn from(value: i64) -> Operand {
        Operand::Int(value)
    }
}

impl From<f32> for Operand {
    fn from(value: f32) -> Operand {
        Operand::F32(value.to_bits())
    }
}

impl From<f64> for Operand {
    fn from(value: f64) -> Operand {
        Operand::F64(value.to_bits())
    }
}

/// An address: a 64-bit (global) or 32-bit (shared) register and a constant number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The register.
    pub base: Reg,
    /// The offset in bytes.
    pub offset: i32,
}

/// A state space of loads and stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// Global memory that the kernel does not write (`.global.nc`): loads only.
    Constant,
    /// Global memory.
    Global,
    /// The block's shared memory.
    Shared,
}

/// The cache hint of a load or store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, bincode::Encode, bincode::Decode)]
pub enum Cache {
    /// The default policy.
    #[default]
    Normal,
    /// For data that is read or written once: evicted first.
    Streaming,
}

/// The width and meaning of one element in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// A byte, zero-extended into a 32-bit register.
    U8,
    /// A byte, sign-extended into a 32-bit register.
    S8,
    /// Two bytes.
    B16,
    /// Four bytes of an integer register.
    B32,
    /// Eight bytes of an integer register.
    B64,
    /// A binary32.
    F32,
    /// A binary64.
    F64,
}

impl Width {
    /// Bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Width::U8 | Width::S8 => 1,
            Width::B16 => 2,
            Width::B32 | Width::F32 => 4,
            Width::B64 | Width::F64 => 8,
        }
    }

    /// The class of the registers that hold it.
    pub const fn class(self) -> Class {
        match self {
            Width::B16 => Class::B16,
            Width::U8 | Width::S8 | Width::B32 => Class::B32,
            Width::B64 => Class::B64,
            Width::F32 => Class::F32,
            Width::F64 => Class::F64,
        }
    }
}

/// A condition on an instruction, which executes if the predicate has this value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guard {
    /// The predicate.
    pub predicate: Reg,
    /// The value it must have.
    pub holds: bool,
}

/// The operands of an instruction. Up to 3 are stored without an allocation.
pub type Few<T> = SmallVec<[T; 3]>;

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// The operation.
    pub action: Action,
    /// The registers that it assigns.
    pub results: Few<Reg>,
    /// The operands that it reads, besides addresses.
    pub sources: Few<Operand>,
    /// The condition under which it executes.
    pub guard: Option<Guard>,
}

impl Instruction {
    /// `true` if its results are set to 0 first, because its guard may not hold.
    pub fn leaves_zeros(&self) -> bool {
        match self.action {
            Action::Load(..) => self.guard.is_some() && self.sources.is_empty(),
            Action::Arrive(_) => self.guard.is_some(),
            _ => false,
        }
    }

    /// The divisor of a quotient by a constant. It is printed as a multiplication and a shift: ptxas does not make these of a division,
    /// and takes about 20 instructions.
    pub fn constant_divisor(&self) -> Option<u64> {
        match (self.action, &self.sources[..]) {
            (Action::Table(Opcode::DivU32 | Opcode::DivU64), &[_, Operand::Int(divisor)]) => {
                u64::try_from(divisor).ok().filter(|&divisor| divisor > 1)
            }
            _ => None,
        }
    }
}

/// A logical operation of a comparison's result and another predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connective {
    /// Both hold.
    And,
    /// At least one holds.
    Or,
}

/// The operation of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A line of the table.
    Table(Opcode),
    /// `setp`
    Compare(Compare, Class, bool),
    /// `setp` whose result is combined with its last source, a predicate.
    CompareWith(Compare, Class, bool, Connective),
    /// A load of one element or a vector of 2 or 4. If its guard does not hold, its results become 0. Results that are also sources
    /// keep their values instead.
    Load(Space, Width, Address, Cache),
    /// A store of its sources: one element or a vector of 2 or 4.
    Store(Space, Width, Address, Cache),
    /// `ldmatrix` of four 8 × 8 matrices of 16-bit elements, transposed if `true`. Each lane gives the address of a row.
    LoadMatrices(bool, Address),
    /// `cp.async` of 4, 8 or 16 bytes, to an address of shared memory from an address of global memory. A source, if there is one, is the
    /// number of bytes to read. The others become zeros.
    Copy(u32, Address, Address),
    /// `atom.inc` with acquire and release semantics: counts up to the first source, then wraps to 0. The result is the count
    /// before, or 0 if the guard does not hold. The second source is not printed. It
    /// is the result if blocks arrive in the order of their numbers, for `features`.
    Arrive(Address),
    /// `ld.param` of the parameter at a position.
    Parameter(u32, Width),
}

impl Action {
    /// The addresses that it uses.
    pub fn addresses(&self) -> Few<Address> {
        match *self {
            Action::Load(_, _, address, _)
            | Action::Store(_, _, address, _)
            | Action::LoadMatrices(_, address)
            | Action::Arrive(address) => smallvec![address],
            Action::Copy(_, to, from) => smallvec![to, from],
            Action::Table(_) | Action::Compare(..) | Action::CompareWith(..) | Action::Parameter(..) => Few::new(),
        }
    }

    /// Visits the addresses that it uses.
    fn for_each_address(&mut self, mut each: impl FnMut(&mut Address)) {
        match self {
            Action::Load(_, _, address, _)
            | Action::Store(_, _, address, _)
            | Action::LoadMatrices(_, address)
            | Action::Arrive(address) => each(address),
            Action::Copy(_, to, from) => [to, from].into_iter().for_each(each),
            Action::Table(_) | Action::Compare(..) | Action::CompareWith(..) | Action::Parameter(..) => {}
        }
    }
}

/// A piece of a kernel's body.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An instruction.
    Instruction(Instruction),
    /// A counted loop.
    Loop(Loop),
    /// A conditional region.
    If(Guard, Vec<Item>),
}

/// `for (counter = start; counter < end; counter += step) body`, signed; see [`Turns`].
#[derive(Debug, Clone, PartialEq)]
pub struct Loop {
    /// The counter. The body does not change it.
    pub counter: Reg,
    /// Its values.
    pub turns: Turns,
    /// The body.
    pub body: Vec<Item>,
}

/// The values of a counter: `start`, `start + step`, … below `end`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turns {
    /// The first value.
    pub start: Operand,
    /// The bound.
    pub end: Operand,
    /// The increment, which is positive.
    pub step: Operand,
    /// `true` if the first iteration certainly happens.
    pub entered: bool,
    /// `true` if ptxas must not unroll the loop.
    pub rolled: bool,
}

impl Turns {
    /// Counts from `start` to `end` by `step`.
    pub fn new(start: impl Into<Operand>, end: impl Into<Operand>, step: impl Into<Operand>) -> Turns {
        Turns {
            start: start.into(),
            end: end.into(),
            step: step.into(),
            entered: false,
            rolled: false,
        }
    }

    /// States whether the first iteration certainly happens.
    pub fn entered(self, entered: bool) -> Turns {
        Turns { entered, ..self }
    }

    /// Prevents ptxas from unrolling the loop.
    pub fn rolled(self) -> Turns {
        Turns { rolled: true, ..self }
    }
}

/// Shows every instruction of a body, in text order.
pub(crate) fn visit(items: &[Item], each: &mut impl FnMut(&Instruction)) {
    for item in items {
        match item {
            Item::Instruction(instruction) => each(instruction),
            Item::Loop(inner) => visit(&inner.body, each),
            Item::If(_, body) => visit(body, each),
        }
    }
}

/// Visits every instruction of a body, in text order.
pub(crate) fn for_each_instruction(items: &mut [Item], each: &mut impl FnMut(&mut Instruction)) {
    for item in items {
        match item {
            Item::Instruction(instruction) => each(instruction),
            Item::Loop(inner) => for_each_instruction(&mut inner.body, each),
            Item::If(_, body) => for_each_instruction(body, each),
        }
    }
}

/// Adds to the number of every register of a body what its class adds.
fn renumber(items: &mut [Item], by: &[u32; 6]) {
    let register = |reg: &mut Reg| reg.number += by[reg.class as usize];
    let operand = |operand: &mut Operand| {
        if let Operand::Reg(reg) = operand {
            register(reg);
        }
    };
    for item in items {
        match item {
            Item::Instruction(instruction) => {
                instruction.results.iter_mut().for_each(register);
                instruction.sources.iter_mut().for_each(operand);
                instruction
                    .guard
                    .iter_mut()
                    .for_each(|guard| register(&mut guard.predicate));
                instruction
                    .action
                    .for_each_address(|address| register(&mut address.base));
            }
            Item::Loop(inner) => {
                register(&mut inner.counter);
                let Turns { start, end, step, .. } = &mut inner.turns;
                [start, end, step].into_iter().for_each(operand);
                renumber(&mut inner.body, by);
            }
            Item::If(guard, body) => {
                register(&mut guard.predicate);
                renumber(body, by);
            }
        }
    }
}
