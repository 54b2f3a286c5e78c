// Calls of system functions that these launches never reach: they must not stop what does not reach them.

extern "C" __global__ void guarded(float* x, int n, int* bad) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    assert(n > 0);
    if (i < n) {
        if (x[i] < 0.0f) {
            printf("negative: %d %f\n", i, x[i]);
            *bad = i;
        }
        x[i] = x[i] + 0.5f;
    }
}

extern "C" __global__ void scratch(int* x, int n) {
    int i = threadIdx.x;
    if (n > 64) {
        int* p = (int*)malloc(n * sizeof(int));
        p[i] = n - i;
        x[i] = p[i];
        free(p);
    } else {
        x[i] = n - i;
    }
}
