//! Real GPUs, through the CUDA driver.
//!
//! Memory is ordered by streams, not by cudarc's events: an allocation belongs to the stream it was made on, and work on
//! another stream waits for that stream and is waited for by it. So launches on one stream cost no event,
//! and can be captured into graphs.

use super::probe::{Driver, driver};
use super::{Launch, Owner, Storage};
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUdevice_attribute, CUfunction_attribute, CUjit_option};
use cudarc::driver::{CudaContext, CudaEvent, CudaGraph, CudaSlice, CudaStream, DevicePtrMut, DriverError, result};
use energy_kernel_compiler::kernel::Kernel;
use std::any::Any;
use std::ffi::{CString, c_void};
use std::sync::Arc;

/// A stream of a real GPU.
pub(crate) struct Cuda {
    pub stream: Arc<CudaStream>,
    driver: &'static Driver,
}

/// A point of a stream.
pub(crate) struct Mark {
    event: CudaEvent,
    driver: &'static Driver,
}

/// What the driver says of a GPU.
pub(crate) struct Properties {
    pub name: String,
    pub major: u32,
    pub minor: u32,
    pub multiprocessors: u32,
    pub memory: u64,
}

/// Memory on a GPU: our own, or a caller's slice that lives in a tensor.
pub(crate) struct Allocation {
    stream: Arc<CudaStream>,
    kind: Kind,
}

enum Kind {
    /// Ours: freed on the stream. 0: nothing was allocated.
    Own(u64),
    /// A caller's `CudaSlice<T>`.
    Slice(Box<dyn Any + Send + Sync>),
}

/// A kernel in a loaded module.
pub(crate) struct Function {
    function: sys::CUfunction,
    module: sys::CUmodule,
    context: Arc<CudaContext>,
}

// SAFETY: handles of the driver may be used from any thread that binds the context first, which every use does.
unsafe impl Send for Function {}
// SAFETY: as above; launching a function does not change it.
unsafe impl Sync for Function {}

/// A driver error as ours. Does not call the driver, which may be what failed.
pub(crate) fn failed(call: &'static str) -> impl FnOnce(DriverError) -> Error {
    move |error| Error::Driver {
        call,
        code: error.0 as u32,
        name: format!("{:?}", error.0),
    }
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
        let context = CudaContext::new(ordinal).map_err(failed("cuDevicePrimaryCtxRetain"))?;
        let stream = context.new_stream().map_err(failed("cuStreamCreate"))?;
        Ok(Cuda { stream, driver })
    }

    /// A caller's stream. That there is one means that cudarc has found the driver; its functions are checked all the same.
    pub fn from_stream(stream: Arc<CudaStream>) -> Result<Cuda> {
        Ok(Cuda {
            stream,
            driver: driver()?,
        })
    }

    pub fn ordinal(&self) -> usize {
        self.stream.context().ordinal()
    }

    pub fn properties(&self) -> Result<Properties> {
        let context = self.stream.context();
        let attribute = |which| {
            context
                .attribute(which)
                .map(i32::unsigned_abs)
                .map_err(failed("cuDeviceGetAttribute"))
        };
        Ok(Properties {
            name: context.name().map_err(failed("cuDeviceGetName"))?,
            major: attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            minor: attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            multiprocessors: attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            memory: context.total_mem().map_err(failed("cuDeviceTotalMem"))? as u64,
        })
    }

    /// Bytes of its L2 cache; 0 if the driver does not say.
    pub fn l2_bytes(&self) -> Result<u64> {
        let bytes = self
            .stream
            .context()
            .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)
            .map_err(failed("cuDeviceGetAttribute"))?;
        Ok(u64::from(bytes.unsigned_abs()))
    }

    /// The device's identity on the PCI bus as NVML spells it, `00000000:3B:00.0`.
    #[cfg(feature = "energy")]
    pub fn pci_bus_id(&self) -> Result<String> {
        let attribute = |which| {
            self.stream
                .context()
                .attribute(which)
                .map_err(failed("cuDeviceGetAttribute"))
        };
        Ok(format!(
            "{:08X}:{:02X}:{:02X}.0",
            attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?,
            attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?,
            attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?,
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

    fn bind(&self) -> Result<()> {
        bind(&self.stream)
    }

    pub fn allocate(&self, bytes: u64) -> Result<Storage> {
        let stream = self.stream.clone();
        let mut address = 0;
        if bytes > 0 {
            self.bind()?;
            let size = usize::try_from(bytes).map_err(|_| Error::OutOfMemory { bytes })?;
            let asynchronous = stream.context().has_async_alloc();
            // SAFETY: the stream is alive; the address goes into an `Allocation`, which frees it once.
            let allocated = unsafe {
                match asynchronous {
                    true => result::malloc_async(stream.cu_stream(), size),
                    false => result::malloc_sync(size),
                }
            };
            address = allocated.map_err(|error| match error.0 {
                sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { bytes },
                _ => failed("cuMemAllocAsync")(error),
            })?;
        }
        Ok(Storage {
            address,
            bytes,
            owner: Owner::Cuda(Allocation {
                stream,
                kind: Kind::Own(address),
            }),
        })
    }

    /// Loads a kernel's module; the driver compiles its PTX.
    pub fn load(&self, kernel: &Kernel) -> Result<Function> {
        self.bind()?;
        let error = |reason: String, log: String| Error::Load {
            kernel: kernel.entry.clone(),
            reason,
            log,
        };
        let inner_nul = |_| error("the PTX or its entry's name contains a zero byte".into(), String::new());
        let text = CString::new(kernel.ptx.as_bytes()).map_err(inner_nul)?;
        let entry = CString::new(kernel.entry.as_bytes()).map_err(inner_nul)?;
        let module = load_module(&text).map_err(|(code, log)| error(format!("{:?}", code.0), log))?;
        // From here on dropping it unloads the module.
        let mut function = Function {
            function: std::ptr::null_mut(),
            module,
            context: self.stream.context().clone(),
        };
        // SAFETY: the module was just loaded.
        function.function = unsafe { result::module::get_function(module, entry) }
            .map_err(|code| error(format!("{:?}: no entry `{}`", code.0, kernel.entry), String::new()))?;
        if kernel.launch.dynamic_shared > 48 * 1024 {
            let bytes = i32::try_from(kernel.launch.dynamic_shared).unwrap_or(i32::MAX);
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function belongs to the module, which is loaded.
            unsafe { result::function::set_function_attribute(function.function, attribute, bytes) }.map_err(
                |code| {
                    error(
                        format!("{:?}: {bytes} bytes of shared memory a block", code.0),
                        String::new(),
                    )
                },
            )?;
        }
        Ok(function)
    }

    /// Queues a launch. No allocation, no synchronisation.
    pub fn launch(&self, function: &Function, launch: &Launch<'_>) -> Result<()> {
        /// Parameters that fit on the stack; kernels with more are launched through the heap.
        const STACK: usize = 48;
        self.bind()?;
        let place = |value: &u64| std::ptr::from_ref(value).cast_mut().cast::<c_void>();
        let mut stack = [std::ptr::null_mut(); STACK];
        let mut heap;
        let pointers: &mut [*mut c_void] = match stack.get_mut(..launch.arguments.len()) {
            Some(pointers) => {
                pointers
                    .iter_mut()
                    .zip(launch.arguments)
                    .for_each(|(pointer, value)| *pointer = place(value));
                pointers
            }
            None => {
                heap = launch.arguments.iter().map(place).collect::<Vec<_>>();
                &mut heap
            }
        };
        let dimensions = |[x, y, z]: [u32; 3]| (x, y, z);
        // SAFETY: the function is loaded; there is one pointer a parameter, each to 8 bytes, the widest a parameter is
        // (the host is little-endian, so the lowest bytes come first); the driver copies them before it returns.
        unsafe {
            result::launch_kernel(
                function.function,
                dimensions(launch.grid),
                dimensions(launch.block),
                launch.dynamic_shared,
                self.stream.cu_stream(),
                pointers,
            )
        }
        .map_err(failed("cuLaunchKernel"))
    }

    /// Whether what is queued goes into a graph.
    pub fn is_capturing(&self) -> Result<bool> {
        let status = self.stream.capture_status().map_err(failed("cuStreamIsCapturing"))?;
        Ok(status != sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE)
    }

    pub fn synchronize(&self) -> Result<()> {
        self.stream.synchronize().map_err(failed("cuStreamSynchronize"))
    }

    pub fn same_device(&self, allocation: &Allocation) -> bool {
        self.stream.context().cu_ctx() == allocation.stream.context().cu_ctx()
    }

    fn at_home(&self, allocation: &Allocation) -> bool {
        self.stream.cu_stream() == allocation.stream.cu_stream()
    }

    pub fn wait_for(&self, allocation: &Allocation) -> Result<()> {
        match self.at_home(allocation) {
            true => Ok(()),
            false => self
                .stream
                .join(&allocation.stream)
                .map_err(failed("cuStreamWaitEvent")),
        }
    }

    pub fn release(&self, allocation: &Allocation) -> Result<()> {
        match self.at_home(allocation) {
            true => Ok(()),
            false => allocation
                .stream
                .join(&self.stream)
                .map_err(failed("cuStreamWaitEvent")),
        }
    }

    /// Records what `work` queues in a graph.
    pub fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<CudaGraph> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream
            .begin_capture(mode)
            .map_err(failed("cuStreamBeginCapture"))?;
        let worked = work();
        // The capture ends whether or not the work succeeded.
        let graph = self.stream.end_capture(sys::CUgraphInstantiate_flags(0));
        worked?;
        graph.map_err(failed("cuStreamEndCapture"))?.ok_or(Error::Driver {
            call: "cuStreamEndCapture",
            code: 0,
            name: "no graph".to_owned(),
        })
    }

    /// Seconds on the GPU's clock between two points of its stream.
    pub fn seconds<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<(f64, R)> {
        let start = self.mark()?;
        let result = work()?;
        let end = self.mark()?;
        Ok((end.seconds_since(&start)?, result))
    }

    /// Marks this point of its stream.
    pub fn mark(&self) -> Result<Mark> {
        let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        Ok(Mark {
            event: self.stream.record_event(flags).map_err(failed("cuEventRecord"))?,
            driver: self.driver,
        })
    }
}

impl Mark {
    /// Waits until the stream has come there.
    pub fn wait(&self) -> Result<()> {
        self.event.synchronize().map_err(failed("cuEventSynchronize"))
    }

    /// `true` once the stream has come there. Does not wait.
    pub fn is_reached(&self) -> Result<bool> {
        // SAFETY: the event was recorded and lives as long as `self`.
        match unsafe { result::event::query(self.event.cu_event()) } {
            Ok(()) => Ok(true),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_READY)) => Ok(false),
            Err(error) => Err(failed("cuEventQuery")(error)),
        }
    }

    /// Seconds on the GPU's clock from an earlier mark to this one. Waits for both.
    pub fn seconds_since(&self, earlier: &Mark) -> Result<f64> {
        earlier.wait()?;
        self.wait()?;
        let mut milliseconds = 0f32;
        // SAFETY: both events were recorded and have completed; the function is the driver's.
        let code =
            unsafe { (self.driver.elapsed_time)(&mut milliseconds, earlier.event.cu_event(), self.event.cu_event()) };
        match code {
            0 => Ok(f64::from(milliseconds) * 1e-3),
            code => Err(Error::Driver {
                call: "cuEventElapsedTime",
                code: code.unsigned_abs(),
                name: "see the CUDA driver API's error codes".to_owned(),
            }),
        }
    }
}

fn bind(stream: &CudaStream) -> Result<()> {
    stream.context().bind_to_thread().map_err(failed("cuCtxSetCurrent"))
}

/// Loads a module; the error comes with what the driver's compiler wrote.
fn load_module(text: &CString) -> std::result::Result<sys::CUmodule, (DriverError, String)> {
    let mut log = vec![0u8; 16 * 1024];
    let mut options = [
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
    ];
    // The second value is not a pointer: the driver takes integers in their place.
    let mut values = [log.as_mut_ptr().cast::<c_void>(), log.len() as *mut c_void];
    let mut module = std::ptr::null_mut();
    // SAFETY: the text ends with a zero byte, options and values are two each, and the buffer has the size given.
    let code = unsafe {
        sys::cuModuleLoadDataEx(
            &mut module,
            text.as_ptr().cast(),
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    code.result().map(|()| module).map_err(|error| {
        let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
        (error, String::from_utf8_lossy(&log[..end]).trim_end().to_owned())
    })
}

impl Function {
    /// Registers a thread, and bytes of local memory a thread (spills are among them).
    pub fn resources(&self) -> Result<(u32, u32)> {
        let get = |attribute| {
            bind_context(&self.context)?;
            // SAFETY: the function's module is loaded as long as `self` lives.
            unsafe { result::function::get_function_attribute(self.function, attribute) }
                .map(i32::unsigned_abs)
                .map_err(failed("cuFuncGetAttribute"))
        };
        Ok((
            get(CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
            get(CUfunction_attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
        ))
    }
}

fn bind_context(context: &CudaContext) -> Result<()> {
    context.bind_to_thread().map_err(failed("cuCtxSetCurrent"))
}

impl Drop for Function {
    fn drop(&mut self) {
        if let Err(error) = self.context.bind_to_thread() {
            self.context.record_err::<()>(Err(error));
            return;
        }
        // Launches of it may still be queued.
        self.context.record_err(result::ctx::synchronize());
        // SAFETY: loaded once, unloaded once, and no launch uses it any more.
        let unloaded = unsafe { result::module::unload(self.module) };
        self.context.record_err(unloaded);
    }
}

impl Allocation {
    pub fn ordinal(&self) -> usize {
        self.stream.context().ordinal()
    }

    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        bind(&self.stream)?;
        // SAFETY: the range is inside the allocation (checked by the caller). The driver stages pageable host memory before
        // the call returns; the synchronisation covers pinned memory, too.
        unsafe { result::memcpy_htod_async(address, bytes, self.stream.cu_stream()) }
            .map_err(failed("cuMemcpyHtoDAsync"))?;
        self.stream.synchronize().map_err(failed("cuStreamSynchronize"))
    }

    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        bind(&self.stream)?;
        // SAFETY: the range is inside the allocation (checked by the caller), and the copy is waited for.
        unsafe { result::memcpy_dtoh_async(bytes, address, self.stream.cu_stream()) }
            .map_err(failed("cuMemcpyDtoHAsync"))?;
        self.stream.synchronize().map_err(failed("cuStreamSynchronize"))
    }

    pub fn clear(&self, address: u64, bytes: u64) -> Result<()> {
        bind(&self.stream)?;
        // SAFETY: the range is the allocation.
        unsafe { result::memset_d8_async(address, 0, bytes as usize, self.stream.cu_stream()) }
            .map_err(failed("cuMemsetD8Async"))
    }

    /// Takes a caller's slice in. Its stream waits for what other streams still do with it.
    pub fn import<T: Send + Sync + 'static>(mut slice: CudaSlice<T>) -> Storage {
        let stream = slice.stream().clone();
        let bytes = slice.num_bytes() as u64;
        let address = {
            let (address, _recorded) = slice.device_ptr_mut(&stream);
            address
        };
        Storage {
            address,
            bytes,
            owner: Owner::Cuda(Allocation {
                stream,
                kind: Kind::Slice(Box::new(slice)),
            }),
        }
    }

    /// Gives the memory back as a slice, if it is of that type. Its events stand after all that was done with it here.
    pub fn export<T: Send + Sync + 'static>(storage: Storage) -> std::result::Result<CudaSlice<T>, Storage> {
        let (address, bytes) = (storage.address, storage.bytes);
        match storage.owner {
            Owner::Cuda(mut allocation) => {
                let stream = allocation.stream.clone();
                match std::mem::replace(&mut allocation.kind, Kind::Own(0)) {
                    Kind::Slice(slice) => match slice.downcast::<CudaSlice<T>>() {
                        Ok(mut slice) => {
                            drop(slice.device_ptr_mut(&stream));
                            Ok(*slice)
                        }
                        Err(slice) => {
                            allocation.kind = Kind::Slice(slice);
                            Err(Storage {
                                address,
                                bytes,
                                owner: Owner::Cuda(allocation),
                            })
                        }
                    },
                    Kind::Own(address) if address != 0 && bind(&stream).is_ok() => {
                        let length = bytes as usize / size_of::<T>().max(1);
                        // SAFETY: a live allocation of that many bytes, which this `Allocation` no longer frees.
                        Ok(unsafe { stream.upgrade_device_ptr(address, length) })
                    }
                    kind => {
                        allocation.kind = kind;
                        Err(Storage {
                            address,
                            bytes,
                            owner: Owner::Cuda(allocation),
                        })
                    }
                }
            }
            #[cfg(feature = "emulator")]
            owner => Err(Storage { address, bytes, owner }),
        }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        let Kind::Own(address @ 1..) = self.kind else {
            return;
        };
        let context = self.stream.context();
        if let Err(error) = context.bind_to_thread() {
            context.record_err::<()>(Err(error));
            return;
        }
        let freed = match context.has_async_alloc() {
            // SAFETY: allocated once on this stream, freed once, after the work queued there.
            true => unsafe { result::free_async(address, self.stream.cu_stream()) },
            // SAFETY: as above; the driver waits for the device.
            false => unsafe { result::free_sync(address) },
        };
        context.record_err(freed);
    }
}
