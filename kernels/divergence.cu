// Computes the Kullback-Leibler divergence of histograms from a reference (METHOD.md 5, eq. 1).
//
// Formula    KL = sum_j P_j ln(P_j / Pbar_j), where P_j = counts_j / n is the share of bin j and
//            Pbar_j the share in the reference. A bin without counts adds nothing.
// Precision  float64, no FMA, nothing for -ftz. A lane adds its bins in order, and the lanes are
//            added in pairs: one fixed order, however many histograms there are.
// Edges      NaN for a histogram without counts. Counts in a bin that is empty in the reference
//            give infinity.
// Parity     Rounded, 1e-14: the logarithms of two libraries differ in the last place.
// Twin       gpuanom/backends/cpu/divergence.py
// Test       tests/steps/test_divergence.py
#include "common.cuh"

constexpr int WARPS = 8;
constexpr int THREADS = WARPS * WARP;

// The divergence of each row of a table of histograms.
//
// Arguments
//   counts       (n, bins) int64, number of orientations
//   reference    (bins,) float64, shares: they add up to 1
//   n            int64, number of histograms
//   bins         int32, number of bins
//   result       out, (n,) float64, nats (natural logarithm)
//
// Launch     grid (ceil(n / 8)), block (256). A warp takes a histogram, whose counts lie side by
//            side, so it reads them in one request; 8 warps a block fill any card.
// Bytes      8 bins + 8 for each histogram. The reference stays in the cache.
extern "C" __global__ void __launch_bounds__(THREADS)
    divergence(const long long* counts, const double* reference, long long n, int bins,
               double* result) {
    const int lane = threadIdx.x % WARP;
    const long long row = (long long)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (row >= n) return;
    const long long* row_counts = counts + row * bins;
    long long total = 0;
    for (int bin = lane; bin < bins; bin += WARP) total += row_counts[bin];
    total = warp_sum(total);
    double sum = 0.0;
    for (int bin = lane; bin < bins; bin += WARP) {
        const double share = (double)row_counts[bin] / (double)total;
        if (share > 0.0) sum += share * log(share / reference[bin]);
    }
    sum = warp_sum(sum);
    if (lane == 0) result[row] = total > 0 ? sum : nan("");
}
