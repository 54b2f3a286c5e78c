//! `mma.sync`: the product of two matrices whose elements are distributed over a warp.
//!
//! With g = lane / 4, t = lane % 4, and e elements in a register, register r of an operand holds
//! - A: row g + 8 (r mod 2), columns e t + 4 e (r / 2) onwards; if A has eight rows, row g, columns e t + 4 e r
//!   onwards;
//! - B: rows e t + 4 e r onwards, column g;
//! - C, D: row g + 8 (r / 2), column 2 t + (r mod 2) (32-bit and wider), or row g + 8 r, columns 2 t and 2 t + 1
//!   (pairs).

use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::{Action, WarpFunction};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::{LANES, Registers, Slot, Slots};
use crate::machine::warp::Warp;
use crate::numerics::tensor::{Arithmetic, COLUMNS, ELEMENTS, Element, Left, Right, multiply};
use crate::parse::syntax::{Operand, Type};

/// A product's shape and types: the head of its list, ahead of the slots of D, A, B and C.
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

    /// The numbers of registers of D, A, B and C.
    fn registers(&self) -> [usize; 4] {
        let count = |elements: usize, element: Element| elements / per_register(element) / LANES;
        [
            count(self.m * COLUMNS, self.d),
            count(self.m * self.k, self.a),
            count(self.k * COLUMNS, self.b),
            count(self.m * COLUMNS, self.c),
        ]
    }

    /// The row and the column in A of element `index` of register `r`.
    #[inline(always)]
    fn position_in_a(&self, lane: usize, r: usize, index: usize) -> (usize, usize) {
        let (g, t, e) = (lane / 4, lane % 4, per_register(self.a));
        let (rows, along) = if self.m == 8 { (0, r) } else { (8 * (r % 2), r / 2) };
        (g + rows, e * t + 4 * e * along + index)
    }
}

/// The number of elements in a register.
#[inline(always)]
pub(super) fn per_register(element: Element) -> usize {
    (32 / element.bits()).max(1) as usize
}

/// The element `index` of a register, in every lane.
#[inline(always)]
fn elements(registers: &Registers, slot: Slot, element: Element, index: usize) -> [f64; LANES] {
    if element == Element::F64 {
        registers.wide(slot).map(f64::from_bits)
    } else {
        element.values(registers.row(slot), index)
    }
}

fn run(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let launch = core.launch;
    let list = &launch.program.lists[operation.slots.extra as usize];
    let product = Product::unpack(list);
    let [d_count, a_count, b_count, _] = product.registers();
    let (d_slots, rest) = list[HEAD..].split_at(d_count);
    let (a_slots, rest) = rest.split_at(a_count);
    let (b_slots, c_slots) = rest.split_at(b_count);
    let registers = &warp.registers;
    let mut left = [Left::EMPTY; 16];
    let mut right = Right::EMPTY;
    let mut sums: Sums = [[0.0; COLUMNS]; 16];
    for (r, slot) in a_slots.iter().enumerate() {
        for index in 0..per_register(product.a) {
            let values = elements(registers, *slot, product.a, index);
            for (lane, value) in values.into_iter().enumerate() {
                let (row, k) = product.position_in_a(lane, r, index);
                left[row].set(k, value, product.a);
            }
        }
    }
    for (r, slot) in b_slots.iter().enumerate() {
        let e = per_register(product.b);
        for index in 0..e {
            let values = elements(registers, *slot, product.b, index);
            for (lane, value) in values.into_iter().enumerate() {
                right.set(e * (lane % 4) + 4 * e * r + index, lane / 4, value, product.b);
            }
        }
    }
    load_sums(registers, c_slots, product.c, &mut sums);
    let arithmetic = Arithmetic::new(launch.tensor_cores, product.a, product.d, product.k, false);
    multiply(
        arithmetic,
        product.k,
        &left[..product.m],
        &right,
        &mut sums[..product.m],
    );
    if core.count() {
        core.counts
            .add_matrix_flops((2 * COLUMNS * product.m * product.k) as u64, product.a.bits());
    }
    store_sums(&mut warp.registers, d_slots, product.d, product.saturates, mask, &sums);
    Ok(())
}

/// Sums of up to sixteen rows and eight columns.
pub(super) type Sums = [[f64; COLUMNS]; 16];

/// The row and the column in C or D of element `index` of register `r`.
#[inline(always)]
fn position_of_sum(element: Element, lane: usize, r: usize, index: usize) -> (usize, usize) {
    let (g, t) = (lane / 4, lane % 4);
    if element == Element::F16 {
        (g + 8 * r, 2 * t + index)
    } else {
        (g + 8 * (r / 2), 2 * t + r % 2)
    }
}

pub(super) fn load_sums(registers: &Registers, slots: &[Slot], element: Element, sums: &mut Sums) {
    for (r, slot) in slots.iter().enumerate() {
        for index in 0..per_register(element) {
            let values = elements(registers, *slot, element, index);
            for (lane, value) in values.into_iter().enumerate() {
                let (row, column) = position_of_sum(element, lane, r, index);
                sums[row][column] = value;
            }
        }
    }
}

pub(super) fn store_sums(
    registers: &mut Registers,
    slots: &[Slot],
    element: Element,
    saturates: bool,
    mask: u32,
    sums: &Sums,
) {
    for (r, slot) in slots.iter().enumerate() {
        let sum = |lane: usize, index: usize| {
            let (row, column) = position_of_sum(element, lane, r, index);
            sums[row][column]
        };
        if element == Element::F64 {
            let row = registers.wide_mut(*slot);
            each(mask, |lane| row[lane] = sum(lane, 0).to_bits());
            continue;
        }
        let row = registers.row_mut(*slot);
        each(mask, |lane| {
            row[lane] = (0..per_register(element)).fold(0, |word, index| {
                word | element.stored(sum(lane, index), saturates) << (16 * index)
            });
        });
    }
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    draft.ignore(&["aligned"]);
    if !draft.take("sync") {
        return Err(draft.unsupported("a matrix product without `.sync`"));
    }
    let shape = draft.take_any(&["m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32", "m8n8k4", "m8n8k16"]);
    if !draft.take("row") || !draft.take("col") {
        return Err(draft.unsupported("layouts other than row × column"));
    }
    let saturates = draft.take("satfinite");
    let (m, k) = match shape {
        Some("m16n8k4") => (16, 4),
        Some("m16n8k8") => (16, 8),
        Some("m16n8k16") => (16, 16),
        Some("m16n8k32") => (16, 32),
        Some("m8n8k4") => (8, 4),
        Some(_) => (8, 16),
        None => return Err(draft.unsupported("this shape")),
    };
    let mut types = Vec::new();
    for name in draft.take_rest() {
        match Element::named(name) {
            Some(element) => types.push(element),
            None => return Err(draft.unsupported(format!("`.{name}`"))),
        }
    }
    let [d, a, b, c] = types[..] else {
        return Err(draft.unsupported("other than four types"));
    };
    let fits = d == c
        && match a {
            Element::F16 => b == a && m == 16 && matches!(k, 8 | 16) && matches!(d, Element::F16 | Element::F32),
            Element::Bf16 => b == a && m == 16 && matches!(k, 8 | 16) && d == Element::F32,
            Element::Tf32 => b == a && m == 16 && matches!(k, 4 | 8) && d == Element::F32,
            Element::S8 | Element::U8 => {
                matches!(b, Element::S8 | Element::U8) && matches!((m, k), (8 | 16, 16) | (16, 32)) && d == Element::S32
            }
            Element::E4m3 | Element::E5m2 => {
                matches!(b, Element::E4m3 | Element::E5m2)
                    && m == 16
                    && matches!(k, 16 | 32)
                    && matches!(d, Element::F32 | Element::F16)
            }
            Element::F64 => b == a && d == a && matches!((m, k), (8, 4) | (16, 4 | 8 | 16)),
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
    draft.arity(4..=4)?;
    let mut list = product.pack();
    for (index, (count, element)) in product.registers().into_iter().zip([d, a, b, c]).enumerate() {
        list.extend(registers(draft, index, count, element, index == 0)?);
    }
    emit(draft, run, list)
}

/// The registers of a matrix operand.
pub(super) fn registers(
    draft: &mut Draft<'_, '_>,
    index: usize,
    count: usize,
    element: Element,
    written: bool,
) -> Result<Vec<Slot>, Error> {
    let operands = draft.elements(index)?;
    if operands.len() != count {
        let message = format!(
            "{} registers in operand {} instead of {count}",
            operands.len(),
            index + 1
        );
        return Err(draft.invalid(message));
    }
    let ty = if element == Element::F64 { Type::F64 } else { Type::B32 };
    let register = |operand: &Operand| {
        if written {
            draft.target_of(operand, ty)
        } else {
            draft.source_of(operand, ty)
        }
    };
    operands.into_iter().map(register).collect()
}

/// Emits a product of all threads of a warp.
pub(super) fn emit(draft: &mut Draft<'_, '_>, run: WarpFunction, list: Vec<u32>) -> Result<(), Error> {
    let extra = draft.add_list(list);
    let all = draft.narrow_constant(u32::MAX);
    let slots = Slots {
        extra,
        ..Slots::default()
    };
    draft.emit(Action::Collective(run, all), slots, Class::Matrix, 0)
}
