// Votes, matches, barriers with a reduction, and warp-aggregated counting.

extern "C" __global__ void votes(const int* x, unsigned* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int v = i < n ? x[i] : -1;
    int total = gridDim.x * blockDim.x, all;
    out += i;
    out[0] = __ballot_sync(0xffffffffu, v & 1);
    out[total] = __any_sync(0xffffffffu, v == 3) + 2 * __all_sync(0xffffffffu, v < 12);
    out[2 * total] = __match_any_sync(0xffffffffu, v);
    out[3 * total] = __match_all_sync(0xffffffffu, v / 16, &all);
    out[3 * total] += all;
    unsigned members = __ballot_sync(0xffffffffu, v & 2);
    out[4 * total] = 0;
    if (v & 2) out[4 * total] = __ballot_sync(members, v & 4);  // a vote of some
    out[5 * total] = __syncthreads_count(v > 6);
    out[6 * total] = __syncthreads_or(v == 9) + 2 * __syncthreads_and(v < 14);
}

// Counts the odd elements with one atomic per converged group, however the threads converge.
extern "C" __global__ void aggregated(const int* x, unsigned* odd, unsigned* ranks, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    if (x[i] & 1) {
        unsigned mask = __activemask();
        int leader = __ffs(mask) - 1, lane = threadIdx.x & 31;
        unsigned first = 0;
        if (lane == leader) first = atomicAdd(odd, __popc(mask));
        first = __shfl_sync(mask, first, leader);
        atomicAdd(&ranks[first + __popc(mask & ((1u << lane) - 1))], 1u);  // every rank is taken once
    }
}
