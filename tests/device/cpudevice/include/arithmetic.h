// The device's arithmetic that C++ has no name for. Rounding is to nearest everywhere and nothing is contracted to a fused
// multiply-add (-ffp-contract=off): a kernel that is compiled with --fmad=false computes the same sums on both.
#pragma once
#include "runtime.h"

// ---- loads and stores with a cache hint ----
template <class T>
T __ldg(const T* address) {
  return *address;
}
#define DEVICE_LOAD(NAME)                                                                                              \
  template <class T>                                                                                                   \
  T NAME(const T* address) {                                                                                           \
    return *address;                                                                                                   \
  }
#define DEVICE_STORE(NAME)                                                                                             \
  template <class T>                                                                                                   \
  void NAME(T* address, T value) {                                                                                     \
    *address = value;                                                                                                  \
  }
DEVICE_LOAD(__ldca)
DEVICE_LOAD(__ldcg)
DEVICE_LOAD(__ldcs)
DEVICE_LOAD(__ldlu)
DEVICE_LOAD(__ldcv)
DEVICE_STORE(__stwb)
DEVICE_STORE(__stcg)
DEVICE_STORE(__stcs)
DEVICE_STORE(__stwt)

// ---- min and max: of numbers of any types; a NaN loses, as in fmin and fmax ----
template <class A, class B>
auto min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(std::fmin(static_cast<T>(a), static_cast<T>(b)));
  else return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B>
auto max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(std::fmax(static_cast<T>(a), static_cast<T>(b)));
  else return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}

// ---- arithmetic that is never contracted ----
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __drcp_rn(double a) { return 1.0 / a; }
static inline double __dsqrt_rn(double a) { return std::sqrt(a); }
static inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1.0f / a; }
static inline float __fsqrt_rn(float a) { return std::sqrt(a); }
static inline float __frsqrt_rn(float a) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a))); }
static inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }

// ---- functions that the C library lacks ----
static inline float rsqrtf(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
static inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
static inline float rcbrtf(float x) { return 1.0f / std::cbrt(x); }
static inline double rcbrt(double x) { return 1.0 / std::cbrt(x); }
static inline float norm3df(float a, float b, float c) { return std::hypot(a, b, c); }
static inline double norm3d(double a, double b, double c) { return std::hypot(a, b, c); }
static inline float rhypotf(float a, float b) { return 1.0f / std::hypot(a, b); }
static inline double rhypot(double a, double b) { return 1.0 / std::hypot(a, b); }
static inline double sinpi(double x) { return std::sin(M_PI * std::remainder(x, 2.0)); }
static inline double cospi(double x) { return std::cos(M_PI * std::remainder(x, 2.0)); }
static inline float sinpif(float x) { return static_cast<float>(sinpi(static_cast<double>(x))); }
static inline float cospif(float x) { return static_cast<float>(cospi(static_cast<double>(x))); }
static inline void sincospi(double x, double* s, double* c) { *s = sinpi(x), *c = cospi(x); }
static inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
static inline float __fdividef(float a, float b) { return a / b; }
// The C library declares these names for itself, hence macros.
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __powf(x, y) powf(x, y)

// ---- the same bits as another type ----
namespace device {
template <class To, class From>
To bits_of(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace device
static inline int __float_as_int(float x) { return device::bits_of<int>(x); }
static inline unsigned __float_as_uint(float x) { return device::bits_of<unsigned>(x); }
static inline float __int_as_float(int x) { return device::bits_of<float>(x); }
static inline float __uint_as_float(unsigned x) { return device::bits_of<float>(x); }
static inline long long __double_as_longlong(double x) { return device::bits_of<long long>(x); }
static inline double __longlong_as_double(long long x) { return device::bits_of<double>(x); }
static inline int __double2hiint(double x) { return static_cast<int>(__double_as_longlong(x) >> 32); }
static inline int __double2loint(double x) { return static_cast<int>(__double_as_longlong(x)); }
static inline double __hiloint2double(int high, int low) {
  return device::bits_of<double>(static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32 | static_cast<uint32_t>(low));
}

// ---- conversions: rn nearest, rz towards zero, rd down, ru up; out of range saturates and NaN gives 0, as on the device
// (for 64-bit results NaN gives the smallest number there) ----
namespace device {
template <class To, class From>
To saturate(From x) {
  constexpr bool is_signed = std::is_signed_v<To>;
  constexpr int bits = 8 * sizeof(To) - is_signed;
  const To largest = static_cast<To>(~std::make_unsigned_t<To>(0) >> is_signed), smallest = is_signed ? -largest - 1 : 0;
  if (std::isnan(x)) return sizeof(To) == 8 ? static_cast<To>(uint64_t(1) << 63) : 0;
  if (x >= std::ldexp(From(1), bits)) return largest;
  if (x <= static_cast<From>(smallest)) return smallest;
  return static_cast<To>(x);
}
}  // namespace device
#define DEVICE_CONVERSIONS(FROM, FROM_NAME, TO, TO_NAME)                                                               \
  static inline TO __##FROM_NAME##2##TO_NAME##_rn(FROM x) { return device::saturate<TO>(std::rint(x)); }               \
  static inline TO __##FROM_NAME##2##TO_NAME##_rz(FROM x) { return device::saturate<TO>(std::trunc(x)); }              \
  static inline TO __##FROM_NAME##2##TO_NAME##_rd(FROM x) { return device::saturate<TO>(std::floor(x)); }              \
  static inline TO __##FROM_NAME##2##TO_NAME##_ru(FROM x) { return device::saturate<TO>(std::ceil(x)); }
DEVICE_CONVERSIONS(float, float, int, int)
DEVICE_CONVERSIONS(float, float, unsigned, uint)
DEVICE_CONVERSIONS(float, float, long long, ll)
DEVICE_CONVERSIONS(float, float, unsigned long long, ull)
DEVICE_CONVERSIONS(double, double, int, int)
DEVICE_CONVERSIONS(double, double, unsigned, uint)
DEVICE_CONVERSIONS(double, double, long long, ll)
DEVICE_CONVERSIONS(double, double, unsigned long long, ull)
static inline float __double2float_rn(double x) { return static_cast<float>(x); }
static inline float __int2float_rn(int x) { return static_cast<float>(x); }
static inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
static inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
static inline double __int2double_rn(int x) { return x; }
static inline double __uint2double_rn(unsigned x) { return x; }
static inline double __ll2double_rn(long long x) { return static_cast<double>(x); }
static inline double __ull2double_rn(unsigned long long x) { return static_cast<double>(x); }

// ---- integers ----
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline int __mul24(int a, int b) { return (a << 8 >> 8) * (b << 8 >> 8); }
static inline unsigned __umul24(unsigned a, unsigned b) { return (a & 0xFFFFFF) * (b & 0xFFFFFF); }
static inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<int64_t>(a) * b >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<uint64_t>(a) * b >> 32; }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned __int128>(a) * b >> 64;
}
static inline unsigned long long __brevll(unsigned long long x) {
  unsigned long long reversed = 0;
  for (int bit = 0; bit < 64; bit++) reversed |= (x >> bit & 1) << (63 - bit);
  return reversed;
}
static inline unsigned __brev(unsigned x) { return __brevll(x) >> 32; }
// Each of the four low hexadecimal digits of the selector picks a byte of the eight in b:a; its top bit spreads the sign.
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; i++) {
    const unsigned pick = selector >> 4 * i, byte = bytes >> 8 * (pick & 7) & 0xFF;
    result |= (pick & 8 ? (byte & 0x80 ? 0xFF : 0) : byte) << 8 * i;
  }
  return result;
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return (static_cast<uint64_t>(high) << 32 | low) << (shift & 31) >> 32;
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return (static_cast<uint64_t>(high) << 32 | low) >> (shift & 31);
}
