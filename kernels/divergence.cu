// divergence: KL divergence of a table of histograms from one reference (METHOD.md 5, eq. 1).
//
// Formula    KL = sum_j P_j ln(P_j / Pbar_j), P_j = counts_j / n; terms with P_j = 0 are 0.
// Kernels    divergence
// Arguments  counts (n, bins) int64; reference (bins) float64, normalised; result (n) float64, natural logarithm;
//            n, bins: counts.
// Launch     a warp a histogram, 8 warps a block: its counts lie together, so a warp reads them in one request.
// Bytes      8 bins + 8 a histogram;the reference stays in the cache. No pixels.
// Precision  float64, no FMA; within a lane in bin order, then a tree over the warp: one fixed order, whatever the table.
// Edges      NaN for an empty histogram. Counts in a bin that is empty in the reference give infinity.
// Twin       gpuanom/cpu/divergence.py        Test  tests/steps/test_divergence.py
#include "common.cuh"

constexpr int WARPS = 8;

extern "C" __global__ void __launch_bounds__(WARPS* WARP)
    divergence(const long long* counts, const double* reference, double* result, long long n, int bins) {
    const int lane = threadIdx.x % WARP;
    const long long row = (long long)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (row >= n) return;
    const long long* own = counts + row * bins;
    long long total = 0;
    for (int bin = lane; bin < bins; bin += WARP) total += own[bin];
    total = warp_sum(total);
    double sum = 0.0;
    for (int bin = lane; bin < bins; bin += WARP) {
        const double share = (double)own[bin] / (double)total;
        if (share > 0.0) sum += share * log(share / reference[bin]);
    }
    sum = warp_sum(sum);
    if (lane == 0) result[row] = total > 0 ? sum : nan("");
}
