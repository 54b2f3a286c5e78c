// Two differently typed arrays carved from dynamic shared memory: a transpose of bytes and of doubles.

extern __shared__ __align__(16) unsigned char pool[];

extern "C" __global__ void transpose(const double* a, double* at, const signed char* b, signed char* bt, int rows, int columns) {
    double* wide = (double*)pool;
    signed char* narrow = (signed char*)(pool + sizeof(double) * blockDim.y * (blockDim.x + 1));
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    int slot = threadIdx.y * (blockDim.x + 1) + threadIdx.x;
    if (x < columns && y < rows) { wide[slot] = a[y * columns + x]; narrow[slot] = b[y * columns + x]; }
    __syncthreads();
    int tx = blockIdx.y * blockDim.y + threadIdx.x, ty = blockIdx.x * blockDim.x + threadIdx.y;
    slot = threadIdx.x * (blockDim.x + 1) + threadIdx.y;
    if (tx < rows && ty < columns) { at[ty * rows + tx] = wide[slot]; bt[ty * rows + tx] = -narrow[slot]; }
}
