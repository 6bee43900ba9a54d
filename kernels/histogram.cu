// Counts the orientations of each CCD into bins, in focal-plane axes (METHOD.md 5 and 5b).
//
// Formula    An angle theta is first turned as its CCD is (mirrored, then by a quarter turn, and
//            brought back into (-pi/2, pi/2]). Its bin is ceil(bins (theta / pi + 1/2)) - 1. The
//            sums of cos 2 theta and sin 2 theta are taken beside the counts.
// Precision  float64, no FMA, nothing for -ftz: equal angles are in equal bins on both backends.
//            The sums are whole multiples of 2^-42, so they do not depend on the order of
//            additions, on the blocks, or on what else is in the stack: nothing but integers is
//            added atomically. A term is off by at most 2^-43 = 1.1e-13, beside the error of the
//            cosine.
// Edges      A CCD without orientations has zeros. NaN, and a ccd outside 0 ... n_ccd - 1, are
//            left out. Beyond 2^21 orientations of a CCD a sum could overflow, and its sums are
//            NaN; the settings allow 10^6.
// Parity     Counts are exact for equal orientations. Sums are rounded, 1e-12 of n, since the
//            CPU adds float64 numbers.
// Twin       gpuanom/backends/cpu/histogram.py
// Test       tests/steps/test_histogram.py
#include "common.cuh"

constexpr int THREADS = 256;
constexpr int SHARE = 512;
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

// The counts and the sums, the latter in units of 2^-42, of all CCDs.
//
// Arguments
//   orientation    (n,) float64, radians; NaN is left out
//   ccd            (n,) int64, index of the CCD of each orientation, in any order
//   turns          (n_ccd,) int64, values of gpuanom.records.Turn
//   n              int64, number of orientations
//   n_ccd          int32, number of CCDs
//   bins           int32, number of bins
//   counts         in and out, (n_ccd, bins) int64, number of orientations: zero at first
//   sums           in and out, (n_ccd, 2) int64, in 2^-42: of cosine and sine, zero at first
//
// Launch     grid (ceil(n / 512)), block (256). A block counts 512 orientations: enough that
//            clearing and adding its counters costs little, and so few that 61 CCDs of 10 000 make
//            1192 blocks, whose waits for memory overlap. The CCDs of its first and of its last
//            orientation are counted in shared memory (8 bytes a bin) and added once. Orientations
//            of other CCDs are added to global memory one by one, which is right in any order and
//            does not occur where CCDs of at least 512 come one after the other.
// Bytes      16 an orientation; a block adds bins + 16 numbers for each of the one or two CCDs.
extern "C" __global__ void __launch_bounds__(THREADS)
    histogram_count(const double* orientation, const long long* ccd, const long long* turns,
                    long long n, int n_ccd, int bins, long long* counts, long long* sums) {
    extern __shared__ int tally[];
    for (int bin = threadIdx.x; bin < 2 * bins; bin += THREADS) tally[bin] = 0;
    __syncthreads();
    const long long first = (long long)blockIdx.x * SHARE, last = min(first + SHARE, n);
    const long long end_ccds[2] = {ccd[first], ccd[last - 1]};
    long long cosine[2] = {0, 0}, sine[2] = {0, 0};
    for (long long i = first + threadIdx.x; i < last; i += THREADS) {
        const long long owner = ccd[i];
        if (!is_finite(orientation[i]) || owner < 0 || owner >= n_ccd) continue;
        const double half_turns = turned(orientation[i], turns[owner]) / PI;
        // min and max only matter for angles that equal -pi/2 but for rounding.
        const int bin = min(max((int)ceil((double)bins * (half_turns + 0.5)) - 1, 0), bins - 1);
        // Not sincos: it has a second branch for huge angles, which spills registers.
        double s, c;
        sincospi(2.0 * half_turns, &s, &c);
        const long long of_cosine = llrint(c * UNIT), of_sine = llrint(s * UNIT);
        if (owner == end_ccds[0]) {
            atomicAdd(&tally[bin], 1);
            cosine[0] += of_cosine, sine[0] += of_sine;
        } else if (owner == end_ccds[1]) {
            atomicAdd(&tally[bins + bin], 1);
            cosine[1] += of_cosine, sine[1] += of_sine;
        } else {
            add_to(&counts[owner * bins + bin], 1);
            add_to(&sums[2 * owner], of_cosine);
            add_to(&sums[2 * owner + 1], of_sine);
        }
    }
    __syncthreads();
    for (int k = 0; k < 2; k++) {
        // All threads of the block go the same way.
        if (end_ccds[k] < 0 || end_ccds[k] >= n_ccd || (k == 1 && end_ccds[1] == end_ccds[0]))
            continue;
        for (int bin = threadIdx.x; bin < bins; bin += THREADS)
            if (tally[k * bins + bin] != 0)
                add_to(&counts[end_ccds[k] * bins + bin], tally[k * bins + bin]);
        const long long all_cosine = warp_sum(cosine[k]), all_sine = warp_sum(sine[k]);
        if (threadIdx.x % WARP == 0) {
            add_to(&sums[2 * end_ccds[k]], all_cosine);
            add_to(&sums[2 * end_ccds[k] + 1], all_sine);
        }
    }
}

// The sums as float64 numbers.
//
// Arguments
//   counts    (n_ccd, bins) int64, number of orientations
//   sums      (n_ccd, 2) int64, in 2^-42: of cosine and sine
//   n_ccd     int32, number of CCDs
//   bins      int32, number of bins
//   cosine    out, (n_ccd,) float64, no unit: sum of cos 2 theta
//   sine      out, (n_ccd,) float64, no unit: sum of sin 2 theta
//
// Launch     grid (ceil(n_ccd / 256)), block (256). A thread takes a CCD: there are a hundred, and
//            the launch itself costs more than its work.
// Bytes      8 bins + 32 a CCD.
extern "C" __global__ void __launch_bounds__(THREADS)
    histogram_finish(const long long* counts, const long long* sums, int n_ccd, int bins,
                     double* cosine, double* sine) {
    const int ccd = blockIdx.x * THREADS + threadIdx.x;
    if (ccd >= n_ccd) return;
    long long total = 0;
    for (int bin = 0; bin < bins; bin++) total += counts[(long long)ccd * bins + bin];
    cosine[ccd] = total > MOST ? nan("") : (double)sums[2 * ccd] / UNIT;
    sine[ccd] = total > MOST ? nan("") : (double)sums[2 * ccd + 1] / UNIT;
}
