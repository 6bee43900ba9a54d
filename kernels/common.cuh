// What all kernels share. gpuanom/backends/gpu/kernel.py puts this file in place of its #include, because
// CuPy finds compiled kernels again by the source that it is given, and would not notice a change
// in an included file.
//
// Arithmetic. NVRTC is told --fmad=false, so that the compiler never merges a product and a sum
// into one fused multiply-add (FMA). A float64 expression written in the order of the CPU's twin
// therefore has the twin's bits. Where a fused multiply-add is wanted, fma() is written out. CuPy
// adds -ftz=true to every compilation, behind our own options. float64 is not affected, but
// float32 operands and results below 2^-126 would become 0, also when they are converted from or
// to float64. Hence widen() and narrow(), which are exact; no kernel computes in float32
// otherwise.
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

__device__ __forceinline__ bool is_finite(float pixel) {
    return (__float_as_uint(pixel) & 0x7f800000u) != 0x7f800000u;
}

__device__ __forceinline__ bool is_finite(double value) {
    return fabs(value) <= 1.7976931348623157e308;
}

// float32 to float64, exactly, subnormal numbers too.
__device__ __forceinline__ double widen(float pixel) {
    const unsigned bits = __float_as_uint(pixel);
    if ((bits & 0x7f800000u) != 0u) return (double)pixel;
    const double magnitude = (double)(int)(bits & 0x007fffffu) * 1.401298464324817e-45;  // 2^-149
    return (bits & 0x80000000u) != 0u ? -magnitude : magnitude;
}

// widen() of a finite pixel without a branch: the bits of a float32 number are those of a float64
// number that is 2^896 times smaller, subnormal ones too.
__device__ __forceinline__ double widen_finite(float pixel) {
    const int bits = __float_as_int(pixel);
    return __hiloint2double((int)((unsigned)(bits >> 3) & 0x8fffffffu),
                            (int)((unsigned)bits << 29)) *
           5.282945311356653e269;
}

// A float64 number below 2^-126, to the nearest float32. Seldom needed, and therefore no part of
// the code around it.
__device__ __noinline__ float narrow_subnormal(double value) {
    const unsigned bits = (unsigned)(int)rint(fabs(value) * 7.136238463529799e44);  // 2^149
    return __uint_as_float(value < 0.0 ? bits | 0x80000000u : bits);
}

// float64 to the nearest float32, ties to even, subnormal results too, which -ftz makes 0.
__device__ __forceinline__ float narrow(double value) {
    const float nearest = (float)value;
    return nearest != 0.0f ? nearest : narrow_subnormal(value);
}

// Whether a pixel may be used by the step of the given bit (METHOD.md 6). `bad` is the plane of
// the CCD, or null.
__device__ __forceinline__ bool is_usable(float pixel, const unsigned char* bad, long long at,
                                          unsigned step) {
    return is_finite(pixel) && (bad == nullptr || (bad[at] & step) == 0u);
}

// The bits of a float32 number as an integer that sorts as the number does (-0 just below +0).
// Comparing such keys is exact whatever -ftz says. A NaN lies beyond the infinities.
__device__ __forceinline__ int sort_key(float pixel) {
    const int bits = __float_as_int(pixel);
    return bits ^ ((bits >> 31) & 0x7fffffff);
}

// A pixel coordinate scaled to -1 ... 1 over an axis of `size` pixels (METHOD.md 1.3).
__device__ __forceinline__ double scaled(int pixel, int size) {
    return 2.0 * (double)pixel / (double)(size - 1) - 1.0;
}

// The background polynomial, always in this order of operations (METHOD.md, As built), because its
// last bit decides ties.
__device__ __forceinline__ double polynomial(const double* c, double Y, double X) {
    return (c[0] + Y * (c[2] + c[5] * Y)) + X * ((c[1] + c[4] * Y) + c[3] * X);
}

// Sum over a warp, the same bits in every lane; all 32 lanes must call.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
    for (int step = WARP / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(WHOLE_WARP, value, step);
    return value;
}

// Sum over a one-dimensional block of whole warps, always in the same order, returned to every
// thread. scratch: shared memory for one T for each warp. The last act is a barrier, so scratch
// may be used again at once.
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

// Adds to a number in global memory that other threads add to as well: the same result in any
// order. CUDA adds unsigned numbers only; for two's complement the bits of the sum are the same.
__device__ __forceinline__ void add_to(long long* sum, long long value) {
    atomicAdd((unsigned long long*)sum, (unsigned long long)value);
}

// The number of threads before this thread, in thread order, that have chosen; *total gets the
// number of all threads that have. With it, results are packed in order without atomics. Block and
// scratch (ints) as for block_sum.
__device__ __forceinline__ int block_rank(bool chosen, int* scratch, int* total) {
    const unsigned lanes = __ballot_sync(WHOLE_WARP, chosen);
    const int lane = threadIdx.x % WARP, this_warp = threadIdx.x / WARP;
    if (lane == 0) scratch[this_warp] = __popc(lanes);
    __syncthreads();
    int before = 0, all = 0;
    for (int warp = 0; warp < (int)blockDim.x / WARP; warp++) {
        if (warp < this_warp) before += scratch[warp];
        all += scratch[warp];
    }
    __syncthreads();
    *total = all;
    return before + __popc(lanes & ((1u << lane) - 1u));
}

// The number of pixels of a list that are brighter than (value, pixel), or as bright and earlier in
// (y, x) order. All threads of a one-dimensional block call, with shared memory for one value and
// one pixel for each thread. The last act is a barrier.
__device__ __forceinline__ int block_brighter(const double* value, const int* pixel, int n,
                                              double own_value, int own_pixel, double* values,
                                              int* pixels) {
    int brighter = 0;
    for (int start = 0; start < n; start += blockDim.x) {
        const int count = min((int)blockDim.x, n - start);
        const int slot = min(start + (int)threadIdx.x, n - 1);
        values[threadIdx.x] = value[slot], pixels[threadIdx.x] = pixel[slot];
        __syncthreads();
        for (int k = 0; k < count; k++) {
            brighter += values[k] > own_value || (values[k] == own_value && pixels[k] < own_pixel);
        }
        __syncthreads();
    }
    return brighter;
}

// A walk of a warp over the elements first ... last of a stack, 32 at a time:
//     for (long long base = whole_sectors(first); base <= last; base += WARP) {
//         const long long e = base + lane, at = within(e, first, last);
// begins at a multiple of 32, so that every request of the warp covers whole 32-byte sectors of
// images and of planes, which CuPy aligns to 512 bytes. If the walk began at `first`, most
// requests would touch one sector more. Lanes beyond either end load the element at that end,
// which is in a sector that is read anyway, and must not use it.
__device__ __forceinline__ long long whole_sectors(long long first) {
    return first / WARP * WARP;
}

__device__ __forceinline__ long long within(long long e, long long first, long long last) {
    return min(max(e, first), last);
}
