// What AddressSanitizer and ThreadSanitizer must be told about fibers; nothing in the other flavours.
#pragma once
#include <cstddef>

#if defined(DEVICE_ADDRESS)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(DEVICE_THREAD)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace device {

// "Everything before a release happened before everything after the acquire that follows": barriers say so to
// ThreadSanitizer. Without them it reports two fibers that touch the same word.
inline void release(void* address) {
#if defined(DEVICE_THREAD)
  __tsan_release(address);
#else
  (void)address;
#endif
}

inline void acquire(void* address) {
#if defined(DEVICE_THREAD)
  __tsan_acquire(address);
#else
  (void)address;
#endif
}

inline void unpoison(void* address, size_t size) {
#if defined(DEVICE_ADDRESS)
  __asan_unpoison_memory_region(address, size);
#else
  (void)address, (void)size;
#endif
}

}  // namespace device
