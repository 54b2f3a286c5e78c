//! The emulated device: kernels run on the CPU, in the calling thread's time.

use super::{Launch, Owner, Storage};
use crate::error::{Error, Result};
use crate::simulate::{Counts, Profile, Simulated};
use energy_kernel_compiler::kernel::{self, Kernel};
use energy_kernel_compiler::target::Limits;
use energy_kernel_emulator::{Argument, Memory, MemoryError, Module, Options};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How operators run on an emulated device ([`Gpu::emulated_with`](crate::Gpu::emulated_with)).
#[derive(Debug, Clone, PartialEq)]
pub struct Emulation {
    /// The GPU whose times and energies are simulated.
    pub profile: Profile,
    /// Whether every launch is searched for accesses out of bounds, races, reads of memory that nobody wrote and the like; a
    /// finding is [`Error::Sanitizer`]. Costs a few times the run time. On by default in debug builds.
    pub sanitize: bool,
    /// Bytes of device memory.
    pub memory: u64,
    /// Threads of the host that a launch may use; none: as many as there are.
    pub threads: Option<usize>,
    /// Whether approximate instructions give results as wrong as the hardware's may be.
    pub approximate: bool,
}

impl Default for Emulation {
    fn default() -> Emulation {
        Emulation {
            profile: Profile::Hopper,
            sanitize: cfg!(debug_assertions),
            memory: 16 << 30,
            threads: None,
            approximate: false,
        }
    }
}

/// An emulated device.
pub(crate) struct Emulated {
    pub options: Emulation,
    limits: Limits,
    memory: Arc<Memory>,
    /// Launches come one after the other, as on a stream.
    stream: Mutex<()>,
    /// How many regions want launches counted.
    counting: AtomicU32,
    tally: Mutex<Tally>,
    /// When launches are broken off.
    deadline: Mutex<Option<Instant>>,
}

/// What the counted launches add up to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub launches: u64,
    pub latency_s: f64,
    pub energy_j: f64,
    pub counts: Counts,
}

/// Emulated memory.
pub(crate) struct Allocation {
    memory: Arc<Memory>,
    address: u64,
}

/// A parsed module.
pub(crate) struct Loaded {
    module: Module,
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

    pub fn owns(&self, allocation: &Allocation) -> bool {
        Arc::ptr_eq(&self.memory, &allocation.memory)
    }

    pub fn allocate(&self, bytes: u64) -> Result<Storage> {
        let address = self.memory.allocate(bytes).map_err(|error| match error {
            MemoryError::Exhausted { .. } => Error::OutOfMemory { bytes },
            error => memory_error(error),
        })?;
        Ok(Storage {
            address,
            bytes,
            owner: Owner::Emulated(Allocation {
                memory: self.memory.clone(),
                address,
            }),
        })
    }

    /// Executes launches of a loaded kernel, one after the other. A launch that is broken off clears the memory in `zeroed`.
    pub fn launch<'s>(
        &self,
        loaded: &Loaded,
        launches: &[Launch<'_>],
        mut zeroed: impl Iterator<Item = &'s Storage>,
    ) -> Result<()> {
        let _one_after_the_other = locked(&self.stream);
        let mut executed = launches.iter().map(|launch| self.execute(loaded, launch));
        let ended = executed.try_for_each(|executed| executed);
        if let Err(Error::Emulator { .. }) = ended {
            zeroed.try_for_each(Storage::clear)?;
        }
        ended
    }

    fn execute(&self, loaded: &Loaded, launch: &Launch<'_>) -> Result<()> {
        let arguments: Vec<Argument> = launch.arguments.to_bytes().map(Argument::Bytes).collect();
        let count = self.counting.load(Relaxed) > 0;
        let options = Options {
            sanitize: self.options.sanitize,
            count,
            threads: self.options.threads,
            approx_error: self.options.approximate,
            deadline: *locked(&self.deadline),
            ..Options::default()
        };
        let kernel::Launch {
            entry,
            block,
            dynamic_shared,
            ..
        } = launch.launch;
        let request = energy_kernel_emulator::Launch {
            grid: launch.grid,
            block: *block,
            dynamic_shared: *dynamic_shared,
            arguments: &arguments,
            options,
        };
        let report = energy_kernel_emulator::launch(&loaded.module, entry, &self.memory, &request);
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
            let shape = crate::simulate::Shape {
                grid: launch.grid,
                block: *block,
                dynamic_shared: *dynamic_shared,
            };
            let simulated = Simulated::of(self.options.profile, &report.counts, shape);
            let mut tally = locked(&self.tally);
            tally.launches += 1;
            tally.latency_s += simulated.latency_s;
            tally.energy_j += simulated.energy_j;
            tally.counts += report.counts;
        }
        Ok(())
    }

    /// Runs work whose launches, like those of other threads on this device, are broken off at this time.
    pub fn until<R>(&self, deadline: Instant, work: impl FnOnce() -> R) -> R {
        let before = locked(&self.deadline).replace(deadline);
        let result = work();
        *locked(&self.deadline) = before;
        result
    }

    /// Runs work with its launches counted. Launches of other threads on this device count in as well.
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
            launches: after.launches - before.launches,
            latency_s: after.latency_s - before.latency_s,
            energy_j: after.energy_j - before.energy_j,
            counts: after.counts - before.counts,
        };
        Ok((tally, result))
    }
}

/// What is behind these locks is whole whenever they are released, whoever panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Emulated {
    /// Loads a kernel, or refuses it as the driver of the profile's GPU would.
    pub fn load(&self, kernel: &Kernel) -> Result<Loaded> {
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
        Ok(Loaded { module })
    }
}

fn memory_error(error: MemoryError) -> Error {
    Error::Emulator {
        kernel: "memory".to_owned(),
        reason: error.to_string(),
    }
}

impl Allocation {
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.memory.write(address, bytes).map_err(memory_error)
    }

    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.memory.read(address, bytes).map_err(memory_error)
    }

    pub fn clear(&self, address: u64, bytes: u64) -> Result<()> {
        self.memory.fill(address, 0, bytes).map_err(memory_error)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // Allocated once, freed once: there is nothing that could go wrong.
        let _ = self.memory.free(self.address);
    }
}
