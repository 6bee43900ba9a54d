// The words of CUDA C++: qualifiers, vector types, and the variables that tell a thread where it is.
#pragma once
#include <math.h>  // its isnan() and the like are in no namespace

#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

// After the includes: some of the C library's headers look at these.
#define __CUDACC__ 1
#define __CUDACC_RTC__ 1
#define __CUDA_ARCH__ 800

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)  // read by the host side, which checks every launch against it
#define __noinline__ __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static const
// One block runs at a time, so its shared memory can be static. A section of its own lets the runtime refill all of it
// with 0xFF before each block. "extern __shared__ T x[]" is rewritten by the host side.
#define __shared__ static __attribute__((section("device_shared")))
#define __builtin_assume(condition) ((void)0)
#define __trap() device::fail("__trap()")
#undef assert
#define assert(condition) ((condition) ? (void)0 : device::fail("assertion failed at line %d: %s", __LINE__, #condition))

// CUDA aligns the vectors of two to twice, of four to four times the element, at most to 16 bytes; those of three are
// aligned as the element.
#define DEVICE_VECTOR(T, NAME)                                                                                         \
  struct NAME##1 {                                                                                                     \
    T x;                                                                                                               \
  };                                                                                                                   \
  struct alignas(2 * sizeof(T)) NAME##2 {                                                                              \
    T x, y;                                                                                                            \
  };                                                                                                                   \
  struct NAME##3 {                                                                                                     \
    T x, y, z;                                                                                                         \
  };                                                                                                                   \
  struct alignas(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) NAME##4 {                                                         \
    T x, y, z, w;                                                                                                      \
  };                                                                                                                   \
  static inline NAME##1 make_##NAME##1(T x) { return {x}; }                                                            \
  static inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                                                    \
  static inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }                                            \
  static inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }

DEVICE_VECTOR(signed char, char)
DEVICE_VECTOR(unsigned char, uchar)
DEVICE_VECTOR(short, short)
DEVICE_VECTOR(unsigned short, ushort)
DEVICE_VECTOR(int, int)
DEVICE_VECTOR(unsigned, uint)
DEVICE_VECTOR(long long, longlong)
DEVICE_VECTOR(unsigned long long, ulonglong)
DEVICE_VECTOR(float, float)
DEVICE_VECTOR(double, double)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define DEVICE_LOCAL __attribute__((visibility("hidden")))  // one runtime in each compiled kernel file
static constexpr int warpSize = 32;
extern DEVICE_LOCAL uint3 threadIdx, blockIdx;
extern DEVICE_LOCAL dim3 blockDim, gridDim;
