// C = A B + C through square tiles in shared memory; each thread owns two rows of its tile.

constexpr int TILE = 16;

extern "C" __global__ void gemm(const float* __restrict__ a, const float* __restrict__ b, float* c, int m, int n, int k) {
    __shared__ float at[TILE][TILE + 1], bt[TILE][TILE];
    int x = threadIdx.x, y = threadIdx.y;
    int column = blockIdx.x * TILE + x, row = blockIdx.y * TILE + y;
    float top = 0.0f, bottom = 0.0f;
    for (int k0 = 0; k0 < k; k0 += TILE) {
        for (int r = y; r < TILE; r += TILE / 2) {
            int i = blockIdx.y * TILE + r, j = k0 + r;
            at[r][x] = i < m && k0 + x < k ? a[i * k + k0 + x] : 0.0f;
            bt[r][x] = j < k && column < n ? b[j * n + column] : 0.0f;
        }
        __syncthreads();
        for (int i = 0; i < TILE; ++i) {
            top += at[y][i] * bt[i][x];
            bottom += at[y + TILE / 2][i] * bt[i][x];
        }
        __syncthreads();
    }
    if (column >= n) return;
    if (row < m) c[row * n + column] += top;
    if (row + TILE / 2 < m) c[(row + TILE / 2) * n + column] += bottom;
}
