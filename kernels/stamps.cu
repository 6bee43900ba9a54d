// Stamps of sources for the autoencoder: cut, background-subtracted, normalised, packed (METHOD.md 7).
//
// Formula    (float64(I) - b) / v_centre, rounded once to float32; 0 where a pixel is unusable for sources.
// Twin       gpuanom/cpu/stamps.py. Test: tests/steps/test_stamps.py. Parity: exact for an equal background.
// Precision  float64 in the twin's order of operations, no FMA; narrow() rounds subnormal results too (common.cuh).
// Edges      The stamps lie on the CCD, since they are those of sources.
#include "common.cuh"

constexpr int MAX_STAMP = 64;

// images         (n_ccd, ny, nx), image unit; bad: the same, Unfit bits, or null
// coefficients   (n_ccd, 6), image unit
// chosen         (n,): which sources, as indices into the next four
// ccd, y, x      (n_slots,), index and pixels; value: (n_slots,), image unit
// size           side of a stamp, pixels, even, at most 64
// stamps         out, (n, size, size), in units of the central pixel
//
// Launch   grid (n), block (32, 8): a block a stamp, a warp every eighth row, so that reads and writes run along rows.
// Bytes    4 a pixel of a stamp read, and 1 of its mask, in whole sectors (see whole_sectors), and 4 written.
extern "C" __global__ void __launch_bounds__(256)
stamps_cut(const float* images, const unsigned char* OPTIONAL bad, const double* coefficients, const int* chosen,
           const long long* ccd, const long long* y, const long long* x, const double* value, int ny, int nx, int size,
           float* stamps) {
    __shared__ double X[MAX_STAMP], Y[MAX_STAMP];
    const int source = chosen[blockIdx.x], half = size / 2;
    const int y0 = (int)y[source] - half, x0 = (int)x[source] - half;
    const double* c = coefficients + 6 * ccd[source];
    const double centre = value[source];
    float* stamp = stamps + (long long)blockIdx.x * size * size;
    // A division for each row and column, not for each pixel.
    const int i = (threadIdx.y * WARP + threadIdx.x) % MAX_STAMP;
    if (threadIdx.y < 2) X[i] = scaled(x0 + i, nx);
    if (threadIdx.y >= 6) Y[i] = scaled(y0 + i, ny);
    __syncthreads();
    for (int row = threadIdx.y; row < size; row += blockDim.y) {
        const long long first = (ccd[source] * ny + y0 + row) * nx + x0, last = first + size - 1;
        for (long long base = whole_sectors(first); base <= last; base += WARP) {
            const long long e = base + threadIdx.x, at = within(e, first, last);
            const float seen = images[at];
            const bool good = is_usable(seen, bad, at, UNFIT_SOURCES);
            if (e != at) continue;
            const int column = (int)(e - first);
            const double v = widen(seen) - polynomial(c, Y[row], X[column]);
            stamp[row * size + column] = narrow((good ? v : 0.0) / centre);
        }
    }
}
