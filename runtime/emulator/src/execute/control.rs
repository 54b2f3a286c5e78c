//! Branches, calls, barriers and fences.

use super::exchange::{WARP_BARRIER, warp_barrier};
use super::memory;
use crate::count::Class;
use crate::draft::call::CallSyntax;
use crate::draft::{Draft, Nothing};
use crate::error::Error;
use crate::machine::action::{Action, WarpSync};
use crate::machine::core::{Core, Stop};
use crate::machine::program::{Barrier, Control, Operation, Reduction, ReductionKind};
use crate::machine::registers::Slots;
use crate::machine::warp::Warp;
use crate::parse::syntax::{Operand, Type};

const ACQUIRES: u64 = 1;
const RELEASES: u64 = 2;

/// A fence. Memory is sequentially consistent, so only the sanitizer needs it.
fn fence(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    if let Some(shadow) = core.shared.shadow() {
        let extra = operation.slots.extra;
        let (acquires, releases) = (extra & ACQUIRES != 0, extra & RELEASES != 0);
        shadow
            .order
            .fence(warp.index as usize, mask, warp.live, acquires, releases);
    }
    Ok(())
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    match draft.name() {
        "bra" => {
            draft.ignore(&["uni"]);
            draft.arity(1..=1)?;
            match draft.operand(0)? {
                Operand::Name(label) => draft.emit_branch(label),
                _ => Err(draft.invalid("a branch needs a label")),
            }
        }
        "brx" => {
            draft.ignore(&["uni"]);
            if !draft.take("idx") {
                return Err(draft.unsupported("this branch"));
            }
            draft.arity(2..=2)?;
            let index = draft.source(0, Type::B32)?;
            match draft.operand(1)? {
                Operand::Name(targets) => draft.emit_indexed(index, targets),
                _ => Err(draft.invalid("a list of targets is missing")),
            }
        }
        "call" => call(draft),
        "ret" => {
            draft.ignore(&["uni"]);
            draft.arity(0..=0)?;
            draft.emit_results(memory::decode)?;
            draft.emit(Action::Control(Control::Return), Slots::default(), Class::Control, 0)
        }
        "exit" => draft.emit(Action::Control(Control::Exit), Slots::default(), Class::Control, 0),
        "trap" | "brkpt" => draft.emit(Action::Control(Control::Trap), Slots::default(), Class::Control, 0),
        "membar" | "fence" => {
            let (proxy, mbarriers) = (draft.take("proxy"), draft.take("mbarrier_init"));
            if proxy {
                // Generic and asynchronous accesses see the same memory. Proxies of textures and tensor maps are not
                // supported.
                if draft.take_any(&["async", "async::generic"]).is_none() {
                    return Err(draft.unsupported("this proxy"));
                }
                draft.ignore(&["global", "shared::cta", "shared::cluster", "shared"]);
            }
            draft.ignore_prefixed(&["sync_restrict::"]);
            let order = draft.take_any(&["acquire", "release", "acq_rel", "sc"]);
            draft.ignore(&["gl", "cta", "cluster", "gpu", "sys"]);
            draft.arity(0..=0)?;
            // The emulator has one proxy.
            if proxy || mbarriers {
                return draft.lanes::<Nothing>(0, &[], 0, Class::Barrier, 0);
            }
            let extra = match order {
                Some("acquire") => ACQUIRES,
                Some("release") => RELEASES,
                _ => ACQUIRES | RELEASES,
            };
            let slots = Slots {
                extra,
                ..Slots::default()
            };
            draft.emit(Action::Warp(fence), slots, Class::Barrier, 0)
        }
        _ => barrier(draft),
    }
}

fn list(operand: Option<&Operand>) -> &[Operand] {
    match operand {
        Some(Operand::List(list)) => list,
        _ => &[],
    }
}

/// Decodes `call (results), function, (arguments)[, targets or prototype]`. Results and arguments are optional.
fn call(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    draft.ignore(&["uni"]);
    let mut operands = Vec::new();
    for index in 0..draft.operands() {
        operands.push(draft.operand(index)?);
    }
    let has_results = matches!(operands.first(), Some(Operand::List(_)));
    let results = if has_results {
        list(operands.first().copied())
    } else {
        &[]
    };
    let callee = operands.get(usize::from(has_results)).copied();
    let arguments = list(operands.get(usize::from(has_results) + 1).copied());
    let Some(Operand::Name(name)) = callee else {
        return Err(draft.invalid("a call needs a function"));
    };
    if let Some(ty) = callee.and_then(|callee| draft.register_type(callee)) {
        if ty.size() != 8 {
            return Err(draft.invalid("a call through a register needs 64 bits"));
        }
        let address = draft.source_of(&Operand::Name(name.clone()), Type::B64)?;
        draft.request_all();
        let prototype = match operands.last() {
            Some(Operand::Name(name)) => draft.prototype_named(name),
            _ => None,
        };
        let call = CallSyntax {
            function: None,
            prototype,
            arguments,
            results,
        };
        return draft.emit_call(call, |call| Control::CallIndirect { call, address }, memory::decode);
    }
    let Some((function, prototype)) = draft.function_named(name) else {
        return Err(draft.invalid(format!("no function `{name}`")));
    };
    let call = CallSyntax {
        function: Some(function),
        prototype: Some(prototype),
        arguments,
        results,
    };
    draft.emit_call(call, Control::Call, memory::decode)
}

/// Decodes `bar` and `barrier`, of a block, a warp or a cluster.
fn barrier(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    if draft.take("cluster") {
        let releases = !draft.take("relaxed");
        draft.ignore(&["aligned", "acquire", "release"]);
        let control = match draft.take_any(&["arrive", "wait"]) {
            Some("arrive") => Control::ClusterArrive(releases),
            Some(_) => Control::ClusterWait,
            None => return Err(draft.unsupported("this barrier")),
        };
        draft.arity(0..=0)?;
        return draft.emit(Action::Control(control), Slots::default(), Class::Barrier, 0);
    }
    draft.ignore(&["cta", "aligned"]);
    if draft.take("warp") {
        if !draft.take("sync") {
            return Err(draft.unsupported("this warp barrier"));
        }
        draft.arity(1..=1)?;
        let mask = draft.source(0, Type::B32)?;
        let sync = WarpSync {
            run: warp_barrier,
            mask,
            kind: WARP_BARRIER,
        };
        return draft.emit(Action::Sync(sync), Slots::default(), Class::Barrier, 0);
    }
    let waits = match draft.take_any(&["sync", "arrive", "red"]) {
        Some("arrive") => false,
        Some("red") => return reduction(draft),
        Some(_) => true,
        None => return Err(draft.unsupported("this barrier")),
    };
    draft.arity(1..=2)?;
    let number = draft.source(0, Type::B32)?;
    let count = if draft.operands() == 2 {
        Some(draft.source(1, Type::B32)?)
    } else {
        None
    };
    if !waits && count.is_none() {
        return Err(draft.invalid("an arrival needs a thread count"));
    }
    emit(
        draft,
        Barrier {
            number,
            count,
            waits,
            reduction: None,
        },
    )
}

fn reduction(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let kind = match draft.take_any(&["popc", "and", "or"]) {
        Some("popc") => ReductionKind::Count,
        Some("and") => ReductionKind::And,
        Some(_) => ReductionKind::Or,
        None => return Err(draft.unsupported("this reduction")),
    };
    draft.ty()?;
    draft.arity(3..=4)?;
    let number = draft.source(1, Type::B32)?;
    let last = draft.operands() - 1;
    let count = if last == 3 {
        Some(draft.source(2, Type::B32)?)
    } else {
        None
    };
    let (predicate, negated) = draft.predicate_source(last)?;
    let to = draft.target(
        0,
        if kind == ReductionKind::Count {
            Type::B32
        } else {
            Type::Pred
        },
    )?;
    emit(
        draft,
        Barrier {
            number,
            count,
            waits: true,
            reduction: Some(Reduction {
                kind,
                predicate,
                negated,
                to,
            }),
        },
    )
}

fn emit(draft: &mut Draft<'_, '_>, barrier: Barrier) -> Result<(), Error> {
    draft.emit(
        Action::Control(Control::Barrier(barrier)),
        Slots::default(),
        Class::Barrier,
        0,
    )
}
