// Sums the spectra of parts of the residual sky of each CCD, a part of the step `patterns`
// (METHOD.md 9.2).
//
// Formula    A spectrum is the sum over parts of 128 x 128 of |F(w r)|^2, r being the masked
//            residual and w a Hann window.
// Precision  The Fourier transform in float64, no FMA but where its product is exact, with the
//            CPU's table of cosines and in the CPU's order of operations, less turns by nothing;
//            the powers of pairs of parts are added one after the other. sigma is rounded to
//            float32 by narrow() and widened by widen(), which -ftz cannot change.
// Edges      Cells that the edge of the CCD cuts off are in no part. A CCD smaller than a part has
//            no spectrum of that kind; without a background, or with a sigma that is 0 in float32,
//            no part counts.
// Parity     Exact for an equal background.
// Twin       gpuanom/backends/cpu/spectrum.py
// Test       tests/steps/test_patterns.py
#include "common.cuh"
#include "residual.cuh"

constexpr int PART = 128, HALF = 65, ROWS_A_BLOCK = 4;
// A block keeps the sums of a quarter of the frequencies along y: a thread has 16 of them.
constexpr int QUARTER = PART / 4, POINTS = 16;
// So many of these sums stay in registers, the others in shared memory.
constexpr int IN_REGISTERS = 10;
// Point x of a row lies at x % 8 * GROUP + x / 8. The 16 points of a thread are neighbours, and
// those of eight threads lie in different banks.
constexpr int GROUP = POINTS + 2, ROW = 8 * GROUP;

struct alignas(16) Complex {
    double re, im;
};

struct alignas(16) Two {
    double first, second;
};

// A factor of a transform: cosine and sine.
struct alignas(16) Turn {
    double c, s;
};

// What all pairs of parts need, and a quarter of the frequencies of one pair.
struct Shared {
    // The factors of the three steps of radix 4: by which of them, and by the point.
    Turn one[3][QUARTER], two[3][QUARTER / 4], three[3];
    // Those of the first step for the block's quarter.
    Turn first_step[QUARTER];
    // The window at rows j, j + 32, j + 64 and j + 96, with the signs of the block's quarter.
    double window[QUARTER][4];
    // The real, and then the imaginary parts of 32 rows.
    alignas(16) double plane[QUARTER * ROW];
    Two sum[2][256];
    double sign[2];  // 1 and -1: from here where registers are few
};

// A step of radix 4 on four points. The CPU's twin has the same operations in the same order.
__device__ __forceinline__ void four(Complex& i, Complex& k, Complex& l, Complex& m) {
    const double pr = i.re + l.re, pi = i.im + l.im, qr = i.re - l.re, qi = i.im - l.im;
    const double ur = k.re + m.re, ui = k.im + m.im, vr = k.re - m.re, vi = k.im - m.im;
    i.re = pr + ur, i.im = pi + ui;
    k.re = qr + vi, k.im = qi - vr;
    l.re = pr - ur, l.im = pi - ui;
    m.re = qr - vi, m.im = qi + vr;
}

__device__ __forceinline__ void turn(Complex& a, Turn by) {
    const double re = a.re, im = a.im;
    a.re = re * by.c + im * by.s, a.im = im * by.c - re * by.s;
}

// The step of radix 2, on neighbours.
__device__ __forceinline__ void two(Complex& a, Complex& b) {
    const double pr = a.re, pi = a.im, qr = b.re, qi = b.im;
    a.re = pr + qr, a.im = pi + qi;
    b.re = pr - qr, b.im = pi - qi;
}

__device__ __forceinline__ double power(Complex a) {
    return a.re * a.re + a.im * a.im;
}

__device__ __forceinline__ int frequency_at(int place) {
    return place / 32 + place / 8 % 4 * 4 + place / 2 % 4 * 16 + place % 2 * 64;
}

// A number of 16 bits as float64, by an addition: conversions take four times as long.
__device__ __forceinline__ double wide(int number) {
    // 2^52 + 2^31 is subtracted.
    return __hiloint2double(0x43300000, (int)((unsigned)number ^ 0x80000000u)) -
           4503601774854144.0;
}

// A thread's sums, put into shared memory and taken back.
__device__ __forceinline__ void put(double* waiting, const double* sum) {
    for (int k = 0; k < IN_REGISTERS; k += 2) *(Two*)(waiting + k) = {sum[k], sum[k + 1]};
}

__device__ __forceinline__ void get(const double* waiting, double* sum) {
    for (int k = 0; k < IN_REGISTERS; k += 2) {
        const Two found = *(const Two*)(waiting + k);
        sum[k] = found.first, sum[k + 1] = found.second;
    }
}

__device__ __forceinline__ void add(Two* sums, double first, double second) {
    const Two old = *sums;
    *sums = {old.first + first, old.second + second};
}

// One column of a part, from row `odd` on.
struct Column {
    const short* first;
    unsigned long long hidden;  // bit 0 is the cell of the part's first row
    int phase;                  // the row of its cell in which the part begins
};

__device__ __forceinline__ Column column_of(const short* numbers, const unsigned int* hidden,
                                            const int* place, int rows, int columns, int x,
                                            int odd) {
    const int y = place[0], left = place[1] + x;
    const long long ccd = blockIdx.y;
    Column c = {numbers + (ccd * rows + y + odd) * columns + left, 0ull, y % CELL};
    if (hidden != nullptr) {
        const int word = y / CELL / WARP, cell_columns = (columns + CELL - 1) / CELL;
        const int n_words = (rows + CELL * WARP - 1) / (CELL * WARP);
        const unsigned* at = hidden + (ccd * n_words + word) * cell_columns + left / CELL;
        const bool more = word + 1 < n_words;
        const unsigned long long next = more ? at[cell_columns] : 0u;
        c.hidden = (next << WARP | at[0]) >> (y / CELL % WARP);
    }
    return c;
}

// The first step along y, of which a quarter of the frequencies needs one point in four: a thread
// gets the even or the odd points of a column. `hidden` is null where nothing is masked.
template <bool MASKED>
__device__ __forceinline__ void first_step(const short* numbers, const unsigned int* hidden,
                                           const int* places, int kept, int rows, int columns,
                                           const Shared& s, Complex* a) {
    const int quarter = blockIdx.x, x = threadIdx.x % PART, odd = threadIdx.x / PART;
    const Column one = column_of(numbers, hidden, places, rows, columns, x, odd);
    const Column other = column_of(numbers, hidden, places + (kept & 2), rows, columns, x, odd);
    const double own_window = fabs(s.window[x % QUARTER][x / QUARTER]);
    // Odd quarters turn two of four points by 90 degrees: real and imaginary part change places.
    const int swapped = -(quarter % 2);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 750
    // No registers are shared by a warp there, and one more would be too many.
    const double sign = s.sign[quarter % 2];
#else
    const double sign = quarter % 2 == 0 ? 1.0 : -1.0;
#endif
#pragma unroll
    for (int t = 0; t < POINTS; t++) {
        const int j = 2 * t + odd;
        Complex p[4];
        unsigned covered = 0u, also_covered = 0u;
        if (MASKED) {
            covered = (unsigned)(one.hidden >> ((one.phase + j) / CELL));
            also_covered = (unsigned)(other.hidden >> ((other.phase + j) / CELL));
        }
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const long long at = (long long)(2 * t + k * QUARTER) * columns;
            int re = one.first[at], im = other.first[at];
            bool good;
            if (MASKED) {
                re = masked(re, covered & 1u << 8 * k, &good);
                im = masked(im, also_covered & 1u << 8 * k, &good);
            }
            im &= kept;
            const int first = k % 2 == 0 ? re : (re & ~swapped) | (im & swapped);
            const int second = k % 2 == 0 ? im : (im & ~swapped) | (re & swapped);
            const double weight = s.window[j][k] * own_window;
            p[k].re = wide(first) * weight, p[k].im = wide(second) * weight;
        }
        a[t].re = (p[0].re + p[2].re) + (p[1].re + p[3].re);
        a[t].im = fma(sign, p[1].im + p[3].im, p[0].im + p[2].im);
        turn(a[t], s.first_step[j]);
    }
}

// The real or the imaginary parts of 32 rows change hands, with the last step along y: a sum, or a
// difference in odd rows.
__device__ __forceinline__ void exchange_rows(double Complex::* half, const Complex* a, Complex* b,
                                              const double* sign, double* of_column,
                                              const double* of_pair) {
    __syncthreads();
#pragma unroll
    for (int t = 0; t < POINTS; t++) of_column[2 * t * ROW] = a[t].*half;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < POINTS; k += 2) {
        const Two even = *(const Two*)(of_pair + k), uneven = *(const Two*)(of_pair + ROW + k);
        b[k].*half = fma(*sign, uneven.first, even.first);
        b[k + 1].*half = fma(*sign, uneven.second, even.second);
    }
}

// The same within a row, which belongs to a warp: a thread gets points 16 eighth to
// 16 eighth + 15.
__device__ __forceinline__ void exchange_in_row(double Complex::* half, const Complex* b,
                                                Complex* c, int eighth, double* of_row) {
    __syncwarp();
#pragma unroll
    for (int k = 0; k < POINTS; k += 2)
        *(Two*)(of_row + eighth * GROUP + k) = {b[k].*half, b[k + 1].*half};
    __syncwarp();
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const Two found = *(const Two*)(of_row + k * GROUP + 2 * eighth);
        c[k].*half = found.first, c[k + 8].*half = found.second;
    }
}

// The powers of all pairs of parts of a CCD, added up. Two real parts are the real and the
// imaginary part of one complex part, which stays in registers and shared memory.
//
// Arguments
//   numbers       (n_ccd, ny, nx) int16, steps: the residual sky, of which fine parts are cut
//   hidden        (n_ccd, ceil(ny / 128), ceil(nx / 4)) uint32, bits of cells, one below the
//                 other: 1 where a cell is masked
//   cells         (n_ccd, ceil(ny / 4), ceil(nx / 4)) int16, steps: means of cells, masked
//                 already, of which coarse parts are cut
//   fine          (n_fine, 2) int32, first (y, x) of each part of `numbers`
//   coarse        (n_coarse, 2) int32, first (y, x) of each part of `cells`
//   window        (128,) float64, Hann window along an axis
//   turns         (256,) float64, cosines, then sines, of k/128 turns
//   n_fine        int32, number of fine parts
//   n_coarse      int32, number of coarse parts
//   ny            int32, pixels: rows of a CCD
//   nx            int32, pixels: columns of a CCD
//   total         out, (2, n_ccd, 128, 128) float64, steps^2: of fine, then of coarse parts, by
//                 frequencies along y and x
//
// Launch     grid (4, n_ccd, 2), block (256). A block takes a quarter of the frequencies along y
//            of all pairs of a CCD, one pair after the other, and keeps their sums in registers:
//            one order of additions. Two threads share a column; then eight share a row.
//            Only the first step along y is done four times in part, and real and imaginary parts
//            change hands one after the other: 48 KiB of shared memory suffice, which every card
//            gives.
// Bytes      8 read for each pixel of a fine part, and for each cell of a coarse part: the numbers
//            by four blocks, three times from the cache.
extern "C" __global__ void __launch_bounds__(256, 2)
    spectrum_add(const short* numbers, const unsigned int* hidden, const short* cells,
                 const int* fine, const int* coarse, const double* window, const double* turns,
                 int n_fine, int n_coarse, int ny, int nx, double* total) {
    __shared__ Shared s;
    const int quarter = blockIdx.x, ccd = blockIdx.y;
    const int rows = (ny + CELL - 1) / CELL, columns = (nx + CELL - 1) / CELL;
    for (int e = threadIdx.x; e < PART; e += blockDim.x) {
        // angle / 128 is the turn of the second of four points, in steps of 32, 8 and 2 points.
        const int k = e / QUARTER, j = e % QUARTER;
        // Which of the four points of the first step are subtracted.
        const bool minus = (k > 1 && quarter % 2 == 1) != (k % 2 == 1 && quarter > 1);
        s.window[j][k] = minus ? -window[e] : window[e];
        if (k == quarter) s.first_step[j] = {turns[k * j], turns[PART + k * j]};
        if (e < 2) s.sign[e] = 1.0 - 2.0 * e;
        if (k == 0) continue;
        s.one[k - 1][j] = {turns[k * j], turns[PART + k * j]};
        if (j < QUARTER / 4) s.two[k - 1][j] = {turns[4 * k * j], turns[PART + 4 * k * j]};
        if (j == 0) s.three[k - 1] = {turns[16 * k], turns[PART + 16 * k]};
    }
    __syncthreads();
    const int odd = threadIdx.x / PART, row = threadIdx.x / 8, eighth = threadIdx.x % 8;
    double* const of_column =
        s.plane + odd * ROW + threadIdx.x % 8 * GROUP + threadIdx.x % PART / 8;
    double* const of_row = s.plane + row * ROW;
    double* const waiting = of_row + eighth * GROUP;
    const double* const of_pair = s.plane + row / 2 * 2 * ROW + eighth * GROUP;
    const bool is_fine = blockIdx.z == 0;
    // Registers are too few for sums and first steps: meanwhile the sums wait in shared memory.
    double sum[IN_REGISTERS];
    for (int k = 0; k < IN_REGISTERS; k++) sum[k] = 0.0;
    Two* const more_sums = (Two*)(waiting + POINTS);
    *more_sums = s.sum[0][threadIdx.x] = s.sum[1][threadIdx.x] = {0.0, 0.0};
    put(waiting, sum);
    const int n_parts = n_fine + (n_coarse - n_fine) * (int)blockIdx.z;
    for (int part = 0; part < n_parts; part += 2) {
        // Along y. The even and the odd points of a column meet in the last step alone.
        Complex a[POINTS];
        // All bits, or none where the last part has no partner: for a condition compilers would
        // make the code twice as long.
        const int kept = (part + 1 - n_parts) >> 31;
        if (is_fine)
            first_step<true>(numbers, hidden, fine + 2 * part, kept, ny, nx, s, a);
        else
            first_step<false>(cells, nullptr, coarse + 2 * part, kept, rows, columns, s, a);
#pragma unroll
        for (int t = 0; t < 4; t++) {
            four(a[t], a[t + 4], a[t + 8], a[t + 12]);
            for (int k = 1; k < 4; k++) turn(a[t + 4 * k], s.two[k - 1][2 * t + odd]);
        }
#pragma unroll
        for (int t = 0; t < POINTS; t += 4) {
            four(a[t], a[t + 1], a[t + 2], a[t + 3]);
            if (odd == 1)
                for (int k = 1; k < 4; k++) turn(a[t + k], s.three[k - 1]);
        }
        get(waiting, sum);
        Complex b[POINTS];
        exchange_rows(&Complex::re, a, b, s.sign + row % 2, of_column, of_pair);
        exchange_rows(&Complex::im, a, b, s.sign + row % 2, of_column, of_pair);
        // Along x: point k of a thread is eighth + 8 k.
#pragma unroll
        for (int t = 0; t < 4; t++) {
            four(b[t], b[t + 4], b[t + 8], b[t + 12]);
            for (int k = 1; k < 4; k++) turn(b[t + 4 * k], s.one[k - 1][eighth + 8 * t]);
        }
#pragma unroll
        for (int t = 0; t < POINTS; t += 4) {
            four(b[t], b[t + 1], b[t + 2], b[t + 3]);
            for (int k = 1; k < 4; k++) turn(b[t + k], s.two[k - 1][eighth]);
        }
        Complex c[POINTS];
        exchange_in_row(&Complex::re, b, c, eighth, of_row);
        exchange_in_row(&Complex::im, b, c, eighth, of_row);
#pragma unroll
        for (int t = 0; t < POINTS; t += 8) {
            four(c[t], c[t + 2], c[t + 4], c[t + 6]);
            four(c[t + 1], c[t + 3], c[t + 5], c[t + 7]);
            for (int k = 1; k < 4; k++) turn(c[t + 1 + 2 * k], s.three[k - 1]);
            for (int k = 0; k < 8; k += 2) two(c[t + k], c[t + k + 1]);
        }
#pragma unroll
        for (int k = 0; k < IN_REGISTERS; k++) sum[k] += power(c[k]);
        __syncwarp();
        add(more_sums, power(c[10]), power(c[11]));
        add(&s.sum[0][threadIdx.x], power(c[12]), power(c[13]));
        add(&s.sum[1][threadIdx.x], power(c[14]), power(c[15]));
        put(waiting, sum);
        // For the compiler, which would otherwise keep these sums in registers that it lacks.
        __syncwarp(WHOLE_WARP);
    }
    get(waiting, sum);
    double* target = total + ((long long)blockIdx.z * gridDim.y + ccd) * PART * PART;
    const int ky = frequency_at(quarter * QUARTER + threadIdx.x / 8);
    target += ky * PART;
    const int kx = eighth * POINTS;
    for (int k = 0; k < IN_REGISTERS; k++) target[frequency_at(kx + k)] = sum[k];
    target[frequency_at(kx + 10)] = more_sums->first;
    target[frequency_at(kx + 11)] = more_sums->second;
    for (int k = 0; k < 2; k++) {
        target[frequency_at(kx + 12 + 2 * k)] = s.sum[k][threadIdx.x].first;
        target[frequency_at(kx + 13 + 2 * k)] = s.sum[k][threadIdx.x].second;
    }
}

// The powers of both parts of the pairs together: the mean of those at k and at -k, halved.
//
// Arguments
//   total      (2, n_ccd, 128, 128) float64, steps^2: as spectrum_add leaves it
//   usable     (n_ccd,) bool, whether the CCD has a background
//   sigma      (n_ccd,) float64, image unit
//   n_fine     int32, number of fine parts
//   n_coarse   int32, number of coarse parts
//   power      out, (2, n_ccd, 128, 65) float64, sigma^2: of fine, then of coarse parts
//   n_added    out, (2, n_ccd) int64, number of parts, 0 for a CCD without a background
//
// Launch     grid (32, n_ccd, 2), block (96). A block takes the frequencies of four rows, of which
//            a CCD has few, so that nothing is gained by a cleverer shape.
// Bytes      16 read and 8 written for each of 8320 frequencies of both kinds of a CCD.
extern "C" __global__ void __launch_bounds__(96)
    spectrum_fold(const double* total, const bool* usable, const double* sigma, int n_fine,
                  int n_coarse, double* power, long long* n_added) {
    const int top = blockIdx.x * ROWS_A_BLOCK, kx = threadIdx.x, ccd = blockIdx.y;
    const long long of_kind = (long long)blockIdx.z * gridDim.y + ccd;
    const double* sums = total + of_kind * PART * PART;
    for (int ky = top; ky < top + ROWS_A_BLOCK && kx < HALF; ky++)
        power[(of_kind * PART + ky) * HALF + kx] =
            (sums[ky * PART + kx] + sums[(PART - ky) % PART * PART + (PART - kx) % PART]) *
            (0.000244140625 * 0.000244140625 / 2.0);
    if (top == 0 && kx == 0) {
        const double step = widen(narrow(sigma[ccd])) * 0.000244140625;
        const int n_parts = blockIdx.z == 0 ? n_fine : n_coarse;
        n_added[of_kind] = usable[ccd] && is_finite(1.0 / step) ? n_parts : 0;
    }
}
