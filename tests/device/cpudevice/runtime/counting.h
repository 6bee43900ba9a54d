// The "counted" flavour. g++ puts a call in front of every load and store of the kernel (-fsanitize=thread, which is only
// asked for that); instead of ThreadSanitizer these functions answer. They count what reaches device memory, and report
// two blocks that touch the same byte when one of them writes: blocks run in no order and nothing waits for another.
#pragma once
#include <bitset>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "block.h"

namespace device {

// Filled during a launch, read by the host side (launch.py has the same fields in the same order).
struct Counts {
  uint64_t loads, load_bytes, stores, store_bytes, atomics, atomic_bytes;
  uint64_t sectors_requested;  // 32-byte pieces of memory that the warps ask for: lanes at the same place share them
  uint64_t sectors_touched;    // different ones in the whole launch: what a perfect cache would move
};

enum class Access { load, store, atomic };

class Counter {
 public:
  Counts counts{};
  uintptr_t first = 0, last = 0;  // device memory

  void begin_launch() {
    counts = {};
    pages_.clear();
    recent_ = nullptr;
  }

  void begin_block(int number) {
    block_ = number;
    visits_.clear();
    requested_.clear();
  }

  void end_block() { counts.sectors_requested += requested_.size(); }

  void end_launch() {
    for (const auto& [number, page] : pages_) counts.sectors_touched += page->sectors.count();
  }

  void access(const void* address, size_t size, Access kind, const void* site) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(address);
    if (begin < first || begin >= last) return;  // shared memory, stacks, the runtime's own
    uint64_t& number = kind == Access::load ? counts.loads : kind == Access::store ? counts.stores : counts.atomics;
    uint64_t& bytes =
        kind == Access::load ? counts.load_bytes : kind == Access::store ? counts.store_bytes : counts.atomic_bytes;
    number++;
    bytes += size;
    // The n-th visit of a place in the code by one lane goes together with the n-th visit of its neighbours.
    const int thread = block.fibers.current->thread;
    const uint64_t place = reinterpret_cast<uint64_t>(site);
    const uint64_t visit = visits_[place * 1024 + thread]++;
    for (uintptr_t sector = begin / 32; sector <= (begin + size - 1) / 32; sector++)
      requested_.insert(mix(mix(mix(place) + visit) + (thread >> 5)) + mix(sector));
    for (uintptr_t byte = begin; byte < begin + size; byte++) mark(byte, kind);
  }

 private:
  // Which block touched a byte: 0 none, its number + 1, or `several`.
  struct Owners {
    int loaded = 0, stored = 0, changed = 0;
  };
  struct Page {
    Owners owners[page_bytes];
    std::bitset<page_bytes / 32> sectors;
  };
  static constexpr int several = -1;

  static uint64_t mix(uint64_t x) {  // spreads the bits, so that different places rarely meet in one key
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCDu;
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53u;
    return x ^ x >> 33;
  }

  void mark(uintptr_t byte, Access kind) {
    if (!recent_ || recent_number_ != byte / page_bytes) {
      recent_number_ = byte / page_bytes;
      auto& page = pages_[recent_number_];
      if (!page) page = std::make_unique<Page>();
      recent_ = page.get();
    }
    recent_->sectors.set(byte % page_bytes / 32);
    Owners& owners = recent_->owners[byte % page_bytes];
    const int own = block_ + 1;
    const auto by_another = [own](int owner) { return owner && owner != own; };
    const bool race = kind == Access::load     ? by_another(owners.stored) || by_another(owners.changed)
                      : kind == Access::atomic ? by_another(owners.stored) || by_another(owners.loaded)
                                               : by_another(owners.stored) || by_another(owners.changed) ||
                                                     by_another(owners.loaded);
    if (race) {
      block.fault_address = byte;
      fail("race between blocks: a %s at %#llx, where another block has been",
           kind == Access::load ? "load" : kind == Access::store ? "store" : "atomic",
           static_cast<unsigned long long>(byte));
    }
    int& owner = kind == Access::load ? owners.loaded : kind == Access::store ? owners.stored : owners.changed;
    owner = owner == 0 || owner == own ? own : several;
  }

  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  Page* recent_ = nullptr;
  uintptr_t recent_number_ = 0;
  std::unordered_map<uint64_t, uint64_t> visits_;
  std::unordered_set<uint64_t> requested_;
  int block_ = 0;
};

static Counter counter;

}  // namespace device

DEVICE_VISIBLE const device::Counts* device_counts() { return &device::counter.counts; }
DEVICE_VISIBLE void device_memory(uint64_t first, uint64_t last) {
  device::counter.first = first, device::counter.last = last;
}

#define DEVICE_COUNT(NAME, SIZE, KIND)                                                                                 \
  extern "C" DEVICE_LOCAL void __tsan_##NAME(void* address) {                                                          \
    device::counter.access(address, SIZE, device::Access::KIND, __builtin_return_address(0));                          \
  }
DEVICE_COUNT(read1, 1, load)
DEVICE_COUNT(read2, 2, load)
DEVICE_COUNT(read4, 4, load)
DEVICE_COUNT(read8, 8, load)
DEVICE_COUNT(read16, 16, load)
DEVICE_COUNT(write1, 1, store)
DEVICE_COUNT(write2, 2, store)
DEVICE_COUNT(write4, 4, store)
DEVICE_COUNT(write8, 8, store)
DEVICE_COUNT(write16, 16, store)
DEVICE_COUNT(unaligned_read2, 2, load)
DEVICE_COUNT(unaligned_read4, 4, load)
DEVICE_COUNT(unaligned_read8, 8, load)
DEVICE_COUNT(unaligned_read16, 16, load)
DEVICE_COUNT(unaligned_write2, 2, store)
DEVICE_COUNT(unaligned_write4, 4, store)
DEVICE_COUNT(unaligned_write8, 8, store)
DEVICE_COUNT(unaligned_write16, 16, store)
extern "C" {
DEVICE_LOCAL void __tsan_init() {}
DEVICE_LOCAL void __tsan_func_entry(void*) {}
DEVICE_LOCAL void __tsan_func_exit() {}
DEVICE_LOCAL void __tsan_read_range(void* address, size_t size) {
  device::counter.access(address, size, device::Access::load, __builtin_return_address(0));
}
DEVICE_LOCAL void __tsan_write_range(void* address, size_t size) {
  device::counter.access(address, size, device::Access::store, __builtin_return_address(0));
}
}
