// Finds the straight line that stands out most of the bins of each CCD, in any direction
// (METHOD.md 9.6).
//
// Formula    The line of the highest contrast (contrasts.cu) in four orientations is taken, unless
//            parallels or a dark side show that the line is no trail. Steep lines that bad columns
//            make are passed over.
// Precision  Sums of bins are whole numbers below 2^53; all else is float64 in the CPU's order of
//            operations, no FMA, and -ftz changes nothing.
// Edges      A line along the edge of the plane has the bins that lie on the plane. Planes whose
//            bins are all alike have no line: NaN.
// Parity     Exact for equal bins.
// Twin       gpuanom/backends/cpu/lines.py
// Test       tests/steps/test_lines.py
#include "common.cuh"
#include "lines.cuh"

constexpr int LINE_LEAST_REST = 4, LINE_NEAR = 5;
constexpr double LINE_REST = 0.5, INFINITE = 1e300;

// The median of the bins of a column between two rows, begin ... end - 1, or of its other bins. A
// warp calls; the same in every lane. At least one bin is asked for.
__device__ __forceinline__ double median_of(const Oriented& bins, int column, int begin, int end,
                                            bool inside) {
    const int n = inside ? end - begin : bins.rows - (end - begin);
    // Each of the two middle bins is found by one lane.
    long long lower = 0, upper = 0;
    for (int y = threadIdx.x % WARP; y < bins.rows; y += WARP) {
        if ((y >= begin && y < end) != inside) continue;
        const long long own = bins.at(y, column);
        int rank = 0;
        for (int other = 0; other < bins.rows; other++) {
            if ((other >= begin && other < end) != inside) continue;
            const long long bin = bins.at(other, column);
            rank += bin < own || (bin == own && other < y);
        }
        if (rank == (n - 1) / 2) lower = own;
        if (rank == n / 2) upper = own;
    }
    return 0.5 * ((double)warp_sum(lower) + (double)warp_sum(upper));
}

// Whether a steep line of that slope owes what stands out of it, `excess` in all, to columns of
// bins. The block calls, with shared memory for the columns that such a line can cross; before it
// calls again, there must be a barrier.
__device__ __forceinline__ bool along_a_column(const Oriented& bins, const Line& line,
                                               double slope, double excess, double* over,
                                               int* length) {
    const int start = line.x - bins.height, lane = threadIdx.x % WARP;
    const int left = max(start, 0);
    const int n_columns = min(bins.columns - 1, start + line.d) - left + 1;
    for (int k = threadIdx.x / WARP; k < n_columns; k += WARPS) {
        int begin = bins.rows, end = 0;
        for (int y = lane; y < bins.rows; y += WARP)
            if (bins.crossed(slope, start, y) == left + k) begin = min(begin, y), end = y + 1;
        for (int step = WARP / 2; step > 0; step /= 2) {
            begin = min(begin, __shfl_xor_sync(WHOLE_WARP, begin, step));
            end = max(end, __shfl_xor_sync(WHOLE_WARP, end, step));
        }
        const int n = max(end - begin, 0);
        // A column that is crossed in all its rows has no other bins.
        double above = 0.0;
        if (n > 0 && n < bins.rows)
            above = median_of(bins, left + k, begin, end, true) -
                    median_of(bins, left + k, begin, end, false);
        if (lane == 0) length[k] = n, over[k] = (double)n * above;
    }
    __syncthreads();
    double total = 0.0, strongest = -INFINITE;
    int n = 0, n_strongest = 0;
    for (int k = 0; k < n_columns; k++) {
        if (length[k] == 0) continue;
        total += over[k], n += length[k];
        if (over[k] > strongest) strongest = over[k], n_strongest = length[k];
    }
    const int rest = n - n_strongest;
    return rest < LINE_LEAST_REST ||
           (total - strongest) * (double)n < LINE_REST * excess * (double)rest;
}

// The highest line of each plane and orientation that no bad column makes.
//
// Arguments
//   copies      (2, n_planes, rows columns) int64, steps: the planes, then transposed
//   upright     (2, height, columns + height) float64, weights of the lines of a plane
//   across      (2, height, rows + height) float64, weights of the lines of a transposed plane
//   value       (n_planes, 4, most) float64, from contrasts_find
//   place       (n_planes, 4, most, 2) int32, from contrasts_find
//   steep       (n_planes, 4, 8, widest) float64, from contrasts_find
//   n_planes    int32, number of planes
//   rows        int32, number of rows of bins
//   columns     int32, number of columns of bins
//   most        int32, largest number of blocks of an orientation in contrasts_find
//   widest      int32, largest number of lines of one direction
//   height      out, (n_planes, 4) float64, contrast of the line; 0 without one
//   line        out, (n_planes, 4, 2) int32, d and column of the line
//
// Launch     grid (4, n_planes), block (256). A block takes one orientation of a plane, of whose
//            steep lines the highest one is looked at first. A warp takes a column that this line
//            crosses. Three blocks share a multiprocessor: then no registers are spilled.
// Bytes      8 read for each steep line and 16 for each block of contrasts_find; 16 written for
//            each orientation.
extern "C" __global__ void __launch_bounds__(256, 3)
    lines_choose(const long long* copies, const double* upright, const double* across,
                 const double* value, const int* place, const double* steep, int n_planes,
                 int rows, int columns, int most, int widest, double* height, int* line) {
    __shared__ Line lines[WARPS];
    __shared__ double over[LINE_STEEP + 1];
    __shared__ int length[LINE_STEEP + 1];
    // The slopes of steep lines: registers would be spilled around a division further down.
    __shared__ double slopes[LINE_STEEP + 1];
    const int orientation = blockIdx.x, plane = blockIdx.y;
    const Oriented bins(copies, n_planes, plane, orientation, rows, columns);
    if (threadIdx.x <= LINE_STEEP) slopes[threadIdx.x] = bins.slope(threadIdx.x);
    const double* const root =
        (orientation >= 2 ? across : upright) + (long long)bins.height * bins.width;
    const long long of_plane = (long long)plane * ORIENTATIONS + orientation;
    const int n_blocks = bins.height / bins.strips() * ((bins.width + CENTRES - 1) / CENTRES);
    const Line none = {0.0, bins.height, bins.width};
    Line best = none;
    for (int i = threadIdx.x; i < n_blocks; i += THREADS) {
        const long long slot = of_plane * most + i;
        const Line found = {value[slot], place[2 * slot], place[2 * slot + 1]};
        if (found.value > 0.0 && found.above(best)) best = found;
    }
    best = block_highest(best, lines);
    // Steep lines from the highest one on, until one is no bad column's. Each must be higher than
    // all lines that are not steep, or as high.
    Line refused = {INFINITE, 0, 0};
    while (true) {
        Line next = none;
        for (int d = max(1, bins.height / 64); d <= min(LINE_STEEP, bins.height - 1); d++) {
            for (int x = bins.height - d + LINE_PARALLEL + threadIdx.x;
                 x < bins.width - LINE_PARALLEL; x += THREADS) {
                const Line found = {steep[(of_plane * LINE_STEEP + d - 1) * widest + x], d, x};
                if (found.value > 0.0 && found.value >= best.value && refused.above(found) &&
                    found.above(next))
                    next = found;
            }
        }
        next = block_highest(next, lines);
        if (next.value == 0.0) break;
        const double excess = next.value * root[(long long)next.d * bins.width + next.x];
        if (!along_a_column(bins, next, slopes[next.d], excess, over, length)) {
            best = next;
            break;
        }
        refused = next;
    }
    if (threadIdx.x == 0)
        height[of_plane] = best.value, line[2 * of_plane] = best.d,
        line[2 * of_plane + 1] = best.x;
}

// The highest line of each plane: where that line enters and leaves the plane, and how much of it
// is bright.
//
// Arguments
//   copies      (2, n_planes, rows columns) int64, steps: the planes, then transposed
//   level       (n_planes, 2) float64, steps: mean and standard deviation of the bins
//   upright     (2, height, columns + height) float64, weights of the lines of a plane
//   across      (2, height, rows + height) float64, weights of the lines of a transposed plane
//   height      (n_planes, 4) float64, from lines_choose
//   line        (n_planes, 4, 2) int32, from lines_choose
//   n_planes    int32, number of planes
//   rows        int32, number of rows of bins
//   columns     int32, number of columns of bins
//   widest      int32, largest number of lines of one direction
//   segment     int32, bins of a segment
//   alone       float64, part of the height that no parallel has
//   noise       float64, standard deviations that parallels reach by chance
//   edge        float64, part of the height that no dark line beside it has
//   sums        scratch, (n_planes, widest) int64, steps: sums of the lines of one direction
//   found       out, (n_planes, 6) float64, the line: height in standard deviations, x and y of
//               its first and of its last bin, and the share of segments that are positive; 0 and
//               NaN where the highest line is no trail; all NaN where all bins are alike
//
// Launch     grid (n_planes), block (256). A block takes one plane: the highest one of its four
//            lines decides what is left to do. A thread takes lines that lie 256 columns apart,
//            and then a segment.
// Bytes      8 read for each bin, many times from the caches; 48 written for each plane.
extern "C" __global__ void __launch_bounds__(256)
    lines_follow(const long long* copies, const double* level, const double* upright,
                 const double* across, const double* height, const int* line, int n_planes,
                 int rows, int columns, int widest, int segment, double alone, double noise,
                 double edge, long long* sums, double* found) {
    __shared__ Line lines[WARPS];
    __shared__ int enters, leaves, n_positive;
    const int plane = blockIdx.x;
    const double mean = level[2 * plane], deviation = level[2 * plane + 1];
    const bool varied = deviation > 0.0;
    if (threadIdx.x < 6)
        found[6 * plane + threadIdx.x] = threadIdx.x == 0 && varied ? 0.0 : nan("");
    if (threadIdx.x == 0) enters = max(rows, columns), leaves = -1, n_positive = 0;
    double highest = 0.0;
    int orientation = 0;
    for (int k = 0; k < ORIENTATIONS && varied; k++) {
        const double over = height[plane * ORIENTATIONS + k] / deviation;
        if (over > highest) highest = over, orientation = k;
    }
    if (highest == 0.0) return;
    const int chosen = 2 * (plane * ORIENTATIONS + orientation);
    const int d = line[chosen], column = line[chosen + 1];

    // The lines parallel to it.
    const Oriented bins(copies, n_planes, plane, orientation, rows, columns);
    const double* const excess = (orientation >= 2 ? across : upright) + (long long)d * bins.width;
    const double* const root = excess + (long long)bins.height * bins.width;
    long long* const parallel = sums + (long long)plane * widest;
    for (int x = threadIdx.x; x < bins.width; x += THREADS) {
        long long sum = 0;
        for (int y = 0; y < bins.rows; y++) sum += bins.counted(y, x + moved(d, y, bins.height));
        parallel[x] = sum;
    }
    __syncthreads();
    Line elsewhere = {0.0, 0, 0}, beside = {0.0, 0, 0};
    for (int x = bins.height - d + LINE_PARALLEL + threadIdx.x; x < bins.width - LINE_PARALLEL;
         x += THREADS) {
        const double over =
            contrast((double)parallel[x - LINE_PARALLEL], (double)parallel[x],
                     (double)parallel[x + LINE_PARALLEL], mean, excess[x], root[x]);
        if (abs(x - column) > LINE_NEAR)
            elsewhere.value = fmax(elsewhere.value, fabs(over));
        else
            beside.value = fmax(beside.value, -over);
    }
    elsewhere = block_highest(elsewhere, lines), beside = block_highest(beside, lines);
    if (elsewhere.value / deviation > fmax(alone * highest, noise) ||
        beside.value / deviation > edge * highest)
        return;

    // Along the line.
    const int start = column - bins.height;
    const double slope = bins.slope(d);
    for (int y = threadIdx.x; y < bins.rows; y += THREADS)
        if (bins.crossed(slope, start, y) >= 0) atomicMin(&enters, y), atomicMax(&leaves, y);
    __syncthreads();
    const int n_segments = (leaves - enters + segment) / segment;
    for (int k = threadIdx.x; k < n_segments; k += THREADS) {
        double total = 0.0;
        const int begin = enters + k * segment, end = min(begin + segment, leaves + 1);
        for (int y = begin; y < end; y++)
            total += (double)bins.at(y, bins.crossed(slope, start, y)) - mean;
        if (total > 0.0) atomicAdd(&n_positive, 1);
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    double* const result = found + 6 * plane;
    result[0] = highest, result[5] = (double)n_positive / (double)n_segments;
    for (int k = 0; k < 2; k++) {
        const int y = k == 0 ? enters : leaves;
        const double x = (double)start + slope * (double)y;
        const double across_rows = bins.mirrored ? (double)(bins.columns - 1) - x : x;
        result[1 + 2 * k] = orientation >= 2 ? (double)y : across_rows;
        result[2 + 2 * k] = orientation >= 2 ? across_rows : (double)y;
    }
}
