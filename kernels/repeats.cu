// Counts the differences of the positions of bright maxima within each CCD (METHOD.md 11).
//
// Formula    A maximum is a usable pixel with v = I - b > 8 sigma, not saturated, that is the
//            brightest of the 7 x 7 usable pixels around it; of equal ones the first in (y, x)
//            order is the brightest. Of a tile the first four count, of a CCD the brightest 1024.
//            The differences (dy, dx) of all ordered pairs of a CCD, turned into the axes of the
//            focal plane, are counted in bins of 2 x 2 pixels.
// Precision  v and its comparisons in float64, in the CPU's order of operations, no FMA; widen()
//            keeps what -ftz would make 0.
// Edges      A square of 7 x 7 pixels that leaves the CCD makes no maximum, nor does a tile that
//            the edge cuts off. CCDs without a background, or whose image could not be decoded,
//            have none. The only atomics add integers.
// Parity     Exact for an equal background and equal sources.
// Twin       gpuanom/backends/cpu/repeats.py
// Test       tests/steps/test_repeats.py
#include "common.cuh"

constexpr int MAXIMA_A_TILE = 4, MAXIMA_A_CCD = 1024, MAXIMUM_REACH = 3, PAIR_BIN = 2,
              PAIR_REACH = 256, PAIR_BACK = 32, PAIR_COLUMNS = 256, WARPS = 8, CHOOSERS = 1024;

// The bits of gpuanom.records.Turn.
enum Turn : int { QUARTER = 1, MIRRORED = 2 };

// v of a pixel, or UNFIT where it is unusable; `plane` and `bad` are those of the CCD.
__device__ __forceinline__ double height(const float* plane, const unsigned char* bad,
                                         const double* c, int y, int x, int ny, int nx) {
    const long long at = (long long)y * nx + x;
    const float seen = plane[at];
    if (!is_usable(seen, bad, at, UNFIT_SOURCES)) return UNFIT;
    return widen(seen) - polynomial(c, scaled(y, ny), scaled(x, nx));
}

// The maxima of each tile, as y nx + x and v.
//
// Arguments
//   images          (n_ccd, ny, nx) float32, image unit
//   bad             (n_ccd, ny, nx) uint8, bits of Unfit; null where nothing is masked
//   saturation      (n_ccd,) float32, image unit; NaN where unknown
//   damaged         (n_ccd,) int32, 0 or more where the image could not be decoded; null where all
//                   could
//   coefficients    (n_ccd, 6) float64, image unit: the background c0 ... c5
//   sigma           (n_ccd,) float64, image unit; NaN without a background
//   brightest       (n_ccd, rows, columns) float64, image unit: v of each tile's brightest pixel
//   threshold       float64, sigma: height of a maximum
//   tile            int32, pixels: side of a tile, at most 32
//   rows            int32, number of whole tiles along y
//   columns         int32, number of whole tiles along x
//   ny              int32, pixels: rows of a CCD
//   nx              int32, pixels: columns of a CCD
//   value           out, (n_ccd, rows columns, 4) float64, image unit: v, or UNFIT
//   pixel           out, (n_ccd, rows columns, 4) int32, y nx + x, or -1
//
// Launch     grid (ceil(rows columns / 8), n_ccd), block (32, 8). A warp takes a tile, a lane a
//            column of it, so that rows are read side by side. Most tiles have no bright pixel,
//            and end with one comparison.
// Bytes      8 for each tile; 4 for each pixel of bright tiles and 1 of its mask; 48 written for
//            each tile.
extern "C" __global__ void __launch_bounds__(256)
    repeats_maxima(const float* images, OPTIONAL const unsigned char* bad, const float* saturation,
                   OPTIONAL const int* damaged, const double* coefficients, const double* sigma,
                   const double* brightest, double threshold, int tile, int rows, int columns,
                   int ny, int nx, double* value, int* pixel) {
    const int lane = threadIdx.x, ccd = blockIdx.y, tile_number = blockIdx.x * WARPS + threadIdx.y;
    if (tile_number >= rows * columns) return;
    const long long at = (long long)ccd * rows * columns + tile_number;
    double* values = value + MAXIMA_A_TILE * at;
    int* pixels = pixel + MAXIMA_A_TILE * at;
    const double limit = threshold * sigma[ccd], level = widen(saturation[ccd]);
    const bool lost = damaged != nullptr && damaged[ccd] >= 0;
    int n = 0;
    if (!lost && brightest[at] > limit) {
        const long long first = (long long)ccd * ny * nx;
        const float* plane = images + first;
        const unsigned char* mask = bad == nullptr ? nullptr : bad + first;
        const double* c = coefficients + 6 * ccd;
        const int y0 = tile_number / columns * tile, x = tile_number % columns * tile + lane;
        const bool inside = lane < tile && x >= MAXIMUM_REACH && x < nx - MAXIMUM_REACH;
        const int end = min(y0 + tile, ny - MAXIMUM_REACH);
        for (int y = max(y0, MAXIMUM_REACH); y < end && n < MAXIMA_A_TILE; y++) {
            const double v = inside ? height(plane, mask, c, y, x, ny, nx) : UNFIT;
            bool best = v > limit && !(widen(plane[(long long)y * nx + x]) >= level);
            for (int i = y - MAXIMUM_REACH; best && i <= y + MAXIMUM_REACH; i++) {
                for (int j = x - MAXIMUM_REACH; j <= x + MAXIMUM_REACH; j++) {
                    const double other = height(plane, mask, c, i, j, ny, nx);
                    const bool before = i < y || (i == y && j < x);
                    if (other > v || (other == v && before)) best = false;
                }
            }
            const unsigned lanes = __ballot_sync(WHOLE_WARP, best);
            const int place = n + __popc(lanes & ((1u << lane) - 1u));
            if (best && place < MAXIMA_A_TILE) values[place] = v, pixels[place] = y * nx + x;
            n += __popc(lanes);
        }
    }
    if (lane >= n && lane < MAXIMA_A_TILE) values[lane] = UNFIT, pixels[lane] = -1;
}

// The brightest maxima of each CCD, of equal ones the first in (y, x) order.
//
// Arguments
//   n_slots     int32, number of slots of a CCD: four for each tile
//   value       in and out, (n_ccd, n_slots) float64, image unit: as repeats_maxima leaves it; the
//               maxima are put side by side
//   pixel       in and out, (n_ccd, n_slots) int32, y nx + x, alike
//   listed      out, (n_ccd, 1024) int32, y nx + x: the first n_maxima[ccd] count
//   n_maxima    out, (n_ccd,) int64, number of maxima
//
// Launch     grid (n_ccd), block (1024). A block takes a CCD, so that the maxima can be put side
//            by side without a second pass; where there are too many, each thread counts how many
//            are brighter than its own.
// Bytes      12 read for each slot, 12 written for each maximum, and 4 for those that are listed.
extern "C" __global__ void __launch_bounds__(1024, 1)
    repeats_list(int n_slots, double* value, int* pixel, int* listed, long long* n_maxima) {
    __shared__ int scratch[WARP], pixels[CHOOSERS];
    __shared__ double values[CHOOSERS];
    const int ccd = blockIdx.x;
    const long long first = (long long)ccd * n_slots;
    int* list = listed + ccd * MAXIMA_A_CCD;
    int n = 0;
    for (int start = 0; start < n_slots; start += CHOOSERS) {
        const int slot = start + threadIdx.x;
        const int place = slot < n_slots ? pixel[first + slot] : -1;
        const double v = slot < n_slots ? value[first + slot] : 0.0;
        int total;
        // All threads have read before the barrier in it, and no slot moves to a later place.
        const int rank = block_rank(place != -1, scratch, &total);
        if (place != -1) value[first + n + rank] = v, pixel[first + n + rank] = place;
        n += total;
    }
    __syncthreads();
    for (int start = 0; start < n; start += CHOOSERS) {
        const int slot = min(start + (int)threadIdx.x, n - 1);
        const double v = value[first + slot];
        const int place = pixel[first + slot];
        const int rank = n > MAXIMA_A_CCD ? block_brighter(value + first, pixel + first, n, v,
                                                           place, values, pixels)
                                          : slot;
        if (start + (int)threadIdx.x < n && rank < MAXIMA_A_CCD) list[rank] = place;
    }
    if (threadIdx.x == 0) n_maxima[ccd] = min(n, MAXIMA_A_CCD);
}

// The histogram of the differences of positions, added over the CCDs.
//
// Arguments
//   listed      (n_ccd, 1024) int32, y nx + x: as repeats_list leaves it
//   n_maxima    (n_ccd,) int64, number of maxima of each CCD
//   turns       (n_ccd,) int64, Turn of each CCD
//   nx          int32, pixels: columns of a CCD
//   pairs       in and out, (144, 256) int32, number of pairs: these are added
//
// Launch     grid (blocks, n_ccd), block (256). The positions of a CCD lie in shared memory (8
//            KiB); a block takes every blocks-th of them, and its threads the others.
// Bytes      4 for each maximum, once for each block; 4 read and written for each pair within 256
//            pixels.
extern "C" __global__ void __launch_bounds__(256)
    repeats_pairs(const int* listed, const long long* n_maxima, const long long* turns, int nx,
                  int* pairs) {
    __shared__ int ys[MAXIMA_A_CCD], xs[MAXIMA_A_CCD];
    const int ccd = blockIdx.y, n = (int)n_maxima[ccd], turn = (int)turns[ccd];
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const int place = listed[ccd * MAXIMA_A_CCD + i];
        const int y = place / nx, x = place % nx;
        // A mirrored CCD has its y turned round, and then a quarter turn brings x to y.
        const int up = (turn & MIRRORED) != 0 ? -y : y;
        ys[i] = (turn & QUARTER) != 0 ? x : up;
        xs[i] = (turn & QUARTER) != 0 ? -up : x;
    }
    __syncthreads();
    for (int i = blockIdx.x; i < n; i += gridDim.x) {
        for (int j = threadIdx.x; j < n; j += blockDim.x) {
            if (j == i) continue;
            const int dy = ys[j] - ys[i] + PAIR_BACK, dx = xs[j] - xs[i] + PAIR_REACH;
            if (dy < 0 || dy > PAIR_BACK + PAIR_REACH - 1 || dx < 0 || dx > 2 * PAIR_REACH - 1)
                continue;
            atomicAdd(pairs + dy / PAIR_BIN * PAIR_COLUMNS + dx / PAIR_BIN, 1);
        }
    }
}
