//! A kernel decoded: compact operations with resolved register slots, for every function that it reaches.

use std::collections::HashMap;

use crate::count::Class;
use crate::execute::lanes::{Function, Slots};
use crate::machine::registers::Slot;
use crate::machine::{Core, Stop, warp::Warp};

/// An instruction that touches more than its warp's registers.
pub(crate) type Machine = fn(&mut Core<'_>, &mut Warp, &Operation, u32) -> Result<(), Stop>;

/// An instruction across the lanes of a warp, which may come to it from different places.
pub(crate) type Exchange = fn(&mut Core<'_>, &mut Warp, &[Part<'_>]) -> Result<(), Stop>;

/// Lanes that came to a meeting by the same operation in the same frame.
#[derive(Clone, Copy)]
pub(crate) struct Part<'p> {
    pub operation: &'p Operation,
    pub lanes: u32,
    pub base: usize,
    pub predicate_base: usize,
}

/// Where the lanes of a mask wait for each other.
#[derive(Clone, Copy)]
pub(crate) struct Meeting {
    pub run: Exchange,
    /// Register with the mask.
    pub mask: Slot,
    /// The instruction with its qualifiers: lanes meet at the same kind only.
    pub kind: u32,
}

/// How an operation runs.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// Lane by lane, on registers alone.
    Lanes(Function),
    /// On memory or across lanes.
    Machine(Machine),
    /// Across the lanes of a mask (a register), which must have arrived together at this operation (`.aligned`).
    Collective(Machine, Slot),
    /// Across the lanes of a mask, wherever they are.
    Meeting(Meeting),
    /// Decides what runs next.
    Control(Control),
}

#[derive(Clone, Copy)]
pub(crate) enum Control {
    Branch {
        to: u32,
    },
    /// `brx.idx`: the targets are a list.
    Indexed {
        list: u32,
        index: Slot,
    },
    /// A call described by `Program::calls`.
    Call(u32),
    /// A call through a function address in a 64-bit register.
    CallIndirect {
        call: u32,
        address: Slot,
    },
    Return,
    Exit,
    Trap,
    /// The body of a function of the device's system.
    System,
    Barrier(Barrier),
    /// With whether what the threads know is handed on.
    ClusterArrive(bool),
    ClusterWait,
}

/// `bar.sync`, `bar.arrive` and `bar.red`.
#[derive(Clone, Copy)]
pub(crate) struct Barrier {
    /// Register with the barrier's number.
    pub number: Slot,
    /// Register with the number of threads; none: all of the block.
    pub count: Option<Slot>,
    /// Whether the warp waits.
    pub waits: bool,
    pub reduction: Option<Reduction>,
}

#[derive(Clone, Copy)]
pub(crate) struct Reduction {
    pub kind: ReductionKind,
    pub predicate: Slot,
    pub negated: bool,
    pub to: Slot,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum ReductionKind {
    Count,
    And,
    Or,
}

#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub action: Action,
    pub slots: Slots,
    /// Guard predicate, or `NO_GUARD`.
    pub guard: Slot,
    pub negated: bool,
    /// Index of this operation, for side tables.
    pub index: u32,
}

pub(crate) const NO_GUARD: Slot = Slot::MAX;

/// Where a register value comes from or goes to, for the sanitizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Row(Slot),
    Predicate(Slot),
}

/// What an operation is, beside how it runs.
#[derive(Clone)]
pub(crate) struct Info {
    pub line: u32,
    pub span: (usize, usize),
    pub class: Class,
    pub flops: u32,
    pub reads: Box<[Use]>,
    pub writes: Box<[Use]>,
    /// Copies values without looking at them: undefined in, undefined out.
    pub propagates: bool,
    /// The first operation of its PTX instruction; the others are helpers and are not counted.
    pub counted: bool,
}

/// A value that a frame starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    Narrow(u32),
    Wide(u64),
    Special(Special),
    /// Address of the module's global image plus an offset.
    Global(u64),
}

impl Constant {
    /// Whether it takes two rows.
    pub fn is_wide(self) -> bool {
        matches!(
            self,
            Constant::Wide(_) | Constant::Global(_) | Constant::Special(Special::GridId)
        )
    }

    /// Whether it differs between blocks.
    pub fn varies(self) -> bool {
        use Special::{BlockIndex, ClusterIndex, ClusterRank, IndexInCluster, Processor};
        match self {
            Constant::Special(special) => {
                matches!(
                    special,
                    BlockIndex(_) | ClusterIndex(_) | ClusterRank | IndexInCluster(_) | Processor
                )
            }
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    ThreadIndex(u8),
    BlockSize(u8),
    BlockIndex(u8),
    GridSize(u8),
    Lane,
    WarpIndex,
    WarpCount,
    Processor,
    ProcessorCount,
    GridId,
    MaskEqual,
    MaskLess,
    MaskLessEqual,
    MaskGreater,
    MaskGreaterEqual,
    ClusterIndex(u8),
    ClusterCount(u8),
    IndexInCluster(u8),
    ClusterSize(u8),
    ClusterRank,
    ClusterBlocks,
    DynamicShared,
    TotalShared,
    TotalAndReservedShared,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct FunctionInfo {
    pub name: String,
    pub entry: u32,
    pub rows: u32,
    pub predicates: u32,
    pub constants: Vec<(Slot, Constant)>,
    /// Whether a row of the frame holds a constant.
    pub constant_rows: Vec<bool>,
    /// Bytes of a frame in local memory: parameters, results, local variables.
    pub frame: u32,
    pub parameters: Vec<(u32, u32)>,
    pub results: Vec<(u32, u32)>,
}

/// Copies between frames: (offset in the caller's, size).
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub function: u32,
    pub caller: u32,
    pub arguments: Vec<(u32, u32)>,
    pub results: Vec<(u32, u32)>,
}

impl Call {
    /// Whether the call's operands have the sizes of the function's parameters.
    pub fn fits(&self, callee: &FunctionInfo) -> bool {
        let fit = |given: &[(u32, u32)], expected: &[(u32, u32)]| {
            given.len() == expected.len()
                && given
                    .iter()
                    .zip(expected)
                    .all(|(given, expected)| given.1 == expected.1)
        };
        fit(&self.arguments, &callee.parameters) && (self.results.is_empty() || fit(&self.results, &callee.results))
    }
}

pub(crate) struct Program {
    pub operations: Vec<Operation>,
    pub info: Vec<Info>,
    /// Functions; the kernel is the first.
    pub functions: Vec<FunctionInfo>,
    /// Functions by their addresses, for calls through pointers.
    pub addresses: HashMap<u64, u32>,
    pub calls: Vec<Call>,
    pub lists: Vec<Vec<u32>>,
    /// Offset at which dynamic shared memory starts.
    pub static_shared: u32,
    /// Bytes of it that belong to the device's system.
    pub reserved_shared: u32,
    /// The smallest access to shared memory: what races and initialisation are tracked by.
    pub granule: u32,
    /// Blocks of a cluster.
    pub cluster: [u32; 3],
}
