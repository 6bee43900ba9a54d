// What residual.cu, patterns.cu and spectrum.cu share: the numbers that stand for pixels of the
// residual sky.
#pragma once

constexpr int CELL = 4;  // side of a cell of pixels
// Residuals in steps of 2^-12 sigma: 3.5 and 4 sigma, 8 sigma less two steps, and what stands for
// bad pixels. Above USABLE a number is a residual.
constexpr int CLIP = 14336, SOURCE = 16384, HIGH = 32766, BAD = -32768, BAD_AND_HIGH = -32767,
              USABLE = -20000;

// What is left of a number of steps after masking; *good tells whether anything is.
__device__ __forceinline__ int masked(int number, unsigned hidden, bool* good) {
    *good = number > USABLE && number <= SOURCE && hidden == 0u;
    return *good ? min(number, CLIP) : 0;
}

// Columns of pixels of a thread, of which each is so far from the next, and of a block.
constexpr int COLUMNS = 4, APART = 128, PIXELS_A_BLOCK = COLUMNS * APART;
// Rows of pixels that a block has at once; a cell of the map has a multiple of them.
constexpr int ROWS_AT_ONCE = 32;

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
