// Turns a fault inside a kernel (a guard page, a division by zero) into the launch's error message.
#pragma once
#include <csignal>

#include "block.h"

namespace device {

// AddressSanitizer reports faults itself, with the line.
#if defined(DEVICE_ADDRESS)
struct Faults {};
#else
class Faults {
 public:
  Faults() {
    stack_t alternate{};  // the fault may be a stack overflow: the handler needs a stack of its own
    alternate.ss_sp = memory_;
    alternate.ss_size = sizeof memory_;
    sigaltstack(&alternate, &old_stack_);
    struct sigaction action {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // the handler leaves by a switch, not by a return
    for (int i = 0; i < 3; i++) sigaction(signals_[i], &action, &old_[i]);
  }

  ~Faults() {
    for (int i = 0; i < 3; i++) sigaction(signals_[i], &old_[i], nullptr);
    sigaltstack(&old_stack_, nullptr);
  }

 private:
  static void handle(int number, siginfo_t* info, void*) {
    if (block.fibers.current == &block.fibers.main) {  // not the kernel's: let it end the process
      signal(number, SIG_DFL);
      return;
    }
    if (number == SIGFPE) fail("integer division by zero");
    block.fault_address = reinterpret_cast<uint64_t>(info->si_addr);
    fail("illegal memory access at %#llx", static_cast<unsigned long long>(block.fault_address));
  }

  static constexpr int signals_[3] = {SIGSEGV, SIGBUS, SIGFPE};
  static inline char memory_[65536];
  struct sigaction old_[3];
  stack_t old_stack_{};
};
#endif

}  // namespace device
