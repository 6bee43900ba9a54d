// Finds the candidates for sources (METHOD.md 2).
//
// Formula    v = float64(I) - b(x, y), b being the background. A source is the brightest usable
//            pixel of its stamp, so it is also the brightest of the tile in which it lies, whose
//            side is half a stamp's. Of equal v the first in (y, x) order counts as the brightest.
// Precision  v and every comparison of v in float64, in the CPU's order of operations, no FMA. A
//            pixel is first compared as float32, by its bits, which -ftz cannot change, with the
//            lowest value that could reach the threshold anywhere in its tile. v is computed for
//            the few pixels that pass.
// Edges      In tiles that the edge of the CCD cuts off, only bad and saturated pixels are
//            counted: no stamp centred there fits on the CCD. Unusable pixels (NaN, infinite,
//            masked) are never candidates. A CCD without a background has no candidates. No result
//            depends on the order of threads or blocks: the only atomics add integers.
// Parity     Exact for an equal background.
// Twin       gpuanom/backends/cpu/sources.py
// Test       tests/steps/test_sources.py
#include "common.cuh"

constexpr int TILES_A_BLOCK = 24, ROWS_AT_ONCE = 8, MAX_TILE = 32,
              TILES_A_WARP = TILES_A_BLOCK / ROWS_AT_ONCE;
constexpr int TOGETHER = 4;                                     // requests of a warp at a time
constexpr int LOWEST = (int)0x807fffffu, HIGHEST = 0x7f800000;  // sort_key() of the infinities

// The number of a sort_key().
__device__ __forceinline__ float of_key(int key) {
    return __int_as_float(key ^ ((key >> 31) & 0x7fffffff));
}

// The lowest sort_key that a pixel of the tile at (y0, x0) must exceed for v > limit. Within a
// tile the background departs from the plane through the corners by at most |c3| hx^2 + |c5| hy^2,
// where h is half the tile's side in scaled units. 1e-12 of the sum of the coefficients covers
// rounding, and the float32 number is then lowered by one step, below every rounding of the sum.
__device__ __forceinline__ int least_key(const double* c, double limit, int y0, int x0, int tile,
                                         int ny, int nx) {
    const int lane = threadIdx.x;
    const double hy = (double)(tile - 1) / (double)(ny - 1),
                 hx = (double)(tile - 1) / (double)(nx - 1);
    double corner = polynomial(c, scaled(y0 + (lane & 1) * (tile - 1), ny),
                               scaled(x0 + (lane >> 1 & 1) * (tile - 1), nx));
    for (int step = 1; step <= 2; step *= 2)
        corner = fmin(corner, __shfl_xor_sync(WHOLE_WARP, corner, step));
    double size = 0.0;
    for (int i = 0; i < 6; i++) size += fabs(c[i]);
    const double slack = fabs(c[3]) * hx * hx + fabs(c[5]) * hy * hy + 1e-12 * size;
    return max(sort_key(narrow(corner - slack + limit)) - 1, sort_key(MINUS_INFINITY));
}

// The brightest pixel of each whole tile, if it is above the threshold, and the counts of bad and
// saturated pixels, in one pass over the pixels.
//
// Arguments
//   images          (n_ccd, ny, nx) float32, image unit
//   bad             (n_ccd, ny, nx) uint8, bits of Unfit; null where nothing is masked
//   saturation      (n_ccd,) float32, image unit; NaN where unknown
//   coefficients    (n_ccd, 6) float64, image unit: the background c0 ... c5
//   sigma           (n_ccd,) float64, image unit
//   usable          (n_ccd,) bool, whether the CCD has a background
//   threshold       float64, sigma: least height of a pixel that is looked for
//   tile            int32, pixels: side of a tile, 2 to 32
//   ny              int32, pixels: rows of a CCD
//   nx              int32, pixels: columns of a CCD
//   value           out, (n_ccd, ny / tile, nx / tile) float64, image unit: v, or UNFIT where no
//                   pixel is above the threshold
//   pixel           out, (n_ccd, ny / tile, nx / tile) int32, y nx + x, or -1 where there is none
//   n_bad           in and out, (n_ccd,) int64, number of pixels: this CCD's are added
//   n_saturated     in and out, (n_ccd,) int64, number of pixels: this CCD's are added
//
// Launch     grid (ceil(ceil(nx / tile) / 24), ceil(ny / tile), n_ccd), block (32, 8). A block
//            takes 24 tiles side by side, 8 rows at a time through shared memory (24 KiB). So a
//            warp reads one row of 768 pixels in whole sectors, and only 1% of what is read where
//            rows are misaligned is read twice, instead of 25%. Requests without a pixel of
//            interest, which are most, stay out of shared memory. Then lane i of a warp has column
//            i of three tiles; more tiles would cost registers. One warp writes the results, side
//            by side.
// Bytes      4 read for each pixel, once, and 1 of its mask; 12 written for each tile.
extern "C" __global__ void __launch_bounds__(256)
    sources_tiles(const float* images, OPTIONAL const unsigned char* bad, const float* saturation,
                  const double* coefficients, const double* sigma, const bool* usable,
                  double threshold, int tile, int ny, int nx, double* value, int* pixel,
                  long long* n_bad, long long* n_saturated) {
    // As sort_key(), so that a key is made once for each pixel.
    __shared__ int staged[ROWS_AT_ONCE][TILES_A_BLOCK * MAX_TILE];
    __shared__ double c[6], limit, brightest[TILES_A_BLOCK];
    __shared__ int full, counts[2][ROWS_AT_ONCE], place[TILES_A_BLOCK], least[WARP];
    // Which requests of each row were staged, and by how many pixels the first one began before
    // the block's columns. The Y of the block's rows.
    __shared__ unsigned noted[ROWS_AT_ONCE];
    __shared__ int leads[ROWS_AT_ONCE];
    __shared__ double Y_of[MAX_TILE];
    const int lane = threadIdx.x, warp = threadIdx.y, ccd = blockIdx.z;
    const int x0 = blockIdx.x * TILES_A_BLOCK * tile, y0 = blockIdx.y * tile;
    const int width = min(TILES_A_BLOCK * tile, nx - x0), height = min(tile, ny - y0);
    // Read once by the block: if each warp asked, each would move a sector more.
    if (warp == 0 && lane < 6) c[lane] = coefficients[6 * ccd + lane];
    if (warp == 1 && lane == 0) {
        limit = usable[ccd] ? threshold * sigma[ccd] : nan("");
        const float level = saturation[ccd];
        // -0 equals +0, and every comparison with NaN is false. Every finite pixel is above
        // -infinity: the lowest of their keys, since others are counted from it below.
        full = level != level                        ? 0x7fffffff
               : (__float_as_uint(level) << 1) == 0u ? -1
                                                     : max(sort_key(level), LOWEST + 1);
    }
    if (warp == 2) Y_of[lane] = scaled(y0 + lane, ny), least[lane] = 0x7fffffff;
    __syncthreads();

    int best_pixel[TILES_A_WARP];
    double best[TILES_A_WARP];
    for (int k = 0; k < TILES_A_WARP; k++) {
        best[k] = UNFIT, best_pixel[k] = -1;
        const int tile_number = warp + k * ROWS_AT_ONCE, left = x0 + tile_number * tile;
        const bool whole = limit == limit && height == tile && left + tile <= nx;
        const int key = whole ? least_key(c, limit, y0, left, tile, ny, nx) : 0x7fffffff;
        if (lane == 0) least[tile_number] = key;
    }
    __syncthreads();
    // Most requests have no pixel of interest: none above the lowest of the tiles' levels, none
    // saturated, infinite or NaN. One comparison tells, of keys counted from the lowest finite
    // one, so that those below are the highest.
    int level = least[lane];
    for (int step = WARP / 2; step > 0; step /= 2)
        level = min(level, __shfl_xor_sync(WHOLE_WARP, level, step));
    level = min(min(full, HIGHEST), level == 0x7fffffff ? HIGHEST : level + 1);
    const unsigned lowest = (unsigned)LOWEST + 1u, of_interest = (unsigned)level - lowest;
    int spoilt = 0, saturated = 0;
    for (int row0 = 0; row0 < height; row0 += ROWS_AT_ONCE) {
        unsigned staged_requests = 0u;
        if (row0 + warp < height) {
            // The walk described in common.cuh, but counted from the first pixel with ints, which
            // take half the registers.
            const long long first = ((long long)ccd * ny + y0 + row0 + warp) * nx + x0;
            const float* pixels = images + first;
            const unsigned char* plane = bad == nullptr ? nullptr : bad + first;
            int base = (int)(whole_sectors(first) - first);
            const int lead = -base;
            if (lane == 0) leads[warp] = lead;
            const auto keep = [&](int column, int key, unsigned bits) {
                // Of a NaN, too, the key lies beyond those of the infinities.
                const bool finite = key > LOWEST && key < HIGHEST;
                spoilt += !finite | (bits != 0u);
                saturated += finite & (key >= full);
                staged[warp][column] = finite && (bits & UNFIT_SOURCES) == 0u ? key : LOWEST;
            };
            // A request that may leave the block's columns.
            const auto edge = [&]() {
                const int column = base + lane;
                const bool inside = column >= 0 && column < width;
                const int key = inside ? sort_key(pixels[column]) : LOWEST + 1;
                const unsigned bits = inside && plane != nullptr ? plane[column] : 0u;
                if (__any_sync(WHOLE_WARP, (unsigned)key - lowest >= of_interest || bits != 0u)) {
                    if (inside) keep(column, key, bits);
                    staged_requests |= 1u << (base + lead) / WARP;
                }
                base += WARP;
            };
            if (base < 0) edge();
            // All requests of a turn are made before the first one is waited for.
#pragma unroll 1
            for (; base + TOGETHER * WARP <= width; base += TOGETHER * WARP) {
                int keys[TOGETHER];
                unsigned bits[TOGETHER], highest = 0u, any_bits = 0u;
#pragma unroll
                for (int k = 0; k < TOGETHER; k++) {
                    const int column = base + k * WARP + lane;
                    keys[k] = __float_as_int(pixels[column]);
                    bits[k] = plane == nullptr ? 0u : plane[column];
                }
#pragma unroll
                for (int k = 0; k < TOGETHER; k++) {
                    keys[k] = sort_key(__int_as_float(keys[k]));
                    highest = max(highest, (unsigned)keys[k] - lowest);
                    any_bits |= bits[k];
                }
                if (!__any_sync(WHOLE_WARP, highest >= of_interest || any_bits != 0u)) continue;
#pragma unroll
                for (int k = 0; k < TOGETHER; k++) keep(base + k * WARP + lane, keys[k], bits[k]);
                staged_requests |= ((1u << TOGETHER) - 1u) << (base + lead) / WARP;
            }
#pragma unroll 1
            while (base < width) edge();
        }
        if (lane == 0) noted[warp] = staged_requests;
        __syncthreads();
        for (int k = 0; k < TILES_A_WARP; k++) {
            const int tile_number = warp + k * ROWS_AT_ONCE, left = tile_number * tile,
                      key = least[tile_number];
            if (key == 0x7fffffff) continue;
            // Lane i finds out whether anything was staged of the tile's pixels in row i.
            const int i = lane % ROWS_AT_ONCE;
            const int from = (left + leads[i]) / WARP, to = (left + tile - 1 + leads[i]) / WARP;
            const bool found = lane < ROWS_AT_ONCE && (noted[i] & (1u << from | 1u << to)) != 0u;
            unsigned rows = __ballot_sync(WHOLE_WARP, found);
            for (; rows != 0u; rows &= rows - 1u) {
                const int row = __ffs((int)rows) - 1, column = left + lane;
                if (lane >= tile || (noted[row] >> (column + leads[row]) / WARP & 1u) == 0u)
                    continue;
                const int seen = staged[row][column];
                if (seen <= key) continue;
                const int y = y0 + row0 + row, x = x0 + column;
                const double v =
                    widen_finite(of_key(seen)) - polynomial(c, Y_of[row0 + row], scaled(x, nx));
                // Rows come in order, so of equal v the first stays.
                if (v > best[k]) best[k] = v, best_pixel[k] = y * nx + x;
            }
        }
        __syncthreads();
    }
    for (int k = 0; k < TILES_A_WARP; k++) {
        for (int step = WARP / 2; step > 0; step /= 2) {
            const double other = __shfl_xor_sync(WHOLE_WARP, best[k], step);
            const int other_pixel = __shfl_xor_sync(WHOLE_WARP, best_pixel[k], step);
            if (other > best[k] || (other == best[k] && other_pixel < best_pixel[k])) {
                best[k] = other, best_pixel[k] = other_pixel;
            }
        }
        const bool above = best[k] > limit;
        if (lane == 0) brightest[warp + k * ROWS_AT_ONCE] = above ? best[k] : UNFIT;
        if (lane == 0) place[warp + k * ROWS_AT_ONCE] = above ? best_pixel[k] : -1;
    }
    spoilt = warp_sum(spoilt);
    saturated = warp_sum(saturated);
    if (lane == 0) counts[0][warp] = spoilt, counts[1][warp] = saturated;
    __syncthreads();
    if (warp == 0 && lane < 2) {
        int sum = 0;
        for (int i = 0; i < ROWS_AT_ONCE; i++) sum += counts[lane][i];
        if (sum > 0) add_to((lane == 0 ? n_bad : n_saturated) + ccd, sum);
    }
    const int columns = nx / tile, column = blockIdx.x * TILES_A_BLOCK + lane;
    if (warp == 1 && lane < TILES_A_BLOCK && column < columns && (int)blockIdx.y < ny / tile) {
        const long long slot = ((long long)ccd * (ny / tile) + blockIdx.y) * columns + column;
        value[slot] = brightest[lane];
        pixel[slot] = place[lane];
    }
}

// Whether the brightest pixel of one of the eight tiles around tile (row, column) lies in the
// stamp of this tile's brightest pixel and is brighter. Most stamps that would fail the check in
// moments_check are left out here, which is cheaper.
__device__ bool outshone(const double* value, const int* pixel, int row, int column, int rows,
                         int columns, int half, int nx) {
    const int this_tile = row * columns + column, y = pixel[this_tile] / nx,
              x = pixel[this_tile] % nx;
    for (int i = max(0, row - 1); i <= min(rows - 1, row + 1); i++) {
        for (int j = max(0, column - 1); j <= min(columns - 1, column + 1); j++) {
            const int other = i * columns + j;
            if (other == this_tile || pixel[other] < 0) continue;
            const int dy = pixel[other] / nx - y, dx = pixel[other] % nx - x;
            if (dy < -half || dy >= half || dx < -half || dx >= half) continue;
            if (value[other] > value[this_tile] ||
                (value[other] == value[this_tile] && pixel[other] < pixel[this_tile]))
                return true;
        }
    }
    return false;
}

// The list of candidates, in the order of the tiles: pixels whose stamp lies on the CCD, and that
// no brighter pixel of a neighbouring tile outshines within that stamp.
//
// Arguments
//   value       (n_ccd, rows, columns) float64, image unit: as sources_tiles leaves it
//   pixel       (n_ccd, rows, columns) int32, y nx + x: as sources_tiles leaves it
//   sigma       (n_ccd,) float64, image unit; NaN without a background
//   threshold   float64, sigma: least height of a source
//   rows        int32, number of whole tiles along y
//   columns     int32, number of whole tiles along x
//   half        int32, pixels: half a stamp's side
//   ny          int32, pixels: rows of a CCD
//   nx          int32, pixels: columns of a CCD
//   listed      out, (n_ccd, rows columns) int32, y nx + x: the first n_listed[ccd] count
//   n_listed    out, (n_ccd,) int32, number of candidates
//
// Launch     grid (n_ccd), block (1024). A block takes a CCD, so the order of the list needs no
//            second pass; there is one tile for a thousand pixels.
// Bytes      12 read for each tile, and those of a candidate's neighbours again, from the cache; 4
//            written for each candidate.
extern "C" __global__ void __launch_bounds__(1024)
    sources_list(const double* value, const int* pixel, const double* sigma, double threshold,
                 int rows, int columns, int half, int ny, int nx, int* listed, int* n_listed) {
    __shared__ int scratch[WARP];
    const long long first = (long long)blockIdx.x * rows * columns;
    value += first, pixel += first, listed += first;
    int n = 0;
    for (int start = 0; start < rows * columns; start += blockDim.x) {
        const int tile = start + threadIdx.x;
        bool chosen = false;
        // The limit is computed again: two registers more in the loop would spill on some cards.
        if (tile < rows * columns && value[tile] > threshold * sigma[blockIdx.x]) {
            const int y = pixel[tile] / nx, x = pixel[tile] % nx;
            chosen =
                y >= half && y <= ny - half && x >= half && x <= nx - half &&
                !outshone(value, pixel, tile / columns, tile % columns, rows, columns, half, nx);
        }
        int total;
        const int rank = block_rank(chosen, scratch, &total);
        if (chosen) listed[n + rank] = pixel[tile];
        n += total;
    }
    if (threadIdx.x == 0) n_listed[blockIdx.x] = n;
}
