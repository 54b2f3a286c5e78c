//! Warp-synchronous instructions: the lanes of a mask wait until each of them has reached one of the same kind,
//! wherever in the program.

use super::group::{Group, Pause};
use crate::machine::action::{Action, Part, WarpSync};
use crate::machine::barrier::uniform;
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::warp::Warp;

impl Warp {
    /// Runs a warp-synchronous instruction if that completes its mask, else parks the active lanes. Returns the reason
    /// if the group must stop.
    pub(super) fn reach_sync(
        &mut self,
        core: &mut Core<'_>,
        actions: &[Action],
        operation: &Operation,
        sync: WarpSync,
        group: &mut Group,
        active: u32,
    ) -> Result<Option<Pause>, Stop> {
        if active == 0 {
            group.counter += 1;
            return Ok(None);
        }
        if let Some(mask) = uniform(self.registers.row(sync.mask), active)
            && mask & self.live == active
        {
            let part = Part {
                operation,
                lanes: active,
                base: self.registers.base,
                predicate_base: self.registers.predicate_base,
            };
            self.run_parts(core, sync, mask, &[part])?;
            group.counter += 1;
            return Ok(None);
        }
        self.save(group);
        each(group.lanes & !active, |lane| self.counters[lane] += 1);
        self.parked |= active;
        group.lanes = 0;
        self.complete_syncs(core, actions, active)?;
        Ok(Some(Pause::Regroup))
    }

    /// Runs the instructions at which some of these lanes are parked and no lane is missing any more.
    pub(super) fn complete_syncs(
        &mut self,
        core: &mut Core<'_>,
        actions: &[Action],
        mut lanes: u32,
    ) -> Result<(), Stop> {
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            let Some((sync, mask, members)) = self.gathered(actions, lane) else {
                continue;
            };
            lanes &= !members;
            if mask & self.live & !members == 0 {
                self.run_sync(core, sync, mask, members)?;
            }
        }
        Ok(())
    }

    /// The instruction at which a lane is parked, its mask, and the lanes parked at the same kind with the same mask.
    pub(super) fn gathered(&self, actions: &[Action], lane: usize) -> Option<(WarpSync, u32, u32)> {
        let (sync, mask) = self.parked_at(actions, lane)?;
        let mut members = 0;
        each(self.parked & self.live, |other| {
            let same = |(found, its): (WarpSync, u32)| found.kind == sync.kind && its == mask;
            members |= u32::from(self.parked_at(actions, other).is_some_and(same)) << other;
        });
        Some((sync, mask, members))
    }

    /// The instruction at which a lane is parked, and its mask.
    fn parked_at(&self, actions: &[Action], lane: usize) -> Option<(WarpSync, u32)> {
        match actions[self.counters[lane] as usize] {
            Action::Sync(sync) => {
                let row = &self.registers.rows[(self.bases[lane] + sync.mask) as usize];
                Some((sync, row.0[lane]))
            }
            _ => None,
        }
    }

    /// Runs an instruction for the lanes parked at it, and releases them.
    pub(super) fn run_sync(
        &mut self,
        core: &mut Core<'_>,
        sync: WarpSync,
        mask: u32,
        members: u32,
    ) -> Result<(), Stop> {
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
        self.run_parts(core, sync, mask, &parts)?;
        each(members, |lane| self.counters[lane] += 1);
        self.parked &= !members;
        Ok(())
    }

    fn run_parts(&mut self, core: &mut Core<'_>, sync: WarpSync, mask: u32, parts: &[Part<'_>]) -> Result<(), Stop> {
        let lanes = parts.iter().fold(0, |lanes, part| lanes | part.lanes);
        if core.sanitize() && lanes != mask {
            self.check_mask(core, parts[0].operation, mask, lanes);
        }
        (sync.run)(core, self, parts)?;
        core.shared.synchronise(self.index, lanes, self.live);
        Ok(())
    }
}
