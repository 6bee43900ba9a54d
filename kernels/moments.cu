// Decides which candidates are sources and sums their moments (METHOD.md 2, 3 and 3b).
//
// Formula    A candidate is a source if it is the brightest usable pixel of its stamp (no other
//            has a larger v = I - b, nor an equal one earlier in (y, x) order) and if more than
//            above_pixels pixels of the stamp lie above above_threshold sigma. Q_ij = sum v x^i
//            y^j, i + j = 2, over the pixels with v > I0 = moment_fraction v_centre, (x, y)
//            counted from the centre. The isophote's moments are the same sum over the pixels that
//            are 4-connected to the centre through v > max(I0, isophote_threshold sigma).
// Precision  v, comparisons and sums in float64, no FMA; v has the CPU's order of operations, so
//            its bits too, and widen() keeps what -ftz would make 0. Sums run in an order that the
//            launch fixes: the same bits in every run and for every stack.
// Edges      Stamps lie on the CCD, which sources_list has made sure of. Unusable pixels are below
//            every threshold.
// Parity     Counts are exact. Moments are rounded, 1e-12 of the sum of their terms' magnitudes,
//            since the order of the float64 sums differs.
// Twin       gpuanom/backends/cpu/moments.py
// Test       tests/steps/test_moments.py
#include "common.cuh"

constexpr int WARPS = 8, MAX_STAMP = 64;
constexpr int REQUESTS = 3;  // of a warp for a row of a stamp, in whole sectors

typedef unsigned long long RowMask;  // bit i is column i of a stamp's row

// Finds the pixels that are 4-connected to (row, column) through allowed pixels. The first warp
// calls: a lane keeps rows 2 lane and 2 lane + 1, and the region grows until no row changes.
__device__ __forceinline__ void grow(RowMask* rows, int row, int column) {
    const int lane = threadIdx.x;
    const RowMask may[2] = {rows[2 * lane], rows[2 * lane + 1]};
    RowMask grown[2];
    for (int k = 0; k < 2; k++) grown[k] = 2 * lane + k == row ? may[k] & (1ull << column) : 0ull;
    bool changed = true;
    while (__ballot_sync(WHOLE_WARP, changed) != 0u) {
        RowMask above = __shfl_up_sync(WHOLE_WARP, grown[1], 1),
                below = __shfl_down_sync(WHOLE_WARP, grown[0], 1);
        if (lane == 0) above = 0ull;
        if (lane == WARP - 1) below = 0ull;
        changed = false;
        for (int k = 0; k < 2; k++) {
            const RowMask old = grown[k];
            RowMask now =
                old | old << 1 | old >> 1 | (k == 0 ? above | grown[1] : grown[0] | below);
            now &= may[k];
            // The carry of one addition sets the whole run of allowed bits above a set bit.
            now |= may[k] & ~(may[k] + now);
            grown[k] = now;
            changed = changed || now != old;
        }
    }
    rows[2 * lane] = grown[0], rows[2 * lane + 1] = grown[1];
}

// The second moments of v over the chosen pixels of the stamp. Every thread gets Q20, Q02 and Q11
// in sums[0 ... 2].
__device__ __forceinline__ void second_moments(const double (*v)[MAX_STAMP], const RowMask* chosen,
                                               int size, double* scratch, double* sums) {
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

// The check of each candidate's stamp and, while the stamp is at hand, both sets of moments.
//
// Arguments
//   images                (n_ccd, ny, nx) float32, image unit
//   bad                   (n_ccd, ny, nx) uint8, bits of Unfit; null where nothing is masked
//   coefficients          (n_ccd, 6) float64, image unit: the background c0 ... c5
//   sigma                 (n_ccd,) float64, image unit
//   listed                (n_ccd, n_slots) int32, y nx + x of the candidates of sources_list
//   n_listed              (n_ccd,) int32, number of candidates of each CCD
//   n_slots               int32, number of slots of a CCD
//   ny                    int32, pixels: rows of a CCD
//   nx                    int32, pixels: columns of a CCD
//   size                  int32, pixels: side of a stamp, even, at most 64
//   above_threshold       float64, sigma
//   above_pixels          int32, number of pixels: a source has more above the threshold
//   moment_fraction       float64, no unit: I0 as a share of v_centre
//   isophote_threshold    float64, sigma
//   y                     in and out, (n_ccd, n_slots) int64, pixels: row of the source
//   x                     in and out, (n_ccd, n_slots) int64, pixels: column of the source
//   value                 in and out, (n_ccd, n_slots) float64, image unit: v_centre
//   n_above               in and out, (n_ccd, n_slots) int64, number of pixels above
//   moments               in and out, (n_ccd, n_slots, 3) float64, image unit x pixel^2
//   isophote_moments      in and out, (n_ccd, n_slots, 3) float64, image unit x pixel^2
//   n_isophote            in and out, (n_ccd, n_slots) int64, number of pixels of the isophote
//   n_sources             in and out, (n_ccd,) uint64, number of sources: this CCD's are added
//
// Slot i is written if candidate i is a source, and left as it is otherwise. Moments are in the
// order Q20, Q02, Q11.
//
// Launch     grid (blocks, n_ccd), block (32, 8). A block takes every blocks-th candidate of its
//            CCD, since only the device knows how many there are. The v of a stamp are computed
//            and compared once, as the pixels come in, and stay in shared memory (32 KiB) until
//            the last sum: in registers they would halve the number of blocks at work. One warp
//            grows the isophote, with the 64 rows in its registers, so no barrier is needed.
// Bytes      4 for each pixel of a stamp, once, and 1 for its mask, in whole sectors; 96 written
//            for each source.
extern "C" __global__ void __launch_bounds__(256)
    moments_check(const float* images, OPTIONAL const unsigned char* bad,
                  const double* coefficients, const double* sigma, const int* listed,
                  const int* n_listed, int n_slots, int ny, int nx, int size,
                  double above_threshold, int above_pixels, double moment_fraction,
                  double isophote_threshold, long long* y, long long* x, double* value,
                  long long* n_above, double* moments, double* isophote_moments,
                  long long* n_isophote, unsigned long long* n_sources) {
    __shared__ double v[MAX_STAMP][MAX_STAMP], scratch[2][3 * WARPS];
    // What of the background depends on the row alone, and on the column alone.
    __shared__ double offset[MAX_STAMP], slope[MAX_STAMP], X[MAX_STAMP], bend[MAX_STAMP];
    __shared__ RowMask over[MAX_STAMP], isophote[MAX_STAMP];
    __shared__ double c[6], noise;
    __shared__ int n_candidates, counts[WARPS];
    const int lane = threadIdx.x, warp = threadIdx.y, ccd = blockIdx.y, half = size / 2;
    // Read once by the block, not by each warp.
    if (warp == 0 && lane < 6) c[lane] = coefficients[6 * ccd + lane];
    if (warp == 1 && lane == 0) noise = sigma[ccd], n_candidates = n_listed[ccd];
    __syncthreads();
    const double above = above_threshold * noise, lowest = isophote_threshold * noise;

    for (int candidate = blockIdx.x; candidate < n_candidates; candidate += gridDim.x) {
        const long long slot = (long long)ccd * n_slots + candidate;
        const int cy = listed[slot] / nx, cx = listed[slot] % nx;
        const long long middle = ((long long)ccd * ny + cy) * nx + cx;
        const float peak = images[middle];
        // Divisions are slow: one for each row and column, not one for each pixel.
        const int i = (warp * WARP + lane) % MAX_STAMP;
        if (warp < 2) X[i] = scaled(cx - half + i, nx), bend[i] = c[3] * X[i];
        if (warp >= 6) {
            const double Y = scaled(cy - half + i, ny);
            offset[i] = c[0] + Y * (c[2] + c[5] * Y), slope[i] = c[1] + c[4] * Y;
        }
        __syncthreads();
        // The operations of polynomial(), in their order.
        const double centre =
                         is_usable(peak, bad, middle, UNFIT_SOURCES)
                             ? widen(peak) - (offset[half] + X[half] * (slope[half] + bend[half]))
                             : UNFIT,
                     least = moment_fraction * centre;
        int n = 0;
        bool outshone = false;
        for (int row = warp; row < MAX_STAMP; row += WARPS) {
            RowMask in_moments = 0ull, in_isophote = 0ull;
            if (row < size) {
                const long long first = middle + (long long)(row - half) * nx - half;
                const float* pixels = images + first;
                const unsigned char* plane = bad == nullptr ? nullptr : bad + first;
                // The walk described in common.cuh, counted from the row's first pixel. All pixels
                // are asked for before the first one is used.
                const int lead = (int)(first - whole_sectors(first));
                float seen[REQUESTS];
                bool good[REQUESTS];
#pragma unroll
                for (int k = 0; k < REQUESTS; k++) {
                    const int column = lane + k * WARP - lead;
                    const bool own = column >= 0 && column < size;
                    seen[k] = own ? pixels[column] : MINUS_INFINITY;
                    good[k] = own && (plane == nullptr || (plane[column] & UNFIT_SOURCES) == 0u);
                }
                const double of_row = offset[row], along = slope[row];
#pragma unroll
                for (int k = 0; k < REQUESTS; k++) {
                    const int start = k * WARP - lead, column = lane + start;
                    if (start >= size) break;  // the same for all lanes
                    double height = UNFIT;
                    if (good[k] && is_finite(seen[k])) {
                        height = widen(seen[k]) - (of_row + X[column] * (along + bend[column]));
                    }
                    if (column >= 0 && column < size) v[row][column] = height;
                    n += height > above;
                    const bool before = row < half || (row == half && column < half);
                    outshone = outshone || height > centre || (height == centre && before);
                    const RowMask higher = __ballot_sync(WHOLE_WARP, height > least);
                    const RowMask bright =
                        __ballot_sync(WHOLE_WARP, height > least && height > lowest);
                    // Bit i of the masks is column i.
                    in_moments |= k == 0 ? higher >> lead : higher << start;
                    in_isophote |= k == 0 ? bright >> lead : bright << start;
                }
            }
            if (lane == 0) over[row] = in_moments, isophote[row] = in_isophote;
        }
        n = warp_sum(n);
        if (lane == 0) counts[warp] = n;
        // This is also the barrier after which masks and counts are complete.
        if (__syncthreads_or(outshone)) continue;
        n = 0;
        for (int i = 0; i < WARPS; i++) n += counts[i];
        if (n <= above_pixels) continue;
        if (warp == 0) grow(isophote, half, half);
        double sums[3], isophote_sums[3];
        // The barrier in the first call also makes the grown rows visible.
        second_moments(v, over, size, scratch[0], sums);
        second_moments(v, isophote, size, scratch[1], isophote_sums);
        // No thread may fill v with the next stamp before all threads have done with this one; the
        // barrier in the second call sees to that.
        if (warp == 0 && lane == 0) {
            int n_connected = 0;
            for (int row = 0; row < size; row++) n_connected += __popcll(isophote[row]);
            y[slot] = cy, x[slot] = cx, value[slot] = centre, n_above[slot] = n,
            n_isophote[slot] = n_connected;
            for (int j = 0; j < 3; j++) {
                moments[3 * slot + j] = sums[j], isophote_moments[3 * slot + j] = isophote_sums[j];
            }
            atomicAdd(n_sources + ccd, 1ull);  // whole numbers: the same in any order
        }
    }
}
