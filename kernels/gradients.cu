// gradients: smoothed gradients of CCDs at random points (METHOD.md 4, eqs. 6 and 7).
//
// Formula    With h = smooth_size / 2 + reach, I the 2h x 2h raw pixels around the point, rows y-h ... y+h-1:
//              Dx = sum_{u < h} K[u] sum_v B[v] (I[v, h+u] - I[v, h-1-u]),  Dy the same with rows for columns.
//            K (`along`) is the mean filter times the derivative taps, B (`across`) the mean filter times a box: mean
//            and derivative in one linear filter, so that no smoothed image exists. Flat: the fitted polynomial's own
//            slope at the patch's middle (y - 1/2, x - 1/2), times gain = reach (2 reach + 1), is taken off.
// Kernels    gradients_first  the first min(wanted, n_draws) draws, one result slot each
//            gradients_rest   closes the gaps of unusable draws, in order, and tries further draws until the slots are
//                             full; what stays empty is NaN. So the first usable draws count, in draw order, and the
//                             host need not know how many there are.
// Arguments  images (n_ccd, ny, nx) float32, any unit; bad (n_ccd, ny, nx) Unfit bits, or null; points (n_ccd, n_draws,
//            2) (y, x) in draw order; weights (3 h): K at 0 ... h-1, then B at -h ... h-1, which is symmetric;
//            coefficients (n_ccd, 6) in the image's unit; usable (n_ccd); owner (n_ccd, slots) the CCD's index;
//            n_points (n_ccd) how many slots are filled; dx, dy,
//            flat_dx, flat_dy (n_ccd, slots) in the image's unit, finite in the filled slots, which come first, NaN in
//            the others; ny, nx, n_draws, slots, half (= h): counts; gain as above.
// Launch     first: a warp a point, 8 warps a block, grid (slots / 8, n_ccd): the patches of a CCD run together and find
//            each other's sectors in the L2 cache. rest: a block of 16 warps a CCD counts what is missing, so that no
//            launch waits for a decision of the host; a round tries 16 draws, and where none is missing there is none.
//            Each row of a patch is one request of a warp, 20 lanes and 80 bytes; 10 are on their way at a time.
//            Shared: the weights, and 2 h column sums a warp; 18 kB at most. Registers for 24 warps at least: 3 blocks.
// Bytes      a point reads 20 rows of 80 bytes, on average 3.375 sectors of 32 bytes each (2160 bytes), with a mask 20
//            rows of 20 bytes more, 8 of its place, and writes 40: the 10 000 points of a DECam CCD request 2.6 bytes for
//            each of its pixels and write 0.05.
// Precision  float64 from the first operation on. Pixels are subtracted before they are rounded, mirrored sums are
//            subtracted from each other: a pure column pattern gives dy = 0 exactly. No FMA. Sums in one fixed order:
//            along columns, then a tree over the warp.
// Edges      A patch that leaves the CCD, or holds a pixel that is not finite or has UNFIT_GRADIENTS, is unusable. An
//            unusable CCD gets NaN throughout. Any even smooth_size and any reach, to h = 64.
// Twin       gpuanom/cpu/gradients.py        Test  tests/steps/test_gradients.py
#include "common.cuh"

constexpr int FIRST_WARPS = 8;
constexpr int REST_WARPS = 16;
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

// One point by one warp, all of whose lanes call and get the same answer. A lane takes a column of the patch (every 32nd
// of a wide one). columns: shared, 2 half numbers, this warp's own.
__device__ Gradient patch_gradient(const Filter& f, int y, int x, double* columns) {
    if (y < f.half || y > f.ny - f.half || x < f.half || x > f.nx - f.half) return {0.0, 0.0, false};
    const int lane = threadIdx.x % WARP, size = 2 * f.half;
    double dx = 0.0, dy = 0.0, origin = 0.0;
    bool spoilt = false;
    for (int left = 0; left < size; left += WARP) {
        const int c = left + lane;
        double column = 0.0, difference = 0.0;
        for (int first = 0; first < f.half; first += BATCH) {
            // Rows half + v of the patch, and their mirror images.
            float above[BATCH], below[BATCH];
#pragma unroll
            for (int k = 0; k < BATCH; k++) {
                const int v = first + k;
                above[k] = below[k] = 0.0f;
                if (v >= f.half || c >= size) continue;
                const long long up = (long long)(y + v) * f.nx + (x - f.half + c);
                const long long down = (long long)(y - 1 - v) * f.nx + (x - f.half + c);
                above[k] = f.image[up];
                below[k] = f.image[down];
                if (f.bad != nullptr) spoilt |= ((f.bad[up] | f.bad[down]) & UNFIT_GRADIENTS) != 0u;
            }
            // Columns are summed relative to one pixel, exactly: a constant added to the image changes no bit.
            if (first == 0 && left == 0) origin = widen(__shfl_sync(WHOLE_WARP, above[0], 0));
#pragma unroll
            for (int k = 0; k < BATCH; k++) {
                const int v = first + k;
                if (v >= f.half) break;
                spoilt |= !is_finite(above[k]) || !is_finite(below[k]);
                const double upper = widen(above[k]), lower = widen(below[k]);
                column += f.across[f.half + v] * ((upper - origin) + (lower - origin));
                difference += f.along[v] * (upper - lower);
            }
        }
        if (c < size) {
            columns[c] = column;
            dy += f.across[c] * difference;
        }
    }
    __syncwarp();
    for (int u = lane; u < f.half; u += WARP) dx += f.along[u] * (columns[f.half + u] - columns[f.half - 1 - u]);
    spoilt = __any_sync(WHOLE_WARP, spoilt);
    return {warp_sum(dx), warp_sum(dy), !spoilt};
}

// A point's results to its slot; the polynomial's slope per pixel is taken at the middle of its patch.
__device__ void store(const Gradient& found, const double* c, int y, int x, int ny, int nx, double gain, long long slot,
                      double* dx, double* dy, double* flat_dx, double* flat_dy) {
    const double Y = 2.0 * ((double)y - 0.5) / (double)(ny - 1) - 1.0;
    const double X = 2.0 * ((double)x - 0.5) / (double)(nx - 1) - 1.0;
    const double slope_x = ((c[1] + c[4] * Y) + 2.0 * c[3] * X) * (2.0 / (double)(nx - 1));
    const double slope_y = ((c[2] + c[4] * X) + 2.0 * c[5] * Y) * (2.0 / (double)(ny - 1));
    dx[slot] = found.dx;
    dy[slot] = found.dy;
    flat_dx[slot] = found.dx - gain * slope_x;
    flat_dy[slot] = found.dy - gain * slope_y;
}

// The weights to shared memory, by the whole block; returns where the columns of this thread's warp are.
__device__ double* stage_weights(double* memory, const double* weights, int half) {
    for (int i = threadIdx.x; i < 3 * half; i += blockDim.x) memory[i] = weights[i];
    __syncthreads();
    return memory + 3 * half + (threadIdx.x / WARP) * (2 * half);
}

extern "C" __global__ void __launch_bounds__(FIRST_WARPS * WARP, 3) gradients_first(
    const float* images, OPTIONAL const unsigned char* bad, const int* points, const double* weights,
    const double* coefficients, const bool* usable, double* dx, double* dy, double* flat_dx, double* flat_dy, int ny,
    int nx, int n_draws, int slots, int half, double gain) {
    extern __shared__ double memory[];
    __shared__ int at[2 * FIRST_WARPS];
    __shared__ Gradient found[FIRST_WARPS];
    const int ccd = blockIdx.y, warp = threadIdx.x / WARP;
    const int first = blockIdx.x * FIRST_WARPS, n = min(FIRST_WARPS, slots - first);
    if (!usable[ccd]) return;
    // The block's points come in, and its results go out, side by side: a warp alone would ask for a sector for each.
    if ((int)threadIdx.x < 2 * n) at[threadIdx.x] = points[2 * ((long long)ccd * n_draws + first) + threadIdx.x];
    double* columns = stage_weights(memory, weights, half);
    const long long plane = (long long)ccd * ny * nx;
    const Filter filter = {images + plane, bad == nullptr ? bad : bad + plane, memory, memory + half, ny, nx, half};
    if (warp < n) {
        const Gradient own = patch_gradient(filter, at[2 * warp], at[2 * warp + 1], columns);
        if (threadIdx.x % WARP == 0) found[warp] = own;
    }
    __syncthreads();
    if ((int)threadIdx.x >= n) return;
    const long long slot = (long long)ccd * slots + first + threadIdx.x;
    if (found[threadIdx.x].usable) {
        store(found[threadIdx.x], coefficients + 6 * ccd, at[2 * threadIdx.x], at[2 * threadIdx.x + 1], ny, nx, gain, slot,
              dx, dy, flat_dx, flat_dy);
    } else {
        dx[slot] = nan("");
    }
}

extern "C" __global__ void __launch_bounds__(REST_WARPS * WARP, 1) gradients_rest(
    const float* images, OPTIONAL const unsigned char* bad, const int* points, const double* weights,
    const double* coefficients, const bool* usable, long long* owner, long long* n_points, double* dx, double* dy,
    double* flat_dx, double* flat_dy, int ny, int nx, int n_draws, int slots, int half, double gain) {
    extern __shared__ double memory[];
    __shared__ int scratch[REST_WARPS];
    double* columns = stage_weights(memory, weights, half);
    const int ccd = blockIdx.x, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const long long plane = (long long)ccd * ny * nx, base = (long long)ccd * slots;
    const Filter filter = {images + plane, bad == nullptr ? bad : bad + plane, memory, memory + half, ny, nx, half};
    dx += base, dy += base, flat_dx += base, flat_dy += base;
    int filled = 0, chosen;
    if (usable[ccd]) {
        // The gaps closed: a result moves to an earlier slot or stays, so that no later part of the loop reads what an
        // earlier one wrote, and the barrier keeps one part's reads before its writes.
        for (int first = 0; first < slots; first += blockDim.x) {
            const int slot = first + threadIdx.x;
            const bool there = slot < slots && is_finite(dx[slot]);
            const int to = filled + block_rank(there, scratch, &chosen);
            const bool moves = there && to != slot;
            double moved[4];
            if (moves) moved[0] = dx[slot], moved[1] = dy[slot], moved[2] = flat_dx[slot], moved[3] = flat_dy[slot];
            __syncthreads();
            if (moves) dx[to] = moved[0], dy[to] = moved[1], flat_dx[to] = moved[2], flat_dy[to] = moved[3];
            filled += chosen;
        }
        // Further draws in order, a round of one a warp at a time.
        for (int next = slots; filled < slots && next < n_draws; next += REST_WARPS) {
            const int draw = next + warp;
            const int* point = points + 2 * ((long long)ccd * n_draws + min(draw, n_draws - 1));
            Gradient found = {0.0, 0.0, false};
            if (draw < n_draws) found = patch_gradient(filter, point[0], point[1], columns);
            const bool speaks = lane == 0 && found.usable;
            const int to = filled + block_rank(speaks, scratch, &chosen);
            if (speaks && to < slots) {
                store(found, coefficients + 6 * ccd, point[0], point[1], ny, nx, gain, to, dx, dy, flat_dx, flat_dy);
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
