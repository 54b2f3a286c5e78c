//! The sanitizer's checks of accesses to shared memory: races, unwritten bytes, copies under way and mbarriers.

use crate::machine::core::{Core, thread_index};
use crate::machine::program::Operation;
use crate::machine::registers::LANES;
use crate::machine::shared::{Conflict, Shadow, Strength};
use crate::machine::warp::Warp;
use crate::sanitize::FindingKind;

/// Reports races and unwritten bytes of a load.
#[inline(never)]
pub(super) fn watch_load(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
    strength: Strength,
) {
    let remote = core.remote;
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        let place = (addresses[lane], bytes);
        let Some(shadow) = watched(core, warp, operation, place, lane) else {
            continue;
        };
        let (thread, address) = (warp.index * 32 + lane as u32, addresses[lane] as u32);
        let seen = if remote {
            (shadow.is_written(address, bytes), None)
        } else {
            shadow.observe(thread, address, bytes, strength, warp.live);
            shadow.read(thread, address, bytes, strength.strong)
        };
        report(core, warp, operation, place, lane, seen, "reads");
    }
}

/// Reports races of a store with earlier accesses. A store that does not change the value is harmless, and compilers
/// let several threads store the same result.
#[inline(never)]
pub(crate) fn watch_store(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    place: (u64, u32),
    lane: usize,
    strength: Strength,
    unchanged: bool,
) {
    let remote = core.remote;
    let Some(shadow) = watched(core, warp, operation, place, lane) else {
        return;
    };
    let (thread, address, bytes) = (warp.index * 32 + lane as u32, place.0 as u32, place.1);
    if remote {
        shadow.land_copy(thread, address, bytes);
        return;
    }
    let before = match strength.strong {
        true => shadow.take_release(thread, address, bytes, false),
        false => None,
    };
    let conflict = shadow.write(thread, address, bytes, strength.strong);
    shadow.hand_on(thread, address, bytes, strength, warp.live, before);
    if let Some(conflict) = conflict
        && !unchanged
    {
        report_race(core, warp, operation, place, lane, conflict, "writes");
    }
}

/// Reports races of an atomic operation. A compare-and-swap that fails is a read.
#[inline(never)]
pub(crate) fn watch_atomic(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    place: (u64, u32),
    lane: usize,
    strength: Strength,
    wrote: bool,
) {
    let remote = core.remote;
    let Some(shadow) = watched(core, warp, operation, place, lane) else {
        return;
    };
    let (thread, address, bytes, live) = (warp.index * 32 + lane as u32, place.0 as u32, place.1, warp.live);
    if !remote {
        shadow.observe(thread, address, bytes, strength, live);
    }
    let (seen, verb) = if remote {
        ((shadow.is_written(address, bytes), None), "writes")
    } else if wrote {
        let defined = shadow.is_written(address, bytes);
        let before = shadow.take_release(thread, address, bytes, true);
        let conflict = shadow.write(thread, address, bytes, true);
        shadow.hand_on(thread, address, bytes, strength, live, before);
        ((defined, conflict), "writes")
    } else {
        (shadow.read(thread, address, bytes, true), "reads")
    };
    report(core, warp, operation, place, lane, seen, verb);
}

/// The record of shared memory, unless the access touches an mbarrier or bytes that a copy is under way to. Reports
/// those.
#[inline(always)]
fn watched<'c>(
    core: &'c mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    place: (u64, u32),
    lane: usize,
) -> Option<&'c mut Shadow> {
    if watch_mbarriers(core, warp, operation, place, lane) {
        return None;
    }
    if core.shared.shadow()?.is_copying(place.0 as u32, place.1) {
        report_copying(core, warp, operation, place, lane);
        return None;
    }
    core.shared.shadow()
}

/// Reports an access's unwritten bytes and its conflict.
#[inline(always)]
fn report(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    place: (u64, u32),
    lane: usize,
    (defined, conflict): (bool, Option<Conflict>),
    verb: &str,
) {
    let (address, bytes) = place;
    if defined && conflict.is_none() {
        return;
    }
    if !defined {
        core.find(
            FindingKind::UninitialisedMemory,
            warp,
            operation,
            lane,
            Some(place),
            || format!("{bytes} bytes at {address:#x} in shared memory that this block never wrote"),
        );
    }
    if let Some(conflict) = conflict {
        report_race(core, warp, operation, place, lane, conflict, verb);
    }
}

/// Reports races of the start of an asynchronous copy with earlier accesses, as when a pipeline stage is reused too
/// early.
pub(crate) fn watch_copy(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    address: u64,
    bytes: u32,
    lane: usize,
) {
    if watch_mbarriers(core, warp, operation, (address, bytes), lane) {
        return;
    }
    let Some(shadow) = core.shared.shadow() else {
        return;
    };
    if shadow.is_copying(address as u32, bytes) {
        report_copying(core, warp, operation, (address, bytes), lane);
        return;
    }
    if let Some(conflict) = shadow.start_copy(warp.index * 32 + lane as u32, address as u32, bytes) {
        report_race(core, warp, operation, (address, bytes), lane, conflict, "copies to");
    }
}

/// Reports an ordinary access to an mbarrier. Returns `true` if it is one.
fn watch_mbarriers(core: &mut Core<'_>, warp: &Warp, operation: &Operation, access: (u64, u32), lane: usize) -> bool {
    let (address, bytes) = access;
    let touched = core.sanitize() && !core.remote && core.mbarriers.is_touched(address as u32, bytes);
    if touched {
        core.find(FindingKind::BarrierMisuse, warp, operation, lane, Some(access), || {
            format!("touches {bytes} bytes at {address:#x} in shared memory, where an mbarrier is, as ordinary memory")
        });
    }
    touched
}

fn report_copying(core: &mut Core<'_>, warp: &Warp, operation: &Operation, access: (u64, u32), lane: usize) {
    let (address, bytes) = access;
    core.find(FindingKind::MissingWait, warp, operation, lane, Some(access), || {
        format!(
            "touches {bytes} bytes at {address:#x} in shared memory while an asynchronous copy to them is under way"
        )
    });
}

pub(crate) fn report_race(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    access: (u64, u32),
    lane: usize,
    conflict: Conflict,
    verb: &str,
) {
    let agent = (core.shared.shadow()).and_then(|shadow| shadow.order.as_agent(conflict.thread));
    let (address, bytes, block) = (access.0, access.1, core.launch.block);
    core.find(FindingKind::SharedRace, warp, operation, lane, Some(access), || {
        let by = |thread| thread_index(block, thread);
        let (other, between) = match agent {
            Some(group) => (
                format!("a product of the warp group of thread {:?} reads", by(128 * group)),
                "`wgmma.wait_group`",
            ),
            None if conflict.earlier_is_write => (format!("thread {:?} wrote", by(conflict.thread)), "barrier"),
            None => (format!("thread {:?} read", by(conflict.thread)), "barrier"),
        };
        format!("{verb} {bytes} bytes at {address:#x} in shared memory that {other} with no {between} between")
    });
}
