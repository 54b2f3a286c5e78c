//! Device memory that kernels need besides tensors.

use crate::device::{Device, Storage};
use crate::error::{Error, Result};
use energy_kernel_compiler::kernel::{MOST_WORKSPACE, SCRATCH_ALIGNMENT};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The workspace of a stream. Launches of one stream run one after the other, so they share it.
pub(crate) struct Workspace {
    device: Device,
    memory: Mutex<Memory>,
    /// The most bytes that the program of a call may need.
    limit: AtomicU64,
    /// For each operator the word in which its kernels report indices out of range.
    index_errors: Mutex<HashMap<String, Storage>>,
}

/// The memory of a workspace. It stays locked while the launches of a call that uses it are queued: no other call's launch may come between
/// them.
#[derive(Default)]
pub(crate) struct Memory {
    /// Stored tensors and split-K partial sums: any content before a call.
    any: Option<Part>,
    /// Split-K arrival counters: 0 between launches.
    zeroed: Option<Part>,
    /// `true` if `any` is the caller's. It does not grow.
    given: bool,
    /// Memory in graphs that the caller captured. Nobody says when they end, so it is never freed.
    kept: Vec<Storage>,
}

/// Bytes of a workspace that a call needs, at multiples of [`SCRATCH_ALIGNMENT`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Needed {
    pub any: u64,
    pub zeroed: u64,
}

/// A part of an allocation.
struct Part {
    storage: Storage,
    address: u64,
    bytes: u64,
}

impl Workspace {
    pub fn new(device: Device) -> Workspace {
        Workspace {
            device,
            memory: Mutex::default(),
            limit: AtomicU64::new(MOST_WORKSPACE),
            index_errors: Mutex::default(),
        }
    }

    /// The most bytes that the program of a call may need.
    pub fn limit(&self) -> u64 {
        let memory = self.lock();
        let given = memory.any.as_ref().filter(|_| memory.given);
        let limit = self.limit.load(Relaxed);
        given.map_or(limit, |own| own.bytes.min(limit))
    }

    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Relaxed);
    }

    /// Takes bytes of the caller's from an address on, or none.
    pub fn give(&self, given: Option<(Storage, u64, u64)>) {
        let mut memory = self.lock();
        memory.given = given.is_some();
        memory.any = given.map(|(storage, address, bytes)| {
            let aligned = address.next_multiple_of(SCRATCH_ALIGNMENT);
            Part {
                storage,
                address: aligned,
                bytes: bytes.saturating_sub(aligned - address),
            }
        });
    }

    /// Keeps other calls that use the workspace from queueing launches.
    pub fn lock(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// Locks the memory when it has at least the bytes that a call needs. Memory that was too small is freed after the work queued on it,
    /// unless a graph has it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], also if the caller's memory is too small; [`Error::Unprepared`] during stream capture; an error of the driver.
    pub fn reserve(&self, operator: &str, needed: Needed) -> Result<MutexGuard<'_, Memory>> {
        let mut memory = self.lock();
        if memory.given && needed.any > memory.any.as_ref().map_or(0, |own| own.bytes) {
            return Err(Error::OutOfMemory { bytes: needed.any });
        }
        let Memory { any, zeroed, .. } = &mut *memory;
        self.grow(operator, any, needed.any)?;
        if self.grow(operator, zeroed, needed.zeroed)?
            && let Some(own) = zeroed
            && let Err(error) = own.storage.clear()
        {
            // The next call must not take its content for counters at 0.
            *zeroed = None;
            return Err(error);
        }
        Ok(memory)
    }

    /// Locks the memory for the launches of a call. What a caller's capture records is kept.
    ///
    /// # Errors
    /// Those of [`reserve`](Workspace::reserve).
    pub fn lock_for_launch(&self, operator: &str, needed: Needed) -> Result<MutexGuard<'_, Memory>> {
        let mut memory = self.reserve(operator, needed)?;
        if self.device.is_captured_by_caller()? {
            let Memory { any, zeroed, kept, .. } = &mut *memory;
            for own in any.iter().chain(zeroed.iter()) {
                if !kept.iter().any(|storage| storage.is(&own.storage)) {
                    kept.push(own.storage.clone());
                }
            }
        }
        Ok(memory)
    }

    /// Replaces memory that is too small. Returns `true` if it did. The new memory is at least twice as large, if that is within the limit and
    /// fits.
    fn grow(&self, operator: &str, part: &mut Option<Part>, bytes: u64) -> Result<bool> {
        let before = part.as_ref().map_or(0, |own| own.bytes);
        if bytes <= before {
            return Ok(false);
        }
        self.must_not_capture(operator, bytes)?;
        let ample = (2 * before).min(self.limit.load(Relaxed)).max(bytes);
        let storage = match self.device.allocate(ample) {
            Err(Error::OutOfMemory { .. }) => {
                // The old memory may be what is missing.
                *part = None;
                self.device.allocate(bytes)?
            }
            storage => storage?,
        };
        *part = Some(Part {
            address: storage.address(),
            bytes: storage.bytes(),
            storage,
        });
        Ok(true)
    }

    /// Returns the word in which kernels of an operator report indices out of range.
    ///
    /// # Errors
    /// As [`reserve`](Workspace::reserve).
    pub fn index_errors(&self, operator: &str) -> Result<Storage> {
        let mut words = lock(&self.index_errors);
        if let Some(word) = words.get(operator) {
            return Ok(word.clone());
        }
        self.must_not_capture(operator, 4)?;
        let word = self.device.allocate(4)?;
        word.clear()?;
        words.insert(operator.to_owned(), word.clone());
        Ok(word)
    }

    /// Reads all reports of indices out of range, and resets them.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] if there is a report; an error of the driver.
    pub fn check_indices(&self) -> Result<()> {
        let words: Vec<(String, Storage)> = lock(&self.index_errors)
            .iter()
            .map(|(operator, word)| (operator.clone(), word.clone()))
            .collect();
        let mut found = None;
        for (operator, word) in words {
            let mut bytes = [0; 4];
            word.read(0, &mut bytes)?;
            if bytes != [0; 4] {
                word.clear()?;
                found = Some(operator);
            }
        }
        match found {
            Some(operator) => Err(Error::IndexOutOfRange { operator }),
            None => Ok(()),
        }
    }

    /// Fails during stream capture, because memory allocated then exists only while the graph runs.
    fn must_not_capture(&self, operator: &str, bytes: u64) -> Result<()> {
        match self.device.is_capturing()? {
            true => Err(Error::Unprepared {
                operator: operator.to_owned(),
                bytes,
            }),
            false => Ok(()),
        }
    }
}

impl Memory {
    /// The addresses of memory with any content, and of zeroed memory.
    pub fn addresses(&self) -> [u64; 2] {
        [&self.any, &self.zeroed].map(|part| part.as_ref().map_or(0, |own| own.address))
    }

    /// The allocations that launches use.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> + Clone {
        self.any.iter().chain(&self.zeroed).map(|own| &own.storage)
    }

    /// The memory that launches leave at 0 unless one of them is interrupted.
    pub fn zeroed(&self) -> impl Iterator<Item = &Storage> {
        self.zeroed.iter().map(|own| &own.storage)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
