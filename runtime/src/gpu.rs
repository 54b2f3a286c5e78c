//! The handle to a GPU.

use crate::call::ReadyMap;
use crate::device::cuda::Cuda;
use crate::device::{Device, Loaded, Storage};
use crate::error::{Error, Result};
use cudarc::driver::CudaStream;
use energy_kernel_compiler::kernel::{Kernel, ScratchContent};
use energy_kernel_compiler::record::{DeviceClass, Objective};
use energy_kernel_compiler::schedule::{Program, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

#[cfg(feature = "emulator")]
pub use crate::device::emulated::Emulation;

/// A GPU, real or emulated, and a stream on it: the order in which its work is done.
///
/// Cheap to clone; clones share stream, settings and loaded kernels. Usable from any thread.
///
/// Some kernels need memory of their own, which all launches on the stream share. A CUDA graph that was recorded on it uses that
/// memory as well: replay it on this stream, or while nothing else of this `Gpu` runs. Who captures the stream without
/// [`record`](Gpu::record) keeps this `Gpu` and the tensors as long as the graph.
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

struct Inner {
    device: Device,
    class: DeviceClass,
    machine: Machine,
    /// None: what each operator's build was told, else the default.
    objective: RwLock<Option<Objective>>,
    check_indices: AtomicBool,
    /// What calls need, by operator and shapes.
    ready: RwLock<ReadyMap>,
    /// Schedules of what is not tuned.
    defaults: Mutex<HashMap<DefaultKey, Schedule>>,
    /// Compiled kernels, shared by the calls that need the same one.
    compiled: Mutex<HashMap<KernelKey, Arc<Kernel>>>,
    /// Of these, the ones on the device.
    loaded: Mutex<HashMap<KernelKey, Arc<Loaded>>>,
    /// Tuned kernels that the device refuses, with the reason. Trying again would cost another compilation.
    refused: Mutex<HashMap<KernelKey, String>>,
    /// Warnings by operator, so that each is given once.
    said: Mutex<HashSet<(String, String)>>,
    /// The words that report gathered indices out of range, one an operator.
    index_errors: Mutex<HashMap<String, Arc<Storage>>>,
    scratch: Mutex<Scratch>,
}

/// What blocks leave for each other, and where they count themselves. Its launches come one after the other, so they share it. What became
/// too small stays for the sake of graphs that were recorded with it; each is twice as large as the one before, where there is room.
#[derive(Default)]
struct Scratch {
    partials: Vec<Arc<Storage>>,
    arrivals: Vec<Arc<Storage>>,
}

/// More choices than these are not kept.
const MOST_DEFAULTS: usize = 1 << 14;

/// The most warnings remembered.
const MOST_SAID: usize = 1 << 12;

/// An operator's number in this process, the specialisation, and the sizes that stand for a call's.
type DefaultKey = (u64, Specialisation, Vec<u64>);

/// What tells kernels apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct KernelKey {
    /// The operator's number in this process.
    pub operator: u64,
    pub specialisation: Specialisation,
    pub program: Program,
    /// Its position in the bundle; none if this program compiled it.
    pub embedded: Option<u32>,
}

impl Gpu {
    /// The first GPU.
    ///
    /// # Errors
    /// [`Error::NoDriver`], [`Error::DriverTooOld`] or [`Error::NoDevice`] on a machine without one, [`Error::UnsupportedDevice`] before
    /// Ampere, or an error of the driver.
    pub fn open() -> Result<Gpu> {
        Gpu::open_at(0)
    }

    /// The GPU of that ordinal, on a stream of its own.
    ///
    /// # Errors
    /// As [`open`](Gpu::open); [`Error::NoSuchDevice`] if there are fewer.
    pub fn open_at(ordinal: usize) -> Result<Gpu> {
        Gpu::real(Cuda::open(ordinal)?)
    }

    /// A caller's cudarc stream: operators are queued on it, and nowhere else.
    ///
    /// # Errors
    /// [`Error::UnsupportedDevice`] before Ampere, or an error of the driver.
    pub fn from_stream(stream: Arc<CudaStream>) -> Result<Gpu> {
        Gpu::real(Cuda::from_stream(stream)?)
    }

    fn real(cuda: Cuda) -> Result<Gpu> {
        let properties = cuda.properties()?;
        let (major, minor) = properties.capability;
        let target = Target::for_capability(major, minor).ok_or_else(|| Error::UnsupportedDevice {
            name: properties.name.clone(),
            major,
            minor,
        })?;
        let machine = Machine {
            target,
            multiprocessors: properties.multiprocessors,
            limits: properties.limits,
        };
        let class = DeviceClass {
            name: properties.name,
            compute_capability: (major, minor),
            multiprocessors: properties.multiprocessors,
            memory_bytes: properties.memory,
            simulated: false,
        };
        Ok(Gpu::new(Device::Cuda(Arc::new(cuda)), class, machine))
    }

    /// An emulated GPU: operators run on the CPU, through the same kernels. Its latencies and energies are simulated.
    #[cfg(feature = "emulator")]
    pub fn emulated() -> Gpu {
        Gpu::emulated_with(Emulation::default())
    }

    /// An emulated GPU with these options.
    #[cfg(feature = "emulator")]
    pub fn emulated_with(options: Emulation) -> Gpu {
        let machine = options.profile.machine();
        let class = DeviceClass {
            name: options.profile.name().to_owned(),
            compute_capability: machine.capability,
            multiprocessors: machine.multiprocessors,
            memory_bytes: machine.memory_bytes,
            simulated: true,
        };
        // Every profile has a capability that kernels are made for (tested).
        let machine = class.machine().unwrap_or(Machine::like(Target::Sm80));
        let emulated = crate::device::emulated::Emulated::new(options, machine.limits);
        Gpu::new(Device::Emulated(Arc::new(emulated)), class, machine)
    }

    fn new(device: Device, class: DeviceClass, machine: Machine) -> Gpu {
        tracing::debug!(device = %class, "opened");
        Gpu {
            inner: Arc::new(Inner {
                machine,
                device,
                class,
                objective: RwLock::default(),
                check_indices: AtomicBool::new(false),
                ready: RwLock::default(),
                defaults: Mutex::default(),
                compiled: Mutex::default(),
                loaded: Mutex::default(),
                refused: Mutex::default(),
                said: Mutex::default(),
                index_errors: Mutex::default(),
                scratch: Mutex::default(),
            }),
        }
    }

    /// What it is: the key under which measurements of it are kept.
    pub fn device_class(&self) -> &DeviceClass {
        &self.inner.class
    }

    /// Whether it is emulated: its latencies and energies are simulated then.
    pub fn is_emulated(&self) -> bool {
        self.inner.class.simulated
    }

    /// The stream that operators are queued on; none for an emulated GPU.
    pub fn stream(&self) -> Option<&Arc<CudaStream>> {
        match &self.inner.device {
            Device::Cuda(cuda) => Some(cuda.stream()),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => None,
        }
    }

    /// The CUDA version that the driver supports: 12040 for 12.4; none for an emulated GPU.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn driver_version(&self) -> Result<Option<u32>> {
        match &self.inner.device {
            Device::Cuda(cuda) => cuda.driver_version().map(Some),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Ok(None),
        }
    }

    /// The GPU's UUID, spelt as by `nvidia-smi -L`: `GPU-8a3b1c2d-…`; none for an emulated one.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn uuid(&self) -> Result<Option<String>> {
        match &self.inner.device {
            Device::Cuda(cuda) => cuda.uuid().map(Some),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Ok(None),
        }
    }

    /// Waits until all work given to it is done.
    ///
    /// # Errors
    /// An error of that work; [`Error::IndexOutOfRange`] if [`check_indices`](Gpu::check_indices) is on; [`Error::Release`] if something that
    /// was dropped since the last time could not be released; [`Error::Capture`] while its stream is captured into a graph.
    pub fn synchronize(&self) -> Result<()> {
        self.inner.device.synchronize()?;
        let words: Vec<(String, Arc<Storage>)> = lock(&self.inner.index_errors)
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
            None => self.inner.device.unreleased(),
        }
    }

    /// Whether gathered indices (`table[[ids[[t]], d]]`) that are out of range are reported, at the next
    /// [`synchronize`](Gpu::synchronize). Off at first: they read 0 silently. Never do they touch other memory.
    pub fn check_indices(&self, check: bool) {
        self.inner.check_indices.store(check, Relaxed);
    }

    pub(crate) fn checks_indices(&self) -> bool {
        self.inner.check_indices.load(Relaxed)
    }

    /// What kernels are chosen for, among those that were tuned. Unless it is set, each operator keeps to what its build was told:
    /// by default the least energy within 5 % of the best latency. Plans made earlier stay as they are.
    pub fn set_objective(&self, objective: Objective) {
        *self.inner.objective.write().unwrap_or_else(PoisonError::into_inner) = Some(objective);
        self.inner.ready.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What kernels are chosen for, where that was set.
    pub fn objective(&self) -> Option<Objective> {
        *self.inner.objective.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn device(&self) -> &Device {
        &self.inner.device
    }

    /// The machine that kernels are made for: its instruction set, and the limits that its driver states. For tools: exempt from semantic
    /// versioning, as the compiler's types are.
    pub fn machine(&self) -> Machine {
        self.inner.machine
    }

    pub(crate) fn ready(&self) -> RwLockReadGuard<'_, ReadyMap> {
        self.inner.ready.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_ready(&self, add: impl FnOnce(&mut ReadyMap)) {
        add(&mut self.inner.ready.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The schedule for what is not tuned, chosen once for all calls near these sizes.
    pub(crate) fn default_schedule(
        &self,
        operator: u64,
        specialisation: &Specialisation,
        near: &[u64],
        choose: impl FnOnce() -> Schedule,
    ) -> Schedule {
        let key = (operator, specialisation.clone(), near.to_vec());
        if let Some(schedule) = lock(&self.inner.defaults).get(&key) {
            return *schedule;
        }
        // Not under the lock: it takes milliseconds. Two threads choose the same.
        let schedule = choose();
        let mut defaults = lock(&self.inner.defaults);
        if defaults.len() >= MOST_DEFAULTS {
            defaults.clear();
        }
        defaults.insert(key, schedule);
        schedule
    }

    /// A kernel, compiled once however many sizes it serves.
    pub(crate) fn compiled<E>(
        &self,
        key: &KernelKey,
        compile: impl FnOnce() -> std::result::Result<Kernel, E>,
    ) -> std::result::Result<Arc<Kernel>, E> {
        if let Some(kernel) = lock(&self.inner.compiled).get(key) {
            return Ok(kernel.clone());
        }
        let kernel = Arc::new(compile()?);
        Ok(lock(&self.inner.compiled).entry(key.clone()).or_insert(kernel).clone())
    }

    /// A kernel on this device, loaded once.
    pub(crate) fn load(&self, key: &KernelKey, load: impl FnOnce() -> Result<Loaded>) -> Result<Arc<Loaded>> {
        if let Some(loaded) = lock(&self.inner.loaded).get(key) {
            return Ok(loaded.clone());
        }
        // Not under the lock: the driver compiles for long. Of two threads that do, one result stays.
        let loaded = Arc::new(load()?);
        Ok(lock(&self.inner.loaded).entry(key.clone()).or_insert(loaded).clone())
    }

    /// Returns the reason, for people, why a tuned kernel is not used. Remembers kernels that the device refuses.
    pub(crate) fn refuse(&self, key: &KernelKey, error: &Error) -> String {
        let (reason, lasts) = match error {
            Error::Load { reason, .. } => (format!("the tuned kernel cannot be loaded: {reason}"), true),
            Error::OutOfMemory { bytes } => (
                format!(
                    "there is no room for {bytes} bytes of sums that the tuned kernel's blocks leave for each other"
                ),
                false,
            ),
            error => (format!("the tuned kernel cannot be loaded: {error}"), false),
        };
        if lasts {
            lock(&self.inner.refused).insert(key.clone(), reason.clone());
        }
        reason
    }

    /// The reason for which the device refused a kernel; none if it did not.
    pub(crate) fn refusal(&self, key: &KernelKey) -> Option<String> {
        lock(&self.inner.refused).get(key).cloned()
    }

    /// `true` the first time that this is said of the operator.
    pub(crate) fn is_news(&self, operator: &str, text: &str) -> bool {
        let mut said = lock(&self.inner.said);
        if said.len() >= MOST_SAID {
            said.clear();
        }
        said.insert((operator.to_owned(), text.to_owned()))
    }

    /// The word in which kernels of an operator report indices out of range.
    pub(crate) fn index_error_word(&self, operator: &str) -> Result<Arc<Storage>> {
        let mut words = lock(&self.inner.index_errors);
        if let Some(word) = words.get(operator) {
            return Ok(word.clone());
        }
        self.lasting_memory(4)?;
        let word = Arc::new(self.inner.device.allocate(4)?);
        word.clear()?;
        words.insert(operator.to_owned(), word.clone());
        Ok(word)
    }

    /// Fails while the stream is captured: memory allocated then exists only while the graph runs.
    fn lasting_memory(&self, bytes: u64) -> Result<()> {
        match self.inner.device.is_capturing()? {
            true => Err(Error::Unprepared { bytes }),
            false => Ok(()),
        }
    }

    /// So many bytes of memory for a kernel's own use, shared by all launches on this stream; counters are 0 between them.
    pub(crate) fn scratch(&self, content: ScratchContent, bytes: u64) -> Result<Arc<Storage>> {
        let mut scratch = lock(&self.inner.scratch);
        let known = match content {
            ScratchContent::Partials { .. } => &mut scratch.partials,
            ScratchContent::Arrivals { .. } => &mut scratch.arrivals,
        };
        let largest = known.last().map_or(0, |storage| storage.bytes);
        if let Some(storage) = known.last()
            && largest >= bytes
        {
            return Ok(storage.clone());
        }
        self.lasting_memory(bytes)?;
        let device = &self.inner.device;
        let storage = match device.allocate(bytes.max(2 * largest)) {
            Err(Error::OutOfMemory { .. }) => device.allocate(bytes)?,
            storage => storage?,
        };
        if content.is_zeroed() {
            storage.clear()?;
        }
        let storage = Arc::new(storage);
        known.push(storage.clone());
        Ok(storage)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gpu").field(&self.inner.class.to_string()).finish()
    }
}

// Driver handles are only used after binding their context; everything else is locked.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Gpu>();
    shared::<crate::Tensor<f32>>();
    shared::<crate::Plan>();
};
