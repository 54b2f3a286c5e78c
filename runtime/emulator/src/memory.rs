//! The global memory of an emulated device.
//!
//! Addresses are never reused, and there are unmapped gaps between allocations, so a stray address hits none. A launch
//! works on a snapshot of the allocations: to free memory under a running launch is harmless to the host.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// The first global address, far from the windows of shared, local, constant and parameter memory.
pub(crate) const GLOBAL_BASE: u64 = 0x7000_0000_0000;
/// The alignment of allocations, in bytes.
const ALIGNMENT: u64 = 256;
/// The least number of unmapped bytes after an allocation.
const GUARD: u64 = 64 << 10;
/// The number of freed ranges that are kept for messages.
const MOST_FREED: usize = 4096;

/// An error of an operation on [`Memory`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The device memory is exhausted.
    #[error("{requested} bytes do not fit: {used} of {limit} bytes of the emulated device are in use")]
    Exhausted {
        /// The number of bytes asked for.
        requested: u64,
        /// The number of bytes in use.
        used: u64,
        /// The size of the device memory in bytes.
        limit: u64,
    },
    /// A range that does not lie in one allocation.
    #[error("{size} bytes at {address:#x} are not inside one allocation{}", if *.freed { " (the memory there was freed)" } else { "" })]
    OutOfBounds {
        /// The first address of the range.
        address: u64,
        /// The size of the range in bytes.
        size: u64,
        /// `true` if the address belonged to an allocation that was freed.
        freed: bool,
    },
    /// An address that [`Memory::allocate`] did not return, or that was already freed.
    #[error("{address:#x} is not the start of an allocation{}", if *.freed { " (it was already freed)" } else { "" })]
    NotAllocated {
        /// The address.
        address: u64,
        /// `true` if the allocation was already freed.
        freed: bool,
    },
}

/// Memory in words, on which emulated threads may race.
pub(crate) struct Words(Box<[AtomicU64]>);

impl Words {
    fn zeroed(count: usize) -> Words {
        let words = vec![0u64; count].into_boxed_slice();
        let length = words.len();
        let pointer = Box::into_raw(words).cast::<AtomicU64>();
        // SAFETY: AtomicU64 has the size and alignment of u64 on the supported hosts (checked at compile time), and
        // the pointer and length come from a box of that many words.
        Words(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(pointer, length)) })
    }

    #[inline(always)]
    fn pointer(&self) -> *mut u8 {
        self.0.as_ptr() as *mut u8
    }
}

const _: () = assert!(align_of::<AtomicU64>() == align_of::<u64>() && size_of::<AtomicU64>() == 8);

/// An allocation: its bytes, and which of them were written.
pub(crate) struct Allocation {
    pub base: u64,
    pub size: u64,
    words: Words,
    /// One bit for each byte: 1 if it was written.
    defined: Words,
    /// `true` if a launch without the sanitizer stored here. It did not note which bytes, so all count as written.
    assumed_defined: AtomicBool,
}

macro_rules! typed_access {
    ($load:ident, $store:ident, $ty:ty, $atomic:ty) => {
        /// Reads the value at a byte offset, which must be in bounds and aligned. Both are checked.
        #[inline(always)]
        pub fn $load(&self, offset: u64) -> $ty {
            assert!(offset <= self.padded() - size_of::<$ty>() as u64 && offset % size_of::<$ty>() as u64 == 0);
            // SAFETY: in bounds and aligned by the assertion. Emulated threads may race with accesses of other sizes;
            // on the supported hosts those are plain machine accesses, which can tear a value but not break memory.
            unsafe { <$atomic>::from_ptr(self.words.pointer().add(offset as usize).cast()) }.load(Relaxed)
        }

        /// Writes the value at a byte offset, under the same conditions.
        #[inline(always)]
        pub fn $store(&self, offset: u64, value: $ty) {
            assert!(offset <= self.padded() - size_of::<$ty>() as u64 && offset % size_of::<$ty>() as u64 == 0);
            // SAFETY: as for loads.
            unsafe { <$atomic>::from_ptr(self.words.pointer().add(offset as usize).cast()) }.store(value, Relaxed)
        }
    };
}

impl Allocation {
    fn new(base: u64, size: u64) -> Allocation {
        let words = (size.div_ceil(8) as usize).max(1);
        Allocation {
            base,
            size,
            words: Words::zeroed(words),
            defined: Words::zeroed(words.div_ceil(8)),
            assumed_defined: AtomicBool::new(false),
        }
    }

    /// The number of bytes that back the allocation, with the last word's padding.
    #[inline(always)]
    fn padded(&self) -> u64 {
        self.words.0.len() as u64 * 8
    }

    typed_access!(load_u8, store_u8, u8, AtomicU8);
    typed_access!(load_u16, store_u16, u16, AtomicU16);
    typed_access!(load_u32, store_u32, u32, AtomicU32);
    typed_access!(load_u64, store_u64, u64, AtomicU64);

    /// The offset of an access, if it lies in the allocation.
    #[inline(always)]
    pub fn offset(&self, address: u64, size: u64) -> Option<u64> {
        let offset = address.wrapping_sub(self.base);
        (offset < self.size && size <= self.size - offset).then_some(offset)
    }

    /// The 32-bit word at an aligned offset in bounds.
    pub fn atomic_u32(&self, offset: u64) -> &AtomicU32 {
        assert!(offset <= self.padded() - 4 && offset.is_multiple_of(4));
        // SAFETY: in bounds, aligned; the reference lives no longer than the allocation.
        unsafe { AtomicU32::from_ptr(self.words.pointer().add(offset as usize).cast()) }
    }

    /// The 64-bit word at an aligned offset in bounds.
    pub fn atomic_u64(&self, offset: u64) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8));
        &self.words.0[(offset / 8) as usize]
    }

    /// `true` if every byte of an access was written. It has at most 16 bytes and natural alignment.
    #[inline(always)]
    pub fn is_defined(&self, offset: u64, size: u64) -> bool {
        let bits = self.defined.0[(offset / 64) as usize].load(Relaxed) >> (offset % 64);
        let all = (1u64 << size) - 1;
        bits & all == all || self.assumed_defined.load(Relaxed)
    }

    #[inline(always)]
    pub fn define(&self, offset: u64, size: u64) {
        let bits = ((1u64 << size) - 1) << (offset % 64);
        let word = &self.defined.0[(offset / 64) as usize];
        if word.load(Relaxed) & bits != bits {
            word.fetch_or(bits, Relaxed);
        }
    }

    #[inline(always)]
    pub fn assume_defined(&self) {
        if !self.assumed_defined.load(Relaxed) {
            self.assumed_defined.store(true, Relaxed);
        }
    }

    fn define_range(&self, mut offset: u64, end: u64) {
        while offset < end {
            let count = (64 - offset % 64).min(end - offset);
            let bits = if count == 64 {
                u64::MAX
            } else {
                ((1 << count) - 1) << (offset % 64)
            };
            self.defined.0[(offset / 64) as usize].fetch_or(bits, Relaxed);
            offset += count;
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let head = bytes.len().min((at.wrapping_neg() % 8) as usize);
        let (head, rest) = bytes.split_at(head);
        for byte in head {
            self.store_u8(at, *byte);
            at += 1;
        }
        let chunks = rest.chunks_exact(8);
        let tail = chunks.remainder();
        for chunk in chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.store_u64(at, u64::from_le_bytes(word));
            at += 8;
        }
        for byte in tail {
            self.store_u8(at, *byte);
            at += 1;
        }
        self.define_range(offset, offset + bytes.len() as u64);
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        let mut at = offset;
        let head = bytes.len().min((at.wrapping_neg() % 8) as usize);
        let (head, rest) = bytes.split_at_mut(head);
        for byte in head {
            *byte = self.load_u8(at);
            at += 1;
        }
        let mut chunks = rest.chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.load_u64(at).to_le_bytes());
            at += 8;
        }
        for byte in chunks.into_remainder() {
            *byte = self.load_u8(at);
            at += 1;
        }
    }
}

/// A module's variables in a memory.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    /// The address of the global image, 0 if the module has none.
    pub globals: u64,
    pub constants: Arc<[u8]>,
}

#[derive(Default)]
struct State {
    /// Sorted by address.
    allocations: Arc<Vec<Arc<Allocation>>>,
    next: u64,
    used: u64,
    freed: Vec<(u64, u64)>,
    instances: HashMap<u64, Instance>,
}

/// The global memory of an emulated device. Kernels see its addresses; the host reads and writes through these methods.
/// Any number of threads may share it.
pub struct Memory {
    limit: u64,
    state: Mutex<State>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory")
            .field("limit", &self.limit)
            .field("used", &self.used())
            .finish()
    }
}

impl Memory {
    /// Creates a memory of at most `limit` bytes. The host commits them as allocations use them.
    pub fn new(limit: u64) -> Memory {
        Memory::starting_at(GLOBAL_BASE, limit)
    }

    /// Creates a memory as [`new`](Memory::new) does, with addresses from `base` on, a multiple of 256. Give several
    /// devices different bases, so that none accepts an address of another. Only addresses from 2⁴³ on are clear of the
    /// windows of shared, local, constant and parameter memory.
    pub fn starting_at(base: u64, limit: u64) -> Memory {
        Memory {
            limit,
            state: Mutex::new(State {
                next: base,
                ..State::default()
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics in the middle of a change, so a poisoned state is consistent.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Allocates `bytes` (0 is allowed) and returns the device address, a multiple of 256. The memory counts as never
    /// written.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Exhausted`] if the bytes do not fit.
    pub fn allocate(&self, bytes: u64) -> Result<u64, MemoryError> {
        let mut state = self.state();
        let exhausted = MemoryError::Exhausted {
            requested: bytes,
            used: state.used,
            limit: self.limit,
        };
        if bytes > self.limit.saturating_sub(state.used) {
            return Err(exhausted);
        }
        let base = state.next;
        let end = base
            .checked_add(bytes)
            .and_then(|end| end.checked_add(GUARD))
            .and_then(|end| end.checked_next_multiple_of(ALIGNMENT));
        let Some(end) = end else {
            return Err(exhausted);
        };
        state.next = end;
        state.used += bytes;
        Arc::make_mut(&mut state.allocations).push(Arc::new(Allocation::new(base, bytes)));
        Ok(base)
    }

    /// Frees the allocation that starts at `address`.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotAllocated`] if no allocation starts there.
    pub fn free(&self, address: u64) -> Result<(), MemoryError> {
        let mut state = self.state();
        let Ok(index) = state
            .allocations
            .binary_search_by_key(&address, |allocation| allocation.base)
        else {
            let freed = state.freed.iter().any(|(base, _)| *base == address);
            return Err(MemoryError::NotAllocated { address, freed });
        };
        let allocation = Arc::make_mut(&mut state.allocations).remove(index);
        state.used -= allocation.size;
        if state.freed.len() == MOST_FREED {
            state.freed.remove(0);
        }
        state.freed.push((allocation.base, allocation.size));
        Ok(())
    }

    /// The number of bytes allocated now.
    pub fn used(&self) -> u64 {
        self.state().used
    }

    /// The number of bytes that can be allocated at once.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    fn find(&self, address: u64, size: u64) -> Result<(Arc<Allocation>, u64), MemoryError> {
        let state = self.state();
        let index = state
            .allocations
            .partition_point(|allocation| allocation.base <= address);
        let found = index
            .checked_sub(1)
            .and_then(|index| state.allocations.get(index))
            .and_then(|allocation| {
                let offset = address - allocation.base;
                let inside = offset <= allocation.size && size <= allocation.size - offset;
                inside.then(|| (allocation.clone(), offset))
            });
        found.ok_or_else(|| MemoryError::OutOfBounds {
            address,
            size,
            freed: was_freed(&state.freed, address),
        })
    }

    /// Copies bytes to the device.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfBounds`] if the range does not lie in one allocation.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let (allocation, offset) = self.find(address, bytes.len() as u64)?;
        allocation.write(offset, bytes);
        Ok(())
    }

    /// Counts bytes as written. They are zero unless they were.
    pub(crate) fn define(&self, address: u64, length: u64) -> Result<(), MemoryError> {
        let (allocation, offset) = self.find(address, length)?;
        allocation.define_range(offset, offset + length);
        Ok(())
    }

    /// Copies bytes from the device.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfBounds`] if the range does not lie in one allocation.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        let (allocation, offset) = self.find(address, bytes.len() as u64)?;
        allocation.read(offset, bytes);
        Ok(())
    }

    /// Sets `length` bytes to one value.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfBounds`] if the range does not lie in one allocation.
    pub fn fill(&self, address: u64, byte: u8, length: u64) -> Result<(), MemoryError> {
        let (allocation, offset) = self.find(address, length)?;
        let block = [byte; 4096];
        let mut done = 0;
        while done < length {
            let count = (length - done).min(4096);
            allocation.write(offset + done, &block[..count as usize]);
            done += count;
        }
        Ok(())
    }

    pub(crate) fn snapshot(&self) -> Arc<Vec<Arc<Allocation>>> {
        self.state().allocations.clone()
    }

    pub(crate) fn was_freed(&self, address: u64) -> bool {
        was_freed(&self.state().freed, address)
    }

    /// The variables of a module in this memory. The first call creates them with `create`.
    pub(crate) fn instance(
        &self,
        module: u64,
        create: impl FnOnce() -> Result<Instance, MemoryError>,
    ) -> Result<Instance, MemoryError> {
        if let Some(instance) = self.state().instances.get(&module) {
            return Ok(instance.clone());
        }
        let instance = create()?;
        let kept = self
            .state()
            .instances
            .entry(module)
            .or_insert_with(|| instance.clone())
            .clone();
        if kept.globals != instance.globals {
            // Another thread created them first.
            self.free(instance.globals)?;
        }
        Ok(kept)
    }

    /// Replaces a module's constants.
    pub(crate) fn replace_constants(&self, module: u64, constants: Arc<[u8]>) {
        if let Some(instance) = self.state().instances.get_mut(&module) {
            instance.constants = constants;
        }
    }

    pub(crate) fn drop_instance(&self, module: u64) -> Option<Instance> {
        self.state().instances.remove(&module)
    }
}

fn was_freed(freed: &[(u64, u64)], address: u64) -> bool {
    freed
        .iter()
        .any(|(base, size)| address >= *base && address - *base < (*size).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_at_every_alignment() {
        let memory = Memory::new(1 << 20);
        let base = memory.allocate(1000).unwrap();
        assert_eq!(base % 256, 0);
        for start in 0..20u64 {
            for length in 0..40usize {
                let bytes: Vec<u8> = (0..length).map(|index| (index * 7 + start as usize) as u8).collect();
                memory.write(base + start, &bytes).unwrap();
                let mut back = vec![0; length];
                memory.read(base + start, &mut back).unwrap();
                assert_eq!(back, bytes);
            }
        }
    }

    #[test]
    fn limits_and_stray_addresses_are_errors() {
        let memory = Memory::new(1000);
        let first = memory.allocate(600).unwrap();
        assert_eq!(
            memory.allocate(500),
            Err(MemoryError::Exhausted {
                requested: 500,
                used: 600,
                limit: 1000
            })
        );
        assert!(matches!(
            memory.write(first + 599, &[0, 0]),
            Err(MemoryError::OutOfBounds { freed: false, .. })
        ));
        memory.free(first).unwrap();
        assert!(matches!(
            memory.free(first),
            Err(MemoryError::NotAllocated { freed: true, .. })
        ));
        assert!(matches!(
            memory.read(first, &mut [0]),
            Err(MemoryError::OutOfBounds { freed: true, .. })
        ));
        let second = memory.allocate(1000).unwrap();
        assert!(second > first, "addresses are never reused");
        assert_eq!(memory.used(), 1000);
    }

    #[test]
    fn definedness_is_kept_by_byte() {
        let memory = Memory::new(1 << 20);
        let base = memory.allocate(256).unwrap();
        memory.write(base + 61, &[1; 7]).unwrap();
        let (allocation, _) = memory.find(base, 1).unwrap();
        let defined: Vec<u64> = (0..256).filter(|offset| allocation.is_defined(*offset, 1)).collect();
        assert_eq!(defined, (61..68).collect::<Vec<_>>());
    }
}
