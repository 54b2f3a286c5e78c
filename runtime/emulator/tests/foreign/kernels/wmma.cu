// Products through nvcuda::wmma: every element type, shapes and layouts, straight from global memory and, with edges
// filled up by zeros, through shared memory. Whole numbers, so that every sum is exact whatever the hardware's order.
#include <mma.h>

using namespace nvcuda::wmma;

template <class Layout> constexpr bool by_rows = false;
template <> constexpr bool by_rows<row_major> = true;

// One warp a tile: D = alpha · A · B + beta · C, all extents multiples of the tile's.
template <int M, int N, int K, class Factor, class Stored, class Sum, class A, class B>
__device__ void product(const Stored* a, const Stored* b, const Sum* c, Sum* d, int m, int n, int k, Sum alpha, Sum beta) {
    int row = blockIdx.y * M, column = blockIdx.x * N;
    fragment<matrix_a, M, N, K, Factor, A> fa;
    fragment<matrix_b, M, N, K, Factor, B> fb;
    fragment<accumulator, M, N, K, Sum> sum, old;
    fill_fragment(sum, Sum(0));
    for (int at = 0; at < k; at += K) {
        load_matrix_sync(fa, by_rows<A> ? a + row * k + at : a + at * m + row, by_rows<A> ? k : m);
        load_matrix_sync(fb, by_rows<B> ? b + at * n + column : b + column * k + at, by_rows<B> ? n : k);
        mma_sync(sum, fa, fb, sum);
    }
    load_matrix_sync(old, c + row * n + column, n, mem_row_major);
    for (int i = 0; i < sum.num_elements; ++i) sum.x[i] = alpha * sum.x[i] + beta * old.x[i];
    store_matrix_sync(d + row * n + column, sum, n, mem_row_major);
}

#define KERNEL(name, M, N, K, FACTOR, STORED, SUM, A, B)                                                            \
    extern "C" __global__ void name(const STORED* a, const STORED* b, const SUM* c, SUM* d, int m, int n, int k) {          \
        product<M, N, K, FACTOR, STORED, SUM, A, B>(a, b, c, d, m, n, k, SUM(2), SUM(-3));                         \
    }

KERNEL(wmma_f16_rows, 16, 16, 16, half, half, float, row_major, row_major)
KERNEL(wmma_f16_columns, 16, 16, 16, half, half, float, col_major, col_major)
KERNEL(wmma_f16_wide, 8, 32, 16, half, half, float, row_major, col_major)
KERNEL(wmma_f16_high, 32, 8, 16, half, half, float, col_major, col_major)
KERNEL(wmma_f16_to_f16, 16, 16, 16, half, half, half, row_major, col_major)
KERNEL(wmma_bf16, 16, 16, 16, __nv_bfloat16, __nv_bfloat16, float, row_major, col_major)
KERNEL(wmma_bf16_wide, 8, 32, 16, __nv_bfloat16, __nv_bfloat16, float, col_major, row_major)
KERNEL(wmma_s8, 16, 16, 16, signed char, signed char, int, row_major, col_major)
KERNEL(wmma_u8_high, 32, 8, 16, unsigned char, unsigned char, int, row_major, row_major)
KERNEL(wmma_tf32, 16, 16, 8, precision::tf32, float, float, row_major, col_major)
KERNEL(wmma_f64, 8, 8, 4, double, double, double, row_major, col_major)

// Any extents: four warps, a tile of 32 × 32, rows of shared memory padded by eight elements.
extern "C" __global__ void wmma_edges(const half* a, const half* b, float* d, int m, int n, int k) {
    __shared__ __align__(32) half as[32][16 + 16], bs[16][32 + 16];
    __shared__ __align__(32) float ds[32][32 + 8];
    int warp = threadIdx.x / 32, row = blockIdx.y * 32, column = blockIdx.x * 32;
    fragment<matrix_a, 16, 16, 16, half, row_major> fa;
    fragment<matrix_b, 16, 16, 16, half, row_major> fb;
    fragment<accumulator, 16, 16, 16, float> sum;
    fill_fragment(sum, 0.0f);
    for (int at = 0; at < k; at += 16) {
        for (int i = threadIdx.x; i < 32 * 16; i += blockDim.x) {
            int r = row + i / 16, c = at + i % 16;
            as[i / 16][i % 16] = r < m && c < k ? a[r * k + c] : half(0);
            r = at + i / 32, c = column + i % 32;
            bs[i / 32][i % 32] = r < k && c < n ? b[r * n + c] : half(0);
        }
        __syncthreads();
        load_matrix_sync(fa, &as[warp / 2 * 16][0], 32);
        load_matrix_sync(fb, &bs[0][warp % 2 * 16], 48);
        mma_sync(sum, fa, fb, sum);
        __syncthreads();
    }
    store_matrix_sync(&ds[warp / 2 * 16][warp % 2 * 16], sum, 40, mem_row_major);
    __syncthreads();
    for (int i = threadIdx.x; i < 32 * 32; i += blockDim.x)
        if (row + i / 32 < m && column + i % 32 < n) d[(row + i / 32) * n + column + i % 32] = ds[i / 32][i % 32];
}
