// What all kernels share. gpuanom/gpu/kernel.py puts this file in place of its #include, because CuPy's kernel cache
// keys on the source it is given and would not see a change in an included file.
//
// Arithmetic. NVRTC is told --fmad=false: no product and sum is contracted behind our back, so a float64 expression
// written in the twin's order has the twin's bits. Where a fused multiply-add is wanted, fma() is written out. CuPy adds
// -ftz=true to every compilation, and the last word is its: float64 is unaffected, but float32 operands and results
// below 2^-126, conversions from and to float64 among them, would become 0. Hence widen() and narrow(), which are exact;
// no kernel computes in float32 otherwise.
#pragma once

// Marks a pointer argument that may be null; the launcher passes None.
#define OPTIONAL

constexpr unsigned WHOLE_WARP = 0xffffffffu;
constexpr int WARP = 32;

// The bits of a bad-pixel plane: gpuanom.records.Unfit.
enum Unfit : unsigned { UNFIT_BACKGROUND = 1, UNFIT_SOURCES = 2, UNFIT_GRADIENTS = 4 };

#define MINUS_INFINITY (__int_as_float((int)0xff800000u))

// Stands for v where a pixel is unusable: finite, and below every threshold.
#define UNFIT (-1.7976931348623157e308)

__device__ __forceinline__ bool is_finite(float pixel) { return (__float_as_uint(pixel) & 0x7f800000u) != 0x7f800000u; }

__device__ __forceinline__ bool is_finite(double value) { return fabs(value) <= 1.7976931348623157e308; }

// float32 to float64, exactly, subnormal numbers too.
__device__ __forceinline__ double widen(float pixel) {
    const unsigned bits = __float_as_uint(pixel);
    if ((bits & 0x7f800000u) != 0u) return (double)pixel;
    const double magnitude = (double)(int)(bits & 0x007fffffu) * 1.401298464324817e-45;  // 2^-149
    return (bits & 0x80000000u) != 0u ? -magnitude : magnitude;
}

// float64 to the nearest float32, ties to even, subnormal results too.
__device__ __forceinline__ float narrow(double value) {
    const double magnitude = fabs(value);
    if (!(magnitude < 1.1754943508222875e-38)) return (float)value;           // 2^-126
    const unsigned bits = (unsigned)(int)rint(magnitude * 7.136238463529799e44);  // 2^149
    return __uint_as_float(value < 0.0 ? bits | 0x80000000u : bits);
}

// Whether a pixel may be used by the step of that bit (METHOD.md 6). `bad` is its CCD's plane, or null.
__device__ __forceinline__ bool is_usable(float pixel, const unsigned char* bad, long long at, unsigned step) {
    return is_finite(pixel) && (bad == nullptr || (bad[at] & step) == 0u);
}

// A float32's bits as an integer that sorts as the number does (-0 just below +0): comparing these is exact whatever
// -ftz says. A NaN lies beyond the infinities.
__device__ __forceinline__ int sort_key(float pixel) {
    const int bits = __float_as_int(pixel);
    return bits ^ ((bits >> 31) & 0x7fffffff);
}

// A pixel coordinate scaled to -1 ... 1 over an axis of `size` pixels (METHOD.md 1.3).
__device__ __forceinline__ double scaled(int pixel, int size) { return 2.0 * (double)pixel / (double)(size - 1) - 1.0; }

// The background polynomial in its one order of operations (METHOD.md, As built): it decides ties to the last bit.
__device__ __forceinline__ double polynomial(const double* c, double Y, double X) {
    return (c[0] + Y * (c[2] + c[5] * Y)) + X * ((c[1] + c[4] * Y) + c[3] * X);
}

// Sum over a warp, the same bits in every lane; all 32 lanes must call.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
    for (int step = WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(WHOLE_WARP, value, step);
    return value;
}

// Sum over a one-dimensional block of whole warps, always in the same order, returned to every thread.
// scratch: shared, one T a warp. Ends with a barrier, so that scratch may be used again at once.
template <class T>
__device__ T block_sum(T value, T* scratch) {
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = value;
    __syncthreads();
    T sum = scratch[0];
    for (int warp = 1; warp < (int)blockDim.x / WARP; warp++) sum += scratch[warp];
    __syncthreads();
    return sum;
}

// How many threads before this one, in thread order, have chosen; *total gets the number of all that have.
// For compaction in order without atomics. Block and scratch (ints) as for block_sum.
__device__ __forceinline__ int block_rank(bool chosen, int* scratch, int* total) {
    const unsigned lanes = __ballot_sync(WHOLE_WARP, chosen);
    const int lane = threadIdx.x % WARP, own = threadIdx.x / WARP;
    if (lane == 0) scratch[own] = __popc(lanes);
    __syncthreads();
    int before = 0, all = 0;
    for (int warp = 0; warp < (int)blockDim.x / WARP; warp++) {
        if (warp < own) before += scratch[warp];
        all += scratch[warp];
    }
    __syncthreads();
    *total = all;
    return before + __popc(lanes & ((1u << lane) - 1u));
}

// A walk of a warp over the elements first ... last of a stack, 32 at a time:
//     for (long long base = whole_sectors(first); base <= last; base += WARP) {
//         const long long e = base + lane, at = within(e, first, last);
// begins at a multiple of 32, so that every request of the warp covers whole 32-byte sectors of images and of planes, which
// CuPy aligns to 512 bytes. Begun at `first`, it would mostly touch a sector more. Lanes beyond either end load the element
// at that end, which is in a sector at hand, and must not use it.
__device__ __forceinline__ long long whole_sectors(long long first) { return first / WARP * WARP; }

__device__ __forceinline__ long long within(long long e, long long first, long long last) {
    return min(max(e, first), last);
}
