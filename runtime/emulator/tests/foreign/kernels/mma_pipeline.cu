// Products as they are written for speed: asynchronous 16-byte copies into a ring of stages, swizzled rows, ldmatrix
// (transposed for a B by rows), mma.sync from inline PTX. Edges are copies that read fewer bytes than they write.
#include <cuda_fp16.h>

__device__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ void copy(unsigned to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int LEFT>
__device__ void wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory"); }

__device__ void matrices(unsigned* r, unsigned from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}
__device__ void matrices_transposed(unsigned* r, unsigned from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}

// What differs between the element types: bytes of an element, products along k of an instruction, the instruction.
struct F16 {
    using Sum = float;
    static constexpr int BYTES = 2, SUMS = 4;
    static __device__ void mma(float* d, const unsigned* a, const unsigned* b) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
};
struct Bf16 : F16 {
    static __device__ void mma(float* d, const unsigned* a, const unsigned* b) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
};
struct Tf32 : F16 {
    static constexpr int BYTES = 4;
    static __device__ void mma(float* d, const unsigned* a, const unsigned* b) {
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
};
struct S8 {
    using Sum = int;
    static constexpr int BYTES = 1;
    static __device__ void mma(int* d, const unsigned* a, const unsigned* b) {
        asm volatile("mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
};

constexpr int STAGES = 3, TILE = 64, SLAB = 64;  // rows or columns of a tile; bytes along k of a stage

// Chunk of 16 bytes in a tile whose rows have four: the place depends on the row, so that eight rows fill all banks.
__device__ unsigned place(int row, int chunk) { return row * SLAB + ((chunk ^ row >> 1 & 3) << 4); }

// C (m × n, f32 or s32) = A (m × k) · Bᵀ (n × k), rows of whole 16-byte chunks; four warps of 32 × 32. The slabs are
// dealt out over gridDim.z blocks, which add their parts to C by atomics if there are several.
template <class Type>
__device__ void product(const char* a, const char* b, typename Type::Sum* c, int m, int n, int k) {
    __shared__ __align__(128) char ring[STAGES][2][TILE * SLAB];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int row = blockIdx.y * TILE, column = blockIdx.x * TILE, bytes = k * Type::BYTES;
    int slabs = (bytes + SLAB - 1) / SLAB, mine = (slabs - (int)blockIdx.z + (int)gridDim.z - 1) / (int)gridDim.z;
    auto fetch = [&](int i) {
        int at = (i * gridDim.z + blockIdx.z) * SLAB;
        if (i < mine)
            for (int chunk = threadIdx.x; chunk < TILE * 4; chunk += blockDim.x) {
                int r = chunk / 4, offset = at + chunk % 4 * 16, inside = min(max(bytes - offset, 0), 16);
                copy(shared_address(ring[i % STAGES][0]) + place(r, chunk % 4), a + (size_t)(row + r) * bytes + offset, row + r < m ? inside : 0);
                copy(shared_address(ring[i % STAGES][1]) + place(r, chunk % 4), b + (size_t)(column + r) * bytes + offset, column + r < n ? inside : 0);
            }
        commit();
    };
    typename Type::Sum sums[2][4][4] = {};
    for (int s = 0; s < STAGES - 1; ++s) fetch(s);
    for (int i = 0; i < mine; ++i) {
        wait<STAGES - 2>();
        __syncthreads();
        fetch(i + STAGES - 1);
        unsigned as = shared_address(ring[i % STAGES][0]), bs = shared_address(ring[i % STAGES][1]);
        for (int step = 0; step < 2; ++step) {
            unsigned fa[2][4], fb[2][4];
            for (int t = 0; t < 2; ++t) {
                matrices(fa[t], as + place(warp / 2 * 32 + t * 16 + lane % 16, step * 2 + lane / 16));
                matrices(fb[t], bs + place(warp % 2 * 32 + t * 16 + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
            }
            for (int x = 0; x < 2; ++x)
                for (int y = 0; y < 4; ++y) Type::mma(sums[x][y], fa[x], fb[y / 2] + y % 2 * 2);
        }
    }
    wait<0>();
    for (int x = 0; x < 2; ++x)
        for (int y = 0; y < 4; ++y)
            for (int e = 0; e < 4; ++e) {
                int r = row + warp / 2 * 32 + x * 16 + lane / 4 + e / 2 * 8, s = column + warp % 2 * 32 + y * 8 + lane % 4 * 2 + e % 2;
                if (r < m && s < n) {
                    if (gridDim.z > 1) atomicAdd(c + r * n + s, sums[x][y][e]);
                    else c[r * n + s] = sums[x][y][e];
                }
            }
}

extern "C" __global__ void pipeline_f16(const char* a, const char* b, float* c, int m, int n, int k) { product<F16>(a, b, c, m, n, k); }
extern "C" __global__ void pipeline_bf16(const char* a, const char* b, float* c, int m, int n, int k) { product<Bf16>(a, b, c, m, n, k); }
extern "C" __global__ void pipeline_tf32(const char* a, const char* b, float* c, int m, int n, int k) { product<Tf32>(a, b, c, m, n, k); }
extern "C" __global__ void pipeline_s8(const char* a, const char* b, int* c, int m, int n, int k) { product<S8>(a, b, c, m, n, k); }

// The same with B by rows (k × n), read through ldmatrix.trans, f16 sums, stored through shared memory. One warp, a
// tile of 16 × 32, stages of k = 16.
extern "C" __global__ void pipeline_f16_rows(const half* a, const half* b, half* c, int m, int n, int k) {
    __shared__ __align__(128) half as[STAGES][16][16 + 8], bs[STAGES][16][32 + 8];
    int lane = threadIdx.x, row = blockIdx.y * 16, column = blockIdx.x * 32, slabs = (k + 15) / 16;
    auto fetch = [&](int i) {
        if (i < slabs) {
            int at = i * 16, r = lane / 2, chunk = lane % 2 * 8;
            int inside = row + r < m ? min(max(k - at - chunk, 0), 8) * 2 : 0;
            copy(shared_address(&as[i % STAGES][r][chunk]), a + (row + r) * k + at + chunk, inside);
            for (int part = 0; part < 2; ++part) {
                r = part * 8 + lane / 4, chunk = lane % 4 * 8;
                inside = at + r < k ? min(max(n - column - chunk, 0), 8) * 2 : 0;
                copy(shared_address(&bs[i % STAGES][r][chunk]), b + (at + r) * n + column + chunk, inside);
            }
        }
        commit();
    };
    unsigned sums[4][2] = {};
    for (int s = 0; s < STAGES - 1; ++s) fetch(s);
    for (int i = 0; i < slabs; ++i) {
        wait<STAGES - 2>();
        __syncwarp();
        fetch(i + STAGES - 1);
        unsigned fa[4], fb[2][4];
        matrices(fa, shared_address(&as[i % STAGES][lane % 16][lane / 16 * 8]));
        for (int t = 0; t < 2; ++t) matrices_transposed(fb[t], shared_address(&bs[i % STAGES][lane % 16][t * 16 + lane / 16 * 8]));
        for (int y = 0; y < 4; ++y)
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0, %1}, {%2, %3, %4, %5}, {%6, %7}, {%0, %1};"
                         : "+r"(sums[y][0]), "+r"(sums[y][1]) : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[y / 2][y % 2 * 2]), "r"(fb[y / 2][y % 2 * 2 + 1]));
        __syncwarp();
    }
    wait<0>();
    for (int y = 0; y < 4; ++y)
        for (int e = 0; e < 2; ++e) {
            int r = row + lane / 4 + e * 8, s = column + y * 8 + lane % 4 * 2;
            if (r < m && s < n) *(unsigned*)(c + r * n + s) = sums[y][e];
        }
}
