// Conversions and arithmetic in all four rounding modes, out-of-range values and NaN included.
#include <cuda_fp16.h>

typedef long long i64;
typedef unsigned long long u64;

#define PER_MODE(at, function) at[0] = function##_rn(v); at[n] = function##_rz(v); at[2 * n] = function##_ru(v); at[3 * n] = function##_rd(v)

extern "C" __global__ void f32_to_integer(const float* x, int* s32, unsigned* u32, i64* s64, u64* unsigned64, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = x[i];
    s32 += i; u32 += i; s64 += i; unsigned64 += i;
    PER_MODE(s32, __float2int);
    PER_MODE(u32, __float2uint);
    PER_MODE(s64, __float2ll);
    PER_MODE(unsigned64, __float2ull);
}

extern "C" __global__ void f64_to_integer(const double* x, int* s32, unsigned* u32, i64* s64, u64* unsigned64, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double v = x[i];
    s32 += i; u32 += i; s64 += i; unsigned64 += i;
    PER_MODE(s32, __double2int);
    PER_MODE(u32, __double2uint);
    PER_MODE(s64, __double2ll);
    PER_MODE(unsigned64, __double2ull);
}

extern "C" __global__ void integer_to_float(const i64* x, float* from_i32, float* from_u64, double* to_f64, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    from_i32 += i; from_u64 += i; to_f64 += i;
    { int v = (int)x[i]; PER_MODE(from_i32, __int2float); }
    { u64 v = x[i]; PER_MODE(from_u64, __ull2float); }
    { i64 v = x[i]; PER_MODE(to_f64, __ll2double); }
}

extern "C" __global__ void narrow(const double* x, float* single, half* halves, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    { double v = x[i]; float* at = single + i; PER_MODE(at, __double2float); }
    { float v = single[i]; half* at = halves + i; PER_MODE(at, __float2half); }
}

extern "C" __global__ void directed(const float* a, const float* b, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = a[i], y = b[i];
    out += i;
#define BINARY(slot, function) out[(slot + 0) * n] = function##_rn(x, y); out[(slot + 1) * n] = function##_rz(x, y); \
    out[(slot + 2) * n] = function##_ru(x, y); out[(slot + 3) * n] = function##_rd(x, y)
    BINARY(0, __fadd);
    BINARY(4, __fmul);
    BINARY(8, __fdiv);
    { float v = fabsf(x); float* at = out + 12 * n; PER_MODE(at, __fsqrt); }
    { float* at = out + 16 * n; at[0] = __fmaf_rn(x, y, 0.1f); at[n] = __fmaf_rz(x, y, 0.1f); at[2 * n] = __fmaf_ru(x, y, 0.1f); at[3 * n] = __fmaf_rd(x, y, 0.1f); }
}
