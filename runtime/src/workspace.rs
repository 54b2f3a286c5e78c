//! Device memory that kernels need besides tensors.

use crate::device::{Device, Storage};
use crate::error::{Error, Result};
use energy_kernel_compiler::kernel::MOST_WORKSPACE;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The workspace of a stream. Launches of one stream run one after the other, so they share it.
pub(crate) struct Workspace {
    device: Device,
    memory: Mutex<Memory>,
    /// Held while the launches of a call that uses the workspace are queued: no other call's launch may come between them.
    queue: Mutex<()>,
    /// The most bytes that the program of a call may need.
    limit: AtomicU64,
    /// For each operator the word in which its kernels report indices out of range.
    index_errors: Mutex<HashMap<String, Storage>>,
}

/// What was allocated so far, the largest last. Graphs may use memory that has become too small, so it is kept. Each allocation is twice as
/// large as the one before, if it fits.
#[derive(Default)]
struct Memory {
    /// Stored tensors and split-K partial sums: any content before a call.
    any: Vec<Storage>,
    /// Split-K arrival counters: 0 between launches.
    zeroed: Vec<Storage>,
}

impl Workspace {
    pub fn new(device: Device) -> Workspace {
        Workspace {
            device,
            memory: Mutex::default(),
            queue: Mutex::default(),
            limit: AtomicU64::new(MOST_WORKSPACE),
            index_errors: Mutex::default(),
        }
    }

    /// The most bytes that the program of a call may need.
    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Relaxed);
    }

    /// Keeps other calls that use the workspace from queueing launches.
    pub fn queue(&self) -> MutexGuard<'_, ()> {
        lock(&self.queue)
    }

    /// Returns at least this many bytes, at a multiple of 256. `zeroed` memory is 0 between launches.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Unprepared`] during stream capture; an error of the driver.
    pub fn scratch(&self, operator: &str, zeroed: bool, bytes: u64) -> Result<Storage> {
        let mut memory = lock(&self.memory);
        let known = match zeroed {
            false => &mut memory.any,
            true => &mut memory.zeroed,
        };
        let largest = known.last().map_or(0, Storage::bytes);
        if let Some(storage) = known.last()
            && largest >= bytes
        {
            return Ok(storage.clone());
        }
        self.must_not_capture(operator, bytes)?;
        let storage = match self.device.allocate(bytes.max(2 * largest)) {
            Err(Error::OutOfMemory { .. }) => self.device.allocate(bytes)?,
            storage => storage?,
        };
        if zeroed {
            storage.clear()?;
        }
        known.push(storage.clone());
        Ok(storage)
    }

    /// Returns the word in which kernels of an operator report indices out of range.
    ///
    /// # Errors
    /// As [`scratch`](Workspace::scratch).
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
