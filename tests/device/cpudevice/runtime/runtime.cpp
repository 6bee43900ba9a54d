// The runtime, linked to every compiled kernel file: runs the blocks of a launch, one after the other.
// The standard library before CUDA's words: it uses some of them (__noinline__) for itself.
#include <sys/mman.h>

#include <bitset>
#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "../include/export.h"
#include "block.h"
#include "faults.h"
#if defined(DEVICE_COUNTED)
#include "counting.h"
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// The linker's names for the two ends of the section that holds __shared__ variables; null where a file has none.
extern "C" char __start_device_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_device_shared[] __attribute__((weak, visibility("hidden")));

namespace device {

// What unset shared memory holds: 0xFF is a NaN in floats and -1 in integers, which every comparison refuses. Another byte,
// under which results must be the same, shows those who compare with it.
static int unset_byte() {
  static const char* const named = getenv("GPUANOM_DEVICE_UNSET");
  return named ? atoi(named) : 0xFF;
}

// Dynamic shared memory of one launch: ends at a guard page, or between AddressSanitizer's red zones.
class DynamicShared {
 public:
  explicit DynamicShared(size_t bytes) : bytes_(bytes) {
    if (!bytes) return;
#if defined(DEVICE_ADDRESS)
    if (posix_memalign(&memory_, 16, bytes)) abort();
    data = static_cast<char*>(memory_);
#else
    const size_t whole = (bytes + page_bytes - 1) / page_bytes * page_bytes;
    mapped_ = whole + page_bytes;
    memory_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) abort();
    mprotect(static_cast<char*>(memory_) + whole, page_bytes, PROT_NONE);
    data = static_cast<char*>(memory_) + (whole - bytes) / 16 * 16;
#endif
  }

  ~DynamicShared() {
    if (!bytes_) return;
#if defined(DEVICE_ADDRESS)
    free(memory_);
#else
    munmap(memory_, mapped_);
#endif
  }

  DynamicShared(const DynamicShared&) = delete;
  void spoil() const { if (bytes_) memset(data, unset_byte(), bytes_); }
  char* data = nullptr;  // null where a launch gave none: its use faults

 private:
  size_t bytes_, mapped_ = 0;
  void* memory_ = nullptr;
};

static char* dynamic_memory;
char* dynamic_shared() {
  if (!dynamic_memory) fail("dynamic shared memory is used, but the launch gave none");
  return dynamic_memory;
}

void check_atomic(const void* address, size_t size) {
  if (reinterpret_cast<uintptr_t>(address) % size) fail("misaligned atomic of %zu bytes", size);
#if defined(DEVICE_COUNTED)
  counter.access(address, size, Access::atomic, __builtin_return_address(0));
#endif
}

// Shared memory starts each block as 0xFF. Byte by byte, and hidden from the compiler: under AddressSanitizer red zones
// lie between the variables.
static void spoil_static_shared() {
  if (!__start_device_shared) return;
  const char fill = static_cast<char>(unset_byte());
  for (volatile char* byte = __start_device_shared; byte < __stop_device_shared; byte++) *byte = fill;
}

int run(const Launch& launch, void (*call)(void*), void* closure) {
  gridDim = dim3(launch.grid[0], launch.grid[1], launch.grid[2]);
  blockDim = dim3(launch.block[0], launch.block[1], launch.block[2]);
  block.threads = launch.block[0] * launch.block[1] * launch.block[2];
  block.arrange(launch.schedule);
  block.call = call, block.closure = closure;
  block.failed = false, block.fault_address = 0, block.message[0] = 0;
#if defined(DEVICE_THREAD)
  block.fibers.main.context = __tsan_get_current_fiber();
#endif
#if defined(DEVICE_COUNTED)
  counter.begin_launch();
#endif
  DynamicShared shared(launch.shared_bytes);
  dynamic_memory = shared.data;
  [[maybe_unused]] Faults faults;
  for (uint64_t k = 0; k < launch.blocks && !block.failed; k++) {
    const uint64_t number = launch.block_order ? launch.block_order[k] : k, row = number / launch.grid[0];
    blockIdx = {static_cast<unsigned>(number % launch.grid[0]), static_cast<unsigned>(row % launch.grid[1]),
                static_cast<unsigned>(row / launch.grid[1])};
    spoil_static_shared();
    shared.spoil();
    block.begin();
#if defined(DEVICE_COUNTED)
    counter.begin_block(static_cast<int>(number));
#endif
    block.run_all();
#if defined(DEVICE_COUNTED)
    counter.end_block();
#endif
  }
#if defined(DEVICE_COUNTED)
  counter.end_launch();
#endif
  if (block.failed) block.fibers.discard();
  return block.failed;
}

}  // namespace device

DEVICE_VISIBLE const char* device_message() { return device::block.message; }
DEVICE_VISIBLE uint64_t device_fault() { return device::block.fault_address; }
