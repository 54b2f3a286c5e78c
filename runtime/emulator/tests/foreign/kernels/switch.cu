// Many-way branches: an interpreter of small programs, and a jump through a table of labels.

extern "C" __global__ void interpret(const unsigned char* programs, const int* input, int* out, int length, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned char* code = programs + i * length;
    int x = input[i], y = 1, at = 0, fuel = 200;
    while (at < length && fuel-- > 0) {
        switch (code[at++]) {
            case 0: x += y; break;
            case 1: x -= 3 * y; break;
            case 2: y = x ^ (y << 1); break;
            case 3: { int t = x; x = y; y = t; } break;
            case 4: x = x * 5 + 1; break;
            case 5: if (x & 1) ++at; break;
            case 6: y = -y; [[fallthrough]];
            case 7: x ^= y >> 3; break;
            case 8: if (y & 4) at = at > 5 ? at - 5 : 0; break;
            case 9: at = length; break;
            default: x = ~x;
        }
    }
    out[i] = x + 31 * y;
}

extern "C" __global__ void jump_table(const unsigned* x, unsigned* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned value = x[i], result;
    asm("{\n\t"
        ".reg .u32 which;\n\t"
        "and.b32 which, %1, 3;\n\t"
        "targets: .branchtargets HALVE, TRIPLE, INVERT, SQUARE;\n\t"
        "brx.idx which, targets;\n\t"
        "HALVE: shr.u32 %0, %1, 1;\n\t"
        "bra DONE;\n\t"
        "TRIPLE: mul.lo.u32 %0, %1, 3;\n\t"
        "bra DONE;\n\t"
        "INVERT: not.b32 %0, %1;\n\t"
        "bra DONE;\n\t"
        "SQUARE: mul.lo.u32 %0, %1, %1;\n\t"
        "DONE:\n\t"
        "}" : "=r"(result) : "r"(value));
    out[i] = result;
}
