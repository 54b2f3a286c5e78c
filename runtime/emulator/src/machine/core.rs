//! A launch as its instructions see it, and the machine of one host thread, with its counts and findings.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use super::address::{CONSTANT_WINDOW, space_of};
use super::barrier::Barriers;
use super::cluster::{BlockState, Cluster};
use super::l1::L1;
use super::mbarrier::Mbarriers;
use super::program::{Operation, Program};
use super::shared::SharedMemory;
use super::warp::Warp;
use crate::count::Counts;
use crate::error::{Error, excerpt};
use crate::memory::{Allocation, Memory};
use crate::numerics::tensor::TensorCores;
use crate::options::Options;
use crate::parse::syntax::Space;
use crate::sanitize::{Finding, FindingKind, Findings};

/// An error that ends the launch. Boxed, so that results of instructions stay small.
#[derive(Debug)]
pub(crate) struct Stop(pub Box<Error>);

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop(Box::new(error))
    }
}

/// The 32-byte sectors of an allocation that a launch read and wrote, one bit each.
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

/// A launch: what all its host threads share.
pub(crate) struct LaunchContext<'a> {
    /// The module's PTX text.
    pub text: &'a str,
    pub kernel: &'a str,
    pub program: &'a Program,
    pub memory: &'a Memory,
    pub allocations: Arc<Vec<Arc<Allocation>>>,
    pub touched: Vec<OnceLock<Touched>>,
    pub parameters: Vec<u8>,
    pub constants: Arc<[u8]>,
    /// The address of the module's global image.
    pub globals: u64,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: u32,
    pub options: &'a Options,
    /// Never `OfTarget`.
    pub tensor_cores: TensorCores,
    /// Warp instructions run so far, by all host threads.
    pub issued: AtomicU64,
}

impl LaunchContext<'_> {
    /// The C string at a generic address in global or constant memory, if it is short and printable ASCII.
    pub fn string(&self, address: u64) -> Option<String> {
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

/// The number of times that an operation ran so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Executed {
    pub threads: u64,
    pub warps: u64,
    /// Warps with no active thread.
    pub skipped: u64,
}

/// One host thread's machine, except for the warps of the block it runs.
pub(crate) struct Core<'a> {
    pub launch: &'a LaunchContext<'a>,
    pub shared: SharedMemory,
    pub barriers: Barriers,
    pub mbarriers: Mbarriers,
    /// Set by an instruction that waits for something: the warp gives up its turn.
    pub stalled: bool,
    /// Set by an instruction that did nothing yet and must run again.
    pub again: bool,
    pub cluster: Cluster,
    /// `true` while `shared` is another block's shared memory.
    pub remote: bool,
    pub block_index: [u32; 3],
    pub block_number: u64,
    pub executed: Vec<Executed>,
    pub counts: Counts,
    pub l1: L1,
    pub findings: Findings,
    /// The index of the allocation that each operation accessed last.
    pub hints: Vec<u32>,
    /// Instructions run, which is the clock that kernels read.
    pub clock: u64,
}

impl<'a> Core<'a> {
    pub fn new(launch: &'a LaunchContext<'a>) -> Core<'a> {
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
            l1: L1::new(warps, launch.options.count),
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

    /// A thread's index in its block.
    pub fn thread(&self, warp: &Warp, lane: usize) -> [u32; 3] {
        thread_index(self.launch.block, warp.index * 32 + lane as u32)
    }

    /// The error of a lane's operation that a GPU would answer with an error.
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
            instruction: excerpt(self.launch.text, info.span),
            block: self.block_index,
            thread: self.thread(warp, lane),
            address,
        })
    }

    /// Notes a finding about a lane's operation. `access` is (address, size in bytes).
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
        let text = self.launch.text;
        self.findings.note(info.line, kind, self.block_number, || Finding {
            kind,
            line: info.line,
            instruction: excerpt(text, info.span),
            block,
            thread,
            address: access.map(|(address, _)| address),
            size: access.map_or(0, |(_, size)| size),
            message: message(),
            occurrences: 1,
        });
    }

    /// Reports a wrong access: as a finding under the sanitizer, after which the access must do nothing, else as a
    /// fault.
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

    /// The index of the allocation that holds an access, and the offset in it. The operation's last one is tried first.
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

/// The three-dimensional index of a thread in a block (or of a block in a cluster), given its number.
pub(crate) fn thread_index(block: [u32; 3], number: u32) -> [u32; 3] {
    let [x, y, _] = block.map(|extent| extent.max(1));
    [number % x, number / x % y, number / x / y]
}

impl Core<'_> {
    /// Makes the block of that rank the running one.
    pub fn switch(&mut self, rank: usize) {
        if self.cluster.rank == rank {
            return;
        }
        self.swap(self.cluster.rank);
        self.swap(rank);
        self.cluster.rank = rank;
    }

    fn swap(&mut self, rank: usize) {
        let block = &mut self.cluster.blocks[rank];
        std::mem::swap(&mut self.shared, &mut block.shared);
        std::mem::swap(&mut self.barriers, &mut block.barriers);
        std::mem::swap(&mut self.mbarriers, &mut block.mbarriers);
        std::mem::swap(&mut self.block_index, &mut block.index);
        std::mem::swap(&mut self.block_number, &mut block.number);
    }

    /// Runs an action on the shared memory of another block of the cluster. The sanitizer looks for no races there.
    pub fn remotely<R>(&mut self, rank: usize, action: impl FnOnce(&mut Self) -> Result<R, Stop>) -> Result<R, Stop> {
        std::mem::swap(&mut self.shared, &mut self.cluster.blocks[rank].shared);
        self.remote = true;
        let result = action(self);
        self.remote = false;
        std::mem::swap(&mut self.shared, &mut self.cluster.blocks[rank].shared);
        result
    }
}
