//! Control transfers: branches, returns and exits, and the dispatch to calls and barriers.

use super::group::{Group, Pause};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::{Control, Operation};
use crate::machine::registers::Slot;
use crate::machine::warp::Warp;

impl Warp {
    /// Runs a control operation. Returns the reason if the group must stop.
    pub(super) fn control(
        &mut self,
        core: &mut Core<'_>,
        operation: &Operation,
        control: Control,
        group: &mut Group,
        active: u32,
    ) -> Result<Option<Pause>, Stop> {
        group.counter += 1;
        if active == 0 {
            return Ok(None);
        }
        let first = active.trailing_zeros() as usize;
        match control {
            Control::Branch { to } => return Ok(self.branch(core, to, group, active)),
            Control::ClusterArrive(releases) => {
                self.arrive_at_cluster(core, releases, active);
                return Ok(None);
            }
            Control::ClusterWait => {
                self.save(group);
                return Ok(self.wait_at_cluster(core, active).then_some(Pause::Regroup));
            }
            Control::Barrier(barrier) => {
                self.save(group);
                self.arrive(core, operation, barrier, active)?;
                return Ok(barrier.waits.then_some(Pause::Regroup));
            }
            Control::Trap => {
                return Err(core.fault(self, operation, first, None, "the kernel stopped itself with `trap`"));
            }
            Control::System => return Err(self.system_call(core, operation, first)),
            // The operations below divert the active threads. The others of the group continue.
            Control::Indexed { list, index } => {
                self.save(group);
                let uniform = self.branch_indexed(core, operation, list, index, active)?;
                core.counts.divergent_branches += u64::from(!uniform || active != group.lanes);
            }
            Control::Call(call) => {
                self.save(group);
                let function = core.launch.program.calls[call as usize].function;
                self.call(core, operation, call, function, active)?;
            }
            Control::CallIndirect { call, address } => {
                self.save(group);
                self.call_indirect(core, operation, call, address, active)?;
            }
            Control::Return if !self.stacks[first].is_empty() => {
                self.save(group);
                self.return_to_caller(core, active);
            }
            Control::Return | Control::Exit => {
                self.save(group);
                self.exit(core, active);
            }
        }
        group.lanes &= !active;
        Ok(Some(Pause::Regroup))
    }

    /// Branches. Only a divergent branch ends the group.
    fn branch(&mut self, core: &mut Core<'_>, to: u32, group: &mut Group, active: u32) -> Option<Pause> {
        if active == group.lanes {
            group.counter = to;
            return None;
        }
        core.counts.divergent_branches += 1;
        self.save(group);
        each(active, |lane| self.counters[lane] = to);
        group.lanes &= !active;
        Some(Pause::Regroup)
    }

    /// Branches to the target that a register chooses from a list. Returns `true` if all threads chose the same one.
    fn branch_indexed(
        &mut self,
        core: &Core<'_>,
        operation: &Operation,
        list: u32,
        index: Slot,
        active: u32,
    ) -> Result<bool, Stop> {
        let targets = &core.launch.program.lists[list as usize];
        let row = *self.registers.row(index);
        let mut outside = None;
        each(active, |lane| match targets.get(row[lane] as usize) {
            Some(target) => self.counters[lane] = *target,
            None => outside = Some(lane),
        });
        if let Some(lane) = outside {
            let message = format!("branch index {} of {} targets", row[lane], targets.len());
            return Err(core.fault(self, operation, lane, None, message));
        }
        let first = active.trailing_zeros() as usize & 31;
        let mut same = true;
        each(active, |lane| same &= row[lane] == row[first]);
        Ok(same)
    }

    fn exit(&mut self, core: &mut Core<'_>, lanes: u32) {
        self.live &= !lanes;
        self.exited = true;
        core.barriers.changed = true;
    }
}
