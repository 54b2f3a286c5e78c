//! Real and emulated devices behind one interface: memory, modules, launches.

pub(crate) mod cuda;
#[cfg(feature = "emulator")]
pub(crate) mod emulated;
mod launch;
pub(crate) mod probe;
mod storage;

pub(crate) use launch::BoundLaunch;
pub(crate) use storage::Storage;

#[cfg(feature = "emulator")]
use crate::error::Error;
use crate::error::Result;
use energy_kernel_compiler::kernel::Kernel;
use std::sync::Arc;

/// A device and one of its streams. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Device {
    Cuda(Arc<cuda::Cuda>),
    #[cfg(feature = "emulator")]
    Emulated(Arc<emulated::Emulated>),
}

/// A kernel's module on a device. Cheap to clone.
#[derive(Clone)]
pub(crate) enum LoadedModule {
    Cuda(Arc<cuda::Module>),
    #[cfg(feature = "emulator")]
    Emulated(Arc<energy_kernel_emulator::Module>),
}

impl Device {
    /// `true` if the stream is being captured into a graph.
    pub fn is_capturing(&self) -> Result<bool> {
        match self {
            Device::Cuda(cuda) => cuda.is_capturing(),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Ok(false),
        }
    }

    /// `true` if the stream is being captured into a graph that is not recorded by [`record`](cuda::Cuda::record).
    pub fn is_captured_by_caller(&self) -> Result<bool> {
        match self {
            Device::Cuda(cuda) => cuda.is_captured_by_caller(),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Ok(false),
        }
    }

    /// Allocates memory without initialising it.
    pub fn allocate(&self, bytes: u64) -> Result<Storage> {
        match self {
            Device::Cuda(cuda) => cuda
                .allocate(bytes)
                .map(|allocation| Storage::Cuda(Arc::new(allocation))),
            #[cfg(feature = "emulator")]
            Device::Emulated(emulated) => {
                let allocation = emulated.allocate(bytes)?;
                Ok(Storage::Emulated(Arc::new(allocation)))
            }
        }
    }

    /// Loads a kernel's module. Slow: the driver compiles the PTX.
    pub fn load(&self, kernel: &Kernel) -> Result<LoadedModule> {
        match self {
            Device::Cuda(cuda) => cuda.load(kernel).map(|module| LoadedModule::Cuda(Arc::new(module))),
            #[cfg(feature = "emulator")]
            Device::Emulated(emulated) => {
                let module = emulated.load(kernel)?;
                Ok(LoadedModule::Emulated(Arc::new(module)))
            }
        }
    }

    /// Waits until all queued work is done.
    pub fn synchronize(&self) -> Result<()> {
        match self {
            Device::Cuda(cuda) => cuda.synchronize(),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Ok(()),
        }
    }

    /// `true` if work on this device can use the memory.
    pub fn reaches(&self, storage: &Storage) -> bool {
        match (self, storage) {
            (Device::Cuda(cuda), Storage::Cuda(allocation)) => cuda.same_device(allocation),
            #[cfg(feature = "emulator")]
            (Device::Emulated(emulated), Storage::Emulated(allocation)) => emulated.owns(allocation),
            #[cfg(feature = "emulator")]
            _ => false,
        }
    }

    /// Queues the launches of a module in order, after all earlier work on the memory they use.
    ///
    /// `operator` names them in errors. `storages` holds the tensors and the workspace; `zeroed` the part of the workspace that the launches
    /// leave at 0 unless one of them is interrupted.
    #[cfg_attr(not(feature = "emulator"), expect(unused_variables))]
    pub fn launch<'s>(
        &self,
        operator: &str,
        module: &LoadedModule,
        launches: &[BoundLaunch<'_>],
        zeroed: impl Iterator<Item = &'s Storage>,
        storages: impl Iterator<Item = &'s Storage> + Clone,
    ) -> Result<()> {
        match (self, module) {
            (Device::Cuda(cuda), LoadedModule::Cuda(module)) => {
                cuda.launch(operator, module, launches, storages.filter_map(Storage::cuda))
            }
            #[cfg(feature = "emulator")]
            (Device::Emulated(emulated), LoadedModule::Emulated(module)) => {
                emulated.launch(module, launches, zeroed.filter_map(Storage::emulated))
            }
            #[cfg(feature = "emulator")]
            (_, other) => Err(Error::WrongKind {
                what: "this kernel",
                emulated: matches!(other, LoadedModule::Emulated(_)),
            }),
        }
    }

    /// Returns the first failed release since the previous call.
    pub fn unreleased(&self) -> Result<()> {
        match self {
            Device::Cuda(cuda) => cuda.unreleased(),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Ok(()),
        }
    }

    /// The name of the device in messages.
    pub fn describe(&self) -> String {
        match self {
            Device::Cuda(cuda) => format!("GPU {}", cuda.ordinal()),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => "an emulated GPU".to_owned(),
        }
    }
}
