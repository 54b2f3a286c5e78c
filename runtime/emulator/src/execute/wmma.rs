//! `wmma`: products of matrices as fragments, which a warp loads, multiplies and stores as wholes.
//!
//! PTX does not specify which thread holds which element. The emulator distributes the elements over the threads in
//! turn: those of A and B in the order of memory, those of C and D by rows. A product that names another layout than
//! its load gives wrong results, as it may on hardware. `f16` fragments of A and B have room for 512 elements; smaller
//! ones are held several times.

use super::memory::{Request, SharedAccess, check_shared, read_lanes, watch_store, write_lanes};
use super::mma::{emit, per_register, registers};
use crate::count::Class;
use crate::draft::Draft;
use crate::error::Error;
use crate::machine::action::{Action, WarpFunction};
use crate::machine::address::{space_of, window};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::{Cell, LANES, Slot, Slots};
use crate::machine::shared::Strength;
use crate::machine::warp::Warp;
use crate::numerics::tensor::{Arithmetic, COLUMNS, ELEMENTS, Element, Left, Right, multiply};
use crate::parse::syntax::{Space, Type};
use crate::sanitize::FindingKind;

/// The operand that a fragment belongs to: a factor, or C or D.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u32)]
enum Role {
    A,
    B,
    Sum,
}

/// A fragment: a matrix distributed over the registers of a warp.
#[derive(Debug, Clone, Copy)]
struct Fragment {
    role: Role,
    rows: usize,
    columns: usize,
    element: Element,
    by_columns: bool,
}

impl Fragment {
    fn new(role: Role, [m, n, k]: [usize; 3], element: Element, by_columns: bool) -> Fragment {
        let (rows, columns) = match role {
            Role::A => (m, k),
            Role::B => (k, n),
            Role::Sum => (m, n),
        };
        Fragment {
            role,
            rows,
            columns,
            element,
            by_columns,
        }
    }

    fn elements(&self) -> usize {
        self.rows * self.columns
    }

    /// The number of registers in each thread.
    fn registers(&self) -> usize {
        if self.element == Element::F16 && self.role != Role::Sum {
            return 8;
        }
        self.elements() / LANES / per_register(self.element)
    }

    fn element_bytes(&self) -> usize {
        self.element.bits() as usize / 8
    }

    /// The bytes of a thread's registers, which is the alignment of the matrix in memory.
    fn alignment(&self) -> usize {
        self.registers() * per_register(self.element) * self.element_bytes()
    }

    /// The number of elements of a line: a row, or a column if the matrix is stored by columns.
    fn line(&self) -> usize {
        if self.by_columns { self.rows } else { self.columns }
    }

    /// The pattern in which a warp moves the fragment to or from a space.
    fn pattern(&self, space: Space) -> AccessPattern {
        if space == Space::Global {
            let bytes = (self.line() * self.element_bytes()).min(self.alignment()).min(16);
            return AccessPattern::Memory(bytes / self.element_bytes());
        }
        if self.role == Role::Sum {
            // Hardware computes eight rows as eight columns of the transposed product.
            let transposed = self.rows == 8 && self.columns == 32;
            return match self.element {
                Element::F16 => AccessPattern::Along(2),
                _ if self.by_columns == transposed => AccessPattern::Along(2),
                _ => AccessPattern::Across(2),
            };
        }
        let along_k = (self.role == Role::B) == self.by_columns;
        match (self.element_bytes(), along_k) {
            (2, _) | (1, true) => AccessPattern::Matrices,
            (1, false) => AccessPattern::Across(4),
            (_, true) => AccessPattern::Along(1),
            (_, false) => AccessPattern::Across(1),
        }
    }

    /// The index, in the order of memory, of the element at a position in the registers.
    fn in_memory(&self, lane: usize, register: usize, index: usize) -> usize {
        let e = per_register(self.element);
        let at = (lane * self.registers() * e + register * e + index) % self.elements();
        match self.role {
            Role::Sum if self.by_columns => at % self.columns * self.rows + at / self.columns,
            _ => at,
        }
    }

    /// The row and the column of the element at a position in the registers.
    fn position(&self, lane: usize, register: usize, index: usize) -> (usize, usize) {
        let at = self.in_memory(lane, register, index);
        let (line, along) = (at / self.line(), at % self.line());
        if self.by_columns { (along, line) } else { (line, along) }
    }

    fn pack(&self) -> [u32; 5] {
        [
            self.role as u32,
            self.rows as u32,
            self.columns as u32,
            self.element as u32,
            u32::from(self.by_columns),
        ]
    }

    fn unpack(list: &[u32]) -> Fragment {
        Fragment {
            role: [Role::A, Role::B, Role::Sum][list[0] as usize % 3],
            rows: list[1] as usize,
            columns: list[2] as usize,
            element: ELEMENTS[list[3] as usize].1,
            by_columns: list[4] != 0,
        }
    }
}

/// The elements that a warp moves at once, which decide its bank conflicts in shared memory. The patterns are those of
/// the loads and stores that ptxas generates for these instructions from sm_75 on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum AccessPattern {
    /// In the order of memory, with so many elements in each lane.
    Memory(usize),
    /// Matrices of eight lines of 16 bytes, with a line in each lane (`LDSM`).
    Matrices,
    /// Eight lines, each by four lanes with so many adjacent elements.
    Along(usize),
    /// Eight elements of each of four lines that are so many lines apart.
    Across(usize),
}

impl AccessPattern {
    /// The number of elements that a lane moves at once.
    fn width(self, fragment: &Fragment) -> usize {
        match self {
            AccessPattern::Memory(width) | AccessPattern::Along(width) => width,
            AccessPattern::Matrices => 16 / fragment.element_bytes(),
            AccessPattern::Across(_) => 1,
        }
    }

    /// The line, and the index in it, of the first element that a lane moves in a request.
    fn position(self, fragment: &Fragment, request: usize, lane: usize) -> (usize, usize) {
        let (line, width) = (fragment.line(), self.width(fragment));
        match self {
            AccessPattern::Memory(_) => {
                let at = (request * LANES + lane) * width;
                (at / line, at % line)
            }
            AccessPattern::Matrices => {
                let (matrix, row) = ((request * LANES + lane) / 8, lane % 8);
                let beside = line / width;
                (matrix / beside * 8 + row, matrix % beside * width)
            }
            AccessPattern::Along(_) => {
                let beside = line / (4 * width);
                (
                    request / beside * 8 + lane / 4,
                    (request % beside * 4 + lane % 4) * width,
                )
            }
            AccessPattern::Across(apart) => {
                let beside = line / 8;
                let (block, along) = (request / beside, request % beside);
                let first = block / apart * 4 * apart + block % apart;
                (first + lane % 4 * apart, along * 8 + lane / 4)
            }
        }
    }
}

/// The number of list entries of a packed fragment.
const PACKED: usize = 5;

/// `extra` of a move: the index of its list in bits 0 to 31, and that of its space here in bits 32 and 33.
const SPACES: [Space; 3] = [Space::Global, Space::Shared, Space::Generic];

/// A fragment's matrix in memory, which moves in pieces: the bytes that a lane moves at once.
struct Pieces {
    fragment: Fragment,
    space: Space,
    base: u64,
    /// The bytes from line to line.
    stride: u64,
}

impl Pieces {
    /// Reads the address `from[0]` and the stride `from[1]`, which must be the same in all lanes.
    fn new(core: &mut Core<'_>, warp: &Warp, operation: &Operation, fragment: Fragment) -> Result<Pieces, Stop> {
        let slots = &operation.slots;
        let addresses = u64::load(&warp.registers, slots.from[0]);
        let strides = u32::load(&warp.registers, slots.from[1]);
        if let Some(lane) = (1..LANES).find(|&lane| (addresses[lane], strides[lane]) != (addresses[0], strides[0])) {
            let message = "the address and the stride of a matrix must be the same in all threads of a warp";
            return Err(core.fault(warp, operation, lane, Some(addresses[lane]), message));
        }
        let mut space = SPACES[(slots.extra >> 32 & 3) as usize];
        let mut base = addresses[0];
        if space == Space::Generic {
            space = space_of(base);
            base = base.wrapping_sub(window(space));
        }
        if !matches!(space, Space::Global | Space::Shared) {
            let message = format!("a matrix in {space} memory");
            return Err(core.fault(warp, operation, 0, Some(base), message));
        }
        let stride = u64::from(strides[0]) * fragment.element_bytes() as u64;
        // PTX requires every line at a multiple of the fragment's bytes. CUDA C++ allows multiples of 16 between lines.
        let (alignment, between) = (fragment.alignment() as u64, fragment.alignment().min(16) as u64);
        if !base.is_multiple_of(alignment) || !stride.is_multiple_of(between) {
            let message = format!(
                "a matrix at {base:#x} with {stride} bytes from line to line: multiples of {alignment} and {between} are possible"
            );
            let access = (base, alignment as u32);
            core.wrong_access(FindingKind::Misaligned, warp, operation, 0, access, message)?;
        }
        Ok(Pieces {
            fragment,
            space,
            base,
            stride,
        })
    }

    /// Moves the matrix from memory to `bytes`, line by line, or from `bytes` to memory if it stores.
    fn transfer(
        &self,
        core: &mut Core<'_>,
        warp: &mut Warp,
        operation: &Operation,
        bytes: &mut [u8],
        stores: bool,
    ) -> Result<(), Stop> {
        let (fragment, pattern) = (&self.fragment, self.fragment.pattern(self.space));
        let (size, width) = (fragment.element_bytes(), pattern.width(fragment));
        let (piece, pieces) = (width * size, fragment.elements() / width);
        for request in 0..pieces.div_ceil(LANES) {
            let lanes = ((1u64 << (pieces - request * LANES).min(LANES)) - 1) as u32;
            let (mut addresses, mut places) = ([0; LANES], [0; LANES]);
            each(lanes, |lane| {
                let (line, along) = pattern.position(fragment, request, lane);
                addresses[lane] = self
                    .base
                    .wrapping_add(line as u64 * self.stride + (along * size) as u64);
                places[lane] = (line * fragment.line() + along) * size;
            });
            let mut values = [[0; 16]; LANES];
            if stores {
                each(lanes, |lane| {
                    values[lane][..piece].copy_from_slice(&bytes[places[lane]..places[lane] + piece]);
                });
            }
            self.request(
                core,
                warp,
                operation,
                (&addresses, piece as u32, lanes),
                &mut values,
                stores,
            )?;
            if !stores {
                each(lanes, |lane| {
                    bytes[places[lane]..places[lane] + piece].copy_from_slice(&values[lane][..piece]);
                });
            }
        }
        Ok(())
    }

    /// Moves a piece in each lane.
    fn request(
        &self,
        core: &mut Core<'_>,
        warp: &mut Warp,
        operation: &Operation,
        (addresses, piece, lanes): (&[u64; LANES], u32, u32),
        values: &mut [[u8; 16]; LANES],
        stores: bool,
    ) -> Result<(), Stop> {
        let kind = match (self.space, stores) {
            (Space::Global, false) => {
                return read_lanes(core, warp, operation, addresses, piece, lanes, Request::Load, values);
            }
            (Space::Global, true) => return write_lanes(core, warp, operation, addresses, piece, lanes, values),
            (_, false) => SharedAccess::Load(Strength::WEAK),
            (_, true) => SharedAccess::Store,
        };
        let good = check_shared(core, warp, operation, addresses, piece, lanes, kind)?;
        let watched = stores && core.sanitize();
        each(good, |lane| {
            if watched {
                watch_store(
                    core,
                    warp,
                    operation,
                    (addresses[lane], piece),
                    lane,
                    Strength::WEAK,
                    false,
                );
            }
            let at = addresses[lane] as usize;
            let bytes = &mut core.shared.bytes[at..at + piece as usize];
            let value = &mut values[lane][..piece as usize];
            if stores {
                bytes.copy_from_slice(value);
            } else {
                value.copy_from_slice(bytes);
            }
        });
        Ok(())
    }
}

fn load(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let launch = core.launch;
    let list = &launch.program.lists[operation.slots.extra as u32 as usize];
    let fragment = Fragment::unpack(list);
    let pieces = Pieces::new(core, warp, operation, fragment)?;
    let (size, e) = (fragment.element_bytes(), per_register(fragment.element));
    let mut bytes = vec![0; fragment.elements() * size];
    pieces.transfer(core, warp, operation, &mut bytes, false)?;
    for (register, slot) in list[PACKED..].iter().enumerate() {
        let word = |lane: usize| {
            (0..e).fold(0u64, |word, index| {
                let at = fragment.in_memory(lane, register, index) * size;
                let element = bytes[at..at + size].iter().rev();
                word | element.fold(0, |bits, byte| bits << 8 | u64::from(*byte)) << (8 * size * index)
            })
        };
        each(mask, |lane| put(warp, fragment.element, *slot, lane, word(lane)));
    }
    Ok(())
}

fn store(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, _: u32) -> Result<(), Stop> {
    let launch = core.launch;
    let list = &launch.program.lists[operation.slots.extra as u32 as usize];
    let fragment = Fragment::unpack(list);
    let pieces = Pieces::new(core, warp, operation, fragment)?;
    let (size, e) = (fragment.element_bytes(), per_register(fragment.element));
    let mut bytes = vec![0; fragment.elements() * size];
    for (register, slot) in list[PACKED..].iter().enumerate() {
        for lane in 0..LANES {
            let word = get(warp, fragment.element, *slot, lane).to_le_bytes();
            for index in 0..e {
                let at = fragment.in_memory(lane, register, index) * size;
                bytes[at..at + size].copy_from_slice(&word[size * index..size * (index + 1)]);
            }
        }
    }
    pieces.transfer(core, warp, operation, &mut bytes, true)
}

fn get(warp: &Warp, element: Element, slot: Slot, lane: usize) -> u64 {
    if element == Element::F64 {
        warp.registers.wide(slot)[lane]
    } else {
        warp.registers.row(slot)[lane].into()
    }
}

fn put(warp: &mut Warp, element: Element, slot: Slot, lane: usize, word: u64) {
    if element == Element::F64 {
        warp.registers.wide_mut(slot)[lane] = word;
    } else {
        warp.registers.row_mut(slot)[lane] = word as u32;
    }
}

/// The most rows and the most columns of a product.
const MOST: usize = 32;

fn run(core: &mut Core<'_>, warp: &mut Warp, operation: &Operation, mask: u32) -> Result<(), Stop> {
    let launch = core.launch;
    let list = &launch.program.lists[operation.slots.extra as usize];
    let saturates = list[0] != 0;
    let [d, a, b, c] = std::array::from_fn(|index| Fragment::unpack(&list[1 + PACKED * index..]));
    let (d_slots, rest) = list[1 + 4 * PACKED..].split_at(d.registers());
    let (a_slots, rest) = rest.split_at(a.registers());
    let (b_slots, c_slots) = rest.split_at(b.registers());
    let k = a.columns;
    let mut left = [Left::EMPTY; MOST];
    let mut right = [Right::EMPTY; MOST / COLUMNS];
    let mut sums = [[[0.0; COLUMNS]; MOST]; MOST / COLUMNS];
    let visit = |fragment: Fragment, slots: &[u32], take: &mut dyn FnMut(usize, usize, f64)| {
        let e = per_register(fragment.element);
        for (register, slot) in slots.iter().enumerate() {
            for lane in 0..LANES {
                let word = get(warp, fragment.element, *slot, lane);
                for index in 0..e {
                    let (row, column) = fragment.position(lane, register, index);
                    let bits = word >> (fragment.element.bits() as usize % 64 * index);
                    take(row, column, fragment.element.value(bits));
                }
            }
        }
    };
    visit(a, a_slots, &mut |row, k, value| left[row].set(k, value, a.element));
    visit(b, b_slots, &mut |k, column, value| {
        right[column / COLUMNS].set(k, column % COLUMNS, value, b.element)
    });
    visit(c, c_slots, &mut |row, column, value| {
        sums[column / COLUMNS][row][column % COLUMNS] = value
    });
    let arithmetic = Arithmetic::new(launch.tensor_cores, a.element, d.element, k, false);
    for (right, sums) in right.iter().zip(&mut sums).take(b.columns / COLUMNS) {
        multiply(arithmetic, k, &left[..a.rows], right, &mut sums[..a.rows]);
    }
    if core.count() {
        core.counts
            .add_matrix_flops((2 * a.rows * b.columns * k) as u64, a.element.bits());
    }
    let e = per_register(d.element);
    for (register, slot) in d_slots.iter().enumerate() {
        let sum = |lane: usize, index: usize| {
            let (row, column) = d.position(lane, register, index);
            sums[column / COLUMNS][row][column % COLUMNS]
        };
        each(mask, |lane| {
            let word = if d.element == Element::F64 {
                sum(lane, 0).to_bits()
            } else {
                (0..e).fold(0, |word, index| {
                    word | u64::from(d.element.stored(sum(lane, index), saturates)) << (16 * index)
                })
            };
            put(warp, d.element, *slot, lane, word);
        });
    }
    Ok(())
}

/// Takes the shape m × n × k.
fn take_shape(draft: &mut Draft<'_, '_>) -> Result<[usize; 3], Error> {
    const SHAPES: [(&str, [usize; 3]); 5] = [
        ("m16n16k16", [16, 16, 16]),
        ("m8n32k16", [8, 32, 16]),
        ("m32n8k16", [32, 8, 16]),
        ("m16n16k8", [16, 16, 8]),
        ("m8n8k4", [8, 8, 4]),
    ];
    let found = SHAPES.iter().find(|(name, _)| draft.take(name));
    found
        .map(|(_, shape)| *shape)
        .ok_or_else(|| draft.unsupported("this shape"))
}

/// `true` if factors of that type exist in that shape.
fn fits(shape: [usize; 3], factor: Element) -> bool {
    match factor {
        Element::F16 | Element::Bf16 | Element::S8 | Element::U8 => shape[2] == 16,
        Element::Tf32 => shape[2] == 8,
        Element::F64 => shape[2] == 4,
        _ => false,
    }
}

/// `true` if sums of that type exist in that shape.
fn fits_sum(shape: [usize; 3], sum: Element) -> bool {
    match sum {
        Element::F16 | Element::S32 => shape[2] == 16,
        Element::F32 => shape[2] >= 8,
        Element::F64 => shape[2] == 4,
        _ => false,
    }
}

/// Takes a layout. Returns `true` if it is by columns.
fn take_layout(draft: &mut Draft<'_, '_>) -> Result<bool, Error> {
    // A product has two layouts, so the next modifier must be one.
    match draft.left() {
        Some(layout @ ("row" | "col")) => {
            draft.take(layout);
            Ok(layout == "col")
        }
        _ => Err(draft.unsupported("a matrix without a layout")),
    }
}

fn take_elements(draft: &mut Draft<'_, '_>) -> Result<Vec<Element>, Error> {
    let names = draft.take_rest();
    let named = |name: &&str| Element::named(name).ok_or_else(|| draft.unsupported(format!("`.{name}`")));
    names.iter().map(named).collect()
}

pub(super) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let what = draft.take_any(&["load", "store", "mma"]);
    if !draft.take("sync") {
        return Err(draft.unsupported("a matrix instruction without `.sync`"));
    }
    draft.ignore(&["aligned"]);
    match what {
        Some("mma") => decode_product(draft),
        Some(what) => decode_move(draft, what == "store"),
        None => Err(draft.unsupported("this operation")),
    }
}

fn decode_move(draft: &mut Draft<'_, '_>, stores: bool) -> Result<(), Error> {
    let role = match draft.take_any(&["a", "b", "c", "d"]) {
        Some("a") if !stores => Role::A,
        Some("b") if !stores => Role::B,
        Some("c") if !stores => Role::Sum,
        Some("d") if stores => Role::Sum,
        _ => return Err(draft.unsupported("a move of this matrix")),
    };
    let by_columns = take_layout(draft)?;
    let shape = take_shape(draft)?;
    let mut space = match draft.take_any(&["global", "shared::cta", "shared"]) {
        Some("global") => Space::Global,
        Some(_) => Space::Shared,
        None => Space::Generic,
    };
    let elements = take_elements(draft)?;
    let element = match (&elements[..], role) {
        (&[element], Role::Sum) if fits_sum(shape, element) => element,
        (&[element], Role::A | Role::B) if fits(shape, element) => element,
        _ => return Err(draft.unsupported("this combination of shape and type")),
    };
    let fragment = Fragment::new(role, shape, element, by_columns);
    draft.arity(2..=3)?;
    let address = draft.address(usize::from(!stores))?;
    if space == Space::Generic {
        space = address.space.unwrap_or(Space::Generic);
    }
    let base = draft.offset_address(address);
    let stride = if draft.operands() == 3 {
        draft.source(2, Type::B32)?
    } else {
        draft.narrow_constant(fragment.line() as u32)
    };
    let mut list = fragment.pack().to_vec();
    list.extend(registers(
        draft,
        usize::from(stores),
        fragment.registers(),
        element,
        !stores,
    )?);
    if space != Space::Global {
        let width = fragment.pattern(Space::Shared).width(&fragment);
        draft.note_shared_access((width * fragment.element_bytes()) as u32);
    }
    let (Some(number), list) = (SPACES.iter().position(|known| *known == space), draft.add_list(list)) else {
        return Err(draft.unsupported(format!("a matrix in {space} memory")));
    };
    let (run, class): (WarpFunction, Class) = match (stores, space) {
        (false, Space::Shared) => (load, Class::LoadShared),
        (false, _) => (load, Class::LoadGlobal),
        (true, Space::Shared) => (store, Class::StoreShared),
        (true, _) => (store, Class::StoreGlobal),
    };
    let slots = Slots {
        to: 0,
        from: [base, stride, 0, 0],
        extra: list | (number as u64) << 32,
    };
    let all = draft.narrow_constant(u32::MAX);
    draft.emit(Action::Collective(run, all), slots, class, 0)
}

fn decode_product(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let (a_by_columns, b_by_columns) = (take_layout(draft)?, take_layout(draft)?);
    let shape = take_shape(draft)?;
    let saturates = draft.take("satfinite");
    // `.rn` is the default.
    draft.take("rn");
    let elements = take_elements(draft)?;
    // Products of f16 name the types of their sums only.
    let [d, a, b, c] = match elements[..] {
        [d, c] => [d, Element::F16, Element::F16, c],
        [d, a, b, c] => [d, a, b, c],
        _ => return Err(draft.unsupported("other than two or four types")),
    };
    let sums_fit = match a {
        Element::F16 => matches!((d, c), (Element::F16 | Element::F32, Element::F16 | Element::F32)),
        Element::Bf16 | Element::Tf32 => (d, c) == (Element::F32, Element::F32),
        Element::S8 | Element::U8 => (d, c) == (Element::S32, Element::S32),
        _ => (d, c) == (Element::F64, Element::F64),
    };
    if !fits(shape, a) || a != b || !sums_fit || (saturates && d != Element::S32) {
        return Err(draft.unsupported("this combination of shape and types"));
    }
    draft.arity(4..=4)?;
    let fragments = [
        Fragment::new(Role::Sum, shape, d, false),
        Fragment::new(Role::A, shape, a, a_by_columns),
        Fragment::new(Role::B, shape, b, b_by_columns),
        Fragment::new(Role::Sum, shape, c, false),
    ];
    let mut list = vec![u32::from(saturates)];
    list.extend(fragments.iter().flat_map(Fragment::pack));
    for (index, fragment) in fragments.iter().enumerate() {
        let slots = registers(draft, index, fragment.registers(), fragment.element, index == 0)?;
        list.extend(slots);
    }
    emit(draft, run, list)
}
