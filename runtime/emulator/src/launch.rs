//! Launching a kernel: checks arguments and limits, spreads blocks over host threads, gathers counts and findings.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::count::Counts;
use crate::error::Error;
use crate::machine::action::Action;
use crate::machine::core::{Core, Executed, LaunchContext, Stop};
use crate::machine::warp::Warp;
use crate::memory::Memory;
use crate::module::{Kernel, Module};
use crate::options::Options;
use crate::run::block;
use crate::sanitize::{Finding, Findings};

/// Bytes of shared memory that a block can have, as on sm_90.
const MOST_SHARED: u32 = 227 << 10;
/// Threads that a block can have.
const MOST_THREADS: u64 = 1024;
/// Blocks that a cluster can have.
const MOST_BLOCKS: u64 = 16;

/// A kernel argument, of its parameter's size.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Argument {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    /// The bytes of a structure or an array.
    Bytes(Vec<u8>),
}

impl Argument {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Argument::U8(value) => value.to_le_bytes().to_vec(),
            Argument::I8(value) => value.to_le_bytes().to_vec(),
            Argument::U16(value) => value.to_le_bytes().to_vec(),
            Argument::I16(value) => value.to_le_bytes().to_vec(),
            Argument::U32(value) => value.to_le_bytes().to_vec(),
            Argument::I32(value) => value.to_le_bytes().to_vec(),
            Argument::U64(value) => value.to_le_bytes().to_vec(),
            Argument::I64(value) => value.to_le_bytes().to_vec(),
            Argument::F32(value) => value.to_le_bytes().to_vec(),
            Argument::F64(value) => value.to_le_bytes().to_vec(),
            Argument::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// The configuration and the arguments of a launch.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The number of blocks in x, y and z.
    pub grid: [u32; 3],
    /// The number of threads of a block in x, y and z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub dynamic_shared: u32,
    /// One argument for each parameter, in order.
    pub arguments: &'a [Argument],
    /// The options of the launch.
    pub options: Options,
}

/// The counts and the findings of a launch.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The events of the launch; all zero unless [`Options::count`] was set.
    pub counts: Counts,
    /// The sanitizer's findings, sorted by line; empty unless [`Options::sanitize`] was set.
    pub findings: Vec<Finding>,
}

/// Runs a kernel to its end.
///
/// Results in memory do not depend on [`Options::threads`] if the program has no races between blocks.
///
/// # Errors
///
/// The launch does not fit the kernel or the memory, the kernel has an instruction that the emulator does not know, or
/// it fails as it runs. In the last case memory holds what the kernel wrote until then.
pub fn launch(module: &Module, kernel: &str, memory: &Memory, launch: &Launch<'_>) -> Result<Report, Error> {
    let kernel = module.find(kernel)?;
    let parameters = parameters(module, kernel, launch.arguments)?;
    check_shape(kernel, launch)?;
    let executable = module.executable(kernel)?;
    let program = &executable.program;
    let static_shared = program.static_shared - program.reserved_shared;
    let shared_bytes = u64::from(static_shared) + u64::from(launch.dynamic_shared);
    if shared_bytes > u64::from(MOST_SHARED) {
        return Err(shape(
            kernel,
            format!("{shared_bytes} bytes of shared memory exceed the {MOST_SHARED} of a block"),
        ));
    }
    let extents = program.cluster;
    let whole = (0..3).all(|axis| extents[axis] > 0 && launch.grid[axis].is_multiple_of(extents[axis]));
    if !whole || extents.iter().map(|extent| u64::from(*extent)).product::<u64>() > MOST_BLOCKS {
        let message = format!(
            "a grid of {:?} blocks in clusters of {extents:?} (at most {MOST_BLOCKS} blocks)",
            launch.grid
        );
        return Err(shape(kernel, message));
    }
    let instance = module.instance(memory)?;
    let allocations = memory.snapshot();
    let context = LaunchContext {
        text: module.text(),
        kernel: kernel.name(),
        program,
        memory,
        touched: (0..allocations.len()).map(|_| OnceLock::new()).collect(),
        allocations,
        parameters,
        constants: instance.constants,
        globals: instance.globals,
        grid: launch.grid,
        block: launch.block,
        dynamic_shared: launch.dynamic_shared,
        options: &launch.options,
        tensor_cores: launch.options.tensor_cores.resolved(module.target()),
        issued: AtomicU64::new(0),
    };
    let actions = &executable.actions;
    match (launch.options.sanitize, launch.options.count) {
        (false, false) => run::<false, false>(&context, actions),
        (false, true) => run::<false, true>(&context, actions),
        (true, false) => run::<true, false>(&context, actions),
        (true, true) => run::<true, true>(&context, actions),
    }
}

fn shape(kernel: &Kernel, message: String) -> Error {
    Error::Shape {
        kernel: kernel.name().to_owned(),
        message,
    }
}

/// Checks grid and block against the limits of GPUs and of the kernel.
fn check_shape(kernel: &Kernel, launch: &Launch<'_>) -> Result<(), Error> {
    let threads = launch
        .block
        .iter()
        .map(|extent| u64::from(*extent))
        .fold(1, u64::saturating_mul);
    if threads == 0 || threads > MOST_THREADS || launch.block[2] > 64 {
        return Err(shape(
            kernel,
            format!(
                "a block of {:?} threads: between 1 and {MOST_THREADS} are possible, at most 64 in z",
                launch.block
            ),
        ));
    }
    if launch.grid.contains(&0) || launch.grid[0] > i32::MAX as u32 || launch.grid[1] > 65535 || launch.grid[2] > 65535
    {
        return Err(shape(
            kernel,
            format!(
                "a grid of {:?} blocks: each extent must be at least 1, at most 2^31 - 1 in x and 65535 in y and z",
                launch.grid
            ),
        ));
    }
    if let Some(most) = kernel.max_threads()
        && threads > most.iter().map(|extent| u64::from(*extent)).product()
    {
        return Err(shape(
            kernel,
            format!("a block of {threads} threads exceeds the kernel's .maxntid {most:?}"),
        ));
    }
    if let Some(required) = kernel.required_threads()
        && launch.block != required
    {
        return Err(shape(
            kernel,
            format!(
                "a block of {:?} threads is not the kernel's .reqntid {required:?}",
                launch.block
            ),
        ));
    }
    Ok(())
}

/// The bytes of a kernel's parameters, from its arguments.
fn parameters(module: &Module, kernel: &Kernel, arguments: &[Argument]) -> Result<Vec<u8>, Error> {
    let declared = kernel.parameters();
    if arguments.len() != declared.len() {
        return Err(Error::ArgumentCount {
            kernel: kernel.name().to_owned(),
            expected: declared.len(),
            given: arguments.len(),
        });
    }
    let mut bytes = Vec::new();
    for (index, ((argument, parameter), range)) in arguments
        .iter()
        .zip(declared)
        .zip(module.parameter_ranges(kernel))
        .enumerate()
    {
        let argument = argument.bytes();
        if argument.len() != parameter.size {
            return Err(Error::ArgumentSize {
                kernel: kernel.name().to_owned(),
                index,
                name: parameter.name.clone(),
                expected: parameter.size,
                given: argument.len(),
            });
        }
        bytes.resize(range.0 as usize, 0);
        bytes.extend(argument);
    }
    Ok(bytes)
}

/// The clusters that host threads take one after the other, and the failure that stops them all.
struct Queue {
    /// The number of clusters in x, y and z.
    clusters: [u64; 3],
    next: AtomicU64,
    stop: AtomicBool,
    /// The failure of the earliest cluster, so that the error depends on timing as little as possible.
    failure: Mutex<Option<(u64, Stop)>>,
}

impl Queue {
    /// The number of the next cluster, and its index in the grid of clusters.
    fn take(&self) -> Option<(u64, [u64; 3])> {
        if self.stop.load(Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Relaxed);
        let [x, y, z] = self.clusters;
        (number < x * y * z).then(|| (number, [number % x, number / x % y, number / x / y]))
    }

    fn fail(&self, number: u64, error: Stop) {
        self.stop.store(true, Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.as_ref().is_none_or(|(earlier, _)| number < *earlier) {
            *failure = Some((number, error));
        }
    }
}

/// The counts and the findings of one host thread.
struct HostThread {
    counts: Counts,
    findings: Findings,
    executed: Vec<Executed>,
}

/// Runs all clusters of the grid on host threads.
fn run<const SANITIZE: bool, const COUNT: bool>(
    context: &LaunchContext<'_>,
    actions: &[Action],
) -> Result<Report, Error> {
    let extents = context.program.cluster;
    let queue = Queue {
        clusters: std::array::from_fn(|axis| u64::from(context.grid[axis] / extents[axis])),
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        failure: Mutex::new(None),
    };
    let available = context
        .options
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let threads = (available.max(1) as u64).min(queue.clusters.iter().product()) as usize;
    let work = || run_clusters::<SANITIZE, COUNT>(context, actions, &queue);
    let finished: Vec<HostThread> = if threads == 1 {
        vec![work()]
    } else {
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            // A panic is a bug of the emulator: pass it on as it is.
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    };
    match queue.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, Stop(error))) => Err(*error),
        None => Ok(gathered(context, finished)),
    }
}

/// Runs clusters of the queue until it is empty or one fails.
fn run_clusters<const SANITIZE: bool, const COUNT: bool>(
    context: &LaunchContext<'_>,
    actions: &[Action],
    queue: &Queue,
) -> HostThread {
    let mut core = Core::new(context);
    let extents = context.program.cluster;
    let warp_count = context.block.iter().product::<u32>().div_ceil(32);
    let ranks = extents.iter().product::<u32>();
    let mut warps: Vec<Vec<Warp>> = (0..ranks).map(|_| (0..warp_count).map(Warp::new).collect()).collect();
    while let Some((number, index)) = queue.take() {
        let origin = std::array::from_fn(|axis| index[axis] as u32 * extents[axis]);
        if let Err(error) = block::run::<SANITIZE, COUNT>(&mut core, actions, &mut warps, origin) {
            queue.fail(number, error);
            break;
        }
    }
    HostThread {
        counts: core.counts,
        findings: core.findings,
        executed: core.executed,
    }
}

/// Adds up the counts and the findings of all host threads.
fn gathered(context: &LaunchContext<'_>, finished: Vec<HostThread>) -> Report {
    let mut counts = Counts::default();
    let mut findings = Findings::default();
    for thread in finished {
        if context.options.count {
            counts += thread.counts;
            add_executed(&mut counts, context, &thread.executed);
        }
        findings.merge(thread.findings);
    }
    if context.options.count {
        let sectors = |map: &[AtomicU64]| {
            map.iter()
                .map(|word| u64::from(word.load(Relaxed).count_ones()))
                .sum::<u64>()
        };
        for touched in context.touched.iter().filter_map(OnceLock::get) {
            counts.dram_read_bytes += 32 * sectors(&touched.read);
            counts.dram_write_bytes += 32 * sectors(&touched.written);
        }
    }
    Report {
        counts,
        findings: findings.into_sorted(),
    }
}

/// Adds the instructions that a host thread executed.
fn add_executed(counts: &mut Counts, context: &LaunchContext<'_>, executed: &[Executed]) {
    for (info, executed) in context.program.info.iter().zip(executed) {
        counts.flops += u64::from(info.flops) * executed.threads;
        if info.counted {
            *counts.thread_instructions.get_mut(info.class) += executed.threads;
            *counts.warp_instructions.get_mut(info.class) += executed.warps;
            counts.warp_instructions_skipped += executed.skipped;
        }
    }
}
