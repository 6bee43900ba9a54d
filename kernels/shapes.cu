// Measures the shapes of the brightest sources under a Gaussian weight (METHOD.md 10).
//
// Formula    With w = exp(-r^2 / (2 width^2)) about the iterated centroid and v = I - b: Q00 =
//            sum(w v), T = (Q20 + Q02) / Q00, e1 = (Q20 - Q02) / (Q20 + Q02), e2 = 2 Q11 / (Q20 +
//            Q02), kurtosis = Q00 sum(w v r^4) / (sum(w v r^2))^2, and Q00 over its noise, sigma
//            sqrt(pi) width. The centroid moves by the mean of w v (x, y) over 1 - T / (2
//            width^2), which is Newton's step for a Gaussian. The width is that of the CCD's
//            stars, sqrt(Tu / 2) with 1 / Tu = 1 / T - 1 / (2 width^2), T being the half-sample
//            mode of the lower half of the 100 brightest sources, and is iterated until it moves
//            by under 4%.
// Precision  float64 in the CPU's order of operations, no FMA; widen() keeps what -ftz would make
//            0. The exponential is a series at a 64th of its argument, squared six times, so its
//            bits are the CPU's too, and it is right to 1e-9. Sums run down a column and then over
//            the columns by halves.
// Edges      Stamps lie on the CCD, because the sources were chosen so. The square of pixels goes
//            to the first whole pixel beyond four widths and ends where the stamp does. Unusable
//            pixels add nothing. A CCD without a background has no sources, and without a source
//            whose signal is 8 times its noise no width and no moments.
// Parity     Exact for an equal background and equal sources.
// Twin       gpuanom/backends/cpu/shapes.py
// Test       tests/steps/test_shapes.py
#include "common.cuh"

constexpr int SHAPES_A_CCD = 400, FOR_WIDTH = 100, WARPS = 8, PASSES = 8, WIDTH_THREADS = 128,
              CHOOSERS = 1024;
constexpr double SIGNAL_TO_NOISE = 8.0, NEAR = 0.01, ROOT_PI = 1.7724538509055159, MOVED = 0.04,
                 GROWTH = 1.5, LEAST_WIDTH = 0.7, MOST_WIDTH = 7.5;

// What is known of the width of a CCD's weight.
enum State : int { SEARCHING = 0, FOUND = 1, NOTHING = 2 };

// exp(-d^2 / (2 width^2)), scale being 1 / (128 width^2).
__device__ __forceinline__ double weight(double d, double scale) {
    const double t = -(d * d) * scale;
    double e = 2.48015873015873e-05;
    e = e * t + 0.0001984126984126984;
    e = e * t + 0.001388888888888889;
    e = e * t + 0.008333333333333333;
    e = e * t + 0.041666666666666664;
    e = e * t + 0.16666666666666666;
    e = e * t + 0.5;
    e = e * t + 1.0;
    e = e * t + 1.0;
    for (int i = 0; i < 6; i++) e = e * e;
    return e;
}

// Sources of each CCD that are real and not saturated, the brightest first; of equal ones the
// first in (y, x) order.
//
// Arguments
//   images             (n_ccd, ny, nx) float32, image unit
//   saturation         (n_ccd,) float32, image unit; NaN where unknown
//   y                  (n_ccd, n_slots) int64, pixels: row of a source, -1 in an empty slot
//   x                  (n_ccd, n_slots) int64, pixels: column of a source
//   value              (n_ccd, n_slots) float64, image unit: v of the central pixel
//   n_isophote         (n_ccd, n_slots) int64, number of pixels of the isophote
//   n_slots            int32, number of slots of a CCD
//   least              int32, number of isophotal pixels that a real source has at least
//   ny                 int32, pixels: rows of a CCD
//   nx                 int32, pixels: columns of a CCD
//   bright             scratch, (n_ccd, n_slots) float64, image unit
//   pixel              scratch, (n_ccd, n_slots) int32, y nx + x
//   listed             out, (n_ccd, 400) int32, y nx + x; -1 where there are fewer sources
//
// Launch     grid (n_ccd), block (1024). A block takes a CCD: the sources, some hundreds, are put
//            side by side, and each thread counts how many are brighter than its own.
// Bytes      32 read for each slot and 4 at each source's centre; 12 written and read again for
//            each source, and 1600 written for each CCD.
extern "C" __global__ void __launch_bounds__(1024)
    shapes_choose(const float* images, const float* saturation, const long long* y,
                  const long long* x, const double* value, const long long* n_isophote,
                  int n_slots, int least, int ny, int nx, double* bright, int* pixel,
                  int* listed) {
    __shared__ int scratch[WARP], pixels[CHOOSERS];
    __shared__ double values[CHOOSERS];
    const int ccd = blockIdx.x;
    const long long first = (long long)ccd * n_slots;
    const double level = widen(saturation[ccd]);
    int n = 0;
    for (int start = 0; start < n_slots; start += CHOOSERS) {
        const int entry = start + threadIdx.x;
        const long long slot = first + entry;
        // All four are asked for at once, so that there is one wait for them and not four.
        const bool exists = entry < n_slots;
        const long long row = exists ? y[slot] : -1, column = exists ? x[slot] : 0,
                        isophote = exists ? n_isophote[slot] : 0;
        const double height = exists ? value[slot] : 0.0;
        const int place = (int)row * nx + (int)column;
        bool chosen = row != -1 && isophote >= least;
        if (chosen) chosen = !(widen(images[(long long)ccd * ny * nx + place]) >= level);
        int total;
        const int rank = block_rank(chosen, scratch, &total);
        if (chosen) bright[first + n + rank] = height, pixel[first + n + rank] = place;
        n += total;
    }
    int* list = listed + ccd * SHAPES_A_CCD;
    for (int i = threadIdx.x; i < SHAPES_A_CCD; i += CHOOSERS) list[i] = -1;
    __syncthreads();
    for (int start = 0; start < n; start += CHOOSERS) {
        const int entry = min(start + (int)threadIdx.x, n - 1);
        const int rank = block_brighter(bright + first, pixel + first, n, bright[first + entry],
                                        pixel[first + entry], values, pixels);
        if (start + (int)threadIdx.x < n && rank < SHAPES_A_CCD) list[rank] = pixel[first + entry];
    }
}

// The moments of the chosen sources under the weight of the CCD's present width.
//
// Arguments
//   images          (n_ccd, ny, nx) float32, image unit
//   bad             (n_ccd, ny, nx) uint8, bits of Unfit; null where nothing is masked
//   saturation      (n_ccd,) float32, image unit; NaN where unknown
//   coefficients    (n_ccd, 6) float64, image unit: the background c0 ... c5
//   sigma           (n_ccd,) float64, image unit
//   listed          (n_ccd, 400) int32, y nx + x of the sources, or -1
//   width           (n_ccd,) float64, pixels: standard deviation of the weight
//   state           (n_ccd,) int32, State of the width
//   last            int32, whether all sources are measured, and not those that give the width
//   ny              int32, pixels: rows of a CCD
//   nx              int32, pixels: columns of a CCD
//   size            int32, pixels: side of a stamp, even, at most 64
//   centre          in and out, (n_ccd, 400, 2) float64, pixels: (y, x), NaN where unknown
//   moments         in and out, (n_ccd, 400, 6) float64, flux (image unit), signal to noise, T
//                   (pixel^2), e1, e2, kurtosis; NaN where there are none
//   spoilt          in and out, (n_ccd, 400) uint8, whether a pixel within two widths is saturated
//                   or unusable
//
// Launch     grid (ceil(n / 8), n_ccd), block (32, 8), with n the 100 sources that give the width
//            or all 400. A warp takes a source, so that no barrier of the block is needed: a lane
//            has the columns of the square that are its own or 32 further in the stamp, mostly one
//            of them, and the rows follow each other. The compiler keeps to so few registers that
//            24 warps fit a multiprocessor. The few pixels of a star are read again and again,
//            from the cache.
// Bytes      4 for each pixel of a square, some 15 x 15, and 1 of its mask, in each of about three
//            passes; 65 written for each source.
extern "C" __global__ void __launch_bounds__(256, 3)
    shapes_measure(const float* images, OPTIONAL const unsigned char* bad, const float* saturation,
                   const double* coefficients, const double* sigma, const int* listed,
                   const double* width, const int* state, int last, int ny, int nx, int size,
                   double* centre, double* moments, unsigned char* spoilt) {
    __shared__ double all_heights[WARPS][2 * WARP], all_Y[WARPS][2 * WARP];
    double *heights = all_heights[threadIdx.y], *Y = all_Y[threadIdx.y];
    const int lane = threadIdx.x, ccd = blockIdx.y, half = size / 2;
    const int source = blockIdx.x * WARPS + threadIdx.y;
    const int known = state[ccd];
    if (source >= (last != 0 ? SHAPES_A_CCD : FOR_WIDTH)) return;
    if (last == 0 && known != SEARCHING) return;
    const long long slot = (long long)ccd * SHAPES_A_CCD + source;
    const int pixel = listed[slot];
    double* answer = moments + 6 * slot;
    const double before_y = centre[2 * slot], before_x = centre[2 * slot + 1];
    __syncwarp();
    if (lane == 0) {
        for (int j = 0; j < 6; j++) answer[j] = nan("");
        centre[2 * slot] = centre[2 * slot + 1] = nan("");
        spoilt[slot] = 0;
    }
    if (pixel == -1 || known == NOTHING) return;

    const double* c = coefficients + 6 * ccd;
    const double s = width[ccd], scale = 1.0 / (128.0 * (s * s));
    const int y0 = pixel / nx, x0 = pixel % nx;
    const long long corner = ((long long)ccd * ny + y0) * nx + x0;
    const int reach = (int)(4.0 * s) + 1;
    // A lane has the columns lane and lane + 32 of the stamp, as far as they lie in the square. Of
    // those rows it computes the weights and coordinates for all lanes.
    const int place[2] = {lane - half, lane + WARP - half};
    for (int k = 0; k < 2; k++) Y[lane + k * WARP] = scaled(y0 + place[k], ny);
    const double X[2] = {scaled(x0 + place[0], nx), scaled(x0 + place[1], nx)};
    double cy = before_y - (double)y0, cx = before_x - (double)x0;
    if (!(fabs(cy) <= (double)half && fabs(cx) <= (double)half)) cy = 0.0, cx = 0.0;
    for (int pass = 0; pass < PASSES; pass++) {
        const int middle = (int)floor(cy + 0.5), column = (int)floor(cx + 0.5);
        const int top = max(-half, middle - reach), bottom = min(half - 1, middle + reach);
        const int left = max(-half, column - reach), right = min(half - 1, column + reach);
        // A lane may still read the heights of the pass before: shuffles do not order memory.
        __syncwarp();
        for (int k = 0; k < 2; k++)
            heights[lane + k * WARP] = weight((double)place[k] - cy, scale);
        __syncwarp();
        double totals[7] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
        // Most squares are narrower than a warp: then each lane has one column at most.
        for (int base = left; base <= right; base += WARP) {
            const int this_column = base + ((lane - half - base) & (WARP - 1));
            const bool inside = this_column <= right;
            const double this_X = this_column == place[0] ? X[0] : X[1];
            double sums[4] = {0.0, 0.0, 0.0, 0.0};
            for (int row = top; inside && row <= bottom; row++) {
                const double by_1 = heights[row + half];
                const double dy = (double)row - cy;
                const double by_dy = by_1 * dy, by_dy2 = by_dy * dy, by_dy4 = (by_dy2 * dy) * dy;
                const long long here = corner + (long long)row * nx + this_column;
                const float seen = images[here];
                const bool good = is_usable(seen, bad, here, UNFIT_SOURCES);
                const double v = good ? widen(seen) - polynomial(c, Y[row + half], this_X) : 0.0;
                sums[0] += by_1 * v;
                sums[1] += by_dy * v;
                sums[2] += by_dy2 * v;
                sums[3] += by_dy4 * v;
            }
            if (!inside) continue;
            const double dx = (double)this_column - cx, dx2 = dx * dx, g = weight(dx, scale);
            const double of_1 = g * sums[0], of_dy = g * sums[1], of_dy2 = g * sums[2];
            totals[0] += of_1;
            totals[1] += of_1 * dx;
            totals[2] += of_dy;
            totals[3] += of_1 * dx2;
            totals[4] += of_dy2;
            totals[5] += of_dy * dx;
            totals[6] += (of_1 * dx2) * dx2 + 2.0 * (of_dy2 * dx2) + g * sums[3];
        }
        for (int j = 0; j < 7; j++) totals[j] = warp_sum(totals[j]);
        const double q00 = totals[0], second = totals[3] + totals[4];
        // Every lane has the same totals, and goes the same way.
        if (!(q00 > 0.0 && second > 0.0)) return;
        const double by_x = totals[1] / q00, by_y = totals[2] / q00, t = second / q00;
        if (fabs(by_x) < NEAR && fabs(by_y) < NEAR) {
            const int core = (int)(2.0 * s) + 1;
            const double level = widen(saturation[ccd]);
            bool found = false;
            const int end = min(half - 1, middle + core);
            for (int row = max(-half, middle - core); row <= end; row++) {
                for (int k = 0; k < 2; k++) {
                    if (place[k] > half - 1) continue;
                    if (place[k] < column - core || place[k] > column + core) continue;
                    const long long here = corner + (long long)row * nx + place[k];
                    const float seen = images[here];
                    found = found || !is_usable(seen, bad, here, UNFIT_SOURCES) ||
                            widen(seen) >= level;
                }
            }
            const bool any = __ballot_sync(WHOLE_WARP, found) != 0u;
            if (lane == 0) {
                centre[2 * slot] = (double)y0 + cy, centre[2 * slot + 1] = (double)x0 + cx;
                answer[0] = q00;
                answer[1] = q00 / (sigma[ccd] * (ROOT_PI * s));
                answer[2] = t;
                answer[3] = (totals[3] - totals[4]) / second;
                answer[4] = 2.0 * totals[5] / second;
                answer[5] = q00 * totals[6] / (second * second);
                spoilt[slot] = any ? 1 : 0;
            }
            return;
        }
        const double share = fmax(0.25, 1.0 - t / (2.0 * (s * s)));
        cy += fmax(-s, fmin(s, by_y / share));
        cx += fmax(-s, fmin(s, by_x / share));
        if (!(fabs(cy) <= (double)(half / 2) && fabs(cx) <= (double)(half / 2))) return;
    }
}

// The half-sample mode of the logarithms of n ordered numbers: the densest half again and again.
__device__ double half_sample_mode(const double* ordered, int n) {
    int low = 0;
    while (n > 3) {
        const int m = (n + 1) / 2;
        int at = low;
        double least = ordered[low + m - 1] / ordered[low];
        for (int i = low + 1; i <= low + n - m; i++) {
            const double ratio = ordered[i + m - 1] / ordered[i];
            if (ratio < least) at = i, least = ratio;
        }
        low = at, n = m;
    }
    if (n == 3) {
        const double lower = ordered[low + 1] / ordered[low],
                     upper = ordered[low + 2] / ordered[low + 1];
        if (lower == upper) return ordered[low + 1];
        low += upper < lower ? 1 : 0;
        n = 2;
    }
    return n == 1 ? ordered[low] : sqrt(ordered[low] * ordered[low + 1]);
}

// The next width of each CCD's weight, from the sources measured under the present one.
//
// Arguments
//   moments    (n_ccd, 400, 6) float64, as shapes_measure leaves them
//   spoilt     (n_ccd, 400) uint8, as shapes_measure leaves it
//   last       int32, whether the present width must do
//   width      in and out, (n_ccd,) float64, pixels; NaN where no source is bright enough
//   state      in and out, (n_ccd,) int32, State of the width
//
// Launch     grid (n_ccd), block (128). A thread has one of the 100 brightest sources and counts
//            how many are smaller; the mode of 50 numbers is one thread's work.
// Bytes      17 read for each of the 100 sources.
extern "C" __global__ void __launch_bounds__(128)
    shapes_width(const double* moments, const unsigned char* spoilt, int last, double* width,
                 int* state) {
    __shared__ double sizes[WIDTH_THREADS], ordered[WIDTH_THREADS];
    __shared__ int scratch[WIDTH_THREADS / WARP];
    const int ccd = blockIdx.x, source = threadIdx.x;
    if (state[ccd] != SEARCHING) return;
    const long long slot = (long long)ccd * SHAPES_A_CCD + source;
    const bool counts =
        source < FOR_WIDTH && moments[6 * slot + 1] >= SIGNAL_TO_NOISE && spoilt[slot] == 0;
    const double size = counts ? moments[6 * slot + 2] : 0.0;
    int n;
    block_rank(counts, scratch, &n);
    sizes[source] = counts ? size : -MINUS_INFINITY;
    __syncthreads();
    int smaller = 0;
    for (int i = 0; i < WIDTH_THREADS; i++)
        smaller += sizes[i] < size || (sizes[i] == size && i < source);
    if (counts) ordered[smaller] = size;
    __syncthreads();
    if (source != 0) return;
    if (n == 0) {
        width[ccd] = nan(""), state[ccd] = NOTHING;
        return;
    }
    const double s = width[ccd], t = half_sample_mode(ordered, (n + 1) / 2);
    const double inverse = 1.0 / t - 1.0 / (2.0 * (s * s)), most = fmin(MOST_WIDTH, GROWTH * s);
    double next = most;
    if (inverse > 0.5 / (most * most)) next = fmax(LEAST_WIDTH, sqrt(0.5 / inverse));
    if (fabs(next - s) < MOVED * s || last != 0) {
        state[ccd] = FOUND;
    } else {
        width[ccd] = next;
    }
}
