// Adds up the bins of each CCD along lines in all directions, and finds the contrast of each line
// (METHOD.md 9.6).
//
// Formula    The contrast of a line: the sum of its bins less the mean of the sums of the lines
//            three columns to either side, over the standard deviation that noise gives it.
// Precision  Sums of bins are whole numbers below 2^53; all else is float64 in the CPU's order of
//            operations, no FMA, and -ftz changes nothing.
// Edges      Bins beyond the plane count as 0, and the weights say how many bins a line crosses.
// Parity     Exact for equal bins.
// Twin       gpuanom/backends/cpu/contrasts.py
// Test       tests/steps/test_lines.py
#include "common.cuh"
#include "lines.cuh"

// Sums of a strip that the lines of a block take: they begin up to STRIPS columns apart.
constexpr int SUMS = THREADS + STRIPS;
// Rows of a strip at most: a plane has 8192 bins.
constexpr int MOST_ROWS = 1024;

// Copies the planes, as they are and transposed, and measures the mean and scatter of each.
//
// Arguments
//   bin_sum         (n_planes / 2, rows, columns) int64, steps: bins where sources are left in
//   faint_bin_sum   (n_planes / 2, rows, columns) int64, steps: bins where sources are masked
//   n_planes        int32, number of planes
//   rows            int32, number of rows of bins
//   columns         int32, number of columns of bins
//   copies          out, (2, n_planes, rows columns) int64, steps: the planes, then transposed
//   level           out, (n_planes, 2) float64, steps: mean and standard deviation of the bins
//
// Launch     grid (n_planes), block (256). A block takes one plane, whose bins lie in the caches
//            when they are read for the second time; a thread takes columns that lie 256 apart.
// Bytes      16 read and 16 written for each bin.
extern "C" __global__ void __launch_bounds__(256)
    contrasts_level(const long long* bin_sum, const long long* faint_bin_sum, int n_planes,
                    int rows, int columns, long long* copies, double* level) {
    __shared__ long long totals[WARPS];
    __shared__ double squares[THREADS];
    const int plane = blockIdx.x, half = n_planes / 2;
    const long long size = (long long)rows * columns;
    const long long* const bins =
        plane < half ? bin_sum + plane * size : faint_bin_sum + (plane - half) * size;
    long long* const copy = copies + plane * size;
    long long* const transposed = copies + (n_planes + plane) * size;
    long long total = 0;
    for (int x = threadIdx.x; x < columns; x += THREADS) {
        for (int y = 0; y < rows; y++) {
            const long long bin = bins[(long long)y * columns + x];
            copy[(long long)y * columns + x] = bin, transposed[(long long)x * rows + y] = bin;
            total += bin;
        }
    }
    const double mean = (double)block_sum(total, totals) / (double)size;
    // Squares are added down each column and then over the columns, in the CPU's order.
    double sum = 0.0;
    for (int left = 0; left < columns; left += THREADS) {
        const int x = left + threadIdx.x;
        double square = 0.0;
        for (int y = 0; y < rows && x < columns; y++) {
            const double off = (double)bins[(long long)y * columns + x] - mean;
            square += off * off;
        }
        squares[threadIdx.x] = square;
        __syncthreads();
        if (threadIdx.x == 0)
            for (int k = 0; k < min(THREADS, columns - left); k++) sum += squares[k];
        __syncthreads();
    }
    if (threadIdx.x == 0) level[2 * plane] = mean, level[2 * plane + 1] = sqrt(sum / (double)size);
}

// The contrasts of all lines of each plane and orientation: the highest ones of those that are not
// steep, and all steep ones.
//
// Arguments
//   copies      (2, n_planes, rows columns) int64, steps: the planes, and these transposed
//   level       (n_planes, 2) float64, steps: mean and standard deviation of the bins
//   upright     (2, height, columns + height) float64, weights of the lines of a plane; height is
//               the least power of 2 that is at least rows
//   across      (2, height, rows + height) float64, weights of the lines of a transposed plane;
//               height is the least power of 2 that is at least columns
//   n_planes    int32, number of planes
//   rows        int32, number of rows of bins
//   columns     int32, number of columns of bins
//   most        int32, largest number of blocks of an orientation
//   widest      int32, largest number of lines of one direction
//   value       out, (n_planes, 4, most) float64, the highest contrast that a block has found
//   place       out, (n_planes, 4, most, 2) int32, d and column of that line
//   steep       out, (n_planes, 4, 8, widest) float64, contrasts of the lines d = 1 ... 8
//
// Launch     grid (most, 4, n_planes), block (256). A block takes up to eight directions, whose
//            lines share the sums of strips, and 250 lines of each; a thread takes one of them in
//            each direction. Orientations with fewer lines leave blocks without work.
// Bytes      8 read for each bin a block, from the caches but once, and 16 for each line; 8
//            written for each steep line.
extern "C" __global__ void __launch_bounds__(256)
    contrasts_find(const long long* copies, const double* level, const double* upright,
                   const double* across, int n_planes, int rows, int columns, int most, int widest,
                   double* value, int* place, double* steep) {
    __shared__ long long strip_sums[STRIPS][SUMS];
    __shared__ int of_rows[MOST_ROWS];
    __shared__ double sums[2][THREADS];
    __shared__ Line lines[WARPS];
    const int orientation = blockIdx.y, plane = blockIdx.z;
    const Oriented bins(copies, n_planes, plane, orientation, rows, columns);
    const int n_strips = bins.strips(), strip_rows = bins.height / n_strips;
    const int group = blockIdx.x % strip_rows, tile = blockIdx.x / strip_rows;
    const int first = tile * CENTRES - LINE_PARALLEL;
    if (first + LINE_PARALLEL >= bins.width) return;
    const double mean = level[2 * plane];
    const long long of_plane = (long long)plane * ORIENTATIONS + orientation;
    const double* const excess = orientation >= 2 ? across : upright;
    const double* const root = excess + (long long)bins.height * bins.width;
    for (int y = threadIdx.x; y < strip_rows; y += THREADS)
        of_rows[y] = moved(group, y, strip_rows);
    __syncthreads();
    for (int i = threadIdx.x; i < n_strips * SUMS; i += THREADS) {
        const int strip = i / SUMS, k = i % SUMS, top = strip * strip_rows;
        const int x = first + k + strip * group;
        long long sum = 0;
        for (int y = 0; y < strip_rows; y++) sum += bins.counted(top + y, x + of_rows[y]);
        strip_sums[strip][k] = sum;
    }
    __syncthreads();
    Line best = {0.0, 0, 0};
    const int x = first + threadIdx.x;
    for (int r = 0; r < n_strips; r++) {
        const int d = group * n_strips + r;
        long long sum = 0;
        for (int strip = 0; strip < n_strips; strip++)
            sum += strip_sums[strip][threadIdx.x + moved(r, strip, n_strips)];
        double* const of_line = sums[r % 2];
        of_line[threadIdx.x] = (double)sum;
        __syncthreads();
        // Lines that begin further left do not cross the plane.
        if (threadIdx.x < LINE_PARALLEL || threadIdx.x >= THREADS - LINE_PARALLEL ||
            d < max(1, bins.height / 64) || x < bins.height - d + LINE_PARALLEL ||
            x >= bins.width - LINE_PARALLEL)
            continue;
        const long long at = (long long)d * bins.width + x;
        const Line line = {
            contrast(of_line[threadIdx.x - LINE_PARALLEL], of_line[threadIdx.x],
                     of_line[threadIdx.x + LINE_PARALLEL], mean, excess[at], root[at]),
            d, x};
        if (d <= LINE_STEEP)
            steep[(of_plane * LINE_STEEP + d - 1) * widest + x] = line.value;
        else if (line.value > 0.0 && (best.value == 0.0 || line.above(best)))
            best = line;
    }
    best = block_highest(best, lines);
    if (threadIdx.x == 0) {
        const long long slot = of_plane * most + blockIdx.x;
        value[slot] = best.value, place[2 * slot] = best.d, place[2 * slot + 1] = best.x;
    }
}
