//! Device memory of either kind.

use super::cuda;
#[cfg(feature = "emulator")]
use super::emulated;
use crate::error::{Error, Result};
use cudarc::driver::CudaSlice;
use std::sync::Arc;

/// Device memory. Clones share it; the last one frees it, after the work queued on it.
#[derive(Clone)]
pub(crate) enum Storage {
    Cuda(Arc<cuda::Allocation>),
    #[cfg(feature = "emulator")]
    Emulated(Arc<emulated::Allocation>),
}

impl Storage {
    /// Takes over a caller's slice.
    pub fn import<T: Send + Sync + 'static>(slice: CudaSlice<T>) -> Result<Storage> {
        cuda::Allocation::import(slice).map(|allocation| Storage::Cuda(Arc::new(allocation)))
    }

    /// Moves the memory into a slice.
    ///
    /// # Errors
    /// The memory again, with the reason why it cannot become a slice of that type.
    pub fn export<T: Send + Sync + 'static>(self) -> std::result::Result<CudaSlice<T>, Box<(Storage, Error)>> {
        const SHARED: Error = Error::IntoCuda {
            reason: "it shares its memory with another tensor",
        };
        match self {
            Storage::Cuda(shared) => match Arc::try_unwrap(shared) {
                Ok(allocation) => allocation.export().map_err(|refused| {
                    let (allocation, error) = *refused;
                    Box::new((Storage::Cuda(Arc::new(allocation)), error))
                }),
                Err(shared) => Err(Box::new((Storage::Cuda(shared), SHARED))),
            },
            #[cfg(feature = "emulator")]
            Storage::Emulated(allocation) => {
                let error = match Arc::strong_count(&allocation) {
                    1 => Error::WrongKind {
                        what: "a cudarc slice",
                        emulated: false,
                    },
                    _ => SHARED,
                };
                Err(Box::new((Storage::Emulated(allocation), error)))
            }
        }
    }

    /// The device address of the first byte.
    pub fn address(&self) -> u64 {
        match self {
            Storage::Cuda(allocation) => allocation.address(),
            #[cfg(feature = "emulator")]
            Storage::Emulated(allocation) => allocation.address(),
        }
    }

    /// The size in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Storage::Cuda(allocation) => allocation.bytes(),
            #[cfg(feature = "emulator")]
            Storage::Emulated(allocation) => allocation.bytes(),
        }
    }

    /// `true` if both are the same memory.
    pub fn is(&self, other: &Storage) -> bool {
        match (self, other) {
            (Storage::Cuda(one), Storage::Cuda(other)) => Arc::ptr_eq(one, other),
            #[cfg(feature = "emulator")]
            (Storage::Emulated(one), Storage::Emulated(other)) => Arc::ptr_eq(one, other),
            #[cfg(feature = "emulator")]
            _ => false,
        }
    }

    /// Copies bytes to an offset. The host memory is free when this returns.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        debug_assert!(offset + bytes.len() as u64 <= self.bytes());
        match self {
            _ if bytes.is_empty() => Ok(()),
            Storage::Cuda(allocation) => allocation.write(offset, bytes),
            #[cfg(feature = "emulator")]
            Storage::Emulated(allocation) => allocation.write(offset, bytes),
        }
    }

    /// Copies bytes from an offset, after all work queued on the memory's home stream.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        debug_assert!(offset + bytes.len() as u64 <= self.bytes());
        match self {
            _ if bytes.is_empty() => Ok(()),
            Storage::Cuda(allocation) => allocation.read(offset, bytes),
            #[cfg(feature = "emulator")]
            Storage::Emulated(allocation) => allocation.read(offset, bytes),
        }
    }

    /// Sets all bytes to 0.
    pub fn clear(&self) -> Result<()> {
        match self {
            _ if self.bytes() == 0 => Ok(()),
            Storage::Cuda(allocation) => allocation.clear(),
            #[cfg(feature = "emulator")]
            Storage::Emulated(allocation) => allocation.clear(),
        }
    }

    /// The name of its device in messages.
    pub fn describe(&self) -> String {
        match self {
            Storage::Cuda(allocation) => format!("GPU {}", allocation.home().context().ordinal()),
            #[cfg(feature = "emulator")]
            Storage::Emulated(_) => "an emulated GPU".to_owned(),
        }
    }

    pub(super) fn cuda(&self) -> Option<&Arc<cuda::Allocation>> {
        match self {
            Storage::Cuda(allocation) => Some(allocation),
            #[cfg(feature = "emulator")]
            Storage::Emulated(_) => None,
        }
    }

    #[cfg(feature = "emulator")]
    pub(super) fn emulated(&self) -> Option<&emulated::Allocation> {
        match self {
            Storage::Cuda(_) => None,
            Storage::Emulated(allocation) => Some(allocation),
        }
    }
}
