//! A warp's turn: the choice of the threads that run next, and the loop that runs them.
//!
//! The threads that share a program counter run together. Of several such groups the one deepest in calls goes first,
//! then the one with the lowest program counter, so that groups reconverge where their paths join. A group that spins
//! while others wait is set aside after [`PATIENCE`] instructions, so that spin locks make progress.

use super::group::{Group, Pause};
use crate::error::Error;
use crate::machine::action::{Action, WarpFunction};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::{NO_GUARD, Operation};
use crate::machine::registers::Slot;
use crate::machine::warp::Warp;

/// Instructions that a group may run while others of its warp wait to run.
const PATIENCE: u32 = 4096;

impl Warp {
    /// Runs until every thread waits or has exited, or until the budget of instructions is spent.
    pub(super) fn run<const SANITIZE: bool, const COUNT: bool>(
        &mut self,
        core: &mut Core<'_>,
        actions: &[Action],
        budget: &mut u64,
    ) -> Result<(), Stop> {
        loop {
            if std::mem::take(&mut self.exited) {
                self.complete_syncs(core, actions, self.parked)?;
            }
            let Some(mut group) = self.select() else {
                return Ok(());
            };
            let leader = group.lanes.trailing_zeros() as usize;
            if group.forced
                && let Some((sync, mask, members)) = self.gathered(actions, leader)
            {
                // Lanes that are missing will never come.
                self.run_sync(core, sync, mask, members)?;
                continue;
            }
            self.registers
                .enter(self.bases[leader] as usize, self.predicate_bases[leader] as usize);
            if group.forced {
                self.parked &= !group.lanes;
            }
            let pause = self.run_group::<SANITIZE, COUNT>(core, actions, &mut group, budget)?;
            self.save(&group);
            match pause {
                Pause::Regroup => {}
                Pause::Impatient => {
                    self.set_aside |= group.lanes;
                    self.apart = 0;
                }
                Pause::Spent => return Ok(()),
            }
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
        // A fence at the group's own counter, set by threads in another frame, would stop it before its first
        // instruction.
        if patient || forced || fence <= self.counters[best] {
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

    fn run_group<const SANITIZE: bool, const COUNT: bool>(
        &mut self,
        core: &mut Core<'_>,
        actions: &[Action],
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
                count(core, operation, active);
            }
            let pause = match actions[group.counter as usize] {
                Action::Lanes(run) => {
                    if active != 0 {
                        run(&mut self.registers, &operation.slots, active);
                    }
                    group.counter += 1;
                    None
                }
                Action::Warp(run) => {
                    if active != 0 {
                        run(core, self, operation, active)?;
                    }
                    group.counter += 1;
                    core.stalled.then_some(Pause::Spent)
                }
                Action::Collective(run, mask) => {
                    self.collective::<SANITIZE, COUNT>(core, operation, (run, mask), group, active)?
                }
                Action::Sync(sync) => self.reach_sync(core, actions, operation, sync, group, active)?,
                Action::Control(control) => self.control(core, operation, control, group, active)?,
            };
            if let Some(pause) = pause {
                return Ok(pause);
            }
        }
    }

    /// Runs an operation that all lanes of a mask reach together, or parks the group until the others come.
    fn collective<const SANITIZE: bool, const COUNT: bool>(
        &mut self,
        core: &mut Core<'_>,
        operation: &Operation,
        (run, mask): (WarpFunction, Slot),
        group: &mut Group,
        active: u32,
    ) -> Result<Option<Pause>, Stop> {
        if active != 0 {
            let mut named = 0;
            let row = self.registers.row(mask);
            each(active, |lane| named |= row[lane]);
            let missing = named & self.live & !active;
            let may_come = missing & !self.waiting & !group.lanes;
            if may_come != 0 && !group.forced {
                self.parked |= group.lanes;
                uncount::<COUNT>(core, operation, active);
                return Ok(Some(Pause::Regroup));
            }
            if SANITIZE {
                self.check_mask(core, operation, named, active);
            }
            run(core, self, operation, active)?;
            if std::mem::take(&mut core.again) {
                core.stalled = true;
                uncount::<COUNT>(core, operation, active);
                return Ok(Some(Pause::Spent));
            }
            core.shared.synchronise(self.index, active, self.live);
            self.parked &= !group.lanes;
        }
        group.forced = false;
        group.counter += 1;
        Ok(None)
    }

    /// The PTX line at which some thread of the warp is.
    pub(super) fn line(&self, core: &Core<'_>) -> u32 {
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

    pub(super) fn limit_error(&self, core: &Core<'_>, limit: u64) -> Stop {
        Stop::from(Error::InstructionLimit {
            kernel: core.launch.kernel.to_owned(),
            limit,
            line: self.line(core),
        })
    }

    pub(super) fn deadline_error(&self, core: &Core<'_>) -> Stop {
        Stop::from(Error::Deadline {
            kernel: core.launch.kernel.to_owned(),
            line: self.line(core),
        })
    }
}

#[inline(always)]
fn count(core: &mut Core<'_>, operation: &Operation, active: u32) {
    let executed = &mut core.executed[operation.index as usize];
    executed.threads += u64::from(active.count_ones());
    if active == 0 {
        executed.skipped += 1;
    } else {
        executed.warps += 1;
    }
}

/// Takes back the count of an operation that will run, and count, later.
fn uncount<const COUNT: bool>(core: &mut Core<'_>, operation: &Operation, active: u32) {
    if COUNT {
        let executed = &mut core.executed[operation.index as usize];
        executed.threads -= u64::from(active.count_ones());
        executed.warps -= 1;
    }
}
