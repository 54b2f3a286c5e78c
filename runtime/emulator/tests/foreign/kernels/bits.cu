// Bit manipulation, byte permutation, packed dot products and saturating integer forms.

extern "C" __global__ void bits(const unsigned* a, const unsigned* b, const unsigned* c, unsigned* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned x = a[i], y = b[i], z = c[i], r;
    out += i;
    out[0 * n] = __byte_perm(x, y, z);
    out[1 * n] = __clz(x >> (y & 31));
    out[2 * n] = __popc(x) + 100 * __ffs(y);
    out[3 * n] = __brev(x);
    out[4 * n] = __funnelshift_l(x, y, z);
    out[5 * n] = __funnelshift_r(x, y, z);
    out[6 * n] = __funnelshift_lc(x, y, z & 63);
    out[7 * n] = __funnelshift_rc(x, y, z & 63);
    out[8 * n] = __dp4a((int)x, (int)y, (int)z);
    out[9 * n] = __dp4a(x, y, z);
    out[10 * n] = __dp2a_lo((int)x, (int)y, (int)z);
    out[11 * n] = __umulhi(x, y);
    out[12 * n] = __mulhi((int)x, (int)y);
    out[13 * n] = __umul24(x, y) + __mul24((int)x, (int)z);
    out[14 * n] = __usad(x, y, z);
    out[15 * n] = __sad((int)x, (int)y, z);
    out[16 * n] = __vabsdiffu4(x, y);
    out[17 * n] = __vadd4(x, y);
    asm("bfe.u32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y & 63), "r"(z & 63));
    out[18 * n] = r;
    asm("bfe.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y & 63), "r"(z & 63));
    out[19 * n] = r;
    asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(r) : "r"(x), "r"(y), "r"(z & 63), "r"((z >> 6) & 63));
    out[20 * n] = r;
    asm("lop3.b32 %0, %1, %2, %3, 0x6a;" : "=r"(r) : "r"(x), "r"(y), "r"(z));
    out[21 * n] = r;
    asm("bfind.u32 %0, %1;" : "=r"(r) : "r"(x >> (z & 31)));
    out[22 * n] = r;
    out[23 * n] = (unsigned)__hadd((int)x, (int)y) ^ __urhadd(x, z);
    out[24 * n] = (unsigned)abs((int)x) + (unsigned)max((int)x, (int)y) + min(y, z);
    out[25 * n] = x >> (y & 63 ? 31 - (y & 31) : 0);
    asm("shl.b32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(z & 63));  // clamps at 32
    out[26 * n] = r;
    asm("shr.s32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(z & 63));
    out[27 * n] = r;
    asm("add.sat.s32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y));
    out[28 * n] = r;
}

// 96-bit addition by the carry chain.
extern "C" __global__ void carry(const unsigned* a, const unsigned* b, unsigned* sum, unsigned* difference, int n) {
    int i = (blockIdx.x * blockDim.x + threadIdx.x) * 3;
    if (i >= 3 * n) return;
    asm("add.cc.u32 %0, %3, %6;\n\taddc.cc.u32 %1, %4, %7;\n\taddc.u32 %2, %5, %8;"
        : "=r"(sum[i]), "=r"(sum[i + 1]), "=r"(sum[i + 2])
        : "r"(a[i]), "r"(a[i + 1]), "r"(a[i + 2]), "r"(b[i]), "r"(b[i + 1]), "r"(b[i + 2]));
    asm("sub.cc.u32 %0, %3, %6;\n\tsubc.cc.u32 %1, %4, %7;\n\tsubc.u32 %2, %5, %8;"
        : "=r"(difference[i]), "=r"(difference[i + 1]), "=r"(difference[i + 2])
        : "r"(a[i]), "r"(a[i + 1]), "r"(a[i + 2]), "r"(b[i]), "r"(b[i + 1]), "r"(b[i + 2]));
}
