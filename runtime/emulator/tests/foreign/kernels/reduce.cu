// Block reductions through shuffles: a sum (down) and an argmax (xor, lowest index wins a tie).

__device__ float warp_sum(float value) {
    for (int offset = 16; offset > 0; offset >>= 1) value += __shfl_down_sync(0xffffffffu, value, offset);
    return value;
}

extern "C" __global__ void block_sum(const float* in, float* partial, int n) {
    __shared__ float sums[32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    float value = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) value += in[i];
    value = warp_sum(value);
    if (lane == 0) sums[warp] = value;
    __syncthreads();
    if (warp == 0) {
        value = warp_sum(lane < warps ? sums[lane] : 0.0f);
        if (lane == 0) partial[blockIdx.x] = value;
    }
}

extern "C" __global__ void row_argmax(const float* in, int* index, float* peak, int columns) {
    const float* row = in + (size_t)blockIdx.x * columns;
    float best = -__int_as_float(0x7f800000);
    int at = 0x7fffffff;
    for (int c = threadIdx.x; c < columns; c += 32)
        if (row[c] > best) { best = row[c]; at = c; }
    for (int offset = 1; offset < 32; offset <<= 1) {
        float other = __shfl_xor_sync(0xffffffffu, best, offset);
        int other_at = __shfl_xor_sync(0xffffffffu, at, offset);
        if (other > best || (other == best && other_at < at)) { best = other; at = other_at; }
    }
    if (threadIdx.x == 0) { index[blockIdx.x] = at; peak[blockIdx.x] = best; }
}
