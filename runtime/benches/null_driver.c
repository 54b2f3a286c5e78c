/* A CUDA driver that does nothing, as fast as it can: benchmarks measure what this crate adds to its calls. Memory is the host's. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef int result;
typedef uint64_t address;

static void *current;

/* Functions without results. */
#define NOTHING(name) result name() { return 0; }
NOTHING(cuInit) NOTHING(cuGetErrorString)
NOTHING(cuDevicePrimaryCtxRelease_v2) NOTHING(cuCtxDestroy_v2)
NOTHING(cuStreamDestroy_v2) NOTHING(cuStreamSynchronize) NOTHING(cuStreamWaitEvent)
NOTHING(cuStreamBeginCapture_v2) NOTHING(cuThreadExchangeStreamCaptureMode)
NOTHING(cuGraphLaunch) NOTHING(cuGraphExecDestroy) NOTHING(cuGraphDestroy)
NOTHING(cuEventDestroy_v2) NOTHING(cuEventQuery) NOTHING(cuEventRecord) NOTHING(cuEventSynchronize)
NOTHING(cuMemcpyHtoDAsync_v2) NOTHING(cuMemcpyDtoHAsync_v2) NOTHING(cuMemsetD8Async)
NOTHING(cuModuleGetGlobal_v2) NOTHING(cuModuleUnload) NOTHING(cuFuncSetAttribute) NOTHING(cuLaunchKernel)

/* Functions that make something. */
#define HANDLE(name) result name(void **handle) { *handle = (void *)0x1000; return 0; }
HANDLE(cuDevicePrimaryCtxRetain) HANDLE(cuStreamCreate) HANDLE(cuEventCreate)
HANDLE(cuGraphInstantiateWithFlags) HANDLE(cuModuleLoadDataEx) HANDLE(cuModuleGetFunction)
result cuStreamEndCapture(void *stream, void **graph) { *graph = (void *)0x1000; return 0; }

result cuDriverGetVersion(int *version) { *version = 12000; return 0; }
result cuDeviceGetCount(int *count) { *count = 1; return 0; }
result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
result cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "no GPU"); return 0; }
result cuDeviceGetUuid_v2(unsigned char *uuid, int device) { for (int i = 0; i < 16; i++) uuid[i] = i; return 0; }
result cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)1 << 34; return 0; }
result cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
        case 1: *value = 1024; break; /* threads of a block */
        case 12: case 82: *value = 65536; break; /* registers of a block, of a multiprocessor */
        case 16: *value = 132; break; /* multiprocessors */
        case 39: *value = 2048; break; /* threads of a multiprocessor */
        case 75: *value = 9; break;
        case 81: *value = 233472; break; /* shared memory of a multiprocessor */
        case 97: *value = 232448; break; /* of a block */
        case 106: *value = 32; break; /* blocks of a multiprocessor */
        case 111: *value = 1024; break; /* shared memory that a block takes besides */
        case 115: *value = 1; break; /* memory pools */
        default: *value = 0;
    }
    return 0;
}
result cuCtxGetCurrent(void **context) { *context = current; return 0; }
result cuCtxSetCurrent(void *context) { current = context; return 0; }
result cuStreamIsCapturing(void *stream, int *status) { *status = 0; return 0; }
result cuEventElapsedTime(float *elapsed, void *start, void *end) { *elapsed = 1; return 0; }
result cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 0; return 0; }

static result allocate(address *at, size_t bytes) { return posix_memalign((void **)at, 256, bytes) ? 2 : 0; }
result cuMemAlloc_v2(address *at, size_t bytes) { return allocate(at, bytes); }
result cuMemAllocAsync(address *at, size_t bytes, void *stream) { return allocate(at, bytes); }
result cuMemFree_v2(address at) { free((void *)at); return 0; }
result cuMemFreeAsync(address at, void *stream) { free((void *)at); return 0; }
