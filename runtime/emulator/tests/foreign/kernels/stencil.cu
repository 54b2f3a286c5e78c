// nvrtc: --fmad=false
// A five-point stencil over a tile with a halo in shared memory; the border is copied.

constexpr int TILE_X = 16;
constexpr int TILE_Y = 8;

extern "C" __global__ void stencil(const float* in, float* out, int width, int height, float centre, float side) {
    __shared__ float tile[TILE_Y + 2][TILE_X + 2];
    int left = blockIdx.x * TILE_X - 1, top = blockIdx.y * TILE_Y - 1;
    int linear = threadIdx.y * TILE_X + threadIdx.x;
    for (int i = linear; i < (TILE_X + 2) * (TILE_Y + 2); i += TILE_X * TILE_Y) {
        int ty = i / (TILE_X + 2), tx = i % (TILE_X + 2);
        int y = min(max(top + ty, 0), height - 1), x = min(max(left + tx, 0), width - 1);
        tile[ty][tx] = in[y * width + x];
    }
    __syncthreads();
    int x = blockIdx.x * TILE_X + threadIdx.x, y = blockIdx.y * TILE_Y + threadIdx.y;
    if (x >= width || y >= height) return;
    int tx = threadIdx.x + 1, ty = threadIdx.y + 1;
    float middle = tile[ty][tx];
    bool border = x == 0 || y == 0 || x == width - 1 || y == height - 1;
    float around = ((tile[ty - 1][tx] + tile[ty + 1][tx]) + tile[ty][tx - 1]) + tile[ty][tx + 1];
    out[y * width + x] = border ? middle : centre * middle + side * around;
}
