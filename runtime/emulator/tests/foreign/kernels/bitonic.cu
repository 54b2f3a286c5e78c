// Sorts one block's keys with their payload by a bitonic network in dynamic shared memory.

extern __shared__ unsigned storage[];

extern "C" __global__ void bitonic(unsigned* keys, unsigned short* payload, int length) {
    unsigned* key = storage;
    unsigned short* value = (unsigned short*)(storage + length);
    int base = blockIdx.x * length;
    for (int i = threadIdx.x; i < length; i += blockDim.x) { key[i] = keys[base + i]; value[i] = payload[base + i]; }
    for (int size = 2; size <= length; size <<= 1)
        for (int stride = size >> 1; stride > 0; stride >>= 1) {
            __syncthreads();
            for (int pair = threadIdx.x; pair < length / 2; pair += blockDim.x) {
                int low = (pair / stride) * stride * 2 + pair % stride, high = low + stride;
                bool ascending = (low & size) == 0;
                if ((key[low] > key[high]) == ascending) {
                    unsigned k = key[low]; key[low] = key[high]; key[high] = k;
                    unsigned short v = value[low]; value[low] = value[high]; value[high] = v;
                }
            }
        }
    __syncthreads();
    for (int i = threadIdx.x; i < length; i += blockDim.x) { keys[base + i] = key[i]; payload[base + i] = value[i]; }
}
