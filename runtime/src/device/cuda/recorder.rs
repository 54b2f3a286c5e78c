//! Keeps the memory and modules of a CUDA graph alive.

use super::memory::Allocation;
use super::module::Module;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The memory and modules that launches use.
#[derive(Default)]
pub(super) struct Used {
    pub allocations: Vec<Arc<Allocation>>,
    modules: Vec<Arc<Module>>,
}

/// Collects the memory and modules of launches while a graph is recorded.
#[derive(Default)]
pub(super) struct Recorder {
    recording: AtomicBool,
    used: Mutex<Used>,
}

impl Recorder {
    pub fn start(&self) {
        self.recording.store(true, Relaxed);
    }

    /// Ends the recording and returns what it collected.
    pub fn stop(&self) -> Used {
        let used = std::mem::take(&mut *self.used());
        self.recording.store(false, Relaxed);
        used
    }

    pub fn is_recording(&self) -> bool {
        self.recording.load(Relaxed)
    }

    /// Adds a launch while a graph is recorded.
    pub fn note<'s>(&self, module: &Arc<Module>, allocations: impl Iterator<Item = &'s Arc<Allocation>>) {
        if !self.is_recording() {
            return;
        }
        let mut used = self.used();
        add(&mut used.modules, module);
        // The graph itself frees the memory that it allocates.
        for allocation in allocations.filter(|allocation| !allocation.is_of_graph()) {
            add(&mut used.allocations, allocation);
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add<T>(all: &mut Vec<Arc<T>>, one: &Arc<T>) {
    // Launches tend to repeat, so the search starts at the last one.
    if !all.iter().rev().any(|known| Arc::ptr_eq(known, one)) {
        all.push(one.clone());
    }
}
