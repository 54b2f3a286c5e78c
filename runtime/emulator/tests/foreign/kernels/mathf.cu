// The single-precision library. Bounds: CUDA C++ Programming Guide, "Mathematical Functions".

extern "C" __global__ void f32_library(const float* x, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = x[i];
    out[i] = expf(v);
    out[n + i] = logf(fabsf(v));
    out[2 * n + i] = sinf(v);
    out[3 * n + i] = cosf(v);
    out[4 * n + i] = tanhf(v);
    out[5 * n + i] = erff(v);
    out[6 * n + i] = powf(fabsf(v), 1.7f);
    out[7 * n + i] = exp2f(v);
    out[8 * n + i] = log1pf(fabsf(v));
    out[9 * n + i] = expm1f(v);
    out[10 * n + i] = atan2f(v, 0.7f);
    out[11 * n + i] = cbrtf(v);
    out[12 * n + i] = rsqrtf(fabsf(v));
    out[13 * n + i] = log2f(fabsf(v));
}

// Arguments up to the largest float: the slow reduction by 2/pi.
extern "C" __global__ void f32_sin_huge(const float* x, float* sine, float* cosine, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) sincosf(x[i], &sine[i], &cosine[i]);
}

extern "C" __global__ void f32_ieee(const float* a, const float* b, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = a[i], y = b[i];
    out[i] = x / y;
    out[n + i] = sqrtf(fabsf(x));
    out[2 * n + i] = 1.0f / y;
    out[3 * n + i] = fmodf(x, y);
    out[4 * n + i] = fmaxf(x, y);
    out[5 * n + i] = fminf(x, y);
    out[6 * n + i] = roundf(x);
    out[7 * n + i] = rintf(y);
    out[8 * n + i] = copysignf(floorf(x), y);
    out[9 * n + i] = __saturatef(x) + 0.0f;  // whichever zero -0 becomes
    out[10 * n + i] = x < y ? 1.0f : x >= y ? 2.0f : 3.0f;  // 3 for a NaN
    out[11 * n + i] = isnan(x) || isinf(y) || signbit(x) ? 1.0f : 0.0f;
    out[12 * n + i] = ceilf(x) - truncf(x);
}
