// Sums the spectra of parts of the residual sky of each CCD, a part of the step `patterns`
// (METHOD.md 9.2).
//
// Formula    A spectrum is the sum over parts of 128 x 128 of |F(w r)|^2, r being the masked
//            residual and w a Hann window.
// Precision  The Fourier transform in float64, no FMA, with the CPU's table of cosines and in the
//            CPU's order of operations; the powers of pairs of parts are added one after the
//            other. sigma is rounded to float32 by narrow() and widened by widen(), which -ftz
//            cannot change.
// Edges      Cells that the edge of the CCD cuts off are in no part. A CCD smaller than a part has
//            no spectrum of that kind; without a background, or with a sigma that is 0 in float32,
//            no part counts.
// Parity     Exact for an equal background.
// Twin       gpuanom/backends/cpu/spectrum.py
// Test       tests/steps/test_patterns.py
#include "common.cuh"
#include "patterns.cuh"

constexpr int PART = 128, HALF = 65, COLUMNS_A_BLOCK = 16, ROWS_A_BLOCK = 8;

// Transforms of 128 points in shared memory, several side by side, in place: three steps of radix
// 4 and one of radix 2, which leave the frequencies in the order of `frequency_at`. `along` is the
// distance between points, `across` that between transforms. The whole block calls, and the last
// act is a barrier. The CPU's twin has the same operations in the same order
// (gpuanom/backends/cpu/spectrum.py).
__device__ __forceinline__ void transform(double* re, double* im, int n, int along, int across,
                                          const double* turns) {
    // Unrolled, so that the divisions by `quarter` are shifts.
#pragma unroll
    for (int quarter = PART / 4; quarter > 1; quarter /= 4) {
        for (int b = threadIdx.x; b < n * (PART / 4); b += blockDim.x) {
            const int j = b / n % quarter, point = b / n / quarter * 4 * quarter + j;
            const int apart = quarter * along, angle = j * (PART / 4 / quarter);
            const int i = b % n * across + point * along;
            const int k = i + apart, l = k + apart, m = l + apart;
            // i +- l, and k +- m.
            const double pr = re[i] + re[l], pi = im[i] + im[l];
            const double qr = re[i] - re[l], qi = im[i] - im[l];
            const double ur = re[k] + re[m], ui = im[k] + im[m];
            const double vr = re[k] - re[m], vi = im[k] - im[m];
            const double xr = qr + vi, xi = qi - vr, yr = pr - ur, yi = pi - ui;
            const double zr = qr - vi, zi = qi + vr;
            const double c1 = turns[angle], s1 = turns[PART + angle];
            const double c2 = turns[2 * angle], s2 = turns[PART + 2 * angle];
            const double c3 = turns[3 * angle], s3 = turns[PART + 3 * angle];
            re[i] = pr + ur, im[i] = pi + ui;
            re[k] = xr * c1 + xi * s1, im[k] = xi * c1 - xr * s1;
            re[l] = yr * c2 + yi * s2, im[l] = yi * c2 - yr * s2;
            re[m] = zr * c3 + zi * s3, im[m] = zi * c3 - zr * s3;
        }
        __syncthreads();
    }
    for (int b = threadIdx.x; b < n * (PART / 2); b += blockDim.x) {
        const int i = b % n * across + b / n * 2 * along, k = i + along;
        const double pr = re[i], pi = im[i], qr = re[k], qi = im[k];
        re[i] = pr + qr, im[i] = pi + qi;
        re[k] = pr - qr, im[k] = pi - qi;
    }
    __syncthreads();
}

__device__ __forceinline__ int frequency_at(int place) {
    return place / 32 + place / 8 % 4 * 4 + place / 2 % 4 * 16 + place % 2 * 64;
}

// The first half of the transforms of pairs of parts: along y. Two real parts are the real and the
// imaginary part of one complex part.
//
// Arguments
//   numbers     (n_ccd, rows, columns) int16, steps: what is transformed
//   hidden      (n_ccd, ceil(rows / 4), ceil(columns / 4)) uint8, cells to mask; null where
//               numbers are masked already
//   places      (n_parts, 2) int32, first (y, x) of each part
//   window      (128,) float64, Hann window along an axis
//   turns       (256,) float64, cosines, then sines, of k/128 turns
//   n_parts     int32, number of parts
//   rows        int32, number of rows of `numbers`
//   columns     int32, number of columns of `numbers`
//   re          out, (n_ccd, n_pairs, 128, 128) float64, steps: real part
//   im          out, (n_ccd, n_pairs, 128, 128) float64, steps: imaginary part
//
// Launch     grid (8, n_pairs, n_ccd), block (256). A block takes 16 columns of a pair, 32 KiB of
//            shared memory; 16 numbers of int16 are a whole sector.
// Bytes      2 read and 16 written for each pixel of a part.
extern "C" __global__ void __launch_bounds__(256)
    spectrum_columns(const short* numbers, OPTIONAL const unsigned char* hidden, const int* places,
                     const double* window, const double* turns, int n_parts, int rows, int columns,
                     double* re, double* im) {
    __shared__ double own_re[PART * COLUMNS_A_BLOCK], own_im[PART * COLUMNS_A_BLOCK];
    const int left = blockIdx.x * COLUMNS_A_BLOCK, pair = blockIdx.y, ccd = blockIdx.z;
    const int cell_rows = (rows + CELL - 1) / CELL, cell_columns = (columns + CELL - 1) / CELL;
    for (int half = 0; half < 2; half++) {
        const int part = min(2 * pair + half, n_parts - 1);
        const bool missing = 2 * pair + half != part;
        double* target = half == 0 ? own_re : own_im;
        for (int e = threadIdx.x; e < PART * COLUMNS_A_BLOCK; e += blockDim.x) {
            const int row = e / COLUMNS_A_BLOCK, column = left + e % COLUMNS_A_BLOCK;
            const int y = places[2 * part] + row, x = places[2 * part + 1] + column;
            int number = numbers[((long long)ccd * rows + y) * columns + x];
            bool good;
            if (hidden != nullptr)
                number = masked(
                    number,
                    hidden[((long long)ccd * cell_rows + y / CELL) * cell_columns + x / CELL],
                    &good);
            const double weight = missing ? 0.0 : window[row];
            target[e] = (double)number * (weight * window[column]);
        }
    }
    __syncthreads();
    transform(own_re, own_im, COLUMNS_A_BLOCK, COLUMNS_A_BLOCK, 1, turns);
    const long long first = ((long long)ccd * gridDim.y + pair) * PART * PART;
    for (int e = threadIdx.x; e < PART * COLUMNS_A_BLOCK; e += blockDim.x) {
        const long long at = first + e / COLUMNS_A_BLOCK * PART + left + e % COLUMNS_A_BLOCK;
        re[at] = own_re[e], im[at] = own_im[e];
    }
}

// The second half, along x, and the sum of the powers of all pairs.
//
// Arguments
//   re         (n_ccd, n_pairs, 128, 128) float64, steps: as spectrum_columns leaves it
//   im         (n_ccd, n_pairs, 128, 128) float64, steps: as spectrum_columns leaves it
//   turns      (256,) float64, cosines, then sines, of k/128 turns
//   n_pairs    int32, number of pairs of parts
//   total      out, (n_ccd, 128, 128) float64, steps^2: by frequencies along y and x
//
// Launch     grid (16, n_ccd), block (256). A block takes 8 rows of all pairs, one after the
//            other, and keeps their sums in registers: one order of additions.
// Bytes      16 read for each pixel of a part.
extern "C" __global__ void __launch_bounds__(256)
    spectrum_rows(const double* re, const double* im, const double* turns, int n_pairs,
                  double* total) {
    // A row is 129 numbers apart from the next: lanes then meet in fewer banks.
    __shared__ double own_re[ROWS_A_BLOCK * (PART + 1)], own_im[ROWS_A_BLOCK * (PART + 1)];
    const int top = blockIdx.x * ROWS_A_BLOCK, ccd = blockIdx.y;
    double sum[ROWS_A_BLOCK * PART / 256];
    for (int k = 0; k < ROWS_A_BLOCK * PART / 256; k++) sum[k] = 0.0;
    for (int pair = 0; pair < n_pairs; pair++) {
        const long long first = (((long long)ccd * n_pairs + pair) * PART + top) * PART;
        for (int e = threadIdx.x; e < ROWS_A_BLOCK * PART; e += blockDim.x) {
            const int at = e / PART * (PART + 1) + e % PART;
            own_re[at] = re[first + e], own_im[at] = im[first + e];
        }
        __syncthreads();
        transform(own_re, own_im, ROWS_A_BLOCK, 1, PART + 1, turns);
        for (int k = 0; k < ROWS_A_BLOCK * PART / 256; k++) {
            const int e = threadIdx.x + k * 256, at = e / PART * (PART + 1) + e % PART;
            sum[k] += own_re[at] * own_re[at] + own_im[at] * own_im[at];
        }
        __syncthreads();
    }
    for (int k = 0; k < ROWS_A_BLOCK * PART / 256; k++) {
        const int e = threadIdx.x + k * 256;
        const int ky = frequency_at(top + e / PART), kx = frequency_at(e % PART);
        total[((long long)ccd * PART + ky) * PART + kx] = sum[k];
    }
}

// The powers of both parts of the pairs together: the mean of those at k and at -k, halved.
//
// Arguments
//   total      (n_ccd, 128, 128) float64, steps^2: as spectrum_rows leaves it
//   usable     (n_ccd,) bool, whether the CCD has a background
//   sigma      (n_ccd,) float64, image unit
//   n_parts    int32, number of parts
//   power      out, (n_ccd, 128, 65) float64, sigma^2
//   n_added    out, (n_ccd,) int64, number of parts, 0 for a CCD without a background
//
// Launch     grid (128, n_ccd), block (96). A block takes the frequencies of a row, of which a
//            CCD has few, so that nothing is gained by a cleverer shape.
// Bytes      16 read and 8 written for each of 8320 frequencies of a CCD.
extern "C" __global__ void __launch_bounds__(96)
    spectrum_fold(const double* total, const bool* usable, const double* sigma, int n_parts,
                  double* power, long long* n_added) {
    const int ky = blockIdx.x, kx = threadIdx.x, ccd = blockIdx.y;
    const double* sums = total + (long long)ccd * PART * PART;
    if (kx < HALF)
        power[((long long)ccd * PART + ky) * HALF + kx] =
            (sums[ky * PART + kx] + sums[(PART - ky) % PART * PART + (PART - kx) % PART]) *
            (0.000244140625 * 0.000244140625 / 2.0);
    if (ky == 0 && kx == 0) {
        const double step = widen(narrow(sigma[ccd])) * 0.000244140625;
        n_added[ccd] = usable[ccd] && is_finite(1.0 / step) ? n_parts : 0;
    }
}
