// nvrtc: --fmad=false
// Functions that stay functions: structures by value, arrays in structures, pointers to locals, and
// calls through a table of function pointers.

struct Quaternion { float w, x, y, z; };
struct Window { int values[5]; short weight; double bias; };

__noinline__ __device__ Quaternion product(Quaternion a, Quaternion b) {
    return { a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z, a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
             a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x, a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w };
}

__noinline__ __device__ double weigh(Window window, int at) {
    return window.values[at] * (double)window.weight + window.bias;
}

__noinline__ __device__ void order(int* a, int* b) {
    if (*a > *b) { int t = *a; *a = *b; *b = t; }
}

extern "C" __global__ void rotate(const Quaternion* a, const Quaternion* b, Quaternion* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = product(product(a[i], b[i]), a[i]);
}

extern "C" __global__ void windows(const int* x, double* out, int* median, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    Window window;
    for (int k = 0; k < 5; ++k) window.values[k] = x[min(i + k, n - 1)];
    window.weight = (short)(i - 7);
    window.bias = 0.25 * i;
    out[i] = weigh(window, i % 5) + weigh(window, (i + 3) % 5);
    for (int pass = 0; pass < 4; ++pass)
        for (int k = 0; k < 4 - pass; ++k) order(&window.values[k], &window.values[k + 1]);
    median[i] = window.values[2];
}

typedef int (*Operation)(int, int);
__noinline__ __device__ int add(int a, int b) { return a + b; }
__noinline__ __device__ int subtract(int a, int b) { return a - b; }
__noinline__ __device__ int multiply(int a, int b) { return a * b; }
__device__ Operation operations[3] = { add, subtract, multiply };

extern "C" __global__ void through_table(const unsigned char* which, const int* a, const int* b, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = operations[which[i] % 3](a[i], b[i]);
}
