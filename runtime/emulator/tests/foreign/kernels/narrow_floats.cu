// nvrtc: --gpu-architecture=compute_89
// Pairs of 8-bit floats, as the headers of CUDA convert them, and with `.relu`.
#include <cuda_fp8.h>

template <__nv_fp8_interpretation_t type>
__device__ void to_bytes(const float2* x, unsigned short* y, int n) {
    int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i < n) y[i] = __nv_cvt_float2_to_fp8x2(x[i], __NV_SATFINITE, type);
}

extern "C" __global__ void e4m3_of_f32(const float2* x, unsigned short* y, int n) { to_bytes<__NV_E4M3>(x, y, n); }
extern "C" __global__ void e5m2_of_f32(const float2* x, unsigned short* y, int n) { to_bytes<__NV_E5M2>(x, y, n); }

template <__nv_fp8_interpretation_t type>
__device__ void halves_to_bytes(const __half2_raw* x, unsigned short* y, int n) {
    int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i < n) y[i] = __nv_cvt_halfraw2_to_fp8x2(x[i], __NV_SATFINITE, type);
}

extern "C" __global__ void e4m3_of_f16(const __half2_raw* x, unsigned short* y, int n) { halves_to_bytes<__NV_E4M3>(x, y, n); }
extern "C" __global__ void e5m2_of_f16(const __half2_raw* x, unsigned short* y, int n) { halves_to_bytes<__NV_E5M2>(x, y, n); }

// Every byte, beside its complement.
extern "C" __global__ void f16_of_bytes(__half2_raw* e4m3, __half2_raw* e5m2) {
    unsigned short pair = threadIdx.x | (255 - threadIdx.x) << 8;
    e4m3[threadIdx.x] = __nv_cvt_fp8x2_to_halfraw2(pair, __NV_E4M3);
    e5m2[threadIdx.x] = __nv_cvt_fp8x2_to_halfraw2(pair, __NV_E5M2);
}

extern "C" __global__ void relu(const float2* x, unsigned short* y, unsigned* z, int n) {
    int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i >= n) return;
    asm("cvt.rn.satfinite.relu.e4m3x2.f32 %0, %1, %2;" : "=h"(y[i]) : "f"(x[i].y), "f"(x[i].x));
    asm("cvt.rn.relu.f16x2.e4m3x2 %0, %1;" : "=r"(z[i]) : "h"((unsigned short)__nv_cvt_float2_to_fp8x2(x[i], __NV_SATFINITE, __NV_E4M3)));
}
