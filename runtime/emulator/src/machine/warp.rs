//! One warp: which of its 32 threads run next, and the loop that runs them.
//!
//! The threads that share a program counter run together. Among several such groups the one deepest in calls goes
//! first, then the one with the lowest program counter, so that groups meet again where their paths do. A group
//! that spins while others wait is set aside after [`PATIENCE`] instructions, for the sake of locks.

use std::collections::VecDeque;

use super::barrier::{BARRIERS, Waiting, uniform};
use super::cluster::ClusterWaiting;
use super::registers::{FULL, LANES, Registers};
use super::{Core, DEEPEST_CALL, LOCAL_LIMIT, MOST_ROWS, Stop, thread_index};
use crate::count::Class;
use crate::decode::ASSERTION;
use crate::error::Error;
use crate::execute::lanes::each;
use crate::program::*;
use crate::sanitize::FindingKind;

/// Instructions that a group may run while others of its warp wait to run.
const PATIENCE: u32 = 4096;

/// An open call of one thread.
#[derive(Clone, Copy)]
struct Frame {
    /// Where the caller goes on.
    resume: u32,
    call: u32,
    /// The function that was called; the rest is the caller's.
    function: u32,
    base: u32,
    predicate_base: u32,
    local_base: u32,
}

/// A thread's private memory.
#[derive(Default)]
pub(crate) struct Local {
    pub bytes: Vec<u8>,
    /// Bytes written, kept under the sanitizer.
    pub defined: Vec<bool>,
}

/// A thread's asynchronous copies, in groups.
#[derive(Default)]
pub(crate) struct Copies {
    pub open: Vec<Copy>,
    pub groups: VecDeque<Vec<Copy>>,
}

/// A copy from shared to global memory that is under way. It reads when it is waited for, as late as hardware may.
#[derive(Clone, Copy)]
pub(crate) struct BulkStore {
    pub from: u32,
    pub to: u64,
    pub size: u32,
    pub operation: u32,
}

/// Bytes on their way to shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Copy {
    pub to: u32,
    pub bytes: [u8; 16],
    pub size: u8,
    /// Index of the operation that started it.
    pub operation: u32,
}

pub(crate) struct Warp {
    pub index: u32,
    pub registers: Registers,
    /// Threads that exist and have not exited.
    pub live: u32,
    /// Threads that wait at a barrier.
    pub waiting: u32,
    /// Threads that wait for others at a warp-wide instruction.
    parked: u32,
    /// Threads that had their turn while others waited to run; empty once all had it.
    set_aside: u32,
    /// Instructions run since the threads of the warp ran together, or since some were set aside.
    apart: u32,
    counters: [u32; LANES],
    bases: [u32; LANES],
    predicate_bases: [u32; LANES],
    /// Where each thread's frame starts in its local memory.
    pub local_bases: [u32; LANES],
    /// The phase of the cluster's barrier in which each thread arrived.
    cluster_phases: [u64; LANES],
    stacks: Vec<Vec<Frame>>,
    pub local: Vec<Local>,
    /// It ran in an earlier block.
    started: bool,
    /// A thread started an asynchronous copy in this block.
    pub copied: bool,
    /// Asynchronous copies of each thread that have not landed.
    pub copies: Vec<Copies>,
    /// Registers of matrix products that are under way, in groups; the last group is open. Kept under the sanitizer.
    pub products: VecDeque<Vec<usize>>,
    /// Products of the warp up to the end of each group that was not waited for.
    pub committed: VecDeque<u32>,
    /// Bulk copies from shared to global memory of each thread, in groups; the last group is open.
    pub bulk: Vec<VecDeque<Vec<BulkStore>>>,
}

/// Threads that run together.
struct Group {
    lanes: u32,
    counter: u32,
    /// The lowest program counter of others that could run.
    fence: u32,
    /// No other threads of the warp could run.
    alone: bool,
    /// It does not wait for the lanes that its warp-wide instruction names: they will never come.
    forced: bool,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Turn {
    /// The warp could go on.
    Spent,
    /// Every thread waits or has exited.
    Blocked,
}

impl Warp {
    pub fn new(index: u32) -> Warp {
        Warp {
            index,
            registers: Registers::default(),
            live: 0,
            waiting: 0,
            parked: 0,
            set_aside: 0,
            apart: 0,
            counters: [0; LANES],
            bases: [0; LANES],
            predicate_bases: [0; LANES],
            local_bases: [0; LANES],
            cluster_phases: [0; LANES],
            stacks: vec![Vec::new(); LANES],
            local: (0..LANES).map(|_| Local::default()).collect(),
            started: false,
            copied: false,
            copies: (0..LANES).map(|_| Copies::default()).collect(),
            products: VecDeque::new(),
            committed: VecDeque::new(),
            bulk: vec![VecDeque::new(); LANES],
        }
    }

    /// Sets all threads to the kernel's start in the core's block.
    pub fn start(&mut self, core: &Core<'_>) {
        let program = core.launch.program;
        let kernel = &program.functions[0];
        let threads: u32 = core.launch.block.iter().product();
        let present = threads.saturating_sub(self.index * 32).min(32);
        self.live = if present == 32 { FULL } else { (1 << present) - 1 };
        (self.waiting, self.parked, self.set_aside, self.apart) = (0, 0, 0, 0);
        self.counters = [kernel.entry; LANES];
        self.bases = [0; LANES];
        self.predicate_bases = [0; LANES];
        self.local_bases = [0; LANES];
        // What a block leaves behind is cleared only where the program can have left something.
        if !program.calls.is_empty() {
            self.stacks.iter_mut().for_each(Vec::clear);
        }
        if std::mem::take(&mut self.copied) {
            self.bulk.iter_mut().for_each(VecDeque::clear);
            self.copies.iter_mut().for_each(|copies| *copies = Copies::default());
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
        // Constants keep their values from block to block, except for those about the block.
        let started = std::mem::replace(&mut self.started, true);
        self.fill_constants(core, 0, FULL, !started || !program.calls.is_empty());
    }

    /// Writes the constants of a function's frame at the registers' base: all, or those that change from block to block.
    fn fill_constants(&mut self, core: &Core<'_>, function: usize, lanes: u32, all: bool) {
        let launch = core.launch;
        for (slot, constant) in &launch.program.functions[function].constants {
            let warp = self.index;
            let value = |lane: usize| -> u64 {
                match *constant {
                    Constant::Narrow(value) => value.into(),
                    Constant::Wide(value) => value,
                    Constant::Global(offset) => launch.globals.wrapping_add(offset),
                    Constant::Special(special) => u64::from(match special {
                        Special::ThreadIndex(axis) => {
                            thread_index(launch.block, warp * 32 + lane as u32)[usize::from(axis)]
                        }
                        Special::BlockSize(axis) => launch.block[usize::from(axis)],
                        Special::BlockIndex(axis) => core.block_index[usize::from(axis)],
                        Special::GridSize(axis) => launch.grid[usize::from(axis)],
                        Special::Lane => lane as u32,
                        Special::WarpIndex => warp,
                        Special::WarpCount => 64,
                        Special::Processor => (core.block_number % 108) as u32,
                        Special::ProcessorCount => 108,
                        Special::GridId => 1,
                        Special::MaskEqual => 1 << lane,
                        Special::MaskLess => (1 << lane) - 1,
                        Special::MaskLessEqual => ((2u64 << lane) - 1) as u32,
                        Special::MaskGreater => !(((2u64 << lane) - 1) as u32),
                        Special::MaskGreaterEqual => !((1 << lane) - 1),
                        Special::ClusterIndex(axis) => {
                            core.block_index[usize::from(axis)] / launch.program.cluster[usize::from(axis)]
                        }
                        Special::ClusterCount(axis) => {
                            launch.grid[usize::from(axis)] / launch.program.cluster[usize::from(axis)]
                        }
                        Special::IndexInCluster(axis) => {
                            core.block_index[usize::from(axis)] % launch.program.cluster[usize::from(axis)]
                        }
                        Special::ClusterSize(axis) => launch.program.cluster[usize::from(axis)],
                        Special::ClusterRank => core.cluster.rank as u32,
                        Special::ClusterBlocks => launch.program.cluster.iter().product(),
                        Special::DynamicShared => launch.dynamic_shared,
                        Special::TotalShared => {
                            launch.program.static_shared - launch.program.reserved_shared + launch.dynamic_shared
                        }
                        Special::TotalAndReservedShared => launch.program.static_shared + launch.dynamic_shared,
                    }),
                }
            };
            let wide = constant.is_wide();
            let at = self.registers.base + *slot as usize;
            if !all && !constant.varies() {
                self.registers.defined[at] |= lanes;
                if wide {
                    self.registers.defined[at + 1] |= lanes;
                }
                continue;
            }
            if wide {
                let row = self.registers.wide_mut(*slot);
                each(lanes, |lane| row[lane] = value(lane));
                self.registers.defined[at + 1] |= lanes;
            } else {
                let row = self.registers.row_mut(*slot);
                each(lanes, |lane| row[lane] = value(lane) as u32);
            }
            self.registers.defined[at] |= lanes;
        }
    }

    /// The threads to run next.
    fn select(&mut self) -> Option<Group> {
        let mut ready = self.live & !self.waiting & !self.parked;
        let forced = ready == 0;
        if forced {
            ready = self.live & !self.waiting & self.parked;
        }
        if ready == 0 {
            return None;
        }
        // After a group lost patience, the others get their turn without being stopped by it.
        if ready & !self.set_aside == 0 {
            self.set_aside = 0;
        }
        let candidates = ready & !self.set_aside;
        let patient = self.set_aside != 0;
        let depth = |lane: usize| self.stacks[lane].len();
        let key = |lane: usize| (usize::MAX - depth(lane), self.counters[lane]);
        let mut best = candidates.trailing_zeros() as usize;
        each(candidates, |lane| {
            if key(lane) < key(best) {
                best = lane;
            }
        });
        let (mut lanes, mut fence) = (0, u32::MAX);
        each(ready, |lane| {
            if self.counters[lane] == self.counters[best]
                && self.bases[lane] == self.bases[best]
                && self.predicate_bases[lane] == self.predicate_bases[best]
                && depth(lane) == depth(best)
            {
                lanes |= 1 << lane;
            } else if depth(lane) == depth(best) {
                fence = fence.min(self.counters[lane]);
            }
        });
        let alone = lanes == ready;
        if alone {
            (self.set_aside, self.apart) = (0, 0);
        }
        if patient || forced {
            fence = u32::MAX;
        }
        // A group of the same place in another frame must not fence itself in.
        if fence <= self.counters[best] {
            fence = u32::MAX;
        }
        Some(Group {
            lanes,
            counter: self.counters[best],
            fence,
            alone,
            forced,
        })
    }

    fn save(&mut self, group: &Group) {
        each(group.lanes, |lane| self.counters[lane] = group.counter);
    }

    /// Runs until every thread waits or has exited, or until the budget of instructions is spent.
    pub fn run<const SANITIZE: bool, const COUNT: bool>(
        &mut self,
        core: &mut Core<'_>,
        budget: &mut u64,
    ) -> Result<Turn, Stop> {
        loop {
            let Some(mut group) = self.select() else {
                return Ok(Turn::Blocked);
            };
            let leader = group.lanes.trailing_zeros() as usize;
            if group.forced
                && let Some((meeting, mask, members)) = self.gathered(core, leader)
            {
                // Those who are missing will never come.
                self.hold_meeting(core, meeting, mask, members)?;
                continue;
            }
            self.registers.base = self.bases[leader] as usize;
            self.registers.predicate_base = self.predicate_bases[leader] as usize;
            if group.forced {
                self.parked &= !group.lanes;
            }
            let finished = self.run_group::<SANITIZE, COUNT>(core, &mut group, budget)?;
            self.save(&group);
            match finished {
                Pause::Regroup => {}
                Pause::Impatient => {
                    self.set_aside |= group.lanes;
                    self.apart = 0;
                }
                Pause::Spent => return Ok(Turn::Spent),
            }
        }
    }

    fn run_group<const SANITIZE: bool, const COUNT: bool>(
        &mut self,
        core: &mut Core<'_>,
        group: &mut Group,
        budget: &mut u64,
    ) -> Result<Pause, Stop> {
        let operations = &core.launch.program.operations;
        loop {
            if group.counter >= group.fence {
                return Ok(Pause::Regroup);
            }
            if *budget == 0 {
                return Ok(Pause::Spent);
            }
            *budget -= 1;
            if !group.alone {
                self.apart += 1;
                if self.apart > PATIENCE {
                    return Ok(Pause::Impatient);
                }
            }
            let operation = &operations[group.counter as usize];
            let active = if operation.guard == NO_GUARD {
                group.lanes
            } else {
                let predicate = self.registers.predicate(operation.guard);
                group.lanes & if operation.negated { !predicate } else { predicate }
            };
            if SANITIZE {
                self.check_registers(core, operation, group.lanes, active);
            }
            if COUNT {
                let executed = &mut core.executed[operation.index as usize];
                executed.threads += u64::from(active.count_ones());
                if active == 0 {
                    executed.skipped += 1;
                } else {
                    executed.warps += 1;
                }
            }
            match operation.action {
                Action::Lanes(run) => {
                    if active != 0 {
                        run(&mut self.registers, &operation.slots, active);
                    }
                    group.counter += 1;
                }
                Action::Machine(run) => {
                    if active != 0 {
                        run(core, self, operation, active)?;
                    }
                    group.counter += 1;
                    if core.stalled {
                        return Ok(Pause::Spent);
                    }
                }
                Action::Collective(run, mask) => {
                    if active != 0 {
                        let named = self.named(mask, active);
                        let missing = named & self.live & !active;
                        if missing != 0 && !group.forced && missing & !self.waiting & !group.lanes != 0 {
                            // The others may still come.
                            self.parked |= group.lanes;
                            uncount::<COUNT>(core, operation, active);
                            return Ok(Pause::Regroup);
                        }
                        if SANITIZE {
                            self.check_collective(core, operation, named, active);
                        }
                        run(core, self, operation, active)?;
                        if std::mem::take(&mut core.again) {
                            core.stalled = true;
                            uncount::<COUNT>(core, operation, active);
                            return Ok(Pause::Spent);
                        }
                        core.shared.synchronise(self.index, active, self.live);
                        self.parked &= !group.lanes;
                    }
                    group.forced = false;
                    group.counter += 1;
                }
                Action::Meeting(meeting) => {
                    if active == 0 {
                        group.counter += 1;
                    } else if let Some(pause) = self.meet(core, operation, meeting, group, active)? {
                        return Ok(pause);
                    }
                }
                Action::Control(control) => {
                    if let Some(pause) = self.control(core, operation, control, group, active)? {
                        return Ok(pause);
                    }
                }
            }
        }
    }

    /// Comes to a meeting: runs it if that makes everybody, else waits. A result means that the group is to be chosen anew.
    fn meet(
        &mut self,
        core: &mut Core<'_>,
        operation: &Operation,
        meeting: Meeting,
        group: &mut Group,
        active: u32,
    ) -> Result<Option<Pause>, Stop> {
        let masks = self.registers.row(meeting.mask);
        if let Some(mask) = uniform(masks, active)
            && mask & self.live == active
        {
            let part = Part {
                operation,
                lanes: active,
                base: self.registers.base,
                predicate_base: self.registers.predicate_base,
            };
            self.exchange(core, meeting, mask, &[part])?;
            group.counter += 1;
            return Ok(None);
        }
        self.save(group);
        each(group.lanes & !active, |lane| self.counters[lane] += 1);
        self.parked |= active;
        group.lanes = 0;
        self.complete_meetings(core, active)?;
        Ok(Some(Pause::Regroup))
    }

    fn exchange(&mut self, core: &mut Core<'_>, meeting: Meeting, mask: u32, parts: &[Part<'_>]) -> Result<(), Stop> {
        let lanes = parts.iter().fold(0, |lanes, part| lanes | part.lanes);
        if core.sanitize() && lanes != mask {
            self.check_collective(core, parts[0].operation, mask, lanes);
        }
        (meeting.run)(core, self, parts)?;
        core.shared.synchronise(self.index, lanes, self.live);
        Ok(())
    }

    /// The meeting at which a thread waits, and its mask.
    fn meeting(&self, core: &Core<'_>, lane: usize) -> Option<(Meeting, u32)> {
        match core.launch.program.operations[self.counters[lane] as usize].action {
            Action::Meeting(meeting) => {
                let row = &self.registers.rows[(self.bases[lane] + meeting.mask) as usize];
                Some((meeting, row.0[lane]))
            }
            _ => None,
        }
    }

    /// The threads that wait at the same meeting as a thread, with the same mask.
    fn gathered(&self, core: &Core<'_>, lane: usize) -> Option<(Meeting, u32, u32)> {
        let (meeting, mask) = self.meeting(core, lane)?;
        let mut members = 0;
        each(self.parked & self.live, |other| {
            let same = |(found, its): (Meeting, u32)| found.kind == meeting.kind && its == mask;
            members |= u32::from(self.meeting(core, other).is_some_and(same)) << other;
        });
        Some((meeting, mask, members))
    }

    /// Runs those meetings of some threads that nobody misses any more.
    fn complete_meetings(&mut self, core: &mut Core<'_>, mut lanes: u32) -> Result<(), Stop> {
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            let Some((meeting, mask, members)) = self.gathered(core, lane) else {
                continue;
            };
            lanes &= !members;
            if mask & self.live & !members == 0 {
                self.hold_meeting(core, meeting, mask, members)?;
            }
        }
        Ok(())
    }

    /// Runs a meeting of threads that wait for it.
    fn hold_meeting(&mut self, core: &mut Core<'_>, meeting: Meeting, mask: u32, members: u32) -> Result<(), Stop> {
        let operations = &core.launch.program.operations;
        let mut parts: Vec<Part<'_>> = Vec::new();
        each(members, |lane| {
            let operation = &operations[self.counters[lane] as usize];
            let (base, predicate_base) = (self.bases[lane] as usize, self.predicate_bases[lane] as usize);
            let same = |part: &&mut Part<'_>| {
                (part.operation.index, part.base, part.predicate_base) == (operation.index, base, predicate_base)
            };
            match parts.iter_mut().find(same) {
                Some(part) => part.lanes |= 1 << lane,
                None => parts.push(Part {
                    operation,
                    lanes: 1 << lane,
                    base,
                    predicate_base,
                }),
            }
        });
        self.exchange(core, meeting, mask, &parts)?;
        each(members, |lane| self.counters[lane] += 1);
        self.parked &= !members;
        Ok(())
    }

    /// The lanes that the masks of the active lanes name.
    fn named(&self, mask: u32, active: u32) -> u32 {
        let row = self.registers.row(mask);
        let mut named = 0;
        each(active, |lane| named |= row[lane]);
        named
    }

    #[cold]
    fn check_collective(&mut self, core: &mut Core<'_>, operation: &Operation, named: u32, active: u32) {
        let lane = active.trailing_zeros() as usize;
        if named & !active != 0 {
            core.find(FindingKind::InactiveLanes, self, operation, lane, None, || {
                format!("the mask {named:#010x} names lanes that are not there; {active:#010x} are")
            });
        } else if active & !named != 0 {
            core.find(FindingKind::InactiveLanes, self, operation, lane, None, || {
                format!("the lanes {active:#010x} execute it, the mask {named:#010x} leaves some out")
            });
        }
    }

    #[inline(never)]
    fn check_registers(&mut self, core: &mut Core<'_>, operation: &Operation, lanes: u32, active: u32) {
        let info = &core.launch.program.info[operation.index as usize];
        let mut undefined = 0;
        for read in &info.reads {
            let (defined, needed) = match *read {
                Use::Row(slot) => (self.registers.defined[self.registers.base + slot as usize], active),
                Use::Predicate(slot) => {
                    let is_guard = slot == operation.guard;
                    (
                        self.registers.predicate_defined[self.registers.predicate_base + slot as usize],
                        if is_guard { lanes } else { active },
                    )
                }
            };
            undefined |= needed & !defined;
        }
        if undefined != 0 && !info.propagates {
            let lane = undefined.trailing_zeros() as usize;
            core.find(FindingKind::UninitialisedRegister, self, operation, lane, None, || {
                "a source register was never written in this thread".into()
            });
            undefined = 0;
        }
        if !self.products.is_empty() && info.class != Class::Matrix {
            self.check_products(core, operation, active);
        }
        for write in &info.writes {
            let mask = match *write {
                Use::Row(slot) => &mut self.registers.defined[self.registers.base + slot as usize],
                Use::Predicate(slot) => {
                    &mut self.registers.predicate_defined[self.registers.predicate_base + slot as usize]
                }
            };
            *mask = (*mask | active) & !(undefined & active);
        }
    }

    /// Looks for uses of registers that a matrix product may still be writing.
    #[inline(never)]
    fn check_products(&mut self, core: &mut Core<'_>, operation: &Operation, active: u32) {
        let info = &core.launch.program.info[operation.index as usize];
        let base = self.registers.base;
        let touched = info.reads.iter().chain(&info.writes).any(|place| match *place {
            Use::Row(slot) => self.products.iter().flatten().any(|row| *row == base + slot as usize),
            Use::Predicate(_) => false,
        });
        if touched && active != 0 {
            let lane = active.trailing_zeros() as usize;
            core.find(FindingKind::MissingWait, self, operation, lane, None, || {
                "touches a register of a matrix product that `wgmma.wait_group` has not waited for".into()
            });
        }
    }

    /// Runs a control instruction; a result means that the group is to be chosen anew.
    fn control(
        &mut self,
        core: &mut Core<'_>,
        operation: &Operation,
        control: Control,
        group: &mut Group,
        active: u32,
    ) -> Result<Option<Pause>, Stop> {
        match control {
            _ if active == 0 => {
                group.counter += 1;
                return Ok(None);
            }
            Control::Branch { to } => {
                if active == group.lanes {
                    group.counter = to;
                } else {
                    core.counts.divergent_branches += 1;
                    group.counter += 1;
                    self.save(group);
                    each(active, |lane| self.counters[lane] = to);
                    group.lanes &= !active;
                    return Ok(Some(Pause::Regroup));
                }
                return Ok(None);
            }
            Control::Indexed { list, index } => {
                let targets = &core.launch.program.lists[list as usize];
                let row = *self.registers.row(index);
                group.counter += 1;
                self.save(group);
                let mut outside = None;
                each(active, |lane| match targets.get(row[lane] as usize) {
                    Some(target) => self.counters[lane] = *target,
                    None => outside = Some(lane),
                });
                if let Some(lane) = outside {
                    return Err(core.fault(
                        self,
                        operation,
                        lane,
                        None,
                        format!("branch index {} of {} targets", row[lane], targets.len()),
                    ));
                }
                let first = active.trailing_zeros() as usize & 31;
                let mut same = active == group.lanes;
                each(active, |lane| same &= row[lane] == row[first]);
                core.counts.divergent_branches += u64::from(!same);
                group.lanes &= !active;
            }
            Control::Call(call) => {
                group.counter += 1;
                self.save(group);
                self.call(
                    core,
                    operation,
                    call,
                    core.launch.program.calls[call as usize].function,
                    active,
                )?;
                group.lanes &= !active;
            }
            Control::CallIndirect { call, address } => {
                let row = *self.registers.wide(address);
                group.counter += 1;
                self.save(group);
                let mut left = active;
                while left != 0 {
                    let function = row[left.trailing_zeros() as usize];
                    let mut lanes = 0;
                    each(left, |lane| lanes |= u32::from(row[lane] == function) << lane);
                    left &= !lanes;
                    let Some(&index) = core.launch.program.addresses.get(&function) else {
                        let lane = lanes.trailing_zeros() as usize;
                        return Err(core.fault(
                            self,
                            operation,
                            lane,
                            Some(function),
                            "a call to an address that is no function",
                        ));
                    };
                    let callee = &core.launch.program.functions[index as usize];
                    if !core.launch.program.calls[call as usize].fits(callee) {
                        let message = format!("a call to `{}`, whose parameters are others", callee.name);
                        let lane = lanes.trailing_zeros() as usize;
                        return Err(core.fault(self, operation, lane, Some(function), message));
                    }
                    self.call(core, operation, call, index, lanes)?;
                }
                group.lanes &= !active;
            }
            Control::Return => {
                group.counter += 1;
                self.save(group);
                if self.stacks[active.trailing_zeros() as usize].is_empty() {
                    self.exit(core, active)?;
                } else {
                    self.ret(core, active);
                }
                group.lanes &= !active;
            }
            Control::Exit => {
                group.counter += 1;
                self.save(group);
                self.exit(core, active)?;
                group.lanes &= !active;
            }
            Control::Trap => {
                let lane = active.trailing_zeros() as usize;
                return Err(core.fault(self, operation, lane, None, "the kernel stopped itself with `trap`"));
            }
            Control::System => return Err(self.system_call(core, operation, active.trailing_zeros() as usize)),
            Control::ClusterArrive(releases) => {
                group.counter += 1;
                let index = self.index as usize;
                let cluster = &mut core.cluster;
                each(active, |lane| self.cluster_phases[lane] = cluster.phase);
                cluster.arrived += active.count_ones();
                if let Some(shadow) = core.shared.shadow() {
                    let known = &mut cluster.known[cluster.rank];
                    if releases {
                        shadow.order.publish(known, index, active, self.live);
                    } else {
                        each(active, |lane| {
                            let fence = shadow.order.release((index * LANES + lane) as u32, false, self.live);
                            fence.iter().for_each(|fence| known.join(fence));
                        });
                    }
                    shadow.order.advance(index);
                }
                core.barriers.changed = true;
                return Ok(None);
            }
            Control::ClusterWait => {
                group.counter += 1;
                let index = self.index as usize;
                let cluster = &mut core.cluster;
                let mut early = 0;
                each(active, |lane| {
                    early |= u32::from(self.cluster_phases[lane] >= cluster.phase) << lane
                });
                if early == 0 {
                    if let Some(shadow) = core.shared.shadow() {
                        let known = &cluster.completed[cluster.rank];
                        shadow.order.learn(index, active, self.live, known);
                    }
                    return Ok(None);
                }
                self.waiting |= early;
                cluster.waiting.push(ClusterWaiting {
                    rank: cluster.rank,
                    warp: index,
                    lanes: early,
                });
                self.save(group);
            }
            Control::Barrier(barrier) => {
                group.counter += 1;
                self.save(group);
                self.arrive(core, operation, barrier, active)?;
                if !barrier.waits {
                    return Ok(None);
                }
            }
        }
        Ok(Some(Pause::Regroup))
    }

    fn exit(&mut self, core: &mut Core<'_>, lanes: u32) -> Result<(), Stop> {
        self.live &= !lanes;
        core.barriers.changed = true;
        // Nobody waits for those who are gone.
        self.complete_meetings(core, self.parked)
    }

    fn call(
        &mut self,
        core: &mut Core<'_>,
        operation: &Operation,
        call: u32,
        function: u32,
        lanes: u32,
    ) -> Result<(), Stop> {
        let program = core.launch.program;
        let description = &program.calls[call as usize];
        let (caller, callee) = (
            &program.functions[description.caller as usize],
            &program.functions[function as usize],
        );
        let leader = lanes.trailing_zeros() as usize;
        let base = self.place_frame(program, function, lanes, self.bases[leader] + caller.rows);
        let predicate_base = self.predicate_bases[leader] + caller.predicates;
        let mut fault = None;
        each(lanes, |lane| {
            let old = self.local_bases[lane];
            let new = old + caller.frame;
            let stack = &mut self.stacks[lane];
            if stack.len() >= DEEPEST_CALL
                || (new + callee.frame) as usize > LOCAL_LIMIT
                || (base + callee.rows) as usize > MOST_ROWS
            {
                fault = Some(lane);
                return;
            }
            stack.push(Frame {
                resume: self.counters[lane],
                call,
                function,
                base: self.bases[lane],
                predicate_base: self.predicate_bases[lane],
                local_base: old,
            });
            let local = &mut self.local[lane];
            let end = (new + callee.frame) as usize;
            if local.bytes.len() < end {
                local.bytes.resize(end, 0);
                local.defined.resize(end, false);
            }
            local.defined[new as usize..end].fill(false);
            for (&(from, size), &(to, _)) in description.arguments.iter().zip(&callee.parameters) {
                copy(local, old + from, new + to, size);
            }
            (self.bases[lane], self.predicate_bases[lane], self.local_bases[lane]) = (base, predicate_base, new);
            self.counters[lane] = callee.entry;
        });
        if let Some(lane) = fault {
            return Err(core.fault(
                self,
                operation,
                lane,
                None,
                format!(
                    "stack overflow: {DEEPEST_CALL} calls, {LOCAL_LIMIT} bytes of local memory or {MOST_ROWS} registers"
                ),
            ));
        }
        self.registers.reserve(
            (base + callee.rows) as usize,
            (predicate_base + callee.predicates) as usize,
        );
        let (old, old_predicate) = (self.registers.base, self.registers.predicate_base);
        (self.registers.base, self.registers.predicate_base) = (base as usize, predicate_base as usize);
        for mask in &mut self.registers.defined[base as usize..] {
            *mask &= !lanes;
        }
        for mask in &mut self.registers.predicate_defined[predicate_base as usize..] {
            *mask &= !lanes;
        }
        self.fill_constants(core, function as usize, lanes, true);
        (self.registers.base, self.registers.predicate_base) = (old, old_predicate);
        Ok(())
    }

    /// What comes of a call to the function of the device's system that a lane has reached.
    #[cold]
    fn system_call(&self, core: &Core<'_>, operation: &Operation, lane: usize) -> Stop {
        let program = core.launch.program;
        let Some(frame) = self.stacks[lane].last() else {
            return core.fault(self, operation, lane, None, "a system function runs without a call");
        };
        let function = &program.functions[frame.function as usize];
        let call = &program.operations[frame.resume as usize - 1];
        if function.name == ASSERTION {
            return core.fault(self, call, lane, None, self.failed_assertion(core, function, lane));
        }
        let info = &program.info[call.index as usize];
        Stop::from(Error::SystemCall {
            function: function.name.clone(),
            line: info.line,
            instruction: core.launch.module.excerpt(info.span),
            block: core.block_index,
            thread: core.thread(self, lane),
        })
    }

    /// What the arguments of `__assertfail` (condition, file, line, function, bytes of a character) say.
    fn failed_assertion(&self, core: &Core<'_>, function: &FunctionInfo, lane: usize) -> String {
        let argument = |index: usize| {
            let &(at, size) = function.parameters.get(index)?;
            let at = (self.local_bases[lane] + at) as usize;
            let bytes = self.local[lane].bytes.get(at..at + size as usize)?;
            Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        };
        let text = |index: usize| core.launch.text(argument(index)?);
        match (text(0), text(1), argument(2), text(3)) {
            (Some(condition), Some(file), Some(line), Some(function)) => {
                format!("the assertion `{condition}` failed at {file}:{line} in `{function}`")
            }
            _ => "an assertion failed".into(),
        }
    }

    /// The first rows from `base` on for a frame of a function that these lanes call. A 64-bit value of one lane lies
    /// where other lanes have 32-bit ones, so that only lanes in the same function may share rows.
    fn place_frame(&self, program: &Program, function: u32, lanes: u32, mut base: u32) -> u32 {
        let rows = |function: u32| program.functions[function as usize].rows;
        loop {
            let mut taken = None;
            each(self.live & !lanes, |lane| {
                let open = &self.stacks[lane];
                let bases = open.iter().skip(1).map(|frame| frame.base).chain([self.bases[lane]]);
                for (frame, at) in open.iter().zip(bases) {
                    let end = at + rows(frame.function);
                    let shared = frame.function == function && at == base;
                    if !shared && at < base + rows(function) && base < end {
                        taken = taken.max(Some(end));
                    }
                }
            });
            match taken {
                Some(end) => base = end,
                None => return base,
            }
        }
    }

    fn ret(&mut self, core: &Core<'_>, lanes: u32) {
        let program = core.launch.program;
        each(lanes, |lane| {
            if let Some(frame) = self.stacks[lane].pop() {
                let description = &program.calls[frame.call as usize];
                let places = &program.functions[frame.function as usize].results;
                for (&(to, size), &(from, _)) in description.results.iter().zip(places) {
                    copy(
                        &mut self.local[lane],
                        self.local_bases[lane] + from,
                        frame.local_base + to,
                        size,
                    );
                }
                (self.bases[lane], self.predicate_bases[lane], self.local_bases[lane]) =
                    (frame.base, frame.predicate_base, frame.local_base);
                self.counters[lane] = frame.resume;
            }
        });
    }

    /// Arrives at a barrier, and waits there if the instruction says so.
    fn arrive(
        &mut self,
        core: &mut Core<'_>,
        operation: &Operation,
        barrier: Barrier,
        active: u32,
    ) -> Result<(), Stop> {
        let lane = active.trailing_zeros() as usize;
        let Some(number) =
            uniform(self.registers.row(barrier.number), active).filter(|number| (*number as usize) < BARRIERS)
        else {
            return Err(core.fault(
                self,
                operation,
                lane,
                None,
                "a barrier number that differs between threads of a warp or is above 15",
            ));
        };
        let count = match barrier.count {
            None => None,
            Some(slot) => match uniform(self.registers.row(slot), active) {
                Some(count) if count % 32 == 0 && count > 0 => Some(count),
                _ => {
                    return Err(core.fault(
                        self,
                        operation,
                        lane,
                        None,
                        "a barrier's thread count must be a positive multiple of 32 and the same in all threads",
                    ));
                }
            },
        };
        core.counts.barriers += 1;
        if core.sanitize() && active != self.live {
            let live = self.live;
            core.find(FindingKind::BarrierDivergence, self, operation, lane, None, || {
                format!("threads {active:#010x} of the warp are at this barrier, {live:#010x} have not exited")
            });
        }
        let index = self.index as usize;
        let state = core.barriers.state(number as usize);
        if state.is_idle() {
            state.count = count;
        } else if state.count != count {
            let other = state.count;
            return Err(core.fault(self, operation, lane, None, format!("barrier {number} is used with {count:?} threads here and {other:?} elsewhere at the same time (None: all)")));
        }
        state.arrived[index] |= active;
        if let Some(reduction) = barrier.reduction {
            let value = self.registers.predicate(reduction.predicate) ^ if reduction.negated { FULL } else { 0 };
            state.trues += (value & active).count_ones();
            state.falses += (!value & active).count_ones();
        }
        if barrier.waits {
            self.waiting |= active;
            state.waiting.push(Waiting {
                warp: index,
                lanes: active,
                operation: operation.index,
                reduction: barrier.reduction,
                base: self.registers.base,
                predicate_base: self.registers.predicate_base,
            });
        }
        if let Some(shadow) = core.shared.shadow() {
            let known = &mut core.barriers.state(number as usize).known;
            shadow.order.publish(known, index, active, self.live);
            shadow.order.advance(index);
        }
        core.barriers.changed = true;
        Ok(())
    }

    /// Goes on after a barrier.
    pub fn release(&mut self, waiting: &Waiting, result: Option<u32>) {
        self.waiting &= !waiting.lanes;
        if let (Some(reduction), Some(result)) = (waiting.reduction, result) {
            let (base, predicate_base) = (self.registers.base, self.registers.predicate_base);
            (self.registers.base, self.registers.predicate_base) = (waiting.base, waiting.predicate_base);
            match reduction.kind {
                ReductionKind::Count => {
                    let row = self.registers.row_mut(reduction.to);
                    each(waiting.lanes, |lane| row[lane] = result);
                }
                _ => self
                    .registers
                    .set_predicate(reduction.to, if result != 0 { FULL } else { 0 }, waiting.lanes),
            }
            (self.registers.base, self.registers.predicate_base) = (base, predicate_base);
        }
    }

    /// A line of the program where some thread of the warp is.
    pub fn line(&self, core: &Core<'_>) -> u32 {
        let lane = if self.live == 0 {
            0
        } else {
            self.live.trailing_zeros() as usize
        };
        core.launch
            .program
            .info
            .get(self.counters[lane] as usize)
            .map_or(0, |info| info.line)
    }

    pub fn limit_error(&self, core: &Core<'_>, limit: u64) -> Stop {
        Stop::from(Error::InstructionLimit {
            kernel: core.launch.kernel.to_owned(),
            limit,
            line: self.line(core),
        })
    }

    pub fn deadline_error(&self, core: &Core<'_>) -> Stop {
        Stop::from(Error::Deadline {
            kernel: core.launch.kernel.to_owned(),
            line: self.line(core),
        })
    }
}

/// Takes back that an operation was counted: it is counted when it runs.
fn uncount<const COUNT: bool>(core: &mut Core<'_>, operation: &Operation, active: u32) {
    if COUNT {
        let executed = &mut core.executed[operation.index as usize];
        executed.threads -= u64::from(active.count_ones());
        executed.warps -= 1;
    }
}

enum Pause {
    Regroup,
    Impatient,
    Spent,
}

fn copy(local: &mut Local, from: u32, to: u32, size: u32) {
    let (from, to, size) = (from as usize, to as usize, size as usize);
    local.bytes.copy_within(from..from + size, to);
    local.defined.copy_within(from..from + size, to);
}
