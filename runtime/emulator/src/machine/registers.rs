//! The registers of a warp: a row of 32 lanes for each 32-bit register, two adjacent rows for a 64-bit one, and a
//! 32-bit mask for each predicate.

/// Threads of a warp.
pub(crate) const LANES: usize = 32;

/// The mask of all lanes.
pub(crate) const FULL: u32 = u32::MAX;

/// The index of a register row, or of a predicate, in a function's frame.
pub(crate) type Slot = u32;

/// The operands of an operation, as slots of the running frame.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slots {
    pub to: Slot,
    pub from: [Slot; 4],
    /// Modifiers and constants, encoded as each operation reads them.
    pub extra: u64,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Row(pub [u32; LANES]);

#[derive(Default)]
pub(crate) struct Registers {
    pub rows: Vec<Row>,
    pub predicates: Vec<u32>,
    /// The first row and the first predicate of the running frame.
    pub base: usize,
    pub predicate_base: usize,
    /// The lanes in which each row, and each predicate, was written. Kept under the sanitizer.
    pub defined: Vec<u32>,
    pub predicate_defined: Vec<u32>,
}

impl Registers {
    #[inline(always)]
    pub fn row(&self, slot: Slot) -> &[u32; LANES] {
        &self.rows[self.base + slot as usize].0
    }

    #[inline(always)]
    pub fn row_mut(&mut self, slot: Slot) -> &mut [u32; LANES] {
        &mut self.rows[self.base + slot as usize].0
    }

    #[inline(always)]
    pub fn wide(&self, slot: Slot) -> &[u64; LANES] {
        let at = self.base + slot as usize;
        let pair: &[Row] = &self.rows[at..at + 2];
        // SAFETY: two rows are 256 contiguous bytes without padding (128 bytes at alignment 64), aligned for u64,
        // and every bit pattern is a u64.
        unsafe { &*pair.as_ptr().cast::<[u64; LANES]>() }
    }

    #[inline(always)]
    pub fn wide_mut(&mut self, slot: Slot) -> &mut [u64; LANES] {
        let at = self.base + slot as usize;
        let pair: &mut [Row] = &mut self.rows[at..at + 2];
        // SAFETY: as in `wide`; the borrow is unique.
        unsafe { &mut *pair.as_mut_ptr().cast::<[u64; LANES]>() }
    }

    #[inline(always)]
    pub fn predicate(&self, slot: Slot) -> u32 {
        self.predicates[self.predicate_base + slot as usize]
    }

    /// Sets a predicate in the lanes of `mask`.
    #[inline(always)]
    pub fn set_predicate(&mut self, slot: Slot, value: u32, mask: u32) {
        let predicate = &mut self.predicates[self.predicate_base + slot as usize];
        *predicate = (*predicate & !mask) | (value & mask);
    }

    /// Makes the frame at these bases the running one. Returns the bases of the frame that was.
    #[inline(always)]
    pub fn enter(&mut self, base: usize, predicate_base: usize) -> (usize, usize) {
        let left = (self.base, self.predicate_base);
        (self.base, self.predicate_base) = (base, predicate_base);
        left
    }

    /// Grows to at least so many rows and predicates.
    pub fn reserve(&mut self, rows: usize, predicates: usize) {
        if self.rows.len() < rows {
            self.rows.resize(rows, Row([0; LANES]));
            self.defined.resize(rows, 0);
        }
        if self.predicates.len() < predicates {
            self.predicates.resize(predicates, 0);
            self.predicate_defined.resize(predicates, 0);
        }
    }
}

/// `array::map` as a loop that is always inlined. The library's remains a call, which costs more than the work.
#[inline(always)]
pub(crate) fn mapped<A: Copy, B: Copy + Default>(values: &[A; LANES], f: impl Fn(A) -> B) -> [B; LANES] {
    let mut result = [B::default(); LANES];
    for lane in 0..LANES {
        result[lane] = f(values[lane]);
    }
    result
}

/// A type that registers hold, one value in each lane.
pub(crate) trait Cell: Copy + Default + 'static {
    fn load(registers: &Registers, slot: Slot) -> [Self; LANES];
    fn store(registers: &mut Registers, slot: Slot, values: &[Self; LANES]);
    fn load_lane(registers: &Registers, slot: Slot, lane: usize) -> Self;
    fn store_lane(registers: &mut Registers, slot: Slot, lane: usize, value: Self);
}

macro_rules! narrow_cell {
    ($ty:ty, $from:expr, $to:expr) => {
        impl Cell for $ty {
            #[inline(always)]
            fn load(registers: &Registers, slot: Slot) -> [Self; LANES] {
                mapped(registers.row(slot), $from)
            }
            #[inline(always)]
            fn store(registers: &mut Registers, slot: Slot, values: &[Self; LANES]) {
                *registers.row_mut(slot) = mapped(values, $to);
            }
            #[inline(always)]
            fn load_lane(registers: &Registers, slot: Slot, lane: usize) -> Self {
                ($from)(registers.row(slot)[lane & 31])
            }
            #[inline(always)]
            fn store_lane(registers: &mut Registers, slot: Slot, lane: usize, value: Self) {
                registers.row_mut(slot)[lane & 31] = ($to)(value);
            }
        }
    };
}

macro_rules! wide_cell {
    ($ty:ty, $from:expr, $to:expr) => {
        impl Cell for $ty {
            #[inline(always)]
            fn load(registers: &Registers, slot: Slot) -> [Self; LANES] {
                mapped(registers.wide(slot), $from)
            }
            #[inline(always)]
            fn store(registers: &mut Registers, slot: Slot, values: &[Self; LANES]) {
                *registers.wide_mut(slot) = mapped(values, $to);
            }
            #[inline(always)]
            fn load_lane(registers: &Registers, slot: Slot, lane: usize) -> Self {
                ($from)(registers.wide(slot)[lane & 31])
            }
            #[inline(always)]
            fn store_lane(registers: &mut Registers, slot: Slot, lane: usize, value: Self) {
                registers.wide_mut(slot)[lane & 31] = ($to)(value);
            }
        }
    };
}

narrow_cell!(u8, |bits: u32| bits as u8, |value: u8| u32::from(value));
narrow_cell!(i8, |bits: u32| bits as i8, |value: i8| value as u32);
narrow_cell!(u16, |bits: u32| bits as u16, |value: u16| u32::from(value));
narrow_cell!(i16, |bits: u32| bits as i16, |value: i16| u32::from(value as u16));
narrow_cell!(u32, |bits: u32| bits, |value: u32| value);
narrow_cell!(i32, |bits: u32| bits as i32, |value: i32| value as u32);
narrow_cell!(f32, f32::from_bits, f32::to_bits);
wide_cell!(u64, |bits: u64| bits, |value: u64| value);
wide_cell!(i64, |bits: u64| bits as i64, |value: i64| value as u64);
wide_cell!(f64, f64::from_bits, f64::to_bits);
