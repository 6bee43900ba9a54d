// What a kernel asks of the runtime. The runtime is compiled by itself and without instrumentation, so that a sanitizer
// and the counters see the kernel's own loads and stores and nothing else.
#pragma once
#include "language.h"

namespace device {

// One launch, filled in by the host side (launch.py has the same fields in the same order).
struct Launch {
  uint64_t blocks;
  uint64_t shared_bytes;
  uint64_t schedule;              // of the threads: 0 forward, 1 reverse, other numbers seed a shuffle
  const uint64_t* block_order;    // or null: in order
  unsigned grid[3], block[3];
};

enum class WarpOp { shuffle, ballot, match };

// Ends the launch with a message; the thread that called it never continues.
[[noreturn]] DEVICE_LOCAL void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
// Waits for all threads of the block; how many of them gave a predicate that is not zero.
DEVICE_LOCAL int barrier(int site, int predicate);
// Waits for all lanes of the mask, then gives each its part of the others' values.
DEVICE_LOCAL uint64_t exchange(int site, WarpOp op, unsigned mask, uint64_t value, int source);
DEVICE_LOCAL int lane();
DEVICE_LOCAL char* dynamic_shared();
DEVICE_LOCAL void check_atomic(const void* address, size_t size);
DEVICE_LOCAL int run(const Launch& launch, void (*call)(void*), void* closure);

}  // namespace device
