//! The two kinds of device behind one interface: memory, modules, launches.

pub(crate) mod cuda;
#[cfg(feature = "emulator")]
pub(crate) mod emulated;
pub(crate) mod probe;

#[cfg(feature = "emulator")]
use crate::error::Error;
use crate::error::Result;
use energy_kernel_compiler::bind::Arguments;
use energy_kernel_compiler::kernel::{self, Kernel};
use std::sync::Arc;

/// A device, and the order (a stream) in which work is given to it. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Device {
    Cuda(Arc<cuda::Cuda>),
    #[cfg(feature = "emulator")]
    Emulated(Arc<emulated::Emulated>),
}

/// Memory of a device, freed with it. Work that is already queued still finds it.
pub(crate) struct Storage {
    pub address: u64,
    pub bytes: u64,
    pub owner: Owner,
}

/// Whose the memory is.
pub(crate) enum Owner {
    Cuda(cuda::Allocation),
    #[cfg(feature = "emulator")]
    Emulated(emulated::Allocation),
}

/// A kernel on a device, ready to be launched.
pub(crate) enum Loaded {
    Cuda(cuda::Module),
    #[cfg(feature = "emulator")]
    Emulated(Box<emulated::Loaded>),
}

/// A launch at concrete sizes, with its arguments.
pub(crate) struct Launch<'a> {
    /// The position among the kernel's launches.
    pub number: usize,
    pub launch: &'a kernel::Launch,
    /// No side is 0.
    pub grid: [u32; 3],
    pub arguments: Arguments,
}

impl Device {
    /// Whether what is queued goes into a graph.
    pub fn is_capturing(&self) -> Result<bool> {
        match self {
            Device::Cuda(cuda) => cuda.is_capturing(),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Ok(false),
        }
    }

    /// Allocates memory with any contents.
    pub fn allocate(&self, bytes: u64) -> Result<Storage> {
        match self {
            Device::Cuda(cuda) => cuda.allocate(bytes),
            #[cfg(feature = "emulator")]
            Device::Emulated(emulated) => emulated.allocate(bytes),
        }
    }

    /// Loads a kernel. Slow: the driver compiles it.
    pub fn load(&self, kernel: &Kernel) -> Result<Loaded> {
        match self {
            Device::Cuda(cuda) => cuda.load(kernel).map(Loaded::Cuda),
            #[cfg(feature = "emulator")]
            Device::Emulated(emulated) => emulated.load(kernel).map(|module| Loaded::Emulated(Box::new(module))),
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

    /// Whether memory can be used by work on this device.
    pub fn reaches(&self, storage: &Storage) -> bool {
        match (self, &storage.owner) {
            (Device::Cuda(cuda), Owner::Cuda(allocation)) => cuda.same_device(allocation),
            #[cfg(feature = "emulator")]
            (Device::Emulated(emulated), Owner::Emulated(allocation)) => emulated.owns(allocation),
            #[cfg(feature = "emulator")]
            _ => false,
        }
    }

    /// Queues launches of a loaded kernel, one after the other, after all earlier work on the memory that they use.
    ///
    /// `operator` names them in errors. They leave the memory in `zeroed` at 0, unless one of them is broken off.
    #[cfg_attr(not(feature = "emulator"), expect(unused_variables))]
    pub fn launch<'s>(
        &self,
        operator: &str,
        loaded: &Arc<Loaded>,
        launches: &[Launch<'_>],
        zeroed: impl Iterator<Item = &'s Storage>,
        storages: impl Iterator<Item = &'s Arc<Storage>> + Clone,
    ) -> Result<()> {
        match (self, &**loaded) {
            (Device::Cuda(cuda), Loaded::Cuda(module)) => cuda.launch(operator, loaded, module, launches, storages),
            #[cfg(feature = "emulator")]
            (Device::Emulated(emulated), Loaded::Emulated(module)) => emulated.launch(module, launches, zeroed),
            #[cfg(feature = "emulator")]
            (_, other) => Err(Error::WrongKind {
                what: "this kernel",
                emulated: matches!(other, Loaded::Emulated(_)),
            }),
        }
    }

    /// The first failed release of something that was dropped, since the last call of this.
    pub fn unreleased(&self) -> Result<()> {
        match self {
            Device::Cuda(cuda) => cuda.unreleased(),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Ok(()),
        }
    }

    /// What it is called in messages.
    pub fn describe(&self) -> String {
        match self {
            Device::Cuda(cuda) => format!("GPU {}", cuda.ordinal()),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => "an emulated GPU".to_owned(),
        }
    }
}

impl Storage {
    /// Copies bytes in, at an offset. The host memory is free when this returns.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        debug_assert!(offset + bytes.len() as u64 <= self.bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        match &self.owner {
            Owner::Cuda(allocation) => allocation.write(self.address + offset, bytes),
            #[cfg(feature = "emulator")]
            Owner::Emulated(allocation) => allocation.write(self.address + offset, bytes),
        }
    }

    /// Copies bytes out, from an offset, after all work queued where the memory is at home.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        debug_assert!(offset + bytes.len() as u64 <= self.bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        match &self.owner {
            Owner::Cuda(allocation) => allocation.read(self.address + offset, bytes),
            #[cfg(feature = "emulator")]
            Owner::Emulated(allocation) => allocation.read(self.address + offset, bytes),
        }
    }

    /// Sets all bytes to 0.
    pub fn clear(&self) -> Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        match &self.owner {
            Owner::Cuda(allocation) => allocation.clear(self.address, self.bytes),
            #[cfg(feature = "emulator")]
            Owner::Emulated(allocation) => allocation.clear(self.address, self.bytes),
        }
    }

    /// What its device is called in messages.
    pub fn describe(&self) -> String {
        match &self.owner {
            Owner::Cuda(allocation) => format!("GPU {}", allocation.home().context().ordinal()),
            #[cfg(feature = "emulator")]
            Owner::Emulated(_) => "an emulated GPU".to_owned(),
        }
    }
}
