// nvrtc: --gpu-architecture=compute_90a
// What came with sm_90: bulk copies that arrive on an mbarrier, stmatrix, an elected lane.
#include <cuda_fp16.h>

__device__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ void barrier_init(unsigned long long* barrier, unsigned count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}

__device__ void barrier_wait(unsigned long long* barrier, unsigned parity) {
    asm volatile("{\n\t.reg .pred done;\n\tWAIT:\n\t"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
                 "@!done bra WAIT;\n\t}" ::"r"(shared_address(barrier)), "r"(parity) : "memory");
}

constexpr int CHUNK = 96;  // floats: a multiple of 16 bytes

// A ring of two buffers filled by bulk copies; each chunk is squared in place and stored by another bulk copy.
extern "C" __global__ void bulk_square(const float* in, float* out, int chunks) {
    __shared__ __align__(128) float ring[2][CHUNK];
    __shared__ __align__(128) float done[CHUNK];
    __shared__ unsigned long long full[2];
    if (threadIdx.x == 0) {
        barrier_init(&full[0], 1);
        barrier_init(&full[1], 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    auto fetch = [&](int chunk) {
        if (threadIdx.x != 0 || chunk >= chunks) return;
        unsigned barrier = shared_address(&full[chunk & 1]);
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(CHUNK * 4) : "memory");
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
                     "r"(shared_address(ring[chunk & 1])), "l"(in + chunk * CHUNK), "r"(CHUNK * 4), "r"(barrier) : "memory");
    };
    fetch(0);
    fetch(1);
    for (int chunk = 0; chunk < chunks; ++chunk) {
        barrier_wait(&full[chunk & 1], chunk >> 1 & 1);
        float value = ring[chunk & 1][threadIdx.x];
        if (threadIdx.x == 0) asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");  // `done` may be overwritten
        __syncthreads();
        done[threadIdx.x] = value * value;
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncthreads();
        fetch(chunk + 2);
        if (threadIdx.x == 0) {
            asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::
                         "l"(out + chunk * CHUNK), "r"(shared_address(done)), "r"(CHUNK * 4) : "memory");
            asm volatile("cp.async.bulk.commit_group;" ::: "memory");
        }
    }
    if (threadIdx.x == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

// A warp stores four 8×8 tiles of halves by stmatrix, transposed, and one elected lane speaks for it.
extern "C" __global__ void store_tiles(half* out, unsigned* elected) {
    __shared__ __align__(16) half tiles[4 * 64];
    int lane = threadIdx.x;
    unsigned r[4];
    for (int t = 0; t < 4; ++t) {
        half2 pair = __floats2half2_rn(t * 64 + lane * 2, t * 64 + lane * 2 + 1);
        r[t] = *(unsigned*)&pair;
    }
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::
                 "r"(shared_address(&tiles[lane * 8])), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
    __syncwarp();
    for (int i = lane; i < 256; i += 32) out[i] = tiles[i];
    asm volatile("{\n\t.reg .pred chosen;\n\telect.sync _|chosen, 0xffffffff;\n\t@chosen red.global.add.u32 [%0], 1;\n\t}" ::"l"(elected) : "memory");
}
