//! The emulated device. Kernels run on the CPU, in the calling thread.

use super::launch::BoundLaunch;
use crate::error::{Error, Result};
use crate::simulate::Emulation;
use crate::simulate::{Counts, LaunchConfig, Simulated};
use energy_kernel_compiler::kernel::{Kernel, Launch};
use energy_kernel_compiler::target::Limits;
use energy_kernel_emulator::{Memory, MemoryError, Module, Options};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// An emulated device.
pub(crate) struct Emulated {
    options: Emulation,
    limits: Limits,
    memory: Arc<Memory>,
    /// Held during a launch: launches run one after the other, as on a stream.
    stream: Mutex<()>,
    /// The number of regions that want launches counted.
    counting: AtomicU32,
    tally: Mutex<Tally>,
    /// The time at which launches are interrupted.
    deadline: Mutex<Option<Instant>>,
}

/// The sums over all counted launches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub latency_s: f64,
    pub energy_j: f64,
    pub counts: Counts,
}

/// Emulated memory.
pub(crate) struct Allocation {
    memory: Arc<Memory>,
    address: u64,
    bytes: u64,
}

impl Emulated {
    pub fn new(options: Emulation, limits: Limits) -> Emulated {
        Emulated {
            limits,
            memory: Arc::new(Memory::new(options.memory)),
            options,
            stream: Mutex::default(),
            counting: AtomicU32::new(0),
            tally: Mutex::default(),
            deadline: Mutex::default(),
        }
    }

    /// `true` if the memory is this device's.
    pub fn owns(&self, allocation: &Allocation) -> bool {
        Arc::ptr_eq(&self.memory, &allocation.memory)
    }

    /// Allocates memory without initialising it.
    pub fn allocate(&self, bytes: u64) -> Result<Allocation> {
        let address = self.memory.allocate(bytes).map_err(|error| match error {
            MemoryError::Exhausted { .. } => Error::OutOfMemory { bytes },
            error => memory_error(error),
        })?;
        Ok(Allocation {
            memory: self.memory.clone(),
            address,
            bytes,
        })
    }

    /// Parses a kernel's module. Refuses what the driver of the profile's GPU would refuse.
    pub fn load(&self, kernel: &Kernel) -> Result<Module> {
        let error = |reason: String| Error::Load {
            kernel: kernel.name().to_owned(),
            reason,
            log: String::new(),
        };
        kernel.fits(&self.limits).map_err(|e| error(e.to_string()))?;
        let module = Module::parse(&kernel.ptx).map_err(|e| error(e.to_string()))?;
        for launch in &kernel.launches {
            module.check(&launch.entry).map_err(|e| error(e.to_string()))?;
        }
        Ok(module)
    }

    /// Runs the launches of a module in order. If one is interrupted, clears the memory in `zeroed`.
    pub fn launch<'s>(
        &self,
        module: &Module,
        launches: &[BoundLaunch<'_>],
        mut zeroed: impl Iterator<Item = &'s Allocation>,
    ) -> Result<()> {
        let _stream = locked(&self.stream);
        let ended =
            (launches.iter().enumerate()).try_for_each(|(number, launch)| self.execute(module, launch, number > 0));
        if let Err(Error::Emulator { .. }) = ended {
            zeroed.try_for_each(Allocation::clear)?;
        }
        ended
    }

    /// Runs a launch. `follows` is `true` if another launch of the same call came before.
    fn execute(&self, module: &Module, bound: &BoundLaunch<'_>, follows: bool) -> Result<()> {
        let arguments: Vec<energy_kernel_emulator::Argument> = (bound.arguments.to_bytes())
            .map(energy_kernel_emulator::Argument::Bytes)
            .collect();
        let count = self.counting.load(Relaxed) > 0;
        let options = Options {
            sanitize: self.options.sanitize,
            count,
            threads: self.options.threads,
            approx_error: self.options.approximate,
            deadline: *locked(&self.deadline),
            ..Options::default()
        };
        let Launch {
            entry,
            block,
            dynamic_shared,
            ..
        } = bound.launch;
        let request = energy_kernel_emulator::Launch {
            grid: bound.grid,
            block: *block,
            dynamic_shared: *dynamic_shared,
            arguments: &arguments,
            options,
        };
        let report = energy_kernel_emulator::launch(module, entry, &self.memory, &request);
        let report = report.map_err(|error| Error::Emulator {
            kernel: entry.clone(),
            reason: error.to_string(),
        })?;
        if !report.findings.is_empty() {
            return Err(Error::Sanitizer {
                kernel: entry.clone(),
                findings: report.findings.iter().map(ToString::to_string).collect(),
            });
        }
        if count {
            let live_registers = module.live_registers(entry).map_err(|error| Error::Emulator {
                kernel: entry.clone(),
                reason: error.to_string(),
            })?;
            let config = LaunchConfig {
                grid: bound.grid,
                block: *block,
                live_registers,
                dynamic_shared: *dynamic_shared,
            };
            let profile = self.options.profile;
            let mut simulated = Simulated::of(profile, &report.counts, config);
            if follows {
                simulated = simulated.after_another(profile);
            }
            let mut tally = locked(&self.tally);
            tally.latency_s += simulated.latency_s;
            tally.energy_j += simulated.energy_j;
            tally.counts += report.counts;
        }
        Ok(())
    }

    /// Runs `work`. Launches that have not ended by the deadline are interrupted, also those of other threads on this device.
    pub fn until<R>(&self, deadline: Instant, work: impl FnOnce() -> R) -> R {
        let before = locked(&self.deadline).replace(deadline);
        let result = work();
        *locked(&self.deadline) = before;
        result
    }

    /// Runs `work` and returns the sums over its launches. Launches of other threads on this device are included.
    pub fn counted<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<(Tally, R)> {
        struct Guard<'a>(&'a AtomicU32);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        let read = || *locked(&self.tally);
        self.counting.fetch_add(1, Relaxed);
        let guard = Guard(&self.counting);
        let before = read();
        let result = work()?;
        let after = read();
        drop(guard);
        let tally = Tally {
            latency_s: after.latency_s - before.latency_s,
            energy_j: after.energy_j - before.energy_j,
            counts: after.counts - before.counts,
        };
        Ok((tally, result))
    }
}

/// The data behind these locks is consistent whenever they are released, also by a panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn memory_error(error: MemoryError) -> Error {
    Error::Emulator {
        kernel: "memory".to_owned(),
        reason: error.to_string(),
    }
}

impl Allocation {
    pub fn address(&self) -> u64 {
        self.address
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.memory.write(self.address + offset, bytes).map_err(memory_error)
    }

    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.memory.read(self.address + offset, bytes).map_err(memory_error)
    }

    pub fn clear(&self) -> Result<()> {
        self.memory.fill(self.address, 0, self.bytes).map_err(memory_error)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // Allocated once and freed once, so this cannot fail.
        let _ = self.memory.free(self.address);
    }
}
