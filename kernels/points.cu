// Draws the random points of each CCD from its key (METHOD.md 6).
//
// Formula    Words w are the output of Philox4x64 with 10 rounds (Salmon et al. 2011) for the
//            counters 1, 2, ... and the CCD's key: the words of NumPy's generator, which counts up
//            before its first block. A point takes one word: y = margin + ((w >> 32) span_y >> 32)
//            and x = margin + ((w mod 2^32) span_x >> 32), where span = size, or with a margin
//            size + 1 - 2 margin.
// Precision  Whole numbers of 64 bits only, so neither FMA nor -ftz changes anything.
// Edges      Words beyond the number of points are made and not used.
// Parity     Exact.
// Twin       gpuanom/backends/cpu/points.py
// Test       tests/steps/test_points.py
#include "common.cuh"

constexpr int THREADS = 256;
constexpr int WORDS = 4;  // of a counter
typedef unsigned long long Word;

// The four words of a counter, whose upper three words are 0.
__device__ void philox(Word counter, Word key0, Word key1, Word* words) {
    Word c[WORDS] = {counter, 0ull, 0ull, 0ull};
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const Word high0 = __umul64hi(0xD2E7470EE14C6C93ull, c[0]),
                   high1 = __umul64hi(0xCA5A826395121157ull, c[2]),
                   low0 = 0xD2E7470EE14C6C93ull * c[0], low1 = 0xCA5A826395121157ull * c[2];
        c[0] = high1 ^ c[1] ^ key0, c[1] = low1;
        c[2] = high0 ^ c[3] ^ key1, c[3] = low0;
        key0 += 0x9E3779B97F4A7C15ull, key1 += 0xBB67AE8584CAA73Bull;
    }
    for (int i = 0; i < WORDS; i++) words[i] = c[i];
}

// Draws the points of all CCDs.
//
// Arguments
//   keys      (n_ccd, 2) uint64, no unit: the key of each CCD
//   n_draws   int32, number of points of a CCD
//   margin    int32, pixels: the smallest y and x
//   span_y    int32, pixels: number of different y
//   span_x    int32, pixels: number of different x
//   points    out, (n_ccd, n_draws, 2) int32, pixels: (y, x) in draw order
//
// Launch     grid (ceil(n_draws / 1024), n_ccd), block (256). A thread makes the four words of a
//            counter; by way of 8 KiB of shared memory the points of a block are written side by
//            side.
// Bytes      8 written for each point.
extern "C" __global__ void __launch_bounds__(THREADS)
    points_draw(const unsigned long long* keys, int n_draws, int margin, int span_y, int span_x,
                int* points) {
    __shared__ Word words[WORDS * THREADS];
    const int ccd = blockIdx.y, thread = threadIdx.x;
    const long long first = (long long)blockIdx.x * WORDS * THREADS;
    const Word counter = (Word)blockIdx.x * THREADS + (Word)thread + 1ull;
    philox(counter, keys[2 * ccd], keys[2 * ccd + 1], words + WORDS * thread);
    __syncthreads();
    // Neighbouring threads write neighbouring points.
    for (int i = thread; i < WORDS * THREADS && first + i < n_draws; i += THREADS) {
        const long long point = (long long)ccd * n_draws + first + i;
        points[2 * point] = margin + (int)((words[i] >> 32) * (Word)span_y >> 32);
        points[2 * point + 1] = margin + (int)((words[i] & 0xffffffffull) * (Word)span_x >> 32);
    }
}
