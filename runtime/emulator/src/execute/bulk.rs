//! Bulk asynchronous copies (`cp.async.bulk`).

use super::copy::report_unwaited;
use super::mbarrier::{barrier_address, no_barrier, visit};
use super::memory::{addresses, mark_sectors, outside_global, report_race};
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::Action;
use crate::machine::copies::BulkStore;
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::mbarrier::PendingCopy;
use crate::machine::program::Operation;
use crate::machine::registers::{Cell, FULL, Slots};
use crate::machine::warp::Warp;
use crate::parse::syntax::Type;
use crate::sanitize::FindingKind;

/// Checks the alignment of a bulk copy, and its bounds in shared memory.
fn check_copy(
    core: &Core<'_>,
    warp: &Warp,
    operation: &Operation,
    lane: usize,
    size: u32,
    global: u64,
    shared: u64,
) -> Result<(), Stop> {
    let bytes = core.shared.bytes.len() as u64;
    if !size.is_multiple_of(16) || !global.is_multiple_of(16) || !shared.is_multiple_of(16) {
        return Err(core.fault(
            warp,
            operation,
            lane,
            Some(global),
            format!(
                "a bulk copy of {size} bytes between {global:#x} and shared {shared:#x}: all must be multiples of 16"
            ),
        ));
    }
    if shared > bytes || bytes - shared < u64::from(size) {
        return Err(core.fault(
            warp,
            operation,
            lane,
            Some(shared),
            format!("{size} bytes at {shared:#x} in the block's {bytes} bytes of shared memory"),
        ));
    }
    Ok(())
}

/// Copies `from[2]` bytes from global memory (`from[1]`) to shared memory (`from[3]`), and completes on the mbarrier
/// `from[0]`.
fn load(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let slots = operation.slots;
    visit(mask, |lane| {
        let address = barrier_address(core, warp, operation, lane)?;
        let from = u64::load_lane(&warp.registers, slots.from[1], lane);
        let size = warp.registers.row(slots.from[2])[lane];
        let to = u64::load_lane(&warp.registers, slots.from[3], lane);
        check_copy(core, warp, operation, lane, size, from, to)?;
        let mut bytes = vec![0; size as usize];
        if let Some((index, offset)) = core.allocation(operation, from, size.into()) {
            let launch = core.launch;
            let allocation = &launch.allocations[index];
            let mut undefined = false;
            for (word, chunk) in bytes.chunks_exact_mut(8).enumerate() {
                let at = offset + 8 * word as u64;
                chunk.copy_from_slice(&allocation.load_u64(at).to_le_bytes());
                undefined |= core.sanitize() && !allocation.is_defined(at, 8);
            }
            if undefined {
                core.find(
                    FindingKind::UninitialisedMemory,
                    warp,
                    operation,
                    lane,
                    Some((from, size)),
                    || format!("some of {size} bytes at {from:#x} were never written"),
                );
            }
        } else {
            outside_global(core, warp, operation, lane, from, size)?;
        }
        count_global(core, operation, from, size, false);
        let thread = warp.index * 32 + lane as u32;
        if size > 0
            && let Some(shadow) = core.shared.shadow()
            && let Some(conflict) = shadow.start_copy(thread, to as u32, size)
        {
            report_race(core, warp, operation, (to, size), lane, conflict, "copies to");
        }
        let landing = PendingCopy {
            thread,
            operation: operation.index,
            to: to as u32,
            bytes,
            is_own: false,
        };
        core.mbarriers
            .deliver(&mut core.shared, address, landing)
            .ok_or_else(|| no_barrier(core, warp, operation, lane, address))
    })
}

fn count_global(core: &mut Core<'_>, operation: &Operation, address: u64, size: u32, store: bool) {
    if !core.count() {
        return;
    }
    let sectors: Vec<u64> = (address / 32..(address + u64::from(size)).div_ceil(32)).collect();
    let counts = &mut core.counts;
    if store {
        counts.global_store_bytes += u64::from(size);
        counts.global_store_requests += 1;
        counts.global_store_sectors += sectors.len() as u64;
        counts.shared_load_bytes += u64::from(size);
    } else {
        counts.global_load_bytes += u64::from(size);
        counts.global_load_requests += 1;
        counts.global_load_sectors += sectors.len() as u64;
        counts.l2_load_sectors += sectors.len() as u64;
        counts.shared_store_bytes += u64::from(size);
        counts.global_to_shared_bytes += u64::from(size);
    }
    mark_sectors(core, operation, &sectors, !store, store);
}

/// Copies `from[2]` bytes from shared memory (`from[1]`) to global memory (`from[0]`) when the copy is waited for.
fn store(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let slots = operation.slots;
    let targets = addresses(warp, &slots, 0);
    visit(mask, |lane| {
        let from = u64::load_lane(&warp.registers, slots.from[1], lane);
        let size = warp.registers.row(slots.from[2])[lane];
        check_copy(core, warp, operation, lane, size, targets[lane], from)?;
        warp.copied = true;
        let groups = &mut warp.bulk[lane];
        if groups.is_empty() {
            groups.push_back(Vec::new());
        }
        if let Some(open) = groups.back_mut() {
            open.push(BulkStore {
                from: from as u32,
                to: targets[lane],
                size,
                operation: operation.index,
            });
        }
        Ok(())
    })
}

fn commit(_: &mut Core<'_>, warp: &mut Warp, _: &Operation, mask: u32) -> Result<(), Stop> {
    each(mask, |lane| {
        warp.copied = true;
        let groups = &mut warp.bulk[lane];
        if groups.is_empty() {
            groups.push_back(Vec::new());
        }
        groups.push_back(Vec::new());
    });
    Ok(())
}

/// `cp.async.bulk.wait_group`: waits for all but the last `extra` committed groups.
fn wait(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    visit(mask, |lane| {
        // The last group is open, not committed.
        while warp.bulk[lane].len() > operation.slots.extra as usize + 1 {
            let group = warp.bulk[lane].pop_front().unwrap_or_default();
            perform(core, warp, lane, group)?;
        }
        Ok(())
    })
}

/// Reports copies to shared memory whose mbarrier phase never ended.
pub(crate) fn finish_loads(core: &mut Core<'_>, warps: &[Warp]) {
    if !core.sanitize() {
        return;
    }
    for landing in core.mbarriers.take_unfinished() {
        let (warp, lane) = (&warps[landing.thread as usize / 32], landing.thread as usize % 32);
        let place = Some((landing.to.into(), landing.bytes.len() as u32));
        report_unwaited(core, warp, landing.operation, lane, place, 1);
    }
}

/// Runs the stores that a block's threads left under way when they exited.
pub(crate) fn finish(core: &mut Core<'_>, warp: &mut Warp) -> Result<(), Stop> {
    visit(FULL, |lane| {
        while let Some(group) = warp.bulk[lane].pop_front() {
            perform(core, warp, lane, group)?;
        }
        Ok(())
    })
}

fn perform(core: &mut Core<'_>, warp: &mut Warp, lane: usize, group: Vec<BulkStore>) -> Result<(), Stop> {
    for copy in group {
        let operation = core.launch.program.operations[copy.operation as usize];
        let Some((index, offset)) = core.allocation(&operation, copy.to, copy.size.into()) else {
            outside_global(core, warp, &operation, lane, copy.to, copy.size)?;
            continue;
        };
        let launch = core.launch;
        let allocation = &launch.allocations[index];
        let from = copy.from as usize;
        for (word, chunk) in core.shared.bytes[from..from + copy.size as usize]
            .chunks_exact(8)
            .enumerate()
        {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(chunk);
            allocation.store_u64(offset + 8 * word as u64, u64::from_le_bytes(bytes));
            allocation.define(offset + 8 * word as u64, 8);
        }
        if copy.size > 0
            && let Some(shadow) = core.shared.shadow()
        {
            let thread = warp.index * 32 + lane as u32;
            let (defined, conflict) = shadow.read(thread, copy.from, copy.size, false);
            if !defined {
                core.find(
                    FindingKind::UninitialisedMemory,
                    warp,
                    &operation,
                    lane,
                    Some((copy.from.into(), copy.size)),
                    || "copies shared memory that this block never wrote".into(),
                );
            }
            if let Some(conflict) = conflict {
                report_race(
                    core,
                    warp,
                    &operation,
                    (copy.from.into(), copy.size),
                    lane,
                    conflict,
                    "copies from",
                );
            }
        }
        count_global(core, &operation, copy.to, copy.size, true);
    }
    Ok(())
}

/// Decodes `cp.async.bulk`, whose `async` is taken already.
pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    draft.take("bulk");
    if draft.take("commit_group") {
        return draft.emit(Action::Warp(commit), Slots::default(), Class::Copy, 0);
    }
    if draft.take("wait_group") {
        draft.ignore(&["read"]);
        draft.arity(1..=1)?;
        let groups = draft.immediate(0)?;
        return draft.emit(
            Action::Warp(wait),
            Slots {
                extra: groups.min(1 << 20),
                ..Slots::default()
            },
            Class::Copy,
            0,
        );
    }
    if draft.had("tensor") || draft.had("prefetch") || draft.had("multicast::cluster") {
        return Err(draft.unsupported("tensor maps, prefetches and multicast"));
    }
    let policy = draft.take("L2::cache_hint");
    let to_shared = draft.take("mbarrier::complete_tx::bytes");
    if !to_shared && !draft.take("bulk_group") {
        return Err(draft.unsupported("this completion"));
    }
    let spaces = draft.take_rest();
    let shared = ["shared::cluster", "shared::cta", "shared"];
    let expected = matches!(spaces[..], [to, from] if if to_shared { shared.contains(&to) && from == "global" } else { to == "global" && shared.contains(&from) });
    if !expected {
        return Err(draft.unsupported(format!("copies between `{}`", spaces.join("` and `"))));
    }
    let operands = 3 + usize::from(to_shared) + usize::from(policy);
    draft.arity(operands..=operands)?;
    if policy {
        draft.source(operands - 1, Type::B64)?;
    }
    let to = draft.address(0)?;
    let to = draft.offset_address(to);
    let from = draft.address(1)?;
    let from = draft.offset_address(from);
    let size = draft.source(2, Type::B32)?;
    draft.note_shared_access(16);
    if !to_shared {
        return draft.emit(
            Action::Warp(store),
            Slots {
                to: 0,
                from: [to, from, size, 0],
                extra: 0,
            },
            Class::Copy,
            0,
        );
    }
    let barrier = draft.address(3)?;
    let extra = u64::from(barrier.offset as u32) << 32;
    draft.emit(
        Action::Warp(load),
        Slots {
            to: 0,
            from: [barrier.base, from, size, to],
            extra,
        },
        Class::Copy,
        0,
    )
}
