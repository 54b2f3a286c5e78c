//! PTX: a typed instruction table, a builder that places instructions, and the text.
//!
//! - [`opcode`] holds the table: one line an instruction, with the classes of its operands.
//! - [`builder`] makes a kernel's body. Pure instructions are numbered and put into the outermost region in which
//!   their operands exist, so common subexpressions are shared and loop invariants hoisted by construction.
//! - [`text`] prints it: deterministic, one instruction a line.
//!
//! To add an instruction, add its line to the table in `opcode.rs`; every line is assembled by `ptxas` in the tests.

pub mod builder;
mod liveness;
pub mod opcode;
pub mod text;

pub use builder::{Builder, Location};
pub use opcode::{Class, Compare, Opcode};
use smallvec::{SmallVec, smallvec};

/// A virtual register. Assigned once, unless made by [`Builder::mutable`].
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
    /// Bytes added to it.
    pub offset: i32,
}

/// A state space of loads and stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// Global memory that nobody writes during the kernel (`.global.nc`): loads only.
    Constant,
    /// Global memory.
    Global,
    /// The block's shared memory.
    Shared,
}

/// What a load leaves in the caches, or a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, bincode::Encode, bincode::Decode)]
pub enum Cache {
    /// As usual.
    #[default]
    Normal,
    /// Read or written once: first to be evicted.
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

    /// The class of the register it is loaded into or stored from.
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

/// A condition on an instruction: executes where the predicate has this value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guard {
    /// The predicate.
    pub predicate: Reg,
    /// The value it must have.
    pub holds: bool,
}

/// Operands of an instruction: seldom more than 3, and then without an allocation.
pub type Few<T> = SmallVec<[T; 3]>;

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// What it does.
    pub action: Action,
    /// Registers it assigns.
    pub results: Few<Reg>,
    /// What it reads, besides addresses.
    pub sources: Few<Operand>,
    /// The condition under which it executes.
    pub guard: Option<Guard>,
}

impl Instruction {
    /// Whether it sets its results to 0 before, because it may not happen.
    pub fn leaves_zeros(&self) -> bool {
        match self.action {
            Action::Load(..) => self.guard.is_some() && self.sources.is_empty(),
            Action::Arrive(_) => self.guard.is_some(),
            _ => false,
        }
    }
}

/// What an instruction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A line of the table.
    Table(Opcode),
    /// `setp`
    Compare(Compare, Class, bool),
    /// A load of one element or a vector of 2 or 4. Where its guard does not hold its results become 0, or, if they are its sources
    /// too, stay as they are.
    Load(Space, Width, Address, Cache),
    /// A store of as many sources.
    Store(Space, Width, Address, Cache),
    /// `ldmatrix` of four 8 × 8 matrices of 16-bit elements, whose rows' addresses the warp's lanes give: transposed, or not.
    LoadMatrices(bool, Address),
    /// `cp.async` of 4, 8 or 16 bytes from global memory to shared memory (`to`, `from`). A source, if there is one, is how
    /// many of them are read; the others become zeros.
    Copy(u32, Address, Address),
    /// `atom.inc`, which makes visible what its block has written, and sees what others had: counts up to the first source, and then
    /// begins at 0 anew. Gives the count before; where its guard does not hold, 0. The second source is not printed: it
    /// is the count that the thread finds if blocks come in the order of their numbers, for those who count without running.
    Arrive(Address),
    /// `ld.param` of the parameter with that number.
    Parameter(u32, Width),
}

impl Action {
    /// The addresses it takes.
    pub fn addresses(&self) -> Few<Address> {
        match *self {
            Action::Load(_, _, address, _)
            | Action::Store(_, _, address, _)
            | Action::LoadMatrices(_, address)
            | Action::Arrive(address) => smallvec![address],
            Action::Copy(_, to, from) => smallvec![to, from],
            Action::Table(_) | Action::Compare(..) | Action::Parameter(..) => Few::new(),
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
    /// A piece executed where a predicate holds (or does not).
    If(Guard, Vec<Item>),
}

/// `for (counter = start; counter < end; counter += step) body`, signed; see [`Turns`].
#[derive(Debug, Clone, PartialEq)]
pub struct Loop {
    /// The counter; not changed in the body.
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
    /// What it grows by: positive.
    pub step: Operand,
    /// Whether the first turn certainly happens.
    pub entered: bool,
    /// Whether the assembler is told not to unroll it.
    pub rolled: bool,
}

impl Turns {
    /// From `start` to `end`, by `step`.
    pub fn new(start: impl Into<Operand>, end: impl Into<Operand>, step: impl Into<Operand>) -> Turns {
        Turns {
            start: start.into(),
            end: end.into(),
            step: step.into(),
            entered: false,
            rolled: false,
        }
    }

    /// Says whether the first turn certainly happens.
    pub fn entered(self, entered: bool) -> Turns {
        Turns { entered, ..self }
    }

    /// Keeps it from being unrolled.
    pub fn rolled(self) -> Turns {
        Turns { rolled: true, ..self }
    }
}
