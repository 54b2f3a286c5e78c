// The double-precision library, and the operations that IEEE 754 fixes.

extern "C" __global__ void f64_library(const double* x, double* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double v = x[i];
    out[i] = exp(v);
    out[n + i] = log(fabs(v));
    out[2 * n + i] = sin(v * 1e3);
    out[3 * n + i] = cos(v);
    out[4 * n + i] = tanh(v);
    out[5 * n + i] = pow(fabs(v), v);
    out[6 * n + i] = cbrt(v);
    out[7 * n + i] = atan2(v, 1.5);
    out[8 * n + i] = expm1(v * 1e-3);
    out[9 * n + i] = log1p(fabs(v));
}

extern "C" __global__ void f64_sin_huge(const double* x, double* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = sin(x[i]);
}

extern "C" __global__ void f64_ieee(const double* a, const double* b, double* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double x = a[i], y = b[i];
    out[i] = x / y;
    out[n + i] = sqrt(fabs(x));
    out[2 * n + i] = __drcp_rn(y);
    out[3 * n + i] = __fma_rn(x, y, -__dmul_rn(x, y));  // the exact error of a product
    out[4 * n + i] = fmod(x, y);
    out[5 * n + i] = floor(x) + ceil(y);
    out[6 * n + i] = rint(x);
    out[7 * n + i] = trunc(y);
    out[8 * n + i] = fmax(x, y) - fmin(x, y);
    out[9 * n + i] = __dadd_rd(x, y);
    out[10 * n + i] = __dadd_ru(x, y);
    out[11 * n + i] = ldexp(x, (int)y);
    out[12 * n + i] = copysign(x, y);
    out[13 * n + i] = (double)(float)x;
}
