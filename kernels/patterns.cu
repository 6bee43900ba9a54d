// Adds up the residual sky of each CCD: its maps, profiles and crosstalk (METHOD.md 9.3 to 9.5).
//
// Formula    Sums and counts of the residuals r of residual.cu, clipped to 3.5 sigma, over rows,
//            columns, cells and bins. A pixel is left out where it is bad, above 4 sigma, or in a
//            masked cell. Crosstalk: the sum of r at the places that are mirrored from pixels
//            above a tenth of the saturation level.
// Precision  r is a whole number of steps, and so are all sums. Whether a pixel is bright is
//            decided in float64 from the image, no FMA. Numbers of the image are widened by
//            widen(), which -ftz cannot change.
// Edges      Cells that the edge of the CCD cuts off hold fewer pixels. A CCD without a
//            background, or whose sigma is 0 in float32, has counts of 0.
// Parity     Exact for an equal background.
// Twin       gpuanom/backends/cpu/patterns.py
// Test       tests/steps/test_patterns.py
#include "common.cuh"
#include "residual.cuh"

// Masked places nearer than this to the pixel that they are mirrored from, in pixels, are not
// counted as crosstalk: the star may hide them itself.
constexpr int OWN_LIGHT = 64;
// The sum of four pixels of each lane is in the lower 22 bits of a number, their count above.
constexpr int COUNT_BIT = 22;

__device__ __forceinline__ double residual(float pixel, const Scale* s, int y, int x, int ny,
                                           int nx) {
    return (widen(pixel) - polynomial(s->c, scaled(y, ny), scaled(x, nx))) * s->steps;
}

// Adds up four numbers over a warp at once: the sum of number k is returned to lanes k, k + 4, ...
__device__ __forceinline__ int sums_of_four(const int* numbers, int lane) {
    const bool odd = (lane & 1) != 0, upper = (lane & 2) != 0;
    const int a = (odd ? numbers[1] : numbers[0]) +
                  __shfl_xor_sync(WHOLE_WARP, odd ? numbers[0] : numbers[1], 1);
    const int b = (odd ? numbers[3] : numbers[2]) +
                  __shfl_xor_sync(WHOLE_WARP, odd ? numbers[2] : numbers[3], 1);
    int sum = (upper ? b : a) + __shfl_xor_sync(WHOLE_WARP, upper ? a : b, 2);
    for (int step = 4; step < WARP; step *= 2) sum += __shfl_xor_sync(WHOLE_WARP, sum, step);
    return sum;
}

// Sums over rows, columns, cells of the map and cells of 4 x 4 pixels, and crosstalk.
//
// Arguments
//   images             (n_ccd, ny, nx) float32, image unit
//   numbers            (n_ccd, ny, nx) int16, steps: as residual_steps leaves them
//   hidden             (n_ccd, ceil(ny / 128), ceil(nx / 4)) uint32, as residual_mask leaves them
//   saturation         (n_ccd,) float32, image unit; NaN where unknown
//   coefficients       (n_ccd, 6) float64, image unit: the background c0 ... c5
//   sigma              (n_ccd,) float64, image unit
//   usable             (n_ccd,) bool, whether the CCD has a background
//   side               int32, pixels: side of a cell of the map, a multiple of 32
//   bin_side           int32, pixels: side of a bin for faint lines, 8, 16, 32, ...
//   ny                 int32, pixels: rows of a CCD
//   nx                 int32, pixels: columns of a CCD
//   cells              out, (n_ccd, ceil(ny / 4), ceil(nx / 4)) int16, steps: means of cells
//   map_sum            in and out, (n_ccd, ceil(ny / side), ceil(nx / side)) int64, steps
//   map_count          in and out, (n_ccd, my, mx) int64, number of pixels left
//   map_usable         in and out, (n_ccd, my, mx) int64, number of pixels not bad
//   row_sum            in and out, (n_ccd, ny) int64, steps
//   row_count          in and out, (n_ccd, ny) int64, number of pixels left
//   column_sum         in and out, (n_ccd, nx) int64, steps
//   column_count       in and out, (n_ccd, nx) int64, number of pixels left
//   crosstalk_sum      in and out, (n_ccd,) int64, steps
//   crosstalk_count    in and out, (n_ccd,) int64, number of pixels
//   crosstalk_masked   in and out, (n_ccd,) int64, number of masked pixels
//   bin_sum            in and out, (n_ccd, ceil(ny / bin_side), ceil(nx / bin_side)) int64, steps
//
// Launch     grid (ceil(nx / 512), ceil(ny / side), n_ccd), block (128). A block takes 512 columns
//            of a row of cells of the map, so that a column is added to the sums of the CCD once
//            for each cell of the map. A thread takes four columns 128 pixels apart, so that each
//            of them lies in one cell of the map with those of its warp.
// Bytes      2 read for each pixel, twice where a saturation level is known, the second time from
//            the cache; 16 read and written for each row and each column of a block.
extern "C" __global__ void __launch_bounds__(128)
    patterns_add(const float* images, const short* numbers, const unsigned int* hidden,
                 const float* saturation, const double* coefficients, const double* sigma,
                 const bool* usable, int side, int bin_side, int ny, int nx, short* cells,
                 long long* map_sum, long long* map_count, long long* map_usable,
                 long long* row_sum, long long* row_count, long long* column_sum,
                 long long* column_count, long long* crosstalk_sum, long long* crosstalk_count,
                 long long* crosstalk_masked, long long* bin_sum) {
    __shared__ Scale s;
    __shared__ double bright;
    __shared__ int rows[2][ROWS_AT_ONCE];
    const int ccd = blockIdx.z, left = blockIdx.x * PIXELS_A_BLOCK + threadIdx.x;
    const int lane = threadIdx.x % WARP, top = blockIdx.y * side, bottom = min(top + side, ny);
    const int cell_rows = (ny + CELL - 1) / CELL, cell_columns = (nx + CELL - 1) / CELL;
    const int lanes = min(bin_side, WARP), shift = __ffs(bin_side) - 1;
    if (threadIdx.x < 6) {
        rounded(coefficients + 6 * ccd, sigma[ccd], usable[ccd], &s);
        if (threadIdx.x == 0) bright = 0.1 * widen(saturation[ccd]) * s.steps;
    }
    if (threadIdx.x < 2 * ROWS_AT_ONCE)
        rows[threadIdx.x / ROWS_AT_ONCE][threadIdx.x % ROWS_AT_ONCE] = 0;
    __syncthreads();
    const bool known = bright == bright;
    int crosstalk = 0, n_crosstalk = 0, n_masked = 0;
    int of_column[COLUMNS] = {}, n_of_column[COLUMNS] = {}, n_usable[COLUMNS] = {};
    int of_bin[COLUMNS] = {};
    unsigned covered[COLUMNS] = {};
    bool inside[COLUMNS];
    for (int k = 0; k < COLUMNS; k++) inside[k] = left + k * APART < nx;
    for (int y0 = top; y0 < bottom; y0 += CELL) {
        // The bits of the cells below each other: the next one, or those of another number.
        if (y0 == top || y0 % (CELL * WARP) == 0) {
            const int words = (cell_rows + WARP - 1) / WARP, word = y0 / CELL / WARP;
            const unsigned int* const cell_bits =
                hidden + ((long long)ccd * words + word) * cell_columns + left / CELL;
            for (int k = 0; k < COLUMNS; k++)
                covered[k] = inside[k] ? cell_bits[k * (APART / CELL)] >> y0 / CELL % WARP : 0u;
        }
        const long long first = ((long long)ccd * ny + y0) * nx + left;
        const int n = min(CELL, ny - y0);
        int found[CELL][COLUMNS], others[CELL][COLUMNS];
        // All are read before any is used, so that the reads do not wait for each other.
#pragma unroll
        for (int row = 0; row < CELL; row++) {
            const short* const line = numbers + first + (long long)row * nx;
            const short* const mirrored = line + (nx - 1 - 2 * left);
#pragma unroll
            for (int k = 0; k < COLUMNS; k++) {
                found[row][k] = row < n && inside[k] ? line[k * APART] : BAD;
                others[row][k] = row < n && inside[k] && known ? mirrored[-k * APART] : BAD;
            }
        }
        int of_row[CELL] = {}, of_cell[COLUMNS] = {};
        // Pixels whose mirrored pixel is high, and which of them are masked.
        unsigned beside = 0u, unseen = 0u;
#pragma unroll
        for (int row = 0; row < CELL; row++) {
#pragma unroll
            for (int k = 0; k < COLUMNS; k++) {
                n_usable[k] += found[row][k] > USABLE;
                bool good;
                const int number = masked(found[row][k], covered[k] & 1u, &good);
                const int both = good ? number + (1 << COUNT_BIT) : 0;
                of_row[row] += both, of_cell[k] += both;
                if (found[row][k] > USABLE &&
                    (others[row][k] == HIGH || others[row][k] == BAD_AND_HIGH)) {
                    beside |= 1u << (row * COLUMNS + k);
                    unseen |= (good ? 0u : 1u) << (row * COLUMNS + k);
                }
            }
        }
        for (; beside != 0u; beside &= beside - 1u) {
            const int bit = __ffs((int)beside) - 1, row = bit / COLUMNS;
            const int away = bit % COLUMNS * APART, mirrored = nx - 1 - left - away;
            const long long line = first + (long long)row * nx - left;
            if (!(residual(images[line + mirrored], &s, y0 + row, mirrored, ny, nx) > bright))
                continue;
            if ((unseen >> bit & 1u) == 0u)
                crosstalk += min((int)numbers[line + left + away], CLIP), n_crosstalk++;
            else
                n_masked += abs(mirrored - left - away) >= OWN_LIGHT;
        }
        const int both = sums_of_four(of_row, lane);
        const int count = (both + (1 << (COUNT_BIT - 1))) >> COUNT_BIT;
        if (lane < CELL && count > 0) {
            atomicAdd(&rows[0][y0 % ROWS_AT_ONCE + lane], both - (count << COUNT_BIT));
            atomicAdd(&rows[1][y0 % ROWS_AT_ONCE + lane], count);
        }
        short* const own_cells =
            cells + ((long long)ccd * cell_rows + y0 / CELL) * cell_columns + left / CELL;
#pragma unroll
        for (int k = 0; k < COLUMNS; k++) {
            const int n_of_cell = (of_cell[k] + (1 << (COUNT_BIT - 1))) >> COUNT_BIT;
            int sum = of_cell[k] - (n_of_cell << COUNT_BIT);
            of_column[k] += sum, n_of_column[k] += n_of_cell;
            for (int step = 1; step < CELL; step *= 2)
                sum += __shfl_xor_sync(WHOLE_WARP, sum, step);
            // The mean, rounded, of whole cells: those that the edge cuts off are in no part.
            if (lane % CELL == 0 && inside[k])
                own_cells[k * (APART / CELL)] = (short)((sum + 8) >> 4);
            of_bin[k] += sum;  // the same in all lanes of a cell
            covered[k] >>= 1;
        }
        if (((y0 + CELL) & (bin_side - 1)) == 0 || y0 + CELL >= bottom) {
            const long long bin_rows = (ny + bin_side - 1) >> shift;
            long long* const bins =
                bin_sum + (ccd * bin_rows + (y0 >> shift)) * ((nx + bin_side - 1) >> shift);
            for (int k = 0; k < COLUMNS; k++) {
                for (int step = CELL; step < lanes; step *= 2)
                    of_bin[k] += __shfl_xor_sync(WHOLE_WARP, of_bin[k], step);
                if (lane % lanes == 0 && inside[k] && of_bin[k] != 0)
                    add_to(bins + ((left + k * APART) >> shift), of_bin[k]);
                of_bin[k] = 0;
            }
        }
        if ((y0 + CELL) % ROWS_AT_ONCE != 0 && y0 + CELL < bottom) continue;
        __syncthreads();
        if (threadIdx.x < 2 * ROWS_AT_ONCE) {
            int* sum = &rows[threadIdx.x / ROWS_AT_ONCE][threadIdx.x % ROWS_AT_ONCE];
            const int y = y0 / ROWS_AT_ONCE * ROWS_AT_ONCE + threadIdx.x % ROWS_AT_ONCE;
            if (*sum != 0)
                add_to(
                    (threadIdx.x < ROWS_AT_ONCE ? row_sum : row_count) + (long long)ccd * ny + y,
                    *sum);
            *sum = 0;
        }
        __syncthreads();
    }
    for (int k = 0; k < COLUMNS; k++) {
        const int x = left + k * APART;
        if (inside[k] && n_of_column[k] > 0) {
            const long long at = (long long)ccd * nx + x;
            add_to(column_sum + at, of_column[k]);
            add_to(column_count + at, n_of_column[k]);
        }
        const long long sum = warp_sum((long long)of_column[k]);
        const int count = warp_sum(n_of_column[k]), n_pixels = warp_sum(n_usable[k]);
        if (lane == 0 && inside[k]) {
            const long long cell =
                ((long long)ccd * gridDim.y + blockIdx.y) * ((nx + side - 1) / side) + x / side;
            add_to(map_sum + cell, sum);
            add_to(map_count + cell, count);
            add_to(map_usable + cell, n_pixels);
        }
    }
    const int n_places = warp_sum(n_crosstalk), n_hidden = warp_sum(n_masked);
    if (lane == 0 && n_hidden != 0) add_to(crosstalk_masked + ccd, n_hidden);
    if (n_places == 0) return;
    const long long sum = warp_sum((long long)crosstalk);
    if (lane == 0) {
        add_to(crosstalk_sum + ccd, sum);
        add_to(crosstalk_count + ccd, n_places);
    }
}
