// Decides which candidates are sources and sums their moments (METHOD.md 2, 3 and 3b).
//
// Formula    A candidate is a source if it is the brightest usable pixel of its stamp (no other
//            has a larger v = I - b, nor an equal one earlier in (y, x) order) and if more than
//            above_pixels pixels of the stamp lie above above_threshold sigma. Q_ij = sum v x^i
//            y^j, i + j = 2, over the pixels with v > I0 = moment_fraction v_centre, (x, y)
//            counted from the centre. The isophote's moments are the same sum over the pixels that
//            are 4-connected to the centre through v > max(I0, isophote_threshold sigma).
// Precision  v, comparisons and sums in float64; v has the CPU's order of operations without FMA,
//            so its bits too, and widen_finite() keeps what -ftz would make 0. Sums take fma(),
//            and run in an order that the launch fixes: down the columns, then in pairs over
//            them, then over the warps. The bits are the same in every run and for every stack.
// Edges      Stamps lie on the CCD, which sources_list has made sure of. Unusable pixels are below
//            every threshold.
// Parity     Counts are exact. Moments are rounded, 1e-12 of the sum of their terms' magnitudes,
//            since the order of the float64 sums differs.
// Twin       gpuanom/backends/cpu/moments.py
// Test       tests/steps/test_moments.py
#include "common.cuh"

constexpr int WARPS = 8, MAX_STAMP = 64;
constexpr int SECTOR = 8;  // pixels

typedef unsigned long long RowMask;  // bit i is column i of a stamp's row

// What of the background depends on the row alone, and on the column alone.
struct alignas(16) OfRow {
    double offset, slope;
};
struct alignas(16) OfColumn {
    double X, bend;
};

// Of which height pixels count: for the moments, and for the isophote.
struct alignas(16) Levels {
    double least, bright;
};

// What the threads of a block share of a stamp; levels and v of the centre for each warp.
struct Stamp {
    float pixels[MAX_STAMP][MAX_STAMP];
    OfRow of_row[MAX_STAMP];
    OfColumn of_column[MAX_STAMP];
    RowMask isophote[MAX_STAMP];
    Levels levels[WARPS];
    double c[6], noise, centres[WARPS], moments[2][WARPS][3];
    int n_candidates, n_above, n_connected, counts[WARPS], leads[WARPS];
};

// Finds the pixels of the isophote that are 4-connected to (row, column), and their number.
// The masks come in the order of the lanes, and go in the order of the columns. The first warp
// calls: a lane keeps rows 2 lane and 2 lane + 1, and the region grows until no row changes.
__device__ __forceinline__ void grow(Stamp* s, int row, int column) {
    const int lane = threadIdx.x;
    RowMask* const rows = s->isophote + 2 * lane;
    RowMask may[2];
    for (int k = 0; k < 2; k++) {
        const int lead = s->leads[2 * lane % WARPS + k];
        may[k] = rows[k] >> lead | rows[k] << (MAX_STAMP - lead) % MAX_STAMP;
    }
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
    rows[0] = grown[0], rows[1] = grown[1];
    const int n = warp_sum(__popcll(grown[0]) + __popcll(grown[1]));
    if (lane == 0) s->n_connected = n;
}

// v of a finite pixel: the operations of polynomial(), in their order.
__device__ __forceinline__ double height(float pixel, const OfRow& r, const OfColumn& c) {
    return widen_finite(pixel) - (r.offset + c.X * (r.slope + c.bend));
}

// A lane's part of the second moments: sums over its two columns, row after row.
struct Sums {
    double v[2], yv[2], yyv;
};

__device__ __forceinline__ void add(Sums* s, double y, double first, double second) {
    s->v[0] += first, s->v[1] += second;
    s->yv[0] = fma(y, first, s->yv[0]), s->yv[1] = fma(y, second, s->yv[1]);
    s->yyv = fma(y * y, first + second, s->yyv);
}

// Q20, Q02 and Q11 of a warp's rows, for columns x[0] and x[1] from the centre. Where in memory
// the stamp lies decides by how many lanes the columns are turned round; warp_sum(), which begins
// with lanes 16 apart and ends with neighbours, adds up the same pairs whatever the turn is.
__device__ __forceinline__ void finish(const Sums& s, const double* x, double (*moments)[3]) {
    const double q[3] = {x[0] * x[0] * s.v[0] + x[1] * x[1] * s.v[1], s.yyv,
                         x[0] * s.yv[0] + x[1] * s.yv[1]};
    for (int j = 0; j < 3; j++) {
        const double sum = warp_sum(q[j]);
        if (threadIdx.x == 0) moments[threadIdx.y][j] = sum;
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
//            CCD, since only the device knows how many there are. The v of a stamp are computed,
//            compared and added up as the pixels come in. The pixels stay in shared memory (16
//            KiB), and v is computed again for those of the isophote, which are few. One warp
//            grows the isophote, with the 64 rows in its registers, so no barrier is needed.
// Bytes      4 for each pixel of a stamp, once, and 1 for its mask, in whole sectors; 96 written
//            for each source.
extern "C" __global__ void __launch_bounds__(256, 4)
    moments_check(const float* images, OPTIONAL const unsigned char* bad,
                  const double* coefficients, const double* sigma, const int* listed,
                  const int* n_listed, int n_slots, int ny, int nx, int size,
                  double above_threshold, int above_pixels, double moment_fraction,
                  double isophote_threshold, long long* y, long long* x, double* value,
                  long long* n_above, double* moments, double* isophote_moments,
                  long long* n_isophote, unsigned long long* n_sources) {
    __shared__ Stamp s;
    const int lane = threadIdx.x, warp = threadIdx.y, ccd = blockIdx.y, half = size / 2;
    // Read once by the block, not by each warp.
    if (warp == 0 && lane < 6) s.c[lane] = coefficients[6 * ccd + lane];
    if (warp == 1 && lane == 0) s.noise = sigma[ccd], s.n_candidates = n_listed[ccd];
    if (warp >= 2 && warp < 4) s.isophote[(warp - 2) * WARP + lane] = 0ull;
    __syncthreads();
    const double above = above_threshold * s.noise;
    const long long plane = (long long)ccd * ny * nx;
    for (int candidate = blockIdx.x; candidate < s.n_candidates; candidate += gridDim.x) {
        const int middle = listed[(long long)ccd * n_slots + candidate];
        const int cy = middle / nx, cx = middle % nx;
        const float peak = images[plane + middle];
        // Divisions are slow: one for each row and column, not one for each pixel.
        const int i = (warp * WARP + lane) % MAX_STAMP;
        if (warp < 2) {
            // v in columns beyond a small stamp is NaN, and every comparison with NaN is false.
            const double X = i < size ? scaled(cx - half + i, nx) : nan("");
            s.of_column[i] = {X, s.c[3] * X};
        }
        if (warp >= 6) {
            const double Y = scaled(cy - half + i, ny);
            s.of_row[i] = {s.c[0] + Y * (s.c[2] + s.c[5] * Y), s.c[1] + s.c[4] * Y};
        }
        __syncthreads();
        const double centre = is_usable(peak, bad, plane + middle, UNFIT_SOURCES)
                                  ? height(peak, s.of_row[half], s.of_column[half])
                                  : UNFIT,
                     least = moment_fraction * centre;
        // Requests begin at a whole sector, `lead` pixels before the stamp. Rows that are 8 apart
        // have the same lead, so that a lane has the same two columns in all rows of its warp: 64
        // requested pixels, of which those before the stamp change places with those behind.
        const int first = middle + (warp - half) * nx - half;
        const int lead = (int)((plane + first) % SECTOR);
        const int column[2] = {(lane - lead) & (MAX_STAMP - 1), lane + WARP - lead};
        // In the loop registers are scarce.
        if (lane == 0) {
            s.leads[warp] = lead, s.centres[warp] = centre;
            s.levels[warp] = {least, fmax(least, isophote_threshold * s.noise)};
        }
        __syncwarp();
        int at[2];
        for (int k = 0; k < 2; k++) at[k] = first + min(column[k], size - 1);
        // As whole numbers the upper halves of positive numbers sort as the numbers do.
        const int upper = centre > 0.0 ? __double2hiint(centre) : (int)0x80000000u;
        const auto ask = [&](int k) {
            const float seen = images[plane + at[k]];
            const bool fit = bad == nullptr || (bad[plane + at[k]] & UNFIT_SOURCES) == 0u;
            at[k] += WARPS * nx;
            return fit ? seen : MINUS_INFINITY;
        };
        Sums sums = {};
        int n = 0;
        bool outshone = false;
        float next[2] = {};
        if (warp < size) next[0] = ask(0), next[1] = ask(1);
#pragma unroll 1
        for (int row = warp; row < size; row += WARPS) {
            const float seen[2] = {next[0], next[1]};
            // The next row is asked for before this one is used.
            if (row + WARPS < size) next[0] = ask(0), next[1] = ask(1);
            const OfRow here = s.of_row[row];
            // One instruction for each pixel, where is_finite() takes two.
            const float infinity = -MINUS_INFINITY;
            const bool fit[2] = {fabsf(seen[0]) < infinity, fabsf(seen[1]) < infinity};
            const double v[2] = {height(seen[0], here, s.of_column[column[0]]),
                                 height(seen[1], here, s.of_column[column[1]])};
            const Levels level = s.levels[warp];
            double in_moments[2];
            unsigned lanes[2];
            for (int k = 0; k < 2; k++) {
                s.pixels[row][column[k]] = seen[k];
                n += fit[k] && v[k] > above;
                in_moments[k] = fit[k] && v[k] > level.least ? v[k] : 0.0;
                lanes[k] = __ballot_sync(WHOLE_WARP, fit[k] && v[k] > level.bright);
            }
            if (lane == 0) s.isophote[row] = (RowMask)lanes[1] << 32 | lanes[0];
            if (max(__double2hiint(v[0]), __double2hiint(v[1])) >= upper) {
                // Of equal pixels the first one counts as the brightest.
                const double peak_v = s.centres[warp];
                const bool before[2] = {row < half || (row == half && column[0] < half),
                                        row < half || (row == half && column[1] < half)};
                for (int k = 0; k < 2; k++) {
                    if (fit[k] && (v[k] > peak_v || (v[k] == peak_v && before[k])))
                        outshone = true;
                }
            }
            add(&sums, (double)(row - half), in_moments[0], in_moments[1]);
        }
        n = warp_sum(n);
        if (lane == 0) s.counts[warp] = n;
        // This is also the barrier after which masks and counts are complete.
        if (__syncthreads_or(outshone)) continue;
        n = 0;
        for (int w = 0; w < WARPS; w++) n += s.counts[w];
        if (n <= above_pixels) continue;
        // These wait in shared memory, since registers are scarce.
        if (warp == 0 && lane == 0) s.n_above = n;
        const double x_of[2] = {(double)(column[0] - half), (double)(column[1] - half)};
        finish(sums, x_of, s.moments[0]);
        if (warp == 0) grow(&s, half, half);
        __syncthreads();
        sums = {};
#pragma unroll 1
        for (int row = warp; row < size; row += WARPS) {
            const RowMask mask = s.isophote[row];
            if (mask == 0ull) continue;
            const OfRow here = s.of_row[row];
            double v[2];
            for (int k = 0; k < 2; k++) {
                v[k] = (mask >> column[k] & 1ull) != 0ull
                           ? height(s.pixels[row][column[k]], here, s.of_column[column[k]])
                           : 0.0;
            }
            add(&sums, (double)(row - half), v[0], v[1]);
        }
        finish(sums, x_of, s.moments[1]);
        // No thread may begin with the next stamp before all threads have done with this one; the
        // next barrier sees to that, and the barrier at the next stamp's beginning.
        __syncthreads();
        const long long slot = (long long)ccd * n_slots + candidate;
        if (warp == 0 && lane < 6) {
            double sum = 0.0;
            for (int w = 0; w < WARPS; w++) sum += s.moments[lane / 3][w][lane % 3];
            (lane < 3 ? moments : isophote_moments)[3 * slot + lane % 3] = sum;
        }
        if (warp == 0 && lane == 0) {
            y[slot] = listed[slot] / nx, x[slot] = listed[slot] % nx, value[slot] = s.centres[0],
            n_above[slot] = s.n_above, n_isophote[slot] = s.n_connected;
            atomicAdd(n_sources + ccd, 1ull);  // whole numbers: the same in any order
        }
    }
}
