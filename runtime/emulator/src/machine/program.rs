//! A decoded kernel, except for how each operation runs: operations with resolved register slots, for every function
//! that the kernel can reach, and the tables that operations refer to by index.

use std::collections::HashMap;

use super::registers::{Slot, Slots};
use crate::count::Class;

/// Functions that the GPU's runtime provides to every module that declares them.
pub(crate) const SYSTEM_FUNCTIONS: [&str; 4] = [ASSERTION, "vprintf", "malloc", "free"];

/// The function that a failed `assert` calls.
pub(crate) const ASSERTION: &str = "__assertfail";

/// An operation that decides what its threads run next.
#[derive(Clone, Copy)]
pub(crate) enum Control {
    Branch {
        to: u32,
    },
    /// `brx.idx`: the targets are `Program::lists[list]`.
    Indexed {
        list: u32,
        index: Slot,
    },
    /// A call, as an index into `Program::calls`.
    Call(u32),
    /// A call through a function address in a 64-bit register.
    CallIndirect {
        call: u32,
        address: Slot,
    },
    Return,
    Exit,
    Trap,
    /// The body of a function that the GPU's runtime provides.
    System,
    Barrier(Barrier),
    /// `true` if the arrival is a release.
    ClusterArrive(bool),
    ClusterWait,
}

/// `bar.sync`, `bar.arrive` and `bar.red`.
#[derive(Clone, Copy)]
pub(crate) struct Barrier {
    /// The register with the barrier's number.
    pub number: Slot,
    /// The register with the number of threads that the barrier expects; `None` if it expects the whole block.
    pub count: Option<Slot>,
    /// `false` for `bar.arrive`.
    pub waits: bool,
    pub reduction: Option<Reduction>,
}

/// The reduction of `bar.red`, over a predicate of every thread.
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

/// One step of a program. A PTX instruction decodes to one operation and the helpers that it needs.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub slots: Slots,
    /// The guard predicate, or `NO_GUARD`.
    pub guard: Slot,
    pub negated: bool,
    /// The operation's own index, for the tables that are parallel to `Program::operations`.
    pub index: u32,
}

pub(crate) const NO_GUARD: Slot = Slot::MAX;

/// A register row or predicate that an operation reads or writes, for the sanitizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Row(Slot),
    Predicate(Slot),
}

/// The source and the properties of an operation.
#[derive(Clone)]
pub(crate) struct Info {
    pub line: u32,
    pub span: (usize, usize),
    pub class: Class,
    pub flops: u32,
    pub reads: Box<[Use]>,
    pub writes: Box<[Use]>,
    /// `true` if the operation copies values without using them: an undefined source makes the result undefined, and is
    /// no finding.
    pub propagates: bool,
    /// `true` for the one operation of a PTX instruction that counts; the others are helpers.
    pub counted: bool,
}

/// A value that a register row of a frame starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    Narrow(u32),
    Wide(u64),
    Special(Special),
    /// The address of the module's global image plus an offset.
    Global(u64),
}

impl Constant {
    /// `true` if the value takes two rows.
    pub fn is_wide(self) -> bool {
        matches!(
            self,
            Constant::Wide(_) | Constant::Global(_) | Constant::Special(Special::GridId)
        )
    }

    /// `true` if the value differs between blocks.
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

/// A special register.
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

/// A decoded function.
#[derive(Debug, Clone, Default)]
pub(crate) struct FunctionInfo {
    pub name: String,
    /// The index of its first operation.
    pub entry: u32,
    /// Register rows and predicates of a frame.
    pub rows: u32,
    pub predicates: u32,
    pub constants: Vec<(Slot, Constant)>,
    /// For each row of a frame: `true` if it holds a constant.
    pub constant_rows: Vec<bool>,
    /// The first of the two rows of each value of 64 bits, in rising order.
    pub wide_rows: Vec<Slot>,
    /// Bytes of a frame in local memory: parameters, results and local variables.
    pub frame: u32,
    /// (offset in the frame, size) of each parameter and result, in bytes.
    pub parameters: Vec<(u32, u32)>,
    pub results: Vec<(u32, u32)>,
}

/// A call: the bytes to copy between the caller's frame and the callee's, as (offset in the caller's, size).
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub function: u32,
    pub caller: u32,
    pub arguments: Vec<(u32, u32)>,
    pub results: Vec<(u32, u32)>,
}

impl Call {
    /// `true` if the call's operands have the sizes of the function's parameters and results.
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

/// A decoded kernel with every function that it can reach.
pub(crate) struct Program {
    pub operations: Vec<Operation>,
    /// Parallel to `operations`.
    pub info: Vec<Info>,
    /// The kernel comes first.
    pub functions: Vec<FunctionInfo>,
    /// Indices of functions by address, for calls through pointers.
    pub addresses: HashMap<u64, u32>,
    pub calls: Vec<Call>,
    /// Operands that do not fit an operation's slots: branch targets, registers of matrices and vectors.
    pub lists: Vec<Vec<u32>>,
    /// The offset at which dynamic shared memory starts, in bytes.
    pub static_shared: u32,
    /// Bytes of `static_shared` that CUDA reserves for itself.
    pub reserved_shared: u32,
    /// Bytes of the smallest access to shared memory, the unit in which the sanitizer tracks races and initialisation.
    pub granule: u32,
    /// The shape of a cluster, in blocks.
    pub cluster: [u32; 3],
}
