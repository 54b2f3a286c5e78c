//! mbarriers: barriers in shared memory that count arrivals and the bytes of asynchronous copies.

use super::memory::report_race;
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::{Action, WarpFunction};
use crate::machine::address::{SHARED_WINDOW, WINDOW};
use crate::machine::core::{Core, Stop};
use crate::machine::mbarrier::{Arrival, MOST_EXPECTED, PendingCopy};
use crate::machine::program::Operation;
use crate::machine::registers::{Cell, Slots};
use crate::machine::warp::Warp;
use crate::parse::syntax::Type;
use crate::sanitize::FindingKind;

/// The address of an mbarrier in shared memory: `from[0]`, which may be generic, plus the offset in bits 32 to 63 of
/// `extra`.
pub(super) fn barrier_address(core: &Core<'_>, warp: &Warp, operation: &Operation, lane: usize) -> Result<u32, Stop> {
    let base = u64::load_lane(&warp.registers, operation.slots.from[0], lane);
    let address = base.wrapping_add((operation.slots.extra >> 32) as i32 as i64 as u64);
    let address = if address.wrapping_sub(SHARED_WINDOW) < WINDOW {
        address - SHARED_WINDOW
    } else {
        address
    };
    if address % 8 != 0 || address + 8 > core.shared.bytes.len() as u64 {
        return Err(core.fault(
            warp,
            operation,
            lane,
            Some(address),
            "an mbarrier outside shared memory, or not at a multiple of 8",
        ));
    }
    Ok(address as u32)
}

pub(super) fn no_barrier(core: &Core<'_>, warp: &Warp, operation: &Operation, lane: usize, address: u32) -> Stop {
    core.fault(
        warp,
        operation,
        lane,
        Some(address.into()),
        "no mbarrier was initialised at this address",
    )
}

/// Visits the lanes of a mask until a visit fails.
pub(super) fn visit(mask: u32, mut each_lane: impl FnMut(usize) -> Result<(), Stop>) -> Result<(), Stop> {
    let mut left = mask;
    while left != 0 {
        each_lane(left.trailing_zeros() as usize)?;
        left &= left - 1;
    }
    Ok(())
}

/// Reports a misuse of an mbarrier.
fn misuse(core: &mut Core<'_>, warp: &Warp, operation: &Operation, lane: usize, address: u32, message: &str) {
    let place = Some((address.into(), 8));
    core.find(FindingKind::BarrierMisuse, warp, operation, lane, place, || {
        message.to_owned()
    });
}

/// Notes that a thread creates or destroys an mbarrier, which must be ordered with all of its uses.
fn watch_change(core: &mut Core<'_>, warp: &Warp, operation: &Operation, lane: usize, address: u32, verb: &str) {
    if let Some(shadow) = core.shared.shadow()
        && let Some(conflict) = shadow.write(warp.index * 32 + lane as u32, address, 8, false)
    {
        report_race(core, warp, operation, (address.into(), 8), lane, conflict, verb);
    }
}

/// Notes that a thread uses an mbarrier, which must be ordered after its initialisation.
fn watch_use(core: &mut Core<'_>, warp: &Warp, operation: &Operation, lane: usize, address: u32) {
    if let Some(shadow) = core.shared.shadow()
        && let (_, Some(conflict)) = shadow.read(warp.index * 32 + lane as u32, address, 8, false)
    {
        report_race(
            core,
            warp,
            operation,
            (address.into(), 8),
            lane,
            conflict,
            "uses the mbarrier of",
        );
    }
}

fn initialise(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    visit(mask, |lane| {
        let address = barrier_address(core, warp, operation, lane)?;
        let count = warp.registers.row(operation.slots.from[1])[lane];
        if !(1..=MOST_EXPECTED).contains(&count) {
            let message =
                format!("an mbarrier that expects {count} arrivals: between 1 and {MOST_EXPECTED} are possible");
            return Err(core.fault(warp, operation, lane, Some(address.into()), message));
        }
        if core.mbarriers.initialise(address, count) && core.sanitize() {
            misuse(
                core,
                warp,
                operation,
                lane,
                address,
                "initialises an mbarrier that is in use: `mbarrier.inval` comes first",
            );
        }
        core.shared.bytes[address as usize..address as usize + 8].copy_from_slice(&u64::from(count).to_le_bytes());
        watch_change(core, warp, operation, lane, address, "initialises");
        Ok(())
    })
}

fn invalidate(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    visit(mask, |lane| {
        let address = barrier_address(core, warp, operation, lane)?;
        if !core.mbarriers.invalidate(address) {
            return Err(no_barrier(core, warp, operation, lane, address));
        }
        watch_change(core, warp, operation, lane, address, "invalidates");
        Ok(())
    })
}

/// Arrives for a lane. Returns the phase.
fn arrive_once(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    lane: usize,
    address: u32,
    (count, bytes): (u32, u32),
) -> Result<u64, Stop> {
    watch_use(core, warp, operation, lane, address);
    let arrival = Arrival {
        thread: warp.index * 32 + lane as u32,
        live: warp.live,
        count,
        bytes,
        drops: operation.slots.extra & DROP != 0,
        releases: operation.slots.extra & RELAXED == 0,
    };
    let Some(arrived) = core.mbarriers.arrive(&mut core.shared, address, arrival) else {
        return Err(no_barrier(core, warp, operation, lane, address));
    };
    if arrived.exceeds && core.sanitize() {
        misuse(
            core,
            warp,
            operation,
            lane,
            address,
            "arrives at an mbarrier more often than its phase expects",
        );
    }
    Ok(arrived.phase)
}

/// Ends an instruction in which threads arrived.
fn finish_arrivals(core: &mut Core<'_>, warp: &Warp) {
    if let Some(shadow) = core.shared.shadow() {
        shadow.order.finish(warp.index as usize);
    }
}

/// Bits of `extra`.
const DROP: u64 = 1;
const EXPECT: u64 = 2;
/// The arrival is no release, or the wait is no acquire.
const RELAXED: u64 = 4;

/// `mbarrier.arrive`. `from[1]` is the count or, with `EXPECT`, the bytes; `to` takes the token.
fn arrive(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let extra = operation.slots.extra;
    visit(mask, |lane| {
        let address = barrier_address(core, warp, operation, lane)?;
        let value = warp.registers.row(operation.slots.from[1])[lane];
        let (count, bytes) = if extra & EXPECT != 0 { (1, value) } else { (value, 0) };
        let token = arrive_once(core, warp, operation, lane, address, (count, bytes))?;
        u64::store_lane(&mut warp.registers, operation.slots.to, lane, token);
        Ok(())
    })?;
    finish_arrivals(core, warp);
    Ok(())
}

/// `mbarrier.expect_tx` or, with `DROP`, `mbarrier.complete_tx`, of `from[1]` bytes.
fn transact(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    visit(mask, |lane| {
        let address = barrier_address(core, warp, operation, lane)?;
        let bytes = i64::from(warp.registers.row(operation.slots.from[1])[lane]);
        let bytes = if operation.slots.extra & DROP != 0 {
            -bytes
        } else {
            bytes
        };
        core.mbarriers
            .transact(&mut core.shared, address, bytes)
            .ok_or_else(|| no_barrier(core, warp, operation, lane, address))
    })
}

const PARITY: u64 = 1;

/// `mbarrier.test_wait` and `mbarrier.try_wait`: test whether the phase of the token or parity `from[1]` has ended.
fn test(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let slots = operation.slots;
    let mut done = 0;
    visit(mask, |lane| {
        let address = barrier_address(core, warp, operation, lane)?;
        watch_use(core, warp, operation, lane, address);
        let Some(barrier) = core.mbarriers.get(address) else {
            return Err(no_barrier(core, warp, operation, lane, address));
        };
        let over = if slots.extra & PARITY != 0 {
            barrier.phase & 1 != u64::from(warp.registers.row(slots.from[1])[lane]) & 1
        } else {
            barrier.phase > u64::load_lane(&warp.registers, slots.from[1], lane)
        };
        if over {
            done |= 1 << lane;
            let thread = warp.index * 32 + lane as u32;
            let acquires = slots.extra & RELAXED == 0;
            core.mbarriers
                .observe(&mut core.shared, address, thread, acquires, warp.live);
        }
        Ok(())
    })?;
    core.stalled = done != mask;
    warp.registers.set_predicate(slots.to, done, mask);
    Ok(())
}

/// `cp.async.mbarrier.arrive`: the thread's earlier copies land when the phase ends. With `EXPECT` (`.noinc`) the
/// thread arrives. Without, the barrier expects one arrival more and gets it, which changes nothing.
fn arrive_after_copies(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    visit(mask, |lane| {
        let address = barrier_address(core, warp, operation, lane)?;
        for copy in warp.copies[lane].take() {
            let landing = PendingCopy {
                thread: warp.index * 32 + lane as u32,
                operation: copy.operation,
                to: copy.to,
                bytes: copy.bytes[..usize::from(copy.size)].to_vec(),
                is_own: true,
            };
            core.mbarriers.entrust(address, landing);
        }
        let count = u32::from(operation.slots.extra & EXPECT != 0);
        arrive_once(core, warp, operation, lane, address, (count, 0)).map(drop)
    })?;
    finish_arrivals(core, warp);
    Ok(())
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let relaxed = if draft.take("relaxed") { RELAXED } else { 0 };
    draft.ignore(&[
        "release",
        "acquire",
        "cta",
        "cluster",
        "shared",
        "shared::cta",
        "shared::cluster",
        "b64",
    ]);
    let address_first = |draft: &mut Draft<'_, '_>, index: usize| -> Result<(u32, u64), Error> {
        draft.note_shared_access(8);
        let address = draft.address(index)?;
        Ok((address.base, u64::from(address.offset as u32) << 32))
    };
    let emit = |draft: &mut Draft<'_, '_>, run: WarpFunction, slots: Slots| {
        draft.emit(Action::Warp(run), slots, Class::Barrier, 0)
    };
    match draft.take_any(&[
        "init",
        "inval",
        "arrive",
        "arrive_drop",
        "test_wait",
        "try_wait",
        "expect_tx",
        "complete_tx",
    ]) {
        Some("init") => {
            draft.arity(2..=2)?;
            let (base, extra) = address_first(draft, 0)?;
            let count = draft.source(1, Type::B32)?;
            emit(
                draft,
                initialise,
                Slots {
                    to: 0,
                    from: [base, count, 0, 0],
                    extra,
                },
            )
        }
        Some("inval") => {
            draft.arity(1..=1)?;
            let (base, extra) = address_first(draft, 0)?;
            emit(
                draft,
                invalidate,
                Slots {
                    to: 0,
                    from: [base, 0, 0, 0],
                    extra,
                },
            )
        }
        Some(name @ ("arrive" | "arrive_drop")) => {
            let expects = draft.take("expect_tx");
            draft.ignore(&["noComplete"]);
            draft.arity(2..=3)?;
            let (base, mut extra) = address_first(draft, 1)?;
            extra |= relaxed | if expects { EXPECT } else { 0 } | if name == "arrive_drop" { DROP } else { 0 };
            let value = if draft.operands() == 3 {
                draft.source(2, Type::B32)?
            } else {
                draft.narrow_constant(1)
            };
            let to = draft.target(0, Type::B64)?;
            emit(
                draft,
                arrive,
                Slots {
                    to,
                    from: [base, value, 0, 0],
                    extra,
                },
            )
        }
        Some("test_wait" | "try_wait") => {
            let parity = draft.take("parity");
            draft.arity(3..=4)?;
            let (base, extra) = address_first(draft, 1)?;
            let what = draft.source(2, if parity { Type::B32 } else { Type::B64 })?;
            if draft.operands() == 4 {
                draft.source(3, Type::B32)?;
            }
            let to = draft.target(0, Type::Pred)?;
            emit(
                draft,
                test,
                Slots {
                    to,
                    from: [base, what, 0, 0],
                    extra: extra | relaxed | if parity { PARITY } else { 0 },
                },
            )
        }
        Some(name) => {
            draft.arity(2..=2)?;
            let (base, extra) = address_first(draft, 0)?;
            let bytes = draft.source(1, Type::B32)?;
            emit(
                draft,
                transact,
                Slots {
                    to: 0,
                    from: [base, bytes, 0, 0],
                    extra: extra | if name == "complete_tx" { DROP } else { 0 },
                },
            )
        }
        None => Err(draft.unsupported("this operation on an mbarrier")),
    }
}

/// Decodes `cp.async.mbarrier.arrive`, whose `async` is taken already.
pub(super) fn decode_arrive(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let counts = draft.take("noinc");
    draft.ignore(&["mbarrier", "shared", "shared::cta", "b64"]);
    if !draft.take("arrive") {
        return Err(draft.unsupported("this copy"));
    }
    draft.arity(1..=1)?;
    draft.note_shared_access(8);
    let address = draft.address(0)?;
    let extra = u64::from(address.offset as u32) << 32 | if counts { EXPECT } else { 0 };
    draft.emit(
        Action::Warp(arrive_after_copies),
        Slots {
            to: 0,
            from: [address.base, 0, 0, 0],
            extra,
        },
        Class::Copy,
        0,
    )
}
