//! The blocks of a cluster, most often one: runs their warps in turns, and completes the barriers between them.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::barrier::expected;
use crate::error::Error;
use crate::execute::{bulk, copy};
use crate::machine::action::Action;
use crate::machine::barrier::BARRIERS;
use crate::machine::core::{Core, Stop, thread_index};
use crate::machine::warp::Warp;
use crate::sanitize::FindingKind;

/// Instructions of a warp's turn. Only programs whose warps wait for each other without a barrier depend on it.
const TURN: u64 = 1 << 14;

/// Rounds in which every warp only polls, after which the block counts as deadlocked.
const PATIENCE: u32 = 100_000;

/// Runs the blocks of a cluster to their end. `origin` is the index of its first block.
pub(crate) fn run<const SANITIZE: bool, const COUNT: bool>(
    core: &mut Core<'_>,
    actions: &[Action],
    cluster: &mut [Vec<Warp>],
    origin: [u32; 3],
) -> Result<(), Stop> {
    start(core, cluster, origin);
    let mut fruitless = 0;
    loop {
        let (mut progress, mut all_stalled, mut live) = (false, true, false);
        for rank in 0..cluster.len() {
            core.switch(rank);
            for index in 0..cluster[rank].len() {
                let warp = &mut cluster[rank][index];
                if warp.live & !warp.waiting == 0 {
                    continue;
                }
                progress = true;
                all_stalled &= turn::<SANITIZE, COUNT>(core, actions, warp)?;
                if core.barriers.changed {
                    complete_barriers(core, &mut cluster[rank]);
                    complete_cluster_barrier(core, cluster);
                }
            }
            live |= cluster[rank].iter().any(|warp| warp.live != 0);
        }
        if !live {
            break;
        }
        if !progress {
            return Err(deadlock(core, cluster));
        }
        fruitless = if all_stalled { fruitless + 1 } else { 0 };
        if fruitless > PATIENCE {
            let stuck = cluster.iter().flatten().find(|warp| warp.live != 0);
            let line = stuck.map_or(0, |warp| warp.line(core));
            let message = format!(
                "every warp waits at an mbarrier, at a barrier or for its warp group, one of them at PTX line {line}"
            );
            return Err(Stop::from(Error::Deadlock {
                block: core.block_index,
                message,
            }));
        }
    }
    for (rank, warps) in cluster.iter_mut().enumerate() {
        core.switch(rank);
        bulk::finish_loads(core, warps);
        for warp in warps {
            copy::finish(core, warp);
            bulk::finish(core, warp)?;
        }
    }
    Ok(())
}

fn start(core: &mut Core<'_>, cluster: &mut [Vec<Warp>], origin: [u32; 3]) {
    let [x, y, _] = core.launch.grid.map(u64::from);
    core.cluster.start();
    for (rank, warps) in cluster.iter_mut().enumerate() {
        core.switch(rank);
        let within = thread_index(core.launch.program.cluster, rank as u32);
        core.block_index = std::array::from_fn(|axis| origin[axis] + within[axis]);
        let index = core.block_index.map(u64::from);
        core.block_number = (index[2] * y + index[1]) * x + index[0];
        core.shared.start_block();
        core.barriers.start_block(warps.len());
        core.mbarriers.start_block();
        for warp in warps.iter_mut() {
            warp.start(core);
        }
        core.counts.blocks += 1;
        core.counts.threads += u64::from(core.launch.block.iter().product::<u32>());
    }
}

/// Gives a warp its turn. Returns `true` if the warp did little more than poll in vain.
fn turn<const SANITIZE: bool, const COUNT: bool>(
    core: &mut Core<'_>,
    actions: &[Action],
    warp: &mut Warp,
) -> Result<bool, Stop> {
    let mut budget = TURN;
    if let Some(limit) = core.launch.options.instruction_limit {
        budget = budget.min(limit.saturating_sub(core.launch.issued.load(Relaxed)));
        if budget == 0 {
            return Err(warp.limit_error(core, limit));
        }
    }
    if core
        .launch
        .options
        .deadline
        .is_some_and(|deadline| Instant::now() >= deadline)
    {
        return Err(warp.deadline_error(core));
    }
    let offered = budget;
    warp.run::<SANITIZE, COUNT>(core, actions, &mut budget)?;
    core.clock += offered - budget;
    core.launch.issued.fetch_add(offered - budget, Relaxed);
    Ok(std::mem::take(&mut core.stalled) && offered - budget < 64)
}

/// Releases the threads that wait at the cluster's barrier, once all live threads of the cluster have arrived.
fn complete_cluster_barrier(core: &mut Core<'_>, warps: &mut [Vec<Warp>]) {
    let cluster = &mut core.cluster;
    let live: u32 = warps.iter().flatten().map(|warp| warp.live.count_ones()).sum();
    if cluster.arrived == 0 || cluster.arrived < live {
        return;
    }
    cluster.phase += 1;
    cluster.arrived = 0;
    cluster.completed.clone_from(&cluster.clocks);
    let running = cluster.rank;
    for waiting in std::mem::take(&mut core.cluster.waiting) {
        let warp = &mut warps[waiting.rank][waiting.warp];
        warp.waiting &= !waiting.lanes;
        core.switch(waiting.rank);
        if let Some(shadow) = core.shared.shadow() {
            let known = &core.cluster.completed[waiting.rank];
            shadow.order.learn(waiting.warp, waiting.lanes, warp.live, known);
        }
    }
    core.switch(running);
}

/// Releases the threads of every barrier at which all expected threads have arrived.
fn complete_barriers(core: &mut Core<'_>, warps: &mut [Warp]) {
    core.barriers.changed = false;
    let live: Vec<u32> = warps.iter().map(|warp| warp.live).collect();
    for number in 0..BARRIERS {
        if !core.barriers.states()[number].is_complete(&live) {
            continue;
        }
        let state = core.barriers.reset(number);
        let present: u32 = core.launch.block.iter().product();
        let exited = present - live.iter().map(|lanes| lanes.count_ones()).sum::<u32>();
        if core.sanitize()
            && state.count.is_none()
            && exited > 0
            && let Some(waiting) = state.waiting.first()
        {
            let operation = core.launch.program.operations[waiting.operation as usize];
            let lane = waiting.lanes.trailing_zeros() as usize;
            core.find(
                FindingKind::BarrierDivergence,
                &warps[waiting.warp],
                &operation,
                lane,
                None,
                || format!("{exited} threads of the block exited without reaching this barrier"),
            );
        }
        for waiting in &state.waiting {
            let result = waiting.reduction.map(|reduction| state.result(reduction.kind));
            warps[waiting.warp].release(waiting, result);
        }
        if let Some(shadow) = core.shared.shadow() {
            for (index, warp) in warps.iter().enumerate() {
                let waiting = state.waiting.iter().filter(|waiting| waiting.warp == index);
                let lanes = waiting.fold(0, |lanes, waiting| lanes | waiting.lanes);
                if lanes != 0 {
                    shadow.order.learn(index, lanes, warp.live, &state.clock);
                }
            }
        }
    }
}

fn deadlock(core: &Core<'_>, cluster: &[Vec<Warp>]) -> Stop {
    let mut places = Vec::new();
    for (number, state) in core
        .barriers
        .states()
        .iter()
        .enumerate()
        .filter(|(_, state)| !state.is_idle())
    {
        let waiting: u32 = state.waiting.iter().map(|waiting| waiting.lanes.count_ones()).sum();
        let line = state
            .waiting
            .first()
            .map(|waiting| core.launch.program.info[waiting.operation as usize].line);
        let expected = expected(state.count);
        let arrived: u32 = state.arrived.iter().map(|lanes| lanes.count_ones()).sum();
        let line = line.map(|line| format!(" (PTX line {line})")).unwrap_or_default();
        places.push(format!("{waiting} threads wait at barrier {number}{line}, which {arrived} threads have reached and which expects {expected}"));
    }
    let live: u32 = cluster.iter().flatten().map(|warp| warp.live.count_ones()).sum();
    places.push(format!("{live} threads have not exited"));
    Stop::from(Error::Deadlock {
        block: core.block_index,
        message: places.join("; "),
    })
}
