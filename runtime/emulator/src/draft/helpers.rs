//! Helper operations, which decoding inserts around an instruction: extensions, predicate constants, addresses.

use crate::machine::core::{Core, Stop};
use crate::machine::lanes::{LaneFunction, Lanes, each, function, lanes};
use crate::machine::program::Operation;
use crate::machine::registers::{FULL, Registers, Slots};
use crate::machine::warp::Warp;
use crate::parse::syntax::Type;

lanes! {
    /// The low half of a 64-bit register.
    Truncate(a: u64) -> u32 { a as u32 }
    High(a: u64) -> u32 { (a >> 32) as u32 }
    Extend(a: u32) -> u64 { a.into() }
    U8To32(a: u8) -> u32 { a.into() }
    S8To32(a: i8) -> i32 { a.into() }
    U16To32(a: u16) -> u32 { a.into() }
    S16To32(a: i16) -> i32 { a.into() }
    U8To64(a: u8) -> u64 { a.into() }
    S8To64(a: i8) -> i64 { a.into() }
    U16To64(a: u16) -> u64 { a.into() }
    S16To64(a: i16) -> i64 { a.into() }
    S32To64(a: i32) -> i64 { a.into() }
    AddOffset(a: u64; offset) -> u64 { a.wrapping_add(offset) }
}

/// The function that extends a value of a type to a register's width; `None` if the register has the type's width.
pub(crate) fn extension(ty: Type, register: Type) -> Option<LaneFunction> {
    Some(match (ty.size(), register.size(), ty.is_signed()) {
        // A register of 8 or 16 bits takes a row of 32.
        (1, 2 | 4, false) => function::<U8To32>(),
        (1, 2 | 4, true) => function::<S8To32>(),
        (2, 4, false) => function::<U16To32>(),
        (2, 4, true) => function::<S16To32>(),
        (1, 8, false) => function::<U8To64>(),
        (1, 8, true) => function::<S8To64>(),
        (2, 8, false) => function::<U16To64>(),
        (2, 8, true) => function::<S16To64>(),
        (4, 8, false) => function::<Extend>(),
        (4, 8, true) => function::<S32To64>(),
        _ => return None,
    })
}

/// Sets a predicate to a constant.
pub(crate) struct ConstantPredicate;

impl Lanes for ConstantPredicate {
    #[inline(always)]
    fn run(registers: &mut Registers, slots: &Slots, mask: u32) {
        registers.set_predicate(slots.to, if slots.extra != 0 { FULL } else { 0 }, mask);
    }
}

/// Reads the clock: the number of instructions run on this host thread, which is the same in every run of one block.
pub(crate) fn read_clock(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    core.clock += 1;
    let now = core.clock;
    let row = warp.registers.wide_mut(operation.slots.to);
    each(mask, |lane| row[lane] = now);
    Ok(())
}

/// Computes the address in local memory of a variable in the running frame.
pub(crate) fn frame_address(_: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let bases = warp.local_bases;
    let row = warp.registers.wide_mut(operation.slots.to);
    each(mask, |lane| {
        row[lane] = u64::from(bases[lane]).wrapping_add(operation.slots.extra)
    });
    Ok(())
}

/// Does nothing, for instructions that have no effect in the emulator.
pub(crate) struct Nothing;

impl Lanes for Nothing {
    fn run(_: &mut Registers, _: &Slots, _: u32) {}
}
