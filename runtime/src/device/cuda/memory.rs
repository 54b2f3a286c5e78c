//! Memory on a GPU, and when it is freed.
//!
//! An allocation belongs to the stream it was made on, its home. It is freed there, after the work queued there. A launch on another
//! stream makes the home wait for it ([`Cuda::launch`](super::Cuda::launch)). Two exceptions:
//! - While the home is captured, a free would become a node of the graph. Memory from outside the graph is freed after the capture.
//! - If the home could not be made to wait, the memory is never freed: kernels may still use it.

use super::error::failed;
use super::stream::{Event, Permission, Stream, release_deferred, uncovered};
use crate::device::probe::driver;
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUevent_flags};
use cudarc::driver::{CudaSlice, DevicePtrMut, result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

/// Memory on a GPU: allocated here, or a caller's slice.
pub(crate) struct Allocation {
    home: Arc<Stream>,
    address: u64,
    bytes: u64,
    memory: Memory,
    /// The error because of which it is never freed.
    kept: OnceLock<Error>,
}

enum Memory {
    /// Nothing to free.
    None,
    /// Allocated here.
    Own {
        address: u64,
        /// `true` if it was allocated while its home was captured: the graph allocates it, and may free it.
        of_graph: bool,
    },
    /// A caller's `CudaSlice<T>`.
    Slice(Box<dyn Any + Send + Sync>),
}

impl Memory {
    /// Frees it now, or when the capture of its home has ended.
    fn discard(self, home: &Arc<Stream>) {
        match self {
            Memory::None => {}
            // In the graph as well as outside it.
            Memory::Own { of_graph: true, .. } => home.note(home.bind().and_then(|()| self.free(home))),
            memory => home.release(move |home| memory.free(home)),
        }
    }

    /// Frees it after the work queued at home, whose context is bound.
    fn free(self, home: &Stream) -> Result<()> {
        match self {
            Memory::None => Ok(()),
            Memory::Own { address, .. } if home.context().has_async_alloc() => {
                // SAFETY: allocated once on this stream, freed once, after the work queued there.
                unsafe { result::free_async(address, home.handle()) }.map_err(failed("cuMemFreeAsync"))
            }
            Memory::Own { address, .. } => {
                let _permission = Permission::new();
                home.synchronize()?;
                // SAFETY: allocated once, freed once, after the work queued on its stream has been done.
                unsafe { result::free_sync(address) }.map_err(failed("cuMemFree"))
            }
            Memory::Slice(slice) => {
                let _permission = Permission::new();
                if !home.context().has_async_alloc()
                    && let Err(error) = home.synchronize()
                {
                    // cudarc would free it nevertheless.
                    std::mem::forget(slice);
                    return Err(error);
                }
                uncovered(home.context(), "cuMemFreeAsync", || drop(slice))
            }
        }
    }
}

impl Allocation {
    /// Allocates memory without initialising it.
    pub fn allocate(home: &Arc<Stream>, bytes: u64) -> Result<Allocation> {
        let (mut address, mut memory) = (0, Memory::None);
        if bytes > 0 {
            release_deferred();
            let size = usize::try_from(bytes).map_err(|_| Error::OutOfMemory { bytes })?;
            let capturing = home.is_capturing()?;
            let asynchronous = home.context().has_async_alloc();
            let (call, allocated) = match asynchronous {
                // SAFETY: the stream is alive; the address goes into an `Allocation`, which frees it once.
                true => ("cuMemAllocAsync", unsafe { result::malloc_async(home.handle(), size) }),
                false => {
                    let _permission = Permission::new();
                    // SAFETY: as above.
                    ("cuMemAlloc", unsafe { result::malloc_sync(size) })
                }
            };
            address = allocated.map_err(|error| match error.0 {
                sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { bytes },
                _ => failed(call)(error),
            })?;
            memory = Memory::Own {
                address,
                of_graph: capturing && asynchronous,
            };
        }
        Ok(Allocation::new(home.clone(), address, bytes, memory))
    }

    /// Takes over a caller's slice. Its stream waits for the work of other streams on it.
    pub fn import<T: Send + Sync + 'static>(mut slice: CudaSlice<T>) -> Result<Allocation> {
        driver()?;
        let stream = slice.stream().clone();
        let home = Stream::new(stream.clone());
        let bytes = slice.num_bytes() as u64;
        let taken = home
            .must_not_capture("taking over a cudarc slice", "take it over before the capture begins")
            .and_then(|()| {
                uncovered(home.context(), "cuStreamWaitEvent", || {
                    let (address, _recorded) = slice.device_ptr_mut(&stream);
                    address
                })
            });
        // On failure the slice is dropped with this allocation, which defers the free during a capture.
        let memory = Memory::Slice(Box::new(slice));
        let mut allocation = Allocation::new(home, 0, bytes, memory);
        allocation.address = taken?;
        Ok(allocation)
    }

    fn new(home: Arc<Stream>, address: u64, bytes: u64, memory: Memory) -> Allocation {
        Allocation {
            home,
            address,
            bytes,
            memory,
            kept: OnceLock::new(),
        }
    }

    pub fn address(&self) -> u64 {
        self.address
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The stream it belongs to.
    pub fn home(&self) -> &Arc<Stream> {
        &self.home
    }

    /// `true` if a graph allocates it when it is launched.
    pub fn is_of_graph(&self) -> bool {
        matches!(self.memory, Memory::Own { of_graph: true, .. })
    }

    /// Makes the home stream wait for the work queued on `stream`, so that the memory is neither freed nor overwritten before.
    ///
    /// If the wait cannot be queued, blocks until that work is done. If that fails too, the memory is never freed.
    pub fn order_after(&self, stream: &Stream) -> Result<()> {
        if self.home.is(stream) {
            return Ok(());
        }
        let ordered = self.home.wait_for(stream);
        if let Err(error) = &ordered {
            // A captured launch has not run, and never will: the failed wait invalidated the capture.
            let safe = stream.is_capturing().unwrap_or(false) || stream.synchronize().is_ok();
            if !safe {
                self.kept.get_or_init(|| error.clone());
            }
        }
        ordered
    }

    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.home
            .must_not_capture("writing a tensor", "write it before the capture begins")?;
        let _permission = Permission::new();
        // SAFETY: the range is inside the allocation (checked by the caller). The driver stages pageable host memory before
        // the call returns; the synchronisation covers pinned memory, too.
        unsafe { result::memcpy_htod_async(self.address + offset, bytes, self.home.handle()) }
            .map_err(failed("cuMemcpyHtoDAsync"))?;
        self.home.synchronize()
    }

    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.home
            .must_not_capture("reading a tensor", "read it after the capture has ended")?;
        let _permission = Permission::new();
        // SAFETY: the range is inside the allocation (checked by the caller). The driver returns once pageable host memory has been
        // written; the synchronisation covers pinned memory, too.
        unsafe { result::memcpy_dtoh_async(bytes, self.address + offset, self.home.handle()) }
            .map_err(failed("cuMemcpyDtoHAsync"))?;
        self.home.synchronize()
    }

    pub fn clear(&self) -> Result<()> {
        self.home.bind()?;
        // SAFETY: the range is the allocation.
        unsafe { result::memset_d8_async(self.address, 0, self.bytes as usize, self.home.handle()) }
            .map_err(failed("cuMemsetD8Async"))
    }

    /// Moves the memory into a slice, whose events are recorded after all work on it here.
    ///
    /// # Errors
    /// The memory again, with the reason why it cannot become a slice of that type.
    pub fn export<T: Send + Sync + 'static>(mut self) -> std::result::Result<CudaSlice<T>, Box<(Allocation, Error)>> {
        match self.give_away() {
            Ok(slice) => Ok(slice),
            Err(error) => Err(Box::new((self, error))),
        }
    }

    fn give_away<T: Send + Sync + 'static>(&mut self) -> Result<CudaSlice<T>> {
        let home = self.home.clone();
        if let Some(reason) = self.kept.get() {
            return Err(reason.clone());
        }
        home.must_not_capture("giving a tensor away", "give it away before the capture begins")?;
        let mut slice = match std::mem::replace(&mut self.memory, Memory::None) {
            Memory::Slice(slice) => match slice.downcast::<CudaSlice<T>>() {
                Ok(slice) => *slice,
                Err(slice) => {
                    self.memory = Memory::Slice(slice);
                    return Err(unsuitable("it was made from a slice of another type"));
                }
            },
            Memory::Own { address, of_graph } => {
                let length = self.bytes as usize / size_of::<T>().max(1);
                // SAFETY: a live allocation of this many bytes, which nobody else holds.
                match unsafe { upgraded(&home, address, length) } {
                    Ok(slice) => slice,
                    Err(error) => {
                        self.memory = Memory::Own { address, of_graph };
                        return Err(error);
                    }
                }
            }
            Memory::None => return Err(unsuitable("it has no elements")),
        };
        // Other streams that use the slice through cudarc wait for this event.
        let recorded = uncovered(home.context(), "cuEventRecord", || {
            drop(slice.device_ptr_mut(home.cudarc()));
        });
        if let Err(error) = recorded {
            self.memory = Memory::Slice(Box::new(slice));
            return Err(error);
        }
        Ok(slice)
    }
}

fn unsuitable(reason: &'static str) -> Error {
    Error::IntoCuda { reason }
}

/// Creates a slice of memory that cudarc did not allocate. cudarc creates its events, and panics if it cannot.
///
/// # Safety
/// There must be this many elements at the address, allocated on the stream and freed by nobody else.
unsafe fn upgraded<T>(home: &Stream, address: u64, length: usize) -> Result<CudaSlice<T>> {
    if home.context().is_event_tracking() {
        // Fails with the driver's error where cudarc would panic.
        let flags = CUevent_flags::CU_EVENT_DISABLE_TIMING;
        let first = Event::new(flags)?;
        let second = Event::new(flags);
        let destroyed = [first.destroy(), second.and_then(Event::destroy)];
        destroyed.into_iter().collect::<Result<()>>()?;
    }
    // An error left on the context would make cudarc panic as well.
    let upgraded = uncovered(home.context(), "cuEventCreate", || {
        // SAFETY: the caller vouches for the memory.
        catch_unwind(AssertUnwindSafe(|| unsafe {
            home.cudarc().upgrade_device_ptr::<T>(address, length)
        }))
    })?;
    // The address is still ours: no slice was made that could free it.
    upgraded.map_err(|_| Error::Driver {
        call: "cuEventCreate",
        code: sys::CUresult::CUDA_ERROR_UNKNOWN as u32,
        name: "cudarc could not make the events of a slice".to_owned(),
    })
}

impl Drop for Allocation {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, Memory::None);
        match self.kept.get() {
            None => memory.discard(&self.home),
            Some(reason) => {
                tracing::error!(%reason, "device memory is never freed: work on another stream may still use it");
                std::mem::forget(memory);
            }
        }
    }
}
