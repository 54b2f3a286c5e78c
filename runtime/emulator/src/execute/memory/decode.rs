//! The decoding of `ld` and `st`.

use super::access::Access;
use super::modifiers::{ignore_cache_modifiers, take_space, take_strength};
use super::spaces::{
    ld_cluster, ld_constant, ld_generic, ld_global, ld_local, ld_parameter, ld_shared, st_cluster, st_generic,
    st_global, st_local, st_shared,
};
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::{Action, WarpFunction};
use crate::machine::registers::Slots;
use crate::parse::syntax::{Operand, Space, Type};

pub(crate) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let store = draft.name() == "st";
    if draft.take("async") || draft.take("bulk") {
        return Err(draft.unsupported("asynchronous stores"));
    }
    let policy = draft.take("L2::cache_hint");
    let strength = take_strength(draft);
    ignore_cache_modifiers(draft);
    let in_cluster = draft.take("shared::cluster");
    let mut space = if in_cluster { Space::Shared } else { take_space(draft)? };
    let count = match draft.take_any(&["v2", "v4", "v8"]) {
        None => 1,
        Some("v2") => 2,
        Some("v4") => 4,
        Some(_) => return Err(draft.unsupported("vectors of eight")),
    };
    let ty = draft.ty()?;
    if ty == Type::B128 || ty == Type::Pred {
        return Err(draft.unsupported(format!("accesses of {ty}")));
    }
    let operands = if policy { 3 } else { 2 };
    draft.arity(operands..=operands)?;
    if policy {
        // A cache policy is a hint.
        draft.source(2, Type::B64)?;
    }
    let address = draft.address(usize::from(!store))?;
    let (mut named, base) = (address.space, address.base);
    if named.is_none() && space == Space::Parameter && !draft.is_entry() {
        // A device function's parameters lie in its frame, so their addresses are local.
        named = Some(Space::Local);
    }
    let class_space = space;
    if space == Space::Parameter {
        space = named.unwrap_or(Space::Parameter);
    } else if let Some(named) = named {
        if space == Space::Generic {
            // A variable's name in a generic access is an address in the variable's space.
            space = named;
        } else if named != space {
            return Err(draft.invalid(format!("a variable in {named} memory in an access to {space} memory")));
        }
    }
    let values = draft.elements(if store { 1 } else { 0 })?;
    if values.len() != count {
        return Err(draft.invalid(format!("{} registers for {count} elements", values.len())));
    }
    // Registers may be wider than the elements; those of one access have the same width.
    let wide = ty.size() == 8
        || values
            .iter()
            .any(|operand| draft.register_type(operand).is_some_and(|ty| ty.size() == 8));
    let register = if wide { Type::B64 } else { ty };
    let mut slots = Slots::default();
    for (index, operand) in values.iter().enumerate() {
        let slot = match (store, operand) {
            (false, operand) => draft.wide_target_of(operand, if wide { Type::B64 } else { narrow(ty) })?,
            (true, Operand::Sink) => return Err(draft.invalid("`_` has no value to store")),
            (true, operand) => draft.relaxed_source_of(operand, stored(register, operand))?,
        };
        if index == 0 {
            slots.to = slot;
        } else {
            slots.from[index] = slot;
        }
    }
    slots.from[0] = base;
    let access = Access {
        offset: address.offset,
        size: ty.size(),
        count: count as u32,
        signed: ty.is_signed(),
        wide,
        strength,
    };
    slots.extra = access.pack();
    if matches!(space, Space::Shared | Space::Generic) {
        draft.note_shared_access(ty.size() * count as u32);
    }
    let (run, class): (WarpFunction, Class) = match (space, store) {
        (Space::Global, false) => (ld_global, Class::LoadGlobal),
        (Space::Global, true) => (st_global, Class::StoreGlobal),
        (Space::Shared, false) if in_cluster => (ld_cluster, Class::LoadShared),
        (Space::Shared, true) if in_cluster => (st_cluster, Class::StoreShared),
        (Space::Shared, false) => (ld_shared, Class::LoadShared),
        (Space::Shared, true) => (st_shared, Class::StoreShared),
        (Space::Local, false) => (ld_local, Class::Local),
        (Space::Local, true) => (st_local, Class::Local),
        (Space::Constant, false) => (ld_constant, Class::Constant),
        (Space::Parameter, false) => (ld_parameter, Class::Constant),
        (Space::Generic, false) => (ld_generic, Class::LoadGlobal),
        (Space::Generic, true) => (st_generic, Class::StoreGlobal),
        (Space::Constant | Space::Parameter, true) => {
            return Err(draft.invalid(format!("a store to read-only {space} memory")));
        }
    };
    // Passing a parameter is a move between frames, not traffic to local memory.
    let class = if class_space == Space::Parameter && class == Class::Local {
        Class::Move
    } else {
        class
    };
    draft.emit(Action::Warp(run), slots, class, 0)
}

/// The least type of a register that takes an element of at most 32 bits.
fn narrow(ty: Type) -> Type {
    match ty.size() {
        1 => Type::B8,
        2 => Type::B16,
        _ => Type::B32,
    }
}

/// The type as which a stored operand is read.
fn stored(ty: Type, operand: &Operand) -> Type {
    match operand {
        Operand::Integer(_) if ty.size() == 8 => Type::B64,
        Operand::Integer(_) => Type::B32,
        Operand::Name(_) if ty.size() < 8 => narrow(ty),
        _ => ty,
    }
}
