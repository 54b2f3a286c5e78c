/* An NVML with one board that draws 300 W, and whose energy counter moves every 50 ms and is all that it tells of.

   FAKE_NVML_HOPPER       the counter moves every 99 to 106 ms, lags by 20 ms, takes 2.4 ms to be read, has 32 bits; the rest of NVML is there
   FAKE_NVML_FIRST        where the counter begins, in mJ
   FAKE_NVML_FAILS_EVERY  every such reading fails
   FAKE_NVML_STILL        the counter does not move
   FAKE_NVML_MIG          the board is partitioned
   FAKE_NVML_SILENT       it fails to say if it is, if it throttles, and who uses it */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int result;
enum { NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, UNKNOWN = 999 };

static int set(const char *name) { return getenv(name) != NULL; }
static long long number(const char *name) { return set(name) ? atoll(getenv(name)) : 0; }

static double milliseconds(void) {
    static double start;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double time = now.tv_sec * 1e3 + now.tv_nsec * 1e-6;
    if (start == 0) start = time;
    return time - start;
}

result nvmlInit_v2(void) { milliseconds(); return 0; }
result nvmlInitWithFlags(unsigned flags) { return 0; }
result nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(result code) { return "an error of the fake NVML"; }
result nvmlSystemGetDriverVersion(char *version, unsigned length) { snprintf(version, length, "570.00"); return 0; }
/* Only the board at the address that the fake driver gives. */
result nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device) {
    *device = (void *)0x3000;
    return strcmp(address, "00000000:00:00.0") == 0 ? 0 : NOT_FOUND;
}

/* The time in ms of the last step before now. */
static double stepped(double now) {
    static double last, next;
    static unsigned random = 1;
    while (next <= now) {
        last = next;
        random = random * 1664525u + 1013904223u;
        next += 99 + (random >> 16) % 8;
    }
    return last;
}

result nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    static long long readings;
    long long fails = number("FAKE_NVML_FAILS_EVERY");
    if (fails && ++readings % fails == 0) return UNKNOWN;
    *millijoules = number("FAKE_NVML_FIRST");
    if (set("FAKE_NVML_STILL")) return 0;
    if (!set("FAKE_NVML_HOPPER")) {
        *millijoules += (long long)(milliseconds() / 50) * 50 * 300;
        return 0;
    }
    usleep(1200);
    double seen = stepped(milliseconds()) - 20;
    usleep(1200);
    *millijoules += seen > 0 ? seen * 300 : 0;
    *millijoules &= 0xffffffff;
    return 0;
}

static result told(void) { return set("FAKE_NVML_SILENT") ? UNKNOWN : set("FAKE_NVML_HOPPER") ? 0 : NOT_SUPPORTED; }

result nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    *current = *pending = set("FAKE_NVML_MIG");
    return told();
}
result nvmlDeviceGetClockInfo(void *device, int kind, unsigned *megahertz) {
    *megahertz = kind == 2 ? 2619 : 1755;
    return set("FAKE_NVML_HOPPER") ? 0 : NOT_SUPPORTED;
}
result nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
    *celsius = 61;
    return set("FAKE_NVML_HOPPER") ? 0 : NOT_SUPPORTED;
}
result nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts) {
    *milliwatts = 700000;
    return set("FAKE_NVML_HOPPER") ? 0 : NOT_SUPPORTED;
}
result nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    *reasons = 4; /* the power cap */
    return told();
}

struct process { unsigned pid; unsigned long long memory; unsigned instance, compute; };
result nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, struct process *processes) {
    if (told()) return told();
    unsigned room = *count;
    *count = 3;
    if (room < 3) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < 3; i++) processes[i] = (struct process){.pid = i == 0 ? getpid() : i};
    return 0;
}

struct field { unsigned id, scope; long long time, latency; int type; result code; union { unsigned milliwatts; long long wide; } value; };
result nvmlDeviceGetFieldValues(void *device, int count, struct field *fields) {
    if (!set("FAKE_NVML_HOPPER")) return NOT_SUPPORTED;
    for (int i = 0; i < count; i++) {
        fields[i].type = 1; /* 32 bits */
        fields[i].code = fields[i].id == 186 ? 0 : NOT_SUPPORTED;
        fields[i].value.milliwatts = 330000;
    }
    return 0;
}
