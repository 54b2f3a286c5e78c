// nvrtc: --use_fast_math
// The approximate instructions, flushed subnormals included.

extern "C" __global__ void fast_math(const float* x, float* out, float* hyperbolic, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = x[i];
    out[i] = expf(v);
    out[n + i] = logf(fabsf(v));
    out[2 * n + i] = sinf(v);
    out[3 * n + i] = cosf(v);
    out[4 * n + i] = 1.5f / v;
    out[5 * n + i] = sqrtf(fabsf(v));
    out[6 * n + i] = rsqrtf(fabsf(v));
    out[7 * n + i] = powf(fabsf(v), 0.3f);
    hyperbolic[i] = tanhf(v);
}

extern "C" __global__ void flushed(const float* a, const float* b, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    out[i] = a[i] + b[i];
    out[n + i] = a[i] * b[i];
    out[2 * n + i] = fmaxf(a[i], b[i]);
    out[3 * n + i] = fabsf(a[i]);
}
