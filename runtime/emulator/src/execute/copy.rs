//! `cp.async`: copies from global to shared memory whose bytes land only when they are waited for.

use super::lanes::{Slots, each};
use super::memory::{addresses, count_shared, read_lanes, report_race};
use crate::count::Class;
use crate::decode::Draft;
use crate::error::Error;
use crate::machine::registers::{Cell, LANES};
use crate::machine::warp::{Copy, Warp};
use crate::machine::{Core, Stop};
use crate::parse::syntax::Type;
use crate::program::{Action, Operation};
use crate::sanitize::FindingKind;

/// A copy of `extra`'s size (bits 0..8): to `from[0]` (offset in bits 32..64), from `from[1]`, of which `from[2]` bytes
/// are read and the rest are zeros.
fn start(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let slots = operation.slots;
    let size = slots.extra as u32 & 0xff;
    let targets = addresses(warp, &slots, (slots.extra >> 32) as i32);
    let sources = u64::load(&warp.registers, slots.from[1]);
    let read = *warp.registers.row(slots.from[2]);
    let mut mask = mask;
    let shared = core.shared.bytes.len() as u64;
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        let to = targets[lane];
        let (kind, message) = if !to.is_multiple_of(u64::from(size)) {
            (
                FindingKind::Misaligned,
                format!("shared address {to:#x} is not a multiple of the {size} bytes copied"),
            )
        } else if to > shared || shared - to < u64::from(size) {
            (
                FindingKind::OutOfBounds,
                format!("{size} bytes at {to:#x} in the block's {shared} bytes of shared memory"),
            )
        } else {
            continue;
        };
        core.wrong_access(kind, warp, operation, lane, (to, size), message)?;
        mask &= !(1 << lane);
    }
    let mut values = [[0; 16]; LANES];
    // Lanes that read the same number of bytes go together; those that read none touch no memory.
    let mut left = mask;
    while left != 0 {
        let bytes = read[left.trailing_zeros() as usize].min(size);
        let mut lanes = 0;
        each(left, |lane| lanes |= u32::from(read[lane].min(size) == bytes) << lane);
        left &= !lanes;
        if bytes > 0 {
            let part = read_lanes(core, warp, operation, &sources, bytes, lanes)?;
            each(lanes, |lane| values[lane] = part[lane]);
        }
    }
    if core.count() && mask != 0 {
        count_shared(core, &targets, size, mask, true);
    }
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        let to = targets[lane] as u32;
        warp.copied = true;
        warp.copies[lane].open.push(Copy {
            to,
            bytes: values[lane],
            size: size as u8,
        });
        if let Some(shadow) = core.shared.shadow()
            && let Some(conflict) = shadow.start_copy(warp.index * 32 + lane as u32, to, size)
        {
            report_race(
                core,
                warp,
                operation,
                (targets[lane], size),
                lane,
                conflict,
                "copies to",
            );
        }
    }
    Ok(())
}

fn commit(_: &mut Core<'_>, warp: &mut Warp, _: &Operation, mask: u32) -> Result<(), Stop> {
    warp.copied = true;
    each(mask, |lane| {
        let copies = &mut warp.copies[lane];
        let group = std::mem::take(&mut copies.open);
        copies.groups.push_back(group);
    });
    Ok(())
}

/// `cp.async.wait_group n` (`extra`), or `wait_all` (all ones), which takes what was not committed too.
fn wait(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let all = operation.slots.extra == u64::MAX;
    each(mask, |lane| {
        let thread = warp.index * 32 + lane as u32;
        let copies = &mut warp.copies[lane];
        let keep = if all { 0 } else { operation.slots.extra as usize };
        while copies.groups.len() > keep {
            for copy in copies.groups.pop_front().unwrap_or_default() {
                land(core, thread, copy);
            }
        }
        if all {
            for copy in std::mem::take(&mut copies.open) {
                land(core, thread, copy);
            }
        }
    });
    Ok(())
}

/// All of a thread's copies land.
pub(super) fn land_all(core: &mut Core<'_>, warp: &mut Warp, lane: usize) {
    let thread = warp.index * 32 + lane as u32;
    let copies = std::mem::take(&mut warp.copies[lane]);
    for copy in copies.groups.into_iter().flatten().chain(copies.open) {
        land(core, thread, copy);
    }
}

fn land(core: &mut Core<'_>, thread: u32, copy: Copy) {
    let (at, size) = (copy.to as usize, usize::from(copy.size));
    core.shared.bytes[at..at + size].copy_from_slice(&copy.bytes[..size]);
    if let Some(shadow) = core.shared.shadow() {
        shadow.land_copy(thread, copy.to, copy.size.into());
    }
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    if !draft.take("async") {
        return Err(draft.unsupported("this copy"));
    }
    if draft.had("bulk") {
        return super::bulk::decode_bulk(draft);
    }
    if draft.had("mbarrier") {
        return super::bulk::decode_arrive(draft);
    }
    if draft.take("commit_group") {
        return draft.emit(Action::Machine(commit), Slots::default(), Class::Copy, 0);
    }
    if draft.take("wait_all") {
        return draft.emit(
            Action::Machine(wait),
            Slots {
                extra: u64::MAX,
                ..Slots::default()
            },
            Class::Copy,
            0,
        );
    }
    if draft.take("wait_group") {
        draft.arity(1..=1)?;
        let groups = draft.immediate(0)?;
        return draft.emit(
            Action::Machine(wait),
            Slots {
                extra: groups.min(1 << 20),
                ..Slots::default()
            },
            Class::Copy,
            0,
        );
    }
    let policy = draft.take("L2::cache_hint");
    draft.ignore_prefixed(&["L2::"]);
    let whole_lines = draft.take_any(&["ca", "cg"]) == Some("cg");
    if draft.take_any(&["shared::cta", "shared"]).is_none() || !draft.take("global") {
        return Err(draft.unsupported("copies between these spaces"));
    }
    let last = draft.operands() - usize::from(policy);
    if !(3..=4).contains(&last) {
        return Err(draft.invalid(format!("{} operands", draft.operands())));
    }
    if policy {
        draft.source(last, Type::B64)?;
    }
    let size = draft.immediate(2)?;
    if !(size == 16 || !whole_lines && (size == 4 || size == 8)) {
        return Err(draft.invalid(format!("a copy of {size} bytes: 4, 8 or 16 (`.cg`: 16)")));
    }
    let to = draft.address(0)?;
    let from = draft.address(1)?;
    let source = draft.offset_address(from);
    let read = if last == 4 {
        if draft.is_predicate(3)? {
            return Err(draft.unsupported("a predicate that ignores the source"));
        }
        draft.source(3, Type::B32)?
    } else {
        draft.narrow_constant(size as u32)
    };
    draft.note_shared_access(size as u32);
    let extra = size | u64::from(to.offset as u32) << 32;
    draft.emit(
        Action::Machine(start),
        Slots {
            to: 0,
            from: [to.base, source, read, 0],
            extra,
        },
        Class::Copy,
        0,
    )
}
