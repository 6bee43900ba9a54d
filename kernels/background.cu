// Fits the second-order background of each CCD and measures the noise around it (METHOD.md 1).
//
// Formula    Of the first n usable drawn points, the floor(fraction n) darkest and as many of the
//            brightest are dropped (by value, then by draw order). The others give the
//            least-squares polynomial b = c0 + c1 X + c2 Y + c3 X^2 + c4 X Y + c5 Y^2, where X = 2
//            x / (nx - 1) - 1, and Y alike. The noise is sigma = 1.4826 median |r - median r| of
//            the residuals r at the usable points of a second draw.
// Precision  float64 throughout, no FMA, so the polynomial has the bits of the CPU's. The float32
//            pixels are converted by widen(), so -ftz changes nothing. Ranks, and with them
//            clipping and medians, are exact: they are selected by the bits of the values. Sums
//            run in an order that the launch fixes, so every run has the same bits.
// Edges      Unusable pixels (NaN, infinite, masked) are passed over. A CCD is not usable, and its
//            results are NaN, if either draw has fewer than minimum_points usable points, if the
//            points do not determine the fit, or if sigma is at most 2^-22 of the median |I|.
// Parity     Counts and usable are exact. The rest is rounded, 1e-12 of the median pixel, since
//            the order of the float64 sums differs.
// Twin       gpuanom/backends/cpu/background.py
// Test       tests/steps/test_background.py
#include "common.cuh"
#include "select.cuh"

constexpr int THREADS = SELECTORS;

// Collects the first `wanted` drawn points on usable pixels, in draw order: their y * nx + x and
// their values. Returns their number.
__device__ int gather(const float* image, const unsigned char* bad, const int* drawn, int n_drawn,
                      int wanted, int nx, int* taken, float* values, int* scratch) {
    int n = 0;
    for (int start = 0; start < n_drawn && n < wanted; start += THREADS) {
        const int i = start + threadIdx.x;
        int pixel = 0;
        float seen = 0.0f;
        bool chosen = false;
        if (i < n_drawn) {
            pixel = drawn[2 * i] * nx + drawn[2 * i + 1];
            seen = image[pixel];
            chosen = is_usable(seen, bad, pixel, UNFIT_BACKGROUND);
        }
        int total;
        const int rank = block_rank(chosen, scratch, &total);
        if (chosen && n + rank < wanted) taken[n + rank] = pixel, values[n + rank] = seen;
        n += total;
    }
    __syncthreads();
    return min(n, wanted);
}

// The condition number of a symmetric 6 x 6 matrix, which is overwritten: Jacobi rotations make it
// diagonal.
__device__ double condition(double (*a)[6]) {
    for (int sweep = 0; sweep < 30; sweep++) {
        double largest = 0.0, trace = 0.0;
        for (int p = 0; p < 6; p++) {
            trace += fabs(a[p][p]);
            for (int q = p + 1; q < 6; q++) largest = fmax(largest, fabs(a[p][q]));
        }
        if (largest <= 1e-20 * trace) break;
        for (int p = 0; p < 6; p++) {
            for (int q = p + 1; q < 6; q++) {
                if (a[p][q] == 0.0) continue;
                const double theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                const double t =
                    (theta < 0.0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(theta * theta + 1.0));
                const double cosine = 1.0 / sqrt(t * t + 1.0), sine = t * cosine;
                for (int k = 0; k < 6; k++) {
                    const double kp = a[k][p], kq = a[k][q];
                    a[k][p] = cosine * kp - sine * kq, a[k][q] = sine * kp + cosine * kq;
                }
                for (int k = 0; k < 6; k++) {
                    const double pk = a[p][k], qk = a[q][k];
                    a[p][k] = cosine * pk - sine * qk, a[q][k] = sine * pk + cosine * qk;
                }
            }
        }
    }
    double low = fabs(a[0][0]), high = low;
    for (int p = 1; p < 6; p++) low = fmin(low, fabs(a[p][p])), high = fmax(high, fabs(a[p][p]));
    return high / low;
}

// Solves a c = r for 6 unknowns by elimination with pivots. r becomes c, and a is overwritten.
__device__ void solve(double (*a)[6], double* r) {
    for (int i = 0; i < 6; i++) {
        int pivot = i;
        for (int k = i + 1; k < 6; k++) pivot = fabs(a[k][i]) > fabs(a[pivot][i]) ? k : pivot;
        for (int j = 0; j < 6 && pivot != i; j++) {
            const double other = a[i][j];
            a[i][j] = a[pivot][j], a[pivot][j] = other;
        }
        const double other = r[i];
        r[i] = r[pivot], r[pivot] = other;
        for (int k = i + 1; k < 6; k++) {
            const double factor = a[k][i] / a[i][i];
            for (int j = i; j < 6; j++) a[k][j] -= factor * a[i][j];
            r[k] -= factor * r[i];
        }
    }
    for (int i = 5; i >= 0; i--) {
        for (int j = i + 1; j < 6; j++) r[i] -= a[i][j] * r[j];
        r[i] /= a[i][i];
    }
}

// Fits the coefficients to the points `taken`, whose keys are given. Returns false if the points
// do not determine them. sums: shared memory for 21 doubles; c: shared memory for 6. The whole
// block calls.
__device__ bool fit(const Key* keys, const int* taken, int n, int clipped, int ny, int nx,
                    double* c, double* sums, double* scratch, Selection* s) {
    __shared__ double matrix[6][6], copy[6][6];
    const int kept = n - 2 * clipped;
    int below_low, below_high, below;
    const Key low = select_key(keys, n, clipped, &below_low, s);
    const Key high = select_key(keys, n, n - clipped - 1, &below_high, s);
    // Fitting around a middle value keeps the right-hand side small and its rounding with it.
    const double middle = value_of(select_key(keys, n, clipped + kept / 2, &below, s));
    // Sums of X^i Y^j with i + j = 0 ... 4 at (i+j)(i+j+1)/2 + j, then those of the first six
    // times the value.
    double thread_sums[21];
#pragma unroll
    for (int i = 0; i < 21; i++) thread_sums[i] = 0.0;
    int equal_low = 0, equal_high = 0;
    for (int start = 0; start < n; start += THREADS) {
        const int i = start + threadIdx.x;
        const Key key = i < n ? keys[i] : 0ull;
        // Of points as dark as the darkest one kept, the first in draw order are dropped; of
        // points as bright as the brightest one kept, the first in draw order are kept.
        int total;
        const int from_low = equal_low + block_rank(i < n && key == low, s->bins, &total);
        equal_low += total;
        const int from_high = equal_high + block_rank(i < n && key == high, s->bins, &total);
        equal_high += total;
        const bool dropped = i >= n || key < low || key > high ||
                             (key == low && below_low + from_low < clipped) ||
                             (key == high && below_high + from_high >= n - clipped);
        if (dropped) continue;
        const double X = scaled(taken[i] % nx, nx), Y = scaled(taken[i] / nx, ny),
                     value = value_of(key) - middle;
        double power[15];
        power[0] = 1.0;
#pragma unroll
        for (int order = 1; order <= 4; order++) {
            const int at = order * (order + 1) / 2, last = order * (order - 1) / 2;
#pragma unroll
            for (int j = 0; j < order; j++) power[at + j] = power[last + j] * X;
            power[at + order] = power[last + order - 1] * Y;
        }
#pragma unroll
        for (int k = 0; k < 15; k++) thread_sums[k] += power[k];
#pragma unroll
        for (int k = 0; k < 6; k++) thread_sums[15 + k] += power[k] * value;
    }
#pragma unroll
    for (int k = 0; k < 21; k++) {
        const double sum = block_sum(thread_sums[k], scratch);
        if (threadIdx.x == 0) sums[k] = sum;
    }
    if (threadIdx.x == 0) {
        for (int i = 0; i < 6; i++) {
            for (int j = 0; j < 6; j++) {
                // Terms 0 ... 5 are of order 0, 1, 1, 2, 2, 2 in all and of order 0, 0, 1, 0, 1, 2
                // in Y.
                const int order_i = i > 2 ? 2 : i > 0, order_j = j > 2 ? 2 : j > 0,
                          order = order_i + order_j;
                const int in_y = i - order_i * (order_i + 1) / 2 + j - order_j * (order_j + 1) / 2;
                matrix[i][j] = copy[i][j] = sums[order * (order + 1) / 2 + in_y];
            }
            c[i] = sums[15 + i];
        }
        // The scaled coordinates lie in -1 ... 1, so a well-spread draw has a condition number
        // near 30.
        s->bin = condition(copy) < 1e12;
        if (s->bin) {
            solve(matrix, c);
            c[0] += middle;
        }
    }
    __syncthreads();
    return s->bin != 0;
}

// Everything from the drawn points to the coefficients and the noise of a CCD.
//
// Arguments
//   images            (n_ccd, ny, nx) float32, image unit
//   bad               (n_ccd, ny, nx) uint8, bits of Unfit; null where nothing is masked
//   fit_drawn         (n_ccd, n_fit_drawn, 2) int32, pixels: (y, x) in draw order, for the fit
//   sigma_drawn       (n_ccd, n_sigma_drawn, 2) int32, pixels: the same for the noise
//   clipped           (fit_wanted + 1,) int32, points to drop at each end, for each usable number
//   n_fit_drawn       int32, number of points
//   n_sigma_drawn     int32, number of points
//   fit_wanted        int32, number of points: so many usable ones are used at most
//   sigma_wanted      int32, number of points: the same for the noise
//   minimum_points    int32, number of points: with fewer a CCD is not usable
//   ny                int32, pixels: rows of a CCD
//   nx                int32, pixels: columns of a CCD
//   taken             scratch, (n_ccd, max(fit_wanted, sigma_wanted)) int32, y nx + x of points
//   values            scratch, (n_ccd, max(fit_wanted, sigma_wanted)) float32, image unit
//   keys              scratch, (n_ccd, max(fit_wanted, sigma_wanted)) uint64, sortable values
//   coefficients      out, (n_ccd, 6) float64, image unit: c0 ... c5
//   sigma             out, (n_ccd,) float64, image unit
//   n_points          out, (n_ccd,) int64, number of points used for the fit
//   n_sigma_points    out, (n_ccd,) int64, number of points used for the noise
//   usable            out, (n_ccd,) bool, whether there is a background
//
// Launch     grid (n_ccd), block (512). One block works on one CCD, because each step of the fit
//            waits for the one before, and a host that decided between them would cost more than
//            the idle part of the card. With 512 threads each has the 128 registers that the 21
//            sums need.
// Bytes      A sector of 32 bytes for each drawn point up to the wanted number, and about 15
//            passes over 8 bytes a point, which the cache holds. Nothing is read for each pixel.
extern "C" __global__ void __launch_bounds__(512, 1)
    background_fit(const float* images, OPTIONAL const unsigned char* bad, const int* fit_drawn,
                   const int* sigma_drawn, const int* clipped, int n_fit_drawn, int n_sigma_drawn,
                   int fit_wanted, int sigma_wanted, int minimum_points, int ny, int nx,
                   int* taken, float* values, unsigned long long* keys, double* coefficients,
                   double* sigma, long long* n_points, long long* n_sigma_points, bool* usable) {
    __shared__ double c[6], sums[21], scratch[THREADS / WARP];
    __shared__ Selection s;
    const long long ccd = blockIdx.x, slots = max(fit_wanted, sigma_wanted);
    const float* image = images + ccd * ny * nx;
    const unsigned char* plane = bad == nullptr ? nullptr : bad + ccd * ny * nx;
    const int *fit_points = fit_drawn + 2 * ccd * n_fit_drawn,
              *sigma_points = sigma_drawn + 2 * ccd * n_sigma_drawn;
    taken += ccd * slots, values += ccd * slots, keys += ccd * slots;

    const int n =
        gather(image, plane, fit_points, n_fit_drawn, fit_wanted, nx, taken, values, s.bins);
    bool good = n >= minimum_points;
    if (good) {
        for (int i = threadIdx.x; i < n; i += THREADS) keys[i] = key_of(widen(values[i]));
        good = fit(keys, taken, n, clipped[n], ny, nx, c, sums, scratch, &s);
    }
    const int m =
        gather(image, plane, sigma_points, n_sigma_drawn, sigma_wanted, nx, taken, values, s.bins);
    good = good && m >= minimum_points;
    double noise = 0.0;
    // A thread works on the same keys here and in the selections, so no barrier is needed in
    // between.
    if (good) {
        for (int i = threadIdx.x; i < m; i += THREADS) keys[i] = key_of(fabs(widen(values[i])));
        const double level = median(keys, m, &s);
        for (int i = threadIdx.x; i < m; i += THREADS) {
            const double X = scaled(taken[i] % nx, nx), Y = scaled(taken[i] / nx, ny);
            keys[i] = key_of(widen(values[i]) - polynomial(c, Y, X));
        }
        const double middle = median(keys, m, &s);
        for (int i = threadIdx.x; i < m; i += THREADS)
            keys[i] = key_of(fabs(value_of(keys[i]) - middle));
        noise = 1.4826 * median(keys, m, &s);
        // A sigma of at most 2^-22 of the median |I| is rounding, not noise.
        good = is_finite(noise) && noise > 2.384185791015625e-07 * level;
    }
    if (threadIdx.x < 6) coefficients[6 * ccd + threadIdx.x] = good ? c[threadIdx.x] : nan("");
    if (threadIdx.x == 0) {
        sigma[ccd] = good ? noise : nan("");
        n_points[ccd] = n, n_sigma_points[ccd] = m, usable[ccd] = good;
    }
}
