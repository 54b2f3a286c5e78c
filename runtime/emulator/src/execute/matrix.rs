//! Matrices spread over a warp: `ldmatrix`, `stmatrix`, `movmatrix` and `mma.sync`.
//!
//! With g = lane / 4 and t = lane % 4, and e elements in a register, register r of an operand holds
//! - A: row g + 8 (r mod 2), columns e t + 4 e (r / 2) onwards;
//! - B: rows e t + 4 e r onwards, column g;
//! - C, D: row g + 8 (r / 2), column 2 t + (r mod 2) (32-bit and wider), or row g + 8 r, columns 2 t and 2 t + 1 (pairs).
//!
//! Products of floats and their sum with C are exact to f64 and rounded once. Hardware truncates in between (24 or
//! 25 fractional bits), so its results differ in the last bits; which ones is not documented.

use super::lanes::{Slots, each};
use super::memory::{SharedAccess, check_shared, watch_store};
use crate::count::Class;
use crate::decode::Draft;
use crate::error::Error;
use crate::machine::registers::{LANES, Slot};
use crate::machine::warp::Warp;
use crate::machine::{Core, Stop};
use crate::numerics::exact::{Format, Rounding};
use crate::numerics::{bf16_to_f32, f16_to_f32, round_f64};
use crate::parse::syntax::{Operand, Type};
use crate::program::{Action, Operation};

/// `extra` of matrix moves: matrices (1, 2, 4) in bits 0..8, transposition in bit 8, the address's offset from bit 32.
const TRANSPOSED: u64 = 1 << 8;

/// Rows of the matrices, 16 bytes each: lane 8 m + r has the address of row r of matrix m.
fn rows(warp: &Warp, slots: &Slots) -> [u64; LANES] {
    warp.registers
        .wide(slots.from[0])
        .map(|base| base.wrapping_add((slots.extra >> 32) as i32 as i64 as u64))
}

/// Registers of a matrix move.
fn fragments(slots: &Slots) -> [Slot; 4] {
    [slots.to, slots.from[1], slots.from[2], slots.from[3]]
}

fn load_matrices(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let slots = operation.slots;
    let count = slots.extra as usize & 0xff;
    let addresses = rows(warp, &slots);
    let wanted = mask & low_lanes(8 * count);
    let good = check_shared(core, warp, operation, &addresses, 16, wanted, SharedAccess::Load)?;
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
    let addresses = rows(warp, &slots);
    let wanted = mask & low_lanes(8 * count);
    let good = check_shared(core, warp, operation, &addresses, 16, wanted, SharedAccess::Store)?;
    each(good, |lane| {
        watch_store(core, warp, operation, addresses[lane], 16, lane, false)
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

/// An 8×8 matrix as a warp holds it: two elements of a row (or, transposed, of a column) per lane.
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

/// The inverse of `spread`.
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

/// The element types of matrix products.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u32)]
pub(super) enum Element {
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
    S8,
    U8,
    S32,
    E4m3,
    E5m2,
}

pub(super) const ELEMENTS: [(&str, Element, u32); 10] = [
    ("f16", Element::F16, 16),
    ("bf16", Element::Bf16, 16),
    ("tf32", Element::Tf32, 32),
    ("f32", Element::F32, 32),
    ("f64", Element::F64, 64),
    ("s8", Element::S8, 8),
    ("u8", Element::U8, 8),
    ("s32", Element::S32, 32),
    ("e4m3", Element::E4m3, 8),
    ("e5m2", Element::E5m2, 8),
];

impl Element {
    pub fn bits(self) -> u32 {
        ELEMENTS[self as usize].2
    }

    /// The value of an element's bits.
    #[inline(always)]
    pub fn value(self, bits: u64) -> f64 {
        match self {
            Element::F16 => f16_to_f32(bits as u16).into(),
            Element::Bf16 => bf16_to_f32(bits as u16).into(),
            // The low 13 bits are ignored.
            Element::Tf32 => f32::from_bits(bits as u32 & !0x1fff).into(),
            Element::F32 => f32::from_bits(bits as u32).into(),
            Element::F64 => f64::from_bits(bits),
            Element::S8 => f64::from(bits as i8),
            Element::U8 => f64::from(bits as u8),
            Element::S32 => f64::from(bits as i32),
            // No infinities: all ones is NaN, the rest is finite.
            Element::E4m3 => {
                let magnitude = bits & 0x7f;
                let value = match magnitude {
                    0x7f => f64::NAN,
                    0..8 => magnitude as f64 * 2f64.powi(-9),
                    _ => (8 + (magnitude & 7)) as f64 * 2f64.powi((magnitude >> 3) as i32 - 10),
                };
                if bits & 0x80 != 0 { -value } else { value }
            }
            // The upper half of an f16.
            Element::E5m2 => f16_to_f32((bits as u16 & 0xff) << 8).into(),
        }
    }
}

/// What a product looks like: the head of its list, before the slots of D, A, B and C.
struct Product {
    m: usize,
    k: usize,
    d: Element,
    a: Element,
    b: Element,
    c: Element,
    saturates: bool,
}

const HEAD: usize = 7;

impl Product {
    fn pack(&self) -> Vec<u32> {
        let elements = [self.d, self.a, self.b, self.c].map(|element| element as u32);
        let mut list = vec![self.m as u32, self.k as u32, u32::from(self.saturates)];
        list.extend(elements);
        list
    }

    fn unpack(list: &[u32]) -> Product {
        let element = |index: usize| ELEMENTS[list[index] as usize].1;
        Product {
            m: list[0] as usize,
            k: list[1] as usize,
            saturates: list[2] != 0,
            d: element(3),
            a: element(4),
            b: element(5),
            c: element(6),
        }
    }

    /// Registers of A, B and the accumulators.
    fn registers(&self) -> (usize, usize, usize, usize) {
        let register_bits = |element: Element| element.bits().max(32) as usize;
        let count =
            |elements: usize, element: Element| elements * element.bits() as usize / register_bits(element) / LANES;
        (
            count(self.m * 8, self.d),
            count(self.m * self.k, self.a),
            count(self.k * 8, self.b),
            count(self.m * 8, self.c),
        )
    }
}

const MOST: usize = 64;

fn multiply(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let launch = core.launch;
    let list = &launch.program.lists[operation.slots.extra as usize];
    let product = Product::unpack(list);
    let (d_count, a_count, b_count, c_count) = product.registers();
    let slots = &list[HEAD..];
    let (d_slots, rest) = slots.split_at(d_count);
    let (a_slots, rest) = rest.split_at(a_count);
    let (b_slots, c_slots) = rest.split_at(b_count);
    let registers = &warp.registers;
    let read = |slot: Slot, lane: usize, element: Element| {
        if element.bits() == 64 {
            registers.wide(slot)[lane]
        } else {
            registers.row(slot)[lane].into()
        }
    };
    let mut a = [[0f64; MOST]; 16];
    let mut b = [[0f64; 8]; MOST];
    let mut c = [[0f64; 8]; 16];
    for lane in 0..LANES {
        let (g, t) = (lane / 4, lane % 4);
        let each_element = |element: Element| {
            let count = (32 / element.bits()).max(1) as usize;
            (0..count, move |word: u64, index: usize| {
                element.value(if element.bits() >= 32 {
                    word
                } else {
                    word >> (element.bits() as usize * index)
                })
            })
        };
        for (r, slot) in a_slots.iter().enumerate() {
            let (range, value) = each_element(product.a);
            let e = range.len();
            // In eight rows, all registers go along the columns.
            let (row, column) = if product.m == 8 {
                (g, e * t + 4 * e * r)
            } else {
                (g + 8 * (r & 1), e * t + 4 * e * (r >> 1))
            };
            let word = read(*slot, lane, product.a);
            range.for_each(|index| a[row][column + index] = value(word, index));
        }
        for (r, slot) in b_slots.iter().enumerate() {
            let (range, value) = each_element(product.b);
            let e = range.len();
            let word = read(*slot, lane, product.b);
            range.for_each(|index| b[e * t + 4 * e * r + index][g] = value(word, index));
        }
        for (r, slot) in c_slots.iter().enumerate().take(c_count) {
            let word = read(*slot, lane, product.c);
            if product.c == Element::F16 {
                for index in 0..2 {
                    c[g + 8 * r][2 * t + index] = product.c.value(word >> (16 * index));
                }
            } else {
                c[g + 8 * (r >> 1)][2 * t + (r & 1)] = product.c.value(word);
            }
        }
    }
    if core.count() {
        core.counts.matrix_flops += 2 * 8 * (product.m * product.k) as u64;
    }
    // Sums of 8-bit integers are exact in f64, and so are theirs with a 32-bit one.
    for row in 0..product.m {
        for k in 0..product.k {
            let factor = a[row][k];
            for column in 0..8 {
                c[row][column] = factor.mul_add(b[k][column], c[row][column]);
            }
        }
    }
    for (r, slot) in d_slots.iter().enumerate() {
        match product.d {
            Element::F64 => {
                let row = warp.registers.wide_mut(*slot);
                each(mask, |lane| {
                    row[lane] = c[lane / 4 + 8 * (r >> 1)][lane % 4 * 2 + (r & 1)].to_bits()
                });
            }
            Element::F16 => {
                let half = |value: f64| round_f64(value, Format::F16, Rounding::Nearest) as u32;
                let row = warp.registers.row_mut(*slot);
                each(mask, |lane| {
                    let values = &c[lane / 4 + 8 * r][lane % 4 * 2..];
                    row[lane] = half(values[0]) | half(values[1]) << 16;
                });
            }
            _ => {
                let row = warp.registers.row_mut(*slot);
                each(mask, |lane| {
                    let value = c[lane / 4 + 8 * (r >> 1)][lane % 4 * 2 + (r & 1)];
                    row[lane] = match (product.d, product.saturates) {
                        (Element::S32, true) => value as i32 as u32,
                        (Element::S32, false) => value as i64 as u32,
                        _ => super::float::canonical(value as f32).to_bits(),
                    };
                });
            }
        }
    }
    Ok(())
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    draft.ignore(&["aligned"]);
    if !draft.take("sync") {
        return Err(draft.unsupported("matrix instructions without `.sync`"));
    }
    match draft.name() {
        "mma" => product(draft),
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
            if draft.take_any(&["shared::cta", "shared"]).is_none() {
                return Err(draft.unsupported("matrices outside shared memory"));
            }
            draft.arity(2..=2)?;
            let address = draft.address(usize::from(!store))?;
            let registers = draft.elements(usize::from(store))?;
            if registers.len() != count {
                return Err(draft.invalid(format!("{} registers for {count} matrices", registers.len())));
            }
            let mut slots = Slots {
                to: 0,
                from: [address.base, 0, 0, 0],
                extra: count as u64 | if transposed { TRANSPOSED } else { 0 } | u64::from(address.offset as u32) << 32,
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
            let (run, class): (crate::program::Machine, Class) = if store {
                (store_matrices, Class::StoreShared)
            } else {
                (load_matrices, Class::LoadShared)
            };
            draft.emit(Action::Collective(run, all), slots, class, 0)
        }
    }
}

fn product(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let shape = draft.take_any(&["m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32", "m8n8k4"]);
    if !draft.take("row") || !draft.take("col") {
        return Err(draft.unsupported("layouts other than row × column"));
    }
    let saturates = draft.take("satfinite");
    let (m, k) = match shape {
        Some("m16n8k4") => (16, 4),
        Some("m16n8k8") => (16, 8),
        Some("m16n8k16") => (16, 16),
        Some("m16n8k32") => (16, 32),
        Some(_) => (8, 4),
        None => return Err(draft.unsupported("this shape")),
    };
    let names = draft.take_rest();
    let mut elements = Vec::new();
    for name in &names {
        match ELEMENTS.iter().find(|(known, ..)| known == name) {
            Some((_, element, _)) => elements.push(*element),
            None => return Err(draft.unsupported(format!("`.{name}`"))),
        }
    }
    let [d, a, b, c] = elements[..] else {
        return Err(draft.unsupported("other than four types"));
    };
    let fits = match a {
        Element::F16 => b == a && m == 16 && matches!(k, 8 | 16) && matches!(d, Element::F16 | Element::F32) && d == c,
        Element::Bf16 => b == a && m == 16 && matches!(k, 8 | 16) && (d, c) == (Element::F32, Element::F32),
        Element::Tf32 => b == a && m == 16 && matches!(k, 4 | 8) && (d, c) == (Element::F32, Element::F32),
        Element::S8 | Element::U8 => {
            matches!(b, Element::S8 | Element::U8)
                && m == 16
                && matches!(k, 16 | 32)
                && (d, c) == (Element::S32, Element::S32)
        }
        Element::E4m3 | Element::E5m2 => {
            matches!(b, Element::E4m3 | Element::E5m2)
                && m == 16
                && matches!(k, 16 | 32)
                && d == c
                && matches!(d, Element::F32 | Element::F16)
        }
        Element::F64 => (d, b, c) == (Element::F64, Element::F64, Element::F64) && (m == 8 || matches!(k, 4 | 8 | 16)),
        _ => false,
    };
    if !fits || (saturates && d != Element::S32) {
        return Err(draft.unsupported("this combination of shape and types"));
    }
    let product = Product {
        m,
        k,
        d,
        a,
        b,
        c,
        saturates,
    };
    let (d_count, a_count, b_count, c_count) = product.registers();
    draft.arity(4..=4)?;
    let mut list = product.pack();
    let slots = |draft: &mut Draft<'_, '_>, index: usize, count: usize, element: Element| -> Result<Vec<Slot>, Error> {
        let operands = draft.elements(index)?;
        if operands.len() != count {
            return Err(draft.invalid(format!(
                "{} registers in operand {} instead of {count}",
                operands.len(),
                index + 1
            )));
        }
        let ty = if element.bits() == 64 { Type::F64 } else { Type::B32 };
        let register = |draft: &mut Draft<'_, '_>, operand: &Operand| {
            if index == 0 {
                draft.target_of(operand, ty)
            } else {
                draft.source_of(operand, ty)
            }
        };
        operands.into_iter().map(|operand| register(draft, operand)).collect()
    };
    for (index, count, element) in [(0, d_count, d), (1, a_count, a), (2, b_count, b), (3, c_count, c)] {
        list.extend(slots(draft, index, count, element)?);
    }
    let extra = draft.add_list(list);
    let all = draft.narrow_constant(u32::MAX);
    draft.emit(
        Action::Collective(multiply, all),
        Slots {
            extra,
            ..Slots::default()
        },
        Class::Matrix,
        0,
    )
}
