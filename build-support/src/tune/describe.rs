//! What the cost model sees of a kernel: what is launched, and what its instructions are.
//!
//! Static: an instruction in a loop counts once. One place makes them, so that better features replace these in one line.

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
