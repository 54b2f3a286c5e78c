//! What the cost model sees of a kernel: what is launched, and what its instructions are.
//!
//! Static: an instruction in a loop counts once. One place makes them, so that better features replace these in one line.

use super::data::{bytes, operations};
use super::model::device::Described;
use crate::session::Job;
use energy_kernel_compiler::kernel::Kernel;

/// Beginnings of instructions that are told apart, after predicates.
const INSTRUCTIONS: [&str; 12] = [
    "ld.global",
    "st.global",
    "ld.shared",
    "st.shared",
    "cp.async",
    "fma",
    "mul",
    "add",
    "mma",
    "bar",
    "shfl",
    "bra",
];

/// What the launch is described by, before the instructions.
const LAUNCH: [&str; 3] = ["threads a block", "blocks", "bytes of shared memory a block"];

/// The names of [`features`].
pub(super) fn names() -> Vec<String> {
    LAUNCH
        .iter()
        .chain(&INSTRUCTIONS)
        .map(|&name| name.to_owned())
        .collect()
}

/// A kernel as the model of a device takes it. Prices are learnt for the operations and the bytes that the operator needs, and for
/// the threads with their instructions as far as those are known without running them.
pub(super) fn describe(kernel: &Kernel, job: &Job<'_>, latency: f64) -> Described {
    let (checked, sizes) = (&job.found.checked, job.sizes);
    let shape = features(kernel, sizes);
    let threads: f64 = shape[..2].iter().product();
    let needed = [operations(checked, sizes), bytes(checked, sizes) as f64, threads];
    let instructions = shape[LAUNCH.len()..].iter().map(|count| count * threads);
    Described {
        counts: needed.into_iter().chain(instructions).collect(),
        shape,
        latency,
    }
}

/// The features of a kernel at these sizes, the same number for any: threads a block, blocks, bytes of shared memory a block, and
/// instructions of each kind.
pub(super) fn features(kernel: &Kernel, sizes: &[u64]) -> Vec<f64> {
    let blocks = kernel
        .launch
        .grid(sizes)
        .map_or(f64::NAN, |grid| grid.iter().map(|&n| f64::from(n)).product());
    let threads = kernel.launch.block.iter().map(|&n| f64::from(n)).product();
    let mut features = vec![threads, blocks, kernel.launch.dynamic_shared.into()];
    let mut counts = [0.0; INSTRUCTIONS.len()];
    for line in kernel.ptx.lines() {
        let line = line.trim_start();
        let instruction = match line.strip_prefix('@') {
            Some(predicated) => predicated.split_once(' ').map_or("", |(_, rest)| rest.trim_start()),
            None => line,
        };
        if let Some(kind) = INSTRUCTIONS.iter().position(|kind| instruction.starts_with(kind)) {
            counts[kind] += 1.0;
        }
    }
    features.extend(counts);
    features
}
