// One block of threads: who runs next, who waits at a barrier or for the other lanes of its warp.
#pragma once
#include <cstdarg>
#include <numeric>
#include <vector>

#include "fibers.h"

namespace device {

constexpr int line_of(int site) { return site & 0xFFFF; }

struct Warp {
  unsigned mask = 0, arrived = 0;
  int site = 0;
  unsigned exchanges = 0;
  char marks[2];  // as those of the barriers
  WarpOp op = WarpOp::shuffle;
  uint64_t value[32], result[32];
  int source[32];
  Fiber* fiber[32];
  unsigned char turn[32];  // the lanes in the order of the schedule
};

// Those that may continue, first come first served. A fiber is in it at most once, so it never grows: memory that is
// moved while fibers run would look like a race to ThreadSanitizer, which sees every memmove().
class Queue {
 public:
  void empty(size_t room) {
    places_.assign(room + 1, nullptr);
    head_ = tail_ = 0;
  }
  bool is_empty() const { return head_ == tail_; }
  void push(Fiber* fiber) {
    places_[tail_] = fiber;
    if (++tail_ == places_.size()) tail_ = 0;
  }
  Fiber* pop() {
    Fiber* fiber = places_[head_];
    if (++head_ == places_.size()) head_ = 0;
    return fiber;
  }

 private:
  std::vector<Fiber*> places_;
  size_t head_ = 0, tail_ = 0;
};

struct Block {
  Fibers fibers;
  int threads = 0;        // in the block
  int started = 0;        // how many have begun
  int alive = 0;          // how many have not ended
  std::vector<int> order;  // the thread that begins k-th
  std::vector<int> rank;   // and the reverse: when a thread begins
  Queue ready;
  std::vector<Fiber*> at_barrier;  // by rank
  int waiting = 0, barrier_site = 0, barrier_sum = 0, barrier_result = 0;
  std::vector<Warp> warps;
  void (*call)(void*) = nullptr;
  void* closure = nullptr;
  bool failed = false;
  uint64_t fault_address = 0;
  char message[512] = "";
  // Addresses that ThreadSanitizer orders events by. Barriers take two in turn: with one, a thread that is ahead and
  // waits at the next barrier would seem to have waited for a thread that still has to leave this one.
  char begin_mark, end_mark, barrier_marks[2];
  unsigned barriers = 0;

  Fiber* next();
  void release_barrier();
  int barrier(int site, int predicate);
  uint64_t exchange(int site, WarpOp op, unsigned mask, uint64_t value, int source);
  void complete(Warp& warp, int last_lane);
  void thread_loop();
  void arrange(uint64_t schedule);
  void begin();
  void run_all();
};

static Block block;

[[noreturn]] void fail(const char* format, ...) {
  int used = snprintf(block.message, sizeof block.message, "block (%u, %u, %u) thread (%u, %u, %u): ", blockIdx.x,
                      blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(block.message + used, sizeof block.message - used, format, arguments);
  va_end(arguments);
  block.failed = true;
  block.fibers.switch_to(&block.fibers.main);
  abort();  // not reached: the fibers of a failed launch are thrown away
}

static void enter_fiber() {
  block.fibers.arrived();
  block.thread_loop();
  abort();  // not reached: a fiber without work is never switched to
}

// First every thread begins, in the order of the schedule; then those that were let go continue.
inline Fiber* Block::next() {
  if (started < threads) return fibers.obtain(enter_fiber);
  if (!ready.is_empty()) return ready.pop();
  return &fibers.main;
}

// Runs threads, one after the other, until none is left to begin.
inline void Block::thread_loop() {
  acquire(&begin_mark);
  while (started < threads) {
    const int thread = order[started++];
    fibers.current->thread = thread;
    threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
    call(closure);
    alive--;
    if (alive && waiting == alive && started == threads) release_barrier();
#if defined(DEVICE_THREAD)
    break;  // two threads in one fiber would be ordered, and their races unseen
#endif
  }
  release(&end_mark);
  fibers.current->finished = true;
  Fiber* to = next();
#if !defined(DEVICE_THREAD)
  fibers.put_back(fibers.current);
#endif
  fibers.switch_to(to);
}

inline void Block::release_barrier() {
  if (alive < threads)
    fail("__syncthreads() at line %d is reached by %d of %d threads, the others have returned", line_of(barrier_site),
         alive, threads);
  for (Fiber*& fiber : at_barrier)
    if (fiber) ready.push(fiber), fiber = nullptr;
  barrier_result = barrier_sum;
  barriers++;
  barrier_sum = waiting = 0;
}

inline int Block::barrier(int site, int predicate) {
  if (waiting && barrier_site != site)
    fail("divergent __syncthreads(): line %d here, line %d in other threads", line_of(site), line_of(barrier_site));
  barrier_site = site;
  char* const mark = &barrier_marks[barriers & 1];
  release(mark);
  at_barrier[rank[fibers.current->thread]] = fibers.current;
  barrier_sum += predicate;
  waiting++;
  if (waiting == alive && started == threads) release_barrier();
  fibers.switch_to(next());
  acquire(mark);
  return barrier_result;
}

inline uint64_t Block::exchange(int site, WarpOp op, unsigned mask, uint64_t value, int source) {
  const int thread = fibers.current->thread, lane = thread & 31, first = thread - lane;
  Warp& warp = warps[thread >> 5];
  if (threads - first < 32) mask &= (1u << (threads - first)) - 1;  // the last warp of the block may lack lanes
  if (!(mask >> lane & 1)) fail("warp operation at line %d: lane %d is not in its mask %#x", line_of(site), lane, mask);
  if (warp.arrived && (warp.mask != mask || warp.site != site || warp.op != op))
    fail("divergent warp operation: line %d with mask %#x, other lanes are at line %d with mask %#x", line_of(site), mask,
         line_of(warp.site), warp.mask);
  warp.mask = mask, warp.site = site, warp.op = op;
  warp.arrived |= 1u << lane;
  warp.value[lane] = value, warp.source[lane] = source, warp.fiber[lane] = fibers.current;
  char* const mark = &warp.marks[warp.exchanges & 1];
  release(mark);
  if (warp.arrived == mask) complete(warp, lane);
  else fibers.switch_to(next());
  acquire(mark);
  return warp.result[lane];
}

// The last lane computes the results of all, and lets the others go in the order of the schedule.
inline void Block::complete(Warp& warp, int last_lane) {
  unsigned votes = 0;
  for (int lane = 0; lane < 32; lane++)
    if (warp.mask >> lane & 1 && warp.value[lane]) votes |= 1u << lane;
  for (int lane = 0; lane < 32; lane++) {
    if (!(warp.mask >> lane & 1)) continue;
    uint64_t& result = warp.result[lane];
    if (warp.op == WarpOp::ballot) {
      result = votes;
    } else if (warp.op == WarpOp::match) {
      result = 0;
      for (int other = 0; other < 32; other++)
        if (warp.mask >> other & 1 && warp.value[other] == warp.value[lane]) result |= 1u << other;
    } else {  // the value of a lane outside the mask is undefined: all ones is a NaN, or a large index
      const int source = warp.source[lane];
      result = warp.mask >> source & 1 ? warp.value[source] : ~uint64_t(0);
    }
  }
  for (int lane : warp.turn)
    if (warp.mask >> lane & 1 && lane != last_lane) ready.push(warp.fiber[lane]);
  warp.arrived = 0;
  warp.exchanges++;
}

inline void Block::arrange(uint64_t schedule) {
  order.resize(threads), rank.resize(threads);
  std::iota(order.begin(), order.end(), 0);
  if (schedule == 1)
    for (int k = 0; k < threads; k++) order[k] = threads - 1 - k;
  if (schedule > 1) {
    uint64_t state = schedule * 0x9E3779B97F4A7C15u | 1;  // xorshift: the same order on every machine
    for (int k = threads; k > 1; k--) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      std::swap(order[k - 1], order[state % k]);
    }
  }
  for (int k = 0; k < threads; k++) rank[order[k]] = k;
  warps.assign((threads + 31) / 32, Warp());
  std::vector<int> filled(warps.size());
  for (int thread : order) warps[thread >> 5].turn[filled[thread >> 5]++] = thread & 31;
  for (size_t w = 0; w < warps.size(); w++)  // lanes the block lacks are in no mask
    for (int lane = filled[w]; lane < 32; lane++) warps[w].turn[lane] = lane;
}

inline void Block::begin() {
  started = waiting = barrier_sum = 0;
  alive = threads;
  ready.empty(threads);
  at_barrier.assign(threads, nullptr);
#if defined(DEVICE_THREAD)
  fibers.prepare(threads);
  fibers.put_back_all();
#endif
  fibers.current = &fibers.main;
  release(&begin_mark);
}

inline void Block::run_all() {
  while (alive && !failed) {
    Fiber* fiber = next();
    if (fiber == &fibers.main) break;
    fibers.switch_to(fiber);
  }
  acquire(&end_mark);
  if (failed || !alive) return;
  int stuck = 0;
  for (const Warp& warp : warps) stuck += warp.arrived != 0;
  failed = true;
  snprintf(message, sizeof message,
           "block (%u, %u, %u): deadlock: %d threads wait at __syncthreads() (line %d), %d warps at a warp operation "
           "(line %d) that some lane of its mask never reaches",
           blockIdx.x, blockIdx.y, blockIdx.z, waiting, line_of(barrier_site), stuck, [&] {
             for (const Warp& warp : warps)
               if (warp.arrived) return line_of(warp.site);
             return 0;
           }());
}

int barrier(int site, int predicate) { return block.barrier(site, predicate); }
uint64_t exchange(int site, WarpOp op, unsigned mask, uint64_t value, int source) {
  return block.exchange(site, op, mask, value, source);
}
int lane() { return block.fibers.current->thread & 31; }

}  // namespace device
