// smooth: the mean filter of whole CCDs (METHOD.md 4.1), the paper's own picture of the background.
//
// Formula    S[y, x] = mean of I over rows y - size/2 ... y + size/2 - 1, columns alike. Sums over rows first, then
//            over columns of those sums; direct, not running, so that a NaN spoils only the windows that hold it.
// Kernels    smooth
// Arguments  images (n_ccd, ny, nx) float32, any unit; smoothed (n_ccd, ny, nx) float32, the same unit; ny, nx, size:
//            pixels, size even.
// Launch     a block of 32 x 8 threads for 32 x 32 pixels, grid (tiles along x, along y, n_ccd). A warp takes a row of
//            the tile with its margins at a time, so rows are read whole; the row sums meet in shared memory.
//            Shared: (32 + size - 1) x 32 row sums and a row of 32 + size - 1 pixels a warp, all float64; 31 kB at the
//            largest size, 64.
// Bytes      a tile reads (32 + size - 1)^2 pixels for 1024: at size 10 6.6 bytes a pixel, and writes 4.
// Precision  sums in float64 in one fixed order, no FMA, rounded to float32 once.
// Edges      NaN where the window leaves the CCD. NaN and infinities as in any sum; masks do not count.
// Twin       gpuanom/cpu/smooth.py        Test  tests/steps/test_smooth.py
#include "common.cuh"

constexpr int TILE = 32;
constexpr int WARPS = 8;

extern "C" __global__ void __launch_bounds__(TILE* WARPS)
    smooth(const float* images, float* smoothed, int ny, int nx, int size) {
    extern __shared__ double sums[];
    const int half = size / 2, span = TILE + size - 1, lane = threadIdx.x, warp = threadIdx.y;
    const int left = blockIdx.x * TILE, top = blockIdx.y * TILE;
    const long long plane = (long long)blockIdx.z * ny * nx;
    double* row = sums + span * TILE + warp * span;
    for (int r = warp; r < span; r += WARPS) {
        const int y = top + r - half;
        for (int c = lane; c < span; c += TILE) {
            const int x = left + c - half;
            // What lies off the CCD belongs to windows whose answer is NaN anyway.
            const bool inside = y >= 0 && y < ny && x >= 0 && x < nx;
            row[c] = inside ? widen(images[plane + (long long)y * nx + x]) : 0.0;
        }
        __syncwarp();
        double sum = 0.0;
        for (int c = 0; c < size; c++) sum += row[lane + c];
        sums[r * TILE + lane] = sum;
        // The next row overwrites this one.
        __syncwarp();
    }
    __syncthreads();
    const int x = left + lane;
    for (int r = warp; r < TILE; r += WARPS) {
        const int y = top + r;
        if (y >= ny || x >= nx) continue;
        double sum = 0.0;
        for (int k = 0; k < size; k++) sum += sums[(r + k) * TILE + lane];
        const bool whole = y >= half && y <= ny - half && x >= half && x <= nx - half;
        smoothed[plane + (long long)y * nx + x] = narrow(whole ? sum / (double)(size * size) : nan(""));
    }
}
