//! The kernels of a GPU. Each is compiled once and loaded once.

use crate::device::{Device, LoadedModule};
use crate::error::{Error, Result};
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::schedule::Program;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::stages::Untuned;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most choices of programs that are kept.
const MOST_PROGRAMS: usize = 1 << 14;

/// The identity of a kernel in this process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct KernelKey {
    /// The operator's number in this process.
    pub operator: u64,
    pub specialisation: Specialisation,
    pub program: Program,
    /// The kernel's position in the bundle. `None` if this process compiled it.
    pub embedded: Option<u32>,
}

/// An operator's number in this process, the specialisation, and the sizes that represent a call's.
type ProgramKey = (u64, Specialisation, Vec<u64>);

/// The kernels of a GPU.
#[derive(Default)]
pub(crate) struct Kernels {
    /// The programs of untuned operators, best first.
    programs: Mutex<HashMap<ProgramKey, Arc<[Untuned]>>>,
    compiled: Mutex<HashMap<KernelKey, Arc<Kernel>>>,
    loaded: Mutex<HashMap<KernelKey, LoadedModule>>,
    /// Tuned kernels that the device refused, with the reason. Another attempt would cost another compilation.
    refused: Mutex<HashMap<KernelKey, String>>,
}

impl Kernels {
    /// Returns the programs of an untuned operator, best first, chosen once for all calls near these sizes.
    pub fn programs(
        &self,
        key: ProgramKey,
        choose: impl FnOnce(&Specialisation, &[u64]) -> Vec<Untuned>,
    ) -> Arc<[Untuned]> {
        if let Some(programs) = lock(&self.programs).get(&key) {
            return programs.clone();
        }
        // Not under the lock, because it takes milliseconds. Two threads choose the same programs.
        let chosen: Arc<[Untuned]> = choose(&key.1, &key.2).into();
        let mut programs = lock(&self.programs);
        if programs.len() >= MOST_PROGRAMS {
            programs.clear();
        }
        programs.insert(key, chosen.clone());
        chosen
    }

    /// Returns a compiled kernel. One kernel serves many sizes.
    pub fn compiled<E>(
        &self,
        key: &KernelKey,
        compile: impl FnOnce() -> std::result::Result<Kernel, E>,
    ) -> std::result::Result<Arc<Kernel>, E> {
        if let Some(kernel) = lock(&self.compiled).get(key) {
            return Ok(kernel.clone());
        }
        let kernel = Arc::new(compile()?);
        Ok(lock(&self.compiled).entry(key.clone()).or_insert(kernel).clone())
    }

    /// Returns a kernel's module on the device.
    pub fn loaded(&self, key: &KernelKey, device: &Device, kernel: &Kernel) -> Result<LoadedModule> {
        if let Some(module) = lock(&self.loaded).get(key) {
            return Ok(module.clone());
        }
        // Not under the lock, because the driver compiles for long. If two threads load the same kernel, one module stays.
        let module = device.load(kernel)?;
        Ok(lock(&self.loaded).entry(key.clone()).or_insert(module).clone())
    }

    /// Returns why a tuned kernel is not used, for people. Remembers kernels that the device refuses.
    pub fn refuse(&self, key: &KernelKey, error: &Error) -> String {
        let (reason, lasts) = match error {
            Error::Load { reason, .. } => (format!("the tuned kernel cannot be loaded: {reason}"), true),
            Error::OutOfMemory { bytes } => (
                format!("there is no room for the tuned kernel's {bytes}-byte workspace"),
                false,
            ),
            error => (format!("the tuned kernel cannot be loaded: {error}"), false),
        };
        if lasts {
            lock(&self.refused).insert(key.clone(), reason.clone());
        }
        reason
    }

    /// Returns why the device refused a kernel. `None` if it did not.
    pub fn refusal(&self, key: &KernelKey) -> Option<String> {
        lock(&self.refused).get(key).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
