// Loops whose length differs by thread, a data-dependent break and a nested divergent loop.

extern "C" __global__ void collatz(const unsigned* start, unsigned* steps, unsigned long long* peak, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned long long x = start[i], top = x;
    unsigned count = 0;
    while (x != 1) {
        x = x & 1 ? 3 * x + 1 : x >> 1;
        if (x > top) top = x;
        ++count;
    }
    steps[i] = count;
    peak[i] = top;
}

// The number of primes below `limit[i]`, by trial division.
extern "C" __global__ void count_primes(const int* limit, int* primes, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int found = 0;
    for (int p = 2; p < limit[i]; ++p) {
        bool prime = true;
        for (int d = 2; d * d <= p; ++d) {
            if (p % d) continue;
            prime = false;
            break;
        }
        if (prime) ++found;
    }
    primes[i] = found;
}
