// smooth: the mean filter of whole CCDs (METHOD.md 4.1), the paper's own picture of the background, and its binning to
// quick-look images.
//
// Formula    S[y, x] = mean of I over rows y - size/2 ... y + size/2 - 1, columns alike. Sums over rows first, then
//            over columns of those sums; direct, not running, so that a NaN spoils only the windows that hold it.
//            binned: mean of the finite S in each cell of binning x binning pixels.
// Kernels    smooth, smooth_bin
// Arguments  images (n_ccd, ny, nx) float32, any unit; smoothed (n_ccd, ny, nx) float32, the same unit; ny, nx, size:
//            pixels, size even; binned (n_ccd, rows, columns) float32, the same unit; rows, columns: cells, those at the
//            far edges cut off; binning: pixels.
// Launch     a block of 32 x 8 threads for 32 x 32 pixels, grid (tiles along x, along y, n_ccd). A warp takes a row of
//            the tile with its margins at a time, so rows are read whole; the row sums meet in shared memory.
//            smooth_bin: a warp a cell, 8 cells side by side a block, grid (columns / 8, rows, n_ccd): the rows of a cell
//            are short, those of its neighbours follow on them.
//            Shared: (32 + size - 1) x 32 row sums and a row of 32 + size - 1 pixels a warp, all float64; 31 kB at the
//            largest size, 64.
// Bytes      a tile reads (32 + size - 1)^2 pixels for 1024: at size 10 6.6 bytes a pixel, and writes 4. Binning reads 4
//            a pixel and writes 4 a cell.
// Precision  sums in float64 in one fixed order, no FMA, rounded to float32 once.
// Edges      NaN where the window leaves the CCD, and in cells without a finite S. NaN and infinities as in any sum; masks do not count.
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

extern "C" __global__ void __launch_bounds__(TILE* WARPS)
    smooth_bin(const float* smoothed, float* binned, int ny, int nx, int rows, int columns, int binning) {
    const int lane = threadIdx.x, column = blockIdx.x * WARPS + threadIdx.y, row = blockIdx.y;
    if (column >= columns) return;
    const int top = row * binning, left = column * binning;
    const int height = min(binning, ny - top), width = min(binning, nx - left);
    const float* plane = smoothed + (long long)blockIdx.z * ny * nx;
    double sum = 0.0;
    int n = 0;
    for (int i = lane; i < height * width; i += TILE) {
        const float seen = plane[(long long)(top + i / width) * nx + left + i % width];
        if (!is_finite(seen)) continue;
        sum += widen(seen);
        n++;
    }
    sum = warp_sum(sum);
    n = warp_sum(n);
    if (lane == 0) binned[((long long)blockIdx.z * rows + row) * columns + column] = narrow(n ? sum / n : nan(""));
}
