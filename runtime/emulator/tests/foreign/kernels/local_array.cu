// Arrays in local memory under indices that only the data knows.

// The most frequent hexadecimal digit of a word; the lowest wins a tie.
extern "C" __global__ void digit_mode(const unsigned long long* x, unsigned char* mode, unsigned char* count, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned char seen[16] = {};
    for (unsigned long long rest = x[i]; rest; rest >>= 4) ++seen[rest & 15];
    int best = 0;
    for (int d = 1; d < 16; ++d)
        if (seen[d] > seen[best]) best = d;
    mode[i] = best;
    count[i] = seen[best];
}

// Walks an implicit binary tree with an explicit stack and sums the nodes inside [low, high].
extern "C" __global__ void tree_sum(const int* node, const int* low, const int* high, long long* sum, int* visited, int nodes, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int stack[24], depth = 0, steps = 0;
    long long total = 0;
    stack[depth++] = 0;
    while (depth > 0) {
        int at = stack[--depth];
        ++steps;
        int value = node[at];
        if (value >= low[i] && value <= high[i]) total += value;
        if (value >= low[i] && 2 * at + 1 < nodes) stack[depth++] = 2 * at + 1;
        if (value <= high[i] && 2 * at + 2 < nodes) stack[depth++] = 2 * at + 2;
    }
    sum[i] = total;
    visited[i] = steps;
}
