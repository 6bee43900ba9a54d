// Fibers: a stack and a place to continue for each CUDA thread that waits. A thread that never waits needs none of its
// own: the fiber that ran it takes the next one.
#pragma once
#include <sys/mman.h>

#include <cstdlib>
#include <vector>

#include "../include/runtime.h"
#include "sanitizers.h"

namespace device {

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;  // the lowest byte that may be used; a guard page lies below
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
  void* context = nullptr;     // ThreadSanitizer's
  size_t offset = 0;
  uint3 index{};   // threadIdx of the thread that runs here, kept while it waits
  int thread = 0;  // its number in the block
  bool finished = false;
};

constexpr size_t page_bytes = 4096;
#if defined(DEVICE_ADDRESS) || defined(DEVICE_THREAD)
constexpr size_t stack_bytes = 256 << 10;
#else
constexpr size_t stack_bytes = 64 << 10;
#endif

#if !defined(__x86_64__)
#error "the switch between fibers is written for x86-64"
#endif
// Pushes what a called function must preserve, changes stacks, pops it again.
extern "C" DEVICE_LOCAL void device_switch(void** save, void* target);
__asm__(R"(
  .text
  .globl device_switch
  .hidden device_switch
  .type device_switch, @function
device_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size device_switch, .-device_switch
)");

class Fibers {
 public:
  Fiber main;     // the caller of the launch
  Fiber* current = &main;

  Fiber* create() {
    Fiber* fiber = new Fiber;
    void* memory = mmap(nullptr, stack_bytes + page_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) abort();
    mprotect(memory, page_bytes, PROT_NONE);  // a kernel whose locals outgrow the stack faults
    unpoison(memory, stack_bytes + page_bytes);
    fiber->stack = static_cast<char*>(memory) + page_bytes;
    fiber->stack_bytes = stack_bytes;
    // Stacks that all begin at a multiple of 4096 would compete for the same few cache lines.
    fiber->offset = all_.size() * 320 % page_bytes / 64 * 64;
#if defined(DEVICE_THREAD)
    fiber->context = __tsan_create_fiber(0);
#endif
    all_.push_back(fiber);
    return fiber;
  }

  // A fiber that starts in `entry` when it is switched to.
  Fiber* obtain(void (*entry)()) {
    if (free_.empty()) free_.push_back(create());
    Fiber* fiber = free_.back();
    free_.pop_back();
    fiber->finished = false;
    void** top = reinterpret_cast<void**>(fiber->stack + fiber->stack_bytes - fiber->offset);
    *--top = nullptr;  // no one to return to; keeps the stack aligned as after a call
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber->stack_pointer = top;
    return fiber;
  }

  // ThreadSanitizer takes the creation of a fiber for "happens after everything so far", so all of them are created
  // before a block starts: created one by one, no race would ever be seen.
  void prepare(size_t count) {
    while (all_.size() < count) free_.push_back(create());
  }

  void put_back(Fiber* fiber) { free_.push_back(fiber); }
  void put_back_all() { free_ = all_; }

  void switch_to(Fiber* to) {
    Fiber* from = current;
    if (from == to) return;
    from->index = threadIdx;
    current = to;
#if defined(DEVICE_ADDRESS)
    __sanitizer_start_switch_fiber(from->finished ? nullptr : &from->fake_stack, to->stack, to->stack_bytes);
#endif
#if defined(DEVICE_THREAD)
    __tsan_switch_to_fiber(to->context, 1);
#endif
    device_switch(&from->stack_pointer, to->stack_pointer);
#if defined(DEVICE_ADDRESS)
    __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
#endif
    threadIdx = from->index;
  }

  // The first thing a fiber does when it starts.
  void arrived() {
#if defined(DEVICE_ADDRESS)
    const void* bottom = nullptr;
    size_t size = 0;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
    if (!main.stack) main.stack = static_cast<char*>(const_cast<void*>(bottom)), main.stack_bytes = size;
#endif
  }

  // After a failed launch some fibers hold threads that will never end.
  void discard() {
    for (Fiber* fiber : all_) {
      munmap(fiber->stack - page_bytes, fiber->stack_bytes + page_bytes);
      delete fiber;
    }
    all_.clear();
    free_.clear();
  }

 private:
  std::vector<Fiber*> all_, free_;
};

}  // namespace device
