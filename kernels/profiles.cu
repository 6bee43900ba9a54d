// Measures jitter and steps of the profiles of rows and columns of each CCD (METHOD.md 9.3).
//
// Formula    The jitter is the mean of ((m - d) sqrt(n))^2, clipped at 4 robust standard
//            deviations: m is the mean residual of a row, n the number of its pixels, and d the
//            running median of 31 rows at every eighth row, interpolated between these. The steps
//            are the mean of the 48 rows after a place less that of the 48 rows before, over the
//            deviation that pixel noise gives. Columns alike.
// Precision  float64 in the CPU's order of operations, no FMA; steps are rounded to float32 by
//            narrow(), which -ftz cannot change. Medians are exact.
// Edges      Rows with less than a quarter of their pixels are left out, as are sides of a place.
//            Without any row the jitter is NaN, and so is a step without either side.
// Parity     Exact for equal sums.
// Twin       gpuanom/backends/cpu/profiles.py
// Test       tests/steps/test_profiles.py
#include "common.cuh"
#include "select.cuh"

constexpr int THREADS = SELECTORS, PROFILE_EVERY = 8;

// The median of the numbers of a warp's lanes, without those that are NaN; NaN if all are. The
// whole warp calls, and every lane gets the median.
__device__ double warp_median(double value) {
    const int lane = threadIdx.x % WARP;
    const bool known = value == value;
    const int n = __popc(__ballot_sync(WHOLE_WARP, known));
    int rank = 0;
    for (int from = 0; from < WARP; from++) {
        // Every comparison with NaN is false.
        const double other = __shfl_sync(WHOLE_WARP, value, from);
        rank += other < value || (other == value && from < lane);
    }
    const unsigned lower = __ballot_sync(WHOLE_WARP, known && rank == (n - 1) / 2);
    const unsigned upper = __ballot_sync(WHOLE_WARP, known && rank == n / 2);
    if (n == 0) return nan("");
    return (__shfl_sync(WHOLE_WARP, value, __ffs(lower) - 1) +
            __shfl_sync(WHOLE_WARP, value, __ffs(upper) - 1)) /
           2.0;
}

// The jitter of each profile about its running median.
//
// Arguments
//   sums        (n, size) int64, sums of the residual in each row, in units of `step`
//   counts      (n, size) int64, number of pixels behind each sum
//   width       int32, pixels of a row
//   size        int32, rows of a profile, at least `window`
//   window      int32, rows of the running median, at most 32
//   step        float64, sigma
//   clip        float64, robust standard deviations at which the profile is clipped
//   left        scratch, (n, size) float64, sigma: the profile less its running median
//   keys        scratch, (n, size) uint64, bits of the numbers whose median is taken
//   medians     scratch, (n, size) float64, sigma: the running median
//   middles     scratch, (n, size) int32, rows: where its windows have their middles
//   jitter      out, (n,) float64, variance over what pixel noise of 1 sigma gives
//
// Launch     grid (n), block (512). A block takes a profile, whose median needs all of its rows; a
//            thread takes rows that lie 512 apart, a warp a window.
// Bytes      16 read for each row; 40 written and read again, from the caches.
extern "C" __global__ void __launch_bounds__(512, 2)
    profiles_jitter(const long long* sums, const long long* counts, int width, int size,
                    int window, double step, double clip, double* left, unsigned long long* keys,
                    double* medians, int* middles, double* jitter) {
    __shared__ Selection selection;
    __shared__ double of_threads[THREADS];
    __shared__ int scratch[THREADS / WARP];
    const long long first = (long long)blockIdx.x * size;
    sums += first, counts += first, left += first, keys += first;
    medians += first, middles += first;
    for (int y = threadIdx.x; y < size; y += THREADS)
        left[y] = 4 * counts[y] >= width ? (double)sums[y] * step / (double)max(counts[y], 1ll)
                                         : nan("");
    __syncthreads();

    // The running median, a warp a window.
    const int n_windows = (size - window) / PROFILE_EVERY + 1, lane = threadIdx.x % WARP;
    for (int k = threadIdx.x / WARP; k < n_windows; k += THREADS / WARP) {
        const double middle =
            warp_median(lane < window ? left[PROFILE_EVERY * k + lane] : nan(""));
        if (lane == 0) medians[k] = middle;
    }
    __syncthreads();
    // Windows that hold nothing are left out; the others move to the front.
    int n = 0, total;
    for (int start = 0; start < n_windows; start += THREADS) {
        const int k = start + threadIdx.x;
        const double middle = k < n_windows ? medians[k] : nan("");
        const int rank = block_rank(middle == middle, scratch, &total);
        if (middle == middle)
            medians[n + rank] = middle, middles[n + rank] = PROFILE_EVERY * k + window / 2;
        n += total;
    }
    __syncthreads();
    if (n == 0) {
        if (threadIdx.x == 0) jitter[blockIdx.x] = nan("");
        return;
    }

    // The profile less its running median, in units of pixel noise.
    int n_known = 0;
    for (int start = 0; start < size; start += THREADS) {
        const int y = start + threadIdx.x;
        double value = nan("");
        if (y < size) {
            // The last middle that is not beyond this row, or -1.
            int k = -1, beyond = n;
            while (beyond - k > 1) {
                const int between = (k + beyond) / 2;
                if (middles[between] <= y)
                    k = between;
                else
                    beyond = between;
            }
            double median = medians[max(k, 0)];
            if (k >= 0) {
                const double slope = k + 1 < n ? (medians[k + 1] - medians[k]) /
                                                     (double)(middles[k + 1] - middles[k])
                                               : 0.0;
                median = slope * (double)(y - middles[k]) + median;
            }
            value = (left[y] - median) * sqrt((double)counts[y]);
            left[y] = value;
        }
        const int rank = block_rank(value == value, scratch, &total);
        if (value == value) keys[n_known + rank] = key_of(fabs(value));
        n_known += total;
    }
    __syncthreads();
    const double limit = clip * 1.4826 * median(keys, n_known, &selection);
    double sum = 0.0;
    for (int y = threadIdx.x; y < size; y += THREADS) {
        const double clipped = fmin(fmax(left[y], -limit), limit);
        if (left[y] == left[y]) sum += clipped * clipped;
    }
    of_threads[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    sum = 0.0;
    for (int k = 0; k < THREADS; k++) sum += of_threads[k];
    jitter[blockIdx.x] = sum / (double)n_known;
}

// The steps of each profile.
//
// Arguments
//   sums        (n, size) int64, sums of the residual in each row, in units of `unit`
//   counts      (n, size) int64, number of pixels behind each sum
//   n           int32, number of profiles
//   width       int32, pixels of a row
//   size        int32, rows of a profile
//   places      int32, places of a profile
//   reach       int32, rows on each side of a place
//   stride      int32, rows from one place to the next; the first one is at `reach`
//   unit        float64, sigma
//   steps       out, (n, places) float32, standard deviations of pixel noise
//
// Launch     grid (ceil(n places / 256)), block (256). A thread takes a place, whose two sides it
//            adds up; those of neighbours overlap and come from the caches.
// Bytes      16 read for each row, six times from the caches; 4 written for each place.
extern "C" __global__ void __launch_bounds__(256)
    profiles_steps(const long long* sums, const long long* counts, int n, int width, int size,
                   int places, int reach, int stride, double unit, float* steps) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)n * places) return;
    const long long first = i / places * size + i % places * stride;
    long long sum[2] = {}, count[2] = {};
    for (int side = 0; side < 2; side++) {
        for (int y = 0; y < reach; y++) {
            sum[side] += sums[first + side * reach + y];
            count[side] += counts[first + side * reach + y];
        }
    }
    if (4 * min(count[0], count[1]) < (long long)reach * width) {
        steps[i] = __int_as_float(0x7fc00000);
        return;
    }
    // An axis of no pixels has no sums, and divides nothing by nothing.
    const double before = (double)max(count[0], 1ll), after = (double)max(count[1], 1ll);
    const double low = (double)sum[0] / before, high = (double)sum[1] / after;
    steps[i] = narrow((high - low) * unit / sqrt(1.0 / before + 1.0 / after));
}
