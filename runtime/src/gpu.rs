//! The handle to a GPU.

use crate::device::Device;
use crate::device::cuda::Cuda;
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::resolved::ResolvedCalls;
#[cfg(feature = "emulator")]
use crate::simulate::Emulation;
use crate::workspace::Workspace;
use cudarc::driver::CudaStream;
use energy_kernel_compiler::record::{DeviceClass, Objective};
use energy_kernel_compiler::target::{Machine, Target};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A real or emulated GPU and one of its streams, which orders all work.
///
/// It is cheap to clone. Clones share the stream, the settings and the loaded kernels. Any thread may use it.
///
/// Launches on the stream share a workspace. A CUDA graph that was recorded on the stream uses that workspace too: replay it on this
/// stream, or while nothing else of this `Gpu` runs, or record it with a [workspace](Gpu::set_workspace) of its own. If you capture the stream without [`record`](Gpu::record), keep this `Gpu` and the
/// tensors as long as the graph.
///
/// ```
/// use energy_kernel::prelude::*;
///
/// #[energy_kernel]
/// fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
///     |n| x[[n]] * 2.0
/// }
///
/// # fn main() -> Result<(), Error> {
/// let gpu = Gpu::emulated();
/// let x = Tensor::from_slice(&gpu, &[3], &[1.0, 2.0, 3.0])?;
/// let y = double(&gpu, &x)?;
/// gpu.synchronize()?;
/// assert_eq!(y.to_vec()?, [2.0, 4.0, 6.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

struct Inner {
    device: Device,
    class: DeviceClass,
    machine: Machine,
    /// `None`: each operator follows its build, else the default.
    objective: RwLock<Option<Objective>>,
    check_indices: AtomicBool,
    calls: ResolvedCalls,
    kernels: Kernels,
    workspace: Workspace,
    /// The warnings given, by operator.
    warnings: Mutex<HashSet<(String, String)>>,
}

/// The most warnings that are remembered.
const MOST_WARNINGS: usize = 1 << 12;

impl Gpu {
    /// Opens the first GPU, on a stream of its own.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    ///
    /// let gpu = Gpu::open().unwrap_or_else(|error| {
    ///     eprintln!("{error}");
    ///     Gpu::emulated()
    /// });
    /// println!("{}", gpu.device_class());
    /// ```
    ///
    /// # Errors
    /// [`Error::NoDriver`], [`Error::DriverTooOld`] or [`Error::NoDevice`] on a machine without a usable GPU; [`Error::UnsupportedDevice`]
    /// before Ampere; an error of the driver.
    pub fn open() -> Result<Gpu> {
        Gpu::open_at(0)
    }

    /// Opens the GPU with this ordinal, on a stream of its own.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    ///
    /// assert!(Gpu::open_at(1000).is_err());
    /// ```
    ///
    /// # Errors
    /// Those of [`open`](Gpu::open); [`Error::NoSuchDevice`] if there are fewer GPUs.
    pub fn open_at(ordinal: usize) -> Result<Gpu> {
        Gpu::real(Cuda::open(ordinal)?)
    }

    /// Uses a caller's cudarc stream. Operators are queued on it and nowhere else.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    ///
    /// # fn main() -> Result<(), Error> {
    /// let gpu = Gpu::open().unwrap_or_else(|_| Gpu::emulated());
    /// if let Some(stream) = gpu.stream() {
    ///     let other = Gpu::from_stream(stream.clone())?; // the same stream, with settings of its own
    ///     assert_eq!(other.device_class(), gpu.device_class());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnsupportedDevice`] before Ampere; an error of the driver.
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

    /// Creates an emulated GPU. Operators run on the CPU, with the same kernels. Latencies and energies are simulated.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    ///
    /// # fn main() -> Result<(), Error> {
    /// let gpu = Gpu::emulated();
    /// assert!(gpu.is_emulated() && gpu.device_class().simulated);
    /// assert!(gpu.stream().is_none());
    /// assert_eq!((gpu.uuid()?, gpu.driver_version()?), (None, None));
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "emulator")]
    pub fn emulated() -> Gpu {
        Gpu::emulated_with(Emulation::default())
    }

    /// Creates an emulated GPU with these options.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    /// use energy_kernel::simulate::{Emulation, Profile};
    ///
    /// let gpu = Gpu::emulated_with(Emulation::new().profile(Profile::Ampere));
    /// assert_eq!(gpu.device_class().compute_capability, (8, 0));
    /// ```
    #[cfg(feature = "emulator")]
    pub fn emulated_with(options: Emulation) -> Gpu {
        let sheet = options.profile.datasheet();
        let class = DeviceClass {
            name: options.profile.name().to_owned(),
            compute_capability: sheet.capability,
            multiprocessors: sheet.multiprocessors,
            memory_bytes: sheet.memory_bytes,
            simulated: true,
        };
        // A test checks that every profile has a capability with a target.
        let machine = class.machine().unwrap_or(Machine::like(Target::Sm80));
        let emulated = crate::device::emulated::Emulated::new(options, machine.limits);
        Gpu::new(Device::Emulated(Arc::new(emulated)), class, machine)
    }

    fn new(device: Device, class: DeviceClass, machine: Machine) -> Gpu {
        tracing::debug!(device = %class, "opened");
        Gpu {
            inner: Arc::new(Inner {
                workspace: Workspace::new(device.clone()),
                machine,
                device,
                class,
                objective: RwLock::default(),
                check_indices: AtomicBool::new(false),
                calls: ResolvedCalls::default(),
                kernels: Kernels::default(),
                warnings: Mutex::default(),
            }),
        }
    }

    /// The device class, under which measurements of this GPU are kept.
    ///
    /// ```
    /// # use energy_kernel::prelude::*;
    /// let class = Gpu::emulated().device_class().clone();
    /// assert_eq!((class.name.as_str(), class.multiprocessors), ("hopper", 132));
    /// ```
    pub fn device_class(&self) -> &DeviceClass {
        &self.inner.class
    }

    /// `true` if the GPU is emulated. Its latencies and energies are then simulated. See [`emulated`](Gpu::emulated).
    pub fn is_emulated(&self) -> bool {
        self.inner.class.simulated
    }

    /// The stream that operators are queued on. `None` for an emulated GPU. See [`from_stream`](Gpu::from_stream).
    pub fn stream(&self) -> Option<&Arc<CudaStream>> {
        match &self.inner.device {
            Device::Cuda(cuda) => Some(cuda.stream()),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => None,
        }
    }

    /// The CUDA version that the driver supports: 12040 for 12.4. `None` for an emulated GPU, as in the example of
    /// [`emulated`](Gpu::emulated).
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

    /// The GPU's UUID as `nvidia-smi -L` spells it: `GPU-8a3b1c2d-…`. `None` for an emulated GPU, as in the example of
    /// [`emulated`](Gpu::emulated).
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

    /// Waits until all queued work is done. See the example of [`Gpu`].
    ///
    /// # Errors
    /// An error of that work; [`Error::IndexOutOfRange`] if [`check_indices`](Gpu::check_indices) is on; [`Error::Release`] if a resource
    /// dropped since the previous call could not be released; [`Error::Capture`] during stream capture.
    pub fn synchronize(&self) -> Result<()> {
        self.inner.device.synchronize()?;
        self.inner.workspace.check_indices()?;
        self.inner.device.unreleased()
    }

    /// Turns reports of gathered indices (`table[[ids[[t]], d]]`) that are out of range on or off. The next
    /// [`synchronize`](Gpu::synchronize) returns them.
    ///
    /// They are off by default: such elements read as 0. In either case no other memory is touched.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    ///
    /// #[energy_kernel]
    /// fn look_up(table: Tensor<f32, (R,)>, ids: Tensor<i32, (N,)>) -> Tensor<f32, (N,)> {
    ///     |n| table[[ids[[n]]]]
    /// }
    ///
    /// # fn main() -> Result<(), Error> {
    /// let gpu = Gpu::emulated();
    /// let table = Tensor::from_slice(&gpu, &[2], &[5.0, 7.0])?;
    /// let ids = Tensor::from_slice(&gpu, &[2], &[1, 9])?;
    /// gpu.check_indices(true);
    /// let found = look_up(&gpu, &table, &ids)?;
    /// assert!(matches!(gpu.synchronize(), Err(Error::IndexOutOfRange { .. })));
    /// assert_eq!(found.to_vec()?, [7.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn check_indices(&self, check: bool) {
        self.inner.check_indices.store(check, Relaxed);
    }

    pub(crate) fn checks_indices(&self) -> bool {
        self.inner.check_indices.load(Relaxed)
    }

    /// Sets the objective by which tuned kernels are chosen. Earlier plans do not change.
    ///
    /// Without it, each operator follows the objective of its build; the default is the least energy within 5 % of the best latency.
    ///
    /// ```
    /// use energy_kernel::{Objective, prelude::*};
    ///
    /// let gpu = Gpu::emulated();
    /// assert_eq!(gpu.objective(), None);
    /// gpu.set_objective(Objective::Latency);
    /// assert_eq!(gpu.objective(), Some(Objective::Latency));
    /// ```
    pub fn set_objective(&self, objective: Objective) {
        *self.inner.objective.write().unwrap_or_else(PoisonError::into_inner) = Some(objective);
        self.inner.calls.clear();
    }

    /// The objective set with [`set_objective`](Gpu::set_objective), where there is an example.
    pub fn objective(&self) -> Option<Objective> {
        *self.inner.objective.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine that kernels are made for: its instruction set, and the limits that its driver states.
    ///
    /// For tools: like the compiler's types, it is exempt from semantic versioning.
    ///
    /// ```
    /// # use energy_kernel::prelude::*;
    /// let machine = Gpu::emulated().machine();
    /// assert_eq!(machine.limits.threads_per_block, 1024);
    /// ```
    pub fn machine(&self) -> Machine {
        self.inner.machine
    }

    /// The bytes of the L2 cache. `None` if unknown. For tools.
    ///
    /// ```
    /// # use energy_kernel::prelude::*;
    /// assert_eq!(Gpu::emulated().l2_bytes(), Ok(None));
    /// ```
    ///
    /// # Errors
    /// An error of the driver.
    pub fn l2_bytes(&self) -> Result<Option<u64>> {
        match &self.inner.device {
            Device::Cuda(cuda) => Ok(Some(cuda.l2_bytes()?).filter(|bytes| *bytes > 0)),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Ok(None),
        }
    }

    pub(crate) fn device(&self) -> &Device {
        &self.inner.device
    }

    pub(crate) fn calls(&self) -> &ResolvedCalls {
        &self.inner.calls
    }

    pub(crate) fn kernels(&self) -> &Kernels {
        &self.inner.kernels
    }

    pub(crate) fn workspace(&self) -> &Workspace {
        &self.inner.workspace
    }

    /// Returns `true` the first time that the operator gets this warning.
    pub(crate) fn is_new_warning(&self, operator: &str, text: &str) -> bool {
        let mut warnings = self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() >= MOST_WARNINGS {
            warnings.clear();
        }
        warnings.insert((operator.to_owned(), text.to_owned()))
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gpu").field(&self.inner.class.to_string()).finish()
    }
}
