// The stamp check of each candidate and, the stamp at hand, both sets of moments of those that are sources (METHOD.md 2, 3
// and 3b).
//
// Formula    brightest: no usable pixel of the stamp has a larger v, nor an equal one earlier in (y, x) order;
//            Q_ij = sum v x^i y^j over v > I0 = moment_fraction * v_centre, (x, y) from the centre, i + j = 2;
//            the same over the pixels 4-connected to the centre through v > max(I0, isophote_threshold * sigma).
// Twin       gpuanom/cpu/moments.py. Test: tests/steps/test_moments.py. Parity: counts exact; moments rounded, 1e-12 of
//            the sum of their terms' magnitudes: the order of the float64 sums differs.
// Precision  v, comparisons and sums in float64, v in the twin's order of operations, no FMA (common.cuh). Sums run in an
//            order fixed by the launch geometry: the same bits in every run and for every batch.
// Edges      The stamps lie on the CCD (sources_list sees to it). Unusable pixels are below every threshold.
#include "common.cuh"

constexpr int WARPS = 8, MAX_STAMP = 64;

typedef unsigned long long RowMask;  // bit i is column i of a stamp's row

// The pixels 4-connected to (row, column) through allowed ones, by the first warp: a lane keeps rows 2 lane and
// 2 lane + 1, and growth goes on until no row changes.
__device__ __forceinline__ void grow(RowMask* rows, int row, int column) {
    const int lane = threadIdx.x;
    const RowMask may[2] = {rows[2 * lane], rows[2 * lane + 1]};
    RowMask grown[2];
    for (int k = 0; k < 2; k++) grown[k] = 2 * lane + k == row ? may[k] & (1ull << column) : 0ull;
    bool changed = true;
    while (__ballot_sync(WHOLE_WARP, changed) != 0u) {
        RowMask above = __shfl_up_sync(WHOLE_WARP, grown[1], 1), below = __shfl_down_sync(WHOLE_WARP, grown[0], 1);
        if (lane == 0) above = 0ull;
        if (lane == WARP - 1) below = 0ull;
        changed = false;
        for (int k = 0; k < 2; k++) {
            const RowMask old = grown[k];
            RowMask now = old | old << 1 | old >> 1 | (k == 0 ? above | grown[1] : grown[0] | below);
            now &= may[k];
            // A set bit climbs its run of allowed bits by the carry of one addition.
            now |= may[k] & ~(may[k] + now);
            grown[k] = now;
            changed = changed || now != old;
        }
    }
    rows[2 * lane] = grown[0], rows[2 * lane + 1] = grown[1];
}

// The second moments of v over the chosen pixels of the stamp: sums[0 ... 2] are Q20, Q02, Q11, for every thread.
__device__ __forceinline__ void second_moments(const double (*v)[MAX_STAMP], const RowMask* chosen, int size,
                                               double* scratch, double* sums) {
    const int half = size / 2;
    double own[3] = {0.0, 0.0, 0.0};
    for (int row = threadIdx.y; row < size; row += WARPS) {
        const double y = (double)(row - half);
        for (int column = threadIdx.x; column < size; column += WARP) {
            if ((chosen[row] >> column & 1ull) == 0ull) continue;
            const double x = (double)(column - half);
            own[0] += v[row][column] * (x * x);
            own[1] += v[row][column] * (y * y);
            own[2] += v[row][column] * (x * y);
        }
    }
    for (int j = 0; j < 3; j++) {
        own[j] = warp_sum(own[j]);
        if (threadIdx.x == 0) scratch[j * WARPS + threadIdx.y] = own[j];
    }
    __syncthreads();
    for (int j = 0; j < 3; j++) {
        sums[j] = 0.0;
        for (int warp = 0; warp < WARPS; warp++) sums[j] += scratch[j * WARPS + warp];
    }
}

// images                  (n_ccd, ny, nx), image unit; bad: the same, Unfit bits, or null
// coefficients, sigma     (n_ccd, 6) and (n_ccd,), image unit
// listed, n_listed        (n_ccd, n_slots) and (n_ccd,): candidates y * nx + x, from sources_list
// n_slots                 slots of a CCD
// size                    side of a stamp, pixels, even, at most 64
// above_threshold, isophote_threshold   sigma; above_pixels: a source has more pixels than this above the first
// moment_fraction         I0 as a share of v_centre
// y, x, value, n_above, moments (3 each), isophote_moments (3 each), n_isophote
//                         out, (n_ccd, n_slots): slot i is written where candidate i is a source, and left as it is
//                         elsewhere; pixels, image unit, and image unit x pixel^2
// n_sources               in and out, (n_ccd,): the CCD's sources are added
//
// Launch   grid (blocks, n_ccd), block (32, 8). A block takes every blocks-th candidate of its CCD: how many there are is
//          known on the device alone. The stamp's v are computed once, as the pixels come in, and stay in shared memory (32
//          KiB) from the check to the last sum: in registers they would halve the number of blocks at work. Row masks come
//          from ballots; the isophote is grown by one warp, its 64 rows in registers, without barriers.
// Bytes    4 a pixel of a stamp, once, and 1 of its mask; in whole sectors (see whole_sectors); 96 a source written.
extern "C" __global__ void __launch_bounds__(256)
moments_check(const float* images, const unsigned char* OPTIONAL bad, const double* coefficients, const double* sigma,
              const int* listed, const int* n_listed, int n_slots, int ny, int nx, int size, double above_threshold,
              int above_pixels, double moment_fraction, double isophote_threshold, long long* y, long long* x,
              double* value, long long* n_above, double* moments, double* isophote_moments, long long* n_isophote,
              unsigned long long* n_sources) {
    __shared__ double v[MAX_STAMP][MAX_STAMP], X[MAX_STAMP], Y[MAX_STAMP], scratch[2][3 * WARPS];
    __shared__ RowMask over[MAX_STAMP], isophote[MAX_STAMP];
    __shared__ double c[6], noise;
    __shared__ int n_candidates, counts[WARPS];
    const int lane = threadIdx.x, warp = threadIdx.y, ccd = blockIdx.y, half = size / 2;
    // Read once a block, and not by each warp.
    if (warp == 0 && lane < 6) c[lane] = coefficients[6 * ccd + lane];
    if (warp == 1 && lane == 0) noise = sigma[ccd], n_candidates = n_listed[ccd];
    __syncthreads();
    const double above = above_threshold * noise, lowest = isophote_threshold * noise;

    for (int candidate = blockIdx.x; candidate < n_candidates; candidate += gridDim.x) {
        const long long slot = (long long)ccd * n_slots + candidate;
        const int cy = listed[slot] / nx, cx = listed[slot] % nx;
        // Divisions are dear: one for each row and column, not for each pixel.
        const int i = (warp * WARP + lane) % MAX_STAMP;
        if (warp < 2) X[i] = scaled(cx - half + i, nx);
        if (warp >= 6) Y[i] = scaled(cy - half + i, ny);
        __syncthreads();
        int n = 0;
        for (int row = warp; row < size; row += WARPS) {
            const int at_y = cy - half + row, x0 = cx - half;
            const long long first = ((long long)ccd * ny + at_y) * nx + x0, last = first + size - 1;
            for (long long base = whole_sectors(first); base <= last; base += WARP) {
                const long long e = base + lane, at = within(e, first, last);
                const float seen = images[at];
                const bool good = is_usable(seen, bad, at, UNFIT_SOURCES);
                const int own = e == at, column = (int)(at - first);
                const double height = good ? widen(seen) - polynomial(c, Y[row], X[column]) : UNFIT;
                n += own & (height > above);
                if (own) v[row][column] = height;
            }
        }
        __syncthreads();
        const double centre = v[half][half], least = moment_fraction * centre;
        bool outshone = false;
        for (int row = warp; row < MAX_STAMP; row += WARPS) {
            RowMask in_moments = 0ull, in_isophote = 0ull;
            for (int k = 0; k < 2; k++) {
                const int column = lane + k * WARP;
                const double seen = row < size && column < size ? v[row][column] : UNFIT;
                const bool before = row < half || (row == half && column < half);
                outshone = outshone || seen > centre || (seen == centre && before);
                in_moments |= (RowMask)__ballot_sync(WHOLE_WARP, seen > least) << (k * WARP);
                in_isophote |= (RowMask)__ballot_sync(WHOLE_WARP, seen > least && seen > lowest) << (k * WARP);
            }
            if (lane == 0) over[row] = in_moments, isophote[row] = in_isophote;
        }
        n = warp_sum(n);
        if (lane == 0) counts[warp] = n;
        // Also the barrier after which masks and counts are complete.
        if (__syncthreads_or(outshone)) continue;
        n = 0;
        for (int i = 0; i < WARPS; i++) n += counts[i];
        if (n <= above_pixels) continue;
        if (warp == 0) grow(isophote, half, half);
        double sums[3], isophote_sums[3];
        // The barrier in the first call also makes the grown rows visible.
        second_moments(v, over, size, scratch[0], sums);
        second_moments(v, isophote, size, scratch[1], isophote_sums);
        // Nobody may fill v with the next stamp before all have done with this one; the barrier in the second call says so.
        if (warp == 0 && lane == 0) {
            int n_connected = 0;
            for (int row = 0; row < size; row++) n_connected += __popcll(isophote[row]);
            y[slot] = cy, x[slot] = cx, value[slot] = centre, n_above[slot] = n, n_isophote[slot] = n_connected;
            for (int j = 0; j < 3; j++) {
                moments[3 * slot + j] = sums[j], isophote_moments[3 * slot + j] = isophote_sums[j];
            }
            atomicAdd(n_sources + ccd, 1ull);  // whole numbers: the same in any order
        }
    }
}
