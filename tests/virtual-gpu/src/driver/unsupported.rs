//! Functions that cudarc names and this driver lacks. Calls return `CUDA_ERROR_NOT_SUPPORTED`, and the report lists them.

use crate::codes::Code;

macro_rules! unsupported {
    ($($name:ident)+) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> std::ffi::c_int {
            crate::machine::answer::<()>(stringify!($name), |machine| {
                machine.problem(concat!("the virtual GPU has no ", stringify!($name)).to_owned());
                Err(Code::NOT_SUPPORTED)
            })
        }
    )+};
}

unsupported! {
    cuCtxCreate_v3
    cuCtxCreate_v4
    cuCtxDestroy_v2
    cuCtxGetCacheConfig
    cuCtxGetLimit
    cuCtxGetStreamPriorityRange
    cuCtxSetCacheConfig
    cuCtxSetFlags
    cuCtxSetLimit
    cuDestroyExternalMemory
    cuDeviceGetDefaultMemPool
    cuDeviceGetMemPool
    cuDeviceSetMemPool
    cuExternalMemoryGetMappedBuffer
    cuFuncSetCacheConfig
    cuImportExternalMemory
    cuLaunchCooperativeKernel
    cuLaunchHostFunc
    cuLaunchKernelEx
    cuMemAdvise_v2
    cuMemAllocFromPoolAsync
    cuMemAllocManaged
    cuMemFreeHost
    cuMemHostAlloc
    cuMemPoolCreate
    cuMemPoolDestroy
    cuMemPoolGetAttribute
    cuMemPoolSetAttribute
    cuMemPoolTrimTo
    cuMemPrefetchAsync_v2
    cuMemcpyPeerAsync
    cuModuleLoad
    cuOccupancyAvailableDynamicSMemPerBlock
    cuOccupancyMaxActiveBlocksPerMultiprocessor
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags
    cuOccupancyMaxActiveClusters
    cuOccupancyMaxPotentialBlockSize
    cuOccupancyMaxPotentialBlockSizeWithFlags
    cuOccupancyMaxPotentialClusterSize
    cuProfilerStart
    cuProfilerStop
    cuStreamAttachMemAsync
    cuTensorMapEncodeTiled
}
