//! The machine: what one host thread needs to run blocks, one after another.
//!
//! [`block`] runs the warps of a block in turns; [`warp`] runs one warp until it waits, exits or used up its turn;
//! [`shared`] and [`barrier`] are what the warps of a block have in common.

pub(crate) mod barrier;
pub(crate) mod block;
pub(crate) mod cluster;
pub(crate) mod mbarrier;
pub(crate) mod order;
pub(crate) mod registers;
pub(crate) mod shared;
pub(crate) mod warp;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::count::Counts;
use crate::error::Error;
use crate::execute::data::space_of;
use crate::launch::Options;
use crate::memory::{Allocation, Memory};
use crate::module::Module;
use crate::numerics::tensor::TensorCores;
use crate::parse::syntax::Space;
use crate::program::{Operation, Program};
use crate::sanitize::{Finding, FindingKind, Findings};
use barrier::Barriers;
use cluster::{BlockState, Cluster};
use mbarrier::Mbarriers;
use shared::SharedMemory;
use warp::Warp;

/// Generic addresses of the spaces that are not global.
pub(crate) const SHARED_WINDOW: u64 = 0x0100_0000_0000;
pub(crate) const LOCAL_WINDOW: u64 = 0x0200_0000_0000;
pub(crate) const CONSTANT_WINDOW: u64 = 0x0300_0000_0000;
pub(crate) const PARAMETER_WINDOW: u64 = 0x0400_0000_0000;
/// Bytes of each window.
pub(crate) const WINDOW: u64 = 1 << 32;

/// Local memory that one thread can have.
pub(crate) const LOCAL_LIMIT: usize = 512 << 10;
/// Calls that can be open at once in a thread.
pub(crate) const DEEPEST_CALL: usize = 1024;
/// Registers of all frames of a warp, as rows of 32 lanes: 128 MiB.
pub(crate) const MOST_ROWS: usize = 1 << 20;

/// Why the machine stopped before the end.
#[derive(Debug)]
pub(crate) struct Stop(pub Box<Error>);

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop(Box::new(error))
    }
}

/// Sectors of an allocation that a launch read and wrote, one bit each.
pub(crate) struct Touched {
    pub read: Box<[AtomicU64]>,
    pub written: Box<[AtomicU64]>,
}

impl Touched {
    fn new(size: u64) -> Touched {
        let words = size.div_ceil(32 * 64) as usize + 1;
        let zeroed = || (0..words).map(|_| AtomicU64::new(0)).collect();
        Touched {
            read: zeroed(),
            written: zeroed(),
        }
    }

    pub fn mark(map: &[AtomicU64], sector: u64) {
        let (word, bit) = (&map[(sector / 64) as usize], 1 << (sector % 64));
        if word.load(Relaxed) & bit == 0 {
            word.fetch_or(bit, Relaxed);
        }
    }
}

/// What all host threads of a launch share.
pub(crate) struct Shared<'a> {
    pub module: &'a Module,
    pub kernel: &'a str,
    pub program: &'a Program,
    pub memory: &'a Memory,
    pub allocations: Arc<Vec<Arc<Allocation>>>,
    pub touched: Vec<OnceLock<Touched>>,
    pub parameters: Vec<u8>,
    pub constants: Arc<[u8]>,
    /// Address of the module's global image.
    pub globals: u64,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: u32,
    pub options: &'a Options,
    /// Never `OfTarget`.
    pub tensor_cores: TensorCores,
    /// Warp instructions run so far, by all threads.
    pub issued: AtomicU64,
}

impl Shared<'_> {
    /// The C string at a generic address in global or constant memory, if it is short and in ASCII.
    fn text(&self, address: u64) -> Option<String> {
        const LONGEST: u64 = 1024;
        let byte = |address: u64| match space_of(address) {
            Space::Constant => self.constants.get((address - CONSTANT_WINDOW) as usize).copied(),
            Space::Global => {
                let mut byte = [0];
                self.memory.read(address, &mut byte).ok().map(|()| byte[0])
            }
            _ => None,
        };
        let mut text = String::new();
        for offset in 0..LONGEST {
            match byte(address.checked_add(offset)?)? {
                0 => return Some(text),
                byte if byte.is_ascii_graphic() || byte == b' ' => text.push(char::from(byte)),
                _ => return None,
            }
        }
        None
    }
}

/// What an operation ran so far: threads, warps, warps with no active thread.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Executed {
    pub threads: u64,
    pub warps: u64,
    pub skipped: u64,
}

/// One host thread's machine, beside the warps of the block it runs.
pub(crate) struct Core<'a> {
    pub launch: &'a Shared<'a>,
    pub shared: SharedMemory,
    pub barriers: Barriers,
    pub mbarriers: Mbarriers,
    /// An instruction waits for something: the warp gives up its turn.
    pub stalled: bool,
    /// It did nothing, and is to run again.
    pub again: bool,
    pub cluster: Cluster,
    /// The shared memory is another block's for the moment.
    pub remote: bool,
    pub block_index: [u32; 3],
    pub block_number: u64,
    pub executed: Vec<Executed>,
    pub counts: Counts,
    pub findings: Findings,
    /// Per operation, the allocation that it accessed last.
    pub hints: Vec<u32>,
    /// Instructions run, as the clock that kernels read.
    pub clock: u64,
}

impl<'a> Core<'a> {
    pub fn new(launch: &'a Shared<'a>) -> Core<'a> {
        let operations = launch.program.operations.len();
        let threads = launch.block.iter().product::<u32>();
        let size = launch.program.static_shared + launch.dynamic_shared;
        let warps = threads.div_ceil(32) as usize;
        let shared = |size| SharedMemory::new(size, launch.program.granule, warps, launch.options.sanitize);
        let others = (0..launch.program.cluster.iter().product())
            .map(|rank: u32| BlockState {
                // The first block runs first: its state is the core's.
                shared: shared(if rank == 0 { 0 } else { size }),
                barriers: Barriers::default(),
                mbarriers: Mbarriers::default(),
                index: [0; 3],
                number: 0,
            })
            .collect();
        Core {
            launch,
            shared: shared(size),
            barriers: Barriers::default(),
            mbarriers: Mbarriers::default(),
            stalled: false,
            again: false,
            cluster: Cluster::new(others),
            remote: false,
            block_index: [0; 3],
            block_number: 0,
            executed: vec![Executed::default(); operations],
            counts: Counts::default(),
            findings: Findings::default(),
            hints: vec![0; operations],
            clock: 0,
        }
    }

    pub fn sanitize(&self) -> bool {
        self.launch.options.sanitize
    }

    pub fn count(&self) -> bool {
        self.launch.options.count
    }

    /// The index in its block of a thread, given its warp and lane.
    pub fn thread(&self, warp: &Warp, lane: usize) -> [u32; 3] {
        thread_index(self.launch.block, warp.index * 32 + lane as u32)
    }

    #[cold]
    pub fn fault(
        &self,
        warp: &Warp,
        operation: &Operation,
        lane: usize,
        address: Option<u64>,
        message: impl Into<String>,
    ) -> Stop {
        let info = &self.launch.program.info[operation.index as usize];
        Stop::from(Error::Fault {
            message: message.into(),
            line: info.line,
            instruction: self.launch.module.excerpt(info.span),
            block: self.block_index,
            thread: self.thread(warp, lane),
            address,
        })
    }

    /// Notes a finding about an operation of a lane.
    #[cold]
    pub fn find(
        &mut self,
        kind: FindingKind,
        warp: &Warp,
        operation: &Operation,
        lane: usize,
        access: Option<(u64, u32)>,
        message: impl FnOnce() -> String,
    ) {
        let info = &self.launch.program.info[operation.index as usize];
        let (block, thread) = (self.block_index, self.thread(warp, lane));
        let module = self.launch.module;
        self.findings.note(info.line, kind, self.block_number, || Finding {
            kind,
            line: info.line,
            instruction: module.excerpt(info.span),
            block,
            thread,
            address: access.map(|(address, _)| address),
            size: access.map_or(0, |(_, size)| size),
            message: message(),
            occurrences: 1,
        });
    }

    /// An access that is wrong: a finding under the sanitizer (the access then does nothing), else a fault.
    #[cold]
    pub fn wrong_access(
        &mut self,
        kind: FindingKind,
        warp: &Warp,
        operation: &Operation,
        lane: usize,
        access: (u64, u32),
        message: String,
    ) -> Result<(), Stop> {
        if self.sanitize() {
            self.find(kind, warp, operation, lane, Some(access), || message);
            return Ok(());
        }
        Err(self.fault(warp, operation, lane, Some(access.0), message))
    }

    /// The allocation that holds an access, with the offset in it; the operation's last one is tried first.
    #[inline(always)]
    pub fn allocation(&mut self, operation: &Operation, address: u64, size: u64) -> Option<(usize, u64)> {
        let hint = self.hints[operation.index as usize] as usize;
        if let Some(offset) = self
            .launch
            .allocations
            .get(hint)
            .and_then(|allocation| allocation.offset(address, size))
        {
            return Some((hint, offset));
        }
        self.search(operation, address, size)
    }

    #[inline(never)]
    fn search(&mut self, operation: &Operation, address: u64, size: u64) -> Option<(usize, u64)> {
        let index = self
            .launch
            .allocations
            .partition_point(|allocation| allocation.base <= address)
            .checked_sub(1)?;
        let offset = self.launch.allocations[index].offset(address, size)?;
        self.hints[operation.index as usize] = index as u32;
        Some((index, offset))
    }

    pub fn touched(&self, allocation: usize) -> &Touched {
        self.launch.touched[allocation].get_or_init(|| Touched::new(self.launch.allocations[allocation].size))
    }
}

/// The three-dimensional index of a thread, given its number.
pub(crate) fn thread_index(block: [u32; 3], number: u32) -> [u32; 3] {
    let [x, y, _] = block.map(|extent| extent.max(1));
    [number % x, number / x % y, number / x / y]
}
