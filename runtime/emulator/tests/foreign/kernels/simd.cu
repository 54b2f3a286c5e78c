// nvrtc: --gpu-architecture=compute_90
// Halves of registers as integers, and integers packed into parts of a register.

extern "C" __global__ void halves(const unsigned* a, const unsigned* b, unsigned* y) {
    int i = threadIdx.x;
    unsigned* out = y + 8 * i;
    out[0] = __vmaxs2(a[i], b[i]);
    out[1] = __vmins2(a[i], b[i]);
    out[2] = __vmaxu2(a[i], b[i]);
    out[3] = __vminu2(a[i], b[i]);
    out[4] = __vadd2(a[i], b[i]);
    out[5] = __vimax_s16x2_relu(a[i], b[i]);
    out[6] = __vimin_s16x2_relu(a[i], b[i]);
    out[7] = __vimax_s32_relu(a[i], b[i]) - __vimin_s32_relu(a[i], b[i]);
}

#define PACK(index, type) asm("cvt.pack.sat." type ".s32.b32 %0, %1, %2, %3;" : "=r"(out[index]) : "r"(a[i]), "r"(b[i]), "r"(c[i]))

extern "C" __global__ void pack(const int* a, const int* b, const unsigned* c, unsigned* y) {
    int i = threadIdx.x;
    unsigned* out = y + 8 * i;
    PACK(0, "u8");
    PACK(1, "s8");
    PACK(2, "u4");
    PACK(3, "s4");
    PACK(4, "u2");
    PACK(5, "s2");
    asm("cvt.pack.sat.u16.s32 %0, %1, %2;" : "=r"(out[6]) : "r"(a[i]), "r"(b[i]));
    asm("cvt.pack.sat.s16.s32 %0, %1, %2;" : "=r"(out[7]) : "r"(a[i]), "r"(b[i]));
}
