// Barriers, votes and shuffles. Each use of one in the source has a number, so that threads that wait at different ones
// are told apart from threads that wait at the same one.
#pragma once
#include "runtime.h"

#define DEVICE_SITE (__LINE__ | __COUNTER__ << 16)

#define __syncthreads() ((void)device::barrier(DEVICE_SITE, 0))
#define __syncthreads_count(predicate) (device::barrier(DEVICE_SITE, (predicate) ? 1 : 0))
#define __syncthreads_or(predicate) (device::barrier(DEVICE_SITE, (predicate) ? 1 : 0) != 0)
#define __syncthreads_and(predicate) (device::barrier(DEVICE_SITE, (predicate) ? 0 : 1) == 0)
#define __syncwarp(...) ((void)device::exchange(DEVICE_SITE, device::WarpOp::ballot, device::mask_or_all(__VA_ARGS__), 0, 0))
#define __ballot_sync(mask, predicate) (device::ballot(DEVICE_SITE, mask, (predicate) ? 1 : 0))
#define __any_sync(mask, predicate) (device::ballot(DEVICE_SITE, mask, (predicate) ? 1 : 0) != 0)
#define __all_sync(mask, predicate) (device::ballot(DEVICE_SITE, mask, (predicate) ? 0 : 1) == 0)
#define __match_any_sync(mask, value) (device::match(DEVICE_SITE, mask, value))
#define __shfl_sync(...) device::shuffle(DEVICE_SITE, __VA_ARGS__)
#define __shfl_down_sync(...) device::shuffle_down(DEVICE_SITE, __VA_ARGS__)
#define __shfl_up_sync(...) device::shuffle_up(DEVICE_SITE, __VA_ARGS__)
#define __shfl_xor_sync(...) device::shuffle_xor(DEVICE_SITE, __VA_ARGS__)

// Only one block runs at a time and nothing is cached: a fence has nothing to do.
static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline void __threadfence_system() {}
static inline void __nanosleep(unsigned) {}

namespace device {

static inline unsigned mask_or_all(unsigned mask = ~0u) { return mask; }

static inline unsigned ballot(int site, unsigned mask, int predicate) {
  return static_cast<unsigned>(exchange(site, WarpOp::ballot, mask, predicate, 0));
}

template <class T>
unsigned match(int site, unsigned mask, T value) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  return static_cast<unsigned>(exchange(site, WarpOp::match, mask, bits, 0));
}

// Small integers are promoted, as CUDA's overloads do.
template <class T>
auto read_lane(int site, unsigned mask, T value, int source) {
  auto wide = +value;
  static_assert(sizeof wide == 4 || sizeof wide == 8, "a shuffle moves 4 or 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &wide, sizeof wide);
  bits = exchange(site, WarpOp::shuffle, mask, bits, source);
  memcpy(&wide, &bits, sizeof wide);
  return wide;
}

static inline void check_width(int site, int width) {
  if (width < 1 || width > warpSize || (width & (width - 1)))
    fail("shuffle at line %d: width %d is no power of two up to 32", site & 0xFFFF, width);
}

template <class T>
auto shuffle(int site, unsigned mask, T value, int source, int width = warpSize) {
  check_width(site, width);
  return read_lane(site, mask, value, (lane() & ~(width - 1)) + (source & (width - 1)));
}

// A lane whose source lies outside its segment keeps its own value.
template <class T>
auto shuffle_down(int site, unsigned mask, T value, unsigned delta, int width = warpSize) {
  check_width(site, width);
  const int own = lane(), position = own & (width - 1);
  return read_lane(site, mask, value, position + delta < static_cast<unsigned>(width) ? own + delta : own);
}

template <class T>
auto shuffle_up(int site, unsigned mask, T value, unsigned delta, int width = warpSize) {
  check_width(site, width);
  const int own = lane(), position = own & (width - 1);
  return read_lane(site, mask, value, delta <= static_cast<unsigned>(position) ? own - delta : own);
}

// May read from a segment below its own, never from one above.
template <class T>
auto shuffle_xor(int site, unsigned mask, T value, int flip, int width = warpSize) {
  check_width(site, width);
  const int own = lane(), source = own ^ flip;
  return read_lane(site, mask, value, (source & ~(width - 1)) > (own & ~(width - 1)) ? own : source);
}

}  // namespace device
