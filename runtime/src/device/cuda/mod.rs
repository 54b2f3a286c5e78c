//! Real GPUs, through the CUDA driver.
//!
//! ```text
//!   Cuda ── launch ──▶ Stream ◀── home of ── Allocation        one stream waits for another by events,
//!    │                   ▲                                     and only where memory is at home elsewhere
//!    ├── record ──▶ Graph┤
//!    └── load ──▶ Module
//! ```
//!
//! Memory is ordered by streams, not by cudarc's events: an allocation belongs to the stream it was made on, and work on
//! another stream waits for that stream and is waited for by it. So launches on one stream cost no event,
//! and can be captured into graphs.

mod graph;
mod memory;
mod module;
mod stream;
mod timing;

pub(crate) use graph::Graph;
pub(crate) use memory::Allocation;
pub(crate) use module::Module;
pub(crate) use timing::Mark;

use super::probe::{Driver, driver};
use super::{Launch, Loaded, Owner, Storage};
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};
use energy_kernel_compiler::target::Limits;
use graph::Recorder;
use std::ffi::c_void;
use std::sync::Arc;
use stream::Stream;

/// A stream of a real GPU.
pub(crate) struct Cuda {
    stream: Arc<Stream>,
    recorder: Recorder,
    driver: &'static Driver,
}

/// The properties of a GPU that the driver states.
pub(crate) struct Properties {
    pub name: String,
    pub capability: (u32, u32),
    pub multiprocessors: u32,
    pub memory: u64,
    pub limits: Limits,
}

/// A driver error as ours. Does not call the driver, which may be what failed.
pub(crate) fn failed(call: &'static str) -> impl FnOnce(DriverError) -> Error {
    move |error| Error::Driver {
        call,
        code: error.0 as u32,
        name: name_of(error),
    }
}

/// The name of a driver error, without the driver's help.
fn name_of(error: DriverError) -> String {
    format!("{:?}", error.0)
}

/// Number of GPUs.
pub(crate) fn count() -> Result<usize> {
    driver()?;
    let count = result::device::get_count().map_err(failed("cuDeviceGetCount"))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

impl Cuda {
    /// A new stream on a GPU.
    pub fn open(ordinal: usize) -> Result<Cuda> {
        let driver = driver()?;
        match count()? {
            0 => return Err(Error::NoDevice),
            count if ordinal >= count => return Err(Error::NoSuchDevice { ordinal, count }),
            _ => {}
        }
        let context = CudaContext::new(ordinal).map_err(failed("CudaContext::new"))?;
        // For a first stream, cudarc synchronises the whole device, to order slices that have no events. This context has no slices, and
        // the synchronisation would invalidate captures of other streams.
        // SAFETY: nobody else has this context, and it has no slices.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(failed("cuStreamCreate"))?;
        // SAFETY: as above.
        unsafe { context.enable_event_tracking() };
        Ok(Cuda::on(stream, driver))
    }

    /// A caller's stream. That there is one means that cudarc has found the driver; its functions are checked all the same.
    pub fn from_stream(stream: Arc<CudaStream>) -> Result<Cuda> {
        Ok(Cuda::on(stream, driver()?))
    }

    fn on(stream: Arc<CudaStream>, driver: &'static Driver) -> Cuda {
        Cuda {
            stream: Stream::new(stream),
            recorder: Recorder::default(),
            driver,
        }
    }

    pub fn stream(&self) -> &Arc<CudaStream> {
        self.stream.cudarc()
    }

    pub fn ordinal(&self) -> usize {
        self.stream.context().ordinal()
    }

    pub fn properties(&self) -> Result<Properties> {
        use CUdevice_attribute as A;
        let major = self.number(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = self.number(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let documented = Limits::documented(major, minor);
        // An old driver may not know a newer attribute.
        let limit = |which, documented| match self.number(which) {
            Ok(0) => Ok(documented),
            Err(Error::Driver { code, .. }) if code == CUresult::CUDA_ERROR_INVALID_VALUE as u32 => Ok(documented),
            said => said,
        };
        let limits = Limits {
            threads_per_block: limit(
                A::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK,
                documented.threads_per_block,
            )?,
            shared_per_block: limit(
                A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
                documented.shared_per_block,
            )?,
            shared_reserved: limit(
                A::CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK,
                documented.shared_reserved,
            )?,
            registers_per_block: limit(
                A::CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK,
                documented.registers_per_block,
            )?,
            threads_per_multiprocessor: limit(
                A::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
                documented.threads_per_multiprocessor,
            )?,
            blocks_per_multiprocessor: limit(
                A::CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR,
                documented.blocks_per_multiprocessor,
            )?,
            shared_per_multiprocessor: limit(
                A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
                documented.shared_per_multiprocessor,
            )?,
            registers_per_multiprocessor: limit(
                A::CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR,
                documented.registers_per_multiprocessor,
            )?,
        };
        // SAFETY: the device exists: there is a context on it.
        let memory = unsafe { result::device::total_mem(self.device()) }.map_err(failed("cuDeviceTotalMem"))?;
        Ok(Properties {
            name: self.name()?,
            capability: (major, minor),
            multiprocessors: self.number(A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            memory: memory as u64,
            limits,
        })
    }

    fn device(&self) -> sys::CUdevice {
        self.stream.context().cu_device()
    }

    /// An attribute that is a number of something.
    fn number(&self, which: CUdevice_attribute) -> Result<u32> {
        // SAFETY: the device exists: there is a context on it.
        let value = unsafe { result::device::get_attribute(self.device(), which) };
        let value = value.map_err(failed("cuDeviceGetAttribute"))?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    /// Its name. cudarc would panic if the driver did not terminate it.
    fn name(&self) -> Result<String> {
        let mut name = [0u8; 256];
        // SAFETY: the buffer has the size given.
        let code = unsafe { sys::cuDeviceGetName(name.as_mut_ptr().cast(), name.len() as i32, self.device()) };
        code.result().map_err(failed("cuDeviceGetName"))?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        Ok(String::from_utf8_lossy(&name[..end]).into_owned())
    }

    /// Its UUID, spelt as by `nvidia-smi -L`: `GPU-8a3b…`.
    pub fn uuid(&self) -> Result<String> {
        let mut uuid = sys::CUuuid { bytes: [0; 16] };
        // SAFETY: writes 16 bytes.
        let code = unsafe { sys::cuDeviceGetUuid_v2(&mut uuid, self.device()) };
        code.result().map_err(failed("cuDeviceGetUuid"))?;
        let mut text = "GPU".to_owned();
        for (at, byte) in uuid.bytes.into_iter().enumerate() {
            let dash = if matches!(at, 0 | 4 | 6 | 8 | 10) { "-" } else { "" };
            text.push_str(&format!("{dash}{:02x}", byte as u8));
        }
        Ok(text)
    }

    /// Bytes of its L2 cache; 0 if the driver does not say.
    pub fn l2_bytes(&self) -> Result<u64> {
        Ok(self
            .number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?
            .into())
    }

    /// The device's identity on the PCI bus as NVML spells it, `00000000:3B:00.0`.
    #[cfg(feature = "energy")]
    pub fn pci_bus_id(&self) -> Result<String> {
        Ok(format!(
            "{:08X}:{:02X}:{:02X}.0",
            self.number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?,
            self.number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?,
            self.number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?,
        ))
    }

    /// The driver's CUDA version: 12040 for 12.4.
    pub fn driver_version(&self) -> Result<u32> {
        let mut version = 0;
        // SAFETY: writes one integer.
        unsafe { sys::cuDriverGetVersion(&mut version) }
            .result()
            .map_err(failed("cuDriverGetVersion"))?;
        Ok(version.unsigned_abs())
    }

    pub fn allocate(&self, bytes: u64) -> Result<Storage> {
        Allocation::allocate(&self.stream, bytes)
    }

    /// Loads a kernel's module; the driver compiles its PTX.
    pub fn load(&self, kernel: &energy_kernel_compiler::kernel::Kernel) -> Result<Module> {
        Module::load(&self.stream, kernel)
    }

    /// Queues launches that use this memory. No allocation, no synchronisation.
    ///
    /// For memory at home on another stream, the launches wait for that stream, and that stream waits for them. If the second wait
    /// cannot be queued, this call blocks until the launches are done. If that fails too, the memory is never freed.
    pub fn launch<'s>(
        &self,
        operator: &str,
        loaded: &Arc<Loaded>,
        module: &Module,
        launches: &[Launch<'_>],
        storages: impl Iterator<Item = &'s Arc<Storage>> + Clone,
    ) -> Result<()> {
        self.stream.bind()?;
        let foreign = || storages.clone().filter(|storage| self.is_foreign(storage));
        for storage in foreign() {
            self.wait_for(storage, operator)?;
        }
        let numbered = launches.iter().enumerate();
        let queued = numbered
            .map(|(number, launch)| self.queue(module, launch).map_err(|error| (number, error)))
            .collect::<std::result::Result<(), _>>();
        // The launches before a failed one use the memory.
        let queued = match queued {
            Err((0, error)) => return Err(error),
            queued => queued.map_err(|(_, error)| error),
        };
        self.recorder.note(loaded, storages.clone());
        foreign()
            .map(|storage| release(&self.stream, storage))
            .fold(queued, Result::and)
    }

    /// `true` if memory is at home on another stream.
    fn is_foreign(&self, storage: &Storage) -> bool {
        storage.home().is_some_and(|home| !home.is(&self.stream))
    }

    /// Makes this stream wait for the work queued on the memory's home stream.
    fn wait_for(&self, storage: &Storage, operator: &str) -> Result<()> {
        let Some(home) = storage.home() else { return Ok(()) };
        // Waiting for a captured stream would pull this one into the capture; waiting for another while captured would invalidate the
        // capture.
        if self.stream.is_capturing()? != home.is_capturing()? {
            return Err(Error::Capture {
                what: format!("`{operator}` with a tensor of another stream"),
                remedy: "make its tensors on the stream that is captured, or call it outside of the capture",
            });
        }
        // Created now, so that it cannot be missing after the launch.
        self.stream.prepare_to_be_waited_for()?;
        self.stream.wait_for(home)
    }

    fn queue(&self, module: &Module, launch: &Launch<'_>) -> Result<()> {
        /// Parameters that fit on the stack; kernels with more are launched through the heap.
        const STACK: usize = 48;
        let place = |value: &u64| std::ptr::from_ref(value).cast_mut().cast::<c_void>();
        let mut stack = [std::ptr::null_mut(); STACK];
        let mut heap;
        let words = launch.arguments.words();
        let pointers: &mut [*mut c_void] = match stack.get_mut(..words.len()) {
            Some(pointers) => {
                pointers
                    .iter_mut()
                    .zip(words)
                    .for_each(|(pointer, word)| *pointer = place(word));
                pointers
            }
            None => {
                heap = words.iter().map(place).collect::<Vec<_>>();
                &mut heap
            }
        };
        let dimensions = |[x, y, z]: [u32; 3]| (x, y, z);
        // SAFETY: the module is loaded; there is one pointer a parameter, each to 8 bytes, the widest a parameter is
        // (the host is little-endian, so the lowest bytes come first); the driver copies them before it returns.
        unsafe {
            result::launch_kernel(
                module.function(launch.number)?,
                dimensions(launch.grid),
                dimensions(launch.launch.block),
                launch.launch.dynamic_shared,
                self.stream.handle(),
                pointers,
            )
        }
        .map_err(failed("cuLaunchKernel"))
    }

    /// `true` if what is queued goes into a graph.
    pub fn is_capturing(&self) -> Result<bool> {
        self.stream.is_capturing()
    }

    /// Waits until all that was queued is done.
    pub fn synchronize(&self) -> Result<()> {
        self.stream.synchronize()?;
        stream::release_deferred();
        Ok(())
    }

    /// The first failed release since the last call of this.
    pub fn unreleased(&self) -> Result<()> {
        self.stream.unreleased()
    }

    pub fn same_device(&self, allocation: &Allocation) -> bool {
        self.stream.context().cu_ctx() == allocation.home().context().cu_ctx()
    }
}

impl Storage {
    /// The stream it is at home on; none on an emulated device.
    fn home(&self) -> Option<&Arc<Stream>> {
        match &self.owner {
            Owner::Cuda(allocation) => Some(allocation.home()),
            #[cfg(feature = "emulator")]
            Owner::Emulated(_) => None,
        }
    }

    /// `true` if a graph allocates it when it is launched.
    fn is_of_graph(&self) -> bool {
        match &self.owner {
            Owner::Cuda(allocation) => allocation.is_of_graph(),
            #[cfg(feature = "emulator")]
            Owner::Emulated(_) => false,
        }
    }
}

/// Makes the memory's home stream wait for the work queued on this stream, so that the memory is neither freed nor overwritten before.
fn release(stream: &Stream, storage: &Storage) -> Result<()> {
    #[cfg_attr(not(feature = "emulator"), expect(irrefutable_let_patterns))]
    let Owner::Cuda(allocation) = &storage.owner else {
        return Ok(());
    };
    if allocation.home().is(stream) {
        return Ok(());
    }
    let released = allocation.home().wait_for(stream);
    if let Err(error) = &released {
        // A captured launch has not run, and never will: the failed wait invalidated the capture.
        let safe = stream.is_capturing().unwrap_or(false) || stream.synchronize().is_ok();
        if !safe {
            allocation.keep(error);
        }
    }
    released
}
