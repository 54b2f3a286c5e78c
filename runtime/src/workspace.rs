//! Device memory that kernels need besides tensors.

use crate::device::{Device, Storage};
use crate::error::{Error, Result};
use energy_kernel_compiler::kernel::ScratchContent;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The workspace of a stream. Launches of one stream run one after the other, so they share it.
pub(crate) struct Workspace {
    device: Device,
    split_k: Mutex<SplitK>,
    /// For each operator the word in which its kernels report indices out of range.
    index_errors: Mutex<HashMap<String, Storage>>,
}

/// Split-K partial sums and arrival counters. Graphs may use memory that has become too small, so it is kept. Each allocation is twice as
/// large as the one before, if it fits.
#[derive(Default)]
struct SplitK {
    partials: Vec<Storage>,
    arrivals: Vec<Storage>,
}

impl Workspace {
    pub fn new(device: Device) -> Workspace {
        Workspace {
            device,
            split_k: Mutex::default(),
            index_errors: Mutex::default(),
        }
    }

    /// Returns at least this many bytes. Counters are 0 between launches.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Unprepared`] during stream capture; an error of the driver.
    pub fn scratch(&self, operator: &str, content: &ScratchContent, bytes: u64) -> Result<Storage> {
        let mut split_k = lock(&self.split_k);
        let known = match content {
            ScratchContent::Partials { .. } | ScratchContent::Tensor { .. } => &mut split_k.partials,
            ScratchContent::Arrivals { .. } => &mut split_k.arrivals,
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
        if content.is_zeroed() {
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
