// Tables in constant memory and an initialised global variable.

struct Entry { short low, high; float scale; };
__constant__ unsigned nibble[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c };
__constant__ Entry entries[4] = { { -30000, -200, 0.125f }, { -200, 0, -0.5f }, { 0, 300, 0.75f }, { 300, 32000, 3.0f } };
__device__ int offsets[5] = { 11, -7, 0, 300000, 5 };
__constant__ double fallback = 0.1;

extern "C" __global__ void crc32(const unsigned char* text, unsigned* out, int length, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned crc = 0xffffffffu;
    for (int k = 0; k < length; ++k) {
        crc ^= text[i * length + k];
        crc = nibble[crc & 15] ^ (crc >> 4);
        crc = nibble[crc & 15] ^ (crc >> 4);
    }
    out[i] = ~crc;
}

extern "C" __global__ void piecewise(const short* x, double* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double value = fallback;
    for (int e = 0; e < 4; ++e)
        if (x[i] >= entries[e].low && x[i] < entries[e].high) value = (double)(entries[e].scale * x[i]);
    out[i] = value + offsets[i % 5];
}
