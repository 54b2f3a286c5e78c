// A histogram of bytes: private counts in shared memory, then added to the global ones.

constexpr int BINS = 61;

extern "C" __global__ void histogram(const unsigned char* in, unsigned* bins, unsigned long long* total, int n) {
    __shared__ unsigned counts[BINS];
    for (int b = threadIdx.x; b < BINS; b += blockDim.x) counts[b] = 0;
    __syncthreads();
    unsigned sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        unsigned value = in[i];
        sum += value;
        atomicAdd(&counts[value % BINS], 1u);
    }
    atomicAdd(total, (unsigned long long)sum);
    __syncthreads();
    for (int b = threadIdx.x; b < BINS; b += blockDim.x)
        if (counts[b]) atomicAdd(&bins[b], counts[b]);
}
