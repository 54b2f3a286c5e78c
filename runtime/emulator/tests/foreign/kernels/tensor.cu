// Tensor-core products from inline PTX: ldmatrix (straight and transposed) and mma.sync in four types.
// The operands are small whole numbers, so every sum is exact whatever the hardware's order.
#include <cuda_fp16.h>

__device__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// One warp: C (16×8, f32) = A (16×16, row) · B (16×8, row) through ldmatrix.
extern "C" __global__ void mma_f16(const half* a, const half* b, float* c) {
    __shared__ __align__(16) half at[16 * 16], bt[16 * 8];
    int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) at[i] = a[i];
    for (int i = lane; i < 128; i += 32) bt[i] = b[i];
    __syncwarp();
    unsigned a0, a1, a2, a3, b0, b1;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(a0), "=r"(a1), "=r"(a2), "=r"(a3)
                 : "r"(shared_address(&at[(lane % 16) * 16 + lane / 16 * 8])));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(b0), "=r"(b1) : "r"(shared_address(&bt[(lane % 16) * 8])));
    float d0 = 1.0f, d1 = 2.0f, d2 = 3.0f, d3 = 4.0f;
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d0), "+f"(d1), "+f"(d2), "+f"(d3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    int row = lane / 4, column = lane % 4 * 2;
    c[row * 8 + column] = d0; c[row * 8 + column + 1] = d1;
    c[(row + 8) * 8 + column] = d2; c[(row + 8) * 8 + column + 1] = d3;
}

// One warp: C (16×8, i32) = A (16×32, row, s8) · Bᵀ (8×32), the fragments loaded by hand.
extern "C" __global__ void mma_s8(const signed char* a, const signed char* bt, int* c) {
    int lane = threadIdx.x, row = lane / 4, part = lane % 4;
    auto word = [](const signed char* p) { return *(const unsigned*)p; };
    unsigned a0 = word(a + row * 32 + part * 4), a1 = word(a + (row + 8) * 32 + part * 4);
    unsigned a2 = word(a + row * 32 + part * 4 + 16), a3 = word(a + (row + 8) * 32 + part * 4 + 16);
    unsigned b0 = word(bt + row * 32 + part * 4), b1 = word(bt + row * 32 + part * 4 + 16);
    int d0 = 0, d1 = 0, d2 = 0, d3 = 0;
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d0), "+r"(d1), "+r"(d2), "+r"(d3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    c[row * 8 + part * 2] = d0; c[row * 8 + part * 2 + 1] = d1;
    c[(row + 8) * 8 + part * 2] = d2; c[(row + 8) * 8 + part * 2 + 1] = d3;
}

// One warp: C (16×8, f32) = A (16×16, row, bf16) · Bᵀ (8×16).
extern "C" __global__ void mma_bf16(const unsigned* a, const unsigned* bt, float* c) {
    int lane = threadIdx.x, row = lane / 4, part = lane % 4;
    unsigned a0 = a[row * 8 + part], a1 = a[(row + 8) * 8 + part], a2 = a[row * 8 + part + 4], a3 = a[(row + 8) * 8 + part + 4];
    unsigned b0 = bt[row * 8 + part], b1 = bt[row * 8 + part + 4];
    float d0 = 0.0f, d1 = 0.0f, d2 = 0.0f, d3 = 0.0f;
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d0), "+f"(d1), "+f"(d2), "+f"(d3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    c[row * 8 + part * 2] = d0; c[row * 8 + part * 2 + 1] = d1;
    c[(row + 8) * 8 + part * 2] = d2; c[(row + 8) * 8 + part * 2 + 1] = d3;
}

// One warp: C (16×8, f32) = A (16×8, row, tf32) · Bᵀ (8×8).
extern "C" __global__ void mma_tf32(const float* a, const float* bt, float* c) {
    int lane = threadIdx.x, row = lane / 4, part = lane % 4;
    auto word = [](float v) { unsigned r; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(v)); return r; };
    unsigned a0 = word(a[row * 8 + part]), a1 = word(a[(row + 8) * 8 + part]), a2 = word(a[row * 8 + part + 4]), a3 = word(a[(row + 8) * 8 + part + 4]);
    unsigned b0 = word(bt[row * 8 + part]), b1 = word(bt[row * 8 + part + 4]);
    float d0 = 0.0f, d1 = 0.0f, d2 = 0.0f, d3 = 0.0f;
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d0), "+f"(d1), "+f"(d2), "+f"(d3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    c[row * 8 + part * 2] = d0; c[row * 8 + part * 2 + 1] = d1;
    c[(row + 8) * 8 + part * 2] = d2; c[(row + 8) * 8 + part * 2 + 1] = d3;
}
