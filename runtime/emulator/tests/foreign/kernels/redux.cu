// Whole-warp integer reductions, of all lanes and of some.

extern "C" __global__ void redux(const int* x, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int v = x[i];
    out += i;
    out[0] = __reduce_add_sync(0xffffffffu, v);
    out[n] = __reduce_min_sync(0xffffffffu, v);
    out[2 * n] = __reduce_max_sync(0xffffffffu, v);
    out[3 * n] = (int)__reduce_max_sync(0xffffffffu, (unsigned)v);
    out[4 * n] = (int)__reduce_and_sync(0xffffffffu, (unsigned)v | 0xff);
    out[5 * n] = (int)__reduce_or_sync(0xffffffffu, (unsigned)v & 0xf0f0);
    out[6 * n] = (int)__reduce_xor_sync(0xffffffffu, (unsigned)v);
    unsigned even = 0x55555555u;
    out[7 * n] = 0;
    if ((threadIdx.x & 1) == 0) out[7 * n] = __reduce_add_sync(even, v);
}
