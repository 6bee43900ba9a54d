// Measures the residual sky of each CCD in whole steps, and masks sources (METHOD.md 9.1, 9.6).
//
// Formula    r = (I - b) / sigma in whole steps of 2^-12 sigma, clipped to -3.5 ... 8 sigma. Of a
//            source are the cells of 4 x 4 pixels with two pixels above 4 sigma, and one cell
//            around them, or with a mean above 3 sigma, and two cells around them.
// Precision  r in float64, rounded once to a whole number, no FMA; the sums of r are whole
//            numbers. Numbers of the image are widened by widen(), which -ftz cannot change, and
//            sigma is rounded to float32 by narrow().
// Edges      Cells that the edge of the CCD cuts off hold fewer pixels. Where a CCD has no
//            background, or its sigma is 0 in float32, all its pixels are bad.
// Parity     Exact for an equal background.
// Twin       gpuanom/backends/cpu/residual.py
// Test       tests/steps/test_patterns.py
#include "common.cuh"
#include "residual.cuh"

// A cell with so many pixels above 4 sigma, or with a larger sum (a mean of 3 sigma), belongs to a
// source.
constexpr int HOT = 2, GLOWING = 196608;
// For lines the sum of a cell is clipped to a mean of 1 sigma.
constexpr int LEVEL = 65536;
constexpr unsigned HOT_BIT = 1, GLOWING_BIT = 2;
// Cells that a warp masks: 32 but for two on either side, which it only looks at; and its rows, as
// many as a number has bits.
constexpr int MASKED_ACROSS = 28, MASKED_DOWN = 32;

// The residual of each pixel in steps, and which cells belong to sources.
//
// Arguments
//   images          (n_ccd, ny, nx) float32, image unit
//   bad             (n_ccd, ny, nx) uint8, bits of Unfit; null where nothing is masked
//   coefficients    (n_ccd, 6) float64, image unit: the background c0 ... c5
//   sigma           (n_ccd,) float64, image unit
//   usable          (n_ccd,) bool, whether the CCD has a background
//   side            int32, pixels: side of a bin for lines, 8, 16, 32, ...
//   ny              int32, pixels: rows of a CCD
//   nx              int32, pixels: columns of a CCD
//   numbers         out, (n_ccd, ny, nx) int16, steps of 2^-12 sigma; BAD or BAD_AND_HIGH where a
//                   pixel is bad, or the CCD has no background
//   seeds           out, (n_ccd, ceil(ny / 4), ceil(nx / 4)) uint8, bits: hot, glowing
//   bin_sum         in and out, (n_ccd, ceil(ny / side), ceil(nx / side)) int64, steps
//
// Launch     grid (ceil(nx / 512), ceil(ny / 32), n_ccd), block (128). A thread takes four columns
//            of cells that lie 128 pixels apart, so that a warp reads 32 neighbouring pixels of
//            each of four rows, and four lanes make up a cell; sixteen reads of a thread are under
//            way. A block takes eight rows of cells, one after the other: the divisions of the
//            background are then few, and no index of a pixel is divided.
// Bytes      4 read for each pixel, and 1 of its mask; 2 written for each pixel.
extern "C" __global__ void __launch_bounds__(128)
    residual_steps(const float* images, OPTIONAL const unsigned char* bad,
                   const double* coefficients, const double* sigma, const bool* usable, int side,
                   int ny, int nx, short* numbers, unsigned char* seeds, long long* bin_sum) {
    __shared__ Scale s;
    // What of the background depends on the row alone.
    __shared__ double offset[ROWS_AT_ONCE], slope[ROWS_AT_ONCE];
    __shared__ bool measured;
    const int ccd = blockIdx.z, left = blockIdx.x * PIXELS_A_BLOCK + threadIdx.x;
    const int top = blockIdx.y * ROWS_AT_ONCE, bottom = min(top + ROWS_AT_ONCE, ny);
    if (threadIdx.x < 6) {
        const bool found = rounded(coefficients + 6 * ccd, sigma[ccd], usable[ccd], &s);
        if (threadIdx.x == 0) measured = found;
    }
    __syncthreads();
    if (threadIdx.x < ROWS_AT_ONCE) {
        const double Y = scaled(top + threadIdx.x, ny);
        offset[threadIdx.x] = s.c[0] + Y * (s.c[2] + s.c[5] * Y);
        slope[threadIdx.x] = s.c[1] + s.c[4] * Y;
    }
    __syncthreads();
    const int rows = (ny + CELL - 1) / CELL, columns = (nx + CELL - 1) / CELL;
    const int lanes = min(side, WARP), shift = __ffs(side) - 1;
    const double steps = s.steps;
    double X[COLUMNS], bend[COLUMNS];
    bool inside[COLUMNS];
    int level[COLUMNS];
    for (int k = 0; k < COLUMNS; k++) {
        const int x = left + k * APART;
        X[k] = scaled(x, nx), bend[k] = s.c[3] * X[k];
        inside[k] = x < nx, level[k] = 0;
    }
    for (int y0 = top; y0 < bottom; y0 += CELL) {
        const long long first = ((long long)ccd * ny + y0) * nx + left;
        const int n = min(CELL, ny - y0);
        float pixels[CELL][COLUMNS];
        // All are read before any is used, so that the reads do not wait for each other.
#pragma unroll
        for (int row = 0; row < CELL; row++) {
            const float* const line = images + first + (long long)row * nx;
#pragma unroll
            for (int k = 0; k < COLUMNS; k++)
                pixels[row][k] =
                    row < n && inside[k] && measured ? line[k * APART] : MINUS_INFINITY;
        }
        // The number of hot pixels of a cell lies above the 24 bits of the sum.
        int both[COLUMNS] = {};
#pragma unroll
        for (int row = 0; row < CELL; row++) {
            if (row >= n) continue;
            const long long at = first + (long long)row * nx;
            const double own_offset = offset[y0 - top + row], own_slope = slope[y0 - top + row];
#pragma unroll
            for (int k = 0; k < COLUMNS; k++) {
                const double b = own_offset + X[k] * (own_slope + bend[k]);
                const double v = (widen_finite(pixels[row][k]) - b) * steps;
                // Of a NaN the comparison is false.
                int number = min(__double2int_rn(v > -14336.0 ? v : -14336.0), HIGH);
                if (!is_finite(pixels[row][k])) number = BAD;
                if (bad != nullptr && inside[k] && measured &&
                    (bad[at + k * APART] & UNFIT_BACKGROUND) != 0u)
                    number = number == HIGH ? BAD_AND_HIGH : BAD;
                if (inside[k]) numbers[at + k * APART] = (short)number;
                both[k] += (number > USABLE ? number : 0) + (number > SOURCE ? 1 << 24 : 0);
            }
        }
        unsigned char* const own_seeds =
            seeds + ((long long)ccd * rows + y0 / CELL) * columns + left / CELL;
#pragma unroll
        for (int k = 0; k < COLUMNS; k++) {
            for (int step = 1; step < CELL; step *= 2)
                both[k] += __shfl_xor_sync(WHOLE_WARP, both[k], step);
            const int hot = (both[k] + (1 << 23)) >> 24, total = both[k] - (hot << 24);
            if (threadIdx.x % CELL == 0 && inside[k])
                own_seeds[k * (APART / CELL)] =
                    (unsigned char)((hot >= HOT ? HOT_BIT : 0u) |
                                    (total > GLOWING ? GLOWING_BIT : 0u));
            level[k] += min(max(total, -LEVEL), LEVEL);  // the same in all lanes of a cell
        }
        if (((y0 + CELL) & (side - 1)) != 0 && y0 + CELL < bottom) continue;
        const long long bin_rows = (ny + side - 1) >> shift;
        long long* const bins =
            bin_sum + (ccd * bin_rows + (y0 >> shift)) * ((nx + side - 1) >> shift);
        for (int k = 0; k < COLUMNS; k++) {
            for (int step = CELL; step < lanes; step *= 2)
                level[k] += __shfl_xor_sync(WHOLE_WARP, level[k], step);
            if (threadIdx.x % lanes == 0 && inside[k] && level[k] != 0)
                add_to(bins + ((left + k * APART) >> shift), level[k]);
            level[k] = 0;
        }
    }
}

// Which cells are masked: those of sources with one cell around them, or two where they glow.
//
// Arguments
//   seeds      (n_ccd, rows, columns) uint8, bits: as residual_steps leaves them
//   rows       int32, number of cells along y
//   columns    int32, number of cells along x
//   hidden     out, (n_ccd, ceil(rows / 32), columns) uint32, bits of cells that lie one below
//              the other: 1 where a cell is masked
//
// Launch     grid (ceil(columns / 224), ceil(rows / 32), n_ccd), block (256). A warp takes 28
//            columns of cells and walks down 32 rows; the bits of a row's 32 cells are one number,
//            which is widened by shifts, and each lane gathers those of its column.
// Bytes      1 read for each cell, which is a sixteenth for each pixel, and a bit written.
extern "C" __global__ void __launch_bounds__(256)
    residual_mask(const unsigned char* seeds, int rows, int columns, unsigned int* hidden) {
    const int lane = threadIdx.x % WARP;
    const int x = (blockIdx.x * 8 + threadIdx.x / WARP) * MASKED_ACROSS + lane - 2;
    const int top = blockIdx.y * MASKED_DOWN, bottom = min(top + MASKED_DOWN, rows);
    const bool inside = x >= 0 && x < columns;
    const bool writes = inside && lane >= 2 && lane < MASKED_ACROSS + 2;
    const long long first = (long long)blockIdx.z * rows * columns + x;
    unsigned word = 0u;
    // What the rows y - 1, y - 2 and y - 3 hide next to them, and y - 1 ... y - 4 two rows away.
    unsigned near1 = 0u, near2 = 0u, near3 = 0u, far1 = 0u, far2 = 0u, far3 = 0u, far4 = 0u;
#pragma unroll 4
    for (int y = top - 2; y < bottom + 2; y++) {
        const unsigned seed =
            inside && y >= 0 && y < rows ? seeds[first + (long long)y * columns] : 0u;
        const unsigned hot = __ballot_sync(WHOLE_WARP, seed != 0u);
        const unsigned glowing = __ballot_sync(WHOLE_WARP, (seed & GLOWING_BIT) != 0u);
        const unsigned far = glowing | glowing << 1 | glowing >> 1 | glowing << 2 | glowing >> 2;
        const unsigned near = hot | hot << 1 | hot >> 1 | far;
        const unsigned found = far | near1 | near2 | near3 | far4;
        if (y - 2 >= top) word |= (found >> lane & 1u) << (y - 2 - top);
        near3 = near2, near2 = near1, near1 = near;
        far4 = far3, far3 = far2, far2 = far1, far1 = far;
    }
    if (writes) hidden[((long long)blockIdx.z * gridDim.y + blockIdx.y) * columns + x] = word;
}
