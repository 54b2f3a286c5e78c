// nvrtc: --gpu-architecture=compute_90
// Atomic additions on vectors of floats in global memory, and what they return.

extern "C" __global__ void add_vectors(float4* sums, const float4* x, float2* pairs, float4* old) {
    int i = threadIdx.x;
    atomicAdd(sums + i % 3, x[i]);
    // One thread a pair: what it returns is known.
    float4 first = atomicAdd((float4*)pairs + i, x[i]);
    float2 second = atomicAdd(pairs + 2 * i, make_float2(x[i].z, x[i].w));
    old[i] = make_float4(first.x, first.y, second.x, second.y);
}

extern "C" __global__ void reduce_halves(unsigned* sums, const unsigned* x) {
    const unsigned* r = x + 4 * threadIdx.x;
    unsigned* to = sums + 4 * (threadIdx.x % 2);
    asm volatile("red.global.add.noftz.v4.f16x2 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
    asm volatile("{ .reg .b16 h<8>; mov.b32 {h0, h1}, %1; mov.b32 {h2, h3}, %2; mov.b32 {h4, h5}, %3; mov.b32 {h6, h7}, %4;\n"
                 "red.global.max.noftz.v8.f16 [%0], {h0, h1, h2, h3, h4, h5, h6, h7}; }" ::"l"(to + 8), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}
