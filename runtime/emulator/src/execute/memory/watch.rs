//! What the sanitizer has to say about accesses to shared memory: races, bytes that nobody wrote, copies under way and
//! mbarriers.

use super::shared::SharedAccess;
use crate::machine::Core;
use crate::machine::registers::LANES;
use crate::machine::shared::Conflict;
use crate::machine::warp::Warp;
use crate::program::Operation;
use crate::sanitize::FindingKind;

#[inline(never)]
pub(super) fn watch_shared(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    bytes: u32,
    mask: u32,
    kind: SharedAccess,
) {
    let first = warp.index * 32;
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        if watch_mbarriers(core, warp, operation, (addresses[lane], bytes), lane) {
            continue;
        }
        let Some(shadow) = core.shared.shadow() else {
            return;
        };
        let (thread, address) = (first + lane as u32, addresses[lane] as u32);
        if shadow.is_copying(address, bytes) {
            report_copying(core, warp, operation, (addresses[lane], bytes), lane);
            continue;
        }
        let (defined, conflict) = match kind {
            _ if core.remote => (shadow.is_written(address, bytes), None),
            SharedAccess::Load | SharedAccess::Matrix => shadow.read(thread, address, bytes),
            SharedAccess::Atomic | SharedAccess::Store | SharedAccess::Copy => (
                shadow.is_written(address, bytes),
                shadow.write(thread, address, bytes, true),
            ),
        };
        let place = Some((addresses[lane], bytes));
        if !defined {
            core.find(FindingKind::UninitialisedMemory, warp, operation, lane, place, || {
                format!("{bytes} bytes at {address:#x} in shared memory that this block never wrote")
            });
        }
        if let Some(conflict) = conflict {
            let verb = if kind == SharedAccess::Atomic {
                "writes"
            } else {
                "reads"
            };
            report_race(core, warp, operation, (addresses[lane], bytes), lane, conflict, verb);
        }
    }
}

/// Looks for races of a store with earlier accesses. Threads that write what is there already harm nobody: compilers
/// let several threads store the same result.
#[inline(never)]
pub(crate) fn watch_store(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    address: u64,
    bytes: u32,
    lane: usize,
    unchanged: bool,
) {
    if watch_mbarriers(core, warp, operation, (address, bytes), lane) {
        return;
    }
    let Some(shadow) = core.shared.shadow() else {
        return;
    };
    let thread = warp.index * 32 + lane as u32;
    if shadow.is_copying(address as u32, bytes) {
        report_copying(core, warp, operation, (address, bytes), lane);
        return;
    }
    if core.remote {
        shadow.land_copy(thread, address as u32, bytes);
        return;
    }
    if let Some(conflict) = shadow.write(thread, address as u32, bytes, false)
        && !unchanged
    {
        report_race(core, warp, operation, (address, bytes), lane, conflict, "writes");
    }
}

/// Looks for races of the start of an asynchronous copy with earlier accesses: a stage reused too early.
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

/// Reports an ordinary access to an mbarrier; the result is whether it is one.
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
    let other = crate::machine::thread_index(core.launch.block, conflict.thread);
    let earlier = if conflict.earlier_is_write { "wrote" } else { "read" };
    let (address, bytes) = access;
    core.find(FindingKind::SharedRace, warp, operation, lane, Some(access), || {
        format!(
            "{verb} {bytes} bytes at {address:#x} in shared memory that thread {other:?} {earlier} with no barrier between"
        )
    });
}
