// Atomics with exactly CUDA's overloads: what is missing there must not compile here.
#pragma once
#include "runtime.h"

namespace device {

// All threads share one core and switch only at barriers, so a plain read and write is atomic. ThreadSanitizer has to be
// told, and gets real ones; the counters count one atomic, not a load and a store.
#if defined(__SANITIZE_THREAD__) && !defined(DEVICE_COUNTED)
template <class T, class F>
T exchange_with(T* address, F change) {
  using Bits = std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;
  check_atomic(address, sizeof(T));
  Bits* const bits = reinterpret_cast<Bits*>(address);
  Bits before = __atomic_load_n(bits, __ATOMIC_RELAXED), after;
  T old;
  do {
    memcpy(&old, &before, sizeof old);
    const T next = change(old);
    memcpy(&after, &next, sizeof next);
  } while (!__atomic_compare_exchange_n(bits, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}
#else
template <class T, class F>
#ifdef DEVICE_COUNTED
__attribute__((noinline, no_sanitize("thread")))
#endif
T exchange_with(T* address, F change) {
  check_atomic(address, sizeof(T));
  const T old = *address;
  *address = change(old);
  return old;
}
#endif

}  // namespace device

#define DEVICE_ATOMIC(NAME, T, EXPRESSION)                                                                             \
  static inline T NAME(T* address, T value) {                                                                          \
    return device::exchange_with(address, [value](T old) -> T { return EXPRESSION; });                                 \
  }                                                                                                                    \
  static inline T NAME##_block(T* address, T value) { return NAME(address, value); }

#define DEVICE_ATOMIC_CAS(T)                                                                                           \
  static inline T atomicCAS(T* address, T expected, T value) {                                                         \
    return device::exchange_with(address, [=](T old) -> T { return old == expected ? value : old; });                  \
  }

// Sums wrap around on the device; unsigned arithmetic says so to the compiler.
#define DEVICE_INTEGER_ATOMICS(T)                                                                                      \
  DEVICE_ATOMIC(atomicAdd, T, static_cast<T>(static_cast<std::make_unsigned_t<T>>(old) + value))                       \
  DEVICE_ATOMIC(atomicExch, T, value)                                                                                  \
  DEVICE_BITWISE_ATOMICS(T)                                                                                            \
  DEVICE_ATOMIC_CAS(T)

#define DEVICE_BITWISE_ATOMICS(T)                                                                                      \
  DEVICE_ATOMIC(atomicMin, T, value < old ? value : old)                                                               \
  DEVICE_ATOMIC(atomicMax, T, value > old ? value : old)                                                               \
  DEVICE_ATOMIC(atomicAnd, T, old & value)                                                                             \
  DEVICE_ATOMIC(atomicOr, T, old | value)                                                                              \
  DEVICE_ATOMIC(atomicXor, T, old ^ value)

DEVICE_INTEGER_ATOMICS(int)
DEVICE_INTEGER_ATOMICS(unsigned)
DEVICE_INTEGER_ATOMICS(unsigned long long)
DEVICE_BITWISE_ATOMICS(long long)
DEVICE_ATOMIC(atomicSub, int, static_cast<int>(static_cast<unsigned>(old) - value))
DEVICE_ATOMIC(atomicSub, unsigned, old - value)
DEVICE_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
DEVICE_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
DEVICE_ATOMIC(atomicAdd, float, old + value)
DEVICE_ATOMIC(atomicAdd, double, old + value)
DEVICE_ATOMIC(atomicExch, float, value)
DEVICE_ATOMIC_CAS(unsigned short)
