// 64-bit integers: division by variables and constants, high products, shifts, modular arithmetic.

typedef unsigned long long u64;
typedef long long i64;

extern "C" __global__ void divide(const i64* a, const i64* b, i64* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    i64 x = a[i], y = b[i];
    u64 ux = x, uy = y;
    out[i] = x / y;
    out[n + i] = x % y;
    out[2 * n + i] = ux / uy;
    out[3 * n + i] = ux % uy;
    out[4 * n + i] = x / 1000003;
    out[5 * n + i] = x % 7;
    out[6 * n + i] = ux / 10;
    out[7 * n + i] = (int)x / ((int)y | 1);
    out[8 * n + i] = (unsigned)ux % 641u;
}

extern "C" __global__ void multiply(const u64* a, const u64* b, u64* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    u64 x = a[i], y = b[i];
    out[i] = x * y;
    out[n + i] = __umul64hi(x, y);
    out[2 * n + i] = (u64)__mul64hi((i64)x, (i64)y);
    out[3 * n + i] = (u64)(unsigned)x * (unsigned)y;
    out[4 * n + i] = (u64)((i64)(int)x * (int)y);
    out[5 * n + i] = x << (y & 63);
    out[6 * n + i] = x >> (y & 63);
    out[7 * n + i] = (u64)((i64)x >> (y & 63));
    out[8 * n + i] = __popcll(x) * 1000000 + __clzll(x) * 1000 + __ffsll(x);
    out[9 * n + i] = __brevll(x) ^ y;
    out[10 * n + i] = x > y ? x - y : (i64)x < (i64)y ? ~x : min(x, y);
}

// base^exponent mod modulus by 128-bit products, and the greatest common divisor by subtraction.
extern "C" __global__ void modular(const unsigned* base, const unsigned* exponent, const unsigned* modulus, u64* power, u64* divisor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    u64 m = modulus[i], x = base[i] % m, result = 1 % m;
    for (unsigned e = exponent[i]; e; e >>= 1) {
        if (e & 1) result = result * x % m;
        x = x * x % m;
    }
    power[i] = result;
    u64 p = base[i], q = modulus[i];
    while (q) { u64 r = p % q; p = q; q = r; }
    divisor[i] = p;
}
