//! Instructions across the lanes of a warp: shuffles, votes, matches, reductions.

use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::{Action, Part, SyncFunction, WarpSync};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::{Cell, FULL, LANES, Slot, Slots};
use crate::machine::warp::Warp;
use crate::parse::syntax::{Operand, Type};
use crate::sanitize::FindingKind;

/// `extra` of a shuffle: the mode in bits 0 and 1; bit 2 is set if there is a predicate, whose slot starts at bit 32.
const UP: u64 = 0;
const DOWN: u64 = 1;
const BUTTERFLY: u64 = 2;
const HAS_PREDICATE: u64 = 4;

/// Kinds of warp-synchronous instructions. The instruction's qualifiers are added to them.
const SHUFFLE: u32 = 0x100;
const VOTE: u32 = 0x200;
const MATCH: u32 = 0x300;
const REDUCE: u32 = 0x400;
const ELECT: u32 = 0x500;
pub(super) const WARP_BARRIER: u32 = 0x600;

/// The lanes of all parts.
fn members(parts: &[Part<'_>]) -> u32 {
    parts.iter().fold(0, |lanes, part| lanes | part.lanes)
}

/// The values of a register, from each part's frame.
fn gather<T: Cell>(warp: &mut Warp, parts: &[Part<'_>], slot: impl Fn(&Slots) -> Slot) -> [T; LANES] {
    let mut values = [T::default(); LANES];
    for part in parts {
        warp.registers.enter(part.base, part.predicate_base);
        let row = T::load(&warp.registers, slot(&part.operation.slots));
        if parts.len() == 1 {
            return row;
        }
        each(part.lanes, |lane| values[lane] = row[lane]);
    }
    values
}

/// Writes each lane's result to the register `to`.
fn scatter(warp: &mut Warp, parts: &[Part<'_>], result: &[u32; LANES]) {
    for part in parts {
        warp.registers.enter(part.base, part.predicate_base);
        let row = warp.registers.row_mut(part.operation.slots.to);
        each(part.lanes, |lane| row[lane] = result[lane]);
    }
}

/// Sets the predicate of the parts that have one.
fn scatter_predicate(warp: &mut Warp, parts: &[Part<'_>], result: u32) {
    for part in parts
        .iter()
        .filter(|part| part.operation.slots.extra & HAS_PREDICATE != 0)
    {
        warp.registers.enter(part.base, part.predicate_base);
        let slot = (part.operation.slots.extra >> 32) as Slot;
        warp.registers.set_predicate(slot, result, part.lanes);
    }
}

/// `shfl.sync`: value `from[0]`, lane `from[1]`, clamp and segments `from[2]`, mask `from[3]`.
fn shuffle(core: &mut Core<'_>, warp: &mut Warp, parts: &[Part<'_>]) -> Result<(), Stop> {
    let mask = members(parts);
    let values: [u32; LANES] = gather(warp, parts, |slots| slots.from[0]);
    let lanes: [u32; LANES] = gather(warp, parts, |slots| slots.from[1]);
    let controls: [u32; LANES] = gather(warp, parts, |slots| slots.from[2]);
    let mode = parts[0].operation.slots.extra & 3;
    let mut inside = 0;
    let mut inactive = 0;
    let mut result = [0; LANES];
    each(mask, |lane| {
        let own = lane as u32;
        let b = lanes[lane] & 31;
        let clamp = controls[lane] & 31;
        let segments = controls[lane] >> 8 & 31;
        let most = (own & segments) | (clamp & !segments);
        let least = own & segments;
        let (source, valid) = match mode {
            UP => (own.wrapping_sub(b), own as i32 - b as i32 >= most as i32),
            DOWN => (own + b, own + b <= most),
            BUTTERFLY => (own ^ b, own ^ b <= most),
            _ => {
                let source = least | (b & !segments);
                (source, source <= most)
            }
        };
        let source = if valid { source & 31 } else { own };
        inside |= u32::from(valid) << lane;
        inactive |= u32::from(mask >> source & 1 == 0) << lane;
        result[lane] = values[source as usize];
    });
    if inactive != 0 && core.sanitize() {
        let lane = inactive.trailing_zeros() as usize;
        let of = parts.iter().find(|part| part.lanes >> lane & 1 != 0);
        let operation = of.unwrap_or(&parts[0]).operation;
        core.find(FindingKind::InactiveLanes, warp, operation, lane, None, || {
            "it reads from a lane that does not take part, where the value is undefined".into()
        });
    }
    scatter(warp, parts, &result);
    scatter_predicate(warp, parts, inside);
    Ok(())
}

/// The predicate `from[0]` of all lanes, negated if bit 2 of `extra` is set.
fn voted(warp: &mut Warp, parts: &[Part<'_>]) -> u32 {
    let mut votes = 0;
    for part in parts {
        warp.registers.enter(part.base, part.predicate_base);
        let slots = &part.operation.slots;
        let predicate = warp.registers.predicate(slots.from[0]) ^ if slots.extra & 4 != 0 { FULL } else { 0 };
        votes |= predicate & part.lanes;
    }
    votes
}

/// `vote.sync`; `extra` is 0 for all, 1 for any, 2 for uniform, 3 for ballot.
fn vote(_: &mut Core<'_>, warp: &mut Warp, parts: &[Part<'_>]) -> Result<(), Stop> {
    let (mask, votes) = (members(parts), voted(warp, parts));
    let answer = match parts[0].operation.slots.extra & 3 {
        0 => votes == mask,
        1 => votes != 0,
        2 => votes == 0 || votes == mask,
        _ => {
            // A thread sees only the lanes of its own mask.
            let masks: [u32; LANES] = gather(warp, parts, |slots| slots.from[3]);
            scatter(warp, parts, &masks.map(|mask| votes & mask));
            return Ok(());
        }
    };
    for part in parts {
        warp.registers.enter(part.base, part.predicate_base);
        let answer = if answer { FULL } else { 0 };
        warp.registers
            .set_predicate(part.operation.slots.to, answer, part.lanes);
    }
    Ok(())
}

fn active_mask(_: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let row = warp.registers.row_mut(operation.slots.to);
    each(mask, |lane| row[lane] = mask);
    Ok(())
}

/// `match.any`, or `match.all` if bit 0 of `extra` is set. Bit 1 is set for 64-bit values, bit 2 if there is a
/// predicate, whose slot starts at bit 32.
fn match_values(_: &mut Core<'_>, warp: &mut Warp, parts: &[Part<'_>]) -> Result<(), Stop> {
    let mask = members(parts);
    let extra = parts[0].operation.slots.extra;
    let values: [u64; LANES] = if extra & 2 != 0 {
        gather(warp, parts, |slots| slots.from[0])
    } else {
        gather::<u32>(warp, parts, |slots| slots.from[0]).map(u64::from)
    };
    let first = values[mask.trailing_zeros() as usize & 31];
    let mut all = true;
    each(mask, |lane| all &= values[lane] == first);
    let mut result = [0; LANES];
    each(mask, |lane| {
        if extra & 1 != 0 {
            result[lane] = if all { mask } else { 0 };
        } else {
            each(mask, |other| {
                result[lane] |= u32::from(values[other] == values[lane]) << other
            });
        }
    });
    scatter(warp, parts, &result);
    scatter_predicate(warp, parts, if all { FULL } else { 0 });
    Ok(())
}

/// `redux.sync`; `extra` is the reduction.
fn reduce(_: &mut Core<'_>, warp: &mut Warp, parts: &[Part<'_>]) -> Result<(), Stop> {
    let mask = members(parts);
    let values: [u32; LANES] = gather(warp, parts, |slots| slots.from[0]);
    let first = mask.trailing_zeros() as usize & 31;
    let mut result = values[first];
    each(mask & !(1 << first), |lane| {
        let value = values[lane];
        result = match parts[0].operation.slots.extra & 7 {
            0 => result.wrapping_add(value),
            1 => result.min(value),
            2 => result.max(value),
            3 => (result as i32).min(value as i32) as u32,
            4 => (result as i32).max(value as i32) as u32,
            5 => result & value,
            6 => result | value,
            _ => result ^ value,
        };
    });
    scatter(warp, parts, &[result; LANES]);
    Ok(())
}

/// `elect.sync`, which elects the lowest lane.
fn elect(_: &mut Core<'_>, warp: &mut Warp, parts: &[Part<'_>]) -> Result<(), Stop> {
    let leader = members(parts).trailing_zeros();
    scatter(warp, parts, &[leader; LANES]);
    scatter_predicate(warp, parts, 1 << leader);
    Ok(())
}

/// `bar.warp.sync`. When it runs, all lanes have arrived.
pub(super) fn warp_barrier(_: &mut Core<'_>, _: &mut Warp, _: &[Part<'_>]) -> Result<(), Stop> {
    Ok(())
}

fn emit(draft: &mut Draft<'_, '_>, run: SyncFunction, slots: Slots, mask: u32, kind: u32) -> Result<(), Error> {
    draft.emit(Action::Sync(WarpSync { run, mask, kind }), slots, Class::Shuffle, 0)
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    if draft.name() == "activemask" {
        draft.ty()?;
        let to = draft.target(0, Type::B32)?;
        return draft.emit(
            Action::Warp(active_mask),
            Slots { to, ..Slots::default() },
            Class::Shuffle,
            0,
        );
    }
    if !draft.take("sync") {
        return Err(draft.unsupported("warp instructions without `.sync` (removed in sm_70)"));
    }
    match draft.name() {
        "shfl" => decode_shuffle(draft),
        "vote" => decode_vote(draft),
        "match" => decode_match(draft),
        "redux" => decode_reduction(draft),
        _ => decode_election(draft),
    }
}

/// Decodes `shfl.sync`.
fn decode_shuffle(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let mode = match draft.take_any(&["up", "down", "bfly", "idx"]) {
        Some("up") => UP,
        Some("down") => DOWN,
        Some("bfly") => BUTTERFLY,
        Some(_) => 3,
        None => return Err(draft.unsupported("this mode")),
    };
    draft.ty()?;
    draft.arity(5..=5)?;
    let value = draft.source(1, Type::B32)?;
    let lane = draft.source(2, Type::B32)?;
    let control = draft.source(3, Type::B32)?;
    let mask = draft.source(4, Type::B32)?;
    let (to, extra) = with_predicate(draft, mode)?;
    emit(
        draft,
        shuffle,
        Slots {
            to,
            from: [value, lane, control, mask],
            extra,
        },
        mask,
        SHUFFLE + mode as u32,
    )
}

/// Decodes `vote.sync`.
fn decode_vote(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let mode = match draft.take_any(&["all", "any", "uni", "ballot"]) {
        Some("all") => 0,
        Some("any") => 1,
        Some("uni") => 2,
        Some(_) => 3,
        None => return Err(draft.unsupported("this mode")),
    };
    draft.ty()?;
    draft.arity(3..=3)?;
    let (predicate, negated) = draft.predicate_source(1)?;
    let mask = draft.source(2, Type::B32)?;
    let to = draft.target(0, if mode == 3 { Type::B32 } else { Type::Pred })?;
    emit(
        draft,
        vote,
        Slots {
            to,
            from: [predicate, 0, 0, mask],
            extra: mode | u64::from(negated) << 2,
        },
        mask,
        VOTE + mode as u32,
    )
}

/// Decodes `match.sync`.
fn decode_match(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let all = match draft.take_any(&["any", "all"]) {
        Some("any") => 0,
        Some(_) => 1,
        None => return Err(draft.unsupported("this mode")),
    };
    let ty = draft.ty()?;
    draft.arity(3..=3)?;
    let value = draft.source(1, ty)?;
    let mask = draft.source(2, Type::B32)?;
    let qualifiers = all | u64::from(ty.size() == 8) << 1;
    let (to, extra) = with_predicate(draft, qualifiers)?;
    emit(
        draft,
        match_values,
        Slots {
            to,
            from: [value, 0, 0, mask],
            extra,
        },
        mask,
        MATCH + qualifiers as u32,
    )
}

/// Decodes `redux.sync`.
fn decode_reduction(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let operation = draft.take_any(&["add", "min", "max", "and", "or", "xor"]);
    let ty = draft.ty()?;
    if !matches!(ty, Type::U32 | Type::S32 | Type::B32) {
        return Err(draft.unsupported(format!("the type {ty}")));
    }
    let extra = match (operation, ty.is_signed()) {
        (Some("add"), _) => 0,
        (Some("min"), false) => 1,
        (Some("max"), false) => 2,
        (Some("min"), true) => 3,
        (Some("max"), true) => 4,
        (Some("and"), _) => 5,
        (Some("or"), _) => 6,
        (Some("xor"), _) => 7,
        _ => return Err(draft.unsupported("this reduction")),
    };
    draft.arity(3..=3)?;
    let value = draft.source(1, Type::B32)?;
    let mask = draft.source(2, Type::B32)?;
    let to = draft.target(0, Type::B32)?;
    emit(
        draft,
        reduce,
        Slots {
            to,
            from: [value, 0, 0, mask],
            extra,
        },
        mask,
        REDUCE + extra as u32,
    )
}

/// Decodes `elect.sync`.
fn decode_election(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    draft.arity(2..=2)?;
    let mask = draft.source(1, Type::B32)?;
    let (to, extra) = with_predicate(draft, 0)?;
    emit(
        draft,
        elect,
        Slots {
            to,
            from: [mask, 0, 0, mask],
            extra,
        },
        mask,
        ELECT,
    )
}

/// The destination `d` of an operand `d` or `d|p`, and `extra` with the predicate.
fn with_predicate(draft: &mut Draft<'_, '_>, extra: u64) -> Result<(u32, u64), Error> {
    match draft.operand(0)? {
        Operand::Pair(value, predicate) => {
            let to = draft.target_of(value, Type::B32)?;
            let predicate = draft.target_of(predicate, Type::Pred)?;
            Ok((to, extra | HAS_PREDICATE | u64::from(predicate) << 32))
        }
        _ => Ok((draft.target(0, Type::B32)?, extra)),
    }
}
