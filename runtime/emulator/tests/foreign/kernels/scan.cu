// Inclusive and exclusive block scans through shuffles, of 32- and 64-bit integers.

template <typename T> __device__ T warp_scan(T value, int lane) {
    for (int offset = 1; offset < 32; offset <<= 1) {
        T below = __shfl_up_sync(0xffffffffu, value, offset);
        if (lane >= offset) value += below;
    }
    return value;
}

template <typename T> __device__ void scan(const T* in, T* inclusive, T* exclusive, T* totals, int n) {
    __shared__ T sums[32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = (blockDim.x + 31) >> 5;
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    T own = i < n ? in[i] : T(0);
    T value = warp_scan(own, lane);
    if (lane == 31) sums[warp] = value;
    __syncthreads();
    if (warp == 0) {
        T total = lane < warps ? sums[lane] : T(0);
        total = warp_scan(total, lane);
        sums[lane] = total;
    }
    __syncthreads();
    if (warp > 0) value += sums[warp - 1];
    if (i < n) { inclusive[i] = value; exclusive[i] = value - own; }
    if (threadIdx.x == blockDim.x - 1) totals[blockIdx.x] = value;
}

extern "C" __global__ void scan_i32(const int* in, int* inclusive, int* exclusive, int* totals, int n) {
    scan(in, inclusive, exclusive, totals, n);
}

extern "C" __global__ void scan_i64(const long long* in, long long* inclusive, long long* exclusive, long long* totals, int n) {
    scan(in, inclusive, exclusive, totals, n);
}
