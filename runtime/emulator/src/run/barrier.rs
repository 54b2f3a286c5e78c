//! Arrivals at the barriers of a block and of a cluster.

use crate::machine::barrier::{BARRIERS, Waiting, uniform};
use crate::machine::cluster::ClusterWaiting;
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::{Barrier, Operation, Reduction, ReductionKind};
use crate::machine::registers::{FULL, LANES};
use crate::machine::warp::Warp;
use crate::sanitize::FindingKind;

impl Warp {
    /// Arrives at a barrier of the block, and waits there unless the instruction is `bar.arrive`.
    pub(super) fn arrive(
        &mut self,
        core: &mut Core<'_>,
        operation: &Operation,
        barrier: Barrier,
        active: u32,
    ) -> Result<(), Stop> {
        let lane = active.trailing_zeros() as usize;
        let number = self.barrier_number(core, operation, barrier, active)?;
        let count = self.barrier_count(core, operation, barrier, active)?;
        core.counts.barriers += 1;
        if core.sanitize() && active != self.live {
            let live = self.live;
            core.find(FindingKind::BarrierDivergence, self, operation, lane, None, || {
                format!("threads {active:#010x} of the warp are at this barrier, {live:#010x} have not exited")
            });
        }
        let index = self.index as usize;
        let state = core.barriers.state(number);
        if state.is_idle() {
            state.count = count;
        } else if state.count != count {
            let [here, elsewhere] = [count, state.count].map(expected);
            let message = format!("barrier {number} expects {here} here and {elsewhere} elsewhere at the same time");
            return Err(core.fault(self, operation, lane, None, message));
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
            let known = &mut core.barriers.state(number).clock;
            shadow.order.publish(known, index, active, self.live);
            shadow.order.advance(index);
        }
        core.barriers.changed = true;
        Ok(())
    }

    fn barrier_number(
        &self,
        core: &Core<'_>,
        operation: &Operation,
        barrier: Barrier,
        active: u32,
    ) -> Result<usize, Stop> {
        match uniform(self.registers.row(barrier.number), active) {
            Some(number) if (number as usize) < BARRIERS => Ok(number as usize),
            _ => {
                let lane = active.trailing_zeros() as usize;
                let message = "a barrier number that differs between threads of a warp or is above 15";
                Err(core.fault(self, operation, lane, None, message))
            }
        }
    }

    /// The number of threads that an instruction says its barrier expects, if it says one.
    fn barrier_count(
        &self,
        core: &Core<'_>,
        operation: &Operation,
        barrier: Barrier,
        active: u32,
    ) -> Result<Option<u32>, Stop> {
        let Some(slot) = barrier.count else { return Ok(None) };
        match uniform(self.registers.row(slot), active) {
            Some(count) if count % 32 == 0 && count > 0 => Ok(Some(count)),
            _ => {
                let lane = active.trailing_zeros() as usize;
                let message = "a barrier's thread count must be a positive multiple of 32 and the same in all threads";
                Err(core.fault(self, operation, lane, None, message))
            }
        }
    }

    /// Releases threads that waited at a barrier, with the result of its reduction.
    pub(super) fn release(&mut self, waiting: &Waiting, result: Option<u32>) {
        self.waiting &= !waiting.lanes;
        let (Some(reduction), Some(result)) = (waiting.reduction, result) else {
            return;
        };
        let left = self.registers.enter(waiting.base, waiting.predicate_base);
        self.store_reduction(reduction, result, waiting.lanes);
        self.registers.enter(left.0, left.1);
    }

    fn store_reduction(&mut self, reduction: Reduction, result: u32, lanes: u32) {
        match reduction.kind {
            ReductionKind::Count => {
                let row = self.registers.row_mut(reduction.to);
                each(lanes, |lane| row[lane] = result);
            }
            ReductionKind::And | ReductionKind::Or => {
                let value = if result != 0 { FULL } else { 0 };
                self.registers.set_predicate(reduction.to, value, lanes);
            }
        }
    }

    /// Arrives at the cluster's barrier.
    pub(super) fn arrive_at_cluster(&mut self, core: &mut Core<'_>, releases: bool, active: u32) {
        let index = self.index as usize;
        let cluster = &mut core.cluster;
        each(active, |lane| self.cluster_phases[lane] = cluster.phase);
        cluster.arrived += active.count_ones();
        if let Some(shadow) = core.shared.shadow() {
            let known = &mut cluster.clocks[cluster.rank];
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
    }

    /// Waits at the cluster's barrier. Returns `true` if some thread must wait: its phase has not ended.
    pub(super) fn wait_at_cluster(&mut self, core: &mut Core<'_>, active: u32) -> bool {
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
            return false;
        }
        self.waiting |= early;
        cluster.waiting.push(ClusterWaiting {
            rank: cluster.rank,
            warp: index,
            lanes: early,
        });
        true
    }
}

/// The threads that a barrier expects, in words.
pub(super) fn expected(count: Option<u32>) -> String {
    match count {
        Some(count) => format!("{count} threads"),
        None => "all threads that have not exited".into(),
    }
}
