//! The state in which a warp starts a block, and the constants of a function's frame.

use std::collections::VecDeque;

use crate::machine::copies::AsyncCopies;
use crate::machine::core::{Core, thread_index};
use crate::machine::lanes::each;
use crate::machine::program::{Constant, Special};
use crate::machine::registers::{FULL, LANES};
use crate::machine::warp::Warp;

/// Multiprocessors of the emulated GPU, as kernels see them (an A100's).
const PROCESSORS: u32 = 108;

impl Warp {
    /// Sets all threads to the start of the kernel, in the core's block.
    pub(super) fn start(&mut self, core: &Core<'_>) {
        let program = core.launch.program;
        let kernel = &program.functions[0];
        let threads: u32 = core.launch.block.iter().product();
        let present = threads.saturating_sub(self.index * 32).min(32);
        self.live = if present == 32 { FULL } else { (1 << present) - 1 };
        (self.waiting, self.parked, self.set_aside, self.apart) = (0, 0, 0, 0);
        self.exited = false;
        self.counters = [kernel.entry; LANES];
        self.bases = [0; LANES];
        self.predicate_bases = [0; LANES];
        self.local_bases = [0; LANES];
        // State that a program cannot have changed is not cleared.
        if !program.calls.is_empty() {
            self.stacks.iter_mut().for_each(Vec::clear);
        }
        if std::mem::take(&mut self.copied) {
            self.bulk.iter_mut().for_each(VecDeque::clear);
            self.copies
                .iter_mut()
                .for_each(|copies| *copies = AsyncCopies::default());
        }
        self.products.clear();
        self.committed.clear();
        if kernel.frame > 0 || !program.calls.is_empty() {
            for local in &mut self.local {
                local.bytes.clear();
                local.bytes.resize(kernel.frame as usize, 0);
                local.defined.clear();
                local.defined.resize(kernel.frame as usize, false);
            }
        }
        let registers = &mut self.registers;
        registers.reserve(kernel.rows as usize, kernel.predicates as usize);
        for (slot, row) in registers.rows.iter_mut().enumerate() {
            if !kernel.constant_rows.get(slot).is_some_and(|constant| *constant) {
                row.0 = [0; LANES];
            }
        }
        registers.predicates.fill(0);
        registers.defined.fill(0);
        registers.predicate_defined.fill(0);
        (registers.base, registers.predicate_base) = (0, 0);
        // Only constants that describe the block change from block to block.
        let started = std::mem::replace(&mut self.started, true);
        self.fill_constants(core, 0, FULL, !started || !program.calls.is_empty());
    }

    /// Writes the constants of a function's frame at the registers' base: all of them, or only those that change from
    /// block to block.
    pub(super) fn fill_constants(&mut self, core: &Core<'_>, function: usize, lanes: u32, all: bool) {
        for (slot, constant) in &core.launch.program.functions[function].constants {
            let at = self.registers.base + *slot as usize;
            self.registers.defined[at] |= lanes;
            if constant.is_wide() {
                self.registers.defined[at + 1] |= lanes;
            }
            if !all && !constant.varies() {
                continue;
            }
            let warp = self.index;
            if constant.is_wide() {
                let row = self.registers.wide_mut(*slot);
                each(lanes, |lane| row[lane] = constant_value(core, *constant, warp, lane));
            } else {
                let row = self.registers.row_mut(*slot);
                each(lanes, |lane| {
                    row[lane] = constant_value(core, *constant, warp, lane) as u32
                });
            }
        }
    }
}

/// The value of a constant in a lane of a warp of the running block.
fn constant_value(core: &Core<'_>, constant: Constant, warp: u32, lane: usize) -> u64 {
    match constant {
        Constant::Narrow(value) => value.into(),
        Constant::Wide(value) => value,
        Constant::Global(offset) => core.launch.globals.wrapping_add(offset),
        Constant::Special(special) => special_register(core, special, warp, lane).into(),
    }
}

/// The value of a special register in a lane of a warp of the running block.
fn special_register(core: &Core<'_>, special: Special, warp: u32, lane: usize) -> u32 {
    let (launch, program) = (core.launch, core.launch.program);
    let (block, cluster) = (core.block_index, program.cluster);
    match special {
        Special::ThreadIndex(axis) => thread_index(launch.block, warp * 32 + lane as u32)[usize::from(axis)],
        Special::BlockSize(axis) => launch.block[usize::from(axis)],
        Special::BlockIndex(axis) => block[usize::from(axis)],
        Special::GridSize(axis) => launch.grid[usize::from(axis)],
        Special::Lane => lane as u32,
        Special::WarpIndex => warp,
        Special::WarpCount => 64,
        Special::Processor => (core.block_number % u64::from(PROCESSORS)) as u32,
        Special::ProcessorCount => PROCESSORS,
        Special::GridId => 1,
        Special::MaskEqual => 1 << lane,
        Special::MaskLess => (1 << lane) - 1,
        Special::MaskLessEqual => ((2u64 << lane) - 1) as u32,
        Special::MaskGreater => !(((2u64 << lane) - 1) as u32),
        Special::MaskGreaterEqual => !((1 << lane) - 1),
        Special::ClusterIndex(axis) => block[usize::from(axis)] / cluster[usize::from(axis)],
        Special::ClusterCount(axis) => launch.grid[usize::from(axis)] / cluster[usize::from(axis)],
        Special::IndexInCluster(axis) => block[usize::from(axis)] % cluster[usize::from(axis)],
        Special::ClusterSize(axis) => cluster[usize::from(axis)],
        Special::ClusterRank => core.cluster.rank as u32,
        Special::ClusterBlocks => cluster.iter().product(),
        Special::DynamicShared => launch.dynamic_shared,
        Special::TotalShared => program.static_shared - program.reserved_shared + launch.dynamic_shared,
        Special::TotalAndReservedShared => program.static_shared + launch.dynamic_shared,
    }
}
