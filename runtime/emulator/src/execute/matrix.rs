//! Moves of 8×8 matrices that are distributed over a warp: `ldmatrix`, `stmatrix` and `movmatrix`.

use super::memory::{SharedAccess, addresses, check_shared, watch_store};
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::{Action, WarpFunction};
use crate::machine::address::{SHARED_WINDOW, space_of};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::{LANES, Slot, Slots};
use crate::machine::shared::Strength;
use crate::machine::warp::Warp;
use crate::parse::syntax::{Space, Type};
use crate::sanitize::FindingKind;

/// `extra` of a matrix move: the number of matrices (1, 2 or 4) in bits 0 to 7, these flags, and the address's offset
/// from bit 32 on.
const TRANSPOSED: u64 = 1 << 8;
/// The addresses are generic.
const GENERIC: u64 = 1 << 9;

/// The addresses of the matrices' rows of 16 bytes, where lane 8 m + r has that of row r of matrix m, and the mask of
/// the lanes whose address is in shared memory.
fn rows(core: &mut Core<'_>, warp: &Warp, operation: &Operation, mask: u32) -> Result<([u64; LANES], u32), Stop> {
    let extra = operation.slots.extra;
    let mut addresses = addresses(warp, &operation.slots, (extra >> 32) as i32);
    let mut inside = mask & low_lanes(8 * (extra as usize & 0xff));
    if extra & GENERIC != 0 {
        for (lane, address) in addresses
            .iter_mut()
            .enumerate()
            .filter(|(lane, _)| mask >> lane & 1 != 0)
        {
            let space = space_of(*address);
            if space == Space::Shared {
                *address -= SHARED_WINDOW;
            } else if inside >> lane & 1 != 0 {
                inside &= !(1 << lane);
                let message = format!("a row of a matrix at {address:#x}, in {space} memory");
                core.wrong_access(FindingKind::OutOfBounds, warp, operation, lane, (*address, 16), message)?;
            }
        }
    }
    Ok((addresses, inside))
}

/// The registers of a matrix move.
fn fragments(slots: &Slots) -> [Slot; 4] {
    [slots.to, slots.from[1], slots.from[2], slots.from[3]]
}

fn load_matrices(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let slots = operation.slots;
    let count = slots.extra as usize & 0xff;
    let (addresses, wanted) = rows(core, warp, operation, mask)?;
    let good = check_shared(core, warp, operation, &addresses, 16, wanted, SharedAccess::Matrix)?;
    for (matrix, slot) in fragments(&slots).into_iter().enumerate().take(count) {
        let mut elements = [[0u16; 8]; 8];
        for (row, elements) in elements.iter_mut().enumerate() {
            let lane = 8 * matrix + row;
            if good >> lane & 1 != 0 {
                let at = addresses[lane] as usize;
                for (column, element) in elements.iter_mut().enumerate() {
                    *element = u16::from_le_bytes([
                        core.shared.bytes[at + 2 * column],
                        core.shared.bytes[at + 2 * column + 1],
                    ]);
                }
            }
        }
        let fragment = spread(&elements, slots.extra & TRANSPOSED != 0);
        let row = warp.registers.row_mut(slot);
        each(mask, |lane| row[lane] = fragment[lane]);
    }
    Ok(())
}

fn store_matrices(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let slots = operation.slots;
    let count = slots.extra as usize & 0xff;
    let (addresses, wanted) = rows(core, warp, operation, mask)?;
    let good = check_shared(core, warp, operation, &addresses, 16, wanted, SharedAccess::Store)?;
    each(good, |lane| {
        watch_store(
            core,
            warp,
            operation,
            (addresses[lane], 16),
            lane,
            Strength::WEAK,
            false,
        )
    });
    for (matrix, slot) in fragments(&slots).into_iter().enumerate().take(count) {
        let elements = gather(warp.registers.row(slot), slots.extra & TRANSPOSED != 0);
        for (row, elements) in elements.iter().enumerate() {
            let lane = 8 * matrix + row;
            if good >> lane & 1 != 0 {
                let at = addresses[lane] as usize;
                for (column, element) in elements.iter().enumerate() {
                    core.shared.bytes[at + 2 * column..at + 2 * column + 2].copy_from_slice(&element.to_le_bytes());
                }
            }
        }
    }
    Ok(())
}

fn transpose_matrix(_: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let slots = operation.slots;
    let fragment = spread(&gather(warp.registers.row(slots.from[0]), false), true);
    let row = warp.registers.row_mut(slots.to);
    each(mask, |lane| row[lane] = fragment[lane]);
    Ok(())
}

fn low_lanes(count: usize) -> u32 {
    ((1u64 << count) - 1) as u32
}

/// The fragment of an 8×8 matrix: each lane holds two elements of a row, or of a column if it is transposed.
fn spread(elements: &[[u16; 8]; 8], transposed: bool) -> [u32; LANES] {
    std::array::from_fn(|lane| {
        let (g, t) = (lane / 4, lane % 4 * 2);
        let (low, high) = if transposed {
            (elements[t][g], elements[t + 1][g])
        } else {
            (elements[g][t], elements[g][t + 1])
        };
        u32::from(low) | u32::from(high) << 16
    })
}

/// The matrix of a fragment: the inverse of [`spread`].
fn gather(fragment: &[u32; LANES], transposed: bool) -> [[u16; 8]; 8] {
    let mut elements = [[0; 8]; 8];
    for (lane, pair) in fragment.iter().enumerate() {
        let (g, t) = (lane / 4, lane % 4 * 2);
        let (low, high) = (*pair as u16, (*pair >> 16) as u16);
        if transposed {
            (elements[t][g], elements[t + 1][g]) = (low, high);
        } else {
            (elements[g][t], elements[g][t + 1]) = (low, high);
        }
    }
    elements
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    draft.ignore(&["aligned"]);
    if !draft.take("sync") {
        return Err(draft.unsupported("matrix instructions without `.sync`"));
    }
    match draft.name() {
        "movmatrix" => {
            if !draft.take("m8n8") || !draft.take("trans") {
                return Err(draft.unsupported("this shape"));
            }
            draft.ty()?;
            let from = draft.source(1, Type::B32)?;
            let to = draft.target(0, Type::B32)?;
            let all = draft.narrow_constant(u32::MAX);
            draft.emit(
                Action::Collective(transpose_matrix, all),
                Slots {
                    to,
                    from: [from, 0, 0, 0],
                    extra: 0,
                },
                Class::Shuffle,
                0,
            )
        }
        name => {
            let store = name == "stmatrix";
            if !draft.take("m8n8") || !draft.take("b16") {
                return Err(draft.unsupported("this shape"));
            }
            let count = match draft.take_any(&["x1", "x2", "x4"]) {
                Some("x1") => 1,
                Some("x2") => 2,
                Some(_) => 4,
                None => return Err(draft.invalid("the number of matrices is missing")),
            };
            let transposed = draft.take("trans");
            let named = draft.take_any(&["shared::cta", "shared"]).is_some();
            draft.arity(2..=2)?;
            let address = draft.address(usize::from(!store))?;
            let flags = match (named, address.space) {
                // A variable's name is an address in the variable's space.
                (true, _) | (false, Some(Space::Shared)) => 0,
                (false, None) => GENERIC,
                (false, Some(space)) => return Err(draft.invalid(format!("matrices in {space} memory"))),
            } | if transposed { TRANSPOSED } else { 0 };
            let registers = draft.elements(usize::from(store))?;
            if registers.len() != count {
                return Err(draft.invalid(format!("{} registers for {count} matrices", registers.len())));
            }
            let mut slots = Slots {
                to: 0,
                from: [address.base, 0, 0, 0],
                extra: count as u64 | flags | u64::from(address.offset as u32) << 32,
            };
            for (index, operand) in registers.into_iter().enumerate() {
                let slot = if store {
                    draft.source_of(operand, Type::B32)?
                } else {
                    draft.target_of(operand, Type::B32)?
                };
                *(if index == 0 {
                    &mut slots.to
                } else {
                    &mut slots.from[index]
                }) = slot;
            }
            let all = draft.narrow_constant(u32::MAX);
            let (run, class): (WarpFunction, Class) = if store {
                (store_matrices, Class::StoreShared)
            } else {
                (load_matrices, Class::LoadShared)
            };
            draft.emit(Action::Collective(run, all), slots, class, 0)
        }
    }
}
