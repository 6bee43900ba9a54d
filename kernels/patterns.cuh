// What patterns.cu and spectrum.cu share: the numbers that stand for pixels of the residual sky.
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
