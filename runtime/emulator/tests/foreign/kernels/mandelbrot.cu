// nvrtc: --fmad=false
// Escape times: long divergent loops whose exact iteration count needs exact arithmetic.

extern "C" __global__ void mandelbrot(unsigned char* out, int width, int height, int limit) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    float cr = -2.0f + x * (2.75f / 64), ci = -1.25f + y * (2.5f / 64), zr = 0.0f, zi = 0.0f;
    int count = 0;
    for (; count < limit; ++count) {
        float rr = zr * zr, ii = zi * zi;
        if (rr + ii > 4.0f) break;
        zi = 2.0f * zr * zi + ci;
        zr = rr - ii + cr;
    }
    out[y * width + x] = count;
}
