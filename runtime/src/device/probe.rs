//! Finds out whether the CUDA driver can be used, before cudarc touches it.
//!
//! cudarc panics without the library or one of its functions. So nothing of cudarc is called before [`driver`] has opened
//! the same library, initialised it, and found every function that this crate uses.

use crate::error::{Error, Result};
use libloading::Library;
use std::ffi::c_int;
use std::sync::OnceLock;

/// Every driver function that this crate calls, directly or through cudarc, which calls some when it drops contexts, streams and slices.
/// Tests on the virtual GPU compare the list with the functions that are called.
pub const SYMBOLS: [&str; 46] = [
    "cuCtxDestroy_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetUuid_v2",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventQuery",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAllocAsync",
    "cuMemAlloc_v2",
    "cuMemFreeAsync",
    "cuMemFree_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleGetGlobal_v2",
    "cuModuleLoadDataEx",
    "cuModuleUnload",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamIsCapturing",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuThreadExchangeStreamCaptureMode",
];

/// `cuEventElapsedTime(milliseconds, start, end)`. cudarc binds another version of it by CUDA level, one that older drivers lack.
pub(super) type ElapsedTime =
    unsafe extern "C" fn(*mut f32, cudarc::driver::sys::CUevent, cudarc::driver::sys::CUevent) -> c_int;

/// The driver, opened and initialised.
pub(super) struct Driver {
    pub elapsed_time: ElapsedTime,
    // Keeps the library, and with it the functions, loaded.
    _library: Library,
}

/// Returns the driver. Success is remembered; after a failure the next call tries again.
pub(super) fn driver() -> Result<&'static Driver> {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    if let Some(driver) = DRIVER.get() {
        return Ok(driver);
    }
    let driver = probe(open()?)?;
    Ok(DRIVER.get_or_init(|| driver))
}

/// Opens the library under the names that cudarc tries, in its order, so that both find the same one.
fn open() -> Result<Library> {
    let mut reason = String::new();
    for name in ["cuda", "nvcuda"].into_iter().flat_map(cudarc::get_lib_name_candidates) {
        // SAFETY: the CUDA driver's initialisers have no preconditions.
        match unsafe { Library::new(&name) } {
            Ok(library) => return Ok(library),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(Error::NoDriver {
        tried: vec!["libcuda.so".into(), "libcuda.so.1".into(), "nvcuda.dll".into()],
        reason,
    })
}

fn probe(library: Library) -> Result<Driver> {
    let missing = |symbol| move |_| Error::DriverTooOld { symbol };
    // SAFETY: the type is that of the driver API's documentation.
    let init = unsafe { library.get::<unsafe extern "C" fn(u32) -> c_int>(b"cuInit") }.map_err(missing("cuInit"))?;
    // SAFETY: 0 is the only flag there is.
    match unsafe { init(0) } {
        0 => {}
        // CUDA_ERROR_NO_DEVICE
        100 => return Err(Error::NoDevice),
        code => {
            return Err(Error::Driver {
                call: "cuInit",
                code: code.unsigned_abs(),
                name: init_error(code).to_owned(),
            });
        }
    }
    for symbol in SYMBOLS {
        // SAFETY: looked up only; nothing is called through this type.
        let found = unsafe { library.get::<*const ()>(symbol.as_bytes()) };
        if found.is_err() {
            return Err(Error::DriverTooOld { symbol });
        }
    }
    // SAFETY: the type is that of the driver API's documentation.
    let elapsed_time =
        *unsafe { library.get::<ElapsedTime>(b"cuEventElapsedTime") }.map_err(missing("cuEventElapsedTime"))?;
    Ok(Driver {
        elapsed_time,
        _library: library,
    })
}

/// The meanings of the codes that `cuInit` is known to return.
fn init_error(code: c_int) -> &'static str {
    match code {
        2 => "out of memory",
        3 => "the driver is shutting down",
        34 => "a stub library of the CUDA toolkit is loaded instead of the driver",
        101 => "invalid device",
        802 => "the system is not ready: is the fabric manager running?",
        803 => "the driver's library and its kernel module are of different versions: reboot",
        804 => "forward compatibility is not supported on this GPU",
        999 => "unknown error: is the kernel module loaded, and may this user open /dev/nvidia*?",
        _ => "see the CUDA driver API's error codes",
    }
}
