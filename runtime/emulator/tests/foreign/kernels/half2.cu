// Packed half arithmetic: every operation rounds once.
#include <cuda_fp16.h>

extern "C" __global__ void half2_arithmetic(const half2* a, const half2* b, const half2* c, half2* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    half2 x = a[i], y = b[i], z = c[i];
    half2* at = out + i;
    at[0 * n] = __hadd2_rn(x, y);
    at[1 * n] = __hsub2_rn(x, y);
    at[2 * n] = __hmul2_rn(x, y);
    at[3 * n] = __hfma2(x, y, z);
    at[4 * n] = __hfma2_relu(x, y, z);
    at[5 * n] = __hmax2(x, y);
    at[6 * n] = __hmin2_nan(x, y);
    at[7 * n] = __hneg2(__habs2(x));
    at[8 * n] = __hgt2(x, y);
    at[9 * n] = __highs2half2(x, y);
    at[10 * n] = __hadd2_sat(x, y);
    at[11 * n] = __halves2half2(__hfma(__low2half(x), __high2half(y), __low2half(z)), __hneg(__high2half(x)));
}

// A dot product that reads halves and accumulates in f32, and back through a packed conversion.
extern "C" __global__ void half_dot(const half2* a, const half2* b, half2* out, float* sums, int rows, int pairs) {
    int r = blockIdx.x * blockDim.x + threadIdx.x;
    if (r >= rows) return;
    float sum = 0.0f;
    for (int p = 0; p < pairs; ++p) {
        float2 x = __half22float2(a[r * pairs + p]), y = __half22float2(b[r * pairs + p]);
        sum += x.x * y.x;
        sum += x.y * y.y;
    }
    sums[r] = sum;
    out[r] = __floats2half2_rn(sum, -sum);
}

extern "C" __global__ void half_functions(const half* x, half* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    half v = x[i];
    out[i] = hexp(v);
    out[n + i] = hsqrt(__habs(v));
    out[2 * n + i] = hlog(__habs(v));
    out[3 * n + i] = htanh(v);
    out[4 * n + i] = __hdiv(__float2half(3.0f), v);
    out[5 * n + i] = hfloor(v);
    out[6 * n + i] = hrint(v);
}
