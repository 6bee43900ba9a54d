// histogram: orientation histograms of all CCDs of a stack, in focal-plane axes (METHOD.md 5, 5b).
//
// Formula    theta turned by its CCD's Turn (mirrored, then a quarter turn, back into (-pi/2, pi/2]);
//            bin = ceil(bins (theta / pi + 1/2)) - 1; sums of cos 2 theta and sin 2 theta.
// Kernels    histogram_count   counts, and the sums in fixed point, all CCDs in one launch
//            histogram_finish  the sums as float64
// Arguments  orientation (n) radians, NaN is left out; ccd (n) index of each one's CCD, in any order; turns (n_ccd)
//            gpuanom.records.Turn; counts (n_ccd, bins) and sums (n_ccd, 2) int64, zero on entry, sums in 2^-42;
//            cosine, sine (n_ccd) float64; n, n_ccd, bins: counts.
// Launch     count: 256 threads a block for 2048 orientations: with 61 x 10 000 of them, 298 blocks. A block counts the
//            CCD of its first orientation in shared memory and registers, and adds once; those of other CCDs, few where
//            CCDs come one after the other, go to memory one by one: right in any order, quick in the usual one.
//            Shared: bins counters. finish: a thread a CCD.
// Bytes      16 an orientation; a block adds bins + 16 numbers. No pixels.
// Precision  float64, no FMA: the bin of equal angles is the twin's. The sums are whole numbers of 2^-42, so that they
//            do not depend on the order of additions, on the blocks, or on what else is in the stack, and nothing but
//            integers is added atomically; each term is off by at most 2^-43 = 1.1e-13 beside the cosine's own error.
// Edges      An empty CCD has zeros. Beyond 2^21 orientations of one CCD a sum could overflow: its sums are NaN (the
//            settings allow 10^6). A ccd outside 0 ... n_ccd - 1 is left out.
// Twin       gpuanom/cpu/histogram.py        Test  tests/steps/test_histogram.py
#include "common.cuh"

constexpr int THREADS = 256;
constexpr int SHARE = 2048;
constexpr double UNIT = 4398046511104.0;  // 2^42
constexpr long long MOST = 1LL << 21;
constexpr double PI = 3.141592653589793;
constexpr double HALF_PI = 1.5707963267948966;
enum Turn { QUARTER = 1, MIRRORED = 2 };  // gpuanom.records.Turn

__device__ double turned(double theta, long long turn) {
    if ((turn & MIRRORED) != 0) theta = -theta;
    if ((turn & QUARTER) != 0) theta = theta + HALF_PI;
    if (theta > HALF_PI) theta = theta - PI;
    if (theta <= -HALF_PI) theta = theta + PI;
    return theta;
}

// CUDA has the addition for unsigned numbers alone; of two's complement it is the same one.
__device__ void add(long long* to, long long value) { atomicAdd((unsigned long long*)to, (unsigned long long)value); }

extern "C" __global__ void __launch_bounds__(THREADS)
    histogram_count(const double* orientation, const long long* ccd, const long long* turns, long long* counts,
                    long long* sums, long long n, int n_ccd, int bins) {
    extern __shared__ int tally[];
    for (int bin = threadIdx.x; bin < bins; bin += THREADS) tally[bin] = 0;
    __syncthreads();
    const long long first = (long long)blockIdx.x * SHARE, last = min(first + SHARE, n);
    const long long own = ccd[first];
    long long cosine = 0, sine = 0;
    for (long long i = first + threadIdx.x; i < last; i += THREADS) {
        const long long owner = ccd[i];
        if (!is_finite(orientation[i]) || owner < 0 || owner >= n_ccd) continue;
        const double half_turns = turned(orientation[i], turns[owner]) / PI;
        // The clip only catches angles within rounding of -pi/2.
        const int bin = min(max((int)ceil((double)bins * (half_turns + 0.5)) - 1, 0), bins - 1);
        // Not sincos: for angles far beyond ours that keeps a second way, which spills registers.
        double s, c;
        sincospi(2.0 * half_turns, &s, &c);
        if (owner == own) {
            atomicAdd(&tally[bin], 1);
            cosine += llrint(c * UNIT);
            sine += llrint(s * UNIT);
        } else {
            add(&counts[owner * bins + bin], 1);
            add(&sums[2 * owner], llrint(c * UNIT));
            add(&sums[2 * owner + 1], llrint(s * UNIT));
        }
    }
    __syncthreads();
    if (own < 0 || own >= n_ccd) return;
    for (int bin = threadIdx.x; bin < bins; bin += THREADS)
        if (tally[bin] != 0) add(&counts[own * bins + bin], tally[bin]);
    cosine = warp_sum(cosine);
    sine = warp_sum(sine);
    if (threadIdx.x % WARP == 0) {
        add(&sums[2 * own], cosine);
        add(&sums[2 * own + 1], sine);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    histogram_finish(const long long* counts, const long long* sums, double* cosine, double* sine, int n_ccd, int bins) {
    const int ccd = blockIdx.x * THREADS + threadIdx.x;
    if (ccd >= n_ccd) return;
    long long total = 0;
    for (int bin = 0; bin < bins; bin++) total += counts[(long long)ccd * bins + bin];
    cosine[ccd] = total > MOST ? nan("") : (double)sums[2 * ccd] / UNIT;
    sine[ccd] = total > MOST ? nan("") : (double)sums[2 * ccd + 1] / UNIT;
}
