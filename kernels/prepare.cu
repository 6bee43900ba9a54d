// Raw FITS bytes to pixels, so that what is uploaded is what the file holds (METHOD.md 6).
//
// Formula    float32(float64(raw) * BSCALE + BZERO); NaN where an integer is BLANK.
// Twin       gpuanom/cpu/prepare.py (the pixels as gpuanom.fits.decode_raw has converted them). Test:
//            tests/steps/test_raw.py. Parity: exact.
// Precision  Product and sum in float64, no FMA (common.cuh), rounded once to float32, subnormal results too. float32 input
//            with BSCALE 1 and BZERO 0 keeps its bits.
// Edges      Any number of pixels; the last block is cut off.
#include "common.cuh"

__device__ __forceinline__ unsigned swapped(unsigned word) {
    return word << 24 | (word & 0xff00u) << 8 | (word >> 8 & 0xff00u) | word >> 24;
}

// One CCD: its bytes lie in a slot that the next one's are copied to behind this launch, so that a stack needs room for
// one CCD's bytes and not for all.
//
// raw            (n_pixels |bitpix| / 8,): big-endian numbers, as bytes; begins at a multiple of 4
// bitpix         16 or 32: two's complement integers; -32: float32
// bscale, bzero  image unit
// blank          the integer that stands for no value; beyond the type's range where there is none
// pixels         out, (n_pixels,), image unit
//
// Launch   grid (blocks), block (256), a pixel a thread: neighbours read and write neighbouring words.
// Bytes    |bitpix| / 8 a pixel read, 4 written.
extern "C" __global__ void __launch_bounds__(256)
prepare_pixels(const unsigned char* raw, int bitpix, double bscale, double bzero, long long blank, long long n_pixels,
               float* pixels) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n_pixels) return;
    if (bitpix == -32) {
        const float number = __uint_as_float(swapped(((const unsigned*)raw)[at]));
        // 1 and 0 are what nearly all files have.
        const bool plain = bscale == 1.0 && bzero == 0.0;
        pixels[at] = plain ? number : narrow(widen(number) * bscale + bzero);
        return;
    }
    long long number;
    if (bitpix == 16) {
        const unsigned short word = ((const unsigned short*)raw)[at];
        number = (short)(word << 8 | word >> 8);
    } else {
        number = (int)swapped(((const unsigned*)raw)[at]);
    }
    pixels[at] = number == blank ? __uint_as_float(0x7fc00000u) : narrow((double)number * bscale + bzero);
}
