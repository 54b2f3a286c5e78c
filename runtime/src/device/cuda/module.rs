//! Modules on a GPU.

use super::error::{failed, name_of};
use super::stream::{Permission, Stream};
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUfunction_attribute, CUjit_option, CUresult};
use cudarc::driver::{DriverError, result};
use energy_kernel_compiler::kernel::Kernel;
use std::ffi::{CString, c_void};
use std::sync::Arc;

/// A loaded module and the entries that a kernel launches. They run on one stream.
pub(crate) struct Module {
    /// One for each launch of the kernel.
    functions: Vec<sys::CUfunction>,
    handle: Handle,
    stream: Arc<Stream>,
}

#[derive(Clone, Copy)]
struct Handle(sys::CUmodule);

// SAFETY: handles of the driver may be used from any thread that binds the context first, which every use does.
unsafe impl Send for Handle {}

// SAFETY: handles of the driver may be used from any thread that binds the context first, which every use does.
unsafe impl Send for Module {}
// SAFETY: as above; launching a function does not change it.
unsafe impl Sync for Module {}

impl Module {
    /// Loads a kernel's module; the driver compiles its PTX.
    ///
    /// # Errors
    /// [`Error::Load`] if the driver rejects the kernel, as it would every time; [`Error::Driver`] for any other failure.
    pub fn load(stream: &Arc<Stream>, kernel: &Kernel) -> Result<Module> {
        stream.bind()?;
        let refused = |reason: String, log: String| Error::Load {
            kernel: kernel.name().to_owned(),
            reason,
            log,
        };
        let failure = |call: &'static str, error: DriverError, what: &str, log: String| match is_about_the_kernel(error)
        {
            true => refused(format!("{}{what}", name_of(error)), log),
            false => failed(call)(error),
        };
        let inner_nul = |_| refused("the PTX or its entry's name contains a zero byte".into(), String::new());
        let text = CString::new(kernel.ptx.as_bytes()).map_err(inner_nul)?;
        // Loading may allocate, which a capture may forbid on this thread.
        let _permission = Permission::new();
        let module = load_module(&text).map_err(|(error, log)| failure("cuModuleLoadDataEx", error, "", log))?;
        // From here on dropping it unloads the module.
        let mut loaded = Module {
            functions: Vec::with_capacity(kernel.launches.len()),
            handle: Handle(module),
            stream: stream.clone(),
        };
        for launch in &kernel.launches {
            let entry = CString::new(launch.entry.as_bytes()).map_err(inner_nul)?;
            // SAFETY: the module was just loaded.
            let function = unsafe { result::module::get_function(module, entry) }.map_err(|error| {
                let what = format!(": no entry `{}`", launch.entry);
                failure("cuModuleGetFunction", error, &what, String::new())
            })?;
            if launch.dynamic_shared > 48 * 1024 {
                let bytes = i32::try_from(launch.dynamic_shared).unwrap_or(i32::MAX);
                let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                // SAFETY: the function belongs to the module, which is loaded.
                unsafe { result::function::set_function_attribute(function, attribute, bytes) }.map_err(|error| {
                    let what = format!(": {bytes} bytes of shared memory per block");
                    failure("cuFuncSetAttribute", error, &what, String::new())
                })?;
            }
            loaded.functions.push(function);
        }
        Ok(loaded)
    }

    /// The entry of the kernel's launch at this position.
    ///
    /// # Errors
    /// [`Error::Lower`] for a position beyond the kernel's launches.
    pub fn function(&self, position: usize) -> Result<sys::CUfunction> {
        let function = self.functions.get(position).copied();
        function.ok_or_else(|| Error::Lower {
            operator: "a kernel".to_owned(),
            reason: format!("it has {} launches, none at position {position}", self.functions.len()),
        })
    }

    /// Registers per thread, and bytes of local memory per thread with spilled registers: the most of any entry.
    pub fn resources(&self) -> Result<(u32, u32)> {
        self.stream.bind()?;
        let most = |attribute| {
            let get = |most: u32, &function: &sys::CUfunction| {
                // SAFETY: the module is loaded as long as `self` lives.
                let value = unsafe { result::function::get_function_attribute(function, attribute) };
                let value = value.map_err(failed("cuFuncGetAttribute"))?;
                Ok(most.max(value.unsigned_abs()))
            };
            self.functions.iter().try_fold(0, get)
        };
        Ok((
            most(CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
            most(CUfunction_attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
        ))
    }
}

impl Handle {
    /// Unloads the module after its launches on the stream. It stays loaded if the stream cannot be synchronised.
    fn unload(self, stream: &Stream) -> Result<()> {
        let _permission = Permission::new();
        // Synchronising the context would invalidate captures of its other streams.
        stream.synchronize()?;
        // SAFETY: loaded once and unloaded once. No launch uses it any more: all were queued on this stream.
        unsafe { result::module::unload(self.0) }.map_err(failed("cuModuleUnload"))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let handle = self.handle;
        self.stream.release(move |stream| handle.unload(stream));
    }
}

/// `true` if the driver rejected the kernel itself, and would reject it again.
fn is_about_the_kernel(error: DriverError) -> bool {
    matches!(
        error.0,
        CUresult::CUDA_ERROR_INVALID_VALUE
            | CUresult::CUDA_ERROR_INVALID_IMAGE
            | CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
            | CUresult::CUDA_ERROR_INVALID_PTX
            | CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND
            | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
            | CUresult::CUDA_ERROR_JIT_COMPILATION_DISABLED
            | CUresult::CUDA_ERROR_INVALID_SOURCE
            | CUresult::CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND
            | CUresult::CUDA_ERROR_NOT_FOUND
    )
}

/// Loads a module. The error comes with the log of the driver's compiler.
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
