/* A CUDA driver with one device and no GPU: memory is the host's, kernels do nothing. It writes what is asked of it to the
   file named in FAKE_CUDA_LOG, so that tests can see it. Events are 2.5 ms apart; where FAKE_CUDA_GRAPH_MS is set, they keep the time, and each
   launch of a graph takes so long. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int result;
typedef uint64_t address;

static void *current;

static void note(const char *text) {
    const char *path = getenv("FAKE_CUDA_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s\n", text);
        fclose(file);
    }
}

result cuInit(unsigned flags) { return getenv("FAKE_CUDA_INIT") ? atoi(getenv("FAKE_CUDA_INIT")) : 0; }

#ifdef WHOLE
result cuDriverGetVersion(int *version) { *version = 12040; return 0; }
result cuGetErrorName(result code, const char **name) { *name = "FAKE"; return 0; }
result cuGetErrorString(result code, const char **text) { *text = "an error of the fake driver"; return 0; }
result cuDeviceGetCount(int *count) { *count = 1; return 0; }
result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal == 0 ? 0 : 101; }
result cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Fake GPU"); return 0; }
result cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)1 << 34; return 0; }
result cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
        case 16: *value = 132; break; /* multiprocessors */
        case 75: *value = getenv("FAKE_CUDA_MAJOR") ? atoi(getenv("FAKE_CUDA_MAJOR")) : 9; break;
        case 76: *value = 0; break; /* minor capability */
        case 115: *value = 1; break; /* memory pools */
        default: *value = 0;
    }
    return 0;
}
result cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)0x1000; return 0; }
result cuDevicePrimaryCtxRelease_v2(int device) { note("release"); return 0; }
result cuCtxGetCurrent(void **context) { *context = current; return 0; }
result cuCtxSetCurrent(void *context) { current = context; return 0; }
result cuCtxSynchronize(void) { return 0; }
result cuStreamCreate(void **stream, unsigned flags) { *stream = malloc(1); return 0; }
result cuStreamDestroy_v2(void *stream) { free(stream); return 0; }
result cuStreamSynchronize(void *stream) { return 0; }
result cuStreamWaitEvent(void *stream, void *event, unsigned flags) { note("wait"); return 0; }
result cuStreamBeginCapture_v2(void *stream, int mode) { note("begin capture"); return 0; }
result cuStreamEndCapture(void *stream, void **graph) { note("end capture"); *graph = malloc(1); return 0; }
result cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) { *executable = malloc(1); return 0; }
static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec * 1e-6;
}
/* When all that is queued will be done. */
static double done;
static double queue(double takes) {
    double now = milliseconds();
    return done = (done > now ? done : now) + takes;
}
result cuGraphLaunch(void *executable, void *stream) {
    note("launch graph");
    if (getenv("FAKE_CUDA_GRAPH_MS")) queue(atof(getenv("FAKE_CUDA_GRAPH_MS")));
    return 0;
}
result cuGraphExecDestroy(void *executable) { free(executable); return 0; }
result cuGraphDestroy(void *graph) { free(graph); return 0; }
result cuEventCreate(void **event, unsigned flags) { *event = malloc(sizeof(double)); return 0; }
result cuEventDestroy_v2(void *event) { free(event); return 0; }
result cuEventRecord(void *event, void *stream) { *(double *)event = queue(0); return 0; }
result cuEventSynchronize(void *event) {
    double left = *(double *)event - milliseconds();
    struct timespec rest = {left / 1e3, (left - (int)(left / 1e3) * 1e3) * 1e6};
    if (left > 0) nanosleep(&rest, NULL);
    return 0;
}
result cuEventElapsedTime(float *elapsed, void *start, void *end) {
    *elapsed = getenv("FAKE_CUDA_GRAPH_MS") ? *(double *)end - *(double *)start : 2.5f;
    return 0;
}

static result allocate(address *at, size_t bytes) {
    char text[64];
    if (bytes > (size_t)1 << 30) return 2;
    if (posix_memalign((void **)at, 256, bytes)) return 2;
    snprintf(text, sizeof text, "allocate %zu", bytes);
    note(text);
    return 0;
}
result cuMemAlloc_v2(address *at, size_t bytes) { return allocate(at, bytes); }
result cuMemAllocAsync(address *at, size_t bytes, void *stream) { return allocate(at, bytes); }
result cuMemFree_v2(address at) { note("free"); free((void *)at); return 0; }
result cuMemFreeAsync(address at, void *stream) { return cuMemFree_v2(at); }
result cuMemcpyHtoDAsync_v2(address to, const void *from, size_t bytes, void *stream) { memcpy((void *)to, from, bytes); return 0; }
result cuMemcpyDtoHAsync_v2(void *to, address from, size_t bytes, void *stream) { memcpy(to, (void *)from, bytes); return 0; }
result cuMemsetD8Async(address to, unsigned char value, size_t bytes, void *stream) { memset((void *)to, value, bytes); return 0; }

result cuModuleLoadDataEx(void **module, const char *image, unsigned count, int *options, void **values) {
    if (getenv("FAKE_CUDA_REJECT")) {
        for (unsigned i = 0; i < count; i++)
            if (options[i] == 5) strcpy(values[i], "ptxas fatal : line 7 is not to my taste");
        return 218;
    }
    note(strstr(image, ".visible .entry") ? "load a kernel" : "load something");
    *module = malloc(1);
    return 0;
}
result cuModuleUnload(void *module) { note("unload"); free(module); return 0; }
result cuModuleGetGlobal_v2(address *variable, size_t *bytes, void *module, const char *name) { return 500; }
result cuModuleGetFunction(void **function, void *module, const char *name) {
    char text[128];
    snprintf(text, sizeof text, "function %s", name);
    note(text);
    *function = (void *)0x2000;
    return 0;
}
result cuFuncGetAttribute(int *value, int attribute, void *function) { *value = attribute == 4 ? 40 : 0; return 0; }
result cuFuncSetAttribute(void *function, int attribute, int value) {
    char text[64];
    snprintf(text, sizeof text, "attribute %d %d", attribute, value);
    note(text);
    return 0;
}
/* Every parameter of the tests' operator that is a tensor comes first; the kernel "computes" by writing 1.0 to the output's start. */
result cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **parameters, void **extra) {
    char text[128];
    snprintf(text, sizeof text, "launch %u %u %u / %u %u %u, %u", gx, gy, gz, bx, by, bz, shared);
    note(text);
    const char *output = getenv("FAKE_CUDA_OUTPUT");
    if (output) **(float **)parameters[atoi(output)] = 1.0f;
    return 0;
}
#endif
