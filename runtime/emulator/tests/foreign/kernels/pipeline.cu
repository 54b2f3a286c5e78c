// Asynchronous copies into a ring of shared buffers, and a hand-over between warps by named barriers.
#include <cuda_pipeline_primitives.h>

constexpr int STAGES = 3;
constexpr int CHUNK = 128;

extern "C" __global__ void moving_sum(const int4* in, int* out, int chunks) {
    __shared__ __align__(16) int4 ring[STAGES][CHUNK / 4];
    auto fetch = [&](int chunk) {
        if (chunk < chunks && threadIdx.x < CHUNK / 4)
            __pipeline_memcpy_async(&ring[chunk % STAGES][threadIdx.x], &in[chunk * (CHUNK / 4) + threadIdx.x], 16);
        __pipeline_commit();
    };
    for (int s = 0; s < STAGES - 1; ++s) fetch(s);
    int sum = 0;
    for (int chunk = 0; chunk < chunks; ++chunk) {
        __pipeline_wait_prior(STAGES - 2);
        __syncthreads();
        fetch(chunk + STAGES - 1);
        const int* data = (const int*)ring[chunk % STAGES];
        sum += data[threadIdx.x] - data[(threadIdx.x + 1) % CHUNK];
        out[chunk * CHUNK + threadIdx.x] = sum;
    }
}

// The first warp produces, the second consumes; two named barriers say full and empty.
extern "C" __global__ void hand_over(const int* in, int* out, int rounds) {
    __shared__ int box[32];
    int lane = threadIdx.x & 31;
    if (threadIdx.x < 32) {
        for (int r = 0; r < rounds; ++r) {
            asm volatile("bar.sync 2, 64;" ::: "memory");
            box[lane] = in[r * 32 + lane] * 3;
            asm volatile("bar.arrive 1, 64;" ::: "memory");
        }
    } else {
        for (int r = 0; r < rounds; ++r) {
            asm volatile("bar.arrive 2, 64;" ::: "memory");
            asm volatile("bar.sync 1, 64;" ::: "memory");
            out[r * 32 + lane] = box[31 - lane] + r;
        }
    }
}
