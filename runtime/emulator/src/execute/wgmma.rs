//! `wgmma`: products of a warp group (four warps), with operands in shared memory.
//!
//! Each warp computes its sixteen rows when it issues the instruction. `wgmma.wait_group` waits until all warps of the
//! group have issued the products to wait for, after which all of their reads are done. The sanitizer reports uses of a
//! result before that, and writes to operands in shared memory that nothing orders after the product's reads.

use super::memory::report_race;
use super::mma::{Sums, load_sums, per_register, store_sums};
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::Action;
use crate::machine::core::{Core, Stop};
use crate::machine::program::Operation;
use crate::machine::registers::{Cell, FULL, Slot, Slots};
use crate::machine::warp::Warp;
use crate::numerics::tensor::{Arithmetic, COLUMNS, ELEMENTS, Element, Left, Right, multiply as multiply_matrices};
use crate::parse::syntax::{Operand, Type};
use crate::sanitize::FindingKind;

/// Bytes of an operand along K.
const ROW: usize = 32;

/// Warps of a warp group.
const WARPS: usize = 4;

/// A product's shape and types: the head of its list, ahead of the slots of D, A and B.
struct GroupProduct {
    n: usize,
    d: Element,
    a: Element,
    b: Element,
    flags: u32,
    /// The predicate `scale-d`: D is added to if it is true, else overwritten.
    keeps: Slot,
}

/// Flags of a product.
const TRANSPOSED_A: u32 = 1;
const TRANSPOSED_B: u32 = 2;
const NEGATED_A: u32 = 4;
const NEGATED_B: u32 = 8;
const SATURATES: u32 = 16;
const A_IN_REGISTERS: u32 = 32;
const KEEPS_NEGATED: u32 = 64;
const HEAD: usize = 6;

impl GroupProduct {
    fn pack(&self) -> Vec<u32> {
        vec![
            self.n as u32,
            self.d as u32,
            self.a as u32,
            self.b as u32,
            self.flags,
            self.keeps,
        ]
    }

    fn unpack(list: &[u32]) -> GroupProduct {
        let element = |index: usize| ELEMENTS[list[index] as usize].1;
        GroupProduct {
            n: list[0] as usize,
            d: element(1),
            a: element(2),
            b: element(3),
            flags: list[4],
            keeps: list[5],
        }
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The number of elements along K.
    fn k(&self) -> usize {
        ROW * 8 / self.a.bits() as usize
    }

    fn result_registers(&self) -> usize {
        self.n / if self.d == Element::F16 { 4 } else { 2 }
    }
}

/// A matrix descriptor: the layout of a matrix in shared memory.
struct Descriptor {
    start: u64,
    leading: u64,
    stride: u64,
    /// Bytes of a swizzled row; `None` if the matrix is not swizzled.
    swizzle: Option<u64>,
}

impl Descriptor {
    fn new(bits: u64) -> Descriptor {
        let field = |from: u32| (bits >> from & 0x3fff) << 4;
        let swizzle = [None, Some(128), Some(64), Some(32)][(bits >> 62) as usize];
        Descriptor {
            start: field(0),
            leading: field(16),
            stride: field(32),
            swizzle,
        }
    }

    /// The address of a chunk of 16 bytes: chunk `chunk` along K of row `row`; in a transposed matrix chunk `chunk`
    /// along the rows, at index `row` along K.
    fn address(&self, row: usize, chunk: usize, transposed: bool) -> u64 {
        let (row, chunk) = (row as u64, chunk as u64);
        match (self.swizzle, transposed) {
            (None, false) => self.start + row / 8 * self.stride + chunk * self.leading + row % 8 * 16,
            (None, true) => self.start + chunk * self.stride + row / 8 * self.leading + row % 8 * 16,
            (Some(width), false) => swizzled(self.start + row / 8 * self.stride + row % 8 * width + chunk * 16, width),
            (Some(width), true) => {
                let across = width / 16;
                swizzled(
                    self.start
                        + chunk / across * self.leading
                        + row / 8 * self.stride
                        + row % 8 * width
                        + chunk % across * 16,
                    width,
                )
            }
        }
    }
}

/// The swizzled address: the number of the 128-byte line permutes the chunks of 16 bytes.
fn swizzled(address: u64, width: u64) -> u64 {
    address ^ (address >> 7 & (width / 16 - 1)) << 4
}

/// Reads some rows of an operand. Returns their elements row by row.
fn read_operand(
    core: &mut Core<'_>,
    warp: &Warp,
    operation: &Operation,
    bits: u64,
    element: Element,
    rows: std::ops::Range<usize>,
    transposed: bool,
) -> Result<Vec<f64>, Stop> {
    let descriptor = Descriptor::new(bits);
    let size = element.bits() as usize / 8;
    let k = ROW / size;
    let per_chunk = 16 / size;
    let mut values = vec![0.0; rows.len() * k];
    let (outer, inner) = if transposed {
        (0..k, rows.start / per_chunk..rows.end / per_chunk)
    } else {
        (rows.clone(), 0..2)
    };
    for row in outer {
        for chunk in inner.clone() {
            let address = descriptor.address(row, chunk, transposed);
            let Some(bytes) = core.shared.bytes.get(address as usize..address as usize + 16) else {
                let size = core.shared.bytes.len();
                return Err(core.fault(
                    warp,
                    operation,
                    0,
                    Some(address),
                    format!("a matrix operand at {address:#x} in the block's {size} bytes of shared memory"),
                ));
            };
            for (index, part) in bytes.chunks_exact(size).enumerate() {
                let word = part.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
                let (row, column) = if transposed {
                    (chunk * per_chunk + index, row)
                } else {
                    (row, chunk * per_chunk + index)
                };
                values[(row - rows.start) * k + column] = element.value(word);
            }
            watch(core, warp, operation, address);
        }
    }
    Ok(values)
}

fn watch(core: &mut Core<'_>, warp: &Warp, operation: &Operation, address: u64) {
    let Some(shadow) = core.shared.shadow() else { return };
    if shadow.is_copying(address as u32, 16) {
        core.find(
            FindingKind::MissingWait,
            warp,
            operation,
            0,
            Some((address, 16)),
            || format!("reads an operand at {address:#x} while an asynchronous copy to it is under way"),
        );
        return;
    }
    let index = warp.index as usize;
    let product = (index, index / WARPS, core.barriers.products[index] + 1);
    let (defined, conflict) = shadow.read_behind(product, address as u32, 16);
    if !defined {
        core.find(
            FindingKind::UninitialisedMemory,
            warp,
            operation,
            0,
            Some((address, 16)),
            || format!("reads an operand at {address:#x} in shared memory that this block never wrote"),
        );
    }
    if let Some(conflict) = conflict {
        report_race(core, warp, operation, (address, 16), 0, conflict, "reads");
    }
}

fn multiply(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    if mask != FULL {
        return Err(core.fault(warp, operation, 0, None, "a warp-group product needs whole warps"));
    }
    let launch = core.launch;
    let list = &launch.program.lists[operation.slots.extra as usize];
    let product = GroupProduct::unpack(list);
    let (n, k) = (product.n, product.k());
    let (d_slots, operands) = list[HEAD..].split_at(product.result_registers());
    let quarter = warp.index as usize % WARPS;
    let mut a = vec![0.0; 16 * k];
    if product.has(A_IN_REGISTERS) {
        let e = per_register(product.a);
        for (r, slot) in operands[..4].iter().enumerate() {
            for index in 0..e {
                let values = product.a.values(warp.registers.row(*slot), index);
                for (lane, value) in values.into_iter().enumerate() {
                    let (row, column) = (lane / 4 + 8 * (r % 2), e * (lane % 4) + 4 * e * (r / 2));
                    a[row * k + column + index] = value;
                }
            }
        }
    } else {
        let bits = u64::load_lane(&warp.registers, operands[0], 0);
        a = read_operand(
            core,
            warp,
            operation,
            bits,
            product.a,
            16 * quarter..16 * quarter + 16,
            product.has(TRANSPOSED_A),
        )?;
    }
    let bits = u64::load_lane(&warp.registers, operands[operands.len() - 1], 0);
    let b = read_operand(core, warp, operation, bits, product.b, 0..n, product.has(TRANSPOSED_B))?;
    if core.count() {
        core.counts.add_matrix_flops(2 * (16 * n * k) as u64, product.a.bits());
        let from_a = if product.has(A_IN_REGISTERS) { 0 } else { 16 * ROW };
        // The four warps share one read of B.
        let from_b = if quarter == 0 { n * ROW } else { 0 };
        core.counts.shared_load_bytes += (from_a + from_b) as u64;
    }
    let keeps = (warp.registers.predicate(product.keeps) & 1 != 0) != product.has(KEEPS_NEGATED);
    let sign = if product.has(NEGATED_A) != product.has(NEGATED_B) {
        -1.0
    } else {
        1.0
    };
    let mut left = [Left::EMPTY; 16];
    for (left, row) in left.iter_mut().zip(a.chunks_exact(k)) {
        row.iter()
            .enumerate()
            .for_each(|(index, value)| left.set(index, sign * value, product.a));
    }
    let arithmetic = Arithmetic::new(launch.tensor_cores, product.a, product.d, k, true);
    // The sums of eight columns lie in registers as those of `mma.sync` do.
    for (slots, columns) in d_slots
        .chunks_exact(d_slots.len() * COLUMNS / n)
        .zip(b.chunks_exact(COLUMNS * k))
    {
        let mut right = Right::EMPTY;
        for (column, values) in columns.chunks_exact(k).enumerate() {
            values
                .iter()
                .enumerate()
                .for_each(|(index, value)| right.set(index, column, *value, product.b));
        }
        let mut sums: Sums = [[0.0; COLUMNS]; 16];
        if keeps {
            load_sums(&warp.registers, slots, product.d, &mut sums);
        }
        multiply_matrices(arithmetic, k, &left, &right, &mut sums);
        store_sums(
            &mut warp.registers,
            slots,
            product.d,
            product.has(SATURATES),
            mask,
            &sums,
        );
    }
    core.barriers.products[warp.index as usize] += 1;
    if core.sanitize() {
        let base = warp.registers.base;
        if warp.products.is_empty() {
            warp.products.push_back(Vec::new());
        }
        if let Some(open) = warp.products.back_mut() {
            open.extend(d_slots.iter().map(|slot| base + *slot as usize));
        }
    }
    Ok(())
}

fn commit(core: &mut Core<'_>, warp: &mut Warp, _: &Operation, _: u32) -> Result<(), Stop> {
    warp.committed.push_back(core.barriers.products[warp.index as usize]);
    if core.sanitize() {
        if warp.products.is_empty() {
            warp.products.push_back(Vec::new());
        }
        warp.products.push_back(Vec::new());
    }
    Ok(())
}

/// `wgmma.wait_group`: waits for all but the last `extra` groups.
fn wait(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, _: u32) -> Result<(), Stop> {
    let index = warp.index as usize;
    let done = warp.committed.len().saturating_sub(operation.slots.extra as usize);
    if let Some(&product) = done.checked_sub(1).and_then(|last| warp.committed.get(last)) {
        let first = index / WARPS * WARPS;
        let mut group = core.barriers.products.iter().skip(first).take(WARPS);
        if group.any(|issued| *issued < product) {
            core.again = true;
            return Ok(());
        }
        warp.committed.drain(..done);
        if let Some(shadow) = core.shared.shadow() {
            shadow.order.learn_agent(index, index / WARPS, product);
        }
    }
    while warp.products.len() > operation.slots.extra as usize + 1 {
        warp.products.pop_front();
    }
    if operation.slots.extra == 0 && warp.products.iter().all(Vec::is_empty) {
        warp.products.clear();
    }
    Ok(())
}

fn fence(_: &mut Core<'_>, _: &mut Warp, _: &Operation, _: u32) -> Result<(), Stop> {
    Ok(())
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    draft.ignore(&["sync", "aligned"]);
    let all = draft.narrow_constant(u32::MAX);
    if draft.take("fence") {
        return draft.emit(Action::Collective(fence, all), Slots::default(), Class::Barrier, 0);
    }
    if draft.take("commit_group") {
        return draft.emit(Action::Collective(commit, all), Slots::default(), Class::Barrier, 0);
    }
    if draft.take("wait_group") {
        draft.arity(1..=1)?;
        let extra = draft.immediate(0)?.min(1 << 20);
        return draft.emit(
            Action::Collective(wait, all),
            Slots {
                extra,
                ..Slots::default()
            },
            Class::Barrier,
            0,
        );
    }
    if !draft.take("mma_async") {
        return Err(draft.unsupported("this operation"));
    }
    let product = take_product(draft)?;
    let list = registers(draft, &product)?;
    draft.note_shared_access(16);
    let extra = draft.add_list(list);
    let slots = Slots {
        extra,
        ..Slots::default()
    };
    draft.emit(Action::Collective(multiply, all), slots, Class::Matrix, 0)
}

/// Takes the shape and the types of a product, and reads its immediates:
/// `d, a, b, scale-d [, scale-a, scale-b [, transpose-a], transpose-b]`.
fn take_product(draft: &mut Draft<'_, '_>) -> Result<GroupProduct, Error> {
    let mut flags = if draft.take("satfinite") { SATURATES } else { 0 };
    let (n, [d, a, b]) = take_shape(draft)?;
    let in_registers = matches!(draft.operand(1)?, Operand::Vector(_));
    if in_registers {
        flags |= A_IN_REGISTERS;
    }
    let scales: &[u32] = if d == Element::S32 {
        &[]
    } else {
        &[NEGATED_A, NEGATED_B]
    };
    let transposes: &[u32] = match (a.bits(), in_registers) {
        (16, true) => &[TRANSPOSED_B],
        (16, false) => &[TRANSPOSED_A, TRANSPOSED_B],
        _ => &[],
    };
    let operands = 4 + scales.len() + transposes.len();
    draft.arity(operands..=operands)?;
    for (index, flag) in scales.iter().enumerate() {
        match draft.immediate(4 + index)? as i64 {
            1 => {}
            -1 => flags |= flag,
            other => return Err(draft.invalid(format!("a scale of {other}: 1 or -1"))),
        }
    }
    for (index, flag) in transposes.iter().enumerate() {
        if draft.immediate(6 + index)? != 0 {
            flags |= flag;
        }
    }
    let (keeps, negated) = draft.predicate_source(3)?;
    if negated {
        flags |= KEEPS_NEGATED;
    }
    Ok(GroupProduct {
        n,
        d,
        a,
        b,
        flags,
        keeps,
    })
}

/// Takes the shape `m64n…k…`, as n, and the types of D, A and B.
fn take_shape(draft: &mut Draft<'_, '_>) -> Result<(usize, [Element; 3]), Error> {
    let names = draft.take_rest();
    let [shape, types @ ..] = &names[..] else {
        return Err(draft.unsupported("a product without a shape"));
    };
    let mut elements = Vec::new();
    for name in types {
        match Element::named(name) {
            Some(element) => elements.push(element),
            None => return Err(draft.unsupported(format!("`.{name}`"))),
        }
    }
    let [d, a, b] = elements[..] else {
        return Err(draft.unsupported("other than three types"));
    };
    let size = shape
        .strip_prefix("m64n")
        .and_then(|rest| rest.split_once('k'))
        .and_then(|(n, k)| Some((n.parse::<usize>().ok()?, k.parse::<usize>().ok()?)));
    let fits = match a {
        Element::F16 => b == a && matches!(d, Element::F16 | Element::F32),
        Element::Bf16 | Element::Tf32 => b == a && d == Element::F32,
        Element::S8 | Element::U8 => matches!(b, Element::S8 | Element::U8) && d == Element::S32,
        Element::E4m3 | Element::E5m2 => {
            matches!(b, Element::E4m3 | Element::E5m2) && matches!(d, Element::F16 | Element::F32)
        }
        _ => false,
    };
    match size {
        Some((n, k)) if fits && n % 8 == 0 && (8..=256).contains(&n) && k * a.bits() as usize == ROW * 8 => {
            Ok((n, [d, a, b]))
        }
        _ => Err(draft.unsupported("this combination of shape and types")),
    }
}

/// The list of a product: the product itself, then the slots of D, A and B.
fn registers(draft: &mut Draft<'_, '_>, product: &GroupProduct) -> Result<Vec<u32>, Error> {
    let results = draft.elements(0)?;
    if results.len() != product.result_registers() {
        let (given, needed) = (results.len(), product.result_registers());
        return Err(draft.invalid(format!("{given} result registers instead of {needed}")));
    }
    let mut list = product.pack();
    for operand in results {
        list.push(draft.target_of(operand, Type::B32)?);
    }
    if product.has(A_IN_REGISTERS) {
        let registers = draft.elements(1)?;
        if registers.len() != 4 {
            return Err(draft.invalid(format!("{} registers of A instead of 4", registers.len())));
        }
        for operand in registers {
            list.push(draft.source_of(operand, Type::B32)?);
        }
    } else {
        list.push(draft.source(1, Type::B64)?);
    }
    list.push(draft.source(2, Type::B64)?);
    Ok(list)
}
