/* A CUDA driver with one device and no GPU: memory is the host's, kernels do nothing. It writes what is asked of it to the
   file named in FAKE_CUDA_LOG, so that tests can see it. Events are 2.5 ms apart; where FAKE_CUDA_GRAPH_MS is set, they keep the time, and each
   launch of a graph takes so long.

   FAKE_CUDA_FAIL         calls that fail: name:number:code, with commas between; number 0: every call of that name
   FAKE_CUDA_CAPABILITY   such as 120
   FAKE_CUDA_SHARED       bytes of shared memory that a block may have
   FAKE_CUDA_NO_POOLS     memory is not allocated in the order of streams
   FAKE_CUDA_REJECT       text in kernels that the driver's compiler refuses; empty: any
   FAKE_CUDA_OUTPUT       the parameter to whose start launches write 1.0 */
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
#define NOTE(...) do { char text[160]; snprintf(text, sizeof text, __VA_ARGS__); note(text); } while (0)

/* The code with which this call fails, or 0. Calls are counted anew when FAKE_CUDA_FAIL changes. */
static result failing(const char *name) {
    static char known[256];
    static int counts[8];
    const char *plan = getenv("FAKE_CUDA_FAIL");
    if (!plan) return known[0] = 0;
    if (strncmp(plan, known, sizeof known)) {
        snprintf(known, sizeof known, "%s", plan);
        memset(counts, 0, sizeof counts);
    }
    char of[64];
    int at, nth, code;
    for (at = 0; at < 8 && sscanf(plan, "%63[^:]:%d:%d", of, &nth, &code) == 3; at++) {
        if (!strcmp(of, name) && (++counts[at] == nth || nth == 0)) {
            NOTE("%s fails", name);
            return code;
        }
        if (!(plan = strchr(plan, ','))) break;
        plan++;
    }
    return 0;
}
#define CALL(name) do { result failed = failing(#name); if (failed) return failed; } while (0)

result cuInit(unsigned flags) { return getenv("FAKE_CUDA_INIT") ? atoi(getenv("FAKE_CUDA_INIT")) : 0; }

#ifdef WHOLE
static int number(const char *name, int otherwise) { return getenv(name) ? atoi(getenv(name)) : otherwise; }

result cuDriverGetVersion(int *version) { *version = 12040; return 0; }
result cuGetErrorString(result code, const char **text) { *text = "an error of the fake driver"; return 0; }
result cuDeviceGetCount(int *count) { *count = 1; return 0; }
result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal == 0 ? 0 : 101; }
result cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Fake GPU"); return 0; }
result cuDeviceGetUuid_v2(unsigned char *uuid, int device) { for (int i = 0; i < 16; i++) uuid[i] = 0x11 * i; return 0; }
result cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)1 << 34; return 0; }
result cuDeviceGetAttribute(int *value, int attribute, int device) {
    int capability = number("FAKE_CUDA_CAPABILITY", 90), small = number("FAKE_CUDA_SHARED", 232448) < 166912;
    CALL(cuDeviceGetAttribute);
    switch (attribute) {
        case 1: *value = 1024; break; /* threads of a block */
        case 12: case 82: *value = 65536; break; /* registers of a block, of a multiprocessor */
        case 16: *value = 132; break; /* multiprocessors */
        case 39: *value = small ? 1536 : 2048; break; /* threads of a multiprocessor */
        case 75: *value = capability / 10; break;
        case 76: *value = capability % 10; break;
        case 81: *value = number("FAKE_CUDA_SHARED", 232448) + 1024; break; /* shared memory of a multiprocessor */
        case 97: *value = number("FAKE_CUDA_SHARED", 232448); break; /* of a block */
        case 106: *value = small ? 24 : 32; break; /* blocks of a multiprocessor */
        case 111: *value = 1024; break; /* shared memory that a block takes besides */
        case 115: *value = !getenv("FAKE_CUDA_NO_POOLS"); break; /* memory pools */
        default: *value = 0;
    }
    return 0;
}
result cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)0x1000; return 0; }
result cuDevicePrimaryCtxRelease_v2(int device) { note("release"); return 0; }
result cuCtxDestroy_v2(void *context) { return 0; }
result cuCtxGetCurrent(void **context) { CALL(cuCtxGetCurrent); *context = current; return 0; }
result cuCtxSetCurrent(void *context) { CALL(cuCtxSetCurrent); current = context; return 0; }

/* Captures: at most one at a time. What is forbidden during it makes it invalid. */
struct stream { int captured; };
static struct { int under_way, invalid; unsigned mode; } capture;
static result forbidden(const char *what) {
    NOTE("invalid: %s", what);
    capture.invalid = 1;
    return 900;
}
static int captured(struct stream *stream) { return (uintptr_t)stream > 2 && stream->captured; }
/* Calls that may wait for other work are forbidden to the capturing thread, unless it has relaxed its mode. */
static int restricted(void) { return capture.under_way && capture.mode != 2; }
result cuThreadExchangeStreamCaptureMode(unsigned *mode) {
    unsigned before = capture.mode;
    capture.mode = *mode;
    *mode = before;
    return 0;
}

result cuEventQuery(void *event) { return 0; }

result cuStreamCreate(void **stream, unsigned flags) { *stream = calloc(1, sizeof(struct stream)); return 0; }
result cuStreamDestroy_v2(void *stream) { free(stream); return 0; }
result cuStreamSynchronize(void *stream) {
    CALL(cuStreamSynchronize);
    if (captured(stream) || restricted()) return forbidden("a stream is waited for");
    NOTE("synchronize %p", stream);
    return 0;
}
result cuStreamIsCapturing(void *stream, int *status) {
    CALL(cuStreamIsCapturing);
    *status = captured(stream) ? 1 + capture.invalid : 0;
    return 0;
}
result cuStreamBeginCapture_v2(struct stream *stream, int mode) {
    note("begin capture");
    capture.under_way = stream->captured = 1;
    capture.invalid = capture.mode = 0;
    return 0;
}
result cuStreamEndCapture(struct stream *stream, void **graph) {
    CALL(cuStreamEndCapture);
    note("end capture");
    capture.under_way = stream->captured = 0;
    *graph = capture.invalid ? NULL : malloc(1);
    return capture.invalid ? 901 : 0;
}
result cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    CALL(cuGraphInstantiateWithFlags);
    *executable = malloc(1);
    return 0;
}
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
result cuGraphExecDestroy(void *executable) { free(executable); note("destroy executable"); return 0; }
result cuGraphDestroy(void *graph) { free(graph); note("destroy graph"); return 0; }

struct event { double time; int captured; };
result cuEventCreate(void **event, unsigned flags) {
    CALL(cuEventCreate);
    *event = calloc(1, sizeof(struct event));
    note("create event");
    return 0;
}
result cuEventDestroy_v2(void *event) { CALL(cuEventDestroy_v2); free(event); note("destroy event"); return 0; }
result cuEventRecord(struct event *event, void *stream) {
    CALL(cuEventRecord);
    event->time = queue(0);
    event->captured = captured(stream);
    NOTE("record %p %p", event, stream);
    return 0;
}
result cuStreamWaitEvent(void *stream, struct event *event, unsigned flags) {
    CALL(cuStreamWaitEvent);
    if (captured(stream) != event->captured) return forbidden("captured and other work wait for each other") + 5;
    NOTE("wait %p %p", stream, event);
    return 0;
}
result cuEventSynchronize(struct event *event) {
    double left = event->time - milliseconds();
    struct timespec rest = {left / 1e3, (left - (int)(left / 1e3) * 1e3) * 1e6};
    if (left > 0) nanosleep(&rest, NULL);
    return 0;
}
result cuEventElapsedTime(float *elapsed, struct event *start, struct event *end) {
    *elapsed = getenv("FAKE_CUDA_GRAPH_MS") ? end->time - start->time : 2.5f;
    return 0;
}

/* Before each allocation stands if a graph made it. */
enum { ROOM = 256 };
static result allocate(address *at, size_t bytes, int of_graph) {
    char *room;
    if (bytes > (size_t)1 << 30) return 2;
    if (posix_memalign((void **)&room, ROOM, ROOM + bytes)) return 2;
    *(int *)room = of_graph;
    *at = (address)(room + ROOM);
    NOTE("allocate %zu at %p", bytes, room + ROOM);
    return 0;
}
static result release(address at, void *stream) {
    NOTE("free %p %p", (void *)at, stream);
    free((char *)at - ROOM);
    return 0;
}
result cuMemAlloc_v2(address *at, size_t bytes) {
    CALL(cuMemAlloc_v2);
    return restricted() ? forbidden("memory is allocated") : allocate(at, bytes, 0);
}
result cuMemAllocAsync(address *at, size_t bytes, void *stream) {
    CALL(cuMemAllocAsync);
    return allocate(at, bytes, captured(stream));
}
result cuMemFree_v2(address at) {
    CALL(cuMemFree_v2);
    return restricted() ? forbidden("memory is freed") : release(at, NULL);
}
result cuMemFreeAsync(address at, void *stream) {
    CALL(cuMemFreeAsync);
    if (captured(stream) && !*(int *)(at - ROOM)) return forbidden("a graph frees what it did not allocate");
    return release(at, stream);
}
result cuMemcpyHtoDAsync_v2(address to, const void *from, size_t bytes, void *stream) {
    CALL(cuMemcpyHtoDAsync_v2);
    memcpy((void *)to, from, bytes);
    return 0;
}
result cuMemcpyDtoHAsync_v2(void *to, address from, size_t bytes, void *stream) {
    CALL(cuMemcpyDtoHAsync_v2);
    memcpy(to, (void *)from, bytes);
    return 0;
}
result cuMemsetD8Async(address to, unsigned char value, size_t bytes, void *stream) {
    CALL(cuMemsetD8Async);
    memset((void *)to, value, bytes);
    return 0;
}

result cuModuleLoadDataEx(void **module, const char *image, unsigned count, int *options, void **values) {
    const char *wrong = getenv("FAKE_CUDA_REJECT");
    CALL(cuModuleLoadDataEx);
    if (restricted()) return forbidden("a module is loaded");
    if (wrong && strstr(image, wrong)) {
        for (unsigned i = 0; i < count; i++)
            if (options[i] == 5) strcpy(values[i], "ptxas fatal : line 7 is not to my taste");
        note("reject a kernel");
        return 218;
    }
    note(strstr(image, ".visible .entry") ? "load a kernel" : "load something");
    *module = malloc(1);
    return 0;
}
result cuModuleUnload(void *module) {
    CALL(cuModuleUnload);
    if (restricted()) return forbidden("a module is unloaded");
    note("unload");
    free(module);
    return 0;
}
result cuModuleGetGlobal_v2(address *variable, size_t *bytes, void *module, const char *name) { return 500; }
result cuModuleGetFunction(void **function, void *module, const char *name) {
    CALL(cuModuleGetFunction);
    NOTE("function %s", name);
    *function = (void *)0x2000;
    return 0;
}
result cuFuncGetAttribute(int *value, int attribute, void *function) { *value = attribute == 4 ? 40 : 0; return 0; }
result cuFuncSetAttribute(void *function, int attribute, int value) {
    CALL(cuFuncSetAttribute);
    NOTE("attribute %d %d", attribute, value);
    return value > number("FAKE_CUDA_SHARED", 232448);
}
/* Every parameter of the tests' operator that is a tensor comes first; the kernel "computes" by writing 1.0 to the output's start. */
result cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **parameters, void **extra) {
    CALL(cuLaunchKernel);
    if (shared > number("FAKE_CUDA_SHARED", 232448)) return 1;
    NOTE("launch %u %u %u / %u %u %u, %u", gx, gy, gz, bx, by, bz, shared);
    const char *output = getenv("FAKE_CUDA_OUTPUT");
    if (output) {
        NOTE("uses %p %p %p%s", stream, **(void ***)parameters, *(void **)parameters[1], captured(stream) ? " in a graph" : "");
        if (!captured(stream)) **(float **)parameters[atoi(output)] = 1.0f;
    }
    return 0;
}
#endif
