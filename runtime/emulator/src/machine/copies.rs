//! Asynchronous copies of a thread that it has not waited for.

use std::collections::VecDeque;

/// A `cp.async`: bytes on their way to shared memory.
#[derive(Clone, Copy)]
pub(crate) struct AsyncCopy {
    /// The offset in shared memory.
    pub to: u32,
    pub bytes: [u8; 16],
    pub size: u8,
    /// The index of the operation that started it.
    pub operation: u32,
}

/// A thread's `cp.async` copies: committed groups, oldest first, and the open group.
#[derive(Default)]
pub(crate) struct AsyncCopies {
    pub open: Vec<AsyncCopy>,
    pub groups: VecDeque<Vec<AsyncCopy>>,
}

impl AsyncCopies {
    /// Takes all copies, oldest first.
    pub fn take(&mut self) -> impl Iterator<Item = AsyncCopy> + use<> {
        let copies = std::mem::take(self);
        copies.groups.into_iter().flatten().chain(copies.open)
    }
}

/// A bulk copy from shared to global memory. It reads shared memory when it is waited for, as late as hardware may.
#[derive(Clone, Copy)]
pub(crate) struct BulkStore {
    /// The offset in shared memory.
    pub from: u32,
    /// The global address.
    pub to: u64,
    pub size: u32,
    /// The index of the operation that started it.
    pub operation: u32,
}
