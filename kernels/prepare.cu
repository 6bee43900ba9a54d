// Converts the bytes of an uncompressed FITS image to pixels (METHOD.md 6), so that what is
// uploaded is what the file holds, often half as much.
//
// Formula    pixel = float32(float64(number) BSCALE + BZERO), and NaN where an integer is BLANK.
// Precision  Product and sum in float64, no FMA, rounded once to float32 by narrow(), which keeps
//            the subnormal results that -ftz would make 0. float32 numbers with BSCALE 1 and BZERO
//            0 keep their bits.
// Edges      Any number of pixels will do; threads beyond the last pixel do nothing.
// Parity     Exact.
// Twin       gpuanom/backends/cpu/prepare.py, which takes pixels as gpuanom.fits.decode_raw
//            converts them
// Test       tests/steps/test_raw.py
#include "common.cuh"

__device__ __forceinline__ unsigned swapped(unsigned word) {
    return word << 24 | (word & 0xff00u) << 8 | (word >> 8 & 0xff00u) | word >> 24;
}

// The pixels of one CCD. Its bytes lie in a buffer that all CCDs of a stack use in turn: the next
// one's are copied there after this launch, so a stack needs the memory of one CCD's bytes only.
//
// Arguments
//   raw         (n_pixels |bitpix| / 8,) uint8, big-endian numbers; begins at a multiple of 4
//   bitpix      int32, bits: 16 or 32 for two's complement integers, -32 for float32
//   bscale      float64, image unit
//   bzero       float64, image unit
//   blank       int64, the number for "no value"; outside the type's range where there is none
//   n_pixels    int64, number of pixels
//   pixels      out, (n_pixels,) float32, image unit
//
// Launch     grid (ceil(n_pixels / 256)), block (256). A thread takes a pixel, so neighbouring
//            threads read and write neighbouring words.
// Bytes      |bitpix| / 8 read and 4 written for each pixel.
extern "C" __global__ void __launch_bounds__(256)
    prepare_pixels(const unsigned char* raw, int bitpix, double bscale, double bzero,
                   long long blank, long long n_pixels, float* pixels) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n_pixels) return;
    if (bitpix == -32) {
        const float number = __uint_as_float(swapped(((const unsigned*)raw)[at]));
        // Nearly all files have BSCALE 1 and BZERO 0.
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
    pixels[at] =
        number == blank ? __uint_as_float(0x7fc00000u) : narrow((double)number * bscale + bzero);
}
