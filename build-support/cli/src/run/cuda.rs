//! A kernel on a GPU, launched with cudarc. The runtime checks first that there is a driver.

use super::kernel::{failed, kernel_name};
use super::launch::{Device, prepare};
use crate::arguments::Run;
use crate::outcome::Failure;
use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use cudarc::driver::{CudaModule, CudaSlice, CudaStream, DevicePtr, DriverError, result};
use cudarc::nvrtc::Ptx;
use energy_kernel_emulator::Module;
use miette::{IntoDiagnostic, Report, Result, miette};
use std::ffi::c_void;
use std::sync::Arc;

/// The memory of a GPU.
struct Memory {
    stream: Arc<CudaStream>,
    module: Arc<CudaModule>,
    /// In the order of their addresses.
    buffers: Vec<(u64, CudaSlice<u8>)>,
}

/// The size of every parameter's storage. It exceeds any parameter: the driver reads as many bytes as the kernel declares, even if fewer
/// are given.
const PARAMETER: usize = 32 << 10;

fn driver(what: &'static str) -> impl Fn(DriverError) -> Report {
    move |error| miette!("{what}: CUDA error {:?}", error.0)
}

pub fn run(options: &Run, text: &str, ordinal: usize) -> Result<(), Failure> {
    let gpu = energy_kernel::Gpu::open_at(ordinal).map_err(failed)?;
    let stream = gpu.stream().ok_or_else(|| miette!("GPU {ordinal} has no stream"))?;
    // The driver may accept PTX that the emulator cannot read.
    let parsed = Module::parse(text);
    let name = match (&options.kernel, &parsed) {
        (Some(name), _) => name.clone(),
        (None, Ok(module)) => kernel_name(options, module.kernels().map(|kernel| kernel.name()))?,
        (None, Err(error)) => {
            return Err(miette!(help = "name the kernel with --kernel", "{error}").into());
        }
    };
    let module = stream
        .context()
        .load_module(Ptx::from_src(text))
        .map_err(driver("the module cannot be loaded"))?;
    let function = module.load_function(&name).map_err(driver("there is no such kernel"))?;
    let shared = i32::try_from(options.shared).into_diagnostic()?;
    function
        .set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
        .map_err(driver("the shared memory is not available"))?;
    let mut memory = Memory {
        stream: stream.clone(),
        module,
        buffers: Vec::new(),
    };
    let prepared = prepare(options, &mut memory)?;
    let declared = parsed.as_ref().ok().and_then(|module| module.kernel(&name));
    if let Some(declared) = declared.map(|kernel| kernel.parameters().len())
        && declared != prepared.values.len()
    {
        let given = prepared.values.len();
        return Err(miette!("kernel `{name}` takes {declared} arguments, {given} were given").into());
    }
    let mut values: Vec<Vec<u64>> = Vec::new();
    for value in &prepared.values {
        if value.len() > PARAMETER {
            return Err(miette!("an argument has {} bytes; the limit is {PARAMETER}", value.len()).into());
        }
        let mut bytes = value.clone();
        bytes.resize(PARAMETER, 0);
        let (words, _) = bytes.as_chunks();
        values.push(words.iter().map(|word| u64::from_ne_bytes(*word)).collect());
    }
    let mut parameters: Vec<*mut c_void> = values.iter_mut().map(|value| value.as_mut_ptr().cast()).collect();
    let context = stream.context();
    context.bind_to_thread().map_err(driver("the context"))?;
    let [grid, block] = [options.grid, options.block].map(|[x, y, z]| (x, y, z));
    // SAFETY: each parameter points to at least as many bytes as a parameter can have, which outlive the call. What the
    // kernel does with its arguments is its author's responsibility, who asked for it to be run; the buffers outlive the
    // launch, which is waited for.
    unsafe {
        result::launch_kernel(
            function.cu_function(),
            grid,
            block,
            options.shared,
            stream.cu_stream(),
            &mut parameters,
        )
    }
    .map_err(driver("the launch"))?;
    stream.synchronize().map_err(driver("the kernel"))?;
    Ok(prepared.save(&memory)?)
}

impl Memory {
    /// The buffer at or before an address, and the bytes between.
    fn buffer(&self, address: u64) -> Result<(usize, usize)> {
        let after = self.buffers.partition_point(|(start, _)| *start <= address);
        let at = after
            .checked_sub(1)
            .ok_or_else(|| miette!("no buffer at {address:#x}"))?;
        Ok((at, (address - self.buffers[at].0) as usize))
    }
}

impl Device for Memory {
    fn allocate(&mut self, bytes: u64) -> Result<u64> {
        // An empty buffer has an address, too.
        let bytes = usize::try_from(bytes).into_diagnostic()?.max(1);
        let slice = self
            .stream
            .alloc_zeros(bytes)
            .map_err(driver("a buffer cannot be allocated"))?;
        let address = slice.device_ptr(&self.stream).0;
        let place = self.buffers.partition_point(|(start, _)| *start < address);
        self.buffers.insert(place, (address, slice));
        Ok(address)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (at, start) = self.buffer(address)?;
        let mut range = self.buffers[at].1.slice_mut(start..start + bytes.len());
        self.stream
            .memcpy_htod(bytes, &mut range)
            .map_err(driver("a buffer cannot be filled"))
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        let (at, start) = self.buffer(address)?;
        let range = self.buffers[at].1.slice(start..start + bytes.len());
        self.stream
            .memcpy_dtoh(&range, bytes)
            .map_err(driver("a buffer cannot be read"))?;
        self.stream.synchronize().map_err(driver("a buffer cannot be read"))
    }

    fn write_variable(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut variable = self
            .module
            .get_global(name, &self.stream)
            .map_err(|error| miette!("no global or constant variable `{name}`: CUDA error {:?}", error.0))?;
        let size = variable.len();
        if bytes.len() > size {
            return Err(miette!(
                "variable `{name}` has {size} bytes, {} were given",
                bytes.len()
            ));
        }
        let mut range = variable.slice_mut(..bytes.len());
        self.stream
            .memcpy_htod(bytes, &mut range)
            .map_err(driver("a variable cannot be written"))
    }
}
