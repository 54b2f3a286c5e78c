//! A stream of a real GPU, and the properties of that GPU.

use super::error::failed;
use super::memory::Allocation;
use super::module::Module;
use super::recorder::Recorder;
use super::stream::{Stream, release_deferred};
use crate::device::probe::{Driver, driver};
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use cudarc::driver::{CudaContext, CudaStream, result};
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::target::Limits;
use std::sync::Arc;

/// A stream of a real GPU.
pub(crate) struct Cuda {
    pub(super) stream: Arc<Stream>,
    pub(super) recorder: Recorder,
    pub(super) driver: &'static Driver,
}

/// The properties of a GPU that the driver states.
pub(crate) struct Properties {
    pub name: String,
    pub capability: (u32, u32),
    pub multiprocessors: u32,
    pub memory: u64,
    pub limits: Limits,
}

/// The number of GPUs.
fn count() -> Result<usize> {
    driver()?;
    let count = result::device::get_count().map_err(failed("cuDeviceGetCount"))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

impl Cuda {
    /// Creates a stream on a GPU.
    pub fn open(ordinal: usize) -> Result<Cuda> {
        let driver = driver()?;
        match count()? {
            0 => return Err(Error::NoDevice),
            count if ordinal >= count => return Err(Error::NoSuchDevice { ordinal, count }),
            _ => {}
        }
        let context = CudaContext::new(ordinal).map_err(failed("CudaContext::new"))?;
        // For a first stream, cudarc synchronises the whole device, to order slices that have no events. This context has no slices,
        // and the synchronisation would invalidate captures of other streams.
        // SAFETY: nobody else has this context, and it has no slices.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(failed("cuStreamCreate"))?;
        // SAFETY: as above.
        unsafe { context.enable_event_tracking() };
        Ok(Cuda::on(stream, driver))
    }

    /// Uses a caller's stream. cudarc has found the driver already; its functions are still checked.
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
            stated => stated,
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

    /// The value of an attribute that is a number.
    fn number(&self, which: CUdevice_attribute) -> Result<u32> {
        // SAFETY: the device exists: there is a context on it.
        let value = unsafe { result::device::get_attribute(self.device(), which) };
        let value = value.map_err(failed("cuDeviceGetAttribute"))?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    /// The device's name. cudarc would panic if the driver did not terminate it.
    fn name(&self) -> Result<String> {
        let mut name = [0u8; 256];
        // SAFETY: the buffer has the size given.
        let code = unsafe { sys::cuDeviceGetName(name.as_mut_ptr().cast(), name.len() as i32, self.device()) };
        code.result().map_err(failed("cuDeviceGetName"))?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        Ok(String::from_utf8_lossy(&name[..end]).into_owned())
    }

    /// The device's UUID as `nvidia-smi -L` spells it: `GPU-8a3b…`.
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

    /// The bytes of the L2 cache; 0 if the driver does not say.
    pub fn l2_bytes(&self) -> Result<u64> {
        Ok(self
            .number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?
            .into())
    }

    /// The device's address on the PCI bus as NVML spells it: `00000000:3B:00.0`.
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

    /// Allocates memory without initialising it.
    pub fn allocate(&self, bytes: u64) -> Result<Allocation> {
        Allocation::allocate(&self.stream, bytes)
    }

    /// Loads a kernel's module; the driver compiles its PTX.
    pub fn load(&self, kernel: &Kernel) -> Result<Module> {
        Module::load(&self.stream, kernel)
    }

    /// `true` if the stream is being captured into a graph.
    pub fn is_capturing(&self) -> Result<bool> {
        self.stream.is_capturing()
    }

    /// `true` if the stream is being captured, but not by [`record`](Cuda::record).
    pub fn is_captured_by_caller(&self) -> Result<bool> {
        Ok(!self.recorder.is_recording() && self.is_capturing()?)
    }

    /// Waits until all queued work is done.
    pub fn synchronize(&self) -> Result<()> {
        self.stream.synchronize()?;
        release_deferred();
        Ok(())
    }

    /// Returns the first failed release since the previous call.
    pub fn unreleased(&self) -> Result<()> {
        self.stream.unreleased()
    }

    /// `true` if work on this device can use the memory.
    pub fn same_device(&self, allocation: &Allocation) -> bool {
        self.stream.context().cu_ctx() == allocation.home().context().cu_ctx()
    }
}
