// nvrtc: --gpu-architecture=compute_90a
// Blocks of a cluster read each other's shared memory.

__device__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// Each block of a cluster of four counts its part; every block reads all counts from its neighbours.
extern "C" __global__ void __cluster_dims__(4, 1, 1) cluster_histogram(const unsigned char* in, unsigned* out, int n) {
    __shared__ unsigned counts[16];
    unsigned rank, size;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    if (threadIdx.x < 16) counts[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&counts[in[i] & 15], 1u);
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
    if (threadIdx.x < 16) {
        unsigned total = 0;
        for (unsigned other = 0; other < size; ++other) {
            unsigned address, value;
            asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(&counts[threadIdx.x])), "r"(other));
            asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
            total += value * (other + 1);
        }
        out[blockIdx.x * 16 + threadIdx.x] = total + rank;
    }
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
