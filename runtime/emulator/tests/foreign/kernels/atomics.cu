// Every atomic operation, compare-and-swap loops, and a lock.

typedef unsigned long long u64;

extern "C" __global__ void atomics(const unsigned* x, unsigned* cells, u64* wide, float* sum, double* sum64, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned v = x[i];
    atomicAdd(&cells[0], v);
    atomicSub(&cells[1], v);
    atomicMin((int*)&cells[2], (int)v);
    atomicMax((int*)&cells[3], (int)v);
    atomicMin(&cells[4], v);
    atomicMax(&cells[5], v);
    atomicAnd(&cells[6], v | 0xff00ff);
    atomicOr(&cells[7], v & 0x0ff0);
    atomicXor(&cells[8], v);
    atomicInc(&cells[9], 16);
    atomicDec(&cells[10], 16);
    atomicMax(&wide[0], (u64)v << 13);
    atomicXor(&wide[1], (u64)v * v);
    atomicAdd(&wide[2], (u64)v * v);
    atomicAdd(sum, (float)(v & 15));       // whole numbers: exact in any order
    atomicAdd(sum64, (double)(v & 1023) * 0.25);
}

__device__ double atomic_max(double* address, double value) {
    u64* bits = (u64*)address;
    u64 old = *bits, assumed;
    do {
        assumed = old;
        if (__longlong_as_double(assumed) >= value) break;
        old = atomicCAS(bits, assumed, __double_as_longlong(value));
    } while (old != assumed);
    return __longlong_as_double(old);
}

extern "C" __global__ void cas_loops(const double* x, double* peak, unsigned short* halves, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    atomic_max(peak, x[i]);
    unsigned short old = *(volatile unsigned short*)halves, assumed;
    do {
        assumed = old;
        old = atomicCAS(halves, assumed, (unsigned short)(assumed + i));
    } while (old != assumed);
}

// Warps of a block take turns under a lock; what they write is not atomic itself.
extern "C" __global__ void locked(int* lock, volatile int* balance, volatile int* visits) {
    if ((threadIdx.x & 31) == 0) {
        while (atomicCAS(lock, 0, 1) != 0) {}
        __threadfence();
        *balance = *balance * 3 % 1009;
        *visits = *visits + 1;
        __threadfence();
        atomicExch(lock, 0);
    }
}
