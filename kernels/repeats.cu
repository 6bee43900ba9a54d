// Counts the differences of the positions of bright maxima within each CCD (METHOD.md 11).
//
// Formula    A maximum is a usable pixel with v = I - b > 8 sigma, not saturated, that is the
//            brightest of the 7 x 7 usable pixels around it; of equal ones the first in (y, x)
//            order is the brightest. Of a tile the first four count, of a CCD the brightest 1024.
//            The differences (dy, dx) of all ordered pairs of a CCD, turned into the axes of the
//            focal plane, are counted in bins of 2 x 2 pixels.
// Precision  v and its comparisons in float64, in the CPU's order of operations, no FMA; widen()
//            keeps what -ftz would make 0. Pixels that cannot exceed 8 sigma anywhere in their
//            tile are left out by their bits as float32, which is exact too.
// Edges      A square of 7 x 7 pixels that leaves the CCD makes no maximum, nor does a tile that
//            the edge cuts off. CCDs without a background, or whose image could not be decoded,
//            have none. The only atomics add integers.
// Parity     Exact for an equal background and equal sources.
// Twin       gpuanom/backends/cpu/repeats.py
// Test       tests/steps/test_repeats.py
#include "common.cuh"

constexpr int MAXIMA_A_TILE = 4, MAXIMA_A_CCD = 1024, MAXIMUM_REACH = 3, PAIR_BIN = 2,
              PAIR_REACH = 256, PAIR_BACK = 32, PAIR_ROWS = 144, PAIR_COLUMNS = 256,
              TILES_A_BLOCK = 128, CHOOSERS = 1024, MAX_TILE = 32, ROWS_AT_ONCE = 8, DIGIT = 11,
              BINS = 1 << DIGIT, SQUARE = 2 * MAXIMUM_REACH + 1, WARPS = TILES_A_BLOCK / WARP;

// The bits of gpuanom.records.Turn.
enum Turn : int { QUARTER = 1, MIRRORED = 2 };

// What the height of a pixel of one tile takes. Y and X are the scaled coordinates of the tile's
// rows and columns, and of three more to each side; each costs a division, and is used many times.
struct Tile {
    const float* plane;
    const unsigned char* bad;
    const double *c, *Y, *X;
    int top, left, nx;

    // v of a pixel, or UNFIT where it is unusable.
    __device__ __forceinline__ double height(int y, int x) const {
        const long long at = (long long)y * nx + x;
        const float seen = plane[at];
        if (!is_usable(seen, bad, at, UNFIT_SOURCES)) return UNFIT;
        return widen(seen) - polynomial(c, Y[y - top], X[x - left]);
    }
};

// The scaled coordinates of n pixels from `first`; a warp calls. No part of the kernel, whose
// registers would otherwise be spilled around the divisions.
__device__ __noinline__ void scale(double* to, int first, int n, int size) {
    for (int i = threadIdx.x % WARP; i < n; i += WARP) to[i] = scaled(first + i, size);
}

// By how much the background of a CCD may lie below all four corners of a tile: see least_key() in
// sources.cu.
__device__ double sag(const double* c, int tile, int ny, int nx) {
    const double hy = (double)(tile - 1) / (double)(ny - 1),
                 hx = (double)(tile - 1) / (double)(nx - 1);
    double size = 0.0;
    for (int i = 0; i < 6; i++) size += fabs(c[i]);
    return fabs(c[3]) * hx * hx + fabs(c[5]) * hy * hy + 1e-12 * size;
}

// The sort_key that a pixel of the tile must exceed for v > limit. The whole warp calls, with c, Y
// and X as in Tile.
__device__ __forceinline__ int least_key(const double* c, const double* Y, const double* X,
                                         double slack, double limit, int tile) {
    const int lane = threadIdx.x % WARP;
    double corner = polynomial(c, Y[MAXIMUM_REACH + (lane & 1) * (tile - 1)],
                               X[MAXIMUM_REACH + (lane >> 1 & 1) * (tile - 1)]);
    for (int step = 1; step <= 2; step *= 2)
        corner = fmin(corner, __shfl_xor_sync(WHOLE_WARP, corner, step));
    return max(sort_key(narrow(corner - slack + limit)) - 1, sort_key(MINUS_INFINITY));
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
//   found           out, (n_ccd, rows columns) int32, number of maxima of each tile, at most 4
//   value           out, (n_ccd, rows columns, 4) float64, image unit: v of as many maxima
//   pixel           out, (n_ccd, rows columns, 4) int32, y nx + x of as many maxima
//
// Launch     grid (ceil(rows columns / 128), n_ccd), block (128). Each thread looks at the
//            brightest pixel of one tile; most tiles end there. The warps share the bright tiles
//            of their block, so that no warp waits for a neighbour without work: a lane takes a
//            column, of which eight rows are read at once. A pixel that is not below one of its
//            four neighbours, which is seldom, is compared with its square by the whole warp.
// Bytes      8 for each tile and 4 written; 4 for each pixel of bright tiles, and for the
//            neighbours of bright pixels again, from the cache; 12 written for each maximum.
extern "C" __global__ void __launch_bounds__(128)
    repeats_maxima(const float* images, OPTIONAL const unsigned char* bad, const float* saturation,
                   OPTIONAL const int* damaged, const double* coefficients, const double* sigma,
                   const double* brightest, double threshold, int tile, int rows, int columns,
                   int ny, int nx, int* found, double* value, int* pixel) {
    __shared__ int scratch[WARPS], bright[TILES_A_BLOCK];
    __shared__ double c[6], slack, limit, level, scaled_y[WARPS][MAX_TILE + 2 * MAXIMUM_REACH],
        scaled_x[WARPS][MAX_TILE + 2 * MAXIMUM_REACH];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, ccd = blockIdx.y;
    const int this_tile = blockIdx.x * TILES_A_BLOCK + threadIdx.x, tiles = rows * columns;
    const long long first_tile = (long long)ccd * tiles, first = (long long)ccd * ny * nx;
    const bool lost = damaged != nullptr && damaged[ccd] >= 0;
    const bool chosen =
        this_tile < tiles && !lost && brightest[first_tile + this_tile] > threshold * sigma[ccd];
    if (this_tile < tiles && !chosen) found[first_tile + this_tile] = 0;
    if (threadIdx.x < 6) c[threadIdx.x] = coefficients[6 * ccd + threadIdx.x];
    int n_bright;
    const int rank = block_rank(chosen, scratch, &n_bright);
    if (chosen) bright[rank] = this_tile;
    if (threadIdx.x == 0 && n_bright > 0) {
        slack = sag(c, tile, ny, nx);
        limit = threshold * sigma[ccd], level = widen(saturation[ccd]);
    }
    __syncthreads();

    Tile t = {images + first,
              bad == nullptr ? nullptr : bad + first,
              c,
              scaled_y[warp],
              scaled_x[warp],
              0,
              0,
              nx};
    for (int k = warp; k < n_bright; k += WARPS) {
        const int number = bright[k], y0 = number / columns * tile, x0 = number % columns * tile;
        t.top = y0 - MAXIMUM_REACH, t.left = x0 - MAXIMUM_REACH;
        // A lane may still read Y and X of the tile before: shuffles and ballots do not order
        // memory.
        __syncwarp();
        scale(scaled_y[warp], t.top, tile + 2 * MAXIMUM_REACH, ny);
        scale(scaled_x[warp], t.left, tile + 2 * MAXIMUM_REACH, nx);
        __syncwarp();
        const int key = least_key(c, t.Y, t.X, slack, limit, tile);
        const int column = min(lane, tile - 1), x = x0 + lane;
        unsigned high = 0u;  // a bit for each row in which this lane's pixel may exceed the limit
        for (int row0 = 0; row0 < tile; row0 += ROWS_AT_ONCE) {
            float seen[ROWS_AT_ONCE];
            for (int i = 0; i < ROWS_AT_ONCE; i++) {
                const int y = y0 + min(row0 + i, tile - 1);
                seen[i] = t.plane[(long long)y * nx + x0 + column];
            }
            for (int i = 0; i < ROWS_AT_ONCE; i++)
                if (sort_key(seen[i]) > key) high |= 1u << (row0 + i);
        }
        if (lane >= tile || x < MAXIMUM_REACH || x >= nx - MAXIMUM_REACH) high = 0u;
        unsigned left = high;  // the rows in which any lane has such a pixel
        for (int step = WARP / 2; step > 0; step /= 2)
            left |= __shfl_xor_sync(WHOLE_WARP, left, step);
        double* values = value + MAXIMA_A_TILE * (first_tile + number);
        int* pixels = pixel + MAXIMA_A_TILE * (first_tile + number);
        int n = 0;
        for (; left != 0u && n < MAXIMA_A_TILE; left &= left - 1u) {
            const int row = __ffs((int)left) - 1, y = y0 + row;
            if (row >= tile || y < MAXIMUM_REACH || y >= ny - MAXIMUM_REACH) continue;
            bool best = (high >> row & 1u) != 0u;
            const double v = best ? t.height(y, x) : UNFIT;
            best = best && v > limit && !(widen(t.plane[(long long)y * nx + x]) >= level);
            for (int step = -1; best && step <= 1; step += 2)
                best = !(t.height(y, x + step) > v) && !(t.height(y + step, x) > v);
            unsigned candidates = __ballot_sync(WHOLE_WARP, best);
            for (; candidates != 0u && n < MAXIMA_A_TILE; candidates &= candidates - 1u) {
                const int of = __ffs((int)candidates) - 1;
                const double height = __shfl_sync(WHOLE_WARP, v, of);
                bool beaten = false;
                for (int i = lane; i < SQUARE * SQUARE; i += WARP) {
                    const double other = t.height(y + i / SQUARE - MAXIMUM_REACH,
                                                  x0 + of + i % SQUARE - MAXIMUM_REACH);
                    const bool before = i < SQUARE * SQUARE / 2;
                    beaten = beaten || other > height || (other == height && before);
                }
                if (__ballot_sync(WHOLE_WARP, beaten) != 0u) continue;
                if (lane == 0) values[n] = height, pixels[n] = y * nx + x0 + of;
                n++;
            }
        }
        if (lane == 0) found[first_tile + number] = n;
    }
}

// The sum of the counts of the threads before this thread, in thread order; *total gets the sum of
// all. Block and scratch as for block_sum, but scratch may be used again after a barrier only.
__device__ __forceinline__ int block_before(int count, int* scratch, int* total) {
    const int lane = threadIdx.x % WARP, this_warp = threadIdx.x / WARP;
    int sum = count;
    for (int step = 1; step < WARP; step *= 2) {
        const int other = __shfl_up_sync(WHOLE_WARP, sum, step);
        if (lane >= step) sum += other;
    }
    if (lane == WARP - 1) scratch[this_warp] = sum;
    __syncthreads();
    int before = 0, all = 0;
    for (int warp = 0; warp < (int)blockDim.x / WARP; warp++) {
        if (warp < this_warp) before += scratch[warp];
        all += scratch[warp];
    }
    *total = all;
    return before + sum - count;
}

// What a block shares while it looks for the largest keys.
struct Search {
    int bins[BINS], scratch[WARP], digit, inside, wanted;
};

// A key of which exactly *wanted keys are as large or larger, or more only where keys are equal to
// it; then *wanted becomes the number of equal ones that are among the wanted. There are more keys
// than are wanted, of `bits` bits, key(i) being 0 where entry i of n has none. Eleven bits at a
// time are counted, from the highest, of the keys whose higher bits are known to be those of the
// wanted key; where the last step has fewer bits left, it counts known bits again.
template <class Key>
__device__ unsigned long long least_wanted(Key key, int n, int bits, int* wanted, Search* s) {
    unsigned long long known = 0ULL;
    int above = bits, shift = bits - DIGIT;
    for (;;) {
        for (int bin = threadIdx.x; bin < BINS; bin += CHOOSERS) s->bins[bin] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < n; i += CHOOSERS) {
            const unsigned long long this_key = key(i);
            if (this_key != 0ULL && this_key >> above == known)
                atomicAdd(&s->bins[(int)(this_key >> shift) & (BINS - 1)], 1);
        }
        __syncthreads();
        // Each thread has two bins, and the first thread the highest ones.
        const int high = BINS - 1 - 2 * threadIdx.x, in_high = s->bins[high],
                  in_low = s->bins[high - 1];
        int total;
        const int before = block_before(in_high + in_low, s->scratch, &total);
        const int rest = *wanted - before;
        if (rest > 0 && rest <= in_high) s->digit = high, s->inside = in_high, s->wanted = rest;
        if (rest > in_high && rest <= in_high + in_low)
            s->digit = high - 1, s->inside = in_low, s->wanted = rest - in_high;
        __syncthreads();
        known = known << (above - shift) | (unsigned long long)s->digit;
        *wanted = s->wanted;
        const int inside = s->inside;
        if (shift == 0 || inside == *wanted) return known << shift;
        above = shift, shift = max(shift - DIGIT, 0);
    }
}

// The brightest maxima of each CCD, of equal ones the first in (y, x) order.
//
// Arguments
//   found       (n_ccd, tiles) int32, number of maxima of each tile, at most 4
//   value       (n_ccd, tiles, 4) float64, image unit: v of as many maxima, above 0
//   pixel       (n_ccd, tiles, 4) int32, y nx + x of as many maxima
//   tiles       int32, number of tiles of a CCD
//   listed      out, (n_ccd, 1024) int32, y nx + x in the order of the tiles: the first
//               n_maxima[ccd] count
//   n_maxima    out, (n_ccd,) int64, number of maxima
//
// Launch     grid (n_ccd), block (1024). A block takes a CCD, so that the list needs no second
//            kernel: a thread has some tiles that follow each other, and one sum over the threads
//            before it gives the place of its maxima. Where there are too many, the height of the
//            faintest of the 1024, and the pixel of the last of equal ones, are found first.
// Bytes      4 for each tile, and 4 read and written for each maximum; where there are too many,
//            12 for each maximum in each of some four passes, and 12 more.
extern "C" __global__ void __launch_bounds__(1024, 1)
    repeats_list(const int* found, const double* value, const int* pixel, int tiles, int* listed,
                 long long* n_maxima) {
    __shared__ Search search;
    const int ccd = blockIdx.x, run = (tiles + CHOOSERS - 1) / CHOOSERS;
    const int begin = min(run * (int)threadIdx.x, tiles), end = min(begin + run, tiles);
    found += (long long)ccd * tiles;
    value += (long long)ccd * tiles * MAXIMA_A_TILE,
        pixel += (long long)ccd * tiles * MAXIMA_A_TILE;
    int* list = listed + ccd * MAXIMA_A_CCD;
    int count = 0, n;
    for (int tile = begin; tile < end; tile++) count += found[tile];
    int at = block_before(count, search.scratch, &n);
    unsigned long long faintest = 0ULL;
    int last = 0x7fffffff;
    if (n > MAXIMA_A_CCD) {
        int wanted = MAXIMA_A_CCD;
        // The bits of positive numbers sort as the numbers do.
        const auto height = [&](int i) {
            const bool is_maximum = i % MAXIMA_A_TILE < found[i / MAXIMA_A_TILE];
            return is_maximum ? (unsigned long long)__double_as_longlong(value[i]) : 0ULL;
        };
        const auto place = [&](int i) {
            return height(i) == faintest ? (unsigned long long)(0x7fffffff - pixel[i]) : 0ULL;
        };
        faintest = least_wanted(height, tiles * MAXIMA_A_TILE, 63, &wanted, &search);
        int equal = 0;
        for (int i = threadIdx.x; i < tiles * MAXIMA_A_TILE; i += CHOOSERS)
            equal += height(i) == faintest;
        if (block_sum(equal, search.scratch) > wanted)
            last -= (int)least_wanted(place, tiles * MAXIMA_A_TILE, 31, &wanted, &search);
        count = 0;
        for (int i = MAXIMA_A_TILE * begin; i < MAXIMA_A_TILE * end; i++)
            count += height(i) > faintest || (height(i) == faintest && pixel[i] <= last);
        at = block_before(count, search.scratch, &n);
    }
    for (int tile = begin; tile < end; tile++) {
        for (int i = MAXIMA_A_TILE * tile; i < MAXIMA_A_TILE * tile + found[tile]; i++) {
            const unsigned long long height = __double_as_longlong(value[i]);
            if (height > faintest || (height == faintest && pixel[i] <= last))
                list[at++] = pixel[i];
        }
    }
    if (threadIdx.x == 0) n_maxima[ccd] = n;
}

// The histograms of the differences of positions, added over the CCDs of each exposure.
//
// Arguments
//   listed      (n_ccd, 1024) int32, y nx + x: as repeats_list leaves it
//   n_maxima    (n_ccd,) int64, number of maxima of each CCD
//   of_ccds     (2, n_ccd) int64, Turn of each CCD; number of the exposure of each CCD
//   tile        int32, pixels: side of a tile; no row is further above the rows before it
//   nx          int32, pixels: columns of a CCD
//   pairs       in and out, (n_exposure, 144, 256) int32, number of pairs: these are added
//
// Launch     grid (blocks, n_ccd), block (256). The positions of a CCD lie in shared memory (8
//            KiB); the warps of all blocks share them, and a lane has one of those that follow,
//            until they are too far down the CCD. Each pair is seen once and counted both ways.
// Bytes      4 for each maximum, once for each block; 4 read and written for each pair within 256
//            pixels.
extern "C" __global__ void __launch_bounds__(256)
    repeats_pairs(const int* listed, const long long* n_maxima, const long long* of_ccds, int tile,
                  int nx, int* pairs) {
    __shared__ int ys[MAXIMA_A_CCD], xs[MAXIMA_A_CCD];
    const int ccd = blockIdx.y, n = (int)n_maxima[ccd], turn = (int)of_ccds[ccd];
    pairs += of_ccds[gridDim.y + ccd] * PAIR_ROWS * PAIR_COLUMNS;
    const int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const int place = listed[ccd * MAXIMA_A_CCD + i];
        ys[i] = place / nx, xs[i] = place % nx;
    }
    __syncthreads();
    for (int i = blockIdx.x * warps + threadIdx.x / WARP; i < n; i += gridDim.x * warps) {
        for (int j = i + 1 + lane; j < n && ys[j] - ys[i] <= PAIR_REACH + tile; j += WARP) {
            const int down = ys[j] - ys[i], right = xs[j] - xs[i];
            // A mirrored CCD has its y turned round, and then a quarter turn brings x to y.
            const int up = (turn & MIRRORED) != 0 ? -down : down;
            int dy = (turn & QUARTER) != 0 ? right : up, dx = (turn & QUARTER) != 0 ? -up : right;
            for (int way = 0; way < 2; way++) {
                const int row = dy + PAIR_BACK, column = dx + PAIR_REACH;
                if (row >= 0 && row < PAIR_BACK + PAIR_REACH && column >= 0 &&
                    column < 2 * PAIR_REACH)
                    atomicAdd(pairs + row / PAIR_BIN * PAIR_COLUMNS + column / PAIR_BIN, 1);
                dy = -dy, dx = -dx;
            }
        }
    }
}
