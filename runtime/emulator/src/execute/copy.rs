//! `cp.async`: copies from global to shared memory whose bytes land when they are waited for.

use super::memory::{Request, SharedAccess, addresses, aligned, count_shared, inside_shared, read_lanes, watch_copy};
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::Action;
use crate::machine::copies::AsyncCopy;
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::{Cell, LANES, Slots};
use crate::machine::warp::Warp;
use crate::parse::syntax::Type;
use crate::sanitize::FindingKind;

/// `extra` of a copy: its size in bits 0 to 7, these flags, and the offset of its target from bit 32 on.
const IGNORES: u64 = 1 << 8;
const IGNORES_NEGATED: u64 = 1 << 9;
const PAST_L1: u64 = 1 << 10;

/// Starts a copy from `from[1]` to `from[0]`. It reads `from[2]` bytes, or none where the predicate `from[3]` is true
/// (with `IGNORES`), and fills the rest with zeros.
fn start(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let slots = operation.slots;
    let size = slots.extra as u32 & 0xff;
    let targets = addresses(warp, &slots, (slots.extra >> 32) as i32);
    let sources = u64::load(&warp.registers, slots.from[1]);
    let mut read = *warp.registers.row(slots.from[2]);
    if slots.extra & IGNORES != 0 {
        let predicate = warp.registers.predicate(slots.from[3]);
        let ignored = if slots.extra & IGNORES_NEGATED != 0 {
            !predicate
        } else {
            predicate
        };
        each(ignored, |lane| read[lane] = 0);
    }
    let mut mask = aligned(core, warp, operation, &targets, size, mask)?;
    mask = inside_shared(core, warp, operation, &targets, size, mask)?;
    let mut values = [[0; 16]; LANES];
    // Lanes that read the same number of bytes form one request. Lanes that read none touch no memory.
    let mut left = mask;
    while left != 0 {
        let first = left.trailing_zeros() as usize;
        let bytes = read[first];
        let mut lanes = 0;
        each(left, |lane| lanes |= u32::from(read[lane] == bytes) << lane);
        left &= !lanes;
        if bytes > size {
            let message = format!("a copy that reads {bytes} bytes of {size}");
            return Err(core.fault(warp, operation, first, Some(sources[first]), message));
        }
        if bytes > 0 {
            let lanes = aligned(core, warp, operation, &sources, size, lanes)?;
            let request = if slots.extra & PAST_L1 != 0 {
                Request::LoadPastL1
            } else {
                Request::Load
            };
            read_lanes(core, warp, operation, &sources, bytes, lanes, request, &mut values)?;
            if core.count() {
                core.counts.global_to_shared_bytes += u64::from(bytes) * u64::from(lanes.count_ones());
            }
        }
    }
    if core.count() && mask != 0 {
        count_shared(core, &targets, size, mask, SharedAccess::Copy);
    }
    warp.copied = true;
    let watched = core.sanitize();
    each(mask, |lane| {
        if watched {
            watch_copy(core, warp, operation, targets[lane], size, lane);
        }
        warp.copies[lane].open.push(AsyncCopy {
            to: targets[lane] as u32,
            bytes: values[lane],
            size: size as u8,
            operation: operation.index,
        });
    });
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

/// `cp.async.wait_group` for all but `extra` groups or, if it is all ones, `cp.async.wait_all`, which waits for the
/// open group too.
fn wait(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let all = operation.slots.extra == u64::MAX;
    let keep = if all { 0 } else { operation.slots.extra as usize };
    if core.count() && mask != 0 {
        core.counts.copy_waits += 1;
        core.counts.copy_groups += keep as u64 + 1;
    }
    each(mask, |lane| {
        let thread = warp.index * 32 + lane as u32;
        core.mbarriers.land_copies(&mut core.shared, thread);
        let copies = &mut warp.copies[lane];
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

/// Reports copies that their thread never waited for.
pub(crate) fn finish(core: &mut Core<'_>, warp: &mut Warp) {
    if !core.sanitize() || !warp.copied {
        return;
    }
    for lane in 0..LANES {
        let left: Vec<AsyncCopy> = warp.copies[lane].take().collect();
        if let Some(first) = left.first() {
            let place = Some((first.to.into(), first.size.into()));
            report_unwaited(core, warp, first.operation, lane, place, left.len());
        }
    }
}

/// Reports a thread's copies that were under way when their block ended.
pub(super) fn report_unwaited(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: u32,
    lane: usize,
    place: Option<(u64, u32)>,
    count: usize,
) {
    let operation = core.launch.program.operations[operation as usize];
    core.find(FindingKind::MissingWait, warp, &operation, lane, place, || {
        format!("{count} asynchronous copies of the thread were never waited for")
    });
}

fn land(core: &mut Core<'_>, thread: u32, copy: AsyncCopy) {
    let (at, size) = (copy.to as usize, usize::from(copy.size));
    core.shared.bytes[at..at + size].copy_from_slice(&copy.bytes[..size]);
    if let Some(shadow) = core.shared.shadow() {
        shadow.land_copy(thread, copy.to, copy.size.into());
    }
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    if draft.take("commit_group") {
        return draft.emit(Action::Warp(commit), Slots::default(), Class::Copy, 0);
    }
    if draft.take("wait_all") {
        return draft.emit(
            Action::Warp(wait),
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
            Action::Warp(wait),
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
    let past_l1 = draft.take_any(&["ca", "cg"]) == Some("cg");
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
    if !(size == 16 || !past_l1 && (size == 4 || size == 8)) {
        return Err(draft.invalid(format!("a copy of {size} bytes: 4, 8 or 16 (`.cg`: 16)")));
    }
    let to = draft.address(0)?;
    let from = draft.address(1)?;
    let source = draft.offset_address(from);
    draft.note_shared_access(size as u32);
    let mut extra = size | if past_l1 { PAST_L1 } else { 0 } | u64::from(to.offset as u32) << 32;
    let (mut read, mut ignored) = (draft.narrow_constant(size as u32), 0);
    if last == 4 && draft.is_predicate(3)? {
        let (predicate, negated) = draft.predicate_source(3)?;
        ignored = predicate;
        extra |= if negated { IGNORES | IGNORES_NEGATED } else { IGNORES };
    } else if last == 4 {
        read = draft.source(3, Type::B32)?;
    }
    draft.emit(
        Action::Warp(start),
        Slots {
            to: 0,
            from: [to.base, source, read, ignored],
            extra,
        },
        Class::Copy,
        0,
    )
}
