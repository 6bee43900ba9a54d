// Compares the bytes of images, as a file holds them, with the DATASUM of their HDUs, so that the
// host need not read them once more (METHOD.md 6; FITS 4.0, appendix J).
//
// Formula    The ones' complement sum of big-endian 32-bit words; bytes of 0 complete the last
//            word. Two sums are equal if they are equal modulo 2^32 - 1.
// Precision  Integers only, so neither FMA nor -ftz changes anything; a sum of up to 2^32 words
//            fits 64 bits.
// Edges      Any number of bytes will do, also none. No byte beyond an image's last one is read.
//            The only atomics add and take a minimum of integers, so that no result depends on the
//            order of threads or blocks.
// Parity     Exact.
// Twin       gpuanom/fits/opening/checksum.py
// Test       tests/steps/test_checksum.py
#include "common.cuh"

struct alignas(16) Words {  // of one read
    unsigned word[4];
};

__device__ __forceinline__ unsigned long long big_endian(unsigned word) {
    return __byte_perm(word, 0u, 0x0123u);
}

// Adds up the words of each image.
//
// Arguments
//   data       (n_bytes,) uint8, bytes of all images; begins at a multiple of 16
//   about      (n_images, 3) int64, place of each image in the stack, its first byte in data,
//              which is a multiple of 16, and its number of bytes
//   sum        in and out, (n_images,) uint64, sum of an image's words; 0 at first
//
// Launch     grid (32, n_images), block (256). A thread takes 16 bytes at a time, the blocks of an
//            image one stretch after the other; the last thread takes the bytes that are left.
// Bytes      Every byte is read 1 time.
extern "C" __global__ void __launch_bounds__(256)
    checksum_add(const unsigned char* data, const long long* about, unsigned long long* sum) {
    __shared__ unsigned long long scratch[32];
    const unsigned char* bytes = data + about[3 * blockIdx.y + 1];
    const long long n_bytes = about[3 * blockIdx.y + 2];
    const long long whole = n_bytes / 16, step = (long long)gridDim.x * blockDim.x;
    unsigned long long mine = 0ull;
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < whole; at += step) {
        const Words words = ((const Words*)bytes)[at];
        for (int i = 0; i < 4; i++) mine += big_endian(words.word[i]);
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        for (long long at = 16 * whole; at < n_bytes; at++) {
            mine += (unsigned long long)bytes[at] << (24 - 8 * (int)(at % 4));
        }
    }
    mine = block_sum(mine, scratch);
    if (threadIdx.x == 0) atomicAdd(&sum[blockIdx.y], mine);
}

// Marks the CCDs whose sum is another one than the file says.
//
// Arguments
//   about      (n_images, 3) int64, as checksum_add takes it
//   wanted     (n_images,) uint64, DATASUM of each image
//   sum        (n_images,) uint64, sum of an image's words from checksum_add
//   n_images   int32, number of images
//   damaged    in and out, (n_ccd,) int32, number of a CCD's first damaged tile: 0, which stands
//              for damage as a whole, where the sum differs
//
// Launch     grid (ceil(n_images / 256)), block (256). A thread takes an image, since there is so
//            little to do.
// Bytes      36 for each image.
extern "C" __global__ void __launch_bounds__(256)
    checksum_compare(const long long* about, const unsigned long long* wanted,
                     const unsigned long long* sum, int n_images, int* damaged) {
    const int image = blockIdx.x * blockDim.x + threadIdx.x;
    if (image >= n_images) return;
    const unsigned long long all = 0xffffffffull;
    if (sum[image] % all != wanted[image] % all) damaged[about[3 * image]] = 0;
}
