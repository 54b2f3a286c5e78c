// Two- and three-dimensional launches, vector loads and stores, and an escape-time loop.

extern "C" __global__ void grid_stride(float* image, int width, int height, float scale) {
    for (int y = blockIdx.y * blockDim.y + threadIdx.y; y < height; y += gridDim.y * blockDim.y)
        for (int x = blockIdx.x * blockDim.x + threadIdx.x; x < width; x += gridDim.x * blockDim.x)
            image[y * width + x] = image[y * width + x] * scale;
}

extern "C" __global__ void place(unsigned* out) {
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    unsigned lane, warp;
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));
    asm("mov.u32 %0, %%lanemask_lt;" : "=r"(warp));
    out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = (block << 20) + (thread << 10) + lane * 8 + __popc(warp) % 8;
}

extern "C" __global__ void vectors(const float4* __restrict__ a, const uchar4* __restrict__ b, const short2* __restrict__ c, const double2* d, float4* out, double2* wide, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float4 v = __ldg(&a[i]);
    uchar4 s = __ldcs(&b[i]);
    short2 t = __ldg(&c[i]);
    double2 w = __ldcg(&d[i]);
    __stcs(&out[i], make_float4(v.x * s.x, v.y * s.y, v.z * s.z + t.x, v.w * s.w + t.y));
    wide[i] = make_double2(w.y, w.x * 0.5);
}
