// Cuts the stamps of sources for the autoencoder (METHOD.md 7).
//
// Formula    (float64(I) - b) / v_centre, b being the background, rounded once to float32; 0 where
//            a pixel is unusable for sources.
// Precision  float64 in the CPU's order of operations, no FMA. narrow() keeps the subnormal
//            results that -ftz would make 0.
// Edges      Stamps lie on the CCD, because the sources were chosen so.
// Parity     Exact for an equal background.
// Twin       gpuanom/backends/cpu/stamps.py
// Test       tests/steps/test_stamps.py
#include "common.cuh"

constexpr int MAX_STAMP = 64;

// The stamps of the chosen sources, without the background and divided by the central value.
//
// Arguments
//   images          (n_ccd, ny, nx) float32, image unit
//   bad             (n_ccd, ny, nx) uint8, bits of Unfit; null where nothing is masked
//   coefficients    (n_ccd, 6) float64, image unit: the background c0 ... c5
//   chosen          (n,) int32, index of each stamp's source in the next four
//   ccd             (n_slots,) int64, index of the CCD
//   y               (n_slots,) int64, pixels: row of the source
//   x               (n_slots,) int64, pixels: column of the source
//   value           (n_slots,) float64, image unit: v_centre
//   ny              int32, pixels: rows of a CCD
//   nx              int32, pixels: columns of a CCD
//   size            int32, pixels: side of a stamp, even, at most 64
//   stamps          out, (n, size, size) float32, no unit: 1 at the centre
//
// Launch     grid (n), block (32, 8). A block takes a stamp and a warp every eighth row, so that
//            reads and writes run along rows.
// Bytes      4 read for each pixel of a stamp and 1 of its mask, in whole sectors; 4 written.
extern "C" __global__ void __launch_bounds__(256)
    stamps_cut(const float* images, OPTIONAL const unsigned char* bad, const double* coefficients,
               const int* chosen, const long long* ccd, const long long* y, const long long* x,
               const double* value, int ny, int nx, int size, float* stamps) {
    __shared__ double X[MAX_STAMP], Y[MAX_STAMP];
    const int source = chosen[blockIdx.x], half = size / 2;
    const int y0 = (int)y[source] - half, x0 = (int)x[source] - half;
    const double* c = coefficients + 6 * ccd[source];
    const double centre = value[source];
    float* stamp = stamps + (long long)blockIdx.x * size * size;
    // One division for each row and column, not one for each pixel.
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
