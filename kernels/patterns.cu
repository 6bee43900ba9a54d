// Measures the residual sky of each CCD, its maps and its profiles (METHOD.md 9.1, 9.3 to 9.5).
//
// Formula    r = (I - b) / sigma in whole steps of 2^-12 sigma, clipped to -3.5 ... 3.5 sigma, and
//            masked where a pixel is bad, above 4 sigma, or in a cell of 4 x 4 pixels that belongs
//            to a source.
// Precision  r in float64, rounded once to a whole number, no FMA; the sums of r are whole
//            numbers. Numbers of the image are widened by widen(), which -ftz cannot change, and
//            sigma is rounded to float32 by narrow().
// Edges      Cells that the edge of the CCD cuts off hold fewer pixels. A CCD without a
//            background, or whose sigma is 0 in float32, has counts of 0.
// Parity     Exact for an equal background.
// Twin       gpuanom/backends/cpu/patterns.py
// Test       tests/steps/test_patterns.py
#include "common.cuh"
#include "patterns.cuh"

// A cell with so many pixels above 4 sigma, or with a larger sum (a mean of 3 sigma), belongs to a
// source.
constexpr int HOT = 2, GLOWING = 196608;
// For lines the sum of a cell is clipped to a mean of 1 sigma.
constexpr int LEVEL = 65536;
constexpr unsigned HOT_BIT = 1, GLOWING_BIT = 2;
// Masked places nearer than this to the pixel that they are mirrored from, in pixels, are not
// counted as crosstalk: the star may hide them itself.
constexpr int OWN_LIGHT = 64;
// Columns of pixels of a thread, of which each is so far from the next, and of a block.
constexpr int COLUMNS = 4, APART = 128, PIXELS_A_BLOCK = COLUMNS * APART;
// Rows of pixels that a block adds up in shared memory; a cell of the map has a multiple of them.
constexpr int ROWS_AT_ONCE = 32;
// Cells that a warp masks: 32 but for two on either side, which it only looks at; and its rows, as
// many as a number has bits.
constexpr int MASKED_ACROSS = 28, MASKED_DOWN = 32;
// The sum of four pixels of each lane is in the lower 22 bits of a number, their count above.
constexpr int COUNT_BIT = 22;

// What turns pixels of a CCD into steps.
struct Scale {
    double c[6], steps;
};

// Rounds the background of a CCD to whole steps, and returns false where it has none. The first
// six threads of a block call, each for a coefficient; all other threads must wait for them.
__device__ __forceinline__ bool rounded(const double* coefficients, double sigma, bool usable,
                                        Scale* s) {
    const double step = widen(narrow(sigma)) * 0.000244140625;
    const double steps = 1.0 / step;
    s->c[threadIdx.x] = rint(coefficients[threadIdx.x] / step) * step;
    if (threadIdx.x == 0) s->steps = steps;
    return usable && is_finite(steps);
}

__device__ __forceinline__ double residual(float pixel, const Scale* s, int y, int x, int ny,
                                           int nx) {
    return (widen(pixel) - polynomial(s->c, scaled(y, ny), scaled(x, nx))) * s->steps;
}

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
    patterns_residual(const float* images, OPTIONAL const unsigned char* bad,
                      const double* coefficients, const double* sigma, const bool* usable,
                      int side, int ny, int nx, short* numbers, unsigned char* seeds,
                      long long* bin_sum) {
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
//   seeds      (n_ccd, rows, columns) uint8, bits: as patterns_residual leaves them
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
    patterns_mask(const unsigned char* seeds, int rows, int columns, unsigned int* hidden) {
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
//   numbers            (n_ccd, ny, nx) int16, steps: as patterns_residual leaves them
//   hidden             (n_ccd, ceil(ny / 128), ceil(nx / 4)) uint32, as patterns_mask leaves them
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
            const unsigned int* const own =
                hidden + ((long long)ccd * words + word) * cell_columns + left / CELL;
            for (int k = 0; k < COLUMNS; k++)
                covered[k] = inside[k] ? own[k * (APART / CELL)] >> y0 / CELL % WARP : 0u;
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
