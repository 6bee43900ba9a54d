// Finds the straight line that stands out most of the bins of each CCD, in any direction
// (METHOD.md 9.6).
//
// Formula    Of each line the contrast: the sum of its bins less the mean of the sums of the lines
//            three columns to either side, over the standard deviation that noise gives it. The
//            highest line of four orientations is taken, unless parallels or a dark side show that
//            the line is no trail. Steep lines that bad columns make are passed over.
// Precision  Sums of bins are whole numbers below 2^53; all else is float64 in the CPU's order of
//            operations, no FMA, and -ftz changes nothing.
// Edges      Bins beyond the plane count as 0, and the weights say how many bins a line crosses.
//            Planes whose bins are all alike have no line: NaN.
// Parity     Exact for equal bins.
// Twin       gpuanom/backends/cpu/lines.py
// Test       tests/steps/test_lines.py
#include "common.cuh"

constexpr int THREADS = 256, WARPS = THREADS / WARP, ORIENTATIONS = 4, PARALLEL = 3, STEEP = 8,
              LEAST_REST = 4, NEAR = 5;
constexpr double REST = 0.5;
// The rows of a plane are added in up to eight strips. A line that moves by d columns moves by
// d / STRIPS in each of them, so that eight lines share the sums of a strip.
constexpr int STRIPS = 8;
// Lines that a block looks at beside each other: all of its sums but three at either end.
constexpr int CENTRES = THREADS - 2 * PARALLEL;
// Sums of a strip that these lines take: they begin up to STRIPS columns apart.
constexpr int SUMS = THREADS + STRIPS;
// Rows of a strip at most: a plane has 8192 bins.
constexpr int MOST_ROWS = 1024;
constexpr double INFINITE = 1e300;

// The bins of one plane in one of the four orientations: as they are, mirrored from left to right,
// and both of these transposed. Columns are counted from `height` columns left of the plane on.
struct Oriented {
    const long long* bins;
    int rows, columns, height, width;
    bool mirrored;

    // `copies` holds the planes, and then the transposed planes.
    __device__ Oriented(const long long* copies, int n_planes, int plane, int orientation,
                        int n_rows, int n_columns) {
        const bool transposed = orientation >= 2;
        const long long size = (long long)n_rows * n_columns;
        bins = copies + (transposed ? n_planes + plane : plane) * size;
        rows = transposed ? n_columns : n_rows, columns = transposed ? n_rows : n_columns;
        mirrored = orientation % 2 == 1;
        height = 1;
        while (height < rows) height *= 2;
        width = columns + height;
    }

    // A bin by its row and its column of the plane.
    __device__ __forceinline__ long long at(int y, int column) const {
        return bins[(long long)y * columns + (mirrored ? columns - 1 - column : column)];
    }

    // The same, 0 beyond the plane, with columns counted as those of lines.
    __device__ __forceinline__ long long counted(int y, int x) const {
        const int column = x - height;
        return y < rows && column >= 0 && column < columns ? at(y, column) : 0;
    }

    __device__ __forceinline__ int strips() const { return min(STRIPS, height); }

    // The slope of line d, in columns a row.
    __device__ __forceinline__ double slope(int d) const {
        return (double)d / (double)max(height - 1, 1);
    }

    // The column of the plane in which a line of that slope is in row y, or -1 beyond the plane.
    __device__ __forceinline__ int crossed(double slope, int start, int y) const {
        const double x = (double)start + slope * (double)y;
        return -0.5 < x && x < (double)columns - 0.5 ? (int)rint(x) : -1;
    }
};

// How many columns line d of `rows` rows, a power of 2, has moved by in row y.
__device__ __forceinline__ int moved(int d, int y, int rows) {
    int columns = 0;
    for (int half = rows / 2; half > 0; half /= 2, d /= 2)
        if ((y & half) != 0) columns += (d + 1) / 2;
    return columns;
}

// A line by its contrast and place: of equally high ones the one that moves least is the higher
// one, then the first from the left.
struct Line {
    double value;
    int d, x;

    __device__ __forceinline__ bool above(const Line& other) const {
        if (value != other.value) return value > other.value;
        return d != other.d ? d < other.d : x < other.x;
    }
};

// The highest of the lines of all threads, returned to every thread. scratch: shared memory for a
// line of each warp. The last act is a barrier.
__device__ __forceinline__ Line block_highest(Line line, Line* scratch) {
    for (int step = WARP / 2; step > 0; step /= 2) {
        Line other;
        other.value = __shfl_xor_sync(WHOLE_WARP, line.value, step);
        other.d = __shfl_xor_sync(WHOLE_WARP, line.d, step);
        other.x = __shfl_xor_sync(WHOLE_WARP, line.x, step);
        if (other.above(line)) line = other;
    }
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = line;
    __syncthreads();
    Line best = scratch[0];
    for (int warp = 1; warp < WARPS; warp++)
        if (scratch[warp].above(best)) best = scratch[warp];
    __syncthreads();
    return best;
}

// The contrast of a line, from its sum and those of its parallels. excess and root: its weights.
__device__ __forceinline__ double contrast(double before, double sum, double after, double mean,
                                           double excess, double root) {
    return (sum - 0.5 * (before + after) - mean * excess) / root;
}

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
    lines_level(const long long* bin_sum, const long long* faint_bin_sum, int n_planes, int rows,
                int columns, long long* copies, double* level) {
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
    lines_contrast(const long long* copies, const double* level, const double* upright,
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
    const int first = tile * CENTRES - PARALLEL;
    if (first + PARALLEL >= bins.width) return;
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
        if (threadIdx.x < PARALLEL || threadIdx.x >= THREADS - PARALLEL ||
            d < max(1, bins.height / 64) || x < bins.height - d + PARALLEL ||
            x >= bins.width - PARALLEL)
            continue;
        const long long at = (long long)d * bins.width + x;
        const Line line = {contrast(of_line[threadIdx.x - PARALLEL], of_line[threadIdx.x],
                                    of_line[threadIdx.x + PARALLEL], mean, excess[at], root[at]),
                           d, x};
        if (d <= STEEP)
            steep[(of_plane * STEEP + d - 1) * widest + x] = line.value;
        else if (line.value > 0.0 && (best.value == 0.0 || line.above(best)))
            best = line;
    }
    best = block_highest(best, lines);
    if (threadIdx.x == 0) {
        const long long slot = of_plane * most + blockIdx.x;
        value[slot] = best.value, place[2 * slot] = best.d, place[2 * slot + 1] = best.x;
    }
}

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
    return rest < LEAST_REST || (total - strongest) * (double)n < REST * excess * (double)rest;
}

// The highest line of each plane and orientation that no bad column makes.
//
// Arguments
//   copies      (2, n_planes, rows columns) int64, steps: the planes, then transposed
//   upright     (2, height, columns + height) float64, weights of the lines of a plane
//   across      (2, height, rows + height) float64, weights of the lines of a transposed plane
//   value       (n_planes, 4, most) float64, from lines_contrast
//   place       (n_planes, 4, most, 2) int32, from lines_contrast
//   steep       (n_planes, 4, 8, widest) float64, from lines_contrast
//   n_planes    int32, number of planes
//   rows        int32, number of rows of bins
//   columns     int32, number of columns of bins
//   most        int32, largest number of blocks of an orientation in lines_contrast
//   widest      int32, largest number of lines of one direction
//   height      out, (n_planes, 4) float64, contrast of the line; 0 without one
//   line        out, (n_planes, 4, 2) int32, d and column of the line
//
// Launch     grid (4, n_planes), block (256). A block takes one orientation of a plane, of whose
//            steep lines the highest one is looked at first. A warp takes a column that this line
//            crosses. Three blocks share a multiprocessor: then no registers are spilled.
// Bytes      8 read for each steep line and 16 for each block of lines_contrast; 16 written for
//            each orientation.
extern "C" __global__ void __launch_bounds__(256, 3)
    lines_choose(const long long* copies, const double* upright, const double* across,
                 const double* value, const int* place, const double* steep, int n_planes,
                 int rows, int columns, int most, int widest, double* height, int* line) {
    __shared__ Line lines[WARPS];
    __shared__ double over[STEEP + 1];
    __shared__ int length[STEEP + 1];
    // The slopes of steep lines: registers would be spilled around a division further down.
    __shared__ double slopes[STEEP + 1];
    const int orientation = blockIdx.x, plane = blockIdx.y;
    const Oriented bins(copies, n_planes, plane, orientation, rows, columns);
    if (threadIdx.x <= STEEP) slopes[threadIdx.x] = bins.slope(threadIdx.x);
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
        for (int d = max(1, bins.height / 64); d <= min(STEEP, bins.height - 1); d++) {
            for (int x = bins.height - d + PARALLEL + threadIdx.x; x < bins.width - PARALLEL;
                 x += THREADS) {
                const Line found = {steep[(of_plane * STEEP + d - 1) * widest + x], d, x};
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
    for (int x = bins.height - d + PARALLEL + threadIdx.x; x < bins.width - PARALLEL;
         x += THREADS) {
        const double over = contrast((double)parallel[x - PARALLEL], (double)parallel[x],
                                     (double)parallel[x + PARALLEL], mean, excess[x], root[x]);
        if (abs(x - column) > NEAR)
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
