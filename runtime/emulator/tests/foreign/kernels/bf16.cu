// bfloat16: the native fused multiply-add and comparisons of sm_80, conversions from and to f32.
#include <cuda_bf16.h>

extern "C" __global__ void bf16_arithmetic(const __nv_bfloat162* a, const __nv_bfloat162* b, const __nv_bfloat162* c,
                                           __nv_bfloat162* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    __nv_bfloat162 x = a[i], y = b[i], z = c[i];
    __nv_bfloat162* at = out + i;
    at[0 * n] = __hfma2(x, y, z);
    at[1 * n] = __hfma2_relu(x, y, z);
    at[2 * n] = __hadd2_rn(x, y);
    at[3 * n] = __hmul2_rn(x, y);
    at[4 * n] = __hmax2(x, y);
    at[5 * n] = __hmin2(x, y);
    at[6 * n] = __hneg2(x);
    at[7 * n] = __habs2(x);
}

extern "C" __global__ void bf16_convert(const float* x, __nv_bfloat16* rounded, __nv_bfloat162* packed, float* widened, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    __nv_bfloat16 value = __float2bfloat16_rn(x[i]);
    rounded[i] = value;
    rounded[n + i] = __float2bfloat16_rz(x[i]);
    packed[i] = __floats2bfloat162_rn(x[i], x[n - 1 - i]);
    widened[i] = __bfloat162float(value) * 0.5f;
}
