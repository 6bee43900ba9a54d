// What contrasts.cu and lines.cu share: the bins of a plane in four orientations, and their lines
// (METHOD.md 9.6).
#pragma once

constexpr int THREADS = 256, WARPS = THREADS / WARP, ORIENTATIONS = 4, LINE_PARALLEL = 3,
              LINE_STEEP = 8;
// The rows of a plane are added in up to eight strips. A line that moves by d columns moves by
// d / STRIPS in each of them, so that eight lines share the sums of a strip.
constexpr int STRIPS = 8;
// Lines that a block looks at beside each other: all of its sums but three at either end.
constexpr int CENTRES = THREADS - 2 * LINE_PARALLEL;

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
