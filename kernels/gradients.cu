// Takes the gradients of the smoothed sky at random points (METHOD.md 4, eqs. 6 and 7).
//
// Formula    With h = smooth_size / 2 + reach, let I be the 2h x 2h pixels around the point, rows
//            y - h ... y + h - 1 and columns alike. Then
//              Dx = sum_{u < h} K[u] sum_v B[v] (I[v, h + u] - I[v, h - 1 - u]),
//            and Dy is the same with rows and columns exchanged. K (`along` in the code) is the
//            mean filter combined with the weights of the derivative, B (`across`) the mean filter
//            combined with a box. So smoothing and derivative are one linear filter, and no
//            smoothed image is made. For the flat variant the slope of the fitted background at
//            the middle of the patch, (y - 1/2, x - 1/2), times gain = reach (2 reach + 1), is
//            subtracted.
// Precision  float64 from the first operation on, no FMA; widen() keeps the float32 numbers that
//            -ftz would make 0. Pixels are subtracted before anything is rounded, and mirrored
//            sums from each other, so a pattern of columns alone gives dy = 0 exactly. Sums run in
//            one fixed order: along the columns, then in pairs over the warp.
// Edges      A point is unusable if its patch leaves the CCD or holds a pixel that is not finite
//            or has the bit UNFIT_GRADIENTS. A CCD without a background has NaN in every slot. Any
//            even smooth_size and any reach will do, up to h = 64.
// Parity     Rounded, 1e-12 of the largest magnitude in the patch, since the order of the float64
//            sums differs. A pattern of columns (rows) alone gives dy (dx) = 0 exactly on both.
// Twin       gpuanom/backends/cpu/gradients.py
// Test       tests/steps/test_gradients.py
#include "common.cuh"

constexpr int FIRST_WARPS = 8;
constexpr int REST_WARPS = 16;
constexpr int FIRST_THREADS = FIRST_WARPS * WARP;
constexpr int REST_THREADS = REST_WARPS * WARP;
constexpr int BATCH = 5;  // row pairs on their way at a time: 10 requests a warp

struct Gradient {
    double dx, dy;
    bool usable;
};

// A CCD and the filter, as both kernels use them.
struct Filter {
    const float* image;
    const unsigned char* bad;
    const double *along, *across;
    int ny, nx, half;
};

// A walk from the middle of the patch down and, mirrored, up one column, and what it has added up.
struct Walk {
    const float *down, *up;
    double column, difference;
};

// Takes the next N rows of both ways, the first of them being row v from the middle. `twice` gets
// its value where the patch begins.
template <int N>
__device__ __forceinline__ void take_rows(Walk* w, const Filter& f, int v, bool begins,
                                          double* twice) {
    float below[N], above[N], least = __int_as_float(0x7f800000);
#pragma unroll
    for (int k = 0; k < N; k++) {
        below[k] = *w->down, above[k] = *w->up;
        w->down += f.nx, w->up -= f.nx;
    }
#pragma unroll
    for (int k = 0; k < N; k++) least = fminf(fminf(least, fabsf(below[k])), fabsf(above[k]));
    // One pixel is subtracted from all others, which is exact, so that a constant added to the
    // image changes no bit of the sums.
    if (begins) *twice = 2.0 * widen(__shfl_sync(WHOLE_WARP, below[0], 0));
    const auto add = [&](int k, double lower, double upper) {
        w->column += f.across[f.half + v + k] * ((lower + upper) - *twice);
        w->difference += f.along[v + k] * (lower - upper);
    };
    if (least >= 1.17549435e-38f) {  // 2^-126
#pragma unroll
        for (int k = 0; k < N; k++) add(k, (double)below[k], (double)above[k]);
    } else {  // seldom: a pixel is 0, or so small that -ftz makes it 0
        const float *down = w->down - N * f.nx, *up = w->up + N * f.nx;
#pragma unroll 1
        for (int k = 0; k < N; k++, down += f.nx, up -= f.nx) add(k, widen(*down), widen(*up));
    }
}

// The gradient at one point, by one warp: all of its lanes call, and all get the same answer. A
// lane takes a column of the patch, or every 32nd column of a wide patch. columns: shared memory
// for 2 half numbers, used by this warp alone. A pixel that is not finite makes a sum that is not
// finite, so that no pixel is asked.
__device__ Gradient patch_gradient(const Filter& f, int y, int x, double* columns) {
    if (y < f.half || y > f.ny - f.half || x < f.half || x > f.nx - f.half)
        return {0.0, 0.0, false};
    const int lane = threadIdx.x % WARP, size = 2 * f.half;
    double dx = 0.0, dy = 0.0, twice = 0.0;
    unsigned spoilt = 0u;
    for (int left = 0; left < size; left += WARP) {
        // Lanes beyond the patch have the last column, which they do not use.
        const int c = left + lane, inside_column = min(c, size - 1);
        const long long at = (long long)y * f.nx + (x - f.half + inside_column);
        if (f.bad != nullptr) {
            const unsigned char* mask = f.bad + (at - (long long)f.half * f.nx);
#pragma unroll 4
            for (int row = 0; row < size; row++, mask += f.nx) spoilt |= *mask;
        }
        Walk w = {f.image + at, f.image + at - f.nx, 0.0, 0.0};
        int v = 0;
        for (; v + BATCH <= f.half; v += BATCH)
            take_rows<BATCH>(&w, f, v, v == 0 && left == 0, &twice);
        for (; v < f.half; v++) take_rows<1>(&w, f, v, v == 0 && left == 0, &twice);
        if (c < size) {
            columns[c] = w.column;
            dy += f.across[c] * w.difference;
        }
    }
    __syncwarp();
#pragma unroll 1
    for (int u = lane; u < f.half; u += WARP)
        dx += f.along[u] * (columns[f.half + u] - columns[f.half - 1 - u]);
    const bool masked = __any_sync(WHOLE_WARP, (spoilt & UNFIT_GRADIENTS) != 0u);
    dx = warp_sum(dx), dy = warp_sum(dy);
    return {dx, dy, !masked && is_finite(dx) && is_finite(dy)};
}

// Writes a point's results to its slot. The slope of the background is taken at the middle of the
// patch.
__device__ void store(const Gradient& found, const double* c, int y, int x, int ny, int nx,
                      double gain, long long slot, double* dx, double* dy, double* flat_dx,
                      double* flat_dy) {
    const double Y = 2.0 * ((double)y - 0.5) / (double)(ny - 1) - 1.0;
    const double X = 2.0 * ((double)x - 0.5) / (double)(nx - 1) - 1.0;
    const double slope_x = ((c[1] + c[4] * Y) + 2.0 * c[3] * X) * (2.0 / (double)(nx - 1));
    const double slope_y = ((c[2] + c[4] * X) + 2.0 * c[5] * Y) * (2.0 / (double)(ny - 1));
    dx[slot] = found.dx;
    dy[slot] = found.dy;
    flat_dx[slot] = found.dx - gain * slope_x;
    flat_dy[slot] = found.dy - gain * slope_y;
}

// Copies the weights to shared memory; the whole block calls. Returns where the columns of this
// thread's warp are.
__device__ double* stage_weights(double* memory, const double* weights, int half) {
    for (int i = threadIdx.x; i < 3 * half; i += blockDim.x) memory[i] = weights[i];
    __syncthreads();
    return memory + 3 * half + (threadIdx.x / WARP) * (2 * half);
}

// Tries the first `slots` draws of each CCD: draw i writes its gradient to slot i. Where the draw
// is unusable, NaN is written to dx, and gradients_rest fills the slot.
//
// Arguments
//   images          (n_ccd, ny, nx) float32, image unit
//   bad             (n_ccd, ny, nx) uint8, bits of Unfit; null where nothing is masked
//   points          (n_ccd, n_draws, 2) int32, pixels: (y, x) in draw order
//   weights         (3 half,) float64, no unit: K at 0 ... h - 1, then B at -h ... h - 1
//   coefficients    (n_ccd, 6) float64, image unit: the background c0 ... c5
//   usable          (n_ccd,) bool, whether the CCD has a background
//   ny              int32, pixels: rows of a CCD
//   nx              int32, pixels: columns of a CCD
//   n_draws         int32, number of points drawn for a CCD
//   slots           int32, number of results wanted of a CCD, at most n_draws
//   half            int32, pixels: h
//   gain            float64, pixels: the factor of the background's slope
//   dx              out, (n_ccd, slots) float64, image unit
//   dy              out, (n_ccd, slots) float64, image unit
//   flat_dx         out, (n_ccd, slots) float64, image unit: the background's slope subtracted
//   flat_dy         out, (n_ccd, slots) float64, image unit: the same
//
// Launch     grid (ceil(slots / 8), n_ccd), block (256). A warp takes a point: a row of its patch
//            is one request of 20 lanes for 80 bytes, and 10 requests are on their way at a time.
//            The patches of a CCD run together and find each other's sectors in the L2 cache. The
//            compiler keeps to so few registers that 32 warps fit a multiprocessor. Shared memory:
//            the weights, and 2 h column sums a warp, 9.5 kB at most.
// Bytes      A point reads 20 rows of 80 bytes, on average 3.375 sectors of 32 bytes each, that is
//            2160 bytes; with a mask 20 rows of 20 bytes more; 8 for its place; and writes 32. For
//            10 000 points of a DECam CCD that is 2.6 bytes for each of its pixels.
extern "C" __global__ void __launch_bounds__(FIRST_THREADS, 4)
    gradients_first(const float* images, OPTIONAL const unsigned char* bad, const int* points,
                    const double* weights, const double* coefficients, const bool* usable, int ny,
                    int nx, int n_draws, int slots, int half, double gain, double* dx, double* dy,
                    double* flat_dx, double* flat_dy) {
    extern __shared__ double memory[];
    __shared__ int at[2 * FIRST_WARPS];
    __shared__ Gradient found[FIRST_WARPS];
    const int ccd = blockIdx.y, warp = threadIdx.x / WARP;
    const int first = blockIdx.x * FIRST_WARPS, n = min(FIRST_WARPS, slots - first);
    if (!usable[ccd]) return;
    // The points of the block are read side by side, and its results are written side by side: a
    // warp that did this alone would move a sector of memory for each of them.
    if ((int)threadIdx.x < 2 * n)
        at[threadIdx.x] = points[2 * ((long long)ccd * n_draws + first) + threadIdx.x];
    double* columns = stage_weights(memory, weights, half);
    const long long plane = (long long)ccd * ny * nx;
    const Filter filter = {
        images + plane, bad == nullptr ? bad : bad + plane, memory, memory + half, ny, nx, half};
    if (warp < n) {
        const Gradient gradient = patch_gradient(filter, at[2 * warp], at[2 * warp + 1], columns);
        if (threadIdx.x % WARP == 0) found[warp] = gradient;
    }
    __syncthreads();
    if ((int)threadIdx.x >= n) return;
    const long long slot = (long long)ccd * slots + first + threadIdx.x;
    if (found[threadIdx.x].usable) {
        store(found[threadIdx.x], coefficients + 6 * ccd, at[2 * threadIdx.x],
              at[2 * threadIdx.x + 1], ny, nx, gain, slot, dx, dy, flat_dx, flat_dy);
    } else {
        dx[slot] = nan("");
    }
}

// Makes the list of each CCD's gradients complete, with the first usable draws in draw order.
// The usable results of gradients_first are moved up over the unusable ones between them. If slots
// are then left at the end, further draws are tried until all slots are filled or no draw is left.
// Slots that stay empty get NaN. So the host need not know how many usable points there are.
//
// Arguments
//   images          (n_ccd, ny, nx) float32, image unit
//   bad             (n_ccd, ny, nx) uint8, bits of Unfit; null where nothing is masked
//   points          (n_ccd, n_draws, 2) int32, pixels: (y, x) in draw order
//   weights         (3 half,) float64, no unit: K at 0 ... h - 1, then B at -h ... h - 1
//   coefficients    (n_ccd, 6) float64, image unit: the background c0 ... c5
//   usable          (n_ccd,) bool, whether the CCD has a background
//   ny              int32, pixels: rows of a CCD
//   nx              int32, pixels: columns of a CCD
//   n_draws         int32, number of points drawn for a CCD
//   slots           int32, number of results wanted of a CCD, at most n_draws
//   half            int32, pixels: h
//   gain            float64, pixels: the factor of the background's slope
//   dx              in and out, (n_ccd, slots) float64, image unit
//   dy              in and out, (n_ccd, slots) float64, image unit
//   flat_dx         in and out, (n_ccd, slots) float64, image unit
//   flat_dy         in and out, (n_ccd, slots) float64, image unit
//   owner           out, (n_ccd, slots) int64, index of the CCD
//   n_points        out, (n_ccd,) int64, number of slots filled
//
// Launch     grid (n_ccd), block (512). A block takes a CCD, because only the threads of one block
//            can count in order among themselves. A round tries 16 draws, a warp each; where all
//            slots are filled there is no round. Shared memory: the weights, and 2 h column sums a
//            warp, 18 kB at most.
// Bytes      8 a slot read and 8 written; 64 more for each result that moves; a further draw reads
//            as much as a point of gradients_first.
extern "C" __global__ void __launch_bounds__(REST_THREADS, 1)
    gradients_rest(const float* images, OPTIONAL const unsigned char* bad, const int* points,
                   const double* weights, const double* coefficients, const bool* usable, int ny,
                   int nx, int n_draws, int slots, int half, double gain, double* dx, double* dy,
                   double* flat_dx, double* flat_dy, long long* owner, long long* n_points) {
    extern __shared__ double memory[];
    __shared__ int scratch[REST_WARPS];
    double* columns = stage_weights(memory, weights, half);
    const int ccd = blockIdx.x, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const long long plane = (long long)ccd * ny * nx, base = (long long)ccd * slots;
    const Filter filter = {
        images + plane, bad == nullptr ? bad : bad + plane, memory, memory + half, ny, nx, half};
    dx += base, dy += base, flat_dx += base, flat_dy += base;
    int filled = 0, chosen;
    if (usable[ccd]) {
        // Usable results move up over unusable ones. A result moves to an earlier slot or stays,
        // so no later round of this loop reads what an earlier round wrote, and the barrier keeps
        // the reads of a round before its writes.
        for (int first = 0; first < slots; first += blockDim.x) {
            const int slot = first + threadIdx.x;
            const bool is_found = slot < slots && is_finite(dx[slot]);
            const int to = filled + block_rank(is_found, scratch, &chosen);
            const bool moves = is_found && to != slot;
            double moved[4];
            if (moves)
                moved[0] = dx[slot], moved[1] = dy[slot], moved[2] = flat_dx[slot],
                moved[3] = flat_dy[slot];
            __syncthreads();
            if (moves)
                dx[to] = moved[0], dy[to] = moved[1], flat_dx[to] = moved[2],
                flat_dy[to] = moved[3];
            filled += chosen;
        }
        // Further draws in order: each round tries as many as there are warps.
        for (int next = slots; filled < slots && next < n_draws; next += REST_WARPS) {
            const int draw = next + warp;
            const int* point = points + 2 * ((long long)ccd * n_draws + min(draw, n_draws - 1));
            Gradient found = {0.0, 0.0, false};
            if (draw < n_draws) found = patch_gradient(filter, point[0], point[1], columns);
            const bool speaks = lane == 0 && found.usable;
            const int to = filled + block_rank(speaks, scratch, &chosen);
            if (speaks && to < slots) {
                store(found, coefficients + 6 * ccd, point[0], point[1], ny, nx, gain, to, dx, dy,
                      flat_dx, flat_dy);
            }
            filled = min(filled + chosen, slots);
        }
    }
    if (threadIdx.x == 0) n_points[ccd] = filled;
    for (int slot = threadIdx.x; slot < slots; slot += blockDim.x) {
        owner[base + slot] = ccd;
        if (slot >= filled) dx[slot] = dy[slot] = flat_dx[slot] = flat_dy[slot] = nan("");
    }
}
