/* An NVML with one board that draws 300 W, and whose energy counter moves every 50 ms. */
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef int result;

static unsigned long long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

result nvmlInit_v2(void) { return 0; }
result nvmlInitWithFlags(unsigned flags) { return 0; }
result nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(result code) { return "an error of the fake NVML"; }
result nvmlSystemGetDriverVersion(char *version, unsigned length) { snprintf(version, length, "570.00"); return 0; }
/* Only the board at the address that the fake driver gives. */
result nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device) {
    *device = (void *)0x3000;
    return strcmp(address, "00000000:00:00.0") == 0 ? 0 : 6;
}
result nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    *millijoules = milliseconds() / 50 * 50 * 300;
    return 0;
}
